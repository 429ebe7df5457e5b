# SPDX-License-Identifier: Apache-2.0
"""What an image is to load once: packets, time, energy and bytes."""

from collections.abc import Mapping

from emu.image import core_chunks
from mapping.chip import Chip
from mapping.targets.energy import estimate_energy
from mapping.targets.files import Quantity, Target

__all__ = ["footprint", "loading"]


def loading(chip: Chip, target: Target, table: Mapping[str, Quantity]) -> dict[str, float]:
    """Return packets, time and energy of loading the image once, which no figure of an inference includes."""
    flits = chip.program_flits
    seconds = flits / target.clock_hz
    events = {"program_flits": flits, "core_cycles": flits * chip.image.spec.cores}
    energy = estimate_energy(events, seconds, chip.image.spec.cores, table)
    return {"flits": flits, "seconds": seconds, "energy_j": energy.total_j}


def footprint(chip: Chip) -> int:
    """Return the bytes that are loaded into the chip."""
    cores = [core for core in chip.image.cores if core is not None]
    return sum(2 * len(part) for core in cores for part in core_chunks(core, chip.image.spec).values())
