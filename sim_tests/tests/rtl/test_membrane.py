# SPDX-License-Identifier: Apache-2.0
"""The membrane of a neuron, by hand: base, drive, decay, current, saturation (rule 6)."""

from dataclasses import replace
from typing import Any

import pytest

from emu.spec import CoreSpec, SystemSpec
from emu.words import Reset
from sim_tests.generators.systems import make_core
from sim_tests.tests.rtl.walks import HIGH, LOW, SPEC, entry, one, states, stored, walk


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("init", [0, 1])
@pytest.mark.parametrize("update", [0, 1])
def test_base_is_v0_or_nothing_or_the_stored_potential(reset: int, init: int, update: int) -> None:
    got = one(
        [7], bias=3, v0=100, potential=-40, reset=reset, schedule=entry(init=init, update=update, count=0)
    )
    base = 100 if init else 0 if reset == Reset.CLEAR else -40
    expected = base + (7 + 3 if update else 0)
    assert (stored(got), got.state) == ([(expected, 0)], [(expected, 0, 0)])


@pytest.mark.parametrize(
    ("strengths", "sums", "drive"),
    [
        ([1], [-9], -9),
        ([-2048], [-1], 2048 - 1),
        ([1, -3], [10, 20], -50),
        ([1, 3, -9, 27], [1, -1, 2, -2], 1 - 3 - 18 - 54),
        ([127, 127], [8, -8], 0),
    ],
)
def test_drive_is_the_sum_of_strength_times_column_sum(
    strengths: list[int], sums: list[int], drive: int
) -> None:
    assert stored(one(sums, strengths=strengths, schedule=entry(fire=0))) == [(drive, 0)]


@pytest.mark.parametrize(
    ("start", "bias", "total", "kept", "clipped"),
    [
        (HIGH, 1, 0, HIGH, 1),
        (HIGH - 1, 1, 0, HIGH, 0),
        (LOW, -1, 0, LOW, 1),
        (LOW + 1, -1, 0, LOW, 0),
        (HIGH, HIGH, 511, HIGH, 1),
        (LOW, LOW, -511, LOW, 1),
        (HIGH, LOW, 0, -1, 0),
    ],
)
def test_membrane_saturates_both_ways(start: int, bias: int, total: int, kept: int, clipped: int) -> None:
    got = one([total], potential=start, bias=bias, schedule=entry(fire=0))
    assert (stored(got), got.counts["clipped"]) == ([(kept, 0)], clipped)


DEEP = SystemSpec(
    core=CoreSpec(
        axons=2,
        columns=8,
        lanes=8,
        payload_bits=2,
        potential_bits=32,
        strengths=1,
        thresholds=4,
        fanouts=2,
        schedule=2,
    ),
    width=1,
    height=1,
)
"""Potentials far wider than drives: what base and bias need, the drive does not hide."""

TOP, BOTTOM = DEEP.core.potential_max, DEEP.core.potential_min


def test_potentials_of_the_deep_core_are_wider_than_its_drives() -> None:
    assert DEEP.core.potential_bits > DEEP.core.drive_bits + 2


@pytest.mark.parametrize(
    ("start", "bias", "drive", "kept", "clipped"),
    [
        (TOP, TOP, 512, TOP, 1),
        (BOTTOM, BOTTOM, -512, BOTTOM, 1),
        (TOP, TOP, 2, TOP, 1),
        (BOTTOM, BOTTOM, -1, BOTTOM, 1),
        (TOP, 1, 0, TOP, 1),
        (BOTTOM, -1, 0, BOTTOM, 1),
        (TOP, BOTTOM, 1, 0, 0),
        (BOTTOM, TOP, -512, -513, 0),
    ],
)
def test_membrane_of_wide_potentials_saturates_both_ways(
    start: int, bias: int, drive: int, kept: int, clipped: int
) -> None:
    strength = -128 if drive % 128 == 0 else 1
    core = make_core([[0]], strengths=[strength], potential=start, bias=bias, schedule=entry(fire=0))
    got = walk(core, [drive // strength], spec=DEEP)
    assert (stored(got), got.state, got.counts["clipped"]) == ([(kept, 0)], [(kept, 0, 0)], clipped)


@pytest.mark.parametrize("sign", [1, -1])
def test_drive_holds_every_column_at_the_extreme(sign: int) -> None:
    limit = SPEC.core.sum_max
    schedule = entry(fire=0)
    got = one([-limit * sign] * 4, strengths=[-2048] * 4, reset=Reset.CLEAR, schedule=schedule)
    assert (stored(got), got.counts["clipped"]) == ([(HIGH if sign > 0 else LOW, 0)], 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_drive_of_three_columns_at_the_extreme_takes_another_bit(sign: int) -> None:
    spec = replace(SPEC, core=replace(SPEC.core, strengths=3))
    core = make_core([[0] * 3], strengths=[-2048] * 3, reset=Reset.CLEAR, schedule=entry(fire=0))
    got = walk(core, [-spec.core.sum_max * sign] * 3, spec=spec)
    assert (stored(got), got.counts["clipped"]) == ([(HIGH if sign > 0 else LOW, 0)], 1)


@pytest.mark.parametrize(("delta", "kept"), [(0, -1001), (1, -1000), (2048, -500), (4095, 0), (4096, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_decay_rounds_towards_zero(delta: int, kept: int, sign: int) -> None:
    core: dict[str, Any] = {
        "potential_decay": delta,
        "potential": -1001 * sign,
        "bias": 5,
        "v0": -1001 * sign,
    }
    assert stored(one(**core, schedule=entry(fire=0))) == [(kept * sign + 5, 0)]
    assert stored(one(**core, schedule=entry(count=0, update=0))) == [(-1001 * sign, 0)]
    assert stored(one(**core, schedule=entry(fire=0, init=1))) == [(-1001 * sign + 5, 0)]


def test_current_filters_the_drive() -> None:
    core: dict[str, Any] = {"current_kept": 2048, "current": -7, "bias": 1, "potential": 10, "v0": 50}
    assert states(one([20], **core, schedule=entry(fire=0))) == [(10 - 3 + 20 + 1, 17, 0)]
    assert states(one([20], **core, schedule=entry(fire=0, init=1))) == [(50 + 20 + 1, 20, 0)]
    assert states(one([20], **core, schedule=entry(count=0, update=0))) == [(10, -7, 0)]
    assert states(one([20], **core, schedule=entry(fire=0, update=0, init=1))) == [(50, 0, 0)]


@pytest.mark.parametrize("sign", [1, -1])
def test_current_is_clipped_and_counted_apart(sign: int) -> None:
    start: dict[str, Any] = {
        "current_kept": 4096,
        "current": 2000 * sign,
        "bias": 9 * sign,
        "schedule": entry(fire=0),
    }
    edge = HIGH if sign > 0 else LOW
    got = one([100 * sign], **start)
    assert (states(got), got.counts["clipped"]) == ([(edge, edge, 0)], 2)
    got = one([100 * sign], potential=-50 * sign, **start)
    assert (states(got), got.counts["clipped"]) == ([(edge - 50 * sign + 9 * sign, edge, 0)], 1)


def test_neuron_without_a_filter_takes_an_unclipped_drive_and_forgets_its_current() -> None:
    got = one([500], strengths=[8], potential=-2000, current=77, schedule=entry(fire=0))
    assert (states(got), got.counts["clipped"]) == ([(2000, 0, 0)], 0)
