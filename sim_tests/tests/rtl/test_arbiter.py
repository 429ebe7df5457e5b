# SPDX-License-Identifier: Apache-2.0
"""Round robin: every turn and every set of requests, for several numbers of requesters."""

import pytest

from rtl.arbiter import RoundRobin
from sim_tests.bench.block_player import Row, play


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_first_request_at_or_after_the_turn_is_granted(count: int) -> None:
    rows: list[Row] = []
    expected = []
    for turn in range(count):
        for requests in range(1 << count):
            rows += [{"restart": 1}, *([{"requests": 1 << turn - 1, "advance": 1}] if turn else [])]
            rows.append({"requests": requests})
            order = [(turn + place) % count for place in range(count)]
            winner = next((i for i in order if requests >> i & 1), None)
            expected.append((turn, 0 if winner is None else 1 << winner))
    cycles = play(RoundRobin(count), rows, ["turn", "grant"])
    seen = [
        tuple(c.values()) for c, row in zip(cycles, rows, strict=True) if len(row) == 1 and "requests" in row
    ]
    assert seen == expected


def test_turn_stays_until_the_grant_is_used() -> None:
    rows: list[Row] = [{"requests": 6}, {"advance": 1}, {"requests": 6, "advance": 1}, {"requests": 6}]
    assert [list(c.values()) for c in play(RoundRobin(3), rows, ["turn", "grant"])] == [
        [0, 2], [0, 0], [0, 2], [2, 4],
    ]  # fmt: skip


def test_restart_wins_over_the_advance_of_the_same_cycle() -> None:
    rows: list[Row] = [{"requests": 1, "advance": 1}, {"requests": 2, "advance": 1, "restart": 1}, {}]
    assert [c["turn"] for c in play(RoundRobin(3), rows, ["turn"])] == [0, 1, 0]
