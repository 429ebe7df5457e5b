# SPDX-License-Identifier: Apache-2.0
"""Give layer by layer the cheapest free place of its form."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.layout.mesh import Mesh
from mapping.layout.partition import LayerPart, Partition
from mapping.layout.place.placement import Placement, require_room
from mapping.layout.traffic import Traffic, traffic_of

__all__ = ["Greedy", "place"]

Integers = NDArray[np.int64]


def place(partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
    """Place layer by layer where hops x deliveries from the sources already placed are fewest.

    The cores of a layer keep the arrangement of their patches, with the blocks of channels side by side,
    wherever a free place of that form exists: then the readers of one source element form a rectangle.
    Otherwise they take the cheapest free cores one by one. The host's stimulus enters at (0, 0), its output
    leaves at (0, height - 1). ``seed`` decides between equally good places.

    Raises
    ------
    InfeasibleError
        If the mesh has fewer cores than the partition.
    """
    require_room(partition, mesh)
    greedy = Greedy(partition, traffic_of(partition), mesh, seed=seed)
    return Placement(width=mesh.width, height=mesh.height, position=greedy.in_order(partition.layers))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cost:
    """Hops x deliveries of each core of a layer: ``x`` (cores, width) plus ``y`` (cores, height)."""

    x: Integers
    y: Integers

    def stretched(self, x: int, y: int) -> "_Cost":
        """Return the cost if a hop along a row, and along a column, counts so many times."""
        return _Cost(x=self.x * x, y=self.y * y)


class Greedy:
    """Place the layers of a partition in any order, each where it is cheapest beside those placed before.

    Parameters
    ----------
    partition : Partition
        What is placed.
    traffic : Traffic
        Of the partition.
    mesh : Mesh
        Where; it has a core for every part.
    seed : int
        Decides between equally good places.
    """

    def __init__(self, partition: Partition, traffic: Traffic, mesh: Mesh, *, seed: int = 0) -> None:
        self._partition, self._mesh, self._seed = partition, mesh, seed
        pairs = traffic.pairs()
        self._pairs = sparse.csr_array(pairs + pairs.T)
        self._fed, self._sent = traffic.host()

    def in_order(
        self, layers: Iterable[LayerPart], stretch: Mapping[str, tuple[int, int]] | None = None
    ) -> Integers:
        """Return the place of every core, int64 (cores, 2), x and y, if layers are placed in this order.

        ``stretch`` has what a hop along a row and along a column counts for some layers, by name, instead of
        one.
        """
        random = np.random.default_rng(self._seed)
        position = np.full((len(self._partition.cores), 2), -1, np.int64)
        free = self._mesh.free()
        for layer in layers:
            cost = self._cost(layer, position).stretched(*(stretch or {}).get(layer.name, (1, 1)))
            cells = _best_form(layer, cost, free, random)
            if cells is None:
                cells = _one_by_one(cost, free.copy())
            position[layer.first : layer.first + layer.cores] = cells
            free[cells[:, 1], cells[:, 0]] = False
        return position

    def _cost(self, layer: LayerPart, position: Integers) -> _Cost:
        """Return what each place costs each core of a layer, given where those placed already are."""
        width, height = self._mesh.width, self._mesh.height
        own, placed = slice(layer.first, layer.first + layer.cores), np.flatnonzero(position[:, 0] >= 0)
        pairs = self._pairs[own][:, placed]
        fed, sent = self._fed[own, None], self._sent[own, None]
        x = _distances(pairs, position[placed, 0], width) + (fed + sent) * np.arange(width)
        y = _distances(pairs, position[placed, 1], height) + fed * np.arange(height)
        return _Cost(x=x, y=y + sent * (height - np.arange(height)))


def _distances(pairs: sparse.csr_array, other: Integers, size: int) -> Integers:
    """Return for each core and coordinate the sum of its distances to its partners, by their coordinates."""
    there = sparse.csr_array(
        (np.ones(len(other), np.int64), (np.arange(len(other)), other)), (len(other), size)
    )
    count = (pairs @ there).toarray()
    return _upwards(count) + _upwards(count[:, ::-1])[:, ::-1]


def _upwards(count: Integers) -> Integers:
    """Return for each coordinate the sum of the distances to all that are below it.

    >>> _upwards(np.array([[1, 0, 2, 0]])).tolist()
    [[0, 1, 2, 5]]
    """
    sums = np.zeros_like(count)
    sums[:, 1:] = np.cumsum(np.cumsum(count, axis=1), axis=1)[:, :-1]
    return sums


def _forms(layer: LayerPart, width: int, height: int) -> Iterator[tuple[Integers, Integers]]:
    """Yield arrangements as x and y of every core: patches as in the map or transposed, a x b blocks each."""
    rows, columns, blocks = layer.grid
    row, column, block = (axis.reshape(-1) for axis in np.indices(layer.grid))
    alone = rows == columns == 1
    for across in range(1, blocks + 1):
        if blocks % across and not alone:
            continue
        down = -(-blocks // across)
        x, y = column * across + block % across, row * down + block // across
        if columns * across <= width and rows * down <= height:
            yield x, y
        if columns * across <= height and rows * down <= width:
            yield y, x


def _best_form(
    layer: LayerPart, cost: _Cost, free: NDArray[np.bool_], random: np.random.Generator
) -> Integers | None:
    """Return the cells of the cheapest free arrangement, (cores, 2), or None if none is free."""
    height, width = free.shape
    best: tuple[int, Integers] | None = None
    for x, y in _forms(layer, width, height):
        across, down = width - int(x.max()), height - int(y.max())
        possible = _free_for(x, y, free)
        if not possible.any():
            continue
        by_x, by_y = _moved(cost.x, x, across), _moved(cost.y, y, down)
        total = np.where(possible, by_y[:, None] + by_x, np.iinfo(np.int64).max)
        lowest = int(total.min())
        if best is None or lowest < best[0]:
            places = np.argwhere(total == lowest)
            top, left = places[random.integers(len(places))]
            best = (lowest, np.stack((x + left, y + top), axis=1))
    return best[1] if best else None


def _free_for(x: Integers, y: Integers, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where a form may begin, (y, x), so that all its cores are free: look at its rows, or columns."""
    if y.max() > x.max():
        return _free_for(y, x, free.T).T
    height, width = free.shape
    taken = np.zeros((height, width + 1), np.int32)
    np.cumsum(~free, axis=1, out=taken[:, 1:])
    across, down = width - int(x.max()), height - int(y.max())
    found = np.zeros((down, across), np.int32)
    for row in np.unique(y).tolist():
        own = np.sort(x[y == row])
        for run in np.split(own, np.flatnonzero(np.diff(own) != 1) + 1):
            begin, end, rows = int(run[0]), int(run[-1]) + 1, taken[row : row + down]
            found += rows[:, end : end + across] - rows[:, begin : begin + across]
    return np.asarray(found == 0)


def _moved(cost: Integers, at: Integers, places: int) -> Integers:
    """Return what all cores of a form cost together at each place where it may begin, along one axis."""
    order = np.argsort(at, kind="stable")
    offsets, first = np.unique(at[order], return_index=True)
    each = np.add.reduceat(cost[order], first, axis=0)
    sums = np.zeros(places, np.int64)
    for own, offset in zip(each, offsets.tolist(), strict=True):
        sums += own[offset : offset + places]
    return sums


def _one_by_one(cost: _Cost, free: NDArray[np.bool_]) -> Integers:
    """Return the cheapest free cell for each core in turn; uses up ``free``."""
    cells = np.empty((len(cost.x), 2), np.int64)
    for j in range(len(cells)):
        total = np.where(free, cost.y[j][:, None] + cost.x[j], np.iinfo(np.int64).max)
        y, x = np.unravel_index(int(total.argmin()), free.shape)
        cells[j] = x, y
        free[y, x] = False
    return cells
