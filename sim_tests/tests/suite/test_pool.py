# SPDX-License-Identifier: Apache-2.0
"""The pool of systems: few, and every pair of options present, absent and mixed in some of them."""

from collections.abc import Callable, Sequence
from itertools import combinations, product

import pytest

from emu.spec import CoreSpec, SystemSpec
from sim_tests.generators.pool import BLOCK, DEEP, DIGITS, LONG, PLAIN, POOL, RATE, TINY, WIDE

OPTIONS: dict[str, Callable[[CoreSpec], bool]] = {
    "extension": lambda core: core.max_extension > 1,
    "digits": lambda core: core.strengths > 1,
    "axon shifts": lambda core: core.axon_shifts,
    "ladder": lambda core: core.ladder,
    "signed ladder": lambda core: core.signed_ladder,
    "synaptic current": lambda core: core.synaptic_current,
    "decay": lambda core: core.decay,
    "refractory": lambda core: core.refractory_bits > 0,
}


def missing(pool: Sequence[SystemSpec]) -> list[tuple[str, bool, str, bool]]:
    """Return the pairs of options, each present or absent, that no system of a pool has."""
    wanted = [
        (a, in_a, b, in_b)
        for a, b in combinations(OPTIONS, 2)
        for in_a, in_b in product((False, True), repeat=2)
    ]
    return [
        (a, in_a, b, in_b)
        for a, in_a, b, in_b in wanted
        if not any(OPTIONS[a](s.core) == in_a and OPTIONS[b](s.core) == in_b for s in pool)
    ]


IMPOSSIBLE = [("ladder", False, "signed ladder", True)]
"""A signed ladder is a ladder."""


def test_every_pair_of_options_is_in_the_pool() -> None:
    assert missing(POOL) == IMPOSSIBLE


def test_a_pool_without_one_of_its_cores_misses_a_pair() -> None:
    told = [
        missing([s for s in POOL if s.core != core]) != IMPOSSIBLE for core in (PLAIN, DIGITS, BLOCK, DEEP)
    ]
    assert all(told)


def test_pool_has_at_most_24_builds_and_none_twice() -> None:
    assert len(set(map(repr, POOL))) == len(POOL) <= 24
    assert {s.core for s in POOL} == {TINY, PLAIN, LONG, DIGITS, BLOCK, WIDE, DEEP, RATE}
    assert max(s.cores for s in POOL) == 9


@pytest.mark.parametrize(
    "corner",
    [
        lambda core: core.flit_axon_bits == core.axon_bits,
        lambda core: core.flit_axon_bits > core.axon_bits,
        lambda core: core.potential_bits > core.drive_bits,
        lambda core: core.potential_bits < core.drive_bits,
        lambda core: core.potential_bits == 32,
        lambda core: core.words == 1,
        lambda core: core.words == core.max_extension,
        lambda core: any(core.lanes % k for k in range(1, core.strengths + 1)),
        lambda core: core.sum_bits > (core.axons << (core.payload_bits - 1)).bit_length() + 1,
        lambda core: core.payload_bits == 2,
        lambda core: core.payload_bits == 9 and core.thresholds >= 255,
        lambda core: core.axons & (core.axons - 1) > 0,
        lambda core: core.max_extension > 1 and core.axon_shifts,
    ],
)
def test_every_corner_of_sizes_is_in_the_pool(corner: Callable[[CoreSpec], bool]) -> None:
    assert any(corner(s.core) for s in POOL)
