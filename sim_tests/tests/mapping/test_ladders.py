# SPDX-License-Identifier: Apache-2.0
"""Ladders against independent arithmetic: every requantisation of 8 bits is one, other lists are not."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from emu.machine import Machine
from emu.spec import SystemSpec, preset
from mapping.codes.ladders import Ladder, find_ladder, requantisation_thresholds
from sim_tests.generators.systems import make_core, make_stimulus, make_system

P = 9


def rounded(value: Fraction) -> int:
    """Return the nearest integer, ties to even, by Python's own rounding of fractions."""
    return round(value)


def requantised(v: int, scale: Fraction, zero: int, low: int, high: int) -> int:
    """Return what a quantised runtime writes: round, add the zero point, clip."""
    return min(max(rounded(v * scale) + zero, low), high)


def check(scale: Fraction, zero: int, low: int, high: int) -> Ladder:
    """Find the ladder of a requantisation; compare it on both sides of every threshold, and at the ends."""
    thresholds = requantisation_thresholds(scale, low - zero, high - zero)
    found = find_ladder(thresholds, low - zero, P)
    assert found is not None, f"no ladder for scale {scale}, zero point {zero}"
    own = found.thresholds(low - zero, high - zero)
    assert (np.diff(own) >= 0).all()
    for v in {*(own - 1).tolist(), *own.tolist(), int(own[0]) - 1000, int(own[-1]) + 1000}:
        count = low - zero + int((v >= own).sum())
        assert count + zero == requantised(v, scale, zero, low, high)
    return found


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127)])
def test_every_float32_scale_has_a_ladder(low: int, high: int) -> None:
    rng = np.random.default_rng(8)
    for _ in range(500):
        scale = np.float32(2.0 ** rng.uniform(-14, 0))
        check(Fraction(float(scale)), int(rng.integers(low, high + 1)), low, high)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127)])
def test_scales_with_ties_have_a_ladder(low: int, high: int) -> None:
    ties = 0
    for exponent in range(1, 14):
        for odd in {1, 3, 5, 2**exponent - 1, 2 ** (exponent - 1) + 1}:
            if odd % 2:
                ties += check(Fraction(odd, 2**exponent), 3, low, high).ties
    assert ties > 0


def test_a_multi_spike_neuron_is_a_ladder() -> None:
    thresholds = 12 * np.arange(1, 8)
    found = find_ladder(thresholds, 0, 4)
    assert found is not None
    assert found.thresholds(0, 7).tolist() == thresholds.tolist()


@pytest.mark.parametrize("thresholds", [[1, 2, 4, 8], [0, 10, 10, 20]])
def test_other_lists_are_no_ladders(thresholds: list[int]) -> None:
    assert find_ladder(np.array(thresholds), 0, 6) is None


def test_no_threshold_is_a_ladder_of_any_step() -> None:
    found = find_ladder(np.zeros(0, np.int64), 0, 4)
    assert found is not None
    assert found.thresholds(0, 0).tolist() == []


def test_scale_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match=r"^Scale must be above 0, not 0\.0\.$"):
        requantisation_thresholds(Fraction(0), 0, 3)


@pytest.mark.parametrize(("low", "high", "zero"), [(0, 255, 0), (-128, 127, -7), (0, 255, 128)])
def test_the_chip_requantises_as_other_tools_do(low: int, high: int, zero: int) -> None:
    """A core that reads V as a bias and sends y - z: what leaves the chip is the integer of other tools."""
    scale, rng = Fraction(float(np.float32(0.0123))), np.random.default_rng(3)
    values = np.concatenate([rng.integers(-40000, 40000, 180), np.arange(-20, 20)])
    ladder = check(scale, zero, low, high)
    core = replace(preset("medium"), potential_bits=24)
    first, count = zero - low, high - zero
    image = make_system(
        SystemSpec(core=core, width=1, height=1),
        make_core(
            np.zeros((1, len(values))),
            bias=values,
            reset=0,
            emission=0,
            signed=1,
            ladders=[[ladder.first, ladder.step, ladder.offset, ladder.ties]],
            schedule=[[1, 0, 0, 1, 1, first, min(count, 255)]],
        ),
    )
    run = Machine(image).run(make_stimulus(1))
    got = np.zeros(len(values), np.int64)
    got[run.spikes[:, 2]] = run.spikes[:, 3]
    expected = [requantised(int(v), scale, zero, low, high) - zero for v in values]
    assert got.tolist() == expected
