# SPDX-License-Identifier: Apache-2.0
"""What a neuron crosses, by hand: windows of lists, and ladders (rule 7)."""

from dataclasses import replace

import pytest

from emu.spec import SystemSpec
from emu.words import Emission, Reset
from sim_tests.generators.systems import make_core
from sim_tests.tests.rtl.walks import (
    FILL,
    LADDER,
    LOW,
    NEVER,
    SPEC,
    cycles,
    entry,
    one,
    stored,
    walk,
)


@pytest.mark.parametrize(
    ("thresholds", "base", "first", "count", "crossed"),
    [
        ([5], 0, 0, 1, 1),
        ([6], 0, 0, 1, 0),
        ([4, 5, 6], 0, 0, 3, 2),
        ([9, 9, 5, 9], 0, 2, 1, 1),
        ([9, 4, 5, 3], 1, 1, 1, 1),
        ([9, 5, 5, 9], 1, 0, 2, 2),
        ([5, 9, 9, 5], 1, 0, 2, 0),
        ([6, 0, 6, 0], 0, 0, 4, 2),
        ([9, 9, 9, 9, 5, 5, 6, 5, 1], 0, 4, 4, 3),
        ([9, 9, 9, 9, 5, 5, 6, 5, 1, 9], 4, 0, 6, 4),
        ([LOW, NEVER], 0, 0, 2, 1),
        ([5, 5, 5, 5], 0, 1, 2, 2),
        ([0], 0, 0, 0, 0),
    ],
)
def test_thresholds_of_the_window_are_compared(
    thresholds: list[int], base: int, first: int, count: int, crossed: int
) -> None:
    got = one(
        [5],
        reset=Reset.CLEAR,
        thresholds=thresholds,
        threshold_base=base,
        schedule=entry(first=first, count=count),
    )
    assert stored(got) == [(5, crossed)]
    assert cycles(got) == [FILL + max(1, -(-count // 4)) - 1]
    assert (got.counts["compared"], got.counts["spikes"]) == (count, crossed)


def test_negative_potential_is_compared_as_such() -> None:
    got = one([-5], reset=Reset.CLEAR, thresholds=[-6, -5, -4, 0], schedule=entry(count=4))
    assert stored(got) == [(-5, 2)]


def test_step_that_does_not_fire_crosses_nothing() -> None:
    got = one([5], thresholds=[LOW] * 9, schedule=entry(fire=0, count=9))
    assert (stored(got), cycles(got), got.counts["compared"]) == ([(5, 0)], [FILL], 0)


@pytest.mark.parametrize(
    ("v", "window", "signed", "crossed", "left"),
    [
        (35, (0, 7), 0, 3, 5),
        (35, (0, 2), 0, 2, 15),
        (9, (0, 7), 0, 0, 9),
        (-35, (8, 7), 1, -4, -5),
        (-35, (2, 7), 1, -2, -25),
        (-35, (8, 7), 0, 0, -35),
        (-10, (8, 7), 1, -1, -10),
        (-11, (8, 7), 1, -2, -1),
        (70, (8, 7), 1, 7, 0),
        (500, (0, 0), 1, 0, 500),
    ],
)
def test_ladder_counts_and_subtracts(
    v: int, window: tuple[int, int], signed: int, crossed: int, left: int
) -> None:
    first, count = window
    got = one(
        [v],
        ladders=[LADDER],
        signed=signed,
        emission=Emission.COUNT,
        schedule=entry(first=first, count=count),
    )
    assert (stored(got), cycles(got), got.counts["compared"]) == ([(left, crossed)], [FILL], 1)
    assert got.counts["spikes"] == abs(crossed)


def test_each_neuron_has_its_own_ladder() -> None:
    ladders = [[0, step << SPEC.core.fraction_bits, 0, 0] for step in (1, 100, 7)]
    core = make_core([[0] * 3], bias=300, ladders=ladders, threshold_base=[8, 4, 0], schedule=entry(count=7))
    assert stored(walk(core)) == [(300 - 49, 7), (0, 3), (293, 7)]


@pytest.mark.parametrize(("first", "crossed"), [(127, -127), (128, -128), (200, -200), (255, -230)])
def test_widest_window_below_zero(first: int, crossed: int) -> None:
    core = replace(SPEC.core, payload_bits=9, potential_bits=18, sum_bits=0)
    ladder = [0, 1 << core.fraction_bits, 0, 0]
    fields = {"signed": 1, "emission": Emission.COUNT, "reset": Reset.CLEAR}
    program = make_core([[0]], v0=-230, ladders=[ladder], schedule=entry(init=1, first=first), **fields)
    assert stored(walk(program, spec=SystemSpec(core=core, width=1, height=1))) == [(-230, crossed)]
