# SPDX-License-Identifier: Apache-2.0
"""Functional mode beside the roof: the addition of rows that no emulator of a crossbar can do without."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emu.jit import njit
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import Stimulus
from mapping.datasets import load_data
from mapping.flow import compile_network, load_network
from sim_tests.benchmarks.measure import Options, Row, best
from sim_tests.generator import make_core, make_system

__all__ = ["rows"]


@njit
def _add_rows(cells: NDArray[np.int8], rows: NDArray[np.int64], sums: NDArray[np.int16]) -> None:
    """Add rows of cells: the least work that any emulator of a crossbar does."""
    for row in rows:
        for column in range(len(sums)):
            sums[column] += cells[row, column]


def _dense_core() -> tuple[float, float]:
    """Return cells/s of one reference core with 20 % active rows, and of the row addition alone."""
    spec = SystemSpec(core=preset("reference"), width=1, height=1)
    rng, steps = np.random.default_rng(0), 200
    cells = rng.integers(-1, 2, (spec.core.axons, spec.core.columns), dtype=np.int8)
    rows = [np.sort(rng.permutation(spec.core.axons)[: spec.core.axons // 5]) for _ in range(steps)]
    machine = Machine(make_system(spec, make_core(cells, thresholds=[spec.core.never], reset=0)))
    step = np.repeat(np.arange(steps), [len(active) for active in rows])
    packet = np.zeros((len(step), 6), np.int64)
    packet[:, 4], packet[:, 5] = np.concatenate(rows), 1
    stimulus = Stimulus(steps=steps, step=step, packet=packet)
    sums = np.zeros(spec.core.columns, np.int16)

    def roof() -> None:
        for active in rows:
            _add_rows(cells, active, sums)

    visited = len(step) * spec.core.columns
    return visited / best(lambda: machine.run(stimulus)), visited / best(roof)


def rows(options: Options) -> Iterator[Row]:  # noqa: ARG001 - every section takes them
    """Yield the roof, one dense core and the demo network."""
    cells, roof = _dense_core()
    name = "row addition alone, 1152 x 1024 cells"
    yield Row(name, f"{roof / 1e9:.2f} G cells/s")
    yield Row("one dense core, 20 % of rows", f"{cells / 1e9:.2f} G cells/s", f"{cells / roof:.2f}", name)
    chip = compile_network(load_network("digits"), core="small")
    data = load_data("digits").first(60).shaped(chip.input_shape)
    stimulus = chip.stimulus(data.x)
    taken = best(lambda: chip.machine.run(stimulus))
    yield Row("demo network", f"{len(data.x) / taken:.0f} images/s")
