# SPDX-License-Identifier: Apache-2.0
"""Search for a placement whose busiest link is less busy, without more hops than the greedy one.

Simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983) in two stages: first over the order
in which the greedy placer takes the layers, then over exchanges of two windows of cores. Half of these have
an end of a flow over the busiest link in one window.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition
from mapping.layout.place.greedy import Greedy
from mapping.layout.place.placement import Placement, require_room
from mapping.layout.traffic import INLET, Loads, Traffic, traffic_of

__all__ = ["anneal", "exchanged"]

Integers = NDArray[np.int64]

_SHARPNESS = 20
"""Exponent of the mean over the links: large, and the busiest alone counts."""

_WINDOW = 6
"""Most columns and rows of cores that are exchanged at once."""

_AIMED = 0.5
"""Share of exchanges that move an end of a flow over the busiest link."""


def anneal(
    partition: Partition, mesh: Mesh, *, seed: int = 0, orders: int | None = None, work: int | None = None
) -> Placement:
    """Place so that the busiest link takes as few cycles as can be found, serialisation included.

    Of placements whose busiest links are alike it keeps the one of the fewest hops.
    It prices what every neuron sends in a step if all fire: the trees of its packets, and the cycles in which
    they occupy each link (`Mesh.busy`). The result never takes more hops than the greedy placement, and its
    busiest link is never busier.

    Parameters
    ----------
    partition, mesh, seed
        See `mapping.layout.place.placement.Placer`.
    orders : int, optional
        Orders of the layers that are tried; by default 30 for each layer, fewer where there are many cores.
    work : int, optional
        Flows that are priced in the second stage; by default up to some million, fewer for more cores.

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
    work = min(60 * cores**2, 2_000_000_000 // cores) if work is None else work
    _try_orders(partition, greedy, price, orders, random)
    _exchange(traffic, mesh, price, work, random)
    return Placement(width=mesh.width, height=mesh.height, position=price.best)


@dataclass(slots=True, kw_only=True, eq=False)
class _Price:
    """What placements cost, as a share of the greedy one's; keeps the best that takes no more hops.

    The best one has the least busy busiest link, and of those the fewest hops: ``least`` and ``fewest``.
    The stimulus is left out: what it loads most is the inlet, wherever its readers are.
    """

    loads: Loads
    flows: Integers
    hops: int
    worst: int
    best: Integers
    least: int
    fewest: int

    @classmethod
    def against(cls, traffic: Traffic, mesh: Mesh, position: Integers) -> "_Price":
        """Return prices relative to a placement."""
        loads, flows = Loads(traffic=traffic, mesh=mesh), np.flatnonzero(traffic.source != INLET)
        load = loads(position, flows)
        worst = int(mesh.busy(load).max(initial=0))
        hops = int(load.sum())
        return cls(loads=loads, flows=flows, hops=hops, worst=worst, best=position, least=worst, fewest=hops)

    def of(self, load: Integers, position: Integers) -> float:
        """Return the price of a placement with these loads, and remember the placement if it is the best."""
        busy, hops = self.loads.mesh.busy(load), int(load.sum())
        worst = int(busy.max(initial=0))
        if hops <= self.hops and (worst, hops) < (self.least, self.fewest):
            self.least, self.fewest, self.best = worst, hops, position.copy()
        peak = float(((busy / max(self.worst, 1)) ** _SHARPNESS).sum()) ** (1 / _SHARPNESS)
        share = hops / max(self.hops, 1)
        return float(peak + share / 10 + 3 * max(0.0, share - 1))

    def busiest(self, load: Integers, position: Integers) -> Integers:
        """Return the flows over the busiest link of a placement with these loads, each packet once."""
        busy = self.loads.mesh.busy(load)
        port, y, x = np.unravel_index(int(busy.argmax()), busy.shape)
        return self.loads.over(position, self.flows, (int(port), int(x), int(y)))


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
        found = price.of(price.loads(position, price.flows), position)
        if found <= lowest:
            lowest, layers = found, order


def _exchange(traffic: Traffic, mesh: Mesh, price: _Price, work: int, random: np.random.Generator) -> None:
    """Exchange windows of cores from the best placement on, ever less often for the worse."""
    touched = traffic.by_core()
    position = price.best.copy()
    load = price.loads(position, price.flows)
    lowest, done = price.of(load, position), 0
    busiest: Integers | None = None
    while done < work:
        core = None
        if random.random() < _AIMED:
            if busiest is None:
                busiest = price.busiest(load, position)
                done += len(price.flows) // 4
            core = traffic.end(busiest, random)
        moved = exchanged(mesh, position, random, core)
        if moved is None:
            done += 1
            continue
        cores = np.flatnonzero((moved != position).any(axis=1))
        flows = np.unique(np.concatenate([touched[core] for core in cores.tolist()]))
        flows = flows[traffic.source[flows] != INLET]
        done += 10 + len(flows)
        other = load - price.loads(position, flows) + price.loads(moved, flows)
        found = price.of(other, moved)
        temperature = 5e-3 * 1e-3 ** (done / work)
        if found < lowest or random.random() < math.exp((lowest - found) / temperature):
            position, load, lowest, busiest = moved, other, found, None


def exchanged(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return the placement with two windows of cores exchanged, drawn by ``random``; one holds ``core``.

    Returns None if the windows overlap, hold nothing or hold an excluded core.
    """
    wide = int(random.integers(1, 1 + max(1, min(_WINDOW, mesh.width // 2))))
    high = int(random.integers(1, 1 + max(1, min(_WINDOW, mesh.height // 2))))
    if random.random() < 0.4:
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


def _excluded(mesh: Mesh, sizes: Integers, *corners: Integers) -> bool:
    """Tell whether a window holds an excluded core."""
    if not mesh.excluded:
        return False
    cells = np.array(sorted(mesh.excluded))
    return any(bool(((cells >= corner) & (cells < corner + sizes)).all(axis=1).any()) for corner in corners)
