# SPDX-License-Identifier: Apache-2.0
"""Every placer gives each part a core of its own, repeatably; each keeps what it promises beyond that."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mapping.errors import InfeasibleError
from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, Placer, anneal, place, smallest_mesh
from mapping.layout.place.curve import hilbert
from mapping.layout.traffic import Loads, traffic_of
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network


def _of_cores(count: int) -> Partition:
    """Return a partition of one dense layer with this many cores."""
    draft = Draft(shape=(4,))
    draft.dense(8 * count, density=1.0)
    return partition(draft.network(), core_spec(columns=8, potential_bits=8))


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
@pytest.mark.parametrize("offset", range(6))
def test_placer_gives_every_part_its_own_core(placer: Placer, seed: int, offset: int) -> None:
    parts = partition(random_network(seed + offset), core_spec())
    width, height = smallest_mesh(parts)
    placement = placer(parts, Mesh(width=width, height=height), seed=offset)
    cells = [tuple(cell) for cell in placement.position.tolist()]
    assert len(set(cells)) == len(parts.cores)
    assert all(0 <= x < width and 0 <= y < height for x, y in cells)
    assert [placement.index(i) for i in range(len(cells))] == [y * width + x for x, y in cells]


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
def test_placer_repeats_itself(placer: Placer, seed: int) -> None:
    parts = partition(random_network(seed), core_spec())
    first, second = (placer(parts, Mesh(width=12, height=9), seed=seed).position for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
def test_placer_fills_a_mesh_that_just_fits(placer: Placer) -> None:
    placement = placer(_of_cores(6), Mesh(width=3, height=2))
    assert sorted(map(tuple, placement.position.tolist())) == [(x, y) for x in range(3) for y in range(2)]


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
def test_placer_refuses_a_mesh_that_is_too_small(placer: Placer) -> None:
    with pytest.raises(InfeasibleError) as error:
        placer(_of_cores(5), Mesh(width=2, height=2))
    assert str(error.value) == (
        "Layer 'dense0' needs 5 cores with the layers before it but 4 are allowed: "
        "choose the mesh 3x2, leave its size out, or add --passes."
    )


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
def test_placer_goes_around_what_is_excluded(placer: Placer) -> None:
    excluded = frozenset({(0, 0), (1, 1)})
    cells = placer(_of_cores(4), Mesh(width=3, height=2, excluded=excluded)).position.tolist()
    assert sorted(map(tuple, cells)) == [(0, 1), (1, 0), (2, 0), (2, 1)]


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
def test_placer_counts_what_is_excluded(placer: Placer) -> None:
    excluded = frozenset({(2, 1)})
    refusal = (
        "needs 6 cores with the layers before it but 5 are allowed: choose the mesh 4x2, or add --passes.$"
    )
    with pytest.raises(InfeasibleError, match=refusal):
        placer(_of_cores(6), Mesh(width=3, height=2, excluded=excluded))
    assert len(placer(_of_cores(6), Mesh(width=4, height=2, excluded=excluded)).position) == 6


@pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
def test_placer_places_one_core(placer: Placer) -> None:
    assert placer(_of_cores(1), Mesh(width=1, height=1)).position.tolist() == [[0, 0]]


@pytest.mark.parametrize("placer", PLACERS)
def test_placer_gives_the_same_in_another_process(placer: str) -> None:
    """Whatever the seed of Python's hashes is."""
    program = (
        "from mapping.layout.mesh import Mesh; from mapping.layout.partition import partition; "
        "from mapping.layout.place import PLACERS; "
        "from sim_tests.generators.mapping_networks import core_spec, random_network; "
        f"parts = partition(random_network(3), core_spec()); mesh = Mesh(width=9, height=7); "
        f"print(PLACERS[{placer!r}](parts, mesh, seed=5).position.tolist())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    parts = partition(random_network(3), core_spec())
    here = PLACERS[placer](parts, Mesh(width=9, height=7), seed=5).position.tolist()
    assert outputs == [f"{here}\n"] * 2


def _chain(layers: int) -> Partition:
    """Return a chain of dense layers of several cores each."""
    draft = Draft(shape=(8,))
    for _ in range(layers):
        draft.dense(32, density=1.0)
    return partition(draft.network(), core_spec(columns=8, potential_bits=8))


def test_anneal_takes_fewer_cycles_on_its_busiest_link_and_no_more_hops() -> None:
    parts, mesh = _chain(5), Mesh(width=6, height=4, chip=(2, 2), beats=4)
    loads = Loads(traffic=traffic_of(parts), mesh=mesh)
    before, after = (loads(placer(parts, mesh, seed=1).position) for placer in (place, anneal))
    assert mesh.hops(after) <= mesh.hops(before)
    assert mesh.busy(after).max() < mesh.busy(before).max()


def test_hilbert_visits_every_cell_from_neighbour_to_neighbour() -> None:
    y, x = (axis.reshape(-1) for axis in np.indices((16, 16)))
    along = hilbert(x, y, side=16)
    order = np.argsort(along)
    assert sorted(along.tolist()) == list(range(256))
    assert (np.abs(np.diff(x[order])) + np.abs(np.diff(y[order])) == 1).all()


@pytest.mark.parametrize(
    ("count", "mesh"),
    [
        (1, (1, 1)),
        (2, (2, 1)),
        (3, (2, 2)),
        (5, (3, 2)),
        (7, (4, 2)),
        (13, (5, 3)),
        (4032, (64, 63)),
        (26683, (192, 139)),
        (512 * 512, (512, 512)),
    ],
)
def test_smallest_mesh_is_nearly_square(count: int, mesh: tuple[int, int]) -> None:
    assert smallest_mesh(cast("Partition", SimpleNamespace(cores=range(count)))) == mesh


def test_place_keeps_the_patches_of_a_layer_in_their_arrangement() -> None:
    draft = Draft(shape=(2, 12, 12))
    draft.conv(4, (3, 3))
    parts = partition(draft.network(), core_spec(axons=128, columns=64))
    rows, columns, blocks = parts.layers[0].grid
    assert (rows, columns, blocks) == (4, 2, 1)
    x, y = place(parts, Mesh(width=6, height=6)).position.reshape(rows, columns, 2).transpose(2, 0, 1)
    upright = np.ptp(x, axis=0).max() == 0 and np.ptp(y, axis=1).max() == 0
    lying = np.ptp(y, axis=0).max() == 0 and np.ptp(x, axis=1).max() == 0
    assert upright or lying
    assert np.ptp(x) + np.ptp(y) == rows + columns - 2


def test_place_begins_at_the_stimulus_and_ends_at_the_output() -> None:
    draft = Draft(shape=(4,))
    draft.dense(8)
    only = partition(draft.network(), core_spec())
    assert place(only, Mesh(width=1, height=4)).position.tolist() in ([[0, y]] for y in range(4))
    draft.dense(8)
    draft.dense(8)
    first, _, last = place(partition(draft.network(), core_spec()), Mesh(width=4, height=4)).position.tolist()
    assert first == [0, 0]
    assert last[0] == 0


def test_place_seed_decides_between_equal_places() -> None:
    draft = Draft(shape=(4,))
    first = draft.dense(8, density=1.0)
    draft.dense(8, source=first, density=1.0)
    draft.dense(8, source=first, density=1.0)
    parts = partition(draft.network("dense2"), core_spec())
    found = {str(place(parts, Mesh(width=3, height=3), seed=seed).position.tolist()) for seed in range(20)}
    assert len(found) > 1
