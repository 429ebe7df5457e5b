# SPDX-License-Identifier: Apache-2.0
"""Stages: seconds count once, peaks belong to who reached them, and nobody pays who does not ask."""

import os

import numpy as np
import pytest

from mapping import stages
from mapping.datasets.named import Named
from mapping.datasets.normalisation import best_way
from mapping.stages import recorded, stage


class Clock:
    """A clock that goes by itself only where it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mapping.stages.time.perf_counter", clock)
    return clock


def test_seconds_are_those_of_the_clock_that_is_given(clock: Clock) -> None:
    other = Clock()
    with recorded(other) as record, stage("convert"):
        clock.now += 5
        other.now += 3
    assert record.stages["convert"].seconds == 3


def test_a_stage_within_another_pauses_it(clock: Clock) -> None:
    with recorded() as record:
        clock.now += 100
        with stage("convert"):
            clock.now += 1
            with stage("place"):
                clock.now += 10
            clock.now += 2
        clock.now += 100
        with stage("place"):
            clock.now += 5
    assert {name: found.seconds for name, found in record.stages.items()} == {"convert": 3.0, "place": 15.0}


def test_looking_for_the_scale_of_pixels_is_a_stage(clock: Clock) -> None:
    rows = np.arange(4)

    def told(_how: str, asked: np.ndarray) -> Named:
        clock.now += 1
        return Named(right=np.ones(len(asked), np.bool_), entropy=lambda: 0.0)

    with recorded() as record:
        assert best_way([], rows, told, (rows, rows)) == "unit"
    assert {name: found.seconds for name, found in record.stages.items()} == {"scale": 2.0}


def failing(clock: Clock) -> None:
    with stage("convert"), stage("route"):
        clock.now += 4
        raise ZeroDivisionError


def test_an_error_ends_its_stages(clock: Clock) -> None:
    with recorded() as record:
        with pytest.raises(ZeroDivisionError):
            failing(clock)
        clock.now += 50
        with stage("emit"):
            clock.now += 1
    assert {name: found.seconds for name, found in record.stages.items()} == {
        "convert": 0.0,
        "route": 4.0,
        "emit": 1.0,
    }


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks cannot be reset here")
def test_memory_belongs_to_the_stage_that_used_it() -> None:
    with recorded() as record:
        with stage("convert"):
            with stage("place"):
                np.ones(2**25).sum()
            np.ones(8).sum()
        with stage("emit"):
            np.ones(8).sum()
    peak = {name: found.peak_mib for name, found in record.stages.items()}
    assert None not in peak.values()
    assert (peak["place"] or 0) > (peak["emit"] or 0) + 200


def test_peak_is_unknown_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_peak_mib", lambda: None)
    with recorded() as record, stage("emit"):
        pass
    assert record.stages["emit"].peak_mib is None


def test_nothing_is_measured_unless_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> float:
        raise AssertionError

    monkeypatch.setattr(stages, "_peak_mib", never)
    monkeypatch.setattr("mapping.stages.time.perf_counter", never)
    with stage("convert"):
        pass
