# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the cycle mode compares equal results only, of the image that its figures are about."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu.machine import Machine
from emu.trace import RunResult
from sim_tests.bench.scoreboard import BenchError
from sim_tests.benchmarks import cycle
from sim_tests.benchmarks.measure import Options, Row


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the simulator: it answers with what it is given here, a job's expected result if nothing."""
    answers: list[Any] = []
    expected: list[RunResult] = []

    def prepare(image: object, load: object, result: RunResult) -> RunResult:
        expected.append(result)
        return result

    def run_jobs(verilog: object, jobs: Sequence[RunResult], *, engine: str) -> list[Any]:
        assert engine == "verilator"
        pace = Path(os.environ["SPIKELOOM_PACE"])
        pace.write_text("".join(f"1000 {number + 1}.0\n" for number in range(len(jobs))))
        return answers or list(jobs)

    monkeypatch.setattr(cycle, "prepare", prepare)
    monkeypatch.setattr(cycle, "run_jobs", run_jobs)
    monkeypatch.setattr(cycle, "chip_verilog", lambda _: {})
    monkeypatch.setattr(cycle, "available", lambda: ("verilator",))
    monkeypatch.setattr(cycle, "LOADS", {0.01: 4.5, 0.03: 22.5})
    monkeypatch.setattr(cycle, "STEPS", 2)
    return answers


def test_image_is_the_committed_one() -> None:
    assert cycle.random_image().digest == cycle.IMAGE_DIGEST


def test_another_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "IMAGE_DIGEST", "0" * 64)
    with pytest.raises(RuntimeError, match=r"image of the cycle benchmark has digest .*, not 0000"):
        next(cycle.rows(Options()))


def test_loads_bring_about_their_rates() -> None:
    image = cycle.random_image()
    for rate, packets in cycle.LOADS.items():
        result = Machine(image).run(cycle.stimulus(image, packets), cycles=True)
        assert result.elapsed is not None
        assert rate <= result.total("packets") / result.elapsed / 16 < rate * 1.02
        rates = cycle.injection_rates(result)
        assert len(rates) == cycle.STEPS
        assert np.mean(np.abs(rates - rate) < rate / 5) >= 0.95


def test_rows_are_the_loads_and_their_mean(hardware: list[Any]) -> None:
    rows = list(cycle.rows(Options()))
    assert "1.0 k cycles/s" in rows[0].of  # the best of runs 1 and 3
    assert "0.5 k cycles/s" in rows[1].of
    ratios = [float(row.ratio) for row in rows]
    assert 0 < ratios[2] < 1
    assert ratios[3] == pytest.approx((ratios[0] + ratios[1]) / 2, abs=1)
    assert len(rows) == 4
    assert "SPIKELOOM_PACE" not in os.environ


def test_unequal_results_are_no_benchmark(hardware: list[Any]) -> None:
    image = cycle.random_image()
    loads = [cycle.stimulus(image, packets, 2) for packets in cycle.LOADS.values()]
    results = [Machine(image).run(load, cycles=True, potentials=True) for load in loads]
    wrong = dataclasses.replace(results[1], elapsed=(results[1].elapsed or 0) + 1)
    hardware += [results[0], results[1], results[0], wrong]
    with pytest.raises(AssertionError, match="hardware and emulator must be equal to be compared"):
        list(cycle.rows(Options()))


def test_failed_simulation_is_raised(hardware: list[Any]) -> None:
    hardware += [BenchError("core 3 differs")] * 4
    with pytest.raises(BenchError, match="core 3 differs"):
        list(cycle.rows(Options()))


def test_without_verilator_there_is_no_ratio(hardware: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "available", lambda: ("pysim",))
    rows: list[Row] = list(cycle.rows(Options()))
    assert [row.of for row in rows] == ["", "", "the load above"]
