# SPDX-License-Identifier: Apache-2.0
"""The oracle against values worked out by hand, one tiny program for each rule of the contract."""

import re
from typing import Any

import numpy as np
import pytest

from emu.image import CoreImage, SystemImage
from emu.loading import all_cores
from emu.spec import SystemSpec, preset
from emu.trace import ACTIVITY_COUNTERS, RunResult, Stimulus, diff
from emu.words import Emission
from sim_tests.generators.coverage import coverage, require_coverage
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.cycles import Chip, CoreMachine, Router
from sim_tests.oracle.machine import run_oracle, stimulus_flits
from sim_tests.oracle.rules import Core, E, Flit, L, Mesh, N, S, W, wanted

ONE = SystemSpec(core=preset("tiny"), width=1, height=1)
TWO = SystemSpec(core=preset("tiny"), width=2, height=1)
SQUARE = SystemSpec(core=preset("tiny"), width=2, height=2)
HIGH, LOW, NEVER = ONE.core.potential_max, ONE.core.potential_min, ONE.core.never
SILENT = [1, 0, 1, 1, 0, 0, 0]
FOUR = [0, 0, 1, 1, 0, True]
SEEDS = range(60)


def single(core: CoreImage | None, *events: tuple[int, int, int], steps: int = 1) -> RunResult:
    """Run one core without time; events are step, axon, payload."""
    rows = [(step, 0, 0, 0, 0, axon, payload) for step, axon, payload in events]
    return run_oracle(make_system(ONE, core), make_stimulus(steps, rows), cycles=False)


def stored(result: RunResult) -> list[int]:
    """Return every stored potential in order."""
    assert result.potentials is not None
    values: list[int] = result.potentials[:, 3].tolist()
    return values


@pytest.mark.parametrize(("values", "expected"), [((3, -2), 3), ((-2, 3), 3), ((-5, -2), -2), ((-2, -5), -2)])
def test_rule_1_axon_holds_the_signed_maximum_in_any_order(values: tuple[int, int], expected: int) -> None:
    result = single(make_core([[1]], schedule=[SILENT]), *((0, 0, value) for value in values))
    assert (stored(result), result.total("merges"), result.total("deliveries")) == ([expected], 1, 2)


def test_rule_1_spike_is_integrated_one_step_later() -> None:
    core = make_core([[1]], bias=0, fanout=[[0, 0, 0, 0, 0, True]])
    assert single(core, (0, 0, 1), steps=3).spikes[:, 0].tolist() == [0, 1, 2]


def test_rule_2_disabled_core_takes_every_spike_as_an_error() -> None:
    result = single(None, (0, 0, 1), (0, 5, 1))
    assert (result.total("errors"), result.total("deliveries"), stored(result)) == (2, 0, [])


def test_rules_3_and_9_schedule_repeats_and_returns_to_its_start() -> None:
    schedule = [[2, 0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    result = single(make_core([[0]], bias=5, v0=-1, schedule=schedule), steps=5)
    assert stored(result) == [5, 10, -1, 4, 9]


def test_rule_4_every_cell_that_is_not_zero_is_one_operation() -> None:
    core = make_core([[1, -1, 0], [1, 1, 0]], schedule=[SILENT])
    result = single(core, (0, 0, -8), (0, 1, 0))
    assert (stored(result), result.total("synaptic_operations")) == ([-8, 8, 0], 4)


def test_rule_4_events_of_a_step_without_integrate_are_lost() -> None:
    core = make_core([[1]], schedule=[[1, 0, 0, 1, 0, 0, 0], SILENT])
    result = single(core, (0, 0, 7), steps=2)
    assert (stored(result), result.total("synaptic_operations")) == ([0, 0], 0)


def test_rule_5_no_neuron_is_visited_without_init_update_or_fire() -> None:
    result = single(make_core([[1]], bias=3, potential=9, schedule=[[1, 0, 0, 0, 0, 0, 0]]), (0, 0, 1))
    assert (stored(result), result.total("neuron_updates"), result.state["potential"].tolist()) == (
        [],
        0,
        [9],
    )
    assert result.total("synaptic_operations") == 0


@pytest.mark.parametrize(
    ("reset", "init", "expected"), [(0, 0, 2), (1, 0, 12), (2, 0, 12), (0, 1, 102), (1, 1, 102), (2, 1, 102)]
)
def test_rule_6_base_is_v0_or_nothing_or_the_stored_potential(reset: int, init: int, expected: int) -> None:
    core = make_core([[0]], bias=2, v0=100, potential=10, reset=reset, schedule=[[1, init, 1, 1, 0, 0, 0]])
    assert stored(single(core)) == [expected]


def test_rule_6_drive_is_the_sum_of_strength_times_column_sum() -> None:
    core = make_core([[1, -1, 0], [1, 1, 1]], strengths=[1, -3, 100], schedule=[SILENT])
    assert stored(single(core, (0, 0, 2), (0, 1, 5))) == [7 * 1 + 3 * -3 + 5 * 100]


@pytest.mark.parametrize(
    ("start", "bias", "end"), [(HIGH, 1, HIGH), (LOW, -1, LOW), (HIGH, 0, HIGH), (HIGH, LOW, -1)]
)
def test_rule_6_potential_saturates_both_ways(start: int, bias: int, end: int) -> None:
    result = single(make_core([[0]], bias=bias, potential=start, schedule=[SILENT]))
    assert (stored(result), result.total("saturations")) == ([end], int(start + bias != end))


@pytest.mark.parametrize(("reset", "end"), [(0, 10), (1, 0), (2, 4)])
def test_rule_7_reset_uses_the_last_crossed_threshold(reset: int, end: int) -> None:
    core = make_core(
        [[0]], bias=10, reset=reset, thresholds=[8, 11, 6, NEVER], schedule=[[1, 0, 1, 1, 1, 0, 4]]
    )
    result = single(core)
    assert (stored(result), result.spikes.tolist()) == ([end], [[0, 0, 0, 2]])


def test_rule_7_compares_a_run_of_the_own_list() -> None:
    core = make_core(
        [[0, 0]],
        bias=5,
        reset=0,
        thresholds=[9, 9, 5, 4, 9],
        threshold_base=[0, 1],
        schedule=[[1, 0, 0, 1, 1, 1, 2]],
    )
    assert single(core).spikes.tolist() == [[0, 0, 0, 1], [0, 0, 1, 2]]


def test_rule_7_subtraction_saturates() -> None:
    result = single(make_core([[0]], bias=HIGH, thresholds=[LOW]))
    assert (stored(result), result.total("saturations"), result.total("spikes")) == ([HIGH], 1, 1)


def test_rule_7_fire_without_thresholds_crosses_none() -> None:
    core = make_core([[0]], bias=9, thresholds=[0], schedule=[[1, 0, 1, 1, 1, 0, 0]])
    assert single(core).total("spikes") == 0


@pytest.mark.parametrize(
    ("emission", "packets"),
    [
        (Emission.COUNT, [[0, 4, 2], [0, 9, 2]]),
        (Emission.UNARY, [[0, 4], [0, 5], [0, 9], [0, 10]]),
        (Emission.CONSTANT, [[0, 4, -5], [0, 9, -5]]),
    ],
)
def test_rule_8_emission_is_one_count_or_a_packet_for_each_crossing(
    emission: Emission, packets: list[list[int]]
) -> None:
    fanout = [[0, 0, 0, 0, 0, True], [0, 0, 1, 1, 4, False], [0, 0, 1, 1, 9, True], [0, 0, 1, 1, 30, True]]
    core = make_core(
        [[0]], bias=2, reset=0, thresholds=[1, 2, 3], emission=emission, fanout=fanout, fanout_base=1,
        schedule=[[1, 0, 0, 1, 1, 0, 3, 0, -5]],
    )  # fmt: skip
    result = single(core)
    assert result.outputs.tolist() == [[*row, 1][:3] for row in packets]
    assert (result.total("packets"), result.total("hops")) == (len(packets), len(packets))


def test_rule_8_neuron_that_is_not_connected_sends_nothing() -> None:
    result = single(make_core([[0]], bias=2, fanout=[[0, 0, 1, 1, 0, True]], connected=False))
    assert (result.total("spikes"), result.total("packets")) == (1, 0)


def test_pause_token_starts_no_step() -> None:
    core = make_core([[0]], bias=1, thresholds=[NEVER])
    result = run_oracle(make_system(TWO, core, None), make_stimulus(2), cycles=True)
    assert result.gateway is not None
    assert result.finish is not None
    assert (len(result.gateway), len(result.finish), stored(result)) == (3, 2, [1, 2])


def test_receiving_axon_outside_is_one_error() -> None:
    result = single(make_core([[1], [1]], schedule=[SILENT]), (0, 1, 1), (0, 2, 1), (0, 31, 1))
    assert (result.total("errors"), result.total("deliveries")) == (2, 1)


@pytest.mark.parametrize(
    ("i", "rectangle", "outputs"),
    [
        (L, (0, 2, 0, 2), {N, E, S, W, L}),
        (W, (0, 2, 0, 2), {N, E, S, L}),
        (E, (0, 2, 0, 2), {N, S, W, L}),
        (N, (0, 2, 0, 2), {S, L}),
        (S, (0, 2, 0, 2), {N, L}),
        (L, (2, 2, 1, 1), {E}),
        (L, (1, 1, 1, 1), {L}),
        (W, (2, 1, 1, 1), set()),
    ],
)
def test_wanted_outputs_of_the_middle_router(
    i: int, rectangle: tuple[int, int, int, int], outputs: set[int]
) -> None:
    assert wanted(i, 1, 1, rectangle) == outputs


def test_copy_outside_the_mesh_is_a_router_error() -> None:
    core = make_core([[1]], schedule=[SILENT])
    stimulus = make_stimulus(1, [(0, 0, 1, 0, 2, 0, 1), (0, 1, 0, 0, 0, 0, 1)])
    result = run_oracle(make_system(SQUARE, core, core, core, core), stimulus, cycles=True)
    assert result.counters["router_errors"].tolist() == [1, 0, 0, 1]
    assert (result.total("deliveries"), result.outputs.tolist()) == (4, [[-1, 0, 1]])


FI, FW = ONE.core.integrate_fill, ONE.core.walk_fill


@pytest.mark.parametrize("events", [0, 1, 3])
@pytest.mark.parametrize("g", [0, 1, 4, 5, 9])
@pytest.mark.parametrize(("neurons", "blocks"), [(0, ()), (2, (2,)), (4, (4,)), (5, (4, 1)), (16, (4,) * 4)])
def test_cycles_of_a_silent_step_follow_the_formula(events: int, g: int, neurons: int, blocks: Any) -> None:
    k = 2
    schedule = [[1, 0, 1, 1, 1, 0, g]]
    core = make_core(np.ones((4, neurons * k)), strengths=[1] * k, thresholds=[NEVER] * g, schedule=schedule)
    stimulus = make_stimulus(1, [(0, 0, 0, 0, 0, axon, 1) for axon in range(events)])
    result = run_oracle(make_system(ONE, core), stimulus, cycles=True)
    words = max(1, -(-g // 4))
    walk = [FW + k + words - 2 + (n - 1) * max(k, words) for n in blocks]
    assert result.finish is not None
    assert result.total("integrate") == len(blocks) * (events + FI)
    assert result.total("update") == sum(walk)
    assert result.finish[0, 0] == 3 + result.total("integrate") + result.total("update") + 1
    assert result.total("crossbar_words") == events * len(blocks)
    assert result.total("thresholds") == neurons * g


@pytest.mark.parametrize(
    ("entry", "update"),
    [([1, 1, 0, 0, 0, 0, 0], FW), ([1, 0, 0, 0, 1, 0, 2], FW), ([1, 0, 0, 0, 0, 0, 0], 0)],
)
def test_cycles_of_a_step_without_integrate(entry: list[int], update: int) -> None:
    core = make_core([[1]], thresholds=[NEVER, NEVER], schedule=[entry])
    result = run_oracle(make_system(ONE, core), make_stimulus(1, [(0, 0, 0, 0, 0, 0, 1)]), cycles=True)
    assert (result.total("integrate"), result.total("update")) == (0, update)


@pytest.mark.parametrize("packets", [1, 3])
def test_a_sender_waits_for_the_emitter_and_the_others_with_it(packets: int) -> None:
    fanout = [[*FOUR[:5], index == packets - 1] for index in range(packets)]
    core = make_core(
        [[0] * 4], bias=[0, 1, 1, 0], thresholds=[1], reset=0, fanout=fanout, schedule=[[1, 0, 0, 1, 1, 0, 1]]
    )
    image = make_system(TWO, core, None)
    result = run_oracle(image, make_stimulus(1), cycles=True)
    # Neuron 1 reaches the emitter one cycle after neuron 0, neuron 2 when it is free, neuron 3 behind it.
    first = FW
    second = first + 1
    third = max(second + 1, second + packets)
    last = max(third + 1, third + packets - 1)
    assert result.total("send_stall") == 0
    assert result.total("update") == last


def test_burst_waits_for_its_router() -> None:
    fanout = [[*FOUR[:5], index == 3] for index in range(4)]
    schedule = [[1, 0, 0, 1, 1, 0, 5]]
    burst = make_core([[0]], reset=0, thresholds=[0] * 5, fanout=fanout, schedule=schedule)
    result = run_oracle(make_system(TWO, burst, burst), make_stimulus(2), cycles=True)
    assert result.total("send_stall") > 0
    assert len(result.outputs) == 2 * 2 * len(fanout) * 5


@pytest.mark.parametrize("seed", SEEDS)
def test_result_does_not_depend_on_order_or_time(seed: int) -> None:
    image, stimulus = random_system(seed)
    ordered = run_oracle(image, stimulus, cycles=False)
    assert diff(ordered, run_oracle(image, stimulus, cycles=False, shuffle=seed)) is None
    assert diff(ordered, run_oracle(image, stimulus, cycles=True)) is None


def test_functional_run_has_no_cycles() -> None:
    result = single(make_core([[1]]))
    assert (result.mode, result.engine, result.finish, result.elapsed) == ("functional", "oracle", None, None)
    assert not set(ACTIVITY_COUNTERS) & set(result.counters)
    assert (
        run_oracle(make_system(ONE, None), make_stimulus(1), cycles=False, potentials=False).potentials
        is None
    )


def busy() -> tuple[SystemImage, Stimulus]:
    """Return a system in which packets and tokens are in each other's way."""
    return random_system(10)


def run_chip(image: SystemImage, stimulus: Stimulus) -> Chip:
    """Run with cycles and return the chip for a look inside."""
    cores = [Core(index, program, image.spec.core) for index, program in enumerate(image.cores)]
    chip = Chip(Mesh(width=image.spec.width, height=image.spec.height), cores)
    chip.run([[stimulus_flits(stimulus, step, 0)] for step in range(stimulus.steps)], all_cores(image.spec))
    return chip


def test_self_check_finds_a_doubled_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = CoreMachine.accept

    def twice(self: CoreMachine, flit: Flit) -> None:
        accept(self, flit)
        if not flit.is_token:
            accept(self, flit)

    monkeypatch.setattr(CoreMachine, "accept", twice)
    with pytest.raises(AssertionError, match="delivered exactly once"):
        run_chip(*busy())


def test_self_check_finds_a_lost_flit(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Core.receive

    def lossy(self: Core, flit: Flit) -> None:
        if flit.axon % 7:
            receive(self, flit)

    monkeypatch.setattr(Core, "receive", lossy)
    with pytest.raises(AssertionError, match="delivered exactly once"):
        run_chip(*busy())


def test_self_check_finds_mixed_steps_without_the_blocking_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    cycle = Router.cycle

    def hasty(self: Router, ready: set[int], counts: Any) -> tuple[dict[int, Flit], bool]:
        for o in self.outputs:  # forget, for spikes only, which inputs were taken
            waiting = {i for i in self.inputs if self.fifo[i] and not self.fifo[i][0].is_token}
            missing = self.taken[o] & waiting if len(self.taken[o]) < 3 else set()
            self.taken[o] -= missing
        return cycle(self, ready, counts)

    monkeypatch.setattr(Router, "cycle", hasty)
    with pytest.raises(AssertionError, match="step after its emission"):
        run_chip(*busy())


def test_random_system_is_a_function_of_its_seed() -> None:
    first, second, other = (random_system(seed) for seed in (4, 4, 5))
    assert first[0].digest == second[0].digest != other[0].digest
    assert np.array_equal(first[1].packet, second[1].packet)


def test_random_system_keeps_the_asked_limits() -> None:
    for seed in SEEDS:
        image, stimulus = random_system(seed, max_width=2, max_height=1, core=preset("tiny"), steps=4)
        assert (image.spec.width <= 2, image.spec.height, stimulus.steps) == (True, 1, 4)
    image, _ = random_system(0, core=preset("small"), steps=6)
    assert image.spec == SystemSpec(core=preset("small"), width=2, height=2)


def test_make_core_names_an_unknown_field() -> None:
    with pytest.raises(
        TypeError, match=re.escape("a core has no field 'weight'; see docs/reference/image.md")
    ):
        make_core([[1]], weight=1)


def batch() -> list[dict[str, float]]:
    """Return the coverage of all seeds."""
    return [coverage(*system, run_oracle(*system, cycles=True)) for system in map(random_system, SEEDS)]


def test_coverage_of_the_seeds_reaches_every_corner() -> None:
    require_coverage(batch())


def test_require_coverage_names_what_a_batch_missed() -> None:
    shares = [entry | {"saturation": 0.0, "merges": 0.0} for entry in batch()[:15]]
    with pytest.raises(AssertionError, match=r"missed: (.*, )?merges, saturation"):
        require_coverage(shares)
    with pytest.raises(AssertionError, match="at least one run"):
        require_coverage([])
