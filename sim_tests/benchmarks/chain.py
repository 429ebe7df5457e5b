# SPDX-License-Identifier: Apache-2.0
"""From a model to its report: time and memory of a compilation by stage, and an estimate beside a run."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from mapping.chip import Chip, open_chip
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import load_data
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.report.activity import RunTotals, total_of_runs
from mapping.report.machine import estimate
from mapping.report.result import Report
from mapping.stages import Stage, recorded
from sim_tests.benchmarks.measure import Options, Row

__all__ = ["rows"]

_PAIRS = 3
"""How often both commands run, one after the other."""

_ABREAST = 130
"""Samples that every thread runs abreast, by kernels of their own."""

HOW = "not given: --model MODEL --on DATA, as of 'spikeloom estimate MODEL --data DATA'"


def rows(options: Options) -> Iterator[Row]:
    """Yield the stages of a compilation, then processor time of a run of the image and of an estimate."""
    if options.model is None or options.on is None:
        yield Row("compile, run and estimate", HOW)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.spikeloom"
        with recorded() as record:
            chip = compile_network(options.model, options.on)
            chip.save(path)
        yield from (Row(f"compile: {name}", _text(stage)) for name, stage in record.stages.items())
        _compile_kernels(chip, options.on)
        run = _taken(partial(_run, path, options), options)
        yield Row(f"run, {options.samples} samples", f"{run:.2f} s")
        whole = _taken(partial(_estimate, options), options)
        yield Row("estimate, the same samples", f"{whole:.2f} s", f"{whole / run:.2f}", "run")
        yield from _commands(path, options)


def _commands(path: Path, options: Options) -> Iterator[Row]:
    """Yield what both cost as commands, the start of a process included; processor time in any case."""
    data = ["--data", options.on or "", "--samples", str(options.samples)]
    whole = ["estimate", options.model or "", *data]
    pairs = [(_processor_time(["run", str(path), *data]), _processor_time(whole)) for _ in range(_PAIRS)]
    run, estimated = (median(pair[i] for pair in pairs) for i in (0, 1))
    yield Row("run as a command, processor time", f"{run:.2f} s")
    ratio = f"{median(b / a for a, b in pairs):.2f}"
    yield Row("estimate as a command, processor time", f"{estimated:.2f} s", ratio, "run")


def _processor_time(arguments: list[str]) -> float:
    """Return the processor time of a command of spikeloom, of all its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "spikeloom", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _text(stage: Stage) -> str:
    memory = "" if stage.peak_mib is None else f", {stage.peak_mib:.0f} MiB"
    return f"{stage.seconds:.2f} s{memory}"


def _compile_kernels(chip: Chip, source: str) -> None:
    """Run both modes once, so that no measurement includes the compiler."""
    for samples in (1, _ABREAST):
        data, _ = chip.prepare(load_data(source).first(samples))
        for cycles in (False, True):
            chip.run(data.x, cycles=cycles)


def _run(path: Path, options: Options) -> RunTotals:
    """Do what ``spikeloom run`` does."""
    chip = open_chip(path)
    data, _ = chip.prepare(load_data(options.on or "").first(options.samples))
    return total_of_runs(chip, data)


def _estimate(options: Options) -> Report:
    """Do what ``spikeloom estimate`` does."""
    source = options.on or ""
    data, calibration = load_data(source).first(options.samples), calibration_data(source)
    return estimate(load_network(options.model or ""), data, calibration=calibration)


def _taken(work: Callable[[], object], options: Options) -> float:
    """Return how long something takes."""
    start = options.clock()
    work()
    return options.clock() - start
