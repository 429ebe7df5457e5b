# SPDX-License-Identifier: Apache-2.0
"""Who is attached to whom: the mesh as data that emulator and hardware read (network.md, "Topology")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of, outlets_of
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
    "alive",
    "chip_of",
    "comes_out",
    "entries_of",
    "lane_of",
    "meets_dead",
    "on_chip",
    "reached",
    "sides_with_links",
    "topology_of",
    "whole",
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

FED_BY = (0b11110, 0b11000, 0b11011, 0b10010)
"""By output N, E, S and W: the inputs that feed it, bit p for port p; all feed L."""

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
    inlets, outlets : int64 (gates,)
        Places of the inputs that the host feeds, and of the outputs that it takes from, the first ones first.
    lanes : int64 (shared links, lanes)
        By shared link and lane, which of ``links`` it is, `NOTHING` for none; empty where none is shared.
    """

    behind: Ints
    before: Ints
    links: Ints
    inlets: Ints
    outlets: Ints
    lanes: Ints

    @property
    def outputs(self) -> Ints:
        """The present outputs of each router, int64 (routers,), bit p for port p."""
        return _mask(self.behind)

    @property
    def inputs(self) -> Ints:
        """The present inputs of each router, int64 (routers,), bit p for port p."""
        return _mask(self.before)


def entries_of(spec: SystemSpec) -> Ints:
    """Return x and y of the router that each inlet feeds, int64 (inlets, 2)."""
    y, x = np.divmod(topology_of(spec).inlets // PLACES, spec.width)
    return np.column_stack((x, y))


def _mask(ends: Ints) -> Ints:
    return np.asarray((ends.reshape(-1, PLACES) != NOTHING) @ (1 << np.arange(PLACES)), np.int64)


@cache
def topology_of(spec: SystemSpec) -> Topology:
    """Return the topology of a system: a mesh, and the host at its inlets and outlets.

    What is dead, cut off or fed by nobody is absent (dead.md).

    >>> from emu.spec import preset
    >>> topology = topology_of(SystemSpec(core=preset("tiny"), width=2, height=1))
    >>> topology.behind.reshape(2, 8)[:, :5].tolist()  # N, E, S, W, L of both routers
    [[-3, 11, -1, -3, -2], [-3, -3, -3, 1, -2]]
    """
    behind = np.full(PLACES * spec.cores, NOTHING, np.int64)
    before = behind.copy()
    behind[Port.L :: PLACES] = before[Port.L :: PLACES] = CORE
    y, x = np.divmod(np.arange(spec.cores), spec.width)
    for port, (dx, dy) in STEPS.items():
        inside = (x + dx >= 0) & (x + dx < spec.width) & (y + dy >= 0) & (y + dy < spec.height)
        router = np.flatnonzero(inside)
        output = PLACES * router + port
        other = router + dx + dy * spec.width
        taken_by = PLACES * other + OPPOSITE[port]
        behind[output], before[taken_by] = taken_by, output
    rows = [
        (row * spec.width + (spec.width - 1) * (side == "E"), side) for row, side in inlets_of(spec.gates)
    ]
    inlets = np.array([PLACES * router + Port[side] for router, side in rows], np.int64)
    outlets = PLACES * (spec.cores - spec.width + np.array(outlets_of(spec.gates), np.int64)) + Port.S
    before[inlets] = behind[outlets] = HOST
    if spec.dead is not None:
        _take_out(spec, behind, before)
    leads = np.flatnonzero(behind >= 0)
    links = leads[on_chip(spec, leads)[0] != on_chip(spec, behind[leads])[0]]
    lanes = _lanes(spec, links)
    for ends in (behind, before, links, inlets, outlets, lanes):
        ends.setflags(write=False)
    return Topology(behind=behind, before=before, links=links, inlets=inlets, outlets=outlets, lanes=lanes)


def _lanes(spec: SystemSpec, links: Ints) -> Ints:
    """Return which links are lanes of one shared link: those that leave a chip by one side."""
    if spec.links is None or not spec.links.shared:
        return np.zeros((0, 0), np.int64)
    chip, place = on_chip(spec, links)
    sides, side = np.unique(PLACES * chip + place % PLACES, return_inverse=True)
    lanes = np.full((len(sides), spec.links.lanes), NOTHING, np.int64)
    lanes[side, lane_of(spec, place)] = np.arange(len(links))
    return lanes


def lane_of(spec: SystemSpec, places: Ints) -> Ints:
    """Return the number of each port at its side of a chip, the northern or western first.

    Parameters
    ----------
    places : int64 (n,)
        Places of one chip.
    """
    y, x = np.divmod(places // PLACES, chip_of(spec).width)
    return np.where(np.isin(places % PLACES, (Port.N, Port.S)), x, y)


def _take_out(spec: SystemSpec, behind: Ints, before: Ints) -> None:
    """Make absent what is dead or cut off, and what nobody feeds then (dead.md, "What is absent")."""
    for x, y, side in spec.dead.ports if spec.dead is not None else ():
        place = PLACES * (y * spec.width + x) + Port[side]
        for end in (place, int(behind[place])):
            behind[end] = before[end] = NOTHING
    for ends in (behind, before):
        ends[Port.L :: PLACES][~alive(spec).reshape(-1)] = NOTHING
    while True:
        fed = [(_mask(before) & FED_BY[port]) != 0 for port in STEPS]
        unfed = np.concatenate(
            [PLACES * np.flatnonzero(~some) + port for port, some in zip(STEPS, fed, strict=True)]
        )
        unfed = unfed[behind[unfed] != NOTHING]
        if not len(unfed):
            return
        before[behind[unfed]] = NOTHING
        behind[unfed] = NOTHING


@cache
def alive(spec: SystemSpec) -> NDArray[np.bool_]:
    """Return which cores of a system are neither dead nor cut off, bool (height, width), read-only."""
    cores = np.ones((spec.height, spec.width), np.bool_)
    if spec.dead is not None:
        cores = spec.dead.alive(spec.width, spec.height)
    cores.setflags(write=False)
    return cores


def meets_dead(spec: SystemSpec, start: Ints, rectangles: Ints) -> NDArray[np.bool_]:
    """Return which packets go over a dead way or to a core that is dead or cut off, bool (packets,).

    Parameters
    ----------
    spec : SystemSpec
        A system with dead parts.
    start : int64 (packets, 2) or (2,)
        x and y of the routers by which the packets enter: that of the core which sends, or of the inlet.
    rectangles : int64 (packets, 4)
        x0, x1, y0, y1.
    """
    if spec.dead is None or not len(rectangles):
        return np.zeros(len(rectangles), np.bool_)
    x, y = np.broadcast_to(start, (len(rectangles), 2)).T
    x0, x1, y0, y1 = np.asarray(rectangles, np.int64).T
    x1, y1 = np.minimum(x1, spec.width - 1), np.minimum(y1, spec.height - 1)
    left, right = np.minimum(x, x0), np.maximum(x, x1)
    top, bottom = np.minimum(y, y0), np.maximum(y, y1)
    east, south, gone = _dead_sums(spec)
    return np.asarray(
        (_within(east, left, right, y, y + 1) > 0)
        | (_within(south, x0, x1 + 1, top, bottom) > 0)
        | (_within(gone, x0, x1 + 1, y0, y1 + 1) > 0)
    )


def reached(spec: SystemSpec, start: Ints, rectangle: Ints) -> Ints:
    """Return what one packet comes to around the dead parts that it meets (dead.md, "What follows").

    Parameters
    ----------
    spec, start : SystemSpec, int64 (2,)
        As of `meets_dead`.
    rectangle : int64 (4,)
        x0, x1, y0, y1.

    Returns
    -------
    int64 (places, 4): a rectangle for each core that is reached, row by row, and for each outlet.
    """
    x0, x1, y0, y1 = (int(bound) for bound in rectangle)
    cells = [
        (x, x, y, y)
        for y in range(y0, min(y1, spec.height - 1) + 1)
        for x in range(x0, min(x1, spec.width - 1) + 1)
    ]
    out = [(x, x, y1, y1) for x in outlets_of(spec.gates) if x0 <= x <= x1 and y1 >= spec.height]
    places = np.array(cells + out, np.int64).reshape(-1, 4)
    return places[~meets_dead(spec, start, places)]


@cache
def _dead_sums(spec: SystemSpec) -> tuple[Ints, ...]:
    """Return how many dead outputs E, outputs S and cores are above and left of each corner of the mesh.

    Shape (height + 1, width + 1); a core that is cut off counts as dead.
    """
    ways = [spec.dead.ways(side, spec.width, spec.height) for side in "ES"] if spec.dead is not None else []
    return tuple(np.pad(part.cumsum(0).cumsum(1), ((1, 0), (1, 0))) for part in (*ways, ~alive(spec)))


def _within(summed: Ints, x0: Ints, x1: Ints, y0: Ints, y1: Ints) -> Ints:
    """Return how many marked cells lie in rectangles whose right and lower bounds are not in them."""
    filled = (x0 < x1) & (y0 < y1)
    x0, x1, y0, y1 = (np.where(filled, bound, 0) for bound in (x0, x1, y0, y1))
    return np.asarray(summed[y1, x1] - summed[y0, x1] - summed[y1, x0] + summed[y0, x0])


def whole(spec: SystemSpec) -> SystemSpec:
    """Return a system without its dead parts."""
    return replace(spec, dead=None)


def chip_of(spec: SystemSpec) -> SystemSpec:
    """Return one chip of a system as a system of its own: its mesh, and where the host can join it."""
    if spec.links is None:
        return whole(spec)
    size = spec.links.width, spec.links.height
    gates = None if spec.gates is None else spec.gates.of_chip(*size)
    return replace(spec, width=size[0], height=size[1], links=None, dead=None, gates=gates)


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
    return tuple(Port(port) for port in np.unique(topology_of(whole(spec)).links % PLACES).tolist())


def comes_out(spec: SystemSpec, x0: Ints, x1: Ints, y1: Ints) -> Ints:
    """Return how many copies of packets, by their rectangles, go to the host: one by each outlet.

    A packet that has to go further south than the mesh does so in every column of its rectangle.
    """
    columns = np.array(outlets_of(spec.gates), np.int64)
    copies = np.searchsorted(columns, x1, side="right") - np.searchsorted(columns, x0)
    return np.asarray(np.maximum(copies, 0) * (np.asarray(y1) >= spec.height), np.int64)
