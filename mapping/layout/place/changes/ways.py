# SPDX-License-Identifier: Apache-2.0
"""Packets of a flow put on the links of their ways, or taken off them; compiled."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from emu.jit import inner
from mapping.layout.mesh import EAST, NORTH, SOUTH, WEST
from mapping.layout.place.changes.board import CHANGE, HOPS, TOUCHED, Board, State

__all__ = ["walk"]


@inner
def _add(board: Board, state: State, link: int, kind: int, packets: int) -> None:
    """Put packets on a link; note what it had before if that was not yet done for this change."""
    part, at = board.part[link], state.at
    if state.part_stamp[part] != at[CHANGE]:
        state.part_stamp[part] = at[CHANGE]
        row = state.touched[at[TOUCHED]]
        row[0], row[1], row[2] = part, state.busy[0, part], state.busy[1, part]
        at[TOUCHED] += 1
    state.busy[kind, part] += packets * board.cycles[link]


@inner
def _put(board: Board, state: State, link: int, stride: int, links: int, kind: int, packets: int) -> None:
    """Put packets on some links one after the other; on none if there are less."""
    for k in range(links):
        _add(board, state, link + k * stride, kind, packets)


@inner
def walk(board: Board, state: State, flow: int, turn: int) -> None:
    """Take the packets of a flow off their ways at hand (turn 0), or put them on the new ones (turn 1).

    Rectangles that stay count in neither turn if the source does.
    """
    source, group, old, new = board.source[flow], board.readers[flow], state.position[0], state.position[1]
    kind, packets = (0 if source < board.cores else 1), (2 * turn - 1) * board.packets[flow]
    moved = old[source, 0] != new[source, 0] or old[source, 1] != new[source, 1]
    x, y = state.position[turn, source, 0], state.position[turn, source, 1]
    first = board.box_at[group]
    for at in range(first, first + state.boxes_of[turn, group]):
        if not moved and state.kept[turn, at] == state.at[CHANGE]:
            continue
        box = state.boxes[turn, at]
        if kind == 1:
            _add(board, state, board.entrance[source - board.cores], kind, packets)
        else:
            down = (box[1] - box[0] + 1) * (max(y, box[3]) - min(y, box[2]))
            state.at[HOPS] += packets * (max(x, box[1]) - min(x, box[0]) + down)
        plane, width = board.width * board.height, board.width
        row = y * width
        _put(board, state, EAST * plane + row + x, 1, box[1] - x, kind, packets)
        _put(board, state, WEST * plane + row + box[0] + 1, 1, x - box[0], kind, packets)
        for column in range(box[0], box[1] + 1):
            _put(board, state, SOUTH * plane + row + column, width, box[3] - y, kind, packets)
            north = NORTH * plane + (box[2] + 1) * width + column
            _put(board, state, north, width, y - box[2], kind, packets)
