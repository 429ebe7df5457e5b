# SPDX-License-Identifier: Apache-2.0
"""Speed of the emulator beside the roof of the machine, in one run: `python -m sim_tests.benchmarks`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from emu.jit import njit
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import Stimulus
from mapping.datasets import load_data
from mapping.flow import compile_network, load_network
from sim_tests.generator import make_core, make_system

__all__ = ["main"]

REPEATS = 5


@njit
def _add_rows(cells: NDArray[np.int8], rows: NDArray[np.int64], sums: NDArray[np.int16]) -> None:
    """Add rows of cells: the least work that any emulator of a crossbar does."""
    for row in rows:
        for column in range(len(sums)):
            sums[column] += cells[row, column]


def _best(run: Callable[[], object]) -> float:
    """Return the shortest of some runs in seconds, after one that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


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
    return visited / _best(lambda: machine.run(stimulus)), visited / _best(roof)


def main() -> None:
    """Measure and print; ratios compare within this run only."""
    cells, roof = _dense_core()
    network = load_network("digits")
    chip = compile_network(network, core="small")
    data = load_data("digits").first(60).shaped(chip.input_shape)
    stimulus = chip.stimulus(data.x)
    functional = _best(lambda: chip.machine.run(stimulus))
    cycle = _best(lambda: chip.machine.run(stimulus, cycles=True))
    result = chip.machine.run(stimulus, cycles=True)
    table = Table("measurement", "value", "ratio", title="best of several, one thread")
    table.add_row("row addition alone, 1152 x 1024 cells", f"{roof / 1e9:.2f} G cells/s", "1")
    table.add_row(
        "functional mode, one dense core, 20 % of rows", f"{cells / 1e9:.2f} G cells/s", f"{cells / roof:.2f}"
    )
    table.add_row("demo network, functional", f"{len(data.x) / functional:.0f} images/s", "1")
    table.add_row(
        "demo network, cycle-exact", f"{len(data.x) / cycle:.0f} images/s", f"{functional / cycle:.2f}"
    )
    table.add_row("cycle-exact, cycles", f"{(result.elapsed or 0) / cycle / 1e6:.2f} M cycles/s", "")
    table.add_row("cycle-exact, flit-hops", f"{result.total('hops') / cycle / 1e6:.2f} M hops/s", "")
    Console().print(table)


if __name__ == "__main__":
    main()
