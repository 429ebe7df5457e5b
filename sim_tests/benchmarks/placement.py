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
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, smallest_mesh
from mapping.layout.traffic import INLET, Loads, traffic_of
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.large_networks import LARGE

__all__ = ["rows", "step_cycles"]

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
        step = step_cycles(parts)
        label = f"{name}: {len(parts.cores)} cores on {width} x {height}"
        yield Row(f"{label}, step of the busiest core", f"{step} cycles")
        for placer, place in PLACERS.items():
            start = options.clock()
            placement = place(parts, mesh)
            seconds = options.clock() - start
            load = loads(placement.position, inner)
            busiest = int(mesh.busy(load).max())
            value = f"{busiest} cycles, {load.sum()} hops, {seconds:.1f} s"
            yield Row(f"{label}, {placer}: busiest link", value, f"{busiest / step:.2f}", "the step")


def _size(parts: Partition) -> tuple[int, int]:
    """Return a nearly square mesh with some slack, of any number of cores."""
    try:
        width, height = smallest_mesh(parts)
    except InfeasibleError:
        height = math.isqrt(len(parts.cores))
        width = -(-len(parts.cores) // height)
    return width + _SLACK, height


def step_cycles(parts: Partition) -> int:
    """Return the cycles of the longest step of a core in which every axon and neuron is active.

    That is the sum over the blocks in `docs/reference/cycles.md`, from ``s_0`` to the token, of lists of
    four thresholds or of ladders, each neuron sending one packet that nobody holds up.
    """
    spec, strengths = parts.spec, {layer.name: layer.strengths for layer in parts.spiking.layers}
    longest = 0
    for part in parts.cores:
        digits = len(strengths[part.layer])
        per_block, neurons = spec.lanes // digits, len(part.outputs)
        blocks = -(-neurons // per_block)
        walk = blocks * (spec.walk_fill + digits + 1 - 2) + (neurons - blocks) * digits
        longest = max(longest, blocks * (part.axons + spec.integrate_fill) + walk)
    return longest
