# SPDX-License-Identifier: Apache-2.0
"""What an image is to load once: packets, time, energy and bytes."""

from collections.abc import Mapping

from mapping.chip import Chip
from mapping.report.chips import crossing_bits, loading_crossings
from mapping.targets.energy import estimate_energy
from mapping.targets.files import Quantity, Target

__all__ = ["footprint", "loading"]


def loading(chip: Chip, target: Target, table: Mapping[str, Quantity]) -> dict[str, float]:
    """Return packets, time and energy of loading the image once, which no figure of an inference includes."""
    load, spec = chip.load, chip.image.spec
    seconds = load.cycles / target.clock_hz
    events = {"program_flits": load.arrivals, "hops": load.hops, "core_cycles": load.cycles * spec.cores}
    crossings = loading_crossings(chip)
    if crossings:
        events["link_bits"] = crossings * crossing_bits(spec)
    energy = estimate_energy(events, seconds, spec.cores, table)
    return {
        "flits": load.flits,
        "flits_one_by_one": load.one_by_one,
        "arrivals": load.arrivals,
        "hops": load.hops,
        "crossings": crossings,
        "cycles": load.cycles,
        "seconds": seconds,
        "energy_j": energy.total_j,
        "energy_j_low": energy.low_j,
        "energy_j_high": energy.high_j,
    }


def footprint(chip: Chip) -> int:
    """Return the bytes that are loaded into the chip."""
    return 2 * chip.load.chunks
