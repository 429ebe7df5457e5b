# SPDX-License-Identifier: Apache-2.0
"""Where the time of LeNet goes: the steps of the functional mode with a clock around each phase."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emu.functional import Job, Source
from emu.jit import njit, ticks
from emu.kernels import fabric, membrane, neuron, quantise
from emu.kernels import state as arrays
from emu.kernels.beside import integrate_lanes, take_sums
from emu.kernels.crossbar import integrate
from emu.kernels.state import Ints, Program, Record, State
from emu.program import most_records
from mapping.chip import Chip
from sim_tests.benchmarks.measure import Row

__all__ = ["PHASES", "rows", "shares"]

PHASES = ("stimulus", "thresholds", "integration", "potentials", "comparison", "records", "packets")
REPEATS = 4


@njit
def _feed(
    program: Program,
    state: State,
    record: Record,
    at: Ints,
    packets: Ints,
    lanes: int,
    span: int,
    step: int,
) -> None:
    """Put the host's packets of one step into the event banks of every lane."""
    for lane in range(lanes):
        now = lane * span + step
        for i in range(at[now], at[now + 1]):
            fabric._feed(program, state, record, lane, 2 * lane + (step & 1), packets[i], now)


@njit
def _begin(program: Program, state: State, core: int, entry: int, lanes: int, half: int, spent: Ints) -> bool:
    """Do what is done once for all lanes; return whether they were integrated."""
    a = ticks()
    quantise.take_thresholds(program, state, core, entry)
    b = ticks()
    beside = integrate_lanes(program, state, core, lanes, half)
    spent[1] += b - a
    spent[2] += ticks() - b
    return beside


@njit
def _steps(
    program: Program,
    state: State,
    record: Record,
    at: Ints,
    packets: Ints,
    lanes: int,
    span: int,
    spent: Ints,
) -> None:
    """Execute one period of a stateless image in every lane; add the ticks of each phase to ``spent``."""
    for step in range(span):
        start = ticks()
        _feed(program, state, record, at, packets, lanes, span, step)
        spent[0] += ticks() - start
        for core in range(len(program.enabled)):
            entry = neuron.current_entry(program, state, core)
            if entry < 0:
                continue
            beside = _begin(program, state, core, entry, lanes, step & 1, spent)
            for lane in range(lanes):
                now, bank = lane * span + step, 2 * lane + (step & 1)
                first = lane * program.apart + program.neuron_at[core]
                a = ticks()
                if beside:
                    take_sums(program, state, core, lane)
                else:
                    integrate(program, state, core, bank)
                b = ticks()
                membrane.membranes(program, state, core, first, entry)
                c = ticks()
                quantise.compare(program, state, core, first, entry)
                d = ticks()
                fired = neuron._write_down(program, state, record, core, lane, now, first)
                e = ticks()
                fabric._emit(program, state, record, core, lane, now, bank ^ 1, fired, entry)
                f = ticks()
                for phase, cost in enumerate((b - a, c - b, d - c, e - d, f - e)):
                    spent[2 + phase] += cost
            neuron.advance_schedule(program, state, core)


def shares(chip: Chip, x: NDArray[np.float64]) -> dict[str, float]:
    """Return the share of each phase in the time of samples side by side, from the fastest of several runs.

    Raises
    ------
    RuntimeError
        If the phases fire other spikes than the machine does.
    """
    stimulus, source = chip.stimulus(x), Source(chip.image)
    job = Job(source=source, stimulus=stimulus, leaving=0, loudest=0, visits=False)
    period, lanes = source.period or 1, len(x)
    visits, packets = most_records(chip.image, period)
    spikes = chip.machine.run(stimulus).total("spikes")
    fastest: list[int] = []
    for _ in range(REPEATS):
        state = arrays.make_state(source.program, source.state, lanes)
        rows = visits + len(source.program.bias)
        record = arrays.make_record(rows=rows, outputs=packets, visits=False, lanes=lanes)
        spent = np.zeros(len(PHASES), np.int64)
        _steps(source.program, state, record, job.at, stimulus.packet, lanes, period, spent)
        if int(state.counters[arrays.SPIKES].sum()) != spikes:
            raise RuntimeError(f"the phases fire {state.counters[arrays.SPIKES].sum()} spikes, not {spikes}")
        if not fastest or spent.sum() < sum(fastest):
            fastest = spent.tolist()
    return {name: part / sum(fastest) for name, part in zip(PHASES, fastest, strict=True)}


def rows(chip: Chip, x: NDArray[np.float64]) -> Iterator[Row]:
    """Yield one row a phase."""
    for name, share in shares(chip, x).items():
        yield Row(f"LeNet, {name}", "", f"{share:.0%}", "the time of a step on one thread")
