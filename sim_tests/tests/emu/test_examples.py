# SPDX-License-Identifier: Apache-2.0
"""Small systems whose every cycle and counter is computed by hand from `docs/reference/cycles.md`."""

import numpy as np
import pytest

from emu.image import CoreImage
from emu.trace import RunResult
from emu.words import COUNTERS, Emission
from sim_tests.generators.systems import make_core, make_stimulus
from sim_tests.tests.emu.test_machine import TINY, both, system

TO_GATEWAY = [0, 0, 1, 1, 5, 1]


def test_single_neuron_cycles() -> None:
    # 1 x 1 mesh, one axon, one neuron (k = 1, one threshold 1), connected to the gateway; one packet, step 0.
    # Cycle -1: the packet enters the west FIFO; 0: it leaves by L, step token 0 enters; 1: intake, token 1
    # enters; 2: token 0 leaves by L and S, the pause token enters; 3: WAIT sees it, token 1 is taken in.
    # INTEGRATE begins in 4 and takes 1 + FI cycles (one event); the walk takes FW + K + G - 2 = FW, its last
    # cycle sends the packet; the next is TOKEN: 4 + 1 + FI + FW = f + 5. f + 6: intake of the core's token;
    # f + 7: token 1 leaves; f + 8: seen. INTEGRATE takes FI cycles (no event), the walk FW; 2 f + 9 TOKEN;
    # 2 f + 10 intake; 2 f + 11 the pause token leaves; 2 f + 12: seen.
    core = make_core([[1]], fanout=[TO_GATEWAY])
    run = both(system(1, 1, core), make_stimulus(2, [[0, 0, 0, 0, 0, 0, 1]]))
    assert run.finish is not None
    assert run.gateway is not None
    fi, fw = TINY.integrate_fill, TINY.walk_fill
    f = fi + fw
    assert run.finish.tolist() == [[f + 5], [2 * f + 9]]
    assert run.gateway.tolist() == [2, f + 7, 2 * f + 11]
    assert run.elapsed == 2 * f + 13
    counters = {name: int(run.counters[name][0]) for name in run.counters}
    ones = ("spikes", "packets", "deliveries", "crossbar_words", "synaptic_operations", "hops")
    assert counters == dict.fromkeys(COUNTERS[:-1], 0) | dict.fromkeys(ones, 1) | {
        "neuron_updates": 2,
        "thresholds": 2,
        "integrate": 1 + 2 * fi,
        "update": 2 * fw,
        "token_wait": 8,  # f + 5 .. f + 8, 2 f + 9 .. 2 f + 12
        "paused": 4,  # 0..3
        "token_hops": 3,
    }
    assert run.spikes.tolist() == [[0, 0, 0, 1]]
    assert run.outputs.tolist() == [[0, 5, 1]]
    assert run.potentials is not None
    assert run.potentials.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert run.state["potential"].tolist() == [0]


def test_disabled_core_cycles() -> None:
    # Token 0 enters in cycle 0, intake 1, leaves by L and S in 2, WAIT sees it in 3, TOKEN is cycle 4;
    # intake 5, token 1 leaves in 6, seen 7, TOKEN 8; the pause token leaves in 10 and is seen in 11.
    run = both(system(1, 1, None), make_stimulus(2))
    assert run.finish is not None
    assert run.gateway is not None
    assert (run.finish.tolist(), run.gateway.tolist(), run.elapsed) == ([[4], [8]], [2, 6, 10], 12)
    assert run.counters["token_wait"].tolist() == [8]  # 4..11
    assert run.counters["paused"].tolist() == [4]


def test_disabled_core_refuses_spikes() -> None:
    run = both(system(1, 1, None), make_stimulus(1, [[0, 0, 0, 0, 0, 3, 1]]))
    assert run.counters["errors"].tolist() == [1]
    assert run.counters["deliveries"].tolist() == [0]


def test_core_without_neurons_cycles() -> None:
    # As the disabled core: its events are discarded without a cycle. They enter in cycles -2 and -1.
    core = make_core(np.zeros((3, 0)))
    run = both(system(1, 1, core), make_stimulus(1, [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 2, 1]]))
    assert run.finish is not None
    assert run.finish.tolist() == [[4]]
    assert (run.total("integrate"), run.total("crossbar_words"), run.total("deliveries")) == (0, 0, 2)


def test_token_hop_takes_two_cycles() -> None:
    # Both tokens of router 0 leave by E, S and L in cycle 2. The one to the east enters router 1 then: at its
    # head in 3 (intake), leaves by L in 4, is seen in 5, so core 1 finishes in 6 and core 0 in 4.
    run = both(system(2, 1, None, None), make_stimulus(1))
    assert run.finish is not None
    assert run.finish.tolist() == [[4, 6]]
    # Two tokens by E and S of router 0 (one step, one pause), W of router 1; its S is absent.
    assert run.counters["token_hops"].tolist() == [4, 2]


def test_same_packets_take_longer_under_contention() -> None:
    def run(target: int) -> RunResult:
        fanout = [[target, target, 0, 0, 0, 0]] * 9 + [[target, target, 0, 0, 0, 1]]
        left = make_core([[1]], bias=1, fanout=[[1, 1, 0, 0, 0, 0]] * 9 + [[1, 1, 0, 0, 0, 1]])
        right = make_core([[1]], bias=1, fanout=fanout)
        middle = make_core([[0]], thresholds=[TINY.never])
        return both(system(3, 1, left, middle, right), make_stimulus(2))

    crowded, free = run(1), run(2)
    assert crowded.total("packets") == free.total("packets") == 40
    assert free.total("send_stall") == 0
    assert crowded.total("send_stall") > 0
    assert (crowded.elapsed or 0) > (free.elapsed or 0)
    assert crowded.counters["merges"].tolist() == [0, 38, 0]


def test_idle_step_is_shorter() -> None:
    core = make_core(np.ones((8, 8)), thresholds=[TINY.never])
    run = both(system(1, 1, core), make_stimulus(3, [[1, 0, 0, 0, 0, axon, 1] for axon in range(8)]))
    assert run.gateway is not None
    idle, busy, idle_again = np.diff(run.gateway).tolist()
    assert (busy - idle, idle_again) == (8, idle)


def test_equal_axons_merge_to_the_signed_maximum() -> None:
    # Three equal packets on one axon merge to one event; the largest payload wins whatever the order.
    for payloads in ([-3, 2, 1], [2, 1, -3]):
        core = make_core([[1]], thresholds=[TINY.never])
        run = both(system(1, 1, core), make_stimulus(1, [[0, 0, 0, 0, 0, 0, p] for p in payloads]))
        assert run.state["potential"].tolist() == [2]
        assert run.counters["merges"].tolist() == [2]


@pytest.mark.parametrize(("reset", "first", "second"), [(0, 2, 2), (1, 0, 0), (2, 1, 11)])
def test_reset_modes(reset: int, first: int, second: int) -> None:
    # Bias 2, thresholds out of order: V = 2 crosses 1 but not 5, so theta = 1. Of 1, -9, 5 it is -9.
    for thresholds, count, state in (([5, 1], 1, first), ([1, -9, 5], 2, second)):
        schedule = [[1, 0, 1, 1, 1, 0, len(thresholds)]]
        core = make_core([[0]], bias=2, reset=reset, thresholds=thresholds, schedule=schedule)
        run = both(system(1, 1, core), make_stimulus(1))
        assert run.spikes.tolist() == [[0, 0, 0, count]]
        assert run.state["potential"].tolist() == [state]


def test_saturation_counts_each_clip() -> None:
    # 2047 + 2000 clips once; minus threshold -2048 clips again.
    core = make_core([[0]], bias=2000, potential=2047, thresholds=[-2048])
    run = both(system(1, 1, core), make_stimulus(1))
    assert run.counters["saturations"].tolist() == [2]
    assert run.state["potential"].tolist() == [2047]


@pytest.mark.parametrize(
    ("potential", "bias", "state", "clipped"),
    [(2046, 1, 2047, 0), (2047, 1, 2047, 1), (-2047, -1, -2048, 0), (-2048, -1, -2048, 1)],
)
def test_saturation_at_its_edges(potential: int, bias: int, state: int, clipped: int) -> None:
    core = make_core([[0]], bias=bias, potential=potential, thresholds=[TINY.never])
    run = both(system(1, 1, core), make_stimulus(1))
    assert (run.state["potential"].tolist(), run.total("saturations")) == ([state], clipped)


def test_always_clear_forgets() -> None:
    core = make_core([[0]], bias=2, reset=0, thresholds=[TINY.never])
    assert both(system(1, 1, core), make_stimulus(3)).state["potential"].tolist() == [2]


def test_event_is_used_once() -> None:
    # The axon of step 0 comes again in steps 1 and 2, so both banks are used twice.
    core = make_core([[1]], thresholds=[TINY.never])
    run = both(system(1, 1, core), make_stimulus(5, [[step, 0, 0, 0, 0, 0, 3] for step in (0, 1, 2)]))
    assert run.state["potential"].tolist() == [9]
    assert (run.total("synaptic_operations"), run.total("merges")) == (3, 0)


def test_host_offers_a_flit_every_cycle() -> None:
    # Six packets of step 1 behind token 0. They enter the west FIFO in cycles 1, 2, 4, 5, 6, 7 (full in
    # 3, token 0 is taken), token 1 in 8; it is taken in in 9 and leaves in 10. The pause token waits for the
    # core: seen 11, TOKEN 12, intake 13, out in 14.
    run = both(system(1, 1, None), make_stimulus(2, [[1, 0, 0, 0, 0, 0, 1]] * 6))
    assert run.gateway is not None
    assert run.gateway.tolist() == [2, 10, 14]


def test_schedule_repeats_and_returns() -> None:
    schedule = [[2, 0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]]
    core = make_core([[1]], bias=1, v0=9, schedule=schedule)
    run = both(system(1, 1, core), make_stimulus(6))
    assert run.potentials is not None
    assert run.potentials[:, [0, 3]].tolist() == [[0, 1], [1, 2], [2, 9], [4, 10], [5, 11]]
    assert run.counters["neuron_updates"].tolist() == [5]


def test_count_and_unary_emission() -> None:
    fanout = [[0, 0, 1, 1, 3, 0], [0, 0, 1, 1, 8, 1]]
    core = make_core(
        [[0, 0]],
        bias=5,
        emission=[Emission.COUNT, Emission.UNARY],
        thresholds=[1, 2],
        fanout=fanout,
        schedule=[[1, 0, 1, 1, 1, 0, 2]],
    )
    run = both(system(1, 1, core), make_stimulus(1))
    assert run.outputs.tolist() == [[0, 3, 1], [0, 3, 2], [0, 4, 1], [0, 8, 1], [0, 8, 2], [0, 9, 1]]


def test_rectangle_reaches_every_core_once() -> None:
    fanout = [[0, 2, 0, 3, 1, 1]]
    cores: list[CoreImage | None] = [make_core(np.zeros((2, 1)), thresholds=[TINY.never]) for _ in range(9)]
    cores[4] = make_core(np.zeros((2, 1)), bias=1, fanout=fanout)
    run = both(system(3, 3, *cores), make_stimulus(1))
    assert run.counters["deliveries"].tolist() == [1] * 9
    # A tree of eight edges and the one to the gateway; the copies for row 3 at x = 1, 2 are sunk.
    assert run.total("hops") == 9
    assert run.counters["router_errors"].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert run.outputs.tolist() == [[0, 1, 1]]


def test_stimulus_to_the_gateway_leaves_a_step_early() -> None:
    run = both(system(1, 1, None), make_stimulus(2, [[0, 0, 0, 1, 1, 4, 2], [1, 0, 0, 1, 1, 4, 3]]))
    assert run.outputs.tolist() == [[-1, 4, 2], [0, 4, 3]]
