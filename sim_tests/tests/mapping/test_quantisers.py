# SPDX-License-Identifier: Apache-2.0
"""A ladder counts as the list of its thresholds, and digits hold the weights they are made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.spiking.digits import INT8, digits_of, largest_weight, strengths_of
from mapping.spiking.quantisers import Ladders, Lists


@pytest.mark.parametrize("bits", [3, 5, 9])
@pytest.mark.parametrize("low", [-4, -1, 0])
def test_ladder_counts_as_the_list_of_its_thresholds(bits: int, low: int, seed: int) -> None:
    random, rows, high = np.random.default_rng(seed + bits), 200, 3
    words = np.stack(
        (
            random.integers(-20, 20, rows),
            random.integers(1 << bits, 12 << 2 * bits, rows),
            random.integers(0, 1 << 2 * bits, rows),
            random.integers(0, 2, rows),
        ),
        axis=1,
    )
    ladders = Ladders(words=words, payload_bits=bits)
    potentials = np.broadcast_to(np.arange(-120, 120), (1, rows, 240))
    edges = ladders.edges(low, high)
    assert (np.diff(edges, axis=1) >= 0).all()
    reached = low + (potentials[..., None] >= edges[:, None]).sum(axis=3)
    assert np.array_equal(ladders.counts(potentials, low, high), reached)
    assert len(np.unique(reached)) == high - low + 1


def test_ladder_counts_by_its_definition_in_whole_numbers() -> None:
    first, step, offset, bits = 3, 700, 91, 4
    ladders = Ladders(words=np.array([[first, step, offset, 1]]), payload_bits=bits)
    for j, edge in zip(range(-3, 5), ladders.edges(-4, 4)[0].tolist(), strict=True):
        assert edge == first + (j * step + offset + (j % 2 << bits)) // (1 << 2 * bits)


@pytest.mark.parametrize("levels", [1, 3, 16, 17, 40])
def test_list_counts_its_thresholds(levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    lists = Lists(thresholds=np.sort(random.integers(-30, 30, (5, levels)), axis=1))
    potentials = random.integers(-40, 40, (4, 5, 6))
    naive = (potentials[..., None] >= lists.thresholds[:, None]).sum(axis=3)
    assert np.array_equal(lists.counts(potentials, 0, levels), naive)
    with pytest.raises(ValueError, match=rf"must be 0\.\.{levels}, not -1\.\.{levels}\.$"):
        lists.counts(potentials, -1, levels)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.data())
def test_digits_make_up_every_weight(digits: int, data: st.DataObject) -> None:
    strengths = strengths_of(digits)
    most = largest_weight(strengths)
    weight = data.draw(st.integers(-most, most))
    found = digits_of(np.array([weight]), strengths)[0]
    assert set(found.tolist()) <= {-1, 0, 1}
    assert int(found @ np.array(strengths)) == weight


def test_six_digits_hold_every_byte() -> None:
    weights = np.arange(-128, 128)
    assert np.array_equal(digits_of(weights, INT8) @ np.array(INT8), weights)


def test_weight_beyond_its_digits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Weight 5 has no digits of strengths \(1, 3\)\.$"):
        digits_of(np.array([1, 5]), (1, 3))
