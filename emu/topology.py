# SPDX-License-Identifier: Apache-2.0
"""Who is attached to whom: the mesh as data that emulator and hardware read (network.md, "Topology")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emu.spec import SystemSpec

__all__ = [
    "CORE",
    "HOST",
    "NOTHING",
    "OPPOSITE",
    "PLACES",
    "STEPS",
    "Port",
    "Topology",
    "chip_of",
    "comes_out",
    "on_chip",
    "sides_with_links",
    "topology_of",
]

Ints = NDArray[np.int64]


class Port(IntEnum):
    """Ports of a router: north, east, south, west, and the local one, its core."""

    N, E, S, W, L = range(5)


STEPS = {Port.N: (0, -1), Port.E: (1, 0), Port.S: (0, 1), Port.W: (-1, 0)}
"""What a hop by a port adds to x and to y."""

OPPOSITE = {Port.N: Port.S, Port.E: Port.W, Port.S: Port.N, Port.W: Port.E}
"""The port by which the neighbour takes what leaves by a port."""

PLACES = 8
"""Port p of router r is place ``PLACES * r + p``."""

HOST, CORE, NOTHING = -1, -2, -3
"""Stand for a place where a port meets the host, its own core or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Topology:
    """The ports of all routers; every wire is told twice, once from each end.

    Parameters
    ----------
    behind : int64 (8 routers,)
        By the place of an output: the place of the input that it leads to, or `HOST`, `CORE` or `NOTHING`.
    before : int64 (8 routers,)
        By the place of an input: the place of the output that fills it, or `HOST`, `CORE` or `NOTHING`.
    links : int64 (links,)
        Places of the outputs that lead to another chip, over a link (links.md), in order.
    """

    behind: Ints
    before: Ints
    links: Ints

    @property
    def outputs(self) -> Ints:
        """The present outputs of each router, int64 (routers,), bit p for port p."""
        return _mask(self.behind)

    @property
    def inputs(self) -> Ints:
        """The present inputs of each router, int64 (routers,), bit p for port p."""
        return _mask(self.before)


def _mask(ends: Ints) -> Ints:
    return np.asarray((ends.reshape(-1, PLACES) != NOTHING) @ (1 << np.arange(PLACES)), np.int64)


@cache
def topology_of(spec: SystemSpec) -> Topology:
    """Return the topology of a system: a mesh, an inlet in its north-west corner, the outlet at the gateway.

    >>> from emu.spec import preset
    >>> topology = topology_of(SystemSpec(core=preset("tiny"), width=2, height=1))
    >>> topology.behind.reshape(2, 8)[:, :5].tolist()  # N, E, S, W, L of both routers
    [[-3, 11, -1, -3, -2], [-3, -3, -3, 1, -2]]
    """
    behind = np.full(PLACES * spec.cores, NOTHING, np.int64)
    before = behind.copy()
    behind[Port.L :: PLACES] = before[Port.L :: PLACES] = CORE
    routers = np.arange(spec.cores)
    y, x = np.divmod(routers, spec.width)
    for port, (dx, dy) in STEPS.items():
        beyond = (x + dx >= 0) & (x + dx < spec.width) & (y + dy >= 0) & (y + dy < spec.height)
        outputs = PLACES * routers[beyond] + port
        taken_by = PLACES * (routers[beyond] + dx + dy * spec.width) + OPPOSITE[port]
        behind[outputs], before[taken_by] = taken_by, outputs
    column, row = spec.gateway
    behind[PLACES * ((row - 1) * spec.width + column) + Port.S] = HOST
    before[Port.W] = HOST
    leads = np.flatnonzero(behind >= 0)
    links = leads[on_chip(spec, leads)[0] != on_chip(spec, behind[leads])[0]]
    for ends in (behind, before, links):
        ends.setflags(write=False)
    return Topology(behind=behind, before=before, links=links)


def chip_of(spec: SystemSpec) -> SystemSpec:
    """Return one chip of a system as a system of its own: its mesh, and where the host can join it."""
    if spec.links is None:
        return spec
    return replace(spec, width=spec.links.width, height=spec.links.height, links=None)


def on_chip(spec: SystemSpec, places: Ints) -> tuple[Ints, Ints]:
    """Return on which chip places of a system lie, chips counted row by row, and which places of it they are.

    >>> from emu.links import LinkSpec
    >>> from emu.spec import preset
    >>> spec = SystemSpec(core=preset("tiny"), width=4, height=2, links=LinkSpec(width=2, height=1, wires=8))
    >>> [ends.tolist() for ends in on_chip(spec, np.array([8, 24, 32]))]  # by N: (1, 0), (3, 0), (0, 1)
    [[0, 1, 2], [8, 8, 0]]
    """
    chip, (y, x) = chip_of(spec), np.divmod(places // PLACES, spec.width)
    (row, y), (column, x) = np.divmod(y, chip.height), np.divmod(x, chip.width)
    return row * (spec.width // chip.width) + column, PLACES * (y * chip.width + x) + places % PLACES


def sides_with_links(spec: SystemSpec) -> tuple[Port, ...]:
    """Return the sides by which some chip of a system is joined to another; none for a system of one."""
    return tuple(Port(port) for port in np.unique(topology_of(spec).links % PLACES).tolist())


def comes_out(spec: SystemSpec, x0: Ints, x1: Ints, y1: Ints) -> NDArray[np.bool_]:
    """Return which packets, by their rectangles, have a copy that goes to the host.

    A packet that has to go further south than the mesh does so in every column of its rectangle.
    """
    x, y = spec.gateway
    return (x0 <= x) & (x <= x1) & (y1 >= y)
