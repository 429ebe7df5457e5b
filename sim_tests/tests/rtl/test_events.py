# SPDX-License-Identifier: Apache-2.0
"""The event banks: the signed maximum whatever the order, two banks apart, a scan without gaps."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from emu.spec import CoreSpec, SystemSpec, preset
from rtl.events import EventScheduler
from sim_tests.bench.block_player import Bench, Row, play, widths

TINY = preset("tiny")
BROAD = replace(preset("small"), axons=200)
TALL = preset("small").resized(axons=2080, max_extension=2)
SWAP: Row = {"swap": 1}
HOLD: Row = {"limit": 32}
COUNTED = ["delivered", "merged", "refused"]


def scheduler(core: CoreSpec = TINY) -> EventScheduler:
    return EventScheduler(SystemSpec(core=core, width=1, height=1))


def arrive(axon: int, payload: int) -> dict[str, int]:
    return {"arrive": 1, "axon": axon, "payload": payload}


def first(core: CoreSpec) -> int:
    """Cycles from the begin of a scan to its first event."""
    return 2 + 2 * core.presence_levels


def drain(
    rows: Sequence[Row], core: CoreSpec = TINY, limit: int | None = None, length: int = 60
) -> list[tuple[int, int]]:
    """Play the rows, then scan; return (axon, value) in the order of the hand-out, which has no gap."""
    bench = Bench(
        scheduler(core), ["valid", "event", "value", "over"], hold={"limit": limit or core.extended_axons}
    )
    cycles = bench.run([*rows, {"begin": 1}, *[{}] * (first(core) + length)])[len(rows) :]
    over = [at for at, cycle in enumerate(cycles) if cycle["over"]]
    assert len(over) == 1
    places = range(first(core), over[0])
    assert [at for at, cycle in enumerate(cycles) if cycle["valid"]] == list(places)
    return [(cycles[at]["event"], cycles[at + 1]["value"]) for at in places]


@pytest.mark.parametrize("gap", [0, 1, 2, 3])
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
        ([5, 1, 2, 3], 5),
    ],
)
def test_events_of_one_axon_merge_to_the_maximum(values: list[int], largest: int, gap: int) -> None:
    rows: list[Row] = []
    for value in values:
        rows += [arrive(4, value), *[{}] * gap]
    assert drain([*rows, SWAP]) == [(4, largest)]


def test_events_of_two_axons_in_turn_do_not_mix() -> None:
    assert drain([arrive(1, 2), arrive(2, -3), arrive(1, -1), arrive(2, 4), SWAP]) == [(1, 2), (2, 4)]


def test_events_of_two_words_in_turn_do_not_mix() -> None:
    rows = [arrive(axon, axon % 7) for axon in (1, 65, 2, 66, 3, 67, 130, 131, 4)]
    assert drain([*rows, SWAP], BROAD) == [(a, a % 7) for a in (1, 2, 3, 4, 65, 66, 67, 130, 131)]


def test_packet_behind_a_token_meets_nothing_of_the_step_before() -> None:
    rows = [arrive(4, 7), SWAP, arrive(4, -3), {}, {}, {}, SWAP]
    assert drain(rows) == [(4, -3)]


def test_packet_of_the_cycle_before_the_swap_is_in_the_current_bank() -> None:
    assert drain([arrive(7, 1), {}, arrive(7, 6), SWAP]) == [(7, 6)]


def test_banks_are_apart() -> None:
    later = [arrive(1, 5), arrive(2, 5)]
    assert drain([arrive(1, 2), arrive(9, -4), SWAP, *later, {}]) == [(1, 2), (9, -4)]
    assert drain([arrive(1, 2), arrive(9, -4), SWAP, *later, SWAP]) == [(1, 5), (2, 5)]


def test_packets_arrive_while_events_are_scanned() -> None:
    spread = [arrive(axon, 1) for axon in range(0, 200, 3)]
    busy = [arrive(axon, 2) for axon in range(1, 200, 3)]
    assert drain([*spread, SWAP, {"begin": 1}, *busy, *[{}] * 9], BROAD, length=80) == [
        (axon, 1) for axon in range(0, 200, 3)
    ]
    rows = [*spread, SWAP, {"begin": 1}, *busy, *[{}] * 20, SWAP]
    assert drain(rows, BROAD, length=80) == [(axon, 2) for axon in range(1, 200, 3)]


def test_bank_that_was_scanned_or_not_is_empty_when_it_collects_again() -> None:
    assert drain([arrive(1, 7), SWAP, {"begin": 1}, *[{}] * 9, SWAP, arrive(1, -8), SWAP]) == [(1, -8)]
    assert drain([arrive(1, 7), arrive(3, 7), SWAP, SWAP, arrive(1, -8), {}, {}, SWAP]) == [(1, -8)]
    assert drain([arrive(1, 7), SWAP, SWAP, SWAP]) == []


def test_each_scan_of_a_step_hands_out_the_same_events() -> None:
    rows = [arrive(1, 2), arrive(30, -4), SWAP, {"begin": 1}, *[{}] * 12, {"begin": 1}, *[{}] * 12]
    assert drain(rows) == [(1, 2), (30, -4)]


@pytest.mark.parametrize("core", [TINY, BROAD, TALL], ids=["tiny", "broad", "two levels"])
@pytest.mark.parametrize("spread", ["random", "dense", "one a word", "few words"])
def test_scan_equals_a_plain_model(core: CoreSpec, spread: str) -> None:
    draw, axons = random.Random(spread), core.extended_axons
    for _ in range(2):
        pool = {
            "random": [draw.randrange(axons) for _ in range(40)],
            "dense": list(range(min(axons, 150))),
            "one a word": list(range(5, axons, 64))[:90],
            "few words": [axon for axon in (0, 63, 64, 127, 128, 4095, 4096, 4159) if axon < axons],
        }[spread]
        model: dict[int, int] = {}
        rows: list[Row] = []
        for axon in draw.choices(pool, k=len(pool)) + pool:
            payload = draw.randint(core.payload_min, core.payload_max)
            model[axon] = max(payload, model.get(axon, payload))
            rows += [arrive(axon, payload), *[{}] * (draw.random() < 0.2)]
        assert drain([*rows, SWAP], core, length=len(pool) + 2) == sorted(model.items())


@pytest.mark.parametrize("core", [TINY, BROAD, TALL], ids=["tiny", "broad", "two levels"])
def test_scan_of_an_empty_bank_is_over_when_an_event_could_have_come(core: CoreSpec) -> None:
    assert drain([], core) == drain([SWAP], core) == []
    cycles = play(scheduler(core), [{"begin": 1}, *[{}] * 9], ["over"])
    assert [at for at, cycle in enumerate(cycles) if cycle["over"]] == [first(core)]


@pytest.mark.parametrize(("axon", "legal"), [(0, 1), (19, 1), (20, 0), (31, 0), (32, 0), (4095, 0)])
def test_axon_beyond_the_limit_is_refused(axon: int, legal: int) -> None:
    cycles = play(scheduler(), [arrive(axon, 1), {}], COUNTED, hold={"limit": 20})
    assert [tuple(c.values()) for c in cycles] == [(legal, 0, 1 - legal), (0, 0, 0)]
    assert drain([arrive(axon, 1), SWAP], limit=20) == [(axon, 1)][:legal]


def test_limit_of_all_axons_and_of_none() -> None:
    assert drain([arrive(31, 1), SWAP], limit=32) == [(31, 1)]
    assert drain([arrive(4159, 1), SWAP], TALL, limit=4160) == [(4159, 1)]
    assert play(scheduler(), [arrive(0, 1)], ["refused"])[0]["refused"] == 1


@pytest.mark.parametrize("core", [BROAD, TALL], ids=["one level", "two levels"])
def test_merge_is_counted_one_cycle_after_the_delivery(core: CoreSpec) -> None:
    rows = [arrive(4, 1), arrive(4, 2), arrive(196, 0), arrive(4, 3), {}, {}]
    cycles = play(scheduler(core), rows, COUNTED, hold={"limit": 200})
    assert [c["delivered"] for c in cycles] == [1, 1, 1, 1, 0, 0]
    assert [c["merged"] for c in cycles] == [0, 0, 1, 0, 1, 0]


def test_merge_is_not_counted_across_a_swap() -> None:
    rows = [arrive(4, 1), SWAP, arrive(4, 2), {}, {}]
    assert sum(c["merged"] for c in play(scheduler(), rows, COUNTED, hold=HOLD)) == 0


def test_scheduler_sizes() -> None:
    names = ("limit", "axon", "payload", "event", "value")
    assert widths(scheduler(preset("reference")), *names) == [14, 14, 9, 14, 9]
    assert widths(scheduler(replace(preset("reference"), max_extension=1)), *names) == [11, 11, 9, 11, 9]


def test_packet_that_arrives_with_reset_is_forgotten() -> None:
    assert drain([arrive(4, 1) | {"rst": 1}, {}, SWAP]) == []
    assert drain([arrive(4, 1), {"rst": 1}, SWAP]) == []
    assert drain([arrive(4, 1), {}, {}, {"rst": 1}, SWAP]) == []


def test_scan_that_is_reset_leaves_nothing() -> None:
    rows = [*[arrive(axon, 1) for axon in range(9)], SWAP, {"begin": 1}, *[{}] * 5, {"rst": 1}, {}, {}, {}]
    assert drain([*rows, arrive(3, 2), SWAP]) == [(3, 2)]
