# SPDX-License-Identifier: Apache-2.0
"""What placers compare: each price is that of the placement at hand, and the best one keeps the promises."""

from dataclasses import replace
from itertools import combinations, product
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
from mapping.layout.place import Placement, TooManyCoresError, anneal, curve, greedy, place
from mapping.layout.place.changes import HOPS
from mapping.layout.place.greedy import Greedy, _forms
from mapping.layout.place.pairs import exchange_pairs
from mapping.layout.place.price import Price, Rank
from mapping.layout.place.search import Search
from mapping.layout.site import Site
from mapping.layout.traffic import INLET, OUTLET, Loads, traffic_of
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network

Integers = NDArray[np.int64]


@pytest.fixture
def parts(seed: int) -> Partition:
    return partition(random_network(seed + 1), core_spec())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("gates", [None, GateSpec(inlets=((3, "W"), (1, "E")), outlets=(2, 6))])
def test_loads_after_changes_are_those_of_the_placement(
    parts: Partition, gates: GateSpec | None, shared: bool
) -> None:
    """Counted from nothing: with one inlet and one outlet after each call, with several for the best one."""
    system = SystemSpec(core=parts.spec, width=8, height=6, gates=gates)
    excluded = frozenset({(3, 2)})
    mesh = replace(Mesh.of(system), chip=(4, 3), beats=3, shared=shared, excluded=excluded)
    traffic = traffic_of(parts)
    price = Price.against(traffic, mesh, Greedy(parts, traffic, mesh).in_order(parts.layers), 1)
    limit = price.limit
    search = Search(price, price.best, np.random.default_rng(3))
    for _ in range(5):
        search.run(3000, hop=len(parts.cores) / 60, warm=0.01)
        load, first = price.loads.parts(search.position), search.board.link[search.board.link_at[:-1]]
        cells = {(x, y) for x, y in search.position.tolist()}
        assert len(cells) == len(parts.cores)
        assert not cells & excluded
        if gates is None:
            assert np.array_equal(mesh.busy(load).reshape(2, -1)[:, first], search.state.busy)
            assert load[0].sum() == search.state.at[HOPS]
    assert price.rank == price.ranked(price.loads.parts(price.best))
    assert price.rank < limit
    assert all(new <= old for new, old in zip(price.rank, limit, strict=True))


def gated(parts: Partition) -> Mesh:
    """Return a mesh with several inlets and outlets, on which parts have room."""
    gates = GateSpec(inlets=((3, "W"), (1, "E")), outlets=(2, 6))
    return Mesh.of(SystemSpec(core=parts.spec, width=8, height=6, gates=gates))


def test_two_cells_are_exchanged_while_that_is_better(parts: Partition) -> None:
    """In the end no two are left whose exchange is better."""
    mesh, traffic = gated(parts), traffic_of(parts)
    price = Price.against(traffic, mesh, curve(parts, mesh).position, 1)
    last = price.limit._replace(step=price.limit.step + 1)
    while price.rank < last:
        last = price.rank
        exchange_pairs(price, np.random.default_rng(0))
    assert price.rank < price.limit
    assert len(np.unique(price.best, axis=0)) == len(parts.cores)
    best = price.best.copy()
    for one, other in combinations(product(range(8), range(6)), 2):
        position = best.copy()
        position[(best == one).all(axis=1)] = other
        position[(best == other).all(axis=1)] = one
        price.keep(price.loads.parts(position), position)
    assert price.rank == last


@pytest.mark.parametrize("several", [False, True])
def test_cells_are_exchanged_where_there_are_several_gates(parts: Partition, several: bool) -> None:
    mesh = gated(parts) if several else Mesh(width=8, height=6)
    found = anneal(parts, mesh, orders=0, work=0).position
    assert np.array_equal(found, place(parts, mesh).position) is not several


def test_flows_are_dealt_to_their_gates(parts: Partition) -> None:
    """All of each outlet as an image has it; of each flow by the inlets as many in all as there are."""
    mesh, traffic, cores = gated(parts), traffic_of(parts), len(parts.cores)
    price = Price.against(traffic, mesh, curve(parts, mesh).position, 1)
    board, ways = Search(price, price.best, np.random.default_rng(0)).board, price.loads.ways(price.best)
    for outlet, x in enumerate((0, 2, 6)):
        out = board.readers == len(traffic.size) + outlet
        leaving = ways.packets[(traffic.readers[ways.flow] == OUTLET) & (ways.box[:, 0] == x)]
        assert board.packets[out].sum() == leaving.sum()
    fed = board.source >= cores
    assert np.unique(board.source[fed] - cores).tolist() == [0, 1, 2]
    assert board.packets[fed].sum() == traffic.packets[traffic.source == INLET].sum()


@pytest.mark.parametrize(
    ("step", "aims"),
    [(10, (60, 400)), (80, (80, 400)), (100, (100, 285)), (150, (120, 285))],
)
def test_aims_are_below_the_best_placement_until_cores_send_within_their_step(
    step: int, aims: tuple[float, float]
) -> None:
    """Of a greedy placement of 120 and 400 cycles and 50 hops, and a best one of 100 and 300."""
    best, loads = np.zeros((1, 2), np.int64), cast(Loads, None)
    limit, rank = Rank(max(120, step), 400, 120, 50), Rank(max(100, step), 300, 100, 40)
    price = Price(loads=loads, step=step, limit=limit, rank=rank, best=best)
    assert [1 / aim for aim in price.aims] == pytest.approx([*aims, 50])


@pytest.mark.parametrize(("allowed", "share"), [(1200, 0.5), (600, 1.0), (500, 1.2 + 30 * 0.2)])
def test_cost_is_what_each_link_is_busy_beyond_its_aim_and_hops(allowed: int, share: float) -> None:
    """Aims of 60 cycles with what cores send, and of 400 with all; a link of all counts for twenty."""
    best, loads = np.zeros((1, 2), np.int64), cast(Loads, SimpleNamespace(mesh=Mesh(width=4, height=1)))
    rank = Rank(100, 300, 100, 50)
    price = Price(loads=loads, step=1, limit=Rank(120, 400, 120, allowed), rank=rank, best=best)
    own, whole = np.array([[[60, 90, 0, 0]]] * 4), np.array([[[400, 100, 440, 0]]] * 4)
    assert price.cost(np.stack((own, whole - own)), 3.0) == pytest.approx(4 * (0.5 + 2) + 3.0 * share)


@pytest.mark.parametrize(
    ("rank", "kept"),
    [
        ((4, 4, 10), True),
        ((5, 2, 10), True),
        ((5, 3, 9), True),
        ((5, 3, 10), False),
        ((4, 4, 11), False),
        ((5, 5, 9), False),
        ((6, 2, 9), False),
    ],
)
def test_best_placement_is_less_busy_and_in_nothing_worse(rank: tuple[int, int, int], kept: bool) -> None:
    """A link that the host loads, one that cores load, and hops of these; within four cycles all is well."""
    whole, sent, hops = rank
    before, other = np.zeros((1, 2), np.int64), np.ones((1, 2), np.int64)
    loads = cast(Loads, SimpleNamespace(mesh=Mesh(width=4, height=4)))
    given = Rank(4, 5, 4, 10) if sent == 4 else Rank(4, 5, 3, 10)
    price = Price(loads=loads, step=4, limit=given, rank=given, best=before)
    load = np.zeros((2, 4, 4, 4), np.int64)
    load[1, WEST, 0, 0] = 2  # enters, and is no hop
    load[1, NORTH, 1, 1], load[0, SOUTH, 0, 2] = whole, sent
    load[0, SOUTH, 1:].flat[: hops - sent] = 1
    assert price.ranked(load) == (max(sent, 4), whole, sent, hops)
    assert price.keep(load, other) is kept
    assert (price.best.tolist() == other.tolist(), price.rank[1:]) == (
        kept,
        (whole, sent, hops) if kept else given[1:],
    )


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
