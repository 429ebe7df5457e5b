# SPDX-License-Identifier: Apache-2.0
"""What a placement costs, as simply as possible: every packet walked, every way of a mesh counted.

It follows `docs/reference/mapping.md` ("Place", "Route", "Inlets and outlets") and imports nothing of the
mapper: placers are measured by it, and by the best of all placements.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

__all__ = ["Cost", "Ground", "Send", "best_of_all", "cost_of"]

Cell = tuple[int, int]
Way = tuple[int, int, str]
"""x and y of a router and the side by which packets leave it."""
Route = tuple[Cell, tuple[Cell, ...], int]
"""Where packets start, the cells that they go to, and the number of their gate."""

_STEPS = {"E": (1, 0), "W": (-1, 0), "S": (0, 1), "N": (0, -1)}


@dataclass(frozen=True, kw_only=True)
class Send:
    """Packets alike: ``source`` is None if the host feeds them, ``readers`` if it reads them."""

    source: int | None
    readers: tuple[int, ...] | None
    packets: int


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A mesh: its chips, the cycles of a packet between two, its gates, and the cores that are not used."""

    width: int
    height: int
    chip: tuple[int, int] | None = None
    beats: int = 1
    shared: bool = False
    inlets: tuple[tuple[int, str], ...] = ((0, "W"),)
    outlets: tuple[int, ...] = (0,)
    unused: frozenset[Cell] = frozenset()

    def cells(self) -> list[Cell]:
        """Return the cores that may be used."""
        return [(x, y) for y in range(self.height) for x in range(self.width) if (x, y) not in self.unused]

    def part(self, way: Way) -> tuple[object, ...]:
        """Return what a packet occupies there: the way itself, or the link of a side of a chip."""
        if self.shared and self.cycles(way) > 1 and self.chip is not None:
            x, y, side = way
            return x // self.chip[0], y // self.chip[1], side, "side"
        return way

    def cycles(self, way: Way) -> int:
        """Return the cycles of a packet there."""
        x, y, side = way
        to = x + _STEPS[side][0], y + _STEPS[side][1]
        if self.chip is None or not (0 <= to[0] < self.width and 0 <= to[1] < self.height):
            return 1
        chips = [(a // self.chip[0], b // self.chip[1]) for a, b in ((x, y), to)]
        return self.beats if chips[0] != chips[1] else 1


@dataclass(frozen=True, kw_only=True, order=True)
class Cost:
    """Cycles of the busiest link, inlet or outlet, those of the busiest with what cores send, their hops."""

    busiest: int
    sent: int
    hops: int


def cost_of(sends: Sequence[Send], cells: Sequence[Cell], ground: Ground) -> Cost:
    """Return what a placement costs; ``cells`` has that of every core."""
    sent: Counter[Way] = Counter()
    outputs: Counter[Cell] = Counter()
    fed: Counter[tuple[Cell, ...]] = Counter()
    for send in sends:
        if send.readers is None:
            outputs[cells[send.source or 0]] += send.packets
            continue
        for box in _boxes({cells[reader] for reader in send.readers}):
            if send.source is None:
                fed[box] += send.packets
            else:
                _walk(sent, cells[send.source], box, send.packets)
    ends = [((x, ground.height),) for x in ground.outlets]
    senders = [cell for cell in cells if cell in outputs]
    leaving = [[(cell, end, gate) for gate, end in enumerate(ends)] for cell in senders]
    for (start, box, _), packets in _dealt(leaving, [outputs[cell] for cell in senders], alone=True):
        _walk(sent, start, box, packets)
    loads, inlets = Counter(sent), Counter[int]()
    doors = [(0 if side == "W" else ground.width - 1, row) for row, side in ground.inlets]
    boxes = sorted(fed, key=lambda box: (box[0][0], box[-1][0], box[0][1], box[-1][1]))
    entering = [[(door, box, gate) for gate, door in enumerate(doors)] for box in boxes]
    for (start, box, gate), packets in _dealt(entering, [fed[box] for box in boxes]):
        _walk(loads, start, box, packets)
        inlets[gate] += packets
    busiest = max(_busiest(loads, ground), *inlets.values(), 0)
    return Cost(busiest=busiest, sent=_busiest(sent, ground), hops=sum(sent.values()))


def best_of_all(sends: Sequence[Send], cores: int, ground: Ground, *, limit: Cost, step: int) -> Cost:
    """Return the least cost of all placements that are in nothing worse than ``limit``.

    The least is the one whose cores send within ``step`` cycles, or else in the fewest; of those the one of
    the least `Cost`.
    """
    costs = (cost_of(sends, cells, ground) for cells in permutations(ground.cells(), cores))
    possible = [
        cost
        for cost in costs
        if cost.busiest <= limit.busiest and cost.sent <= limit.sent and cost.hops <= limit.hops
    ]
    return min(possible, key=lambda cost: (max(cost.sent, step), cost))


def _busiest(loads: Counter[Way], ground: Ground) -> int:
    busy: Counter[tuple[object, ...]] = Counter()
    for way, packets in loads.items():
        busy[ground.part(way)] += packets * ground.cycles(way)
    return max(busy.values(), default=0)


def _walk(loads: Counter[Way], start: Cell, box: Sequence[Cell], packets: int) -> None:
    """Count packets on their tree: along the row to every column of the cells, there along the column."""
    ways = {way for cell in box for way in _path(start, cell)}
    for way in ways:
        loads[way] += packets


def _path(start: Cell, end: Cell) -> Iterator[Way]:
    (x, y), (to_x, to_y) = start, end
    while x != to_x:
        side = "E" if x < to_x else "W"
        yield x, y, side
        x += _STEPS[side][0]
    while y != to_y:
        side = "S" if y < to_y else "N"
        yield x, y, side
        y += _STEPS[side][1]


def _boxes(cells: set[Cell]) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells of rectangles that hold exactly some cells, the largest, then the first one, first."""
    left = set(cells)
    while left:
        corners = sorted(left)
        whole = [
            tuple((x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1))
            for x0, y0 in corners
            for x1, y1 in corners
            if x0 <= x1 and y0 <= y1
        ]
        full = [box for box in whole if left.issuperset(box)]
        best = min(full, key=lambda box: (-len(box), box[0], box[-1][1]))
        yield best
        left -= set(best)


def _regret(hops: Sequence[int]) -> int:
    """Return by how much the best of some ways is shorter than the second, negative."""
    best, *others = sorted(hops)
    return best - min(others, default=best)


def _dealt(
    ways: Sequence[Sequence[Route]], packets: Sequence[int], *, alone: bool = False
) -> Iterator[tuple[Route, int]]:
    """Yield ways of groups of packets, with how many take each: every gate has an equal share, rounded up.

    ``ways`` has one by each gate for every group. Groups whose second way is furthest about choose first. A
    group ``alone`` may all take one gate.
    """
    if not packets:
        return
    gates = len(ways[0])
    room = -(-sum(packets) // gates)
    left = [max(room, *packets) if alone else room] * gates
    hops = [
        [len({way for cell in box for way in _path(start, cell)}) for start, box, _ in own] for own in ways
    ]
    for group in sorted(range(len(ways)), key=lambda group: _regret(hops[group])):
        rest, lengths = packets[group], hops[group]
        for gate in sorted(range(gates), key=lengths.__getitem__):
            share = min(rest, left[gate])
            left[gate] -= share
            rest -= share
            if share:
                yield ways[group][gate], share
