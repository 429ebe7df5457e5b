# SPDX-License-Identifier: Apache-2.0
"""The walk as a whole, by hand: order, pace, stalls, its end, its memories, and options that are absent."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]  # the stubs leave it out

from emu.spec import SystemSpec
from emu.words import Section
from rtl.component import Component
from rtl.firing import Firing
from rtl.ladder import Ladder
from rtl.layouts import spike_struct
from rtl.membrane import Membrane
from rtl.memory import Body
from rtl.neuron import Walk
from sim_tests.bench.block_player import play as play_rows
from sim_tests.bench.block_player import program_rows, widths
from sim_tests.generators.pool import PLAIN
from sim_tests.generators.systems import make_core
from sim_tests.tests.rtl.walks import (
    FANOUT,
    FILL,
    HERE,
    LADDER,
    LOW,
    PROGRAM,
    SPEC,
    Step,
    cycles,
    entry,
    play,
    stored,
    walk,
)


def test_neurons_are_visited_in_order_with_their_own_columns() -> None:
    core = make_core(
        [[0] * 8], strengths=[1, 10], bias=[0, 100, -100, 7], potential=[1, 2, 3, 4], schedule=entry(fire=0)
    )
    got = walk(core, [1, 2, 3, 4, 5, 6, 7, 8])
    assert stored(got) == [(22, 0), (145, 0), (-32, 0), (98, 0)]
    assert [state[0] for state in got.state] == [22, 145, -32, 98]
    assert cycles(got) == [FILL + 1 + 2 * j for j in range(4)]


def test_neurons_use_their_own_threshold_lists() -> None:
    thresholds, base = [9, 5, 4, 9, 4, 5, 5, 9], [0, 1, 2, 4]
    core = make_core(
        [[0] * 4], bias=5, reset=0, thresholds=thresholds, threshold_base=base, schedule=entry(count=2)
    )
    assert [count for _, count in stored(walk(core))] == [1, 2, 1, 2]


def test_all_columns_may_be_neurons() -> None:
    core = make_core([[0] * 32], bias=range(32), schedule=entry(fire=0))
    got = walk(core, range(32))
    assert [(neuron, state[0]) for _, neuron, _, state in got.stored] == [(i, 2 * i) for i in range(32)]


@pytest.mark.parametrize(
    ("k", "count", "pace"), [(1, 4, 1), (1, 5, 2), (3, 4, 3), (2, 12, 3), (4, 17, 5), (2, 0, 2)]
)
def test_neuron_enters_every_max_of_strengths_and_words(k: int, count: int, pace: int) -> None:
    per_block = SPEC.core.lanes // k
    core = make_core(
        [[0] * k * per_block], strengths=[1] * k, thresholds=[99] * 20, schedule=entry(count=count)
    )
    first = FILL + k + max(1, -(-count // 4)) - 2
    assert cycles(walk(core)) == [first + pace * j for j in range(per_block)]


def test_step_that_does_not_fire_takes_a_cycle_a_neuron() -> None:
    core = make_core([[0] * 4], thresholds=[LOW] * 20, schedule=entry(fire=0, count=20))
    assert cycles(walk(core)) == [FILL, FILL + 1, FILL + 2, FILL + 3]


def test_ladder_takes_a_cycle_whatever_its_count() -> None:
    core = make_core([[0] * 4], ladders=[LADDER], schedule=entry(first=8, count=7))
    assert cycles(walk(core)) == [FILL, FILL + 1, FILL + 2, FILL + 3]


def test_sender_that_meets_a_busy_emitter_waits_and_the_rest_with_it() -> None:
    """Neuron 0 sends two packets, 2 sends one: it waits a cycle, and 3 comes one later than it would."""
    core = make_core([[0] * 4], bias=[1, 0, 1, 0], fanout=FANOUT, fanout_base=[1, 0, 3, 0], schedule=entry())
    free = walk(core)
    assert (cycles(free), len(free.refused)) == ([FILL + j for j in range(4)], 0)
    slow = walk(core, ready=lambda cycle: cycle != FILL + 1)
    assert cycles(slow) == [FILL, FILL + 1, FILL + 3, FILL + 4]
    assert [cycle - 1 for cycle, _ in slow.packets] == [FILL + 1, FILL + 2, FILL + 3]
    assert [cycle - 1 for cycle in slow.refused] == [FILL]


def test_neuron_that_sends_nothing_passes_a_busy_emitter() -> None:
    core = make_core([[0] * 4], bias=[1, 0, 0, 0], fanout=[HERE], schedule=entry())
    got = walk(core, ready=lambda cycle: cycle > FILL + 20)
    assert cycles(got) == [FILL + j for j in range(4)]
    assert (got.done, len(got.refused)) == ([FILL + 21], 20)


def test_senders_follow_each_other_without_a_gap() -> None:
    core = make_core([[0] * 8], bias=1, fanout=FANOUT, fanout_base=[3, 0] * 4, schedule=entry())
    got = walk(core)
    assert [cycle - 1 for cycle, _ in got.packets] == cycles(got) == [FILL + j for j in range(8)]
    assert got.done == [FILL + 8]


def test_packet_waits_until_it_is_taken() -> None:
    core = make_core(
        [[0, 0]], bias=2, thresholds=[1, 2], fanout=FANOUT, fanout_base=1, schedule=entry(count=2)
    )
    free, busy = walk(core), walk(core, ready=lambda cycle: cycle % 3 == 2)
    assert [p for _, p in busy.packets] == [p for _, p in free.packets]
    assert stored(busy) == stored(free)


def test_block_may_follow_another_without_a_cycle_between() -> None:
    core = make_core([[0] * 16], bias=range(16), fanout=[HERE], schedule=entry())
    got = play(core, SPEC, [Step([[1] * 8, [2] * 8], [1, 0])])
    assert got.starts[1][0] == got.done[0] == FILL + 8
    assert [state[0] for *_, state in got.stored] == [1 + i - 1 for i in range(8)] + [
        2 + i - 1 for i in range(8, 16)
    ]


@pytest.mark.parametrize("change", [{"program.strobe": 0}, {"program.section": Section.COUNTER}])
def test_walk_ignores_writes_that_are_not_for_it(change: dict[str, int]) -> None:
    core = make_core([[0]], bias=5, potential=7, thresholds=[3], schedule=entry())
    load = program_rows(core, SPEC, *PROGRAM)
    noise = [dict(row) | change | {"program.chunk": 0xFFFF} for row in load]
    rows = [*load, *noise, {"start": 1, "first": 0, "count": 1}, *[{}] * (FILL + 3)]
    hold = {"strengths": 1, "strength.0": 1, "entry.update": 1, "entry.fire": 1, "entry.threshold_count": 1}
    trace = play_rows(Walk(SPEC), rows, ["stored", "state.potential", "crossed"], hold=hold)
    assert [(c["state.potential"], c["crossed"]) for c in trace if c["stored"]] == [(9, 1)]


@pytest.mark.parametrize("section", PROGRAM)
def test_every_memory_of_the_walk_is_read_back(section: Section) -> None:
    core = make_core(
        [[0] * 3], bias=[1, -2, 3], v0=7, potential=[4, 5, -6], thresholds=range(-3, 6), fanout=FANOUT
    )
    load = program_rows(core, SPEC, section)
    reads = [
        {"inspect.enable": 1, "inspect.section": section, "inspect.address": at} for at in range(len(load))
    ]
    trace = play_rows(Walk(SPEC), [*load, *reads, {}], ["inspect.chunk"])
    assert [c["inspect.chunk"] for c in trace[-len(reads) :]] == [row["program.chunk"] for row in load]


BARE = dataclasses.replace(PLAIN, potential_bits=10)


def cells(part: Callable[[SystemSpec], Component], kind: str, **options: Any) -> int:
    """Return how often a text is in the netlist of a part of a bare core with some options."""
    spec = SystemSpec(core=dataclasses.replace(BARE, **options), width=1, height=1)
    text: str = rtlil.convert(part(spec), emit_src=False, platform=Body.INFERRED)
    return text.count(kind)


def test_options_that_are_absent_are_not_in_the_netlist() -> None:
    current: dict[str, Any] = {"synaptic_current": True}
    decay: dict[str, Any] = {"decay": True}
    multipliers = [cells(Membrane, "cell $mul", **o) for o in ({}, decay, current, current | decay)]
    assert multipliers == [0, 1, 1, 2]
    ladders = [cells(Walk, "quantiser.ladder", **o) for o in ({}, {"ladder": True})]
    assert ladders[0] == 0 < ladders[1]
    rests = [cells(Firing, "cell $sub", refractory_bits=bits) for bits in (0, 3)]
    assert rests[1] == rests[0] + 1
    subtractors = [cells(Ladder, "cell $sub", ladder=True, signed_ladder=s) for s in (False, True)]
    assert subtractors[0] < subtractors[1]


def test_walk_sizes() -> None:
    names = ("count", "strengths", "strength.0", "sums.0", "neuron", "state", "crossed", "compared", "spikes")
    assert widths(Walk(SPEC), *names) == [4, 3, 12, 10, 5, 12 + 12 + 3, 9, 9, 9]
    layout = spike_struct(SPEC)
    assert (layout["axon"].offset, layout["axon"].width, layout["payload"].width) == (0, 12, 4)
