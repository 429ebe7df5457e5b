# SPDX-License-Identifier: Apache-2.0
"""Routers of the cycle mode where paths cross: what may take the short way, and what may not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.bits import limits
from emu.functional import Source
from emu.image import SystemImage
from emu.kernels import cycle, inject, injectors, mesh
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import RunResult, Stimulus, compared, diff
from emu.words import PACKET, STATE_FIELDS, flit_layout, spike_layout
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

TINY = preset("tiny")
IDLE = make_core([[0]])


def system(width: int, height: int, *cores: Any) -> SystemImage:
    return make_system(SystemSpec(core=TINY, width=width, height=height), *cores)


def sender(*places: tuple[int, int, int, int], neurons: int = 1, axons: int = 1, **fields: Any) -> Any:
    """Return a core that sends one packet to each of the rectangles in every step, from each neuron."""
    fanout = [[*place, 0, i == len(places) - 1] for i, place in enumerate(places)]
    return make_core(np.zeros((axons, neurons)), bias=1, reset=0, fanout=fanout, **fields)


def exact(image: SystemImage, stimulus: Stimulus) -> RunResult:
    """Return the cycle run, which must be the oracle's."""
    run = Machine(image).run(stimulus, cycles=True, potentials=True)
    oracle = run_oracle(image, stimulus, cycles=True)
    assert diff(oracle, run) is None
    assert compared(oracle, run) > 0
    return run


@pytest.mark.parametrize(
    ("width", "height", "payload_bits", "axons"),
    [(64, 63, 2, 1 << 24), (64, 63, 9, 1 << 24), (1, 1, 9, 0), (512, 512, 9, 1 << 14), (512, 3, 2, 1 << 24)],
)
def test_flit_holds_every_field_at_its_limits(width: int, height: int, payload_bits: int, axons: int) -> None:
    plain = replace(TINY, ladder=False, signed_ladder=False)
    core = replace(plain, payload_bits=payload_bits, gateway_axons=axons)
    spec = SystemSpec(core=core, width=width, height=height)
    shifts = mesh.flit_shifts(Source(make_system(spec, *[None] * spec.cores)).program)
    fields = {field.name: limits(field) for field in (*flit_layout(spec), *spike_layout(spec))}
    for side in range(2):
        for odd in PACKET:
            packet = np.array([fields[name][side ^ (name == odd)] for name in PACKET])
            flit = mesh.pack_flit(shifts, packet, int(packet[5]) + (1 << payload_bits - 1))
            assert [*mesh.unpack_place(shifts, flit), *mesh.unpack_flit(shifts, flit)] == packet.tolist()
            assert 0 <= flit < mesh.TOKEN


@pytest.mark.parametrize(("width", "height"), [(67, 1), (1, 67)])
def test_mesh_that_is_longer_than_64_equals_the_oracle(width: int, height: int) -> None:
    x, y = width - 1, height - 1
    places = [(0, x, 0, y), (x, x, y, y), (x // 2, x, y // 2, y), (0, 0, height, height)]
    cores = [sender(*places) if core % 33 == 0 else None for core in range(width * height)]
    stimulus = make_stimulus(2, [(0, 0, x, 0, height, 0, 1), (1, x, x, y, y, 0, 3)])
    run = exact(system(width, height, *cores), stimulus)
    assert run.total("router_errors") == width - 1  # copies that leave the mesh beside the gateway


def test_mesh_that_is_larger_than_64_both_ways_equals_the_oracle() -> None:
    spec = SystemSpec(core=TINY, width=66, height=65)
    places = [(63, 65, 62, 64), (0, 65, 64, 64), (65, 65, 0, 64), (0, 0, 65, 65)]
    senders = {0, 63, 63 * 66 + 64, 64 * 66 + 65}
    cores = [sender(*places) if core in senders else None for core in range(spec.cores)]
    image = make_system(spec, *cores)
    stimulus = make_stimulus(2, [(0, 63, 65, 63, 65, 0, 1), (1, 0, 0, 64, 65, 0, 3)])
    expected, got = run_oracle(image, stimulus, cycles=False), Machine(image).run(stimulus, potentials=True)
    assert diff(expected, got) is None
    assert compared(expected, got) > 0
    timed = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert diff(got, timed) is None
    assert timed.total("deliveries") == 2 + 2 * len(senders) * 4


def test_injectors_of_the_largest_chip_come_when_they_are_due(seed: int) -> None:
    cores = 70 * 66
    timing = injectors.make_timing(np.zeros(0, np.int64), np.ones(cores, np.bool_), 0)
    first = sorted(injectors.pop_due(timing, 0) for _ in range(cores))
    assert np.array_equal(first, np.arange(cores))  # a list's difference takes minutes to print
    assert injectors.pop_due(timing, 0) == -1
    cycles = np.random.default_rng(seed).integers(0, 5 * injectors.WHEEL, cores + 1)
    for injector, due in enumerate(cycles):
        injectors.push_due(timing, 0, int(due), injector)
    now, met = 0, []
    while timing.host[injectors.HOST_QUEUE]:
        now = injectors.next_due(timing, now)
        while (injector := injectors.pop_due(timing, now)) >= 0:
            met.append((injector, now))
        now += 1
    assert np.array_equal(sorted(met), list(enumerate(cycles.tolist())))


@pytest.mark.parametrize("events", range(5))
def test_token_resets_the_pointers(events: int) -> None:
    """Cores 0 and 2 meet at core 1 in every second step; in the steps between core 2 sends alone.

    Events delay core 2: with four of them the first packets of both arrive in the same cycle.
    """
    cores: list[Any] = [None] * 3
    for core in (0, 2):
        schedule = [[1, 0, 1, 1, int(core == 2), 0, 1], [1, 0, 1, 1, 1, 0, 1]]
        cores[core] = sender(*[(1, 1, 0, 0)] * 9, axons=8, schedule=schedule)
    rows = [(step, 2, 2, 0, 0, axon, 1) for step in (1, 3, 5) for axon in range(events)]
    run = exact(system(3, 1, *cores), make_stimulus(6, rows))
    assert run.counters["packets"].tolist() == [27, 0, 54]


def test_paused_network_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run in the network that the first one left, as in hardware, takes as long as the first."""
    calls: list[Any] = []
    run_cycles = cycle.run_cycles

    def record(*arguments: Any) -> int:
        calls.append(arguments)
        return run_cycles(*arguments)

    monkeypatch.setattr(cycle, "run_cycles", record)
    run = Machine(system(2, 2, *[None] * 4)).run(make_stimulus(2), cycles=True)
    program, state, tape, network, timing, _ = calls[-1]
    for name in STATE_FIELDS:
        getattr(state, name).flags.writeable = True
    timing.step[:] = 0
    timing.feeds[:, injectors.FEED_STEP] = timing.left[:] = 0
    timing.host[injectors.HOST_RELEASE] = -1
    inject.start_host(network, timing)
    assert run_cycles(program, state, tape, network, timing, 4) == cycle.QUIET
    assert run.finish is not None
    assert run.gateway is not None
    zero = timing.host[injectors.HOST_RELEASE]
    assert (timing.finish - zero).tolist() == run.finish.tolist()
    assert (timing.gateway[:, 0] - zero).tolist() == run.gateway.tolist()
    assert timing.halted.tolist() == [1] * 4


def test_two_heads_that_want_one_output_take_turns() -> None:
    # Cores 0 and 2 send 9 packets each to core 1, whose output L takes one a cycle: tokens wait for 18.
    image = system(3, 1, sender(*[(1, 1, 0, 0)] * 9), IDLE, sender(*[(1, 1, 0, 0)] * 9))
    run = exact(image, make_stimulus(3))
    assert run.counters["deliveries"].tolist() == [0, 54, 0]
    assert run.total("send_stall") > 0


def test_two_heads_that_want_different_outputs_do_not_wait() -> None:
    # Core 0 sends east and core 2 west through router 1; core 1 sends to itself.
    cores = [sender(*[place] * 9) for place in ((2, 2, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0))]
    run = exact(system(3, 1, *cores), make_stimulus(3))
    assert run.total("send_stall") == 0
    assert run.counters["hops"].tolist() == [27, 54, 27]


def test_full_queue_holds_back_what_follows() -> None:
    # Packets of core 0 for core 2 queue up behind those for core 1, which all others want as well.
    cores = [sender(*[(1, 1, 0, 0), (2, 2, 0, 0)] * 6), *[sender(*[(1, 1, 0, 0)] * 12)] * 3]
    run = exact(system(4, 1, *cores), make_stimulus(3))
    assert run.counters["send_stall"][0] > 0


def test_packet_of_the_next_step_waits_for_the_token() -> None:
    """Stimulus of later steps queues up behind the tokens of the step before, at every router of the way."""
    far = [(step, 2, 2, 2, 2, 0, 1) for step in range(4) for _ in range(5)]
    slow = make_core(np.ones((4, 32)), thresholds=[TINY.never])
    run = exact(system(3, 3, *[slow] * 9), make_stimulus(4, far))
    assert run.counters["merges"].tolist() == [0] * 8 + [16]


def test_packet_for_an_absent_output_is_sunk_where_it_is() -> None:
    run = exact(system(2, 2, sender((1, 1, 0, 2), neurons=4), *[IDLE] * 3), make_stimulus(2))
    assert run.counters["router_errors"].tolist() == [0, 0, 0, 8]
    assert run.counters["deliveries"].tolist() == [0, 8, 0, 8]


def test_packet_that_wants_no_output_is_an_error() -> None:
    # Core 1 sends nowhere, alone in its router and beside what core 0 sends to core 2.
    nowhere = sender(*[(1, 0, 0, 0)] * 9, neurons=2)
    run = exact(system(3, 1, sender(*[(2, 2, 0, 0)] * 9), nowhere, IDLE), make_stimulus(2))
    assert run.counters["router_errors"].tolist() == [0, 36, 0]
    assert run.counters["deliveries"].tolist() == [0, 0, 18]


@pytest.mark.parametrize("copies", [1, 4])
def test_busy_mesh_equals_the_oracle(copies: int) -> None:
    """Sixteen cores that send to random places, rectangles and the gateway, sparsely and without a break."""
    rng = np.random.default_rng(copies)
    cores = []
    for _ in range(16):
        low, high = np.sort(rng.integers(0, 4, (2, 2, 8)), axis=0)
        places = np.stack([low[0], high[0], low[1], high[1]], axis=1)
        places[::2, 1::2] = places[::2, ::2]
        places[-1] = (0, 0, 4, 4)
        rows = [[*place, rng.integers(4), i % 2] for i, place in enumerate(np.repeat(places, copies, axis=0))]
        fields: dict[str, Any] = {
            "fanout_base": rng.integers(0, 8 * copies, 12),
            "emission": rng.integers(0, 2, 12),
        }
        cells = rng.integers(-1, 2, (4, 12))
        cores.append(
            make_core(
                cells, bias=1, thresholds=[1, 2], schedule=[[1, 0, 1, 1, 1, 0, 2]], fanout=rows, **fields
            )
        )
    run = exact(system(4, 4, *cores), make_stimulus(5, [(s, 0, 3, 0, 3, s % 4, 3) for s in range(5)]))
    assert run.total("send_stall") > 0
    assert run.total("merges") > 0


@pytest.mark.parametrize("offset", range(6))
def test_random_mesh_of_sixteen_equals_the_oracle(seed: int, offset: int) -> None:
    image, stimulus = random_system(seed + offset, spec=SystemSpec(core=TINY, width=4, height=4), steps=6)
    exact(image, stimulus)
