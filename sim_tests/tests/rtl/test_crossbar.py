# SPDX-License-Identifier: Apache-2.0
"""The crossbar: which word an event reads, what its lanes add, and when."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.spec import CoreSpec, SystemSpec, preset
from emu.words import Section
from rtl.crossbar import Crossbar
from sim_tests.bench.block_player import Bench, Row, widths

CORES = {
    "tiny": preset("tiny"),
    "extended": replace(preset("tiny"), max_extension=4),
    "plain": replace(preset("tiny"), axon_shifts=False, lanes=16, max_extension=2),
    "one block": replace(preset("tiny"), columns=8),
    "wide": replace(preset("tiny"), lanes=128, columns=256, axons=4),
}
CODES = {0: 0, 1: 1, -1: 3}


def load(core: CoreSpec, cells: NDArray[np.int64], shifts: Sequence[int]) -> list[Row]:
    """Return the rows that write all cells, shape (words, lanes), and shifts."""
    chunks = core.lanes // 8
    rows = []
    for address, line in enumerate(cells.tolist()):
        word = sum(CODES[cell] << 2 * lane for lane, cell in enumerate(line))
        rows += [chunk(Section.CROSSBAR, address * chunks + c, word >> 16 * c) for c in range(chunks)]
    if core.axon_shifts:
        rows += [chunk(Section.SHIFT, row, shift) for row, shift in enumerate(shifts)]
    return rows


def chunk(section: Section, address: int, value: int) -> Row:
    names = ("strobe", "section", "address", "chunk")
    values = (1, section, address, value & 0xFFFF)
    return {f"program.{name}": value for name, value in zip(names, values, strict=True)}


def block(events: Sequence[tuple[int, int]], **hold: int) -> list[Row]:
    """Return the rows of one block: its begin, the events one a cycle, and two more."""
    rows: list[dict[str, int]] = [{"begin": 1}, *({"valid": 1, "event": axon} for axon, _ in events)]
    rows += [{"over": 1}, {}]
    for at, (_, value) in enumerate(events):
        rows[at + 2]["value"] = value
    return [row | hold for row in rows]


class Lanes:
    """A crossbar with its cells loaded."""

    def __init__(self, core: CoreSpec, rows: Sequence[Row]) -> None:
        self.core, self.rows = core, list(rows)

    def play(self, rows: Sequence[Row]) -> list[dict[str, int]]:
        """Return what the rows behind the loading show."""
        watch = ["done", "operations", *(f"sum.{lane}" for lane in range(self.core.lanes))]
        crossbar = Crossbar(SystemSpec(core=self.core, width=1, height=1))
        return Bench(crossbar, watch).run([*self.rows, *rows])[len(self.rows) :]

    def sums(self, cycle: Mapping[str, int]) -> list[int]:
        return [cycle[f"sum.{lane}"] for lane in range(self.core.lanes)]


def draw(core: CoreSpec, seed: int) -> tuple[Lanes, NDArray[np.int64], list[int], random.Random]:
    rng = random.Random(seed)
    lines = [[rng.choice([0, 1, -1]) for _ in range(core.lanes)] for _ in range(core.axons * core.words)]
    cells, shifts = np.array(lines), [rng.randrange(8) * core.axon_shifts for _ in range(core.axons)]
    return Lanes(core, load(core, cells, shifts)), cells, shifts, rng


@pytest.mark.parametrize("name", CORES)
def test_block_of_events_equals_a_plain_model(name: str) -> None:
    core = CORES[name]
    lanes, cells, shifts, rng = draw(core, 1)
    rows: list[Row] = []
    expected = []
    for count in (3, 0, 1, 9, 2, 5):
        extension = rng.randrange(core.max_extension.bit_length())
        words = core.words >> extension
        part = rng.randrange(words)
        events = [(rng.randrange(core.axons << extension), rng.randint(-8, 7)) for _ in range(count)]
        sums, hits = np.zeros(core.lanes, np.int64), 0
        for axon, value in events:
            line = cells[axon * words + part]
            sums += (value << shifts[axon >> extension]) * line
            hits += int(np.count_nonzero(line))
        expected.append((len(rows), count, sums, hits))
        rows += [*block(events, extension=extension, block=part), *[{}] * 5]
    cycles = lanes.play(rows)
    half = 1 << (core.sum_bits - 1)
    for start, count, sums, hits in expected:
        wrapped = ((sums + half) % (2 * half) - half).tolist()
        end = start + 3 + count
        assert [lanes.sums(cycles[end + late]) for late in (0, 4)] == [wrapped] * 2
        assert sum(cycle["operations"] for cycle in cycles[start : end + 3]) == hits
        assert [at for at in range(start, end + 5) if cycles[at]["done"]] == [end - 1]


def test_sum_takes_in_an_event_two_cycles_after_it_was_read() -> None:
    core = CORES["plain"]
    lanes = Lanes(core, load(core, np.ones((core.axons * core.words, 16), np.int64), []))
    cycles = lanes.play([*block([(0, 3), (1, -5)]), {}])
    assert [cycle["sum.0"] for cycle in cycles] == [0, 0, 0, 0, 3, -2]


@pytest.mark.parametrize("value", [-8, -1, 0, 1, 7])
def test_cells_add_subtract_or_do_nothing(value: int) -> None:
    core = CORES["one block"]
    cells = np.zeros((32, 8), np.int64)
    cells[3] = [1, -1, 0, 1, 0, -1, -1, 1]
    rows = load(core, cells, [0] * 32)
    rows.append(chunk(Section.CROSSBAR, 5, 0b10_10_01_10_11_10_10_10))  # 10 is a zero, too
    lanes = Lanes(core, rows)
    end = lanes.play([*block([(3, value), (5, 2)]), {}])[-1]
    assert lanes.sums(end) == [value, -value, 0, value - 2, 0, 2 - value, -value, value]


@pytest.mark.parametrize("shift", range(8))
def test_value_is_shifted_by_what_its_row_says(shift: int) -> None:
    core = replace(CORES["one block"], sum_bits=16)
    lanes = Lanes(core, load(core, np.ones((32, 8), np.int64), [0, shift, *[7] * 30]))
    assert lanes.play([*block([(1, -7)]), {}])[-1]["sum.0"] == -7 << shift


def test_sums_reach_their_extremes() -> None:
    core = CORES["one block"]
    cells = np.ones((32, 8), np.int64)
    cells[:, 1] = -1
    lanes = Lanes(core, load(core, cells, [0] * 32))
    end = lanes.play([*block([(axon, -8) for axon in range(32)]), {}])[-1]
    assert (end["sum.0"], end["sum.1"]) == (-256, 256)


def test_no_sum_is_left_in_a_block_without_events() -> None:
    core = CORES["plain"]
    lanes, *_ = draw(core, 2)
    cycles = lanes.play([*block([(1, 5), (2, 5)]), {}, {}, {"begin": 1}, {}, {}])
    assert any(lanes.sums(cycles[-2]))
    assert not any(lanes.sums(cycles[-1]))


def test_cells_and_shifts_are_read_back() -> None:
    core = CORES["tiny"]
    lanes, cells, shifts, _ = draw(core, 3)
    asked = [(Section.CROSSBAR, 17), (Section.SHIFT, 9), (Section.NEURON, 9)]
    rows = [{"inspect.enable": 1, "inspect.section": s, "inspect.address": a} for s, a in asked]
    crossbar = Crossbar(SystemSpec(core=core, width=1, height=1))
    cycles = Bench(crossbar, ["inspect.chunk"]).run([*lanes.rows, *rows, {}])
    word = sum(CODES[cell] << 2 * lane for lane, cell in enumerate(cells[17].tolist()))
    assert [cycle["inspect.chunk"] for cycle in cycles[-3:]] == [word, shifts[9], 0]


def test_crossbar_sizes() -> None:
    spec = SystemSpec(core=preset("reference"), width=1, height=1)
    names = ("event", "value", "extension", "block", "sum.0", "operations")
    assert widths(Crossbar(spec), *names) == [14, 9, 2, 3, 22, 8]
