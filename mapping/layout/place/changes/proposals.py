# SPDX-License-Identifier: Apache-2.0
"""Changes that are drawn: half of them move an end of a flow over a part that is too busy; compiled."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from emu.jit import inner
from mapping.layout.mesh import EAST, SOUTH, WEST
from mapping.layout.place.changes.board import DONE, MOVED, OVER, WHERE, Board, State
from mapping.layout.place.changes.draws import Floats, chance, draw, exchange, number, shift
from mapping.layout.place.changes.prices import Aims, excess_of

__all__ = ["propose"]

_MIRROR, _ROLL = 0.1, 0.05
"""Share of changes that mirror a window, and of those that roll one; the others exchange two."""

_AIMED, _AGAIN = 0.5, 0.2
"""Share of changes that move an end of a flow over a busy part, and of these that look for another part."""


@inner
def _goes(port: int, x: int, y: int, start_x: int, start_y: int, x0: int, x1: int, y0: int, y1: int) -> bool:
    """Tell whether the tree from a router to a rectangle has a link, the output ``port`` of a router."""
    if port == EAST:
        return start_y == y and start_x <= x < x1
    if port == WEST:
        return start_y == y and x0 < x <= start_x
    if port == SOUTH:
        return x0 <= x <= x1 and start_y <= y < y1
    return x0 <= x <= x1 and y0 < y <= start_y


@inner
def _list_over(board: Board, state: State, port: int, x: int, y: int) -> None:
    """List the flows that go over a link, once for each of their packets that does."""
    n = 0
    for flow in range(len(board.source)):
        source, group = state.position[0, board.source[flow]], board.readers[flow]
        first = board.box_at[group]
        for at in range(first, first + state.boxes_of[0, group]):
            box = state.boxes[0, at]
            if _goes(port, x, y, source[0], source[1], box[0], box[1], box[2], box[3]):
                state.over[n] = flow
                n += 1
    state.at[OVER] = n
    state.at[DONE] += len(board.source) // 20


@inner
def _aim(board: Board, state: State, draws: Floats, aims: Aims) -> None:
    """Draw a part that is too busy, the more the likelier, and list the flows over one of its links."""
    total, parts, at = 0.0, state.busy.shape[1], state.at
    for part in range(parts):
        total += excess_of(state.busy[0, part], state.busy[1, part], aims)
    at[OVER] = 0
    wanted = number(at, draws) * total
    if total > 0:
        part, sums = -1, 0.0
        while sums <= wanted and part < parts - 1:
            part += 1
            sums += excess_of(state.busy[0, part], state.busy[1, part], aims)
        at[WHERE] = part
        first = board.link_at[part]
        link = board.link[first + draw(at, draws, board.link_at[part + 1] - first)]
        port, cell = divmod(link, board.width * board.height)
        _list_over(board, state, port, cell % board.width, cell // board.width)


@inner
def _aimed(board: Board, state: State, draws: Floats, aims: Aims) -> int:
    """Draw an end of a flow over a part that is too busy; -1 if there is none."""
    at = state.at
    again = chance(at, draws, _AGAIN) or at[OVER] == 0
    if again or excess_of(state.busy[0, at[WHERE]], state.busy[1, at[WHERE]], aims) <= 0:
        _aim(board, state, draws, aims)
    if at[OVER] == 0:
        return -1
    flow = state.over[draw(at, draws, at[OVER])]
    source, group = board.source[flow], board.readers[flow]
    first, fed = board.member_at[group], source >= board.cores
    size = board.member_at[group + 1] - first
    if size == 0 or (not fed and chance(at, draws, 0.5)):
        return -1 if fed else int(source)
    return int(board.member[first + draw(at, draws, size)])


@inner
def propose(board: Board, state: State, draws: Floats, aims: Aims) -> bool:
    """Draw a change; return whether it moves something and is legal."""
    state.at[MOVED], x, y = 0, -1, -1
    core = _aimed(board, state, draws, aims) if chance(state.at, draws, _AIMED) else -1
    if core >= 0:
        x, y = state.position[0, core]
    kind = number(state.at, draws)
    if kind < _MIRROR + _ROLL:
        legal = shift(board, state, draws, x, y, kind < _MIRROR)
    else:
        legal = exchange(board, state, draws, x, y)
    return legal and state.at[MOVED] > 0
