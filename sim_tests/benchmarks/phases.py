# SPDX-License-Identifier: Apache-2.0
"""Where the time of LeNet goes: the steps of the functional mode with a clock around each phase."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emu.functional import Job, Source, check_stimulus
from emu.jit import njit, ticks
from emu.kernels import abreast, neuron
from emu.kernels import state as arrays
from emu.kernels.beside import Groups, Lanes, discard_lanes, integrate_lanes, make_lanes
from emu.kernels.feed import feed
from emu.kernels.state import (
    ENTRY_INTEGRATE,
    SATURATIONS,
    SPIKE_CORE,
    SPIKE_NEURON,
    SPIKE_STEP,
    Ints,
    Program,
    Record,
    State,
)
from emu.kernels.vectors import LANES
from mapping.chip import Chip
from sim_tests.benchmarks.measure import Row

__all__ = ["PHASES", "rows", "shares"]

PHASES = ("stimulus", "integration", "potentials", "comparison", "records", "packets")
REPEATS = 4


@njit
def _walk(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    core: int,
    entry: int,
    used: int,
    half: int,
    now: int,
    span: int,
    spent: Ints,
) -> None:
    """Visit the neurons of a core in all lanes as `emu.kernels.abreast` does."""
    for i in range(program.neurons[core]):
        own, at = program.neuron_at[core] + i, np.uint64(i) * np.uint64(LANES)
        a = ticks()
        state.counters[SATURATIONS, core] += abreast._membrane(program, lanes, core, own, at, entry, used)
        b = ticks()
        fired = abreast._compare(program, state, lanes, core, own, at, entry, used)
        c = ticks()
        spent[2] += b - a
        spent[3] += c - b
        if fired > 0:
            key = now << SPIKE_STEP | core << SPIKE_CORE | i << SPIKE_NEURON
            abreast._record_spikes(lanes, record, used, key, span << SPIKE_STEP)
            d = ticks()
            if program.connected[own]:
                abreast._emit(program, state, lanes, record, own, entry, half ^ 1, now, span)
            spent[4] += d - c
            spent[5] += ticks() - d


@njit
def _steps(
    program: Program,
    state: State,
    lanes: Lanes,
    groups: Groups,
    record: Record,
    at: Ints,
    packets: Ints,
    keys: Ints,
    slots: Ints,
    used: int,
    span: int,
    spent: Ints,
) -> None:
    """Execute one period of an image in every lane; add the ticks of each phase to ``spent``."""
    for step in range(span):
        start, half = ticks(), step & 1
        feed(program, state, lanes, record, at, packets, keys, slots, used, half, step, span)
        spent[0] += ticks() - start
        for core in range(len(program.enabled)):
            entry = neuron.current_entry(program, state, core)
            if entry < 0:
                continue
            start, walked = ticks(), neuron.is_walked(program, core, entry)
            if walked and program.schedule[entry, ENTRY_INTEGRATE]:
                integrate_lanes(program, state, lanes, groups, core, used, half, False)
            else:
                discard_lanes(program, lanes, core, half)
                lanes.sums[: program.neurons[core] * LANES] = 0
            spent[1] += ticks() - start
            if walked:
                _walk(program, state, lanes, record, core, entry, used, half, step, span, spent)
            neuron.advance_schedule(program, state, core)


def shares(chip: Chip, x: NDArray[np.float64]) -> dict[str, float]:
    """Return the share of each phase in the time of samples side by side, from the fastest of several runs.

    Raises
    ------
    RuntimeError
        If the phases fire other spikes than the machine does.
    """
    stimulus, source = chip.stimulus(x), Source(chip.image)
    keys = check_stimulus(stimulus, source)[2]
    job = Job(source=source, stimulus=stimulus, heard=stimulus, leaving=0, loudest=0, keys=keys, visits=False)
    period, used = source.period or 1, len(x)
    visits, packets = source.records
    spikes = chip.machine.run(stimulus).total("spikes")
    fastest: list[int] = []
    for _ in range(REPEATS):
        state, lanes = arrays.make_state(source.program, source.state), make_lanes(source.program)
        rows = visits + len(source.program.bias)
        record = arrays.make_record(rows=rows, outputs=packets, visits=False, lanes=used)
        spent = np.zeros(len(PHASES), np.int64)
        given = source.program, state, lanes, source.groups, record
        _steps(*given, job.at, stimulus.packet, keys, source.slots, used, period, spent)
        if int(state.counters[arrays.SPIKES].sum()) != spikes:
            raise RuntimeError(f"the phases fire {state.counters[arrays.SPIKES].sum()} spikes, not {spikes}")
        if not fastest or spent.sum() < sum(fastest):
            fastest = spent.tolist()
    return {name: part / sum(fastest) for name, part in zip(PHASES, fastest, strict=True)}


def rows(chip: Chip, x: NDArray[np.float64]) -> Iterator[Row]:
    """Yield one row a phase."""
    for name, share in shares(chip, x).items():
        yield Row(f"LeNet, {name}", "", f"{share:.0%}", "the time of a step on one thread")
