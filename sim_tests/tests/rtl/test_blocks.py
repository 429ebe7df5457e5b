# SPDX-License-Identifier: Apache-2.0
"""The blocks of a core: their neurons and how many there are."""

import pytest

from emu.spec import preset
from rtl.blocks import Blocks
from sim_tests.bench.block_player import Row, play

WATCH = ["block", "first", "count", "none"]


@pytest.mark.parametrize(
    ("neurons", "per_block", "expected"),
    [
        (1, 8, [(0, 0, 1)]),
        (8, 8, [(0, 0, 8)]),
        (9, 8, [(0, 0, 8), (1, 8, 1)]),
        (32, 8, [(0, 0, 8), (1, 8, 8), (2, 16, 8), (3, 24, 8)]),
        (7, 2, [(0, 0, 2), (1, 2, 2), (2, 4, 2), (3, 6, 1)]),
        (0, 2, []),
    ],
)
def test_blocks_hold_all_neurons_in_order(
    neurons: int, per_block: int, expected: list[tuple[int, int, int]]
) -> None:
    hold = {"neurons": neurons, "per_block": per_block, "blocks": len(expected)}
    steps: list[Row] = [{"rewind": 1}, {}, *[row for _ in expected for row in ({"advance": 1}, {})]]
    cycles = play(Blocks(preset("tiny")), [*steps, *steps], WATCH, hold=hold)
    for begin in (1, 1 + len(steps)):
        seen = cycles[begin : begin + 2 * len(expected) : 2]
        assert [(c["block"], c["first"], c["count"]) for c in seen] == expected
        assert not any(cycle["none"] for cycle in seen)
        assert cycles[begin + 2 * len(expected)]["none"]
