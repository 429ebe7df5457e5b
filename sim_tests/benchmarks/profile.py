# SPDX-License-Identifier: Apache-2.0
"""Where the time of a dense core goes: the ways of integration against each other, and the rest of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emu.functional import Source
from emu.jit import njit
from emu.kernels import crossbar, membrane, neuron, quantise
from emu.kernels import state as arrays
from emu.kernels.state import Program, Record, State
from emu.words import Reset
from sim_tests.benchmarks.functional import dense_core
from sim_tests.benchmarks.measure import Options, Row, best

__all__ = ["rows"]

TIMES = 200
ACTIVE = 230
Phase = Callable[[Program, State, Record, int], None]


@njit
def _add(program: Program, state: State, record: Record, times: int) -> None:
    for _ in range(times):
        crossbar.add_rows(program.cells, 0, state.picked[:ACTIVE], 1, state.sums, state.partial)


@njit
def _count(program: Program, state: State, record: Record, times: int) -> None:
    for _ in range(times):
        crossbar._by_plane(program, state, 0, ACTIVE, 0, program.neurons[0], 1)


@njit
def _multiply(program: Program, state: State, record: Record, times: int) -> None:
    for _ in range(times):
        crossbar._by_product(program.cells, state.sums, state.event[:ACTIVE], state.payload)


@njit
def _potentials(program: Program, state: State, record: Record, times: int) -> None:
    for _ in range(times):
        membrane.membranes(program, state, 0, 0)


@njit
def _thresholds(program: Program, state: State, record: Record, times: int) -> None:
    for _ in range(times):
        quantise.take_thresholds(program, state, 0, 0)
        quantise.compare(program, state, 0, 0)


@njit
def _records(program: Program, state: State, record: Record, times: int) -> None:
    for _ in range(times):
        record.used[0] = 0
        neuron._write_down(program, state, record, 0, 0)


PHASES: dict[str, Phase] = {
    "addition of 230 rows": _add,
    "bit planes of 230 rows": _count,
    "products of 230 rows": _multiply,
    "potentials": _potentials,
    "thresholds and reset": _thresholds,
    "spikes, none": _records,
}


def _prepared(rows: NDArray[np.int64]) -> tuple[Program, State, Record]:
    """Return the dense core with ``rows`` picked as events of payload 1."""
    source = Source(dense_core(0.2, Reset.SUBTRACT)[0])
    state = arrays.make_state(source.program, source.state)
    state.picked[: len(rows)] = state.event[: len(rows)] = rows
    state.payload[: len(rows)] = 1
    return source.program, state, arrays.make_record(rows=4096, outputs=1, visits=False)


def rows(options: Options) -> Iterator[Row]:
    """Yield the time of each part of a step of the dense core, as a share of the addition of its rows."""
    given = _prepared(dense_core(0.2, Reset.SUBTRACT)[2][0])
    taken = {
        name: best(partial(phase, *given, TIMES), options.clock) / TIMES for name, phase in PHASES.items()
    }
    base = next(iter(PHASES))
    for name, seconds in taken.items():
        yield Row(f"dense core, {name}", f"{seconds * 1e6:.2f} us", f"{seconds / taken[base]:.2f}", base)
    words = -(-given[0].axons[0] // arrays.WORD)
    even = taken["bit planes of 230 rows"] / words / (taken[base] / ACTIVE)
    yield Row("rows as fast as one word of a bit plane", f"{even:.1f} rows", "", "")
