# SPDX-License-Identifier: Apache-2.0
"""Functional mode beside the roof: the addition of rows that no emulator of a crossbar can do without."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.jit import njit
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import Stimulus
from emu.words import Reset
from mapping.datasets.load import load_data
from mapping.flow import compile_network
from mapping.model.load import load_network
from sim_tests.benchmarks.measure import Options, Row, best
from sim_tests.generators.systems import make_core, make_stimulus, make_system

__all__ = ["dense_core", "eleven_cores", "rows"]

STEPS = 200
ROOF = "row addition alone"
BYTE = 255
RESETS = {"stateless": Reset.CLEAR, "with state": Reset.SUBTRACT}


@njit
def _add_rows(cells: NDArray[np.int8], rows: NDArray[np.int64], sums: NDArray[np.int16]) -> None:
    """Add rows of cells: the least work that any emulator of a crossbar does."""
    for row in rows:
        for column in range(len(sums)):
            sums[column] += cells[row, column]


def dense_core(
    share: float, reset: Reset, payload: int = 1, strengths: Sequence[int] = (1,)
) -> tuple[SystemImage, Stimulus, list[NDArray[np.int64]]]:
    """Return one reference core with cells -1, 0, 1 alike, its stimulus, and the active rows of each step.

    Parameters
    ----------
    share : of the rows that are active in a step.
    reset : of all neurons; their threshold is never reached.
    payload : largest payload; all up to it are alike.
    strengths : of the digits of a neuron.
    """
    spec = SystemSpec(core=preset("reference"), width=1, height=1)
    rng = np.random.default_rng(0)
    neurons = spec.core.words * (spec.core.lanes // len(strengths))
    cells = rng.integers(-1, 2, (spec.core.axons, neurons * len(strengths)), dtype=np.int8)
    active = round(spec.core.axons * share)
    rows = [np.sort(rng.permutation(spec.core.axons)[:active]) for _ in range(STEPS)]
    packet = np.zeros((active * STEPS, 6), np.int64)
    packet[:, 4], packet[:, 5] = np.concatenate(rows), rng.integers(1, payload + 1, len(packet))
    stimulus = Stimulus(steps=STEPS, step=np.repeat(np.arange(STEPS), active), packet=packet)
    core = make_core(cells, strengths=strengths, thresholds=[spec.core.never], reset=reset)
    return make_system(spec, core), stimulus, rows


def eleven_cores(reset: Reset) -> tuple[SystemImage, Stimulus]:
    """Return eleven full cores in a ring on a 4 x 3 mesh, about 230 k synaptic operations a step.

    Half of the cells are not zero, as many positive as negative. Each neuron sends one packet to its axon of
    the next core; a bias that most neurons reach keeps about two thirds of them firing in every step.
    """
    spec, size, cores = SystemSpec(core=preset("small"), width=4, height=3), 256, 11
    rng = np.random.default_rng(1)
    programs = []
    for core in range(cores):
        cells = rng.choice([-1, 0, 1], (size, size), p=[0.25, 0.5, 0.25])
        x, y = (core + 1) % cores % 4, (core + 1) % cores // 4
        fanout = [[x, x, y, y, axon, True] for axon in range(size)]
        bias = rng.integers(-8, 20, size)
        programs.append(
            make_core(
                cells, thresholds=[1], reset=reset, bias=bias, fanout=fanout, fanout_base=np.arange(size)
            )
        )
    return make_system(spec, *programs, None), make_stimulus(2 * STEPS)


def _add_all(cells: NDArray[np.int8], rows: list[NDArray[np.int64]], sums: NDArray[np.int16]) -> None:
    for active in rows:
        _add_rows(cells, active, sums)


def _dense_rows(options: Options) -> Iterator[Row]:
    for name, reset in RESETS.items():
        image, stimulus, rows = dense_core(0.2, reset)
        core = image.cores[0]
        assert core is not None
        machine, sums = Machine(image), np.zeros(core.neurons, np.int16)
        cells = sum(map(len, rows)) * core.neurons
        roof = cells / best(partial(_add_all, core.crossbar, rows, sums), options.clock)
        speed = cells / best(partial(machine.run, stimulus), options.clock)
        yield Row(f"{ROOF}, 1152 x 1024 cells", f"{roof / 1e9:.1f} G cells/s")
        yield Row(
            f"one dense core, 20 % of rows, {name}",
            f"{speed / 1e9:.1f} G cells/s",
            f"{speed / roof:.2f}",
            ROOF,
        )


def _digit_rows(options: Options) -> Iterator[Row]:
    """Yield a dense core with 8-bit payloads and one digit, and the same core with five."""
    before = 0.0
    for strengths in ((1,), (1, 3, 9, 27, 81)):
        image, stimulus, rows = dense_core(0.2, Reset.CLEAR, BYTE, strengths)
        core = image.cores[0]
        assert core is not None
        cells = sum(map(len, rows)) * core.crossbar.shape[1]
        speed = cells / best(partial(Machine(image).run, stimulus), options.clock)
        what = f"one dense core, 8-bit payloads, {len(strengths)} digit{'s' * (len(strengths) > 1)}"
        ratio = ("", "") if not before else (f"{speed / before:.2f}", "the same with one digit")
        yield Row(what, f"{speed / 1e9:.1f} G cells/s", *ratio)
        before = speed


def _core_rows(options: Options) -> Iterator[Row]:
    for name, reset in RESETS.items():
        image, stimulus = eleven_cores(reset)
        machine = Machine(image)
        operations = machine.run(stimulus).total("synaptic_operations")
        speed = operations / best(partial(machine.run, stimulus), options.clock)
        what = f"eleven cores, {operations / stimulus.steps / 1e3:.0f} k operations a step, {name}"
        yield Row(what, f"{speed / 1e9:.2f} G operations/s")


def _demo_rows(options: Options) -> Iterator[Row]:
    chip = compile_network(load_network("digits"), core="small")
    data = load_data("digits").first(400).shaped(chip.input_shape)
    stimulus = chip.stimulus(data.x)
    for threads in (1, 2):
        clock = options.clock if threads == 1 else time.perf_counter
        taken = best(partial(chip.machine.run, stimulus, threads=threads), clock)
        yield Row(
            f"demo network, {threads} thread{'s' * (threads > 1)}", f"{len(data.x) / taken:.0f} images/s"
        )


def rows(options: Options) -> Iterator[Row]:
    """Yield the roof, one dense core, eleven cores and the demo network."""
    yield from _dense_rows(options)
    yield from _digit_rows(options)
    yield from _core_rows(options)
    yield from _demo_rows(options)
