# SPDX-License-Identifier: Apache-2.0
"""Ladders: the definition, the algorithm of `docs/reference/machine.md`, oracle and emulator count alike."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

from emu.machine import Machine
from emu.program import period_of
from emu.spec import CoreSpec, SystemSpec
from emu.trace import diff
from emu.words import Emission, Reset
from sim_tests.generators.systems import make_core, make_stimulus, make_system
from sim_tests.oracle.machine import run_oracle
from sim_tests.oracle.rules import Core

Window = tuple[int, int]


class Ladder(NamedTuple):
    """theta_0, a, b and ties, with the payload bits P."""

    first: int
    step: int
    offset: int
    ties: int
    bits: int

    def threshold(self, j: int) -> int:
        """Return T_j as the contract defines it, on integers of any size."""
        fraction = 2 * self.bits
        tie = self.ties * (j % 2) * (1 << (fraction - self.bits))
        return self.first + (j * self.step + self.offset + tie) // (1 << fraction)


def defined(ladder: Ladder, v: int, low: int, high: int) -> int:
    """Return c by the definition."""
    return low + sum(v >= ladder.threshold(j) for j in range(low + 1, high + 1))


def bit_by_bit(ladder: Ladder, v: int, low: int, high: int, *, signed: bool) -> tuple[int, int]:
    """Return c and the last threshold as hardware finds them, step by step as the page has it."""
    bits, fraction = ladder.bits, 2 * ladder.bits
    c = -(1 << (bits - 1)) if signed else 0
    x = -(ladder.step << (bits - 1)) if signed else 0
    accepted = rejected = 0
    for k in range(bits - 1 if signed else bits - 2, -1, -1):
        t, y = c + (1 << k), x + (ladder.step << k)
        tie = (ladder.ties & t & 1) << (fraction - bits)
        threshold = ladder.first + ((y + ladder.offset + tie) >> fraction)
        if t <= low or (t <= high and v >= threshold):
            c, x, accepted = t, y, threshold
        else:
            rejected = threshold
    return c, accepted if c > 0 else rejected


def core_spec(bits: int, potential_bits: int = 8, *, signed: bool = True, neurons: int = 1024) -> CoreSpec:
    return CoreSpec(
        axons=2,
        columns=neurons,
        lanes=8,
        payload_bits=bits,
        potential_bits=potential_bits,
        strengths=1,
        thresholds=2048,
        fanouts=2,
        schedule=256,
        ladder=True,
        signed_ladder=signed,
    )


def ladders(rng: np.random.Generator, spec: CoreSpec, count: int) -> list[Ladder]:
    """Return ladders of steps below, at and above one, with thresholds at both ends."""
    found = []
    for _ in range(count):
        fraction, ties = spec.fraction_bits, int(rng.integers(2))
        least = ties << (fraction - spec.payload_bits)
        widest = (1 << (spec.threshold_bits + fraction)) - 1
        some = int(rng.integers(least, 40 << fraction))
        step = int(rng.choice([least, least + 1, 1 << fraction, some, widest]))
        first = int(rng.choice([spec.always, spec.never, *rng.integers(-40, 40, 6)]))
        found.append(Ladder(first, step, int(rng.integers(1 << fraction)), ties, spec.payload_bits))
    return found


def windows(spec: CoreSpec, *, signed: bool) -> list[Window]:
    """Return every first and count of a small payload."""
    firsts = range(-spec.payload_min + 1) if signed else [0]
    return [(first, count) for first in firsts for count in range(spec.payload_max + 1)]


def fire(spec: CoreSpec, own: Sequence[Ladder], signed: bool, pairs: Sequence[Window], vs: Any) -> Any:
    """Return c of (window, ladder, potential), and what is left of the potential after a subtraction."""
    potentials = np.tile(vs, len(own))
    core = make_core(
        np.zeros((1, len(potentials))),
        v0=potentials,
        reset=Reset.SUBTRACT,
        emission=Emission.COUNT,
        signed=signed,
        ladders=[ladder[:4] for ladder in own],
        threshold_base=4 * np.repeat(np.arange(len(own)), len(vs)),
        schedule=[[1, 1, 0, 0, 1, first, count] for first, count in pairs],
    )
    run = Machine(make_system(SystemSpec(core=spec, width=1, height=1), core)).run(
        make_stimulus(len(pairs)), potentials=True
    )
    counts = np.zeros((len(pairs), len(potentials)), np.int64)
    counts[run.spikes[:, 0], run.spikes[:, 2]] = run.spikes[:, 3]
    assert run.potentials is not None
    shape = (len(pairs), len(own), len(vs))
    return counts.reshape(shape), run.potentials[:, 3].reshape(shape)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_every_reading_counts_what_the_definition_counts(bits: int, signed: bool, seed: int) -> None:
    spec = core_spec(bits, signed=signed)
    own = ladders(np.random.default_rng(seed + bits), spec, 4)
    vs = np.arange(spec.potential_min, spec.potential_max + 1)
    pairs = windows(spec, signed=signed)
    counts, left = fire(spec, own, signed, pairs, vs)
    for place, (first, high) in enumerate(pairs):
        low = -first if signed else 0
        for at, ladder in enumerate(own):
            for v, c, rest in zip(
                vs.tolist(), counts[place, at].tolist(), left[place, at].tolist(), strict=True
            ):
                assert c == defined(ladder, v, low, high)
                found, last = bit_by_bit(ladder, v, low, high, signed=signed)
                assert found == c
                if c:
                    assert last == ladder.threshold(c if c > 0 else c + 1)
                    assert rest == min(max(v - last, spec.potential_min), spec.potential_max)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_ladder_equals_the_list_of_its_thresholds(bits: int, seed: int) -> None:
    spec = core_spec(bits, neurons=256)
    vs = np.arange(spec.potential_min, spec.potential_max + 1)
    for ladder in ladders(np.random.default_rng(seed), spec, 6):
        counts, _ = fire(spec, [ladder], False, [(0, spec.payload_max)], vs)
        thetas = [ladder.threshold(j) for j in range(1, spec.payload_max + 1)]
        schedule = [[1, 1, 0, 0, 1, 0, len(thetas)]]
        thresholds = np.clip(thetas, spec.always, spec.never)
        core = make_core(np.zeros((1, 256)), v0=vs, thresholds=thresholds, schedule=schedule)
        run = Machine(make_system(SystemSpec(core=spec, width=1, height=1), core)).run(make_stimulus(1))
        listed = np.zeros(256, np.int64)
        listed[run.spikes[:, 2]] = run.spikes[:, 3]
        assert counts[0, 0].tolist() == listed.tolist()


@pytest.mark.parametrize("potential_bits", [18, 32])
def test_widest_ladder_fits_the_integers_of_the_emulator(potential_bits: int, seed: int) -> None:
    spec = core_spec(9, potential_bits)
    rng = np.random.default_rng(seed)
    low, high = spec.potential_min, spec.potential_max
    widest = (1 << (spec.threshold_bits + spec.fraction_bits)) - 1
    most = (1 << spec.fraction_bits) - 1
    own = [Ladder(first, widest, most, 1, 9) for first in (spec.always, spec.never)]
    own += [Ladder(int(rng.integers(low, high)), (high // 128) << 18, most, 1, 9), *ladders(rng, spec, 5)]
    vs = np.unique([low, low + 1, -1, 0, 1, high - 1, high, *rng.integers(low, high + 1, 90)])
    pairs = [(255, 255), (0, 255), (255, 0), (17, 3)]
    counts, left = fire(spec, own, True, pairs, vs)
    for place, (first, count) in enumerate(pairs):
        for at, ladder in enumerate(own):
            wanted = [defined(ladder, int(v), -first, count) for v in vs]
            assert counts[place, at].tolist() == wanted
            assert [bit_by_bit(ladder, int(v), -first, count, signed=True)[0] for v in vs] == wanted
            lasts = [ladder.threshold(c if c > 0 else c + 1) if c else 0 for c in wanted]
            rest = [min(max(int(v) - last, low), high) for v, last in zip(vs, lasts, strict=True)]
            assert left[place, at].tolist() == rest


def test_thresholds_never_decrease_if_the_step_is_legal(seed: int) -> None:
    for bits in (2, 5, 9):
        for ladder in ladders(np.random.default_rng(seed), core_spec(bits, 18), 40):
            rungs = [ladder.threshold(j) for j in range(-(1 << (bits - 1)), 1 << (bits - 1))]
            assert all(a <= b for a, b in pairwise(rungs))
    short = Ladder(0, (1 << 2) - 1, 9, 1, 2)  # a step below a tie: T_1 = (3 + 9 + 4) >> 4, T_2 = (6 + 9) >> 4
    assert any(short.threshold(j) > short.threshold(j + 1) for j in range(-2, 2))


@pytest.mark.parametrize("signed", [False, True])
def test_oracle_reads_the_definition(signed: bool, seed: int) -> None:
    spec = core_spec(3, signed=True)
    rng = np.random.default_rng(seed)
    for ladder in ladders(rng, spec, 5):
        first, count = int(rng.integers(0, 5)), int(rng.integers(0, 4))
        program = make_core(
            [[0]],
            signed=signed,
            emission=Emission.COUNT,
            ladders=[ladder[:4]],
            schedule=[[1, 0, 0, 1, 1, first, count]],
        )
        core = Core(0, program, spec)
        for v in range(spec.potential_min, spec.potential_max + 1):
            c, last = core.count(0, core.profiles[0], v)
            assert c == defined(ladder, v, -first if signed else 0, count)
            assert last == ladder.threshold(c if c > 0 else c + 1)


@pytest.mark.parametrize(("signed", "window", "period"), [(1, (3, 0), None), (0, (3, 0), 1), (1, (0, 0), 1)])
def test_ladder_that_counts_below_zero_only_sends_to_the_next_step(
    signed: int, window: Window, period: int | None
) -> None:
    """Its packets are under way between two rounds of the schedule: they may not run side by side."""
    core = make_core(
        [[1]],
        bias=-2,
        signed=signed,
        emission=Emission.COUNT,
        reset=Reset.CLEAR,
        ladders=[[0, 1 << 8, 0, 0]],
        schedule=[[1, 0, 1, 1, 1, *window]],
        fanout=[[0, 0, 0, 0, 0, True]],
    )
    image, stimulus = make_system(SystemSpec(core=core_spec(4), width=1, height=1), core), make_stimulus(4)
    assert period_of(image) == period
    expected = run_oracle(image, stimulus, cycles=False)
    assert len(expected.spikes) == (4 if period is None else 0)
    for threads in (1, 2):
        run = Machine(image).run(stimulus, threads=threads, potentials=True)
        assert diff(expected, run) is None
