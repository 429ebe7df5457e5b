# SPDX-License-Identifier: Apache-2.0
"""Changes of a placement, drawn, priced and taken or refused, thousands a call; compiled.

Loads are changed link by link: the packets of the flows that a change concerns are taken off their old ways
and put on their new ones, and what was there before comes back if the change is refused.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

import math

from emu.jit import inner, njit
from mapping.layout.place.changes.board import (
    BLOCKED,
    CHANGE,
    CONCERNED,
    DONE,
    FLOWS,
    FREE,
    HOPS,
    MOVED,
    TOUCHED,
    USED,
    Board,
    Ints,
    State,
)
from mapping.layout.place.changes.covers import cover
from mapping.layout.place.changes.draws import MOST, Floats, chance
from mapping.layout.place.changes.prices import Aims, Rank, better, blocked, dear_of, saved
from mapping.layout.place.changes.proposals import propose
from mapping.layout.place.changes.ways import walk

__all__ = ["change"]


@inner
def _note(at: Ints, length: int, stamps: Ints, listed: Ints, one: int) -> None:
    """List a set or a flow that a change concerns, once; ``length`` is the place of the list's length."""
    if stamps[one] != at[CHANGE]:
        stamps[one] = at[CHANGE]
        listed[at[length]] = one
        at[length] += 1


@inner
def _covers(board: Board, state: State, group: int) -> None:
    """Cover a set anew, note which rectangles are as before, and its flows unless all are."""
    cover(board, state, group)
    first, stamp = board.box_at[group], state.at[CHANGE]
    before, after = state.boxes_of[0, group], state.boxes_of[1, group]
    left = before + after
    for at in range(first, first + before):
        old = state.boxes[0, at]
        for other in range(first, first + after):
            new = state.boxes[1, other]
            if old[0] == new[0] and old[1] == new[1] and old[2] == new[2] and old[3] == new[3]:
                state.kept[0, at] = state.kept[1, other] = stamp
                left -= 2
                break
    if left > 0:
        for i in range(board.read_at[group], board.read_at[group + 1]):
            _note(state.at, FLOWS, state.flow_stamp, state.flows, board.read[i])


@inner
def _apply(board: Board, state: State) -> None:
    """Put the loads of a change on the links."""
    at = state.at
    at[CHANGE] += 1
    at[TOUCHED], at[CONCERNED], at[FLOWS] = 0, 0, 0
    for i in range(at[MOVED]):
        core, cell = state.moved[i]
        state.position[1, core, 0], state.position[1, core, 1] = cell % board.width, cell // board.width
        for k in range(board.sent_at[core], board.sent_at[core + 1]):
            _note(at, FLOWS, state.flow_stamp, state.flows, board.sent[k])
        for k in range(board.sets_at[core], board.sets_at[core + 1]):
            _note(at, CONCERNED, state.set_stamp, state.concerned, board.sets[k])
    for i in range(at[CONCERNED]):
        _covers(board, state, state.concerned[i])
    for turn in range(2):
        for i in range(at[FLOWS]):
            walk(board, state, state.flows[i], turn)
    at[DONE] += 10 + at[FLOWS]


@inner
def _settle(board: Board, state: State, taken: bool) -> None:
    """Let the new placement be the one at hand, or the other way about."""
    at, of, to = state.at, (1 if taken else 0), (0 if taken else 1)
    for i in range(at[MOVED] if taken else 0):
        core = state.moved[i, 0]
        state.cell[state.position[0, core, 1] * board.width + state.position[0, core, 0]] = FREE
    for i in range(at[MOVED]):
        core, cell = state.moved[i]
        state.position[to, core, 0], state.position[to, core, 1] = state.position[of, core]
        if taken:
            state.cell[cell] = core
    for i in range(at[CONCERNED]):
        group = state.concerned[i]
        state.boxes_of[to, group] = state.boxes_of[of, group]
        first = board.box_at[group]
        for k in range(first, first + state.boxes_of[of, group]):
            for end in range(4):
                state.boxes[to, k, end] = state.boxes[of, k, end]
    if not taken:
        for i in range(at[TOUCHED]):
            part, own, fed = state.touched[i]
            state.busy[0, part], state.busy[1, part] = own, fed


@inner
def _block(state: State, limit: Rank) -> None:
    """Count the parts that are blocked after a change that is taken."""
    for i in range(state.at[TOUCHED]):
        part, own, fed = state.touched[i]
        state.at[BLOCKED] += blocked(state.busy[0, part], state.busy[1, part], limit)
        state.at[BLOCKED] -= blocked(own, fed, limit)


def _change(
    board: Board,
    state: State,
    draws: Floats,
    aims: Aims,
    hop: float,
    warm: float,
    limit: Rank,
    best: Rank,
    step: int,
    work: int,
) -> bool:
    """Change a placement until one is better than the best, or draws or work are used up.

    Parameters
    ----------
    draws : float64 (n,)
        Random numbers from 0 to 1.
    aims : Aims
        What prices compare with.
    hop, warm : float
        What all hops cost at first, and how much worse changes may be at first.
    limit, best : Rank
        What no number of a better placement may be above, and the best one's.
    step : int
        Cycles of the longest step of a core.
    work : int
        What `DONE` ends at.

    Returns
    -------
    bool
        Whether the placement at hand is better than the best one.
    """
    at = state.at
    at[USED], at[BLOCKED] = 0, 0
    for part in range(state.busy.shape[1]):
        at[BLOCKED] += blocked(state.busy[0, part], state.busy[1, part], limit)
    while at[DONE] < work and at[USED] + MOST <= len(draws):
        if not propose(board, state, draws, aims):
            at[DONE] += 1
            continue
        hops = at[HOPS]
        _apply(board, state)
        less = math.exp(-math.log(10.0) * at[DONE] / work)
        gain = saved(state, aims) + hop * less * (dear_of(hops, aims) - dear_of(at[HOPS], aims))
        taken = gain > 0 or chance(at, draws, math.exp(gain / (warm * less)))
        if taken:
            _block(state, limit)
        else:
            at[HOPS] = hops
        _settle(board, state, taken)
        if taken and better(state, limit, best, step):
            return True
    return False


change = njit(_change)
"""Compiled `_change`."""
