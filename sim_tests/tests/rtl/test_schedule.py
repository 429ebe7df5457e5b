# SPDX-License-Identifier: Apache-2.0
"""The schedule: entries repeat, follow each other and begin again."""

from collections.abc import Sequence

import pytest

from emu.spec import SystemSpec, preset
from emu.words import TABLES, Section
from rtl.schedule import Schedule
from sim_tests.bench.block_player import Row, play, program_rows, widths
from sim_tests.generators.systems import make_core

SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)
ADVANCE: Row = {"advance": 1}
LOOK: Row = {"look": 1}
NAMES = tuple(column.name for column in TABLES[Section.SCHEDULE])
ENTRIES = [[2, 1, 0, 1, 0, 3, 4, -2048, 7], [1, 0, 1, 1, 0, 0, 0, 2047, -7], [3, 0, 0, 0, 1, 0, 1, 0, 0]]
PLACE = ["position", "repetition"]
LOAD = program_rows(make_core([[0]], schedule=ENTRIES), SPEC, Section.SCHEDULE)


def places(rows: Sequence[Row], length: int = 3) -> list[tuple[int, int]]:
    cycles = play(Schedule(SPEC), [*LOAD, LOOK, *rows, {}], PLACE, hold={"length": length})
    return [(c["position"], c["repetition"]) for c in cycles[len(LOAD) + 1 :]]


def test_schedule_counts_repetitions_then_entries_then_begins_again() -> None:
    steps = [row for _ in range(7) for row in (ADVANCE, LOOK, {})]
    expected = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2), (0, 0), (0, 1)]
    assert places(steps)[::3] == expected


def test_schedule_uses_the_entries_in_use_only() -> None:
    steps = [row for _ in range(4) for row in (ADVANCE, LOOK, {})]
    assert places(steps, length=1)[::3] == [(0, 0), (0, 1), (0, 0), (0, 1), (0, 0)]


def test_schedule_of_all_entries_begins_again() -> None:
    load = program_rows(make_core([[0]], schedule=[[1, *[0] * 8]] * 8), SPEC, Section.SCHEDULE)
    rows = [*load, LOOK, *[row for _ in range(9) for row in (ADVANCE, LOOK, {})]]
    assert play(Schedule(SPEC), rows, PLACE, hold={"length": 8})[-1]["position"] == 1


def test_entry_shows_one_cycle_after_it_was_looked_at_and_stays() -> None:
    watch = [f"entry.{name}" for name in NAMES]
    rows = [*LOAD, LOOK, ADVANCE, {}, ADVANCE, {}, LOOK, {}, ADVANCE, {}]
    cycles = [list(c.values()) for c in play(Schedule(SPEC), rows, watch, hold={"length": 3})][len(LOAD) :]
    assert cycles[1:6] == [ENTRIES[0]] * 5
    assert cycles[6:] == [ENTRIES[1]] * 3


@pytest.mark.parametrize(
    ("section", "place"),
    [
        (Section.CONTROL, (0, 0)),
        (Section.SCHEDULE, (0, 0)),
        (Section.CROSSBAR, (2, 1)),
        (Section.COUNTER, (2, 1)),
    ],
)
def test_writes_to_control_and_schedule_rewind(section: Section, place: tuple[int, int]) -> None:
    steps = [row for _ in range(4) for row in (ADVANCE, LOOK, {})]
    write = {"program.strobe": 1, "program.section": section, "program.address": 15}
    assert places([*steps, write])[-1] == place
    assert places([*steps, write | {"program.strobe": 0}])[-1] == (2, 1)


def test_rewind_wins_over_advance() -> None:
    write = {"program.strobe": 1, "program.section": Section.CONTROL, "advance": 1}
    assert places([ADVANCE, LOOK, {}, write])[-1] == (0, 0)


@pytest.mark.parametrize("change", [{"program.strobe": 0}, {"program.section": Section.THRESHOLD}])
def test_schedule_ignores_writes_that_are_not_for_it(change: Row) -> None:
    noise = [dict(row) | dict(change) | {"program.chunk": 0xFFFF} for row in LOAD]
    cycles = play(
        Schedule(SPEC), [*LOAD, *noise, LOOK, {}], [f"entry.{n}" for n in NAMES], hold={"length": 3}
    )
    assert list(cycles[-1].values()) == ENTRIES[0]


def test_repetition_reaches_the_largest_repeat() -> None:
    load = program_rows(make_core([[0]], schedule=[[4095, *[0] * 8]]), SPEC, Section.SCHEDULE)
    cycles = play(Schedule(SPEC), [*load, LOOK, *[ADVANCE] * 4095, {}], PLACE, hold={"length": 1})
    assert [c["repetition"] for c in cycles[-2:]] == [4094, 0]


def test_schedule_sizes() -> None:
    assert widths(Schedule(SPEC), "length", "position", "repetition") == [4, 3, 12]
