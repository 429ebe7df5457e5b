# SPDX-License-Identifier: Apache-2.0
"""Sets of cells covered by rectangles, as `mapping.layout.cover` does; compiled."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from emu.jit import inner
from mapping.layout.place.changes.board import Board, Ints, State

__all__ = ["cover"]


@inner
def _corner_at(run: Ints, row: Ints, width: int, height: int, x: int, y: int) -> None:
    """Find the largest full rectangle with this north-west corner."""
    limit, at, best = width + 1, y, 0
    while at < height and run[at * width + x] > 0:
        limit = min(limit, run[at * width + x])
        area = limit * (at - y + 1)
        if area > best:
            best = area
            row[0], row[1], row[2], row[3], row[4] = area, x, x + limit - 1, y, at
        at += 1
    if best == 0:
        row[0] = 0


@inner
def _runs(run: Ints, position: Ints, members: Ints, width: int) -> None:
    """Tell for each cell of a set how many follow each other from there on to the east."""
    for core in members:
        run[position[core, 1] * width + position[core, 0]] = 1
    for core in members:
        x, y = position[core, 0], position[core, 1]
        cell = y * width + x
        if x == 0 or run[cell - 1] == 0:
            length = 1
            while x + length < width and run[cell + length] > 0:
                length += 1
            for k in range(length):
                run[cell + k] = length - k


@inner
def _remove(run: Ints, corner: Ints, largest: int, width: int, height: int) -> None:
    """Take a rectangle out of the cells of a set, and look again where it was in the way."""
    row = corner[largest]
    x0, x1, y0, y1 = row[1], row[2], row[3], row[4]
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            run[y * width + x] = 0
        x, length = x0 - 1, 1
        while x >= 0 and run[y * width + x] > 0:
            run[y * width + x] = length
            x, length = x - 1, length + 1
    for other in corner:
        meets = other[1] <= x1 and x0 <= other[2] and other[3] <= y1 and y0 <= other[4]
        if other[0] > 0 and meets:
            _corner_at(run, other, width, height, other[1], other[3])


@inner
def _largest(corner: Ints) -> int:
    """Return which rectangle is largest, the westernmost and then the northernmost of equal ones."""
    largest = 0
    for i in range(1, len(corner)):
        one, most = corner[i], corner[largest]
        before = one[1] < most[1] or (one[1] == most[1] and one[3] < most[3])
        if one[0] > most[0] or (one[0] == most[0] and before):
            largest = i
    return largest


@inner
def cover(board: Board, state: State, group: int) -> None:
    """Cover where the cores of a set are to be by rectangles, largest first."""
    width, height, position, run = board.width, board.height, state.position[1], state.run
    members = board.member[board.member_at[group] : board.member_at[group + 1]]
    x0, x1, y0, y1 = width, -1, height, -1
    for core in members:
        x, y = position[core, 0], position[core, 1]
        x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
    into, count, left = board.box_at[group], 1, len(members)
    box = state.boxes[1, into]
    box[0], box[1], box[2], box[3] = x0, x1, y0, y1
    if (x1 - x0 + 1) * (y1 - y0 + 1) != left:
        _runs(run, position, members, width)
        corner = state.corner[:left]
        for i in range(left):
            _corner_at(run, corner[i], width, height, position[members[i], 0], position[members[i], 1])
        count = 0
        while left > 0:
            largest = _largest(corner)
            for k in range(4):
                state.boxes[1, into + count, k] = corner[largest, 1 + k]
            left -= corner[largest, 0]
            count += 1
            _remove(run, corner, largest, width, height)
    state.boxes_of[1, group] = count
