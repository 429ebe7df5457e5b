# SPDX-License-Identifier: Apache-2.0
"""What an image is to load once: packets, time, energy and bytes."""

from collections.abc import Mapping

from emu.image import core_chunks
from mapping.chip import Chip
from mapping.report.chips import loading_crossings
from mapping.targets.energy import estimate_energy
from mapping.targets.files import Quantity, Target

__all__ = ["footprint", "loading"]


def loading(chip: Chip, target: Target, table: Mapping[str, Quantity]) -> dict[str, float]:
    """Return packets, time and energy of loading the image once, which no figure of an inference includes.

    A packet takes a cycle, and one that goes to another chip as many as a link needs for a flit.
    """
    flits = chip.program_flits
    spec, (crossings, crossing) = chip.image.spec, loading_crossings(chip)
    cycles = flits if spec.links is None else flits + crossing * (spec.links.pace(spec.flit_bits) - 1)
    seconds = cycles / target.clock_hz
    events = {"program_flits": flits, "core_cycles": cycles * spec.cores}
    if crossings:
        events["link_bits"] = crossings * spec.flit_bits
    energy = estimate_energy(events, seconds, chip.image.spec.cores, table)
    return {"flits": flits, "seconds": seconds, "energy_j": energy.total_j}


def footprint(chip: Chip) -> int:
    """Return the bytes that are loaded into the chip."""
    cores = [core for core in chip.image.cores if core is not None]
    return sum(2 * len(part) for core in cores for part in core_chunks(core, chip.image.spec).values())
