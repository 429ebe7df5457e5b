# SPDX-License-Identifier: Apache-2.0
"""Sums that are added batch by batch are those of all samples at once."""

from copy import deepcopy

import numpy as np
import pytest

from emu.trace import ACTIVITY_COUNTERS
from mapping.chip import Chip
from mapping.datasets import load as module
from mapping.datasets.load import Dataset, batches, load_data, scaled
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.report import emulated
from mapping.report.activity import Activity, observe, total_of_runs
from mapping.report.emulated import report_machine
from mapping.report.result import Report
from mapping.report.text import notes
from mapping.targets.files import load_target

SAMPLES = 23
SIZE = 7


@pytest.fixture(scope="module")
def chip() -> Chip:
    return compile_network(load_network("digits"), core="small")


@pytest.fixture(scope="module")
def data(chip: Chip) -> Dataset:
    return scaled(load_data("digits").first(SAMPLES), "auto", chip.spiking.network)[0]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", SIZE)


@pytest.mark.usefixtures("small_batches")
def test_batches_are_all_samples_in_order(data: Dataset) -> None:
    parts = list(batches(data))
    assert [len(part.x) for part in parts] == [7, 7, 7, 2]
    assert np.array_equal(np.concatenate([part.x for part in parts]), data.x)
    assert data.y is not None
    assert np.array_equal(np.concatenate([np.asarray(part.y) for part in parts]), data.y)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("cycles", [False, True])
def test_totals_of_batches_are_those_of_one_run(chip: Chip, data: Dataset, *, cycles: bool) -> None:
    whole, steps = chip.run(data.x, cycles=cycles), []
    got = total_of_runs(chip, data, cycles=cycles, progress=lambda done, every: steps.append((done, every)))
    assert (got.samples, got.runs, got.steps, got.mode) == (SAMPLES, 4, whole.result.steps, whole.result.mode)
    assert got.accuracy == whole.accuracy(data.y)
    assert steps[-1] == (whole.result.steps, whole.result.steps)
    paces = {"token_hops", "token_wait", "paused"}  # each run has a pause token of its own
    for name in set(whole.result.counters) - paces:
        assert np.array_equal(got.counters[name], whole.result.counters[name]), name
    one = chip.run(data.x[:1]).result.total("token_hops") - chip.run(data.x[:2]).result.total("token_hops")
    assert got.total("token_hops") - whole.result.total("token_hops") == -one // chip.period * 3
    elapsed = [chip.run(part.x, cycles=cycles).result.elapsed for part in batches(data)]
    assert got.elapsed == (sum(value or 0 for value in elapsed) if cycles else None)


@pytest.mark.usefixtures("small_batches")
def test_activity_of_batches_is_that_of_all_samples(
    chip: Chip, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = observe(chip.spiking, data)
    monkeypatch.setattr(module, "BATCH", SAMPLES)
    assert observe(chip.spiking, data) == parts
    assert parts.samples == SAMPLES
    assert parts.total("spikes") > 0


def test_samples_without_labels_have_no_accuracy(chip: Chip, data: Dataset) -> None:
    unlabelled = Dataset(name=data.name, x=data.x[:2], y=None)
    activity, totals = observe(chip.spiking, unlabelled), total_of_runs(chip, unlabelled)
    assert (activity.accuracy, activity.float_accuracy, totals.accuracy) == (None, None, None)


def one_spike_more(activity: Activity) -> None:
    next(iter(activity.layers.values())).spikes += 1


def one_less_correct(activity: Activity) -> None:
    activity.correct = (activity.correct or 0) - 1


@pytest.mark.parametrize(
    ("fault", "what"), [(one_spike_more, "spikes"), (one_less_correct, "correct answers")]
)
def test_report_refuses_a_chip_that_differs_from_its_network(
    chip: Chip, data: Dataset, fault: object, what: str
) -> None:
    activity = observe(chip.spiking, data)
    totals = total_of_runs(chip, data, cycles=True)
    assert report_machine(chip, data, load_target("loom"), activity, totals=totals)["samples"] == SAMPLES
    wrong = deepcopy(activity)
    assert callable(fault)
    fault(wrong)
    with pytest.raises(
        MappingError, match=rf"The emulated chip and its network differ in {what}, \d+ and \d+"
    ):
        report_machine(chip, data, load_target("loom"), wrong, totals=totals)


def test_cycles_are_those_of_samples_at_equal_distances_and_events_those_of_all(
    chip: Chip, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity, target = observe(chip.spiking, data), load_target("loom")
    whole = report_machine(chip, data, target, activity)
    monkeypatch.setattr(emulated, "TIMED_SAMPLES", 3)
    part = report_machine(chip, data, target, activity)
    assert (whole["samples_timed"], part["samples_timed"], part["samples"]) == (SAMPLES, 3, SAMPLES)
    timed = chip.run(data.x[[0, 7, 15]], cycles=True).result
    for name, mean in part["counters"].items():
        own = name in ACTIVITY_COUNTERS
        assert mean == (timed.total(name) / 3 if own else whole["counters"][name]), name
    assert timed.elapsed is not None
    assert part["throughput_per_s"] == pytest.approx(3 * target.clock_hz / timed.elapsed)
    for key in ("spikes", "synaptic_operations", "latency_s", "accuracy"):
        assert part[key] == whole[key]
    report = Report(model="m", data="d", input="raw", seed=0, targets=[part], float32=activity.single)
    assert notes(report.to_dict())[0] == (
        f"Cycles on loom are those of 3 of the {SAMPLES} samples, at equal distances; "
        "its events are those of all."
    )
    assert not any(note.startswith("Cycles") for note in notes({**report.to_dict(), "targets": [whole]}))


def test_report_wants_cycles(chip: Chip, data: Dataset) -> None:
    with pytest.raises(
        ValueError, match="totals must be those of runs in cycle mode, not of functional ones"
    ):
        report_machine(
            chip, data, load_target("loom"), observe(chip.spiking, data), totals=total_of_runs(chip, data)
        )
