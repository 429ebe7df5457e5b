# SPDX-License-Identifier: Apache-2.0
"""Windows of cores that are exchanged, mirrored or rolled, drawn; compiled."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

import numpy as np
from numpy.typing import NDArray

from emu.jit import inner
from mapping.layout.place.changes.board import MOVED, NONE, USED, Board, Ints, State

__all__ = ["MOST", "Floats", "chance", "draw", "exchange", "number", "shift"]

Floats = NDArray[np.float64]

MOST = 20
"""Draws that a change takes at most."""

_WINDOW = 6
"""Most columns and rows of a window that is exchanged or mirrored, and how far away one is near."""

_ALONE, _NEAR = 0.5, 0.7
"""Share of exchanges that move single cores, and of those with a window that is near."""


@inner
def number(at: Ints, draws: Floats) -> float:
    """Draw a number from 0 to 1."""
    at[USED] += 1
    return draws[at[USED] - 1]  # type: ignore[no-any-return]


@inner
def draw(at: Ints, draws: Floats, below: int) -> int:
    """Draw a whole number from 0 on."""
    return int(number(at, draws) * below)


@inner
def chance(at: Ints, draws: Floats, share: float) -> bool:
    """Draw whether something happens that does in this share of all cases."""
    return number(at, draws) < share


@inner
def _move(state: State, core: int, here: int, to: int) -> None:
    """Let a cell's core, if it has one, move to another cell."""
    if core >= 0 and here != to:
        row = state.moved[state.at[MOVED]]
        row[0], row[1] = core, to
        state.at[MOVED] += 1


@inner
def _begin(at: Ints, draws: Floats, place: int, size: int, whole: int) -> int:
    """Draw where a window begins along an axis; it holds a place unless that is -1."""
    if place < 0:
        return draw(at, draws, whole - size + 1)
    return min(max(place - draw(at, draws, size), 0), whole - size)


@inner
def shift(board: Board, state: State, draws: Floats, x: int, y: int, mirror: bool) -> bool:
    """Draw a window that is mirrored, or rolled by a column or row; return whether nothing is in its way."""
    width, height, at = board.width, board.height, state.at
    axis = draw(at, draws, 2)
    most = _WINDOW if mirror else max(width, height)
    across, down = (most, _WINDOW) if axis == 0 else (_WINDOW, most)
    w = 1 + draw(at, draws, min(width, across))
    h = 1 + draw(at, draws, min(height, down))
    left, top = _begin(at, draws, x, w, width), _begin(at, draws, y, h, height)
    by = 1 - 2 * draw(at, draws, 2)
    for i in range(h):
        for k in range(w):
            here, to_x, to_y = (top + i) * width + left + k, k, i
            if state.cell[here] == NONE:
                return False
            if axis == 0:
                to_x = w - 1 - k if mirror else (k + by + w) % w
            else:
                to_y = h - 1 - i if mirror else (i + by + h) % h
            _move(state, state.cell[here], here, (top + to_y) * width + left + to_x)
    return True


@inner
def exchange(board: Board, state: State, draws: Floats, x: int, y: int) -> bool:
    """Draw two windows that are exchanged; return whether nothing is in their way."""
    width, height, at, w, h = board.width, board.height, state.at, 1, 1
    if not chance(at, draws, _ALONE):
        w = 1 + draw(at, draws, min(max(width // 2, 1), _WINDOW))
        h = 1 + draw(at, draws, min(max(height // 2, 1), _WINDOW))
    left, top = _begin(at, draws, x, w, width), _begin(at, draws, y, h, height)
    if chance(at, draws, _NEAR):
        right = min(max(left + draw(at, draws, 2 * _WINDOW + 1) - _WINDOW, 0), width - w)
        below = min(max(top + draw(at, draws, 2 * _WINDOW + 1) - _WINDOW, 0), height - h)
    else:
        right, below = draw(at, draws, width - w + 1), draw(at, draws, height - h + 1)
    if abs(left - right) < w and abs(top - below) < h:
        return False
    for i in range(h):
        for k in range(w):
            here, there = (top + i) * width + left + k, (below + i) * width + right + k
            if state.cell[here] == NONE or state.cell[there] == NONE:
                return False
            _move(state, state.cell[here], here, there)
            _move(state, state.cell[there], there, here)
    return True
