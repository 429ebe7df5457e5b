# SPDX-License-Identifier: Apache-2.0
"""Lists are numbered as a dictionary numbers them, also where their sums do not tell them apart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.layout import delivery
from mapping.layout.delivery import numbered


def by_dictionary(begin: NDArray[np.int64], table: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    known: dict[bytes, int] = {}
    met = []
    numbers = []
    for index, (low, high) in enumerate(zip(begin[:-1].tolist(), begin[1:].tolist(), strict=True)):
        key = table[low:high].tobytes()
        if key not in known:
            known[key] = len(known)
            met.append(index)
        numbers.append(known[key])
    return numbers, met


def ragged(seed: int, lists: int = 300) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    begin = np.append(0, np.cumsum(random.integers(0, 4, lists)))
    return begin, random.integers(0, 3, (int(begin[-1]), int(random.integers(1, 4))))


@pytest.mark.parametrize("offset", range(20))
def test_lists_are_numbered_as_by_a_dictionary(seed: int, offset: int) -> None:
    begin, table = ragged(seed + offset)
    numbers, met = by_dictionary(begin, table)
    assert len(met) < len(numbers)
    found = numbered(begin, table)
    assert [part.tolist() for part in found] == [numbers, met]


@pytest.mark.parametrize("lists", [0, 1])
def test_few_lists_are_numbered(lists: int) -> None:
    found = numbered(np.zeros(lists + 1, np.int64), np.zeros((0, 2), np.int64))
    assert [part.tolist() for part in found] == [[0] * lists, [0] * lists]


def test_lists_with_equal_sums_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, table = ragged(1)
    mixed, salts = delivery._mixed, []

    def alike(within: NDArray[np.int64], rows: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
        salts.append(salt)
        return mixed(within, rows, salt) * np.uint64(salt > 2)

    monkeypatch.setattr(delivery, "_mixed", alike)
    assert [part.tolist() for part in numbered(begin, table)] == [*by_dictionary(begin, table)]
    assert salts == [1, 2, 3]
