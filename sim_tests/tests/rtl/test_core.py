# SPDX-License-Identifier: Apache-2.0
"""The neurocore alone: the phases of a step, what it sends and counts, and when."""

import pytest

from emu.words import Control, Kind, Section, counters_of
from sim_tests.bench.block_player import Row, parse
from sim_tests.bench.core_player import (
    INTEGRATE,
    PAUSE,
    PAUSED,
    SPEC,
    STALL,
    TOKEN,
    UPDATE,
    WAIT,
    CoreBench,
    activities,
    beats,
    control,
    counters,
    point,
    run,
    spike,
    two,
    write,
)
from sim_tests.generators.systems import make_core

HERE = [0, 0, 0, 0, 5, True]
FILL, DEEP = SPEC.core.integrate_fill, SPEC.core.walk_fill
QUIET = 3 * DEEP
"""Cycles after which a step of one block is over."""


def test_core_sends_its_token_after_reset_and_is_paused() -> None:
    cycles = CoreBench().bench.run([{"o.ready": 0}, {"o.ready": 0}, {}, {}, {}])
    assert [c["o.valid"] for c in cycles] == [1, 1, 1, 0, 0]
    assert parse(SPEC, cycles[0]["o.payload"])["kind"] == Kind.TOKEN
    assert [c["observe.activity"] for c in cycles] == [PAUSED] * 5
    assert [c["observe.finished"] for c in cycles] == [0, 0, 1, 0, 0]


def test_step_takes_the_documented_cycles() -> None:
    program = two(schedule=[[1, 0, 1, 1, 1, 0, 1]], thresholds=[5])
    cycles = run(program, [spike(0, 2), spike(2, 3), TOKEN])[2:]
    integrate, walk = [INTEGRATE] * (2 + FILL), [UPDATE] * (DEEP + 1)
    assert activities(cycles) == [PAUSED, *integrate, *walk, WAIT]


def test_blocks_follow_each_other() -> None:
    """Ten neurons of two columns on eight lanes are blocks of 4, 4 and 2."""
    program = make_core(
        [[1, -1] * 10, [0, 1] * 10], strengths=[1, 3], bias=list(range(10)), reset=0, thresholds=[99]
    )
    cycles = run(program, [spike(0, 2), spike(1, 1), TOKEN, *[{}] * 2 * QUIET])
    walks = [[UPDATE] * (DEEP + 1 + (n - 1) * 2) for n in (4, 4, 2)]
    expected = [phase for walk in walks for phase in [INTEGRATE] * (2 + FILL) + walk]
    assert activities(cycles[2:]) == [PAUSED, *expected, WAIT]
    assert beats(cycles) == [(i, i + 1 * 2 + 3 * (1 - 2), 0) for i in range(10)]


def test_later_step_waits_as_token_wait() -> None:
    cycles = run(two(schedule=[[1, 1, 0, 0, 0, 0, 0]]), [TOKEN, *[{}] * (DEEP + 7), TOKEN])
    walk, wait = [UPDATE] * (DEEP + 1), [WAIT] * 6
    assert [c["observe.activity"] for c in cycles[: 2 * DEEP + 9]] == [
        PAUSED, PAUSED, *walk, *wait, WAIT, *walk,
    ][: 2 * DEEP + 9]  # fmt: skip
    assert [i for i, c in enumerate(cycles) if c["observe.finished"]] == [DEEP + 3, 2 * DEEP + 11]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ([1, 0, 1, 1, 0, 0, 0], [INTEGRATE] * (1 + FILL) + [UPDATE] * (DEEP + 1)),
        ([1, 0, 0, 1, 0, 0, 0], [UPDATE] * (DEEP + 1)),
        ([1, 1, 0, 0, 0, 0, 0], [UPDATE] * (DEEP + 1)),
        ([1, 0, 0, 0, 1, 0, 5], [UPDATE] * (DEEP + 1 + 2)),
        ([1, 0, 0, 0, 0, 0, 0], []),
    ],
)
def test_phases_follow_the_entry(schedule: list[int], expected: list[int]) -> None:
    program = two(schedule=[schedule], thresholds=[90] * 8)
    assert activities(run(program, [spike(1, 1), TOKEN])[1:]) == [PAUSED, *expected, WAIT]


def test_core_without_neurons_passes_the_token_on() -> None:
    program = make_core([[]] * 4, strengths=[1])
    assert activities(run(program, [spike(1, 1), TOKEN])[1:]) == [PAUSED, WAIT]
    rows = [spike(0, 1), spike(1, 2), TOKEN, *[{}] * QUIET, PAUSE]
    got = counters(program, rows)
    assert [got[n] for n in ("deliveries", "integrate", "crossbar_words", "update")] == [2, 0, 0, 0]


def test_disabled_core_passes_the_token_on() -> None:
    assert activities(run(None, [spike(0, 1), TOKEN])[1:]) == [PAUSED, WAIT]
    program = two()
    disabled = [*write(Section.CONTROL, Control.ENABLE, 0), spike(0, 1), TOKEN]
    assert activities(run(program, disabled)[4:]) == [PAUSED, WAIT]


def test_step_computes_drive_and_spikes() -> None:
    program = two(bias=[1, 10], thresholds=[5], fanout=[HERE], connected=[True, False])
    cycles = run(program, [spike(0, 2), spike(2, 3), spike(1, 4), TOKEN])
    assert beats(cycles) == [(0, 7 - 5, 1), (1, -2 + 3 + 4 + 10 - 5, 1)]
    sent = [parse(SPEC, c["o.payload"]) for c in cycles if c["o.valid"]]
    assert [(s["kind"], s["data"]) for s in sent] == [(0, 5 | 1 << 12), (1, 0)]


def test_sums_and_events_do_not_stay_for_the_next_step() -> None:
    program = two(reset=0, thresholds=[99])
    cycles = run(program, [spike(0, 2), TOKEN, *[{}] * QUIET, spike(2, 1), TOKEN, *[{}] * QUIET, TOKEN])
    assert [b[1] for b in beats(cycles)] == [2, -2, 0, 1, 0, 0]


def test_events_of_a_step_without_integrate_are_discarded() -> None:
    program = two(reset=0, thresholds=[99], schedule=[[1, 0, 0, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0, 0]])
    cycles = run(
        program,
        [spike(0, 2), TOKEN, *[{}] * QUIET, TOKEN, *[{}] * QUIET, spike(0, 3), TOKEN, *[{}] * QUIET, TOKEN],
    )
    assert [b[1] for b in beats(cycles)] == [0] * 8


def test_events_of_a_disabled_core_are_discarded() -> None:
    program = two(reset=0, thresholds=[99])
    enable = write(Section.CONTROL, Control.ENABLE, 1)
    rows = [
        *write(Section.CONTROL, Control.ENABLE, 0),
        spike(0, 2),
        TOKEN,
        *[{}] * 9,
        TOKEN,
        *[{}] * 9,
        PAUSE,
    ]
    cycles = run(program, [*rows, *[{}] * 9, *enable, TOKEN])
    assert [b[1] for b in beats(cycles)] == [0, 0]


def test_event_during_a_step_is_for_the_next() -> None:
    program = two(reset=0, thresholds=[99])
    cycles = run(program, [spike(1, 1), TOKEN, *[spike(0, 2)] * 12, *[{}] * QUIET, TOKEN])
    assert [b[1] for b in beats(cycles)] == [1, 1, 2, -2]


def test_pause_token_starts_no_step_and_keeps_the_events() -> None:
    program = two(reset=0, thresholds=[99])
    cycles = run(program, [TOKEN, *[{}] * QUIET, spike(0, 2), PAUSE, *[{}] * 9, spike(1, 1), TOKEN])
    assert [b[1] for b in beats(cycles)] == [0, 0, 3, -1]
    assert sum(c["observe.finished"] for c in cycles) == 3
    pause = [c["observe.activity"] for c in cycles[QUIET + 2 : QUIET + 12]]
    assert pause == [WAIT, WAIT, *[PAUSED] * 8]


def test_schedule_advances_with_step_tokens_only() -> None:
    schedule = [[2, 0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    program = two(bias=5, v0=-1, schedule=schedule)
    rows: list[Row] = []
    for token in (TOKEN, PAUSE, TOKEN, TOKEN, TOKEN):
        rows += [token, *[{}] * QUIET]
    assert [b[1] for b in beats(run(program, rows)) if b[0] == 0] == [5, 10, -1, 4]


def test_full_router_stalls_emission_and_token() -> None:
    program = make_core([[1]], bias=1, fanout=[HERE])
    stalled = [TOKEN, *[{}] * (FILL + DEEP), *[{"o.ready": 0}] * 3, {}, *[{"o.ready": 0}] * 2, {}]
    got = activities(run(program, stalled))
    walk = [*[UPDATE] * (DEEP - 1), *[STALL] * 3, UPDATE]
    assert got == [PAUSED, *[INTEGRATE] * FILL, *walk, *[STALL] * 2, WAIT]


def test_stalled_pause_token_counts_as_paused() -> None:
    rows = [TOKEN, *[{}] * 30, PAUSE, {}, {"o.ready": 0}, {"o.ready": 0}, {}, {}]
    assert [c["observe.activity"] for c in run(two(), rows)[31:37]] == [WAIT, WAIT, *[PAUSED] * 4]


def test_counters_of_a_step() -> None:
    program = two(
        bias=[1, 2047],
        thresholds=[5, 6],
        fanout=[HERE],
        connected=[True, False],
        schedule=[[1, 0, 1, 1, 1, 0, 2]],
    )
    got = counters(
        program,
        [
            spike(0, 2),
            spike(1, 1),
            spike(2, 3),
            spike(2, 4),
            spike(1, 3),
            spike(3, 1),
            TOKEN,
            *[{}] * 40,
            PAUSE,
        ],
    )
    assert got | {"paused": 0, "token_wait": 0} == dict.fromkeys(counters_of(SPEC), 0) | {
        "spikes": 4, "packets": 2, "deliveries": 5, "merges": 2, "crossbar_words": 3,
        "synaptic_operations": 5, "thresholds": 4,
        "neuron_updates": 2,
        "saturations": 1, "errors": 1, "integrate": 3 + FILL, "update": DEEP + 1,
    }  # fmt: skip


def test_counters_of_a_stalled_step() -> None:
    program = make_core([[1]], bias=1, fanout=[HERE])
    got = counters(
        program,
        [TOKEN, *[{}] * (FILL + DEEP), *[{"o.ready": 0}] * 3, {}, *[{"o.ready": 0}] * 2, *[{}] * 9, PAUSE],
    )
    assert [got[name] for name in ("packets", "update", "send_stall")] == [1, DEEP, 5]


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_merge_before_a_clear_is_not_counted_after_it(gap: int) -> None:
    """Whether a packet meets another one is known a cycle after it came: the clear may come in between."""
    spikes = [spike(0, 1), spike(0, 2)]
    rows = [*point(Section.COUNTER, 0), *spikes, *[{}] * gap, control(Kind.WRITE, 7)]
    assert counters(two(), rows)["merges"] == 0
    assert counters(two(), [*rows, *spikes])["merges"] == 2


def test_events_of_the_router_are_counted() -> None:
    pins = [
        {"hops": 4, "token_hops": 4, "router_errors": 9},
        {"hops": 1},
        {"token_hops": 1},
        {"router_errors": 2},
    ]
    got = counters(two(), pins)
    assert [got[name] for name in ("hops", "token_hops", "router_errors")] == [5, 5, 11]


def test_waiting_and_pausing_are_counted() -> None:
    rows = [TOKEN, *[{}] * 19, PAUSE, *[{}] * 5, *write(Section.COUNTER, 0, 0), TOKEN, *[{}] * 29, PAUSE]
    got = counters(two(schedule=[[1, 1, 0, 0, 0, 0, 0]]), rows)
    assert [got[name] for name in ("update", "token_wait")] == [DEEP + 1, 30 - (DEEP + 1)]
