# SPDX-License-Identifier: Apache-2.0
"""LeNet with four spikes on its placed image, beside the 2602 images/s of silicon (Zou et al., 2021)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from emu.kernels.vectors import LANES
from emu.trace import diff
from mapping.datasets.load import load_data
from mapping.flow import compile_network
from mapping.model.load import load_network
from sim_tests.benchmarks import phases
from sim_tests.benchmarks.measure import Options, Row, best

__all__ = ["SILICON", "rows"]

SILICON = 2602
"""Images/s of LeNet with four spikes, Zou et al. (Frontiers in Neuroscience, 2021), table of results."""

HOW = "not given: --lenet MODEL --data DIR (spikeloom train lenet --data DIR)"


def rows(options: Options) -> Iterator[Row]:
    """Yield images/s on one and two threads, whose results are equal, and where the time goes."""
    if options.lenet is None or options.data is None:
        yield Row("LeNet, four spikes", HOW)
        return
    chip = compile_network(load_network(options.lenet))
    data, _ = chip.prepare(load_data(f"mnist:{options.data}").first(options.samples), "unit")
    stimulus = chip.stimulus(data.x)
    result = chip.machine.run(stimulus)
    operations = result.total("synaptic_operations") / len(data.x)
    accuracy = chip.run(data.x).accuracy(data.y)
    yield Row("LeNet, accuracy of the image", f"{accuracy:.2%} of {len(data.x)}")
    for threads in (1, 2):
        assert diff(result, chip.machine.run(stimulus, threads=threads)) is None
        clock = options.clock if threads == 1 else time.perf_counter
        speed = len(data.x) / best(partial(chip.machine.run, stimulus, threads=threads), clock)
        name = f"LeNet, four spikes, {threads} thread{'s' * (threads > 1)}"
        yield Row(name, f"{speed:.0f} images/s", f"{speed / SILICON:.2f}", f"{SILICON} images/s of silicon")
        yield Row(f"{name}, operations", f"{speed * operations / 1e9:.2f} G operations/s")
    yield from phases.rows(chip, data.x[:LANES])
