# SPDX-License-Identifier: Apache-2.0
"""Single changes of the annealer: which there are, what they leave alone, and at which links they aim."""

import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mapping.layout.cover import cover
from mapping.layout.mesh import Mesh
from mapping.layout.partition import partition
from mapping.layout.place import curve
from mapping.layout.place.changes import DONE, Aims, Rank, change, excess
from mapping.layout.place.changes.board import CONCERNED, MOVED, OVER, WHERE
from mapping.layout.place.changes.draws import MOST
from mapping.layout.place.price import Price
from mapping.layout.place.search import Search
from mapping.layout.traffic import traffic_of
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, core_spec

Integers = NDArray[np.int64]

MESH = Mesh(width=5, height=4, chip=(2, 2), beats=3, excluded=frozenset({(1, 2), (4, 0)}))
"""As many cores as `search` places."""

NEVER, ALWAYS = 1e-12, 1e12
"""How much worse a change may be."""

NO_AIM, AIM = Aims(sent=0.0, whole=0.0, hops=0.0), Aims(sent=0.0, whole=0.1, hops=0.0)
"""No link is too busy; each is that is busy for more than ten cycles."""


def network(*sizes: int) -> SpikingNetwork:
    """Return dense layers, by default eight of one to three cores, each read by the next one."""
    draft = Draft(shape=(20,), seed=4)
    for neurons in sizes or (24, 16, 24, 16, 24, 16, 16, 8):
        draft.dense(neurons, density=0.5)
    return draft.network()


def search(*sizes: int) -> Search:
    """Return them placed along a curve."""
    parts = partition(network(*sizes), core_spec(columns=8, potential_bits=8))
    assert sizes or len(parts.cores) == MESH.cores
    price = Price.against(traffic_of(parts), MESH, curve(parts, MESH).position, 1)
    return Search(price, price.best, np.random.default_rng(0))


def changes(
    own: Search, aims: Aims, warm: float, *, count: int = 4000
) -> Iterator[tuple[Integers, Integers]]:
    """Yield placements before and after single draws of a change."""
    random, none = np.random.default_rng(1), Rank(-1, -1, -1, -1)
    for _ in range(4000):
        before = own.position.copy()
        own.state.at[DONE] = 0
        assert not change(own.board, own.state, random.random(MOST), aims, 0.0, warm, none, none, 1, 1)
        yield before, own.position.copy()


def kind_of(before: Integers, after: Integers) -> str:
    """Name what a change of a mesh without a free core does; a mirror or roll of two is an exchange too."""
    moved = (after != before).any(axis=1)
    ways, sums = np.unique((after - before)[moved], axis=0), (after + before)[moved]
    if len(ways) < 2:
        return "nothing" if not len(ways) else "other"
    if len(ways) == 2 and (ways[0] == -ways[1]).all():
        return "exchange"
    along = [axis for axis in range(2) if (ways[:, 1 - axis] == 0).all()]
    if along and len(np.unique(sums[:, along[0]])) == 1:
        return "mirror"
    steps = ways[:, along[0]].tolist() if along else []
    return "roll" if len(steps) == 2 and 1 in map(abs, steps) and steps[0] * steps[1] < 0 else "other"


def test_changes_exchange_mirror_and_roll_windows() -> None:
    kinds, most = Counter[str](), 0
    for before, after in changes(search(), NO_AIM, ALWAYS):
        kinds[kind_of(before, after)] += 1
        most = max(most, int((after != before).any(axis=1).sum()))
        cells = {(x, y) for x, y in after.tolist()}
        assert len(cells) == len(after)
        assert not cells & MESH.excluded
        assert all(0 <= x < MESH.width and 0 <= y < MESH.height for x, y in cells)
    assert kinds["other"] == 0
    assert min(kinds["mirror"], kinds["roll"]) > 10
    assert kinds["exchange"] > 1000
    assert most > 4


def test_better_placement_is_told_at_once() -> None:
    """One that has no number above the limit, and is before the best one."""
    random, most, least = np.random.default_rng(1), Rank(*[10**9] * 4), Rank(0, 0, 0, 0)
    cases = [(most, most, True), (most, least, False)]
    cases += [(most._replace(**{name: 0}), most, False) for name in ("whole", "sent", "hops")]
    for limit, best, found in cases:
        own, draws = search(), random.random(1000 * MOST)
        assert change(own.board, own.state, draws, NO_AIM, 0.0, ALWAYS, limit, best, 1, 10_000) is found


def test_sets_of_readers_are_covered_as_by_the_routes() -> None:
    """Scattered sets of up to ten cores, of which some have several covers of equal rectangles."""
    own, uneven = search(48, 80), 0
    for _ in changes(own, NO_AIM, ALWAYS):
        state, board = own.state, own.board
        for group in state.concerned[: state.at[CONCERNED]].tolist():
            members = board.member[slice(*board.member_at[group : group + 2])]
            first, count = int(board.box_at[group]), int(state.boxes_of[0, group])
            boxes = cover(own.position[members].tolist())
            assert state.boxes[0, first : first + count].tolist() == [list(box) for box in boxes]
            uneven += count > 2
    assert uneven > 1000


def test_change_that_is_refused_leaves_nothing_behind() -> None:
    """After it the same is known as before it. One that is taken costs no more."""
    own, refused, taken = search(), 0, 0
    known = [own.state.cell, own.state.boxes_of, own.state.busy]
    kept, last = [one.copy() for one in known], math.inf
    for before, after in changes(own, AIM, NEVER):
        assert np.array_equal(own.state.position[0], own.state.position[1])
        cost = float(excess(own.state.busy[0], own.state.busy[1], AIM).sum())
        if (before == after).all():
            refused += 1
            assert all(np.array_equal(one, other) for one, other in zip(known, kept, strict=True))
        else:
            taken += 1
            kept = [one.copy() for one in known]
            assert cost <= last
        last = cost
    assert refused > 1000 < taken * 1000


def test_flows_over_a_busy_link_are_its_load() -> None:
    own, looked = search(), 0
    for before, after in changes(own, AIM, NEVER):
        state, board = own.state, own.board
        over = state.over[: state.at[OVER]]
        if (before != after).any():
            state.at[OVER] = 0
        elif len(over):
            looked += 1
            part = state.at[WHERE]
            link = board.link[board.link_at[part]]
            assert board.packets[over].sum() * board.cycles[link] == state.busy[:, part].sum()
    assert looked > 1000


def test_half_of_the_changes_move_an_end_of_a_flow_over_a_busy_link() -> None:
    """All but mirrored windows whose middle it is."""
    own, moved, aimed, ends = search(), 0, 0, 0
    for _ in changes(own, AIM, ALWAYS):
        state, board = own.state, own.board
        if state.at[MOVED]:
            flows = state.over[: state.at[OVER]]
            moved, aimed = moved + 1, aimed + bool(len(flows))
            sets = [board.member[slice(*board.member_at[group:][:2])] for group in board.readers[flows]]
            both = np.concatenate([board.source[flows], *sets])
            ends += bool(np.isin(state.moved[: state.at[MOVED], 0], both).any())
        state.at[OVER] = 0
    assert 0.4 < aimed / moved < 0.6
    assert ends > 0.9 * aimed


PLACED = """
from mapping.layout.place import anneal
from mapping.layout.partition import partition
from sim_tests.tests.mapping.test_place_changes import MESH, network
from sim_tests.generators.mapping_networks import core_spec
parts = partition(network(), core_spec(columns=8, potential_bits=8))
print(anneal(parts, MESH, orders=3, work=3000).position.tolist())
"""


def test_interpreter_finds_the_same_placement() -> None:
    found = []
    for switch in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": switch}
        command = [sys.executable, "-c", PLACED]
        found.append(subprocess.run(command, env=environment, check=True, capture_output=True, text=True))
    assert found[0].stdout == found[1].stdout
    assert len(found[0].stdout) > 100
