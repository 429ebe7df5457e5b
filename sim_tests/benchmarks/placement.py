# SPDX-License-Identifier: Apache-2.0
"""Large networks on chips of 4 x 4 cores: hops and busiest link of every placer, beside the compute."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from emu.spec import preset
from mapping.errors import InfeasibleError
from mapping.layout.capacity import with_gateway
from mapping.layout.mesh import Mesh
from mapping.layout.objective import step_of
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, smallest_mesh
from mapping.layout.traffic import INLET, Loads, traffic_of
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.large_networks import LARGE

__all__ = ["rows"]

_CHIP = 4
"""Columns and rows of cores of a chip."""

_BEATS = 4
"""Cycles of a packet on a link of a quarter of a flit."""

_SLACK = 2


def rows(options: Options) -> Iterator[Row]:
    """Yield for every network the cycles of a step, and for every placer hops and busiest link."""
    for name in options.networks:
        network = LARGE[name]()
        parts = partition(network, with_gateway(preset("reference"), network))
        width, height = (-(-size // _CHIP) * _CHIP for size in _size(parts))
        mesh = Mesh(width=width, height=height, chip=(_CHIP, _CHIP), beats=_BEATS)
        traffic = traffic_of(parts)
        loads, inner = Loads(traffic=traffic, mesh=mesh), np.flatnonzero(traffic.source != INLET)
        step = max(step_of(network.layer(part.name), parts.spec, parts.of(part)) for part in parts.layers)
        label = f"{name}: {len(parts.cores)} cores on {width} x {height}"
        yield Row(f"{label}, step of the busiest core", f"{step} cycles")
        for placer, place in PLACERS.items():
            start = options.clock()
            placement = place(parts, mesh)
            seconds = options.clock() - start
            load = loads(placement.position, inner)
            busiest, whole = (int(mesh.busy(one).max()) for one in (load, loads(placement.position)))
            value = f"{busiest} cycles, {whole} with the input, {load.sum()} hops, {seconds:.1f} s"
            yield Row(f"{label}, {placer}: busiest link", value, f"{busiest / step:.2f}", "the step")


def _size(parts: Partition) -> tuple[int, int]:
    """Return a nearly square mesh with some slack, of any number of cores."""
    try:
        width, height = smallest_mesh(parts)
    except InfeasibleError:
        height = math.isqrt(len(parts.cores))
        width = -(-len(parts.cores) // height)
    return width + _SLACK, height
