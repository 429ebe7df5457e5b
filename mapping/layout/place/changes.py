# SPDX-License-Identifier: Apache-2.0
"""Changes of a placement, drawn, priced and taken or refused, thousands a call; compiled.

Loads are changed link by link: the packets of the flows that a change concerns are taken off their old ways
and put on their new ones, and what was there before comes back if the change is refused.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.jit import inner, njit

__all__ = ["ALL", "BETTER", "DONE", "FREE", "HOPS", "NONE", "OVER", "Board", "State", "change"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FREE, NONE = -1, -2
"""What a cell holds if nothing is placed there, and if nothing may be."""

BETTER, ALL = 1, 0
"""Why `change` returns: a placement is better than the best one, or draws or work are used up."""

DONE, HOPS, NOW, TOUCHED, MOVED, SETS, FLOWS, OVER, USED, BLOCKED, WHERE = range(11)
"""Places in `State.at`: work done, hops of cores' packets, number of the change, lengths of lists (touched
parts, moved cores, concerned sets and flows, flows over a busy part), draws used, parts that are too busy for
a best placement, and the part that `over` is for."""

_NORTH, _EAST, _SOUTH, _WEST = range(4)
_MOST_DRAWS = 20

_WINDOW = 6
_ALONE, _NEAR = 0.5, 0.7
_MIRROR, _ROLL = 0.1, 0.05
_AIMED, _AGAIN = 0.5, 0.2


class Board(NamedTuple):
    """What no change alters; lists by number are a table of beginnings (``..._at``) and one of all.

    Sources are cores, then inlets; sets of readers are those of the traffic, then one for each outlet. Parts
    are what packets occupy: a link, or the links of a side that share one.
    """

    width: int
    height: int
    cores: int
    source: Ints
    packets: Ints
    readers: Ints
    member_at: Ints
    member: Ints
    box_at: Ints
    sets_at: Ints
    sets: Ints
    sent_at: Ints
    sent: Ints
    read_at: Ints
    read: Ints
    part: Ints
    cycles: Ints
    link_at: Ints
    link: Ints
    entrance: Ints


class State(NamedTuple):
    """A placement, what its packets occupy, and room for a change.

    ``busy`` has the cycles of cores' packets and of the host's, (2, parts).
    """

    position: Ints
    cell: Ints
    boxes: Ints
    boxes_of: Ints
    busy: Ints
    at: Ints
    new_position: Ints
    new_boxes: Ints
    new_boxes_of: Ints
    kept: Ints
    touched: Ints
    part_stamp: Ints
    set_stamp: Ints
    flow_stamp: Ints
    moved: Ints
    target: Ints
    changed_sets: Ints
    changed_flows: Ints
    over: Ints
    run: Ints
    corner: Ints


@inner
def _add(board: Board, state: State, link: int, kind: int, packets: int) -> None:
    """Put packets on a link; note what it had before if that was not yet done for this change."""
    part, at = board.part[link], state.at
    if state.part_stamp[part] != at[2]:
        state.part_stamp[part] = at[2]
        row = state.touched[at[3]]
        row[0], row[1], row[2] = part, state.busy[0, part], state.busy[1, part]
        at[3] += 1
    state.busy[kind, part] += packets * board.cycles[link]


@inner
def _walk(board: Board, state: State, flow: int, old: bool, sign: int) -> None:
    """Take the packets of a flow off their old ways, or put them on the new ones."""
    source, group = board.source[flow], board.readers[flow]
    position = state.position if old else state.new_position
    boxes = state.boxes if old else state.new_boxes
    count = state.boxes_of[group] if old else state.new_boxes_of[group]
    kind, packets = (0 if source < board.cores else 1), sign * board.packets[flow]
    x, y, plane = position[source, 0], position[source, 1], board.width * board.height
    row, width = y * board.width, board.width
    moved = state.position[source, 0] != state.new_position[source, 0]
    moved = moved or state.position[source, 1] != state.new_position[source, 1]
    for at in range(board.box_at[group], board.box_at[group] + count):
        if not moved and state.kept[0 if old else 1, at] == state.at[2]:
            continue
        x0, x1, y0, y1 = boxes[at, 0], boxes[at, 1], boxes[at, 2], boxes[at, 3]
        if kind == 1:
            _add(board, state, board.entrance[source - board.cores], kind, packets)
        else:
            down = (x1 - x0 + 1) * (max(y, y1) - min(y, y0))
            state.at[1] += packets * (max(x, x1) - min(x, x0) + down)
        for way in range(4):
            horizontal = way < 2
            first, last = (x0, x0) if horizontal else (x0, x1)
            if way == 0:
                port, begin, end = 1, x, x1
            elif way == 1:
                port, begin, end = 3, x0 + 1, x + 1
            elif way == 2:
                port, begin, end = 2, y, y1
            else:
                port, begin, end = 0, y0 + 1, y + 1
            base, stride = (port * plane + row, 1) if horizontal else (port * plane, width)
            for column in range(first, last + 1):
                left = 0 if horizontal else column
                for k in range(begin, end):
                    _add(board, state, base + left + k * stride, kind, packets)


@inner
def _corner_at(board: Board, state: State, i: int, x: int, y: int) -> None:
    """Find the largest full rectangle with this north-west corner, as `mapping.layout.cover` does."""
    limit, at, best = board.width + 1, y, 0
    row = state.corner[i]
    while at < board.height and state.run[at * board.width + x] > 0:
        limit = min(limit, state.run[at * board.width + x])
        area = limit * (at - y + 1)
        if area > best:
            best = area
            row[0], row[1], row[2], row[3], row[4] = area, x, x + limit - 1, y, at
        at += 1
    if best == 0:
        row[0] = 0


@inner
def _runs(board: Board, state: State, group: int) -> None:
    """Tell for each cell of a set how many follow each other from there on to the east."""
    first, end = board.member_at[group], board.member_at[group + 1]
    for i in range(first, end):
        core = board.member[i]
        state.run[state.new_position[core, 1] * board.width + state.new_position[core, 0]] = 1
    for i in range(first, end):
        core = board.member[i]
        x, y = state.new_position[core, 0], state.new_position[core, 1]
        cell = y * board.width + x
        if x == 0 or state.run[cell - 1] == 0:
            length = 1
            while x + length < board.width and state.run[cell + length] > 0:
                length += 1
            for k in range(length):
                state.run[cell + k] = length - k


@inner
def _remove(board: Board, state: State, largest: int, cores: int) -> None:
    """Take a rectangle out of the cells of a set, and look again where it was in the way."""
    row = state.corner[largest]
    x0, x1, y0, y1 = row[1], row[2], row[3], row[4]
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            state.run[y * board.width + x] = 0
        x, length = x0 - 1, 1
        while x >= 0 and state.run[y * board.width + x] > 0:
            state.run[y * board.width + x] = length
            x, length = x - 1, length + 1
    for i in range(cores):
        other = state.corner[i]
        meets = other[1] <= x1 and x0 <= other[2] and other[3] <= y1 and y0 <= other[4]
        if other[0] > 0 and meets:
            _corner_at(board, state, i, other[1], other[3])


@inner
def _cover(board: Board, state: State, group: int) -> None:
    """Cover where the cores of a set are to be by rectangles, largest first."""
    first, cores = board.member_at[group], board.member_at[group + 1] - board.member_at[group]
    x0, x1, y0, y1 = board.width, -1, board.height, -1
    for i in range(first, first + cores):
        x, y = state.new_position[board.member[i], 0], state.new_position[board.member[i], 1]
        x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
    into, count = board.box_at[group], 1
    box = state.new_boxes[into]
    box[0], box[1], box[2], box[3] = x0, x1, y0, y1
    if (x1 - x0 + 1) * (y1 - y0 + 1) != cores:
        _runs(board, state, group)
        for i in range(cores):
            core = board.member[first + i]
            _corner_at(board, state, i, state.new_position[core, 0], state.new_position[core, 1])
        count, left = 0, cores
        while left > 0:
            largest = 0
            for i in range(1, cores):
                one, most = state.corner[i], state.corner[largest]
                before = one[1] < most[1] or (one[1] == most[1] and one[3] < most[3])
                if one[0] > most[0] or (one[0] == most[0] and before):
                    largest = i
            for k in range(4):
                state.new_boxes[into + count, k] = state.corner[largest, 1 + k]
            left -= state.corner[largest, 0]
            count += 1
            _remove(board, state, largest, cores)
    state.new_boxes_of[group] = count


@inner
def _excess(own: int, fed: int, aims: Floats) -> float:
    """Return by which share a part is busy for longer than what is aimed at (`Price.excess`)."""
    sent, every = own * aims[0] - 1.0, (own + fed) * aims[1] - 1.0
    return max(sent, 0.0) + aims[2] * max(every, 0.0)  # type: ignore[no-any-return]


@inner
def _draw(state: State, draws: Floats, below: int) -> int:
    """Draw a number from 0 on."""
    state.at[8] += 1
    return int(draws[state.at[8] - 1] * below)


@inner
def _chance(state: State, draws: Floats, share: float) -> bool:
    """Draw whether something happens that does in this share of all cases."""
    state.at[8] += 1
    return draws[state.at[8] - 1] < share  # type: ignore[no-any-return]


@inner
def _move(board: Board, state: State, core: int, x: int, y: int) -> None:
    """Let a cell's core, if it has one, move."""
    if core >= 0 and (state.position[core, 0] != x or state.position[core, 1] != y):
        n = state.at[4]
        state.moved[n], state.target[n] = core, y * board.width + x
        state.at[4] += 1


@inner
def _begin(state: State, draws: Floats, axis: int, core: int, size: int, whole: int) -> int:
    """Draw where a window begins along an axis; it holds a core unless that is -1."""
    if core < 0:
        return _draw(state, draws, whole - size + 1)
    return min(max(state.position[core, axis] - _draw(state, draws, size), 0), whole - size)  # type: ignore[no-any-return]


@inner
def _shift(board: Board, state: State, draws: Floats, core: int, mirror: bool) -> bool:
    """Draw a window that is mirrored, or rolled by a column or row; return whether nothing is in its way."""
    width, height, axis = board.width, board.height, _draw(state, draws, 2)
    most = _WINDOW if mirror else max(width, height)
    across, down = (most, _WINDOW) if axis == 0 else (_WINDOW, most)
    w = 1 + _draw(state, draws, min(width, across))
    h = 1 + _draw(state, draws, min(height, down))
    left = _begin(state, draws, 0, core, w, width)
    top = _begin(state, draws, 1, core, h, height)
    by = 1 - 2 * _draw(state, draws, 2)
    for y in range(h):
        for x in range(w):
            here = state.cell[(top + y) * width + left + x]
            if here == -2:
                return False
            to_x, to_y = x, y
            if axis == 0:
                to_x = w - 1 - x if mirror else (x + by + w) % w
            else:
                to_y = h - 1 - y if mirror else (y + by + h) % h
            _move(board, state, here, left + to_x, top + to_y)
    return True


@inner
def _exchange(board: Board, state: State, draws: Floats, core: int) -> bool:
    """Draw two windows that are exchanged; return whether nothing is in their way."""
    width, height, w, h = board.width, board.height, 1, 1
    if not _chance(state, draws, _ALONE):
        w = 1 + _draw(state, draws, min(max(width // 2, 1), _WINDOW))
        h = 1 + _draw(state, draws, min(max(height // 2, 1), _WINDOW))
    left, top = _begin(state, draws, 0, core, w, width), _begin(state, draws, 1, core, h, height)
    if _chance(state, draws, _NEAR):
        x = left + _draw(state, draws, 2 * _WINDOW + 1) - _WINDOW
        y = top + _draw(state, draws, 2 * _WINDOW + 1) - _WINDOW
        x, y = min(max(x, 0), width - w), min(max(y, 0), height - h)
    else:
        x, y = _draw(state, draws, width - w + 1), _draw(state, draws, height - h + 1)
    if abs(left - x) < w and abs(top - y) < h:
        return False
    for i in range(h):
        for k in range(w):
            here = state.cell[(top + i) * width + left + k]
            there = state.cell[(y + i) * width + x + k]
            if here == -2 or there == -2:
                return False
            _move(board, state, here, x + k, y + i)
            _move(board, state, there, left + k, top + i)
    return True


@inner
def _over(board: Board, state: State, port: int, x: int, y: int) -> None:
    """List the flows that go over a link, once for each of their packets that does."""
    n = 0
    for flow in range(len(board.source)):
        source, group = board.source[flow], board.readers[flow]
        sx, sy = state.position[source, 0], state.position[source, 1]
        for at in range(board.box_at[group], board.box_at[group] + state.boxes_of[group]):
            x0, x1, y0, y1 = state.boxes[at, 0], state.boxes[at, 1], state.boxes[at, 2], state.boxes[at, 3]
            if port == 1:
                goes = sy == y and sx <= x < x1
            elif port == 3:
                goes = sy == y and x0 < x <= sx
            elif port == 2:
                goes = x0 <= x <= x1 and sy <= y < y1
            else:
                goes = x0 <= x <= x1 and y0 < y <= sy
            if goes:
                state.over[n] = flow
                n += 1
    state.at[7] = n
    state.at[0] += len(board.source) // 20


@inner
def _aim(board: Board, state: State, draws: Floats, aims: Floats) -> None:
    """Draw a part that is too busy, the more the likelier, and list the flows over one of its links."""
    total, parts = 0.0, state.busy.shape[1]
    for part in range(parts):
        total += _excess(state.busy[0, part], state.busy[1, part], aims)
    state.at[7] = 0
    state.at[8] += 1
    wanted = draws[state.at[8] - 1] * total
    if total > 0:
        part, sums = -1, 0.0
        while sums <= wanted and part < parts - 1:
            part += 1
            sums += _excess(state.busy[0, part], state.busy[1, part], aims)
        state.at[10] = part
        first = board.link_at[part]
        link = board.link[first + _draw(state, draws, board.link_at[part + 1] - first)]
        cell = link % (board.width * board.height)
        port = link // (board.width * board.height)
        _over(board, state, port, cell % board.width, cell // board.width)


@inner
def _aimed(board: Board, state: State, draws: Floats, aims: Floats) -> int:
    """Draw an end of a flow over a part that is too busy; -1 if there is none."""
    part = state.at[10]
    again = _chance(state, draws, _AGAIN) or state.at[7] == 0
    if again or _excess(state.busy[0, part], state.busy[1, part], aims) <= 0:
        _aim(board, state, draws, aims)
    if state.at[7] == 0:
        return -1
    flow = state.over[_draw(state, draws, state.at[7])]
    source, group = board.source[flow], board.readers[flow]
    first, fed = board.member_at[group], source >= board.cores
    size = board.member_at[group + 1] - first
    if size == 0 or (not fed and _chance(state, draws, 0.5)):
        return -1 if fed else int(source)
    return int(board.member[first + _draw(state, draws, size)])


@inner
def _propose(board: Board, state: State, draws: Floats, aims: Floats) -> bool:
    """Draw a change; return whether it moves something and is legal."""
    state.at[4] = 0
    core = _aimed(board, state, draws, aims) if _chance(state, draws, _AIMED) else -1
    state.at[8] += 1
    kind = draws[state.at[8] - 1]
    if kind < _MIRROR + _ROLL:
        legal = _shift(board, state, draws, core, kind < _MIRROR)
    else:
        legal = _exchange(board, state, draws, core)
    return legal and state.at[4] > 0


@inner
def _note_flow(state: State, flow: int) -> None:
    """Note a flow whose ways may change."""
    if state.flow_stamp[flow] != state.at[2]:
        state.flow_stamp[flow] = state.at[2]
        state.changed_flows[state.at[6]] = flow
        state.at[6] += 1


@inner
def _covers(board: Board, state: State, group: int) -> None:
    """Cover a set anew, note which rectangles are as before, and its flows unless all are."""
    _cover(board, state, group)
    first = board.box_at[group]
    left = state.new_boxes_of[group] + state.boxes_of[group]
    for at in range(first, first + state.boxes_of[group]):
        box = state.boxes[at]
        for other in range(first, first + state.new_boxes_of[group]):
            new = state.new_boxes[other]
            if box[0] == new[0] and box[1] == new[1] and box[2] == new[2] and box[3] == new[3]:
                state.kept[0, at] = state.kept[1, other] = state.at[2]
                left -= 2
                break
    if left > 0:
        for i in range(board.read_at[group], board.read_at[group + 1]):
            _note_flow(state, board.read[i])


@inner
def _apply(board: Board, state: State) -> None:
    """Put the loads of a change on the links."""
    at = state.at
    at[2] += 1
    at[3], at[5], at[6] = 0, 0, 0
    for i in range(at[4]):
        core = state.moved[i]
        state.new_position[core, 0] = state.target[i] % board.width
        state.new_position[core, 1] = state.target[i] // board.width
    for i in range(at[4]):
        core = state.moved[i]
        for k in range(board.sent_at[core], board.sent_at[core + 1]):
            _note_flow(state, board.sent[k])
        for k in range(board.sets_at[core], board.sets_at[core + 1]):
            group = board.sets[k]
            if state.set_stamp[group] != at[2]:
                state.set_stamp[group] = at[2]
                state.changed_sets[at[5]] = group
                at[5] += 1
    for i in range(at[5]):
        _covers(board, state, state.changed_sets[i])
    for turn in range(2):
        for i in range(at[6]):
            _walk(board, state, state.changed_flows[i], turn == 0, 2 * turn - 1)
    at[0] += 10 + at[6]


@inner
def _settle(board: Board, state: State, taken: bool) -> None:
    """Let the new placement be the placement, or the other way about."""
    at = state.at
    for i in range(at[4]):
        core = state.moved[i]
        if taken:
            state.cell[state.position[core, 1] * board.width + state.position[core, 0]] = -1
    for i in range(at[4]):
        core = state.moved[i]
        if taken:
            state.cell[state.target[i]] = core
            state.position[core, 0], state.position[core, 1] = state.new_position[core]
        else:
            state.new_position[core, 0], state.new_position[core, 1] = state.position[core]
    for i in range(at[5]):
        group = state.changed_sets[i]
        count = state.new_boxes_of[group] if taken else state.boxes_of[group]
        state.boxes_of[group] = state.new_boxes_of[group] = count
        for k in range(board.box_at[group], board.box_at[group] + count):
            for j in range(4):
                if taken:
                    state.boxes[k, j] = state.new_boxes[k, j]
                else:
                    state.new_boxes[k, j] = state.boxes[k, j]
    if not taken:
        for i in range(at[3]):
            part = state.touched[i, 0]
            state.busy[0, part], state.busy[1, part] = state.touched[i, 1], state.touched[i, 2]


@inner
def _dear(hops: int, scales: Floats) -> float:
    """Return hops as a share of those that are allowed; more than all are dear (`Price.hops`)."""
    share = hops * scales[2]
    return share + scales[3] * max(share - 1.0, 0.0)  # type: ignore[no-any-return]


@inner
def _blocked(own: int, fed: int, bounds: Ints) -> int:
    """Return 1 if a part is busy for longer than in any placement that is better than the best one."""
    return 1 if own > bounds[0] or own + fed > bounds[1] else 0


@inner
def _better(state: State, bounds: Ints) -> bool:
    """Tell whether the placement is better than the best one, if no part is blocked."""
    if state.at[9] > 0 or state.at[1] > bounds[2]:
        return False
    most, whole = 0, 0
    for part in range(state.busy.shape[1]):
        own = state.busy[0, part]
        most, whole = max(most, own), max(whole, own + state.busy[1, part])
    step = max(most, bounds[3])
    if step != bounds[4]:
        return step < bounds[4]  # type: ignore[no-any-return]
    if whole != bounds[5]:
        return whole < bounds[5]  # type: ignore[no-any-return]
    if most != bounds[6]:
        return most < bounds[6]  # type: ignore[no-any-return]
    return state.at[1] < bounds[7]  # type: ignore[no-any-return]


@inner
def _saved(state: State, aims: Floats) -> float:
    """Return by how much a change lowers the excess of what it touches."""
    saved = 0.0
    for i in range(state.at[3]):
        part, own, fed = state.touched[i]
        saved += _excess(own, fed, aims)
        saved -= _excess(state.busy[0, part], state.busy[1, part], aims)
    return saved


def _change(
    board: Board, state: State, draws: Floats, aims: Floats, scales: Floats, bounds: Ints, work: int
) -> int:
    """Change a placement until one is better than the best, or draws or work are used up; return which.

    Parameters
    ----------
    draws : float64 (n,)
        Random numbers from 0 to 1.
    aims : float64 (3,)
        One over the cycles that are aimed at, with cores' packets and with all; what the latter counts.
    scales : float64 (4,)
        What all hops cost at first, how much worse changes may be at first, one over the hops that are
        allowed, and what hops beyond cost.
    bounds : int64 (8,)
        Most cycles of a part with cores' packets and with all, and most hops; the longest step of a core; the
        rank of the best placement.
    work : int
        What `DONE` ends at.
    """
    at = state.at
    at[8], at[9] = 0, 0
    for part in range(state.busy.shape[1]):
        at[9] += _blocked(state.busy[0, part], state.busy[1, part], bounds)
    while at[0] < work and at[8] + _MOST_DRAWS <= len(draws):
        if not _propose(board, state, draws, aims):
            at[0] += 1
            continue
        hops = at[1]
        _apply(board, state)
        less = math.exp(-math.log(10.0) * at[0] / work)
        saved = _saved(state, aims) + scales[0] * less * (_dear(hops, scales) - _dear(at[1], scales))
        taken = saved > 0 or _chance(state, draws, math.exp(saved / (scales[1] * less)))
        if taken:
            for i in range(at[3]):
                part, own, fed = state.touched[i]
                at[9] += _blocked(state.busy[0, part], state.busy[1, part], bounds)
                at[9] -= _blocked(own, fed, bounds)
        else:
            at[1] = hops
        _settle(board, state, taken)
        if taken and _better(state, bounds):
            return BETTER
    return ALL


change = njit(_change)
"""Compiled `_change`."""
