# SPDX-License-Identifier: Apache-2.0
"""`diff` finds one planted difference in every part of a result and names the first."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.machine import Machine
from emu.trace import Divergence, HostPace, RunResult, Stimulus, compared, diff
from emu.words import COUNTERS, STATE_FIELDS
from sim_tests.generators.systems import random_system

TABLES = {"visits": "refractory counts", "spikes": "spikes", "outputs": "outputs"}


@pytest.fixture(scope="module")
def result() -> RunResult:
    for seed in range(100):
        image, stimulus = random_system(seed)
        run = Machine(image).run(stimulus, cycles=True, potentials=True)
        if all(len(getattr(run, name)) > 2 for name in TABLES):
            return run
    raise AssertionError("no random system fills every table")


def changed(array: np.ndarray[Any, Any], index: Any, by: int = 1) -> Any:
    copy = array.copy()
    copy[index] += by
    return copy


def test_diff_of_equal_results(result: RunResult) -> None:
    assert diff(result, replace(result)) is None
    assert compared(result, result) > 100


@pytest.mark.parametrize("name", TABLES)
def test_diff_names_a_changed_value(result: RunResult, name: str) -> None:
    table = getattr(result, name)
    planted: dict[str, Any] = {name: changed(table, (1, -1))}
    found = diff(result, replace(result, **planted))
    assert found is not None
    assert (found.what, found.step, found.expected, found.got) == (
        TABLES[name],
        table[1, 0],
        table[1, -1],
        table[1, -1] + 1,
    )
    assert (found.core, found.neuron) == ((None, table[1, 1]) if name == "outputs" else tuple(table[1, 1:3]))


@pytest.mark.parametrize("name", TABLES)
def test_diff_names_a_missing_row(result: RunResult, name: str) -> None:
    table = getattr(result, name)
    found = diff(result, replace(result, **{name: table[:-1]}))
    assert found is not None
    place = 3 if name == "visits" else -1  # the first field of a state word is told first
    assert (found.what, found.step) == ("potentials" if name == "visits" else TABLES[name], table[-1, 0])
    assert (found.expected, found.got) == (table[-1, place], None)
    found = diff(replace(result, **{name: table[:-1]}), result)
    assert found is not None
    assert (found.expected, found.got) == (None, table[-1, place])


@pytest.mark.parametrize("name", ["visits", "spikes"])
def test_diff_names_a_row_missing_before_others(result: RunResult, name: str) -> None:
    table = getattr(result, name)
    short = replace(result, **{name: table[1:]})
    first = table[0, 3]
    for left, right, values in ((result, short, (first, None)), (short, result, (None, first))):
        found = diff(left, right)
        assert found is not None
        what = "potentials" if name == "visits" else TABLES[name]
        assert (found.what, found.step, found.core, found.neuron) == (what, *table[0, :3])
        assert (found.expected, found.got) == values


@pytest.mark.parametrize("name", COUNTERS[:-1])
def test_diff_names_a_changed_counter(result: RunResult, name: str) -> None:
    value = result.counters[name]
    found = diff(result, replace(result, counters={**result.counters, name: changed(value, 0)}))
    assert found == Divergence(
        what=f"counter {name}", step=None, core=0, neuron=None, expected=int(value[0]), got=int(value[0]) + 1
    )


def test_diff_names_a_changed_cycle(result: RunResult) -> None:
    assert result.finish is not None
    found = diff(result, replace(result, finish=changed(result.finish, (2, 0), -1)))
    assert found is not None
    assert (found.what, found.step, found.core) == ("finish cycles", 2, 0)
    assert result.gateway is not None
    found = diff(result, replace(result, gateway=changed(result.gateway, 3)))
    assert found is not None
    assert (found.what, found.step) == ("gateway cycles", 3)
    assert result.elapsed is not None
    found = diff(result, replace(result, elapsed=result.elapsed + 1))
    assert str(found) == (
        f"elapsed cycles differ first at the end: expected {result.elapsed}, got {result.elapsed + 1}"
    )


def test_diff_names_a_changed_final_potential(result: RunResult) -> None:
    found = diff(result, replace(result, state={"potential": changed(result.state["potential"], 1)}))
    assert found is not None
    assert (found.what, found.neuron) == ("final potentials", 1)


def test_diff_names_the_earliest_step(result: RunResult) -> None:
    late = replace(result, visits=changed(np.asarray(result.visits), (-1, -1)))
    both = replace(late, spikes=changed(result.spikes, (0, -1)))
    found = diff(result, both)
    assert found is not None
    assert (found.what, found.step) == ("spikes", result.spikes[0, 0])


def test_diff_prefers_a_step_to_what_has_none(result: RunResult) -> None:
    errors = {**result.counters, "errors": changed(result.counters["errors"], 0)}
    both = replace(result, counters=errors, gateway=changed(np.asarray(result.gateway), -1))
    found = diff(result, both)
    assert found is not None
    assert (found.what, found.step) == ("gateway cycles", result.steps)


def test_diff_prefers_the_potential_of_the_same_step(result: RunResult) -> None:
    table = np.asarray(result.visits)
    at = int(np.flatnonzero(table[:, 0] == result.spikes[0, 0])[0])
    both = replace(result, visits=changed(table, (at, 3)), spikes=changed(result.spikes, (0, -1)))
    found = diff(result, both)
    assert found is not None
    assert found.what == "potentials"


def test_diff_of_other_step_count(result: RunResult) -> None:
    found = diff(result, replace(result, steps=result.steps + 1))
    assert str(found) == f"steps differ first at the end: expected {result.steps}, got {result.steps + 1}"


def test_compared_counts_only_common_parts(result: RunResult) -> None:
    bare = replace(result, visits=None, finish=None, gateway=None, elapsed=None)
    assert diff(result, bare) is None
    visits = len(np.asarray(result.visits)) * len(STATE_FIELDS) * 4  # step, core, neuron, value
    less = visits + 3 * np.asarray(result.finish).size
    assert compared(result, result) - compared(result, bare) == less + 2 * (result.steps + 1) + 1


def test_divergence_sentence() -> None:
    found = Divergence(what="spikes", step=3, core=1, neuron=7, expected=2, got=None)
    assert str(found) == "spikes differ first at step 3, core 1, neuron 7: expected 2, got None"


@pytest.mark.parametrize(
    ("steps", "step", "message"),
    [
        (0, [], "steps must be 1..16777216, not 0."),
        ((1 << 24) + 1, [], "steps must be 1..16777216, not 16777217."),
        (2, [0, 0], "packet must have one row for each of the 2 steps, not 1."),
        (2, [2], "step must be non-decreasing within 0..1."),
        (2, [-1], "step must be non-decreasing within 0..1."),
    ],
)
def test_stimulus_that_is_wrong(steps: int, step: list[int], message: str) -> None:
    packet = np.zeros((min(len(step), 1), 6), np.int64)
    with pytest.raises(ValueError, match="must") as caught:
        Stimulus(steps=steps, step=np.array(step, np.int64), packet=packet)
    assert str(caught.value) == message


@pytest.mark.parametrize(("period", "taken"), [(1, 0), (3, 0), (3, 4), (0, 0), (0, 1), (-1, -1)])
def test_host_that_never_takes_or_too_often(period: int, taken: int) -> None:
    with pytest.raises(ValueError, match=rf"^taken must be 1\.\.{period}, the period, not {taken}\.$"):
        HostPace(period=period, taken=taken)


def test_stimulus_in_wrong_order() -> None:
    with pytest.raises(ValueError, match="non-decreasing"):
        Stimulus(steps=3, step=np.array([1, 0]), packet=np.zeros((2, 6), np.int64))
