# SPDX-License-Identifier: Apache-2.0
"""The ways of packets without time: hops of many equal packets in one walk (network.md, "Ports and routes").

A packet's way depends on where it starts and on its rectangle only, so packets are counted while a run goes
on, and every way is walked once at its end. What a core does with a packet is in `emu.kernels.fabric`.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import inner, njit
from emu.kernels.state import (
    CROSSINGS,
    DELIVERIES,
    ERRORS,
    HOPS,
    PACKETS,
    ROUTER_ERRORS,
    X0,
    X1,
    Y0,
    Y1,
    Ints,
    Program,
    State,
)
from emu.topology import NOTHING, PLACES, Port

__all__ = ["count_routes"]

NORTH, EAST, SOUTH, WEST, LOCAL = map(int, Port)


@inner
def _go(program: Program, state: State, router: int, port: int, copies: int) -> int:
    """Send packets out of a router; return the router that they come to, -1 if they go out or are sunk."""
    output = PLACES * router + port
    place = program.behind[output]
    state.counters[CROSSINGS, router] += copies * program.links[output]
    state.counters[ROUTER_ERRORS if place == NOTHING else HOPS, router] += copies
    return place >> 3  # type: ignore[no-any-return]


@inner
def _arrive(program: Program, state: State, router: int, copies: int) -> None:
    """Count packets for the core of a router; where that is dead or cut off they are sunk."""
    there = program.behind[PLACES * router + LOCAL] != NOTHING
    state.counters[DELIVERIES if there else ROUTER_ERRORS, router] += copies


@inner
def _column(program: Program, state: State, router: int, packet: Ints, copies: int) -> bool:
    """Take packets that turn into a column to their end; return whether they wanted an output."""
    y0, y1, y = packet[Y0], packet[Y1], router // program.width
    if y0 <= y <= y1:
        _arrive(program, state, router, copies)
    at, row = router, y
    while y1 > row and at >= 0:
        at, row = _go(program, state, at, SOUTH, copies), row + 1
        if at >= 0 and y0 <= row <= y1:
            _arrive(program, state, at, copies)
        elif at >= 0 and y1 <= row:
            state.counters[ROUTER_ERRORS, at] += copies
    at, row = router, y
    while y0 < row and at >= 0:
        at, row = _go(program, state, at, NORTH, copies), row - 1
        if at >= 0 and y0 <= row <= y1:
            _arrive(program, state, at, copies)
        elif at >= 0 and y0 >= row:
            state.counters[ROUTER_ERRORS, at] += copies
    return y1 > y or y0 < y or y0 == y == y1  # type: ignore[no-any-return]


@inner
def _along(program: Program, state: State, router: int, port: int, packet: Ints, copies: int) -> None:
    """Continue with packets that have come to a router on their way along its row, by ``port``."""
    while router >= 0:
        x = router % program.width
        turned = packet[X0] <= x <= packet[X1] and _column(program, state, router, packet, copies)
        if packet[X1] <= x if port == EAST else packet[X0] >= x:
            if not turned:
                state.counters[ROUTER_ERRORS, router] += copies
            return
        router = _go(program, state, router, port, copies)


@inner
def _from_core(program: Program, state: State, core: int, packet: Ints, copies: int) -> None:
    """Count packets of a core; ``packet`` begins with x0, x1, y0, y1."""
    x = core % program.width
    state.counters[PACKETS, core] += copies
    wanted = packet[X1] > x or packet[X0] < x
    if packet[X0] <= x <= packet[X1]:
        wanted = _column(program, state, core, packet, copies) or wanted
    if packet[X1] > x:
        _along(program, state, _go(program, state, core, EAST, copies), EAST, packet, copies)
    if packet[X0] < x:
        _along(program, state, _go(program, state, core, WEST, copies), WEST, packet, copies)
    if not wanted:
        state.counters[ROUTER_ERRORS, core] += copies


@njit
def count_routes(program: Program, state: State, rectangles: Ints, fed: Ints) -> None:
    """Add to the counters what the packets of a functional run have met on their ways.

    A packet that a core has sunk, which is counted already, is no delivery.

    Parameters
    ----------
    rectangles : int64 (r, 5)
        x0, x1, y0, y1 of stimulus packets, and their inlet.
    fed : int64 (r,)
        How many had this rectangle and inlet.
    """
    for i in range(len(fed)):
        inlet = program.inlets[rectangles[i, 4]]
        onward = EAST if inlet % PLACES == WEST else WEST
        _along(program, state, inlet // PLACES, onward, rectangles[i], fed[i])
    for core in range(len(program.enabled)):
        for entry in range(program.fanout_at[core], program.fanout_at[core] + program.fanouts[core]):
            if state.sent[entry] > 0:
                _from_core(program, state, core, program.fanout[entry], state.sent[entry])
    for core in range(len(program.enabled)):
        state.counters[DELIVERIES, core] -= state.counters[ERRORS, core]
