# SPDX-License-Identifier: Apache-2.0
"""Situations that a mesh bench must be in: a slow host, control packets at illegal times, many crossings."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import CoreSpec, SystemSpec, preset
from emu.trace import HostPace, RunResult, Stimulus, diff
from emu.words import Emission, ErrorCause, Kind, Reset
from sim_tests.bench.amaranth_engine import run_pysim
from sim_tests.bench.job import prepare
from sim_tests.bench.prelude import _Knock
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.session import Session
from sim_tests.bench.status import expected_status, status_fault
from sim_tests.generators.pool import BLOCK, DIGITS, LEAST, LONG, WIDE
from sim_tests.generators.systems import full_system, make_core, make_stimulus, make_system
from sim_tests.oracle.machine import run_oracle

ONE = SystemSpec(core=preset("tiny"), width=1, height=1)
LEAST_OF_EIGHT = LEAST.resized(strengths=8, potential_bits=32)
ODD = LEAST.resized(
    axons=65,
    columns=64,
    lanes=64,
    payload_bits=9,
    strengths=5,
    thresholds=68,
    fanouts=65,
    schedule=5,
)
TWO = SystemSpec(core=preset("tiny"), width=2, height=1)


def busy(spec: SystemSpec) -> SystemImage:
    """Return cores that send to all and to the host in every step."""
    everywhere = [0, spec.width - 1, 0, spec.height - 1]
    fanout = [[*everywhere, 0, False], [0, 0, spec.height, spec.height, 0, True]]
    core = make_core(
        [[1, 1, -1]], bias=5, fanout=fanout, schedule=[[2, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 0, 1]]
    )
    return make_system(spec, *[core] * spec.cores)


def silence(steps: int) -> Stimulus:
    """Return steps without a packet."""
    return make_stimulus(steps)


def verified(image: SystemImage, stimulus: Stimulus) -> RunResult:
    """Return what oracle, emulator and hardware agree on."""
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert diff(run_oracle(image, stimulus, cycles=True), expected) is None
    assert (
        diff(run_oracle(image, stimulus, cycles=False), Machine(image).run(stimulus, potentials=True)) is None
    )
    result = run_pysim(prepare(image, stimulus, expected, phases=2))
    assert not isinstance(result, BenchError), result
    assert diff(expected, result) is None
    return result


@pytest.mark.parametrize("spec", [ONE, TWO])
@pytest.mark.parametrize(("period", "taken"), [(2, 1), (5, 1), (4, 3)])
def test_slow_host_costs_cycles_and_nothing_else(spec: SystemSpec, period: int, taken: int) -> None:
    image, fast = busy(spec), silence(6)
    slow = dataclasses.replace(fast, host=HostPace(period=period, taken=taken))
    quick, late = verified(image, fast), verified(image, slow)
    assert late.elapsed is not None
    assert quick.elapsed is not None
    assert late.elapsed > quick.elapsed
    assert np.array_equal(late.outputs, quick.outputs)
    assert np.array_equal(late.spikes, quick.spikes)


def strays(*rows: tuple[int, int, int, int]) -> Stimulus:
    """Return control packets, each of a step, x0, x1 and kind."""
    table = np.array([(step, x0, x1, 0, 0, 3, 1) for step, x0, x1, _ in rows], np.int64)
    return Stimulus(steps=4, step=table[:, 0], packet=table[:, 1:], kind=np.array([row[3] for row in rows]))


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 7])
def test_control_packet_right_behind_a_token_is_an_error(kind: int) -> None:
    stimulus = strays((1, 0, 0, kind), (2, 0, 1, kind))
    result = verified(busy(TWO), stimulus)
    assert result.counters["errors"].tolist() == [2, 1]
    status = expected_status(busy(TWO), stimulus, result)
    cause = ErrorCause.KIND if kind == 7 else ErrorCause.RUNNING
    assert status[:, 0].tolist() == [1 << cause] * 2


def test_control_packet_to_nowhere_is_lost_at_a_router() -> None:
    result = verified(busy(TWO), strays((1, 1, 0, Kind.WRITE)))
    assert (result.counters["errors"].tolist(), result.total("router_errors")) == ([0, 0], 1)


def test_stimulus_with_impossible_control_packets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^kind must be 0, 2\.\.5 or 7, not 6\.$"):
        strays((1, 0, 0, 6))
    with pytest.raises(ValueError, match=r"^step of a control packet must be at least 1, not 0\.$"):
        strays((0, 0, 0, 4))
    with pytest.raises(ValueError, match=r"^kind must have 1 entries, one a packet, not 2\.$"):
        dataclasses.replace(strays((1, 0, 0, 4)), kind=np.array([4, 4]))
    out = dataclasses.replace(strays((1, 0, 0, 4)), packet=np.array([[0, 0, 0, 1, 0, 0]]))
    with pytest.raises(
        ValueError, match=r"^Stimulus packet 0: a control packet must not go to the gateway\.$"
    ):
        Machine(busy(TWO)).run(out)
    with pytest.raises(ValueError, match=r"^taken must be 1\.\.3, the period, not 4\.$"):
        HostPace(period=3, taken=4)


@pytest.mark.parametrize("crossings", [7, 8, 20, 127, 128, 255])
def test_neuron_crosses_any_number_of_thresholds(crossings: int) -> None:
    spec = SystemSpec(core=LONG, width=1, height=1)
    core = make_core(
        [[1]],
        bias=crossings,
        reset=0,
        emission=Emission.COUNT,
        thresholds=range(1, 256),
        fanout=[[0, 0, 1, 1, 0, True]],
        schedule=[[1, 0, 1, 1, 1, 0, 255]],
    )
    result = verified(make_system(spec, core), silence(2))
    assert result.spikes[:, 3].tolist() == [crossings] * 2
    assert result.outputs[:, 2].tolist() == [crossings] * 2


@pytest.mark.parametrize(
    ("core", "strengths"),
    [
        (preset("tiny"), 1),
        (preset("tiny"), 4),
        (LONG, 1),
        (WIDE, 3),
        (LEAST, 1),
        (LEAST_OF_EIGHT, 8),
        (ODD, 5),
    ],
    ids=["tiny-1", "tiny-4", "long-1", "wide-3", "least-1", "least-8", "odd-5"],
)
def test_program_that_fills_every_memory(core: CoreSpec, strengths: int, seed: int) -> None:
    image, stimulus = full_system(seed, SystemSpec(core=core, width=1, height=1), strengths)
    result = verified(image, stimulus)
    assert image.cores[0] is not None
    assert set(result.spikes[:, 2].tolist()) >= {0, image.cores[0].neurons - 1}


def test_status_that_differs_is_told() -> None:
    expected = [1 << ErrorCause.AXON | 1 << ErrorCause.RUNNING, 1 << ErrorCause.NONE, 1, 0]
    assert status_fault(2, expected, [ErrorCause.RUNNING, 0, 1, 0]) is None
    told = status_fault(2, expected, [ErrorCause.KIND, 0, 1, 0])
    assert told == "core 2 tells the first cause 2, expected axon or running"
    told = status_fault(2, expected, [ErrorCause.AXON, ErrorCause.DESTINATION, 1, 0])
    assert told == "router 2 tells the first cause 5, expected none"
    told = status_fault(2, expected, [ErrorCause.AXON, 0, 1, 1])
    assert told == "core 2 is at schedule entry and repetition [1, 1], not [1, 0]"
    assert status_fault(2, [*expected[:2], -1, -1], [ErrorCause.AXON, 0, 3, 3]) is None


def test_position_of_a_schedule_is_read_back() -> None:
    image = busy(ONE)
    for steps, position in ((1, [0, 1]), (2, [1, 0]), (3, [0, 0]), (7, [0, 1])):
        stimulus = silence(steps)
        assert expected_status(image, stimulus, verified(image, stimulus))[0, 2:].tolist() == position


@pytest.mark.parametrize("told", [(0, 0, 0, 0, 0), (1, 0, 0, 2, 0), (1, 0, 0, 1, 5)])
def test_knock_refuses_a_wrong_answer(told: tuple[int, ...]) -> None:
    answers = [list(told[:3]), list(told[3:])]

    def read(*_: Any) -> Any:
        session.gateway.replies = answers.pop(0)
        yield from ()

    job = SimpleNamespace(spec=TWO, seed=0)
    session: Any = SimpleNamespace(
        job=job, gateway=SimpleNamespace(replies=[]), read=read, failure=BenchError
    )
    with pytest.raises(BenchError, match=r"^after reset core \d tells errors and causes "):
        list(_Knock(session)._ask(1, 0, 0, ErrorCause.AXON, 0))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kept", [0, 4096])
def test_membrane_holds_potential_bias_and_drive_together(sign: int, kept: int) -> None:
    spec = SystemSpec(core=WIDE, width=1, height=1)
    extreme = WIDE.potential_max if sign > 0 else WIDE.potential_min
    strengths = [2047] * 3 if sign > 0 else [-2048] * 3
    core = make_core(
        np.ones((WIDE.axons, 3)),
        strengths=strengths,
        bias=extreme,
        potential=extreme,
        current=extreme,
        current_kept=kept,
        thresholds=[WIDE.never],
    )
    packets = np.array([[0, 0, 0, 0, axon, WIDE.payload_max] for axon in range(WIDE.axons)])
    result = verified(
        make_system(spec, core), Stimulus(steps=1, step=np.zeros(WIDE.axons, np.int64), packet=packets)
    )
    assert result.state["potential"].tolist() == [extreme]
    assert result.state["current"].tolist() == [extreme if kept else 0]
    assert result.total("saturations") == (2 if kept else 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_signed_ladder_counts_to_both_ends(sign: int) -> None:
    spec = SystemSpec(core=BLOCK, width=1, height=1)
    core = make_core(
        [[1]],
        bias=sign * 500,
        reset=Reset.SUBTRACT,
        emission=Emission.COUNT,
        signed=True,
        ladders=[[0, 3 << BLOCK.fraction_bits, 0, 0]],
        fanout=[[0, 0, 1, 1, 0, True]],
        schedule=[[1, 0, 1, 1, 1, -BLOCK.payload_min, BLOCK.payload_max]],
    )
    result = verified(make_system(spec, core), silence(2))
    count = BLOCK.payload_max if sign > 0 else BLOCK.payload_min
    assert result.outputs.tolist() == [[0, 0, count], [1, 0, count]]


def test_neuron_that_fires_once_stays_silent_until_it_begins_anew() -> None:
    spec = SystemSpec(core=BLOCK, width=1, height=1)
    core = make_core(
        [[1]],
        bias=3,
        reset=Reset.ZERO,
        refractory_period=BLOCK.refractory_max,
        schedule=[[1, 1, 1, 1, 1, 0, 1], [6, 0, 1, 1, 1, 0, 1]],
    )
    result = verified(make_system(spec, core), silence(9))
    assert result.spikes.tolist() == [[0, 0, 0, 1], [7, 0, 0, 1]]
    assert result.state["refractory"].tolist() == [BLOCK.refractory_max]


@pytest.mark.parametrize("extension", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_every_axon_of_an_extended_row_meets_its_own_cells(extension: int, k: int) -> None:
    spec = SystemSpec(core=DIGITS, width=1, height=1)
    axons, neurons = 3 * extension, DIGITS.lanes // k * (DIGITS.words // extension)
    cells = np.random.default_rng(k).integers(-1, 2, (axons, neurons * k))
    core = make_core(cells, extension=extension, strengths=[4**d for d in range(k)], reset=0, thresholds=[99])
    packets = np.array([[0, 0, 0, 0, axon, axon + 1] for axon in range(axons)])
    result = verified(
        make_system(spec, core), Stimulus(steps=1, step=np.zeros(axons, np.int64), packet=packets)
    )
    sums = ((np.arange(axons) + 1) @ cells).reshape(neurons, k) @ (4 ** np.arange(k))
    assert result.state["potential"].tolist() == sums.tolist()
    assert result.total("crossbar_words") == axons * core.blocks(spec)


def test_neuron_sends_a_packet_for_each_of_twenty_crossings() -> None:
    core = make_core(
        [[1]],
        bias=20,
        reset=0,
        thresholds=range(1, 25),
        fanout=[[0, 0, 1, 1, 0, True]],
        schedule=[[1, 0, 1, 1, 1, 0, 24]],
    )
    result = verified(make_system(ONE, core), silence(1))
    assert result.outputs[:, 1].tolist() == list(range(20))


def test_spikes_that_the_chip_miscounted_are_told() -> None:
    image, stimulus = busy(ONE), strays((1, 0, 0, 5))
    session = Session(prepare(image, stimulus, Machine(image).run(stimulus, cycles=True, potentials=True)))
    session._passed = 1 | 2 << 48
    with pytest.raises(
        BenchError, match=r"^the chip counted \(1, 2\) spikes in and out since reset, not \(0, 0\)$"
    ):
        session._check_passed()
