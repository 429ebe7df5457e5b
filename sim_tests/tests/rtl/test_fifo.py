# SPDX-License-Identifier: Apache-2.0
"""The FIFO: two words, one a cycle, in order."""

from rtl.fifo import Fifo
from sim_tests.bench.block_player import play


def test_fifo_passes_one_word_a_cycle_in_order() -> None:
    rows = [{"i.valid": 1, "i.payload": n, "o.ready": n > 1} for n in range(1, 6)]
    cycles = play(Fifo(8), [*rows, {"o.ready": 1}, {"o.ready": 1}], ["i.ready", "o.valid", "o.payload"])
    assert [c["i.ready"] for c in cycles] == [1] * 7
    assert [c["o.payload"] for c in cycles if c["o.valid"]] == [1, 2, 3, 4, 5]


def test_fifo_fills_and_empties() -> None:
    fill = [{"i.valid": 1, "i.payload": n} for n in (1, 2, 3)]
    cycles = play(Fifo(8), [*fill, *[{"o.ready": 1}] * 3], ["i.ready", "o.valid", "o.payload"])
    assert [c["i.ready"] for c in cycles] == [1, 1, 0, 0, 1, 1]
    assert [c["o.payload"] * c["o.valid"] for c in cycles] == [0, 1, 1, 1, 2, 0]
