# SPDX-License-Identifier: Apache-2.0
"""LeNet on its placed image: with four spikes beside the 2602 images/s of silicon, and in the graded code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from emu.kernels.vectors import LANES
from emu.trace import diff
from mapping.chip import Chip
from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import batches, correct, load_data
from mapping.flow import compile_network
from mapping.model.load import load_network
from sim_tests.benchmarks import phases
from sim_tests.benchmarks.measure import Options, Row, best

__all__ = ["SILICON", "rows"]

SILICON = 2602
"""Images/s of LeNet with four spikes, Zou et al. (Frontiers in Neuroscience, 2021), table of results."""

HOW = "not given: --lenet MODEL --data DIR (spikeloom train lenet --data DIR)"
HOW_FLOAT = "not given: --float-lenet MODEL --lenet MODEL --data DIR"


def _speeds(name: str, chip: Chip, options: Options, scaling: str | None) -> Iterator[tuple[Row, float]]:
    """Yield the accuracy of a chip, and images/s on one and two threads, whose results are equal.

    Images are run batch by batch, as ``spikeloom run`` does; of each batch the best time counts.
    """
    data, _ = chip.prepare(load_data(f"mnist:{options.data}").first(options.samples), scaling)
    seconds, operations, right = {1: 0.0, 2: 0.0}, 0, 0
    for part in batches(data):
        stimulus = chip.stimulus(part.x)
        result = chip.machine.run(stimulus)
        operations += result.total("synaptic_operations")
        right += correct(chip.run(part.x).logits, part.y) or 0
        for threads in seconds:
            assert diff(result, chip.machine.run(stimulus, threads=threads)) is None
            clock = options.clock if threads == 1 else time.perf_counter
            seconds[threads] += best(partial(chip.machine.run, stimulus, threads=threads), clock)
    images = len(data.x)
    yield Row(f"{name}, accuracy of the image", f"{right / images:.2%} of {images}"), 0.0
    for threads, taken in seconds.items():
        value = f"{images / taken:.0f} images/s, {operations / taken / 1e9:.2f} G operations/s"
        yield Row(f"{name}, {threads} thread{'s' * (threads > 1)}", value), images / taken


def _graded(model: Path, data: str) -> Chip:
    """Return a float LeNet in the graded code, 8 bits and 5 digits, calibrated as ``compile`` does."""
    samples = calibration_data(data, 256, 0)
    return compile_network(
        load_network(model), samples, code="graded", options=GradedOptions(bits=8, digits=5)
    )


def rows(options: Options) -> Iterator[Row]:
    """Yield the four-spike LeNet, where its time goes, and the graded LeNet to it."""
    if options.lenet is None or options.data is None:
        yield Row("LeNet, four spikes", HOW)
        return
    chip = compile_network(load_network(options.lenet))
    before: list[float] = []
    for row, speed in _speeds("LeNet, four spikes", chip, options, "unit"):
        before.append(speed)
        ratio = (f"{speed / SILICON:.2f}", f"{SILICON} images/s of silicon") if speed else ("", "")
        yield Row(row.name, row.value, *ratio)
    data, _ = chip.prepare(load_data(f"mnist:{options.data}").first(LANES), "unit")
    yield from phases.rows(chip, data.x)
    if options.float_lenet is None:
        yield Row("LeNet, graded", HOW_FLOAT)
        return
    graded = _graded(options.float_lenet, f"mnist:{options.data}")
    for (row, speed), four in zip(_speeds("LeNet, graded", graded, options, None), before, strict=True):
        yield Row(row.name, row.value, *((f"{speed / four:.2f}", "four spikes") if speed else ("", "")))
