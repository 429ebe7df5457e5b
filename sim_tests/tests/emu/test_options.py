# SPDX-License-Identifier: Apache-2.0
"""The options of a core and the pace of its walk, worked out by hand from the contract, in both modes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from emu.spec import CoreSpec, SystemSpec
from emu.trace import RunResult
from emu.words import Emission, Reset
from sim_tests.generators.pool import DEEP
from sim_tests.generators.systems import make_core, make_stimulus, make_system
from sim_tests.tests.emu.test_machine import TINY, both

Rows = Sequence[tuple[int, int, int]]
OUT = [[0, 0, 1, 1, 0, True]]
FIRE = [1, 0, 1, 1, 1, 0, 1]
F = TINY.fraction_bits
NEVER = {"thresholds": [TINY.never]}


def run(core: Any, rows: Rows = (), *, steps: int = 1, spec: CoreSpec = TINY) -> RunResult:
    """Run one core; ``rows`` are step, axon, payload."""
    packets = [(step, 0, 0, 0, 0, axon, payload) for step, axon, payload in rows]
    image = make_system(SystemSpec(core=spec, width=1, height=1), core)
    return both(image, make_stimulus(steps, packets))


def stored(result: RunResult, column: int) -> list[int]:
    """Return a column of the state that the only neuron stored, by step: 3 is V, 4 U, 5 the count."""
    assert result.visits is not None
    return [int(value) for value in result.visits[:, column]]


def test_digits_make_one_weight() -> None:
    # 1 x 1 - 1 x 3 + 1 x 9 = 7, and 0 + 3 + 0; three neurons of three columns take two blocks of 8 lanes.
    cells = [[1, -1, 1, 0, 1, 0, 0, 0, 0], [0, 0, -1, 0, 0, 0, 1, 1, 1]]
    core = make_core(cells, strengths=[1, 3, 9], **NEVER)
    result = run(core, [(0, 0, 2), (0, 1, -1)])
    assert result.state["potential"].tolist() == [14 + 9, 6, -13]
    assert (result.total("synaptic_operations"), result.total("crossbar_words")) == (8, 2 * 2)


def test_digits_of_the_largest_strengths() -> None:
    core = make_core([[-1, -1]], strengths=[-2048, -2048], **NEVER)
    assert run(core, [(0, 0, -8)]).state["potential"].tolist() == [TINY.potential_min]
    core = make_core([[-1, 1]], strengths=[2047, 2046], **NEVER)
    assert run(core, [(0, 0, 7)]).state["potential"].tolist() == [-7]


@pytest.mark.parametrize("payloads", [[-3], [-3, -4], [-8, -3]])
def test_axon_shift_acts_on_the_merged_value(payloads: list[int]) -> None:
    core = make_core([[1], [1]], shifts=[0, 3], **NEVER)
    result = run(core, [(0, 0, 1), *[(0, 1, payload) for payload in payloads]])
    assert result.state["potential"].tolist() == [1 - 3 * 8]


def test_extension_makes_two_axons_of_a_row() -> None:
    # Axons 0 and 1 are row 0, axons 2 and 3 row 1, which is shifted by 2.
    core = make_core([[1, 0], [0, 1], [1, 0], [0, -1]], extension=2, shifts=[0, 2], thresholds=[DEEP.never])
    result = run(core, [(0, axon, 3) for axon in range(4)], spec=DEEP)
    assert result.state["potential"].tolist() == [3 + 12, 3 - 12]


def ladder(v: list[int], row: list[int], *, first: int = 0, count: int = 7, **fields: Any) -> RunResult:
    """Return the result of one step of neurons that begin at ``v``."""
    schedule = [[1, 0, 0, 1, 1, first, count, *fields.pop("numbers", ())]]
    core = make_core(np.zeros((1, len(v))), potential=v, ladders=[row], schedule=schedule, **fields)
    return run(core)


def counts(result: RunResult, neurons: int) -> list[int]:
    """Return c of every neuron in step 0."""
    found = dict.fromkeys(range(neurons), 0) | {i: c for _, _, i, c in result.spikes.tolist()}
    return list(found.values())


def test_ladder_rounds_its_thresholds_down() -> None:
    # T_j = 10 + floor(5.5 j): 15, 21, 26, 32, 37, 43, 48.
    v = [14, 15, 20, 21, 26, 31, 32, 47, 48, 2047]
    result = ladder(v, [10, 11 << F - 1, 0, 0])
    assert counts(result, 10) == [0, 1, 1, 2, 3, 3, 4, 6, 7, 7]
    assert result.state["potential"].tolist() == [14, 0, 5, 0, 0, 5, 0, 4, 0, 2047 - 48]
    assert (result.total("thresholds"), result.total("spikes")) == (10, 34)
    assert counts(ladder(v, [10, 11 << F - 1, 0, 0], count=3), 10) == [0, 1, 1, 2, 3, 3, 3, 3, 3, 3]


def test_ladder_with_ties_to_even() -> None:
    # Step 1, offset 240 / 256: T_j = j + floor(240 / 256 + 16 / 256 if j is odd), so 2, 2, 4, 4, ...
    assert counts(ladder([1, 2, 3, 4], [0, 1 << F, 240, 1]), 4) == [0, 2, 2, 4]
    assert counts(ladder([1, 2, 3, 4], [0, 1 << F, 240, 0]), 4) == [1, 2, 3, 4]


def test_window_of_a_ladder_is_searched_to_its_ends() -> None:
    # T_j = 4 j. A count of a power of two takes one more bit; the least count may be far below the largest.
    fields: dict[str, Any] = {"signed": True, "emission": Emission.COUNT}
    assert counts(ladder([15, 16, 99], [0, 4 << F, 0, 0], count=4), 3) == [3, 4, 4]
    assert counts(ladder([15, 16, 99], [0, 4 << F, 0, 0], count=2), 3) == [2, 2, 2]
    assert counts(ladder([99, -9, -99], [0, 4 << F, 0, 0], first=8, count=0, **fields), 3) == [0, -3, -8]


def test_signed_ladder_counts_below_zero() -> None:
    # T_j = 4 j, low = -3, high = 2; last is T_c above zero and T_(c + 1) below.
    v = [3, 4, 100, 0, -1, -4, -5, -9, -100]
    fields: dict[str, Any] = {"signed": True, "emission": Emission.COUNT, "fanout": OUT}
    result = ladder(v, [0, 4 << F, 0, 0], first=3, count=2, **fields)
    assert counts(result, 9) == [0, 1, 2, 0, -1, -1, -2, -3, -3]
    assert result.state["potential"].tolist() == [3, 0, 92, 0, -1, -4, -1, -1, -92]
    assert result.outputs[:, 2].tolist() == [-3, -3, -2, -1, -1, 1, 2]
    assert result.total("spikes") == 13


def test_window_of_a_ladder_is_unsigned_without_signed() -> None:
    result = ladder([-100, -1, 8], [0, 4 << F, 0, 0], first=3, count=2)
    assert counts(result, 3) == [0, 0, 2]


@pytest.mark.parametrize(("sign", "currents"), [(1, [5, 2, 1, 0]), (-1, [-5, -2, -1, 0])])
def test_current_decays_towards_zero(sign: int, currents: list[int]) -> None:
    core = make_core([[1]], current_kept=2048, **NEVER)
    result = run(core, [(0, 0, 5 * sign)], steps=4)
    assert stored(result, 4) == currents
    assert stored(result, 3) == [5 * sign, 7 * sign, 8 * sign, 8 * sign]


def test_current_saturates_apart_from_the_potential() -> None:
    core = make_core([[1]], strengths=[2047], current=100, current_kept=4096, bias=-1, **NEVER)
    result = run(core, [(0, 0, 7)])
    assert (stored(result, 4), stored(result, 3)) == ([2047], [2046])
    assert result.total("saturations") == 1


def test_current_and_potential_saturate_at_both_ends() -> None:
    low, high = TINY.potential_min, TINY.potential_max
    core = make_core([[-1, 1]], strengths=[2047], current=[low, high], current_kept=4096, **NEVER)
    result = run(core, [(0, 0, 1)])
    assert (result.state["current"].tolist(), result.total("saturations")) == ([low, high], 2)
    core = make_core([[0, 0]], bias=[low, high], potential=[-1, 1], refractory_period=1, **NEVER)
    result = run(core)
    assert (result.state["potential"].tolist(), result.total("saturations")) == ([low, high], 2)


def test_current_that_is_not_kept_is_cleared_in_an_update() -> None:
    core = make_core([[1]], current=9, schedule=[[1, 0, 0, 0, 1, 0, 0], [1, 0, 1, 1, 0, 0, 0]])
    result = run(core, [(1, 0, 2)], steps=2)
    assert (stored(result, 4), stored(result, 3)) == ([9, 0], [0, 2])


def test_init_clears_current_and_refractory_count() -> None:
    fields: dict[str, Any] = {"current": 9, "refractory": 2, "v0": 4, "current_kept": 4096, **NEVER}
    result = run(make_core([[1]], schedule=[[1, 1, 0, 0, 0, 0, 0]], **fields))
    assert result.visits is not None
    assert result.visits[:, 3:].tolist() == [[4, 0, 0]]
    result = run(make_core([[1]], schedule=[[1, 1, 1, 1, 0, 0, 0]], **fields), [(0, 0, 3)])
    assert result.visits is not None
    assert result.visits[:, 3:].tolist() == [[7, 3, 0]]


@pytest.mark.parametrize(("v", "decayed"), [(-10, [-7, -5, -3, -2]), (10, [7, 5, 3, 2])])
def test_potential_decays_towards_zero_in_an_update(v: int, decayed: list[int]) -> None:
    schedule = [[1, 0, 0, 0, 1, 0, 0], [4, 0, 0, 1, 0, 0, 0]]
    core = make_core([[0]], potential=v, potential_decay=1024, schedule=schedule)
    assert stored(run(core, steps=5), 3) == [v, *decayed]


def test_decay_does_not_touch_the_start_value() -> None:
    core = make_core([[0]], v0=100, bias=1, potential_decay=2048, schedule=[[1, 1, 0, 1, 0, 0, 0]])
    assert stored(run(core), 3) == [101]


def test_decay_of_nothing_keeps_everything() -> None:
    schedule = [[1, 0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0, 0]]
    core = make_core([[0]], potential=2000, refractory_period=1, schedule=schedule)
    assert stored(run(core, steps=2), 3) == [2000, 2000]


def test_refractory_neuron_rests() -> None:
    # V = 5 fires and is 0, then rests for two steps in which bias and decay are lost, and fires again.
    fields: dict[str, Any] = {"bias": 5, "thresholds": [5], "reset": Reset.VALUE}
    schedule = [[1, 0, 1, 1, 1, 0, 1, 3, 0]]
    core = make_core([[0]], refractory_period=2, potential_decay=4096, schedule=schedule, **fields)
    result = run(core, steps=7)
    assert result.spikes[:, 0].tolist() == [0, 3, 6]
    assert stored(result, 3) == [3] * 7
    assert stored(result, 5) == [2, 1, 0, 2, 1, 0, 2]
    assert result.total("thresholds") == 7


def test_refractory_neuron_takes_up_current() -> None:
    core = make_core([[1]], refractory=1, current_kept=4096, **NEVER)
    result = run(core, [(0, 0, 3), (1, 0, 1)], steps=2)
    assert (stored(result, 4), stored(result, 3), stored(result, 5)) == ([3, 4], [0, 4], [0, 0])


def test_refractory_neuron_is_not_cleared() -> None:
    core = make_core([[1]], refractory=2, potential=6, reset=Reset.CLEAR, **NEVER)
    assert stored(run(core, [(0, 0, 3)]), 3) == [6]


def test_refractory_count_stands_still_without_fire() -> None:
    core = make_core([[1]], refractory=2, schedule=[[2, 0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0]])
    assert stored(run(core, steps=3), 5) == [2, 2, 1]


def test_largest_refractory_count_lasts_for_ever() -> None:
    core = make_core([[0]], bias=1, reset=Reset.ZERO, refractory_period=TINY.refractory_max)
    result = run(core, steps=30)
    assert result.spikes.tolist() == [[0, 0, 0, 1]]
    assert stored(result, 5) == [TINY.refractory_max] * 30


@pytest.mark.parametrize(
    ("reset", "kept"),
    [
        (Reset.VALUE, [-9, 0, -9]),
        (Reset.SUBTRACT_VALUE, [12 + 9, 0, -5 - 9]),
        (Reset.ZERO, [0, 0, 0]),
    ],
)
def test_reset_to_and_by_the_value_of_the_entry(reset: Reset, kept: list[int]) -> None:
    # c is 3, 0 and -2.
    fields: dict[str, Any] = {"signed": True, "emission": Emission.COUNT, "numbers": (-9, 1)}
    result = ladder([12, 0, -5], [0, 4 << F, 0, 0], first=8, reset=reset, **fields)
    assert counts(result, 3) == [3, 0, -2]
    assert result.state["potential"].tolist() == kept


def test_reset_by_a_value_saturates() -> None:
    fields: dict[str, Any] = {"signed": True, "emission": Emission.COUNT, "numbers": (-2000, 1)}
    result = ladder([2000, -2000], [0, 4 << F, 0, 0], first=8, reset=Reset.SUBTRACT_VALUE, **fields)
    assert (result.state["potential"].tolist(), result.total("saturations")) == ([2047, -2048], 2)


@pytest.mark.parametrize("emit", [-5, 5])
def test_constant_emission_has_the_sign_of_the_count(emit: int) -> None:
    fields: dict[str, Any] = {"signed": True, "emission": Emission.CONSTANT, "numbers": (0, emit)}
    fanout = [[0, 0, 1, 1, 3, False], [0, 0, 1, 1, 4, True]]
    result = ladder([12], [0, 4 << F, 0, 0], first=8, fanout=fanout, **fields)
    assert result.outputs.tolist() == [[0, 3, emit], [0, 4, emit]]
    result = ladder([-12], [0, 4 << F, 0, 0], first=8, fanout=fanout, **fields)
    assert result.outputs.tolist() == [[0, 3, -emit], [0, 4, -emit]]


FILL = TINY.integrate_fill + TINY.walk_fill


def finish(result: RunResult) -> int:
    """Return the cycle in which the core's only token entered its router."""
    assert result.finish is not None
    return int(result.finish[0, 0])


def test_pace_of_silent_blocks() -> None:
    # Eight neurons of three columns: four blocks of two. K = 3, five thresholds are two words, II = 3.
    core = make_core(
        np.ones((2, 24)),
        strengths=[1, 1, 1],
        thresholds=[TINY.never] * 5,
        schedule=[[1, 0, 1, 1, 1, 0, 5]],
    )
    result = run(core, [(0, 0, 1), (0, 1, 1)])
    assert finish(result) == 4 + 4 * (2 + FILL + 3 + 2 - 2 + 3)
    assert (result.total("integrate"), result.total("send_stall")) == (4 * (2 + TINY.integrate_fill), 0)
    assert result.total("update") == 4 * (TINY.walk_fill + 6)


@pytest.mark.parametrize(("count", "words"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_pace_of_a_list_is_a_word_of_four_a_cycle(count: int, words: int) -> None:
    fields: dict[str, Any] = {"thresholds": [TINY.never] * 12, "emission": Emission.UNARY}
    core = make_core(np.zeros((1, 8)), schedule=[[1, 0, 1, 1, 1, 0, count]], **fields)
    assert finish(run(core)) == 4 + FILL + words - 1 + 7 * words
    core = make_core(np.zeros((1, 8)), schedule=[[1, 0, 1, 1, 0, 0, count]], **fields)
    assert finish(run(core)) == 4 + FILL + 7


def test_pace_of_a_ladder_and_of_a_step_without_integration() -> None:
    result = ladder([0] * 8, [4, 4 << F, 0, 0])
    assert finish(result) == 4 + TINY.walk_fill + 7
    assert result.total("integrate") == 0


@pytest.mark.parametrize(
    ("crossed", "cycles"),
    [
        ([4, 1, 0], 5),  # the second sender waits for three packets, the third neuron follows it
        ([4, 0, 0], 3),  # neurons that send nothing pass; the last packet is the last cycle
        ([1, 0, 0], 2),
        ([0, 0, 4], 2 + 3),
        ([2, 2, 2], 5),
        ([1, 1, 1], 2),
        ([2, 0, 1], 2),  # the emitter is free again
        ([3, 0, 1], 3),
    ],
)
def test_pace_of_senders(crossed: list[int], cycles: int) -> None:
    """Count the cycles from the first neuron at the emitter to the last of the walk."""
    thresholds = [1, 2, 3, 4]
    schedule = [[1, 0, 1, 1, 1, 0, 4]]
    core = make_core([[0] * 3], bias=crossed, thresholds=thresholds, schedule=schedule, fanout=OUT)
    result = run(core)
    assert counts(result, 3) == crossed
    assert finish(result) == 4 + FILL + cycles
    assert (result.total("update"), result.total("send_stall")) == (TINY.walk_fill + cycles, 0)


def test_next_block_begins_when_the_last_packet_left() -> None:
    # Neurons 7 and 8 send four packets each; they lie in different blocks of eight.
    bias = [0] * 7 + [4, 4]
    schedule = [[1, 0, 1, 1, 1, 0, 4]]
    core = make_core(np.zeros((1, 9)), bias=bias, thresholds=[1, 2, 3, 4], schedule=schedule, fanout=OUT)
    assert finish(run(core)) == 4 + (FILL + 7 + 3) + (FILL + 3)
