# SPDX-License-Identifier: Apache-2.0
"""Counters of 48 bits, read in chunks; error registers that keep the first cause."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from amaranth.hdl import Signal

import rtl.counters
from emu.spec import SystemSpec, preset
from emu.words import COUNTERS
from rtl.counters import CounterFile, StickyCause
from rtl.layouts import MeterSignature, meter_bits
from sim_tests.bench.block_player import Row, play, widths


def begun(value: int) -> Callable[..., Signal]:
    """Return a maker of signals, whose counters begin with a value."""

    def make(shape: int, *, name: str = "", **options: Any) -> Signal:
        return Signal(shape, name=name, init=value, **options) if name else Signal(shape, **options)

    return make


SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)


def read(rows: Sequence[Row]) -> list[int]:
    """Play the rows and read every counter, all four chunk addresses of each."""
    looks = [{"address": at} for at in range(4 * len(COUNTERS))]
    chunks = [c["chunk"] for c in play(CounterFile(SPEC), [*rows, *looks, {}], ["chunk"])][len(rows) + 1 :]
    return [sum(chunks[4 * i + part] << 16 * part for part in range(4)) for i in range(len(COUNTERS))]


@pytest.mark.parametrize("name", COUNTERS)
def test_counter_adds_its_increment(name: str) -> None:
    most = (1 << meter_bits(SPEC)[name]) - 1
    expected = [3 * most if n == name else 0 for n in COUNTERS]
    assert read([{f"meter.{name}": most}, {}, {f"meter.{name}": most}, {f"meter.{name}": most}]) == expected


def test_counters_count_in_the_same_cycle() -> None:
    assert read([{f"meter.{name}": 1 for name in COUNTERS}] * 5) == [5] * 16


def test_clear_empties_all_counters_and_wins() -> None:
    busy = {f"meter.{name}": 1 for name in COUNTERS}
    assert read([busy, busy, busy | {"clear": 1}]) == [0] * 16
    assert read([busy, {"clear": 1}, busy]) == [1] * 16


def test_counter_has_three_chunks_low_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.counters, "Signal", begun(0x123456789ABC))
    assert read([]) == [0x123456789ABC] * 16


def test_counter_carries_and_wraps_at_48_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.counters, "Signal", begun((1 << 48) - 2))
    assert read([{"meter.spikes": 1}])[0] == (1 << 48) - 1
    assert read([{"meter.spikes": 3}])[0] == 1


def test_chunk_shows_one_cycle_after_its_address() -> None:
    rows = [{"meter.packets": 1}, {"address": 4}, {"address": 0}, {}]
    assert [c["chunk"] for c in play(CounterFile(SPEC), rows, ["chunk"])] == [0, 0, 1, 0]


def test_meter_widths_hold_the_largest_increment_of_a_cycle() -> None:
    wide = {
        "spikes": 8,
        "synaptic_operations": 4,
        "errors": 2,
        "hops": 3,
        "token_hops": 3,
        "router_errors": 4,
    }
    assert meter_bits(SPEC) == {name: wide.get(name, 1) for name in COUNTERS}
    assert widths(CounterFile(SPEC), "address", "chunk") == [6, 16]
    assert list(MeterSignature(SPEC).members) == list(COUNTERS)


def causes(rows: Sequence[Row]) -> list[int]:
    return [c["first"] for c in play(StickyCause(), [*rows, {}], ["first"])]


def test_first_cause_is_kept_until_it_is_cleared() -> None:
    rows = [{"strobe": 1, "cause": 3}, {"strobe": 1, "cause": 1}, {"clear": 1}, {"strobe": 1, "cause": 5}]
    assert causes(rows) == [0, 3, 3, 0, 5]


def test_cause_without_strobe_is_no_error() -> None:
    assert causes([{"cause": 3}]) == [0, 0]


def test_clear_wins_over_a_cause_of_the_same_cycle() -> None:
    assert causes([{"strobe": 1, "cause": 3, "clear": 1}]) == [0, 0]
