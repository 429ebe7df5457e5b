# SPDX-License-Identifier: Apache-2.0
"""Counters of 48 bits, read in chunks; error registers that keep the first cause."""

import random
from collections.abc import Sequence

import pytest

import rtl.counters
from emu.spec import SystemSpec, preset
from emu.words import Section, counters_of
from rtl.counters import SWEEP, CounterFile, StickyCause
from rtl.layouts import MeterSignature, meter_bits
from sim_tests.bench.block_player import Row, play, widths

SPEC = SystemSpec(core=preset("reference"), width=1, height=1)
NAMES = counters_of(SPEC)
MOST = {name: (1 << bits) - 1 for name, bits in meter_bits(SPEC).items()}
NONE = dict.fromkeys(NAMES, 0)


def ask(address: int, section: int = Section.COUNTER) -> Row:
    return {"inspect.enable": 1, "inspect.section": section, "inspect.address": address}


def meter(values: dict[str, int]) -> Row:
    return {f"meter.{name}": value for name, value in values.items()}


def read(rows: Sequence[Row]) -> dict[str, int]:
    """Play the rows and read every counter, all four chunk addresses of each, one in three cycles."""
    looks = [row for at in range(4 * len(NAMES)) for row in (ask(at), {}, {})]
    cycles = play(CounterFile(SPEC), [*rows, *looks], ["inspect.chunk"])[len(rows) :]
    chunks = [cycle["inspect.chunk"] for cycle in cycles[1::3]]
    words = [sum(chunks[at + part] << 16 * part for part in range(4)) for at in range(0, len(chunks), 4)]
    return dict(zip(NAMES, words, strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cycles", [1, 3, 4 * SWEEP])
def test_counter_adds_its_increment_and_no_other_does(name: str, cycles: int) -> None:
    rows = [meter({name: MOST[name]}), {}, *[meter({name: MOST[name]})] * cycles]
    assert read(rows) == NONE | {name: (cycles + 1) * MOST[name]}


@pytest.mark.parametrize("cycles", [5, SWEEP, 3 * SWEEP + 1])
def test_counters_count_in_the_same_cycle(cycles: int) -> None:
    assert read([meter(MOST)] * cycles) == {name: most * cycles for name, most in MOST.items()}


@pytest.mark.parametrize("apart", [3, 4, 5, 6])
def test_counter_that_stands_still_is_read_at_any_time(apart: int) -> None:
    """The sweep makes no sum for it: what it made for another one must not be shown.

    Reads so many cycles apart meet the sweep in other phases and turns.
    """
    other, asked = meter({NAMES[-1]: 1}), ask(4 * NAMES.index("spikes"))
    rows: list[Row] = [{"clear": 1}, meter({"spikes": 2}), *[other] * (3 * SWEEP)]
    for _ in range(SWEEP):
        rows += [{**other, **asked}, *[other] * (apart - 1)]
    shown = [cycle["inspect.chunk"] for cycle in play(CounterFile(SPEC), rows, ["inspect.chunk"])]
    assert shown[2 + 3 * SWEEP + 1 :: apart] == [2] * SWEEP


def test_nothing_is_lost_while_reads_delay_the_sweep() -> None:
    """A read in every fourth cycle meets each visit of the sweep, which goes round as slowly as it can."""
    rows = [
        {**meter(MOST), **(ask(0) if cycle % 4 == first else {})}
        for first in range(4)
        for cycle in range(6 * SWEEP)
    ]
    assert read(rows) == {name: most * len(rows) for name, most in MOST.items()}


def test_clear_empties_all_counters_and_wins() -> None:
    busy = meter(MOST)
    for before in (3, 4, 5, 3 * SWEEP):
        assert read([*[busy] * before, {**busy, "clear": 1}]) == NONE
    assert read([*[busy] * (3 * SWEEP), {"clear": 1}, busy]) == MOST


def test_chunks_tell_what_was_counted_when_they_were_asked_for() -> None:
    """Reads of any counter at any time, between clears, against a plain sum."""
    draw, rows, expected, last = random.Random(1), [], [], 0
    total = dict(NONE)
    for cycle in range(4000):
        counted = {name: draw.choice([0, draw.randint(0, most), most]) for name, most in MOST.items()}
        row = dict(meter(counted))
        total = {name: total[name] + counted[name] for name in NAMES}
        if draw.random() < 0.003:
            total, row["clear"] = dict(NONE), 1
        elif cycle - last > 2 and draw.random() < 0.7:
            address, last = draw.randrange(4 * len(NAMES)), cycle
            row |= ask(address)
            expected.append((cycle + 1, total[NAMES[address // 4]] >> 16 * (address % 4) & 0xFFFF))
        rows.append(row)
    cycles = play(CounterFile(SPEC), [*rows, {}], ["inspect.chunk"])
    assert [cycles[at]["inspect.chunk"] for at, _ in expected] == [chunk for _, chunk in expected]


def test_counter_has_three_chunks_low_first_and_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that begins near 2^48: the first sum that the sweep makes stands for a long run."""
    far = (1 << 48) - 2
    original = CounterFile._count

    def begun(self: CounterFile, *given: object) -> object:
        return original(self, *given) + far  # type: ignore[arg-type]

    monkeypatch.setattr(rtl.counters.CounterFile, "_width", lambda *_: 48)
    monkeypatch.setattr(rtl.counters.CounterFile, "_count", begun)
    cycles = play(CounterFile(SPEC), [row for at in range(4) for row in (ask(at), {}, {})], ["inspect.chunk"])
    assert [cycle["inspect.chunk"] for cycle in cycles[1::3]] == [0xFFFE, 0xFFFF, 0xFFFF, 0]


def test_chunk_of_another_section_is_zero() -> None:
    rows = [meter(MOST), ask(0), {}, {}, ask(0, Section.STATE), {}]
    assert [c["inspect.chunk"] for c in play(CounterFile(SPEC), rows, ["inspect.chunk"])] == [
        0, 0, MOST["spikes"], 0, 0, 0,
    ]  # fmt: skip


def test_meter_widths_hold_the_largest_increment_of_a_cycle() -> None:
    largest = {"spikes": 256, "synaptic_operations": 128, "thresholds": 256, "saturations": 3}
    wide = {name: most.bit_length() for name, most in largest.items()}
    wide |= {"errors": 2, "hops": 3, "token_hops": 3, "router_errors": 4}
    assert meter_bits(SPEC) == {name: wide.get(name, 1) for name in NAMES}
    assert widths(CounterFile(SPEC), "inspect.address", "inspect.chunk") == [28, 16]
    assert list(MeterSignature(SPEC).members) == list(NAMES)


def causes(rows: Sequence[Row]) -> list[int]:
    return [c["first"] for c in play(StickyCause(), [*rows, {}], ["first"])]


def test_first_cause_is_kept_until_it_is_cleared() -> None:
    rows = [{"strobe": 1, "cause": 3}, {"strobe": 1, "cause": 1}, {"clear": 1}, {"strobe": 1, "cause": 5}]
    assert causes(rows) == [0, 3, 3, 0, 5]


def test_cause_without_strobe_is_no_error() -> None:
    assert causes([{"cause": 3}]) == [0, 0]


def test_clear_wins_over_a_cause_of_the_same_cycle() -> None:
    assert causes([{"strobe": 1, "cause": 3, "clear": 1}]) == [0, 0]
