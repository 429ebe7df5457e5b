# SPDX-License-Identifier: Apache-2.0
"""What a neuron that fired keeps and sends, by hand: reset, rest, emission (rules 7 and 8)."""

from typing import Any

import pytest

from emu.words import Emission, Reset
from sim_tests.generators.systems import make_core
from sim_tests.tests.rtl.walks import (
    FANOUT,
    FILL,
    HERE,
    HIGH,
    LADDER,
    LOW,
    NEVER,
    SPEC,
    cycles,
    entry,
    one,
    states,
    stored,
    walk,
)


@pytest.mark.parametrize(
    ("reset", "kept"),
    [
        (Reset.CLEAR, 10),
        (Reset.ZERO, 0),
        (Reset.SUBTRACT, 4),
        (Reset.VALUE, -77),
        (Reset.SUBTRACT_VALUE, 87),
    ],
)
def test_reset_of_a_neuron_that_fired(reset: int, kept: int) -> None:
    got = one([10], reset=reset, thresholds=[8, 11, 6, NEVER], schedule=entry(count=4, value=-77))
    assert (stored(got), got.state) == ([(kept, 2)], [(kept, 0, 0)])


@pytest.mark.parametrize("reset", list(Reset))
def test_neuron_that_did_not_fire_keeps_its_potential(reset: int) -> None:
    got = one([5], reset=reset, thresholds=[6], schedule=entry(value=3))
    assert (stored(got), got.counts["spikes"]) == ([(5, 0)], 0)


@pytest.mark.parametrize(
    ("v0", "theta", "kept", "clipped"), [(HIGH, LOW, HIGH, 1), (-1, LOW, HIGH, 0), (0, LOW, HIGH, 1)]
)
def test_subtraction_saturates(v0: int, theta: int, kept: int, clipped: int) -> None:
    got = one(v0=v0, thresholds=[theta], schedule=entry(init=1, update=0))
    assert (stored(got), got.counts["clipped"]) == ([(kept, 1)], clipped)


@pytest.mark.parametrize("reset", [Reset.CLEAR, Reset.ZERO, Reset.VALUE])
def test_subtraction_that_is_not_done_is_not_counted(reset: int) -> None:
    got = one(v0=HIGH, reset=reset, thresholds=[LOW], schedule=entry(init=1, update=0))
    assert got.counts["clipped"] == 0


@pytest.mark.parametrize("reset", [Reset.SUBTRACT_VALUE, Reset.VALUE])
def test_value_is_subtracted_with_the_sign_of_the_count(reset: int) -> None:
    schedule = entry(first=8, count=7, value=-30)
    core = make_core(
        [[0, 0]],
        bias=[25, -25],
        ladders=[LADDER],
        signed=1,
        reset=reset,
        emission=Emission.COUNT,
        schedule=schedule,
    )
    kept = (55, -55) if reset == Reset.SUBTRACT_VALUE else (-30, -30)
    assert stored(walk(core)) == [(kept[0], 2), (kept[1], -3)]


def test_neuron_rests_after_it_fired() -> None:
    schedule = entry(count=1) * 4
    got = one([9], thresholds=[5], refractory_period=2, bias=1, reset=Reset.ZERO, schedule=schedule)
    assert states(got) == [(0, 0, 2), (0, 0, 1), (0, 0, 0), (0, 0, 2)]
    assert [count for _, count in stored(got)] == [1, 0, 0, 1]
    assert got.counts["compared"] == 4


def test_largest_refractory_count_is_for_ever() -> None:
    most = SPEC.core.refractory_max
    schedule = entry() * 3 + entry(init=1)
    got = one([9], thresholds=[5], refractory_period=most, reset=Reset.ZERO, schedule=schedule)
    assert [state[2] for state in states(got)] == [most] * 4
    assert [count for _, count in stored(got)] == [1, 0, 0, 1]


def test_resting_neuron_keeps_its_potential_but_not_its_current() -> None:
    start: dict[str, Any] = {"refractory": 1, "potential": 40, "current": 8, "bias": 3, "thresholds": [LOW]}
    dynamics: dict[str, Any] = {"current_kept": 2048, "potential_decay": 2048}
    assert states(one([6], **start, **dynamics, schedule=entry(fire=0))) == [(40, 10, 1)]
    assert states(one([6], **start, **dynamics, reset=Reset.CLEAR, schedule=entry())) == [(40, 10, 0)]
    assert states(one([6], **start, reset=Reset.CLEAR, schedule=entry(update=0))) == [(40, 8, 0)]


def test_resting_neuron_takes_its_time_and_crosses_nothing() -> None:
    core = make_core(
        [[0, 0]], refractory=[1, 0], thresholds=[LOW] * 12, reset=Reset.ZERO, schedule=entry(count=12)
    )
    got = walk(core)
    assert (cycles(got), stored(got)) == ([FILL + 2, FILL + 5], [(0, 0), (0, 12)])


@pytest.mark.parametrize("rests", [[1, 0], [0, 1]])
def test_neuron_behind_one_that_rests_does_not_change_its_last_words(rests: list[int]) -> None:
    """The next neuron waits already while the last of four words of thresholds is asked for."""
    core = make_core(
        [[0] * 8], strengths=[1] * 4, refractory=rests, thresholds=[LOW] * 16, schedule=entry(count=16)
    )
    assert [count for _, count in stored(walk(core))] == [0 if rest else 16 for rest in rests]


def test_unary_emission_sends_one_packet_for_each_crossing() -> None:
    got = one([3], thresholds=[1, 2, 3], fanout=FANOUT, fanout_base=1, schedule=entry(count=3))
    targets = [(0, 1, 0, 1, 4), (0, 0, 2, 2, 9)]
    assert [p for _, p in got.packets] == [(*e[:4], e[4] + copy, 1) for e in targets for copy in range(3)]
    assert [c - cycles(got)[0] - got.starts[0][0] for c, _ in got.packets] == list(range(6))


@pytest.mark.parametrize("crossed", [7, 8, 9, 20, 127, 128])
def test_unary_emission_of_many_crossings(crossed: int) -> None:
    got = one([3], thresholds=[3] * crossed, fanout=FANOUT, schedule=entry(count=crossed))
    assert [p for _, p in got.packets] == [(1, 1, 0, 0, 30 + copy, 1) for copy in range(crossed)]


@pytest.mark.parametrize(("v", "count"), [(70, 7), (-75, -8), (10, 1), (-1, -1)])
def test_count_emission_sends_the_count_once(v: int, count: int) -> None:
    got = one(
        [v],
        ladders=[LADDER],
        signed=1,
        fanout=FANOUT,
        fanout_base=1,
        emission=Emission.COUNT,
        schedule=entry(first=8, count=7),
    )
    assert [p for _, p in got.packets] == [(0, 1, 0, 1, 4, count), (0, 0, 2, 2, 9, count)]


@pytest.mark.parametrize(
    ("v", "emit", "payload"), [(70, 5, 5), (70, -5, -5), (-70, 5, -5), (-70, -7, 7), (-1, 7, -7)]
)
def test_constant_emission_sends_the_entrys_number_with_the_sign_of_the_count(
    v: int, emit: int, payload: int
) -> None:
    schedule = entry(first=8, count=7, emit=emit)
    got = one([v], ladders=[LADDER], signed=1, fanout=[HERE], emission=Emission.CONSTANT, schedule=schedule)
    assert [p for _, p in got.packets] == [(0, 0, 0, 0, 0, payload)]


def test_fanout_list_begins_at_its_base() -> None:
    core = make_core([[0] * 3], bias=1, fanout=FANOUT, fanout_base=[3, 0, 2], schedule=entry())
    assert [p[4] for _, p in walk(core).packets] == [40, 30, 9]


@pytest.mark.parametrize(
    ("connected", "packets"), [([True, False], 1), ([False, True], 1), ([False, False], 0)]
)
def test_neuron_that_is_not_connected_sends_nothing(connected: list[bool], packets: int) -> None:
    core = make_core([[0, 0]], bias=1, connected=connected, fanout=[HERE], schedule=entry())
    got = walk(core)
    assert (len(got.packets), [count for _, count in stored(got)]) == (packets, [1, 1])


def test_neuron_that_crossed_nothing_sends_nothing() -> None:
    core = make_core([[0, 0, 0]], bias=[0, 1, 0], fanout=[HERE], fanout_base=0, schedule=entry())
    assert len(walk(core).packets) == 1
