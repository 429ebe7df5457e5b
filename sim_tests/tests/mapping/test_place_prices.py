# SPDX-License-Identifier: Apache-2.0
"""What placers compare: each price is that of the placement at hand, and the best one keeps the promises."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.spec import SystemSpec
from mapping.layout.capacity import MAX_CORES
from mapping.layout.cover import cover
from mapping.layout.mesh import NORTH, SOUTH, WEST, Mesh
from mapping.layout.partition import LayerPart, Partition, partition
from mapping.layout.place import Placement, TooManyCoresError, curve, greedy, place
from mapping.layout.place.anneal import _exchange, _Price
from mapping.layout.place.greedy import Greedy, _forms
from mapping.layout.site import Site
from mapping.layout.traffic import INLET, OUTLET, Loads, traffic_of
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network

Integers = NDArray[np.int64]


@dataclass(slots=True, kw_only=True, eq=False)
class _Watched(_Price):
    """Prices that look whether the loads are those of the placement."""

    told: list[float] = field(default_factory=list)

    def of(self, load: Integers, position: Integers) -> float:
        """Compare the loads with those of a count from nothing."""
        assert np.array_equal(load, self.loads.parts(position))
        self.told.append(_Price.of(self, load, position))
        return self.told[-1]


@pytest.fixture
def parts(seed: int) -> Partition:
    return partition(random_network(seed + 1), core_spec())


@pytest.mark.parametrize("gates", [None, GateSpec(inlets=((3, "W"), (1, "E")), outlets=(2, 6))])
def test_loads_of_an_exchange_are_those_of_the_placement(parts: Partition, gates: GateSpec | None) -> None:
    system = SystemSpec(core=parts.spec, width=7, height=5, gates=gates)
    mesh, traffic = replace(Mesh.of(system), chip=(7, 5)), traffic_of(parts)
    start = Greedy(parts, traffic, mesh).in_order(parts.layers)
    price = _Watched.against(traffic, mesh, start)
    limit = price.rank
    assert limit == price.limit
    _exchange(price, 3000, np.random.default_rng(3))
    assert len(cast(_Watched, price).told) > 20
    sent, fed = price.loads.parts(price.best)
    busiest = int(mesh.busy(sent + fed).max()), int(mesh.busy(sent).max())
    assert price.rank == (*busiest, mesh.hops(sent + fed))
    assert price.rank <= limit
    assert all(new <= old for new, old in zip(price.rank, limit, strict=True))


@pytest.mark.parametrize("first", [0, 1])
def test_busiest_link_is_that_of_what_is_priced_first(parts: Partition, first: int) -> None:
    mesh, traffic = Mesh(width=9, height=4, chip=(3, 4), beats=3), traffic_of(parts)
    price = _Price.against(traffic, mesh, curve(parts, mesh).position)
    price.first = first
    sent, fed = load = price.loads.parts(price.best)
    link = price.busiest(load)
    fed[WEST, 0, 0] = 0
    busy = mesh.busy(sent if first else sent + fed)
    assert busy[link] == busy.max() > 0


@pytest.mark.parametrize(("sent", "allowed"), [(30, 40), (40, 40), (41, 90)])
def test_cores_may_send_for_as_long_as_they_compute(sent: int, allowed: int) -> None:
    best = np.zeros((1, 2), np.int64)
    loads = cast(Loads, SimpleNamespace(mesh=Mesh(width=4, height=4)))
    price = _Price(loads=loads, limit=(100, 90, 10), best=best, rank=(100, sent, 10), first=1)
    price.turn_to_all(40)
    assert (price.first, price.limit) == (0, (100, allowed, 10))


def test_search_ends_when_cores_send_for_no_longer_than_enough(parts: Partition) -> None:
    mesh, traffic = Mesh(width=9, height=5, chip=(3, 5), beats=3), traffic_of(parts)
    price = cast(_Watched, _Watched.against(traffic, mesh, curve(parts, mesh).position))
    price.first = 1
    _exchange(price, 50_000, np.random.default_rng(1), enough=price.rank[1] - 1)
    assert price.rank[1] < price.limit[1]
    ended = len(price.told)
    _exchange(price, 50_000, np.random.default_rng(1), enough=price.rank[1])
    assert len(price.told) == ended + 1


@pytest.mark.parametrize(
    ("rank", "kept"),
    [
        ((4, 3, 10), True),
        ((5, 2, 10), True),
        ((5, 3, 9), True),
        ((5, 3, 10), False),
        ((4, 3, 11), False),
        ((4, 4, 9), False),
        ((6, 2, 9), False),
    ],
)
def test_best_placement_is_less_busy_and_in_nothing_worse(rank: tuple[int, int, int], kept: bool) -> None:
    """A link that the host loads, one that cores load, and hops beside them."""
    before, other = np.zeros((1, 2), np.int64), np.ones((1, 2), np.int64)
    loads = cast(Loads, SimpleNamespace(mesh=Mesh(width=4, height=4)))
    price = _Price(loads=loads, limit=(5, 3, 10), best=before, rank=(5, 3, 10))
    load = np.zeros((2, 4, 4, 4), np.int64)
    load[1, WEST, 0, 0] = 2  # enters, and is no hop
    load[1, NORTH, 1, 1], load[0, SOUTH, 0, 2] = rank[0], rank[1]
    load[0, SOUTH, 1] = [max(0, min(1, rank[2] - sum(rank[:2]) - at)) for at in range(4)]
    busiest, sent, hops = rank
    assert price.ranked(*price.busy(load), load) == (busiest, sent, hops)
    price.of(load, other)
    assert (price.best.tolist() == other.tolist(), price.rank) == (kept, rank if kept else (5, 3, 10))


def test_greedy_prices_the_ways_of_what_is_placed_before_or_after(parts: Partition) -> None:
    """A core costs the hops of its packets to and from the host, and of those to and from placed cores."""
    traffic, mesh = traffic_of(parts), Mesh(width=8, height=6)
    greedy, layers = Greedy(parts, traffic, mesh), parts.layers
    nowhere = np.full((len(parts.cores), 2), -1, np.int64)
    fed, sent = traffic.host()
    assert fed.sum()
    assert sent.sum()
    for layer in layers:
        own, cost = slice(layer.first, layer.first + layer.cores), greedy._cost(layer, nowhere)
        assert np.array_equal(cost.x, np.outer(fed[own] + sent[own], np.arange(8)))
        assert np.array_equal(cost.y, np.outer(fed[own], range(6)) + np.outer(sent[own], range(6, 0, -1)))
    inner = np.flatnonzero((traffic.source != INLET) & (traffic.readers != OUTLET))
    source, reader = int(traffic.source[inner[0]]), int(traffic.members[traffic.readers[inner[0]], 0])
    for one, other in ((source, reader), (reader, source)):
        placed = nowhere.copy()
        placed[other] = 5, 3
        layer = next(layer for layer in layers if layer.first <= one < layer.first + layer.cores)
        more = greedy._cost(layer, placed).x - greedy._cost(layer, nowhere).x
        each = traffic.pairs().toarray()
        weight = int(each[one, other] + each[other, one])
        assert weight > 0
        assert more[one - layer.first].tolist() == [weight * abs(5 - x) for x in range(8)]


def test_blocks_of_a_point_may_leave_a_row_unfilled() -> None:
    layer = cast(LayerPart, SimpleNamespace(grid=(1, 1, 5)))
    widths = {(int(x.max()) + 1, int(y.max()) + 1) for x, y in _forms(layer, 8, 8)}
    assert {(2, 3), (3, 2), (5, 1), (1, 5), (4, 2)} <= widths


def test_curve_fills_the_quarters_of_a_tall_mesh_one_after_the_other() -> None:
    eight: Any = SimpleNamespace(cores=range(8))
    position = curve(cast(Partition, eight), Mesh(width=2, height=4)).position
    assert sorted(map(tuple, position[:4].tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_largest_rectangle_comes_first() -> None:
    """Six cells as 2 x 3, and five in a row, whose sides are longer."""
    block = [(x, y) for x in range(2) for y in range(2, 5)]
    assert cover([*block, *((x, 0) for x in range(5))]) == ((0, 1, 2, 4), (0, 4, 0, 0))


def test_site_gives_the_placer_its_seed_and_whole_chips(parts: Partition) -> None:
    seen: list[tuple[Mesh, int]] = []

    def spy(partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
        seen.append((mesh, seed))
        return place(partition, mesh, seed=seed)

    Site(chips=(1, 4), placer=spy, seed=9).placement(parts)
    (mesh, seed) = seen[0]
    assert (seed, mesh.height % 4) == (9, 0)
    assert mesh.cores >= len(parts.cores)
    assert Site().cores == MAX_CORES


def test_mesh_that_is_named_holds_what_is_left_and_no_more() -> None:
    """Five parts and a dead core: 3 x 2 just do."""
    draft = Draft(shape=(4,))
    draft.dense(40, density=1.0)
    five = partition(draft.network(), core_spec(columns=8, potential_bits=8))
    assert len(five.cores) == 5
    with pytest.raises(TooManyCoresError, match=r"choose the mesh 3x2"):
        Site(mesh=(5, 1), dead=DeadSpec(cores=((0, 0),))).placement(five)


def test_places_of_a_form_and_their_prices_are_those_of_its_cores(seed: int) -> None:
    """Forms with holes and ragged rows, wide ones and high ones, on meshes with taken cores."""
    rng = np.random.default_rng(seed)
    for _ in range(40):
        width, height = rng.integers(3, 9, 2).tolist()
        x, y = np.nonzero(rng.random((rng.integers(1, width), rng.integers(1, height))) < 0.6)
        if not len(x):
            continue
        free = rng.random((height, width)) < 0.8
        cost = rng.integers(0, 100, (len(x), width))
        across, down = width - x.max(), height - y.max()
        found, price = greedy._free_for(x, y, free), greedy._moved(cost, x, across)
        assert found.shape == (down, across)
        for left in range(across):
            assert price[left] == sum(cost[j, x[j] + left] for j in range(len(x)))
            for top in range(down):
                assert found[top, left] == free[y + top, x + left].all()


def test_distances_to_partners_are_summed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs, other = rng.integers(0, 3, (5, 12)), rng.integers(0, 7, 12)
    expected = [
        [sum(n * abs(place - q) for n, q in zip(row, other, strict=True)) for place in range(7)]
        for row in pairs
    ]
    assert greedy._distances(sparse.csr_array(pairs), other, 7).tolist() == expected
