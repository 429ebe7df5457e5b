# SPDX-License-Identifier: Apache-2.0
"""The ladder alone: it counts what the list of its thresholds counts, for every potential."""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from emu.bits import limits
from emu.spec import CoreSpec, SystemSpec
from emu.words import LADDER
from rtl.ladder import Ladder, rungs
from sim_tests.bench.block_player import Row, play


def make_spec(payload: int, potential: int, *, signed: bool) -> SystemSpec:
    core = CoreSpec(
        axons=4,
        columns=8,
        lanes=8,
        payload_bits=payload,
        potential_bits=potential,
        strengths=1,
        thresholds=4,
        fanouts=2,
        schedule=2,
        ladder=True,
        signed_ladder=signed,
    )
    return SystemSpec(core=core, width=1, height=1)


SMALL = [make_spec(2, 8, signed=False), make_spec(2, 8, signed=True), make_spec(3, 8, signed=True)]
SMALL += [make_spec(4, 8, signed=False), make_spec(4, 8, signed=True)]
WIDE = [make_spec(9, 32, signed=True), make_spec(9, 32, signed=False), make_spec(6, 18, signed=True)]


def name(spec: SystemSpec) -> str:
    return f"P{spec.core.payload_bits}-{'signed' if spec.core.signed_ladder else 'unsigned'}"


@dataclass(frozen=True)
class Rungs:
    """A ladder, how a neuron uses it, and its range of counts."""

    first: int
    step: int
    offset: int
    ties: int
    low: int
    high: int
    signed: bool = False
    silent: bool = False

    def threshold(self, j: int, payload: int) -> int:
        fraction = 2 * payload
        tie = self.ties * (j % 2) << (fraction - payload)
        return self.first + ((j * self.step + self.offset + tie) >> fraction)

    def expected(self, v: int, payload: int) -> tuple[int, int | None]:
        """Return the count, and the potential less the threshold that a reset subtracts."""
        if self.silent:
            return 0, None
        low = -self.low if self.signed else 0
        count = low + sum(v >= self.threshold(j, payload) for j in range(low + 1, self.high + 1))
        if count == 0:
            return 0, None
        return count, v - self.threshold(count if count > 0 else count + 1, payload)


def row(v: int, ladder: Rungs) -> Row:
    word = {f"word.{c.name}": getattr(ladder, c.name) for c in LADDER}
    visit = {"visit.potential": v, "visit.silent": int(ladder.silent)}
    return {"enter": 1, **word, **visit, "low": ladder.low, "high": ladder.high, "signed": int(ladder.signed)}


def climb(spec: SystemSpec, cases: Sequence[tuple[int, Rungs]]) -> list[tuple[int, int]]:
    """Return count and rest of each case; one enters in every cycle, all with the same low and high."""
    delay = rungs(spec) + 1
    watch = ["valid", "crossed", "left", "found.potential"]

    def rows() -> Iterator[Row]:
        for v, ladder in cases:
            given = dict(row(v, ladder))
            signed = given.pop("signed")
            yield given | ({"visit.signed": signed} if spec.core.signed_ladder else {})
        last = row(*cases[-1])
        yield from [{"low": last["low"], "high": last["high"]}] * (delay + 1)

    trace = play(Ladder(spec), rows(), watch)
    assert [c["valid"] for c in trace] == [0] * delay + [1] * len(cases) + [0]
    come = trace[delay:-1]
    assert [c["found.potential"] for c in come] == [v for v, _ in cases]
    return [(c["crossed"], c["left"]) for c in come]


def compare(spec: SystemSpec, cases: Iterable[tuple[int, Rungs]]) -> None:
    listed = list(cases)
    for got, (v, ladder) in zip(climb(spec, listed), listed, strict=True):
        count, left = ladder.expected(v, spec.core.payload_bits)
        assert (got[0], got[1] if count else None) == (count, left), (v, ladder)


def draw(rng: random.Random, spec: SystemSpec, low: int, high: int) -> Rungs:
    """Return a legal ladder; small steps and extremes are frequent."""
    core = spec.core
    words = {c.name: limits(c.field(spec)) for c in LADDER}
    ties = rng.randrange(2)
    least = ties << (core.fraction_bits - core.payload_bits)
    most = words["step"][1]
    step = max(least, rng.choice([0, least, 1 << core.fraction_bits, most, rng.randrange(most + 1)]))
    span = rng.choice([1, 2, core.payload_max + 1]) << core.fraction_bits
    step = rng.choice([step, max(least, rng.randrange(span)), max(least, rng.randrange(2 * span))])
    near = rng.randint(core.potential_min, core.potential_max)
    first = rng.choice([rng.randint(*words["first"]), near, rng.randint(-9, 9), words["first"][0]])
    signed = core.signed_ladder and rng.random() < 0.8
    offset = rng.choice([0, words["offset"][1], rng.randint(*words["offset"])])
    return Rungs(first, step, offset, ties, low, high, signed, rng.random() < 0.05)


def ranges(spec: SystemSpec) -> list[tuple[int, int]]:
    """Return the pairs of low and high that are tried."""
    top, bottom = spec.core.payload_max, -spec.core.payload_min
    lows = [0, 1, bottom // 2, bottom] if spec.core.signed_ladder else [0, bottom]
    return [(min(low, 255), high) for low in lows for high in {0, 1, top // 2, top}]


@pytest.mark.parametrize("spec", SMALL, ids=name)
def test_ladder_counts_as_its_list_for_every_potential(spec: SystemSpec) -> None:
    rng = random.Random(1)
    core = spec.core
    everything = range(core.potential_min, core.potential_max + 1)
    for low, high in ranges(spec):
        ladders = [draw(rng, spec, low, high) for _ in range(8)]
        compare(spec, [(v, ladder) for ladder in ladders for v in everything])


def around(rng: random.Random, spec: SystemSpec, ladder: Rungs) -> int:
    """Return a potential at a threshold, next to one, or anywhere."""
    core = spec.core
    j = rng.randint(-ladder.low, ladder.high)
    near = ladder.threshold(j, core.payload_bits) + rng.choice([-1, 0, 1])
    anywhere = rng.randint(core.potential_min, core.potential_max)
    v = rng.choice([near, near, near, anywhere])
    return v if core.potential_min <= v <= core.potential_max else anywhere


@pytest.mark.parametrize("spec", WIDE, ids=name)
def test_ladder_of_full_width_counts_as_its_list(spec: SystemSpec) -> None:
    rng = random.Random(2)
    for low, high in ranges(spec):
        ladders = [draw(rng, spec, low, high) for _ in range(60)]
        compare(spec, [(around(rng, spec, ladder), ladder) for ladder in ladders for _ in range(4)])


def test_ladder_rounds_ties_to_even() -> None:
    """round(V / 4) with ties to even: V = 2, 6, 10, .. lie between two counts."""
    spec = make_spec(4, 8, signed=True)
    quarter = 4 << spec.core.fraction_bits
    half = (1 << spec.core.fraction_bits) - (1 << (spec.core.fraction_bits - spec.core.payload_bits))
    ladder = Rungs(-2, quarter, half, 1, 8, 7, signed=True)
    potentials = list(range(-40, 40))
    got = [count for count, _ in climb(spec, [(v, ladder) for v in potentials])]
    assert got == [max(-8, min(7, round(v / 4))) for v in potentials]


@pytest.mark.parametrize("spec", [SMALL[0], SMALL[2], WIDE[0], WIDE[1]], ids=name)
def test_what_a_list_found_passes_through(spec: SystemSpec) -> None:
    core = spec.core
    found = [(0, core.always), (255, core.never), (1, -1), (128, 77), (3, core.potential_max)]
    rows: list[Row] = []
    for at in range(len(found) + 1):
        count, last = found[at - 1] if at else (9, 9)
        rows.append({"enter": int(at < len(found)), "count": count, "last": last, "word.step": 5})
    rows += [{}] * (rungs(spec) + 1)
    watch = ["valid", "crossed", "listed_last"]
    trace = play(Ladder(spec), rows, watch, hold={"listed": 1})
    assert [(c["crossed"], c["listed_last"]) for c in trace if c["valid"]] == found


def test_stages_are_one_for_each_bit() -> None:
    assert [rungs(spec) for spec in SMALL] == [1, 2, 3, 3, 4]
    for spec in (*SMALL, *WIDE):
        plain = dataclasses.replace(spec.core, ladder=False, signed_ladder=False)
        assert spec.core.walk_fill == plain.walk_fill + rungs(spec)
