# SPDX-License-Identifier: Apache-2.0
"""Every placer gives each part a core of its own, repeatably; the greedy one keeps patches together."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mapping.errors import InfeasibleError
from mapping.layout.partition import Partition, partition
from mapping.layout.place import Placer, place, smallest_mesh
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network

PLACERS = [place]


def _of_cores(count: int) -> Partition:
    """Return a partition of one dense layer with this many cores."""
    draft = Draft(shape=(4,))
    draft.dense(8 * count, density=1.0)
    return partition(draft.network(), core_spec(columns=8, potential_bits=8))


@pytest.mark.parametrize("placer", PLACERS)
@pytest.mark.parametrize("offset", range(6))
def test_placer_gives_every_part_its_own_core(placer: Placer, seed: int, offset: int) -> None:
    parts = partition(random_network(seed + offset), core_spec())
    width, height = smallest_mesh(parts)
    placement = placer(parts, width, height, seed=offset)
    cells = [tuple(cell) for cell in placement.position.tolist()]
    assert len(set(cells)) == len(parts.cores)
    assert all(0 <= x < width and 0 <= y < height for x, y in cells)
    assert [placement.index(i) for i in range(len(cells))] == [y * width + x for x, y in cells]


@pytest.mark.parametrize("placer", PLACERS)
def test_placer_repeats_itself(placer: Placer, seed: int) -> None:
    parts = partition(random_network(seed), core_spec())
    first, second = (placer(parts, 12, 9, seed=seed).position for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("placer", PLACERS)
def test_placer_fills_a_mesh_that_just_fits(placer: Placer) -> None:
    placement = placer(_of_cores(6), 3, 2)
    assert sorted(map(tuple, placement.position.tolist())) == [(x, y) for x in range(3) for y in range(2)]


@pytest.mark.parametrize("placer", PLACERS)
def test_placer_refuses_a_mesh_that_is_too_small(placer: Placer) -> None:
    with pytest.raises(InfeasibleError) as error:
        placer(_of_cores(5), 2, 2)
    assert str(error.value) == (
        "Layer 'dense0' needs 5 cores with the layers before it but 4 are allowed: "
        "choose the mesh 3x2, or leave its size out."
    )


@pytest.mark.parametrize(
    ("count", "mesh"),
    [(1, (1, 1)), (2, (2, 1)), (3, (2, 2)), (5, (3, 2)), (7, (4, 2)), (13, (5, 3)), (4032, (64, 63))],
)
def test_smallest_mesh_is_nearly_square(count: int, mesh: tuple[int, int]) -> None:
    assert smallest_mesh(cast("Partition", SimpleNamespace(cores=range(count)))) == mesh


def test_place_keeps_the_patches_of_a_layer_in_their_arrangement() -> None:
    draft = Draft(shape=(2, 12, 12))
    draft.conv(4, (3, 3))
    parts = partition(draft.network(), core_spec(axons=128, columns=64))
    rows, columns, blocks = parts.layers[0].grid
    assert (rows, columns, blocks) == (4, 2, 1)
    x, y = place(parts, 6, 6).position.reshape(rows, columns, 2).transpose(2, 0, 1)
    upright = np.ptp(x, axis=0).max() == 0 and np.ptp(y, axis=1).max() == 0
    lying = np.ptp(y, axis=0).max() == 0 and np.ptp(x, axis=1).max() == 0
    assert upright or lying
    assert np.ptp(x) + np.ptp(y) == rows + columns - 2


def test_place_begins_at_the_stimulus_and_ends_at_the_output() -> None:
    draft = Draft(shape=(4,))
    draft.dense(8)
    only = partition(draft.network(), core_spec())
    assert place(only, 1, 4).position.tolist() in ([[0, y]] for y in range(4))
    draft.dense(8)
    draft.dense(8)
    first, _, last = place(partition(draft.network(), core_spec()), 4, 4).position.tolist()
    assert first == [0, 0]
    assert last[0] == 0


def test_place_seed_decides_between_equal_places() -> None:
    draft = Draft(shape=(4,))
    first = draft.dense(8, density=1.0)
    draft.dense(8, source=first, density=1.0)
    draft.dense(8, source=first, density=1.0)
    parts = partition(draft.network("dense2"), core_spec())
    found = {str(place(parts, 3, 3, seed=seed).position.tolist()) for seed in range(20)}
    assert len(found) > 1
