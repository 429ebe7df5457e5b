# SPDX-License-Identifier: Apache-2.0
"""The ways of packets without time: hops of many equal packets in one walk (network.md, "Ports and routes").

A packet's way depends on where it starts and on its rectangle only, so packets are counted while a run goes
on, and every way is walked once at its end. Who receives a packet is in `emu.kernels.fabric`.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import inner, njit
from emu.kernels.state import (
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

__all__ = ["count_routes"]


@inner
def _column(program: Program, state: State, x: int, y: int, packet: Ints, copies: int) -> bool:
    """Take packets that turn into column x at row y to their end; return whether they wanted an output."""
    y0, y1, width = packet[Y0], packet[Y1], program.width
    at = y
    while y1 > at:
        router = at * width + x
        if at == program.height - 1:
            state.counters[HOPS if x == 0 else ROUTER_ERRORS, router] += copies
            break
        state.counters[HOPS, router] += copies
        at += 1
        if y1 <= at and not y0 <= at <= y1:
            state.counters[ROUTER_ERRORS, at * width + x] += copies
    at = y
    while y0 < at:
        state.counters[HOPS, at * width + x] += copies
        at -= 1
        if y0 >= at and not y0 <= at <= y1:
            state.counters[ROUTER_ERRORS, at * width + x] += copies
    return y1 > y or y0 < y or y0 == y == y1  # type: ignore[no-any-return]


@inner
def _eastwards(program: Program, state: State, x: int, y: int, packet: Ints, copies: int) -> None:
    """Continue with packets that came into router (x, y) by its west port."""
    while True:
        turned = packet[X0] <= x <= packet[X1] and _column(program, state, x, y, packet, copies)
        router = y * program.width + x
        if packet[X1] <= x:
            if not turned:
                state.counters[ROUTER_ERRORS, router] += copies
            return
        if x == program.width - 1:
            state.counters[ROUTER_ERRORS, router] += copies
            return
        state.counters[HOPS, router] += copies
        x += 1


@inner
def _westwards(program: Program, state: State, x: int, y: int, packet: Ints, copies: int) -> None:
    """Continue with packets that came into router (x, y) by its east port."""
    while True:
        turned = packet[X0] <= x <= packet[X1] and _column(program, state, x, y, packet, copies)
        router = y * program.width + x
        if packet[X0] >= x:
            if not turned:
                state.counters[ROUTER_ERRORS, router] += copies
            return
        state.counters[HOPS, router] += copies
        x -= 1


@inner
def _from_core(program: Program, state: State, core: int, packet: Ints, copies: int) -> None:
    """Count packets of a core; ``packet`` begins with x0, x1, y0, y1."""
    x, y = core % program.width, core // program.width
    state.counters[PACKETS, core] += copies
    wanted = False
    if packet[X0] <= x <= packet[X1]:
        wanted = _column(program, state, x, y, packet, copies)
    if packet[X1] > x:
        wanted = True
        if x == program.width - 1:
            state.counters[ROUTER_ERRORS, core] += copies
        else:
            state.counters[HOPS, core] += copies
            _eastwards(program, state, x + 1, y, packet, copies)
    if packet[X0] < x:
        wanted = True
        state.counters[HOPS, core] += copies
        _westwards(program, state, x - 1, y, packet, copies)
    if not wanted:
        state.counters[ROUTER_ERRORS, core] += copies


@inner
def _arrive(program: Program, state: State, packet: Ints, copies: int) -> None:
    """Count packets at every core of their rectangle."""
    for y in range(packet[Y0], min(packet[Y1], program.height - 1) + 1):
        for x in range(packet[X0], min(packet[X1], program.width - 1) + 1):
            state.counters[DELIVERIES, y * program.width + x] += copies


@njit
def count_routes(program: Program, state: State, rectangles: Ints, fed: Ints) -> None:
    """Add to the counters what the packets of a functional run have met on their ways.

    A packet that a core has sunk, which is counted already, is no delivery.

    Parameters
    ----------
    rectangles : int64 (r, 4)
        x0, x1, y0, y1 of stimulus packets.
    fed : int64 (r,)
        How many had this rectangle.
    """
    for i in range(len(fed)):
        _arrive(program, state, rectangles[i], fed[i])
        _eastwards(program, state, 0, 0, rectangles[i], fed[i])
    for core in range(len(program.enabled)):
        for entry in range(program.fanout_at[core], program.fanout_at[core] + program.fanouts[core]):
            if state.sent[entry] > 0:
                _arrive(program, state, program.fanout[entry], state.sent[entry])
                _from_core(program, state, core, program.fanout[entry], state.sent[entry])
    for core in range(len(program.enabled)):
        state.counters[DELIVERIES, core] -= state.counters[ERRORS, core]
