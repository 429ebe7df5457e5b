# SPDX-License-Identifier: Apache-2.0
"""The event scheduler: two banks, the signed maximum whatever the order, the lowest axon first."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from emu.spec import PRESETS, SystemSpec, preset
from rtl.events import EventScheduler
from sim_tests.bench.block_player import Bench, Row, play, widths
from sim_tests.generators.systems import WIDE

SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)
BROAD = SystemSpec(core=WIDE, width=1, height=1)
SWAP: Row = {"swap": 1}
HOLD: Row = {"limit": 32}
COUNTED = ["delivered", "merged", "refused"]


def arrive(axon: int, payload: int) -> dict[str, int]:
    return {"arrive": 1, "axon": axon, "payload": payload}


def drain(
    rows: Sequence[Row], spec: SystemSpec = SPEC, *, limit: int | None = None, takes: int = 50
) -> list[tuple[int, int]]:
    """Play the rows, then take one event a cycle; return (axon, value) in the order of the hand-out."""
    bench = Bench(EventScheduler(spec), ["any", "event", "value"], hold={"limit": limit or spec.core.axons})
    taken = [{"take": 1, "done": 1}] * takes
    cycles = bench.run([*rows, *taken])[len(rows) :]
    return [(now["event"], after["value"]) for now, after in pairwise(cycles) if now["any"]]


@pytest.mark.parametrize("gap", [0, 1, 2])
@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ([3, -2], 3),
        ([-2, 3], 3),
        ([-5, -2], -2),
        ([-2, -5], -2),
        ([1, 7, -8], 7),
        ([-8, -8], -8),
        ([0, -1], 0),
    ],
)
def test_events_of_one_axon_merge_to_the_maximum(values: list[int], largest: int, gap: int) -> None:
    rows: list[Row] = []
    for value in values:
        rows += [arrive(4, value), *[{}] * gap]
    assert drain([*rows, SWAP]) == [(4, largest)]


def test_events_of_two_axons_in_turn_do_not_mix() -> None:
    assert drain([arrive(1, 2), arrive(2, -3), arrive(1, -1), arrive(2, 4), SWAP]) == [(1, 2), (2, 4)]


def test_event_is_not_shown_before_the_swap() -> None:
    rows = [arrive(3, 1), {}, {}, SWAP, {}]
    assert [c["any"] for c in play(EventScheduler(SPEC), rows, ["any"], hold=HOLD)] == [0, 0, 0, 0, 1]


def test_events_come_lowest_axon_first() -> None:
    rows = [arrive(axon, axon % 7) for axon in (37, 3, 39, 31, 32, 0)]
    assert drain([*rows, SWAP], BROAD) == [(a, a % 7) for a in (0, 3, 31, 32, 37, 39)]


@pytest.mark.parametrize("axons", [2, 31, 32, 33, 64, 65, 96, 97, 160, 288])
def test_every_axon_of_any_number_of_words_is_handed_out(axons: int) -> None:
    """Both banks, in the order against the hand-out."""
    spec = SystemSpec(core=replace(preset("tiny"), axons=axons), width=1, height=1)
    every = [(axon, axon % 15 - 7) for axon in range(axons)]
    rows = [arrive(axon, value) for axon, value in reversed(every)]
    assert drain([*rows, SWAP], spec, takes=axons + 1) == every
    assert drain([SWAP, *rows, {}, SWAP], spec, takes=axons + 1) == every


def test_event_stays_until_it_is_done() -> None:
    rows = [arrive(5, 2), SWAP, {"take": 1}, {"take": 1}, {"take": 1, "done": 1}, {}]
    cycles = play(EventScheduler(SPEC), rows, ["any", "event", "value"], hold=HOLD)
    assert [c["any"] for c in cycles[2:]] == [1, 1, 1, 0]
    assert [c["event"] for c in cycles[2:5]] == [5, 5, 5]
    assert [c["value"] for c in cycles[3:]] == [2, 2, 2]


def test_value_keeps_while_nothing_is_taken() -> None:
    rows = [arrive(5, 2), arrive(6, 3), SWAP, {"take": 1, "done": 1}, {}, {}]
    cycles = play(EventScheduler(SPEC), rows, ["value"], hold=HOLD)
    assert [c["value"] for c in cycles[4:]] == [2, 2]


def test_packet_of_the_cycle_before_the_swap_is_in_the_current_bank() -> None:
    rows = [arrive(7, 1), {}, arrive(7, 6), SWAP, {}]
    assert drain(rows) == [(7, 6)]


def test_banks_are_apart() -> None:
    later = [arrive(1, 5), arrive(2, 5)]
    assert drain([arrive(1, 2), arrive(9, -4), SWAP, *later, {}]) == [(1, 2), (9, -4)]
    taken: list[Row] = [{"take": 1, "done": 1}] * 2
    assert drain([arrive(1, 2), arrive(9, -4), SWAP, *later, *taken, SWAP]) == [(1, 5), (2, 5)]


def test_old_value_of_an_axon_has_no_influence() -> None:
    taken: Row = {"take": 1, "done": 1}
    assert drain([arrive(1, 7), SWAP, taken, SWAP, arrive(1, -8), SWAP, SWAP, SWAP]) == [(1, -8)]


def test_discard_empties_the_current_bank_only() -> None:
    rows = [arrive(1, 1), arrive(37, 1), SWAP, arrive(2, 1), arrive(38, 3), {}, {"discard": 1}]
    assert drain(rows, BROAD) == []
    assert drain([*rows, SWAP], BROAD) == [(2, 1), (38, 3)]
    assert drain([SWAP, *rows], BROAD) == []
    assert drain([SWAP, *rows, SWAP], BROAD) == [(2, 1), (38, 3)]


@pytest.mark.parametrize(("axon", "legal"), [(0, 1), (19, 1), (20, 0), (31, 0), (32, 0), (4095, 0)])
def test_axon_beyond_the_limit_is_refused(axon: int, legal: int) -> None:
    cycles = play(EventScheduler(SPEC), [arrive(axon, 1), {}], COUNTED, hold={"limit": 20})
    assert [tuple(c.values()) for c in cycles] == [(legal, 0, 1 - legal), (0, 0, 0)]
    assert drain([arrive(axon, 1), SWAP], limit=20) == [(axon, 1)][:legal]


def test_limit_of_all_axons_and_of_none() -> None:
    assert drain([arrive(31, 1), SWAP], limit=32) == [(31, 1)]
    assert play(EventScheduler(SPEC), [arrive(0, 1)], ["refused"])[0]["refused"] == 1


def test_merge_is_counted_one_cycle_after_the_delivery() -> None:
    rows = [arrive(4, 1), arrive(4, 2), arrive(36, 0), arrive(4, 3), {}, {}]
    cycles = play(EventScheduler(BROAD), rows, COUNTED, hold={"limit": 40})
    assert [c["delivered"] for c in cycles] == [1, 1, 1, 1, 0, 0]
    assert [c["merged"] for c in cycles] == [0, 0, 1, 0, 1, 0]


def test_merge_is_not_counted_across_a_swap() -> None:
    rows = [arrive(4, 1), SWAP, arrive(4, 2), {}, {}]
    assert sum(c["merged"] for c in play(EventScheduler(SPEC), rows, COUNTED, hold=HOLD)) == 0


def test_scheduler_starts_empty() -> None:
    assert drain([]) == []
    assert drain([SWAP]) == []


def test_scheduler_sizes() -> None:
    big = EventScheduler(SystemSpec(core=PRESETS["reference"], width=1, height=1))
    assert widths(big, "limit", "axon", "payload", "event", "value") == [11, 11, 9, 11, 9]


def test_packet_that_arrives_with_reset_is_forgotten() -> None:
    assert drain([arrive(4, 1) | {"rst": 1}, {}, SWAP]) == []
    assert drain([arrive(4, 1), {"rst": 1}, SWAP]) == []
