# SPDX-License-Identifier: Apache-2.0
"""The chip: who is joined to whom, and what must hold when the host is not always ready."""

import numpy as np
import pytest

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import RunResult, Stimulus, compared, diff
from rtl.chip import Chip
from sim_tests.bench.amaranth_engine import play
from sim_tests.bench.block_player import widths
from sim_tests.bench.job import BenchJob, prepare
from sim_tests.bench.session import Drive, Pins, Session
from sim_tests.generators.pool import LEAST, WIDE
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

TINY = preset("tiny")


def sizes(width: int, height: int) -> SystemSpec:
    return SystemSpec(core=TINY, width=width, height=height)


class Busy(Session):
    """A session whose host takes nothing in a share of the cycles of its run."""

    def __init__(self, job: BenchJob, seed: int, busy: float) -> None:
        super().__init__(job)
        self._rng, self._busy = np.random.default_rng(seed), busy

    def cycle(self, pins: Pins) -> Drive:
        """Spend a cycle."""
        if not self.reset:
            self.accept = bool(self._rng.random() >= self._busy)
        return super().cycle(pins)


def simulate(image: SystemImage, stimulus: Stimulus, seed: int, busy: float) -> RunResult:
    """Run a system in pysim; in a share ``busy`` of the cycles the host takes nothing."""
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    session = Busy(prepare(image, stimulus, expected), seed, busy)
    play(session)
    expected, result = Machine(image).run(stimulus, potentials=True), session.result("pysim")
    assert compared(expected, result) > 0
    assert diff(expected, result) is None
    return result


@pytest.mark.parametrize(("number", "busy"), [(0, 0.5), (1, 0.9), (2, 0.7)])
def test_random_mesh_computes_the_same_whatever_the_host_takes(number: int, busy: float, seed: int) -> None:
    image, stimulus = random_system(seed % 1000 + number, max_width=2, steps=6)
    simulate(image, stimulus, seed, busy)


def ring() -> tuple[SystemImage, Stimulus]:
    """Four cores that hand one spike round clockwise, each telling the host."""
    order = [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]]
    cores = [
        make_core([[1]], fanout=[[*place, 0, False], [0, 0, 2, 2, i, True]]) for i, place in enumerate(order)
    ]
    return make_system(sizes(2, 2), *cores), make_stimulus(6, [(0, 0, 0, 0, 0, 0, 1)])


@pytest.mark.parametrize("busy", [0.8])
def test_spike_goes_once_around_in_one_step_each(busy: float, seed: int) -> None:
    result = simulate(*ring(), seed, busy)
    assert [row[1] for row in result.spikes.tolist()] == [0, 1, 3, 2, 0, 1]
    assert [row[:2] for row in result.outputs.tolist()] == [[0, 0], [1, 1], [2, 3], [3, 2], [4, 0], [5, 1]]
    assert (result.total("deliveries"), result.total("errors")) == (6 + 1, 0)


def test_every_core_hears_the_gateway_and_is_heard(seed: int) -> None:
    cores = [make_core([[1]], fanout=[[0, 0, 2, 2, i, True]]) for i in range(4)]
    rows = [(i, i % 2, i % 2, i // 2, i // 2, 0, 1) for i in range(4)]
    result = simulate(make_system(sizes(2, 2), *cores), make_stimulus(4, rows), seed, 0.3)
    assert result.outputs.tolist() == [[0, 0, 1], [1, 1, 1], [2, 2, 1], [3, 3, 1]]
    assert result.total("hops") == sum(x + y + x + (2 - y) for y in range(2) for x in range(2))


@pytest.mark.slow
def test_tokens_leave_the_middle_by_four_sides_at_once(seed: int) -> None:
    """The core in the middle is the last to send its token: all neighbours wait for it."""
    spec = SystemSpec(core=LEAST, width=3, height=3)
    slow = make_core([[1] * 8])
    image = make_system(spec, *[slow if core == 4 else None for core in range(9)])
    result = simulate(image, make_stimulus(1), seed, 0.0)
    assert result.counters["token_hops"].tolist() == [4, 6, 4, 6, 8, 6, 6, 6, 4]


def test_copies_lost_in_one_cycle_are_all_counted(seed: int) -> None:
    # The last router of a single row has nothing to its east and nothing to its south.
    image = make_system(sizes(3, 1), *[make_core([[1]])] * 3)
    result = simulate(image, make_stimulus(1, [(0, 2, 3, 0, 1, 0, 1)] * 2), seed, 0.0)
    assert result.counters["router_errors"].tolist() == [0, 0, 4]


def test_packets_beyond_the_mesh_are_lost_where_the_contract_says(seed: int) -> None:
    """The host names a column and rows that a flit has and a chip of 1 x 2 has not."""
    places = [(0, 1, 0, 3), (1, 1, 0, 1), (0, 0, 3, 3), (1, 1, 3, 3), (0, 1, 2, 2)]
    spec = SystemSpec(core=LEAST, width=1, height=2)
    image = make_system(spec, *[make_core([[1]], thresholds=[LEAST.never])] * 2)
    stimulus = make_stimulus(1, [(0, *place, 0, 1) for place in places])
    result = simulate(image, stimulus, seed, 0.0)
    assert (result.counters["router_errors"].tolist(), len(result.outputs)) == ([4, 0], 3)
    assert diff(run_oracle(image, stimulus, cycles=True), result) is None


def test_wide_core_computes_the_same(seed: int) -> None:
    image, stimulus = random_system(seed % 100, max_width=1, max_height=1, core=WIDE, steps=4)
    simulate(image, stimulus, seed, 0.5)


def test_observe_ports_are_there_on_demand_only() -> None:
    chip = Chip(sizes(2, 1), observe=True)
    assert widths(chip, "observe_potential", "observe_neuron", "observe_activity", "stimulus") == [
        24,
        10,
        6,
        48,
    ]
    plain = Chip(sizes(2, 1))
    assert widths(plain, "outputs") == [48]
    assert set(plain.signature.members) == {"host_i", "host_o", "stimulus", "outputs"}
