# SPDX-License-Identifier: Apache-2.0
"""Give every part of a partition a core of the mesh (`docs/reference/mapping.md`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.errors import InfeasibleError
from mapping.layout.capacity import MAX_CORES, MAX_HEIGHT, MAX_WIDTH, misfit, preset_for
from mapping.layout.cut import deliveries
from mapping.layout.partition import LayerPart, Partition
from mapping.layout.partition import partition as partition_of
from mapping.spiking.network import INPUT, SpikingNetwork

__all__ = ["Placement", "Placer", "TooManyCoresError", "place", "smallest_mesh"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Where the cores sit: ``position`` is int64 (cores, 2), x and y, one row per part of the partition."""

    width: int
    height: int
    position: Integers

    def __post_init__(self) -> None:
        self.position.flags.writeable = False

    def index(self, core: int) -> int:
        """Return the index ``y * width + x`` in the mesh of a part."""
        x, y = self.position[core].tolist()
        return int(y * self.width + x)


class Placer(Protocol):
    """What every placer is: a pure function of the partition, the mesh and a seed.

    Every part gets a core of its own inside the mesh. A mesh that is too small is an `InfeasibleError`.
    """

    def __call__(self, partition: Partition, width: int, height: int, *, seed: int = 0) -> Placement:
        """Return where the parts of a partition sit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cost:
    """Hops x deliveries of each core of a layer: ``x`` (cores, width) plus ``y`` (cores, height)."""

    x: Integers
    y: Integers


class TooManyCoresError(InfeasibleError):
    """A partition has more parts than the mesh has cores; names the first layer that finds no room.

    Attributes
    ----------
    cores : mapping
        Name of a layer -> its cores.
    """

    def __init__(self, partition: Partition, allowed: int) -> None:
        self.cores = {layer.name: layer.cores for layer in partition.layers}
        layer = next(layer for layer in partition.layers if layer.first + layer.cores > allowed)
        super().__init__(
            layer=layer.name,
            limit="cores with the layers before it",
            demand=layer.first + layer.cores,
            allowed=allowed,
            remedy=_more_cores(partition),
        )


def _more_cores(partition: Partition) -> str:
    """Return what would let a partition fit that does not."""
    if len(partition.cores) <= MAX_CORES:
        width, height = smallest_mesh(partition)
        return f"choose the mesh {width}x{height}, or leave its size out"
    remedy = preset_for(lambda spec: _cores_on(partition.spiking, spec) <= MAX_CORES)
    return remedy or f"let the layers need at most {MAX_CORES} cores"


def smallest_mesh(partition: Partition) -> tuple[int, int]:
    """Return width and height of the smallest single chip for a partition, at most twice as wide as high.

    Raises
    ------
    InfeasibleError
        If the partition needs more cores than the largest chip has.
    """
    count = len(partition.cores)
    sizes = [
        (width * height, width - height, width, height)
        for height in range(1, MAX_HEIGHT + 1)
        for width in range(height, min(2 * height, MAX_WIDTH) + 1)
        if width * height >= count
    ]
    if not sizes:
        raise TooManyCoresError(partition, MAX_CORES)
    return min(sizes)[2:]


def place(partition: Partition, width: int, height: int, *, seed: int = 0) -> Placement:
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
    if width * height < len(partition.cores):
        raise TooManyCoresError(partition, width * height)
    random = np.random.default_rng(seed)
    position = np.full((len(partition.cores), 2), -1, np.int64)
    free = np.ones((height, width), np.bool_)
    for layer in partition.layers:
        cost = _cost(partition, layer, position, width, height)
        cells = _best_form(layer, cost, free, random)
        if cells is None:
            cells = _one_by_one(cost, free.copy())
        position[layer.first : layer.first + layer.cores] = cells
        free[cells[:, 1], cells[:, 0]] = False
    return Placement(width=width, height=height, position=position)


def _cores_on(spiking: SpikingNetwork, spec: CoreSpec) -> int:
    """Return how many cores of a size a network takes, more than a chip has if a layer does not fit."""
    if any(misfit(layer, spec) for layer in spiking.layers):
        return MAX_CORES + 1
    return len(partition_of(spiking, spec).cores)


def _cost(partition: Partition, layer: LayerPart, position: Integers, width: int, height: int) -> _Cost:
    """Return what each place costs each core of a layer, given where its sources are."""
    by_x, by_y = np.zeros((layer.cores, width), np.int64), np.zeros((layer.cores, height), np.int64)
    for index, name in enumerate(layer.sources):
        source, core, _ = deliveries(partition.spiking.layer(layer.name), index, partition.of(layer))
        start = np.zeros((len(source), 2), np.int64)
        if name != INPUT:
            start = position[partition.home(name)[0][source]]
        by_x = by_x + _distance_sum(core, start[:, 0], layer.cores, width)
        by_y = by_y + _distance_sum(core, start[:, 1], layer.cores, height)
    if layer.name in partition.spiking.outputs:
        neurons = np.array([[len(part.outputs)] for part in partition.of(layer)], np.int64)
        by_x = by_x + neurons * np.arange(width)
        by_y = by_y + neurons * (height - np.arange(height))
    return _Cost(x=by_x, y=by_y)


def _distance_sum(core: Integers, start: Integers, cores: int, size: int) -> Integers:
    """Return for each core and coordinate the sum of the distances to where its deliveries start."""
    counts = np.bincount(core * size + start, minlength=cores * size).reshape(cores, size)
    places = np.arange(size)
    return np.asarray(counts @ np.abs(places[:, None] - places))


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
        cores = range(len(x))
        possible = np.all([free[y[j] : y[j] + down, x[j] : x[j] + across] for j in cores], axis=0)
        if not possible.any():
            continue
        by_x = sum(cost.x[j, x[j] : x[j] + across] for j in cores)
        by_y = sum(cost.y[j, y[j] : y[j] + down] for j in cores)
        total = np.where(possible, np.asarray(by_y)[:, None] + by_x, np.iinfo(np.int64).max)
        lowest = int(total.min())
        if best is None or lowest < best[0]:
            places = np.argwhere(total == lowest)
            top, left = places[random.integers(len(places))]
            best = (lowest, np.stack((x + left, y + top), axis=1))
    return best[1] if best else None


def _one_by_one(cost: _Cost, free: NDArray[np.bool_]) -> Integers:
    """Return the cheapest free cell for each core in turn; uses up ``free``."""
    cells = np.empty((len(cost.x), 2), np.int64)
    for j in range(len(cells)):
        total = np.where(free, cost.y[j][:, None] + cost.x[j], np.iinfo(np.int64).max)
        y, x = np.unravel_index(int(total.argmin()), free.shape)
        cells[j] = x, y
        free[y, x] = False
    return cells
