# SPDX-License-Identifier: Apache-2.0
"""Counts on ladders: compiled and interpreted both as whole numbers of any size tell."""

import numpy as np
import pytest

from mapping.spiking import ladder_counts
from mapping.spiking.ladder_counts import _EXACT

P = 8


def one_by_one(potential: int, word: list[int], low: int, high: int) -> int:
    """Return the largest count above ``low`` whose threshold the potential has reached, ``low`` if none."""
    first, step, offset, ties = word
    reached = [low]
    for j in range(low + 1, high + 1):
        even = ties * (j & 1) << P
        if first + ((j * step + offset + even) >> 2 * P) <= potential:
            reached.append(j)
    return max(reached)


def drawn(seed: int, spread: int) -> tuple[np.ndarray, np.ndarray]:
    """Return potentials (2, 5, 20) and the words of five ladders, of which some have ties."""
    rng = np.random.default_rng(seed)
    step = rng.integers(1 << P, 1 << 2 * P + 3, 5)  # two counts may share a threshold, but none falls
    words = np.stack(
        (rng.integers(-9, 9, 5), step, rng.integers(0, 1 << 2 * P, 5), rng.integers(0, 2, 5)), axis=1
    )
    return rng.integers(-spread, spread, (2, 5, 20)), words


@pytest.mark.parametrize("spread", [40, 3000, _EXACT >> 2 * P + 1, 2**44])
@pytest.mark.parametrize(("low", "high"), [(0, 15), (-15, 15)])
@pytest.mark.parametrize("kernel", ["_plain", "_compiled", "count_ladders"])
def test_counts_are_those_of_whole_numbers(kernel: str, low: int, high: int, spread: int) -> None:
    for seed in range(2):
        potentials, words = drawn(seed, spread)
        counts = np.empty_like(potentials)
        getattr(ladder_counts, kernel)(potentials, words, P, (low, high), counts)
        wanted = [
            [
                [one_by_one(v, word, low, high) for v in row]
                for row, word in zip(part, words.tolist(), strict=True)
            ]
            for part in potentials.tolist()
        ]
        assert counts.tolist() == wanted


@pytest.mark.parametrize("kernel", ["_plain", "_compiled"])
@pytest.mark.parametrize("quotient", [3, 2**24 + 1, 2**45 - 1])
def test_quotients_next_to_a_whole_number_are_exact(kernel: str, quotient: int) -> None:
    step = (1 << 2 * P) - 1  # no power of two: one above or below a multiple is the nearest miss
    word = [[1, step, 0, 0]]
    potentials = np.array([[[(quotient * step >> 2 * P) + k for k in range(-2, 3)]]])
    counts = np.empty_like(potentials)
    getattr(ladder_counts, kernel)(potentials, np.array(word), P, (-9, 2**50), counts)
    wide = [(int(v) << 2 * P) - 1 for v in potentials[0, 0]]
    assert counts[0, 0].tolist() == [value // step for value in wide]


@pytest.mark.parametrize("kernel", ["_plain", "_compiled"])
def test_a_tie_is_reached_at_its_threshold(kernel: str) -> None:
    potentials = np.arange(-4, 40)[None, None]
    for offset in (0, 255, 256, 65278, 65279, 65280, 65535):  # 2^16 - 257: just within
        words = np.array([[1, 5 << 2 * P, offset, 1]])
        counts = np.empty_like(potentials)
        getattr(ladder_counts, kernel)(potentials, words, P, (0, 7), counts)
        assert counts[0, 0].tolist() == [one_by_one(v, words[0].tolist(), 0, 7) for v in range(-4, 40)]
