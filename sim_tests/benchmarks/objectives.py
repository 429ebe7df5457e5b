# SPDX-License-Identifier: Apache-2.0
"""Large networks for every objective: the cores that they take and the cycles of a sample."""

from __future__ import annotations

from collections.abc import Iterator

from emu.spec import preset
from mapping.layout.capacity import with_gateway
from mapping.layout.objective import OBJECTIVES, caps_for, latency_of
from mapping.layout.partition import partition
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.large_networks import LARGE

__all__ = ["rows"]


def rows(options: Options) -> Iterator[Row]:
    """Yield for every network and objective its cores and cycles, twice the fewest cores being there."""
    for name in options.networks:
        network = LARGE[name]()
        spec, fewest = with_gateway(preset("reference"), network), 0
        for objective in OBJECTIVES:
            parts = partition(network, spec, caps=next(caps_for(network, spec, objective, None)))
            cycles = latency_of(parts)
            fewest = fewest or cycles
            value = f"{cycles} cycles on {len(parts.cores)} cores"
            yield Row(
                f"{name}, {objective}", value, f"{cycles / fewest:.2f}", "the cycles of the fewest cores"
            )
