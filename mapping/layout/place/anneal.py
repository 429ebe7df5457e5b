# SPDX-License-Identifier: Apache-2.0
"""Search for a placement whose busiest link is less busy, without more hops than the greedy one.

Simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983) in stages: first over the order in
which the greedy placer takes the layers, then over exchanges of two windows of cores and mirrored windows,
until cores send within their longest step, and over such exchanges for all packets. Half of these have an end
of a flow over the busiest link in a window.
"""

import math
import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh
from mapping.layout.objective import steps_of
from mapping.layout.partition import Partition
from mapping.layout.place.greedy import Greedy
from mapping.layout.place.placement import Placement, require_room
from mapping.layout.traffic import Loads, Traffic, traffic_of

__all__ = ["anneal", "exchanged", "turned"]

Integers = NDArray[np.int64]

_WINDOW = 6
"""Most columns and rows of cores that are exchanged at once."""

_TURNED = 0.1
"""Share of changes that turn a window round, instead of exchanging two."""

_ALONE = 0.5
"""Share of exchanges that move single cores."""

_AIMED = 0.5
"""Share of exchanges that move an end of a flow over the busiest link."""


def anneal(
    partition: Partition, mesh: Mesh, *, seed: int = 0, orders: int | None = None, work: int | None = None
) -> Placement:
    """Place so that the busiest link, inlet or outlet takes as few cycles as can be found.

    It prices all packets of a sample if every neuron fires and every input is there: the trees of what cores
    send, what the host feeds by every inlet and reads by every outlet, and the cycles in which they occupy
    each link, serialisation included (`Mesh.busy`). First of all what cores send shall occupy no link for
    longer than the longest step of a core, where that can be found. Of placements that are as busy it keeps
    the one whose busiest link is least busy with what cores send, and of those the one of the fewest hops. By
    none of the three is the result worse than the greedy placement.

    Parameters
    ----------
    partition, mesh, seed
        See `mapping.layout.place.placement.Placer`.
    orders : int, optional
        Orders of the layers that are tried; by default 30 for each layer, fewer where there are many cores.
    work : int, optional
        Flows that are priced in the second stage, and half as many in a third; by default up to some million,
        fewer for more cores.

    Raises
    ------
    InfeasibleError
        If the mesh has fewer cores than the partition.
    """
    require_room(partition, mesh)
    if not partition.cores:
        return Placement(width=mesh.width, height=mesh.height, position=np.zeros((0, 2), np.int64))
    traffic = traffic_of(partition)
    greedy = Greedy(partition, traffic, mesh, seed=seed)
    random = np.random.default_rng(seed)
    price = _Price.against(traffic, mesh, greedy.in_order(partition.layers))
    cores = len(partition.cores)
    orders = min(400_000 // cores, 30 * len(partition.layers)) if orders is None else orders
    work = min(max(1500 * cores, 60 * cores**2), 2_000_000_000 // cores) if work is None else work
    step = max(steps_of(partition))
    price.first = 1 if price.rank[1] > step else 0
    _try_orders(partition, greedy, price, orders, random)
    if price.first:
        _exchange(price, work, random, enough=step)
        price.turn_to_all(step)
        work //= 2
    _exchange(price, work, random)
    return Placement(width=mesh.width, height=mesh.height, position=price.best)


@dataclass(slots=True, kw_only=True, eq=False)
class _Price:
    """What placements cost, as a share of the greedy one's; keeps the best that is nowhere worse.

    Loads are int64 (2, 4, height, width): of what cores send, and of what the host feeds. A rank is three
    integers: the cycles of the busiest link, inlet or outlet, those of the busiest with what cores send, and
    the hops. No best one is beyond ``limit``; the least is that of the number ``first``, 0 or 1.
    """

    loads: Loads
    limit: tuple[int, int, int]
    best: Integers
    rank: tuple[int, int, int]
    first: int = 0

    @classmethod
    def against(cls, traffic: Traffic, mesh: Mesh, position: Integers) -> "_Price":
        """Return prices relative to a placement."""
        price = cls(loads=Loads(traffic=traffic, mesh=mesh), limit=(0, 0, 0), best=position, rank=(0, 0, 0))
        load = price.loads.parts(position)
        price.limit = price.rank = price.ranked(*price.busy(load), load)
        return price

    def busy(self, load: Integers) -> tuple[Integers, Integers]:
        """Return the cycles in which all links, inlets and outlets are busy, and those of what cores send."""
        sent, fed = self.loads.mesh.busy(load)
        return sent + fed, sent

    def ranked(self, busy: Integers, sent: Integers, load: Integers) -> tuple[int, int, int]:
        """Return the rank of a placement."""
        return int(busy.max(initial=0)), int(sent.max(initial=0)), self.loads.mesh.hops(load.sum(axis=0))

    def turn_to_all(self, step: int) -> None:
        """Price all packets, and let what cores send occupy links for a step where it need not for longer."""
        self.first = 0
        if self.rank[1] <= step:
            self.limit = self.limit[0], min(step, self.limit[1]), self.limit[2]

    def of(self, load: Integers, position: Integers) -> float:
        """Return the price of a placement with these loads, and remember the placement if it is the best."""
        busy = self.busy(load)
        rank, most = self.ranked(*busy, load), [max(limit, 1) for limit in self.limit]
        if self._key(rank) < self._key(self.rank) and all(map(operator.le, rank, self.limit)):
            self.rank, self.best = rank, position.copy()
        peak = _mean(busy[self.first] / most[self.first])
        other, share = rank[1 - self.first] / most[1 - self.first], rank[2] / most[2]
        return peak + (other + share) / 10 + 3 * max(0.0, other - 1) + 3 * max(0.0, share - 1)

    def _key(self, rank: tuple[int, int, int]) -> tuple[int, ...]:
        return (rank[self.first], *rank)

    def busiest(self, load: Integers) -> tuple[int, int, int]:
        """Return the link (port, y, x) that is busiest with what is priced first."""
        busy = self.busy(load)[self.first]
        busy[tuple(np.array(self.loads.mesh.entrances).T)] = 0
        port, y, x = np.unravel_index(int(busy.argmax()), busy.shape)
        return int(port), int(y), int(x)


def _mean(busy: NDArray[np.float64]) -> float:
    """Return a mean over the links in which the busiest alone counts: the exponent is 20."""
    fourth = np.square(np.square(busy))
    return math.pow(float((fourth * np.square(np.square(fourth))).sum()), 1 / 20)


def _try_orders(
    partition: Partition, greedy: Greedy, price: _Price, tries: int, random: np.random.Generator
) -> None:
    """Move one layer at a time to another place in the order, and keep what is not worse."""
    layers = list(partition.layers)
    lowest = math.inf
    for attempt in range(tries):
        order = list(layers)
        if attempt == 1:
            order.sort(key=lambda layer: -layer.cores)
        elif attempt:
            order.insert(int(random.integers(len(order))), order.pop(int(random.integers(len(order)))))
        position = greedy.in_order(order)
        found = price.of(price.loads.parts(position), position)
        if found <= lowest:
            lowest, layers = found, order


def _exchange(price: _Price, work: int, random: np.random.Generator, *, enough: int = 0) -> None:
    """Exchange windows of cores from the best placement on, ever less often for the worse.

    It ends as soon as what is priced first takes ``enough`` cycles.
    """
    loads, traffic = price.loads, price.loads.traffic
    touched, position, cores = traffic.by_core(), price.best.copy(), traffic.cores
    load = loads.parts(position)
    lowest, done = price.of(load, position), 0
    over: Integers | None = None
    while done < work and price.rank[price.first] > enough:
        core = None
        if random.random() < _AIMED:
            if over is None:
                over = loads.over(position, price.busiest(load))
                done += len(traffic.source) // 4
            core = traffic.end(over, random)
        turn = random.random() < _TURNED
        moved = (turned if turn else exchanged)(loads.mesh, position, random, core)
        if moved is None:
            done += 1
            continue
        movers = np.flatnonzero((moved != position).any(axis=1))
        flows = loads.whole(np.unique(np.concatenate([touched[core] for core in movers.tolist()])))
        done += 10 + len(flows)
        other = load + loads.change(position, moved, flows)
        found = price.of(other, moved)
        temperature = max(5e-3, 1 / cores) * 1e-3 ** (done / work)
        if found < lowest or random.random() < math.exp((lowest - found) / temperature):
            position, load, lowest, over = moved, other, found, None


def exchanged(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return the placement with two windows of cores exchanged, drawn by ``random``; one holds ``core``.

    Returns None if the windows overlap, hold nothing or hold an excluded core.
    """
    wide = int(random.integers(1, 1 + max(1, min(_WINDOW, mesh.width // 2))))
    high = int(random.integers(1, 1 + max(1, min(_WINDOW, mesh.height // 2))))
    if random.random() < _ALONE:
        wide = high = 1
    sizes = np.array([wide, high])
    room = np.array([mesh.width, mesh.height]) - sizes + 1
    here, there = random.integers(0, room), random.integers(0, room)
    if core is not None:
        here = np.clip(position[core] - random.integers(0, sizes), 0, room - 1)
    if (np.abs(here - there) < sizes).all():
        return None
    first, second = (
        np.flatnonzero(((position >= corner) & (position < corner + sizes)).all(axis=1))
        for corner in (here, there)
    )
    if not len(first) + len(second) or _excluded(mesh, sizes, here, there):
        return None
    moved = position.copy()
    moved[first] += there - here
    moved[second] += here - there
    return moved


def turned(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return the placement with a window of cores mirrored, drawn by ``random``; it holds ``core``.

    Returns None if nothing moves, or if the window holds an excluded core.
    """
    room = np.array([mesh.width, mesh.height])
    sizes = random.integers(1, 1 + np.minimum(room, _WINDOW))
    corner, axis = random.integers(0, room - sizes + 1), int(random.integers(2))
    if core is not None:
        corner = np.clip(position[core] - random.integers(sizes), 0, room - sizes)
    inside = ((position >= corner) & (position < corner + sizes)).all(axis=1)
    moved = position.copy()
    moved[inside, axis] = 2 * corner[axis] + sizes[axis] - 1 - moved[inside, axis]
    if (moved == position).all() or _excluded(mesh, sizes, corner):
        return None
    return moved


def _excluded(mesh: Mesh, sizes: Integers, *corners: Integers) -> bool:
    """Tell whether a window holds an excluded core."""
    if not mesh.excluded:
        return False
    cells = np.array(sorted(mesh.excluded))
    return any(bool(((cells >= corner) & (cells < corner + sizes)).all(axis=1).any()) for corner in corners)
