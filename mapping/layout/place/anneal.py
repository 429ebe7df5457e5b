# SPDX-License-Identifier: Apache-2.0
"""Search for a placement whose busiest links are less busy, without more hops than the greedy one.

Simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983) in two stages: first over the order
in which the greedy placer takes the layers and over their shapes, then over changes of windows of cores. What
is made less is the sum over the links of the time that each is busy beyond an aim, which the best placement
sets ever lower: every link that is too busy counts, not the busiest alone. Half of the changes move an end of
a flow over such a link.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh
from mapping.layout.objective import steps_of
from mapping.layout.partition import Partition
from mapping.layout.place.greedy import Greedy
from mapping.layout.place.pairs import exchange_pairs
from mapping.layout.place.placement import Placement, require_room
from mapping.layout.place.price import Price
from mapping.layout.place.search import Search
from mapping.layout.traffic import traffic_of

__all__ = ["anneal"]

Integers = NDArray[np.int64]

_STRETCHES = np.array([(1, 1), (1, 2), (1, 4), (2, 1), (4, 1), (2, 4), (4, 2)])
"""What a hop along a row and along a column counts for a layer."""

_DEAR = 1 / 30
"""What all hops of the greedy placement cost at first, in links that are busy for twice their aim, a core."""

_WARM = 5e-3
"""By how much a change may be for the worse at first, in links that are busy for twice their aim."""

_ROUNDS = 3
"""Three of eight single searches end where a link stays too busy; of ten times three together none did."""

_MOST_ORDERS, _ORDERED = 100, 92_000
"""Orders that a round tries, and cores that are placed for them."""

_LEAST_WORK, _MOST_WORK, _WORKED = 200_000, 20_000_000, 50_000_000_000
"""Flows that a round prices, at least and at most, and the latter times the cores."""


def anneal(
    partition: Partition, mesh: Mesh, *, seed: int = 0, orders: int | None = None, work: int | None = None
) -> Placement:
    """Place so that cores send within their longest step, and then all packets as fast as can be found.

    It prices all packets of a sample if every neuron fires and every input is there: the trees of what cores
    send, what the host feeds by every inlet and reads by every outlet, and the cycles in which they occupy
    each link, serialisation included (`Mesh.busy`). Placements are compared by their `Rank`, and by no number
    of it is the result worse than the greedy placement. The best of three rounds is taken.

    Parameters
    ----------
    partition, mesh, seed
        See `mapping.layout.place.placement.Placer`.
    orders : int, optional
        Orders of the layers that a round tries; by default a hundred, fewer where there are many cores.
    work : int, optional
        Flows that a round prices in its second stage; by default up to 20 million, fewer for more cores.

    Raises
    ------
    InfeasibleError
        If the mesh has fewer cores than the partition.
    """
    require_room(partition, mesh)
    if not partition.cores:
        return Placement(width=mesh.width, height=mesh.height, position=np.zeros((0, 2), np.int64))
    traffic, cores = traffic_of(partition), len(partition.cores)
    greedy = Greedy(partition, traffic, mesh, seed=seed)
    random = np.random.default_rng(seed)
    price = Price.against(traffic, mesh, greedy.in_order(partition.layers), max(steps_of(partition)))
    orders = min(cores, _MOST_ORDERS, _ORDERED // cores) if orders is None else orders
    work = min(max(_LEAST_WORK, 150 * cores**2), _MOST_WORK, _WORKED // cores) if work is None else work
    for _ in range(_ROUNDS):
        start = _try_orders(partition, greedy, price, orders, random)
        Search(price, start, random).run(work, hop=_DEAR / 2 * cores, warm=max(_WARM, 1 / cores))
    if mesh.gated is not None:
        exchange_pairs(price, random)
    return Placement(width=mesh.width, height=mesh.height, position=price.best)


def _try_orders(
    partition: Partition, greedy: Greedy, price: Price, tries: int, random: np.random.Generator
) -> Integers:
    """Return the cheapest placement of some orders and shapes of the layers."""
    layers, stretch = list(partition.layers), dict[str, tuple[int, int]]()
    hop = _DEAR * len(partition.cores) / 3
    cheapest, lowest, best = math.inf, math.inf, price.best
    for attempt in range(tries):
        order, shapes = list(layers), dict(stretch)
        if attempt == 1:
            order.sort(key=lambda layer: -layer.cores)
        elif random.random() < 0.5:
            order.insert(int(random.integers(len(order))), order.pop(int(random.integers(len(order)))))
        elif attempt:
            x, y = _STRETCHES[random.integers(len(_STRETCHES))].tolist()
            shapes[order[int(random.integers(len(order)))].name] = x, y
        position = greedy.in_order(order, shapes)
        load = price.loads.parts(position)
        price.keep(load, position)
        found = price.cost(load, hop)
        if found < cheapest:
            cheapest, best = found, position
        if found <= lowest or random.random() < math.exp((lowest - found) / (0.3 * (1 - attempt / tries))):
            lowest, layers, stretch = found, order, shapes
    return best
