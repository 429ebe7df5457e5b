# SPDX-License-Identifier: Apache-2.0
"""The crossbar: sums without bubbles, zero where nothing was added, every cell that is not zero counts."""

from collections.abc import Sequence

import numpy as np
import pytest

from emu.spec import SystemSpec, preset
from emu.words import Section
from rtl.crossbar import Crossbar
from sim_tests.bench.block_player import Row, play, program_rows, widths
from sim_tests.generators.systems import WIDE, make_core

SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)
BROAD = SystemSpec(core=WIDE, width=1, height=1)
CLEAR: Row = {"clear": 1}


def add(*events: tuple[int, int, int]) -> list[Row]:
    """Issue (row, word, value) one a cycle; the value follows one cycle later."""
    values = [0, *(value for _, _, value in events)]
    rows = [{"issue": 1, "row": row, "word": word} for row, word, _ in events]
    return [dict(row) | {"value": value} for row, value in zip([*rows, {}], values, strict=True)]


def sums(cells: object, rows: Sequence[Row], columns: list[int], spec: SystemSpec = SPEC) -> list[int]:
    """Program the cells, play the rows, and read the sums of the columns, one a cycle."""
    load = program_rows(make_core(cells), spec, Section.CROSSBAR)
    looks = [{"look": 1, "column": column} for column in columns]
    cycles = play(Crossbar(spec), [*load, *rows, *looks, {}], ["sum"])
    return [cycle["sum"] for cycle in cycles[-len(columns) :]]


def cells(seed: int, spec: SystemSpec = SPEC) -> np.ndarray:
    shape = (spec.core.axons, spec.core.columns)
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.int8)


def test_crossbar_adds_a_word_of_a_row() -> None:
    row = [1, -1, 0, 1, 0, -1, 1, 1]
    assert sums([row], [CLEAR, *add((0, 0, 3))], list(range(8))) == [3, -3, 0, 3, 0, -3, 3, 3]


def test_crossbar_adds_to_one_word_in_consecutive_cycles(seed: int) -> None:
    table = cells(seed)
    events = [(0, 1, 7), (3, 1, -8), (31, 1, 5), (0, 1, 1)]
    expected = 8 * table[0] - 8 * table[3] + 5 * table[31]
    assert sums(table, [CLEAR, *add(*events)], list(range(8, 16))) == expected[8:16].tolist()


@pytest.mark.parametrize("spec", [SPEC, BROAD], ids=["tiny", "wide"])
def test_crossbar_keeps_the_words_apart(spec: SystemSpec, seed: int) -> None:
    table = cells(seed, spec)
    events = [(row, word, row - 5) for row in range(0, 12, 3) for word in range(spec.core.words)]
    expected = sum(table[row].astype(int) * (row - 5) for row in range(0, 12, 3))
    columns = list(range(spec.core.columns))
    assert sums(table, [CLEAR, *add(*events)], columns, spec) == list(expected)


def test_crossbar_reads_zero_where_nothing_was_added() -> None:
    assert sums(np.ones((2, 32)), [CLEAR, *add((1, 2, 4))], [0, 15, 16, 23, 24]) == [0, 0, 4, 4, 0]


def test_crossbar_clear_empties_all_sums_at_once() -> None:
    rows = [CLEAR, *add((0, 0, 4), (0, 3, 4)), CLEAR, *add((0, 3, 1))]
    assert sums(np.ones((1, 32)), rows, [0, 7, 24, 31]) == [0, 0, 1, 1]


def test_crossbar_clear_wins_over_an_addition_in_the_same_cycle() -> None:
    rows = [CLEAR, {"issue": 1}, {"value": 3, "clear": 1}]
    assert sums(np.ones((1, 32)), rows, [0]) == [0]


@pytest.mark.parametrize("value", [7, -8])
def test_crossbar_sums_hold_every_axon_at_the_extreme(value: int) -> None:
    table = np.ones((32, 32), np.int8)
    table[:, 1] = -1
    events = [(row, 0, value) for row in range(32)]
    assert sums(table, [CLEAR, *add(*events)], [0, 1]) == [32 * value, -32 * value]


def test_crossbar_column_holds_while_nothing_is_read() -> None:
    load = program_rows(make_core(np.eye(2, 32)), SPEC, Section.CROSSBAR)
    rows = [CLEAR, *add((1, 0, 5)), {"look": 1, "column": 1}, {"column": 9}, {"look": 1, "column": 0}, {}]
    assert [c["sum"] for c in play(Crossbar(SPEC), [*load, *rows], ["sum"])[-3:]] == [5, 5, 0]


def operations(rows: Sequence[Row]) -> list[int]:
    load = program_rows(make_core([[1, -1, 0, 0, 1, 0, 0, 0], [1] * 8]), SPEC, Section.CROSSBAR)
    return [
        cycle["operations"] for cycle in play(Crossbar(SPEC), [*load, *rows], ["operations"])[len(load) :]
    ]


def test_crossbar_counts_cells_that_are_not_zero_when_they_are_added() -> None:
    assert operations([*add((0, 0, 0), (1, 0, -2), (0, 0, 1), (0, 1, 1)), {}]) == [0, 3, 8, 3, 0, 0]


def test_crossbar_cell_of_sign_without_value_is_zero() -> None:
    write = {"program.strobe": 1, "program.section": Section.CROSSBAR, "program.chunk": 0b1011_1000_0001}
    rows = [write, CLEAR, *add((0, 0, 3)), *({"look": 1, "column": c} for c in range(6)), {}]
    cycles = play(Crossbar(SPEC), rows, ["sum", "operations"])
    assert [c["sum"] for c in cycles[-6:]] == [3, 0, 0, 0, -3, 0]
    assert sum(c["operations"] for c in cycles) == 2


@pytest.mark.parametrize("change", [{"program.strobe": 0}, {"program.section": Section.NEURON}])
def test_crossbar_ignores_writes_that_are_not_for_it(change: Row) -> None:
    load = program_rows(make_core(np.ones((1, 32))), SPEC, Section.CROSSBAR)
    rows = [*load, *(dict(row) | dict(change) | {"program.chunk": 0} for row in load), CLEAR, *add((0, 0, 1))]
    assert play(Crossbar(SPEC), [*rows, {"look": 1}, {}], ["sum"])[-1]["sum"] == 1


def test_crossbar_sizes() -> None:
    names = ("row", "word", "value", "operations", "column", "sum")
    assert widths(Crossbar(SPEC), *names) == [5, 2, 4, 4, 5, 10]
