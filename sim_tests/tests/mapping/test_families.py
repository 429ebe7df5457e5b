# SPDX-License-Identifier: Apache-2.0
"""A list is found in the family of the lists equal to it, and in none if there is no such list."""

import itertools

import numpy as np
from numpy.typing import NDArray

from mapping.layout.check.families import NONE, Families


def joined(lists: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each list begins, and all members."""
    begin = np.cumsum([0, *map(len, lists)])
    return begin, np.array([*itertools.chain(*lists)], np.int64)


def random_lists(random: np.random.Generator, count: int) -> list[list[int]]:
    """Return lists of up to four members, many of which begin alike."""
    return [random.integers(0, 3, random.integers(0, 5)).tolist() for _ in range(count)]


def test_lists_are_found_as_a_dictionary_finds_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(50):
        known = random_lists(random, int(random.integers(1, 20)))
        asked = [*known, *random_lists(random, 20), [7], [0, 9, 1]]
        families = Families.of(*joined(known))
        members = np.split(families.member, families.begin[1:-1])
        by_list = {tuple(known[int(own[0])]): own.tolist() for own in members}
        assert by_list == {tuple(one): [i for i, o in enumerate(known) if o == one] for one in known}
        found = families.find(*joined(asked)).tolist()
        for one, family in zip(asked, found, strict=True):
            assert (family != NONE) == (tuple(one) in by_list)
            assert family == NONE or members[family].tolist() == by_list[tuple(one)]
