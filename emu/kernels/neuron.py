# SPDX-License-Identifier: Apache-2.0
"""One timestep of one core up to its emissions (machine.md, rules 1 to 7 and 9)."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import njit
from emu.kernels.crossbar import discard, integrate
from emu.kernels.state import (
    ENTRY_COUNT,
    ENTRY_FIRE,
    ENTRY_FIRST,
    ENTRY_INIT,
    ENTRY_INTEGRATE,
    ENTRY_REPEAT,
    ENTRY_UPDATE,
    NEURON_UPDATES,
    SATURATIONS,
    SPIKES,
    USED_POTENTIALS,
    USED_SPIKES,
    Program,
    Record,
    State,
)

__all__ = ["advance_schedule", "execute", "walk"]

RESET_CLEAR, RESET_ZERO, RESET_SUBTRACT = 0, 1, 2


@njit
def _clip(program: Program, state: State, core: int, value: int) -> int:
    """Saturate a potential; a clipped value is counted."""
    if value > program.high:
        state.counters[SATURATIONS, core] += 1
        return program.high
    if value < program.low:
        state.counters[SATURATIONS, core] += 1
        return program.low
    return value


@njit
def _membrane(program: Program, state: State, core: int, neuron: int, entry: int) -> int:
    """Return V after rule 6."""
    at = program.neuron_at[core] + neuron
    if program.schedule[entry, ENTRY_INIT]:
        base = program.v0[at]
    elif program.reset[at] == RESET_CLEAR:
        base = 0
    else:
        base = state.potential[at]
    if not program.schedule[entry, ENTRY_UPDATE]:
        return base  # type: ignore[no-any-return]
    k = program.columns[core]
    drive = 0
    for d in range(k):
        drive += program.strengths[core, d] * state.sums[neuron * k + d]
    return _clip(program, state, core, base + program.bias[at] + drive)


@njit
def _compare(program: Program, state: State, core: int, neuron: int, entry: int, membrane: int) -> int:
    """Store V after rule 7 and return how many thresholds it crossed."""
    at = program.neuron_at[core] + neuron
    crossed = 0
    if program.schedule[entry, ENTRY_FIRE]:
        first = program.threshold_base[at] + program.schedule[entry, ENTRY_FIRST]
        last = 0
        for j in range(first, first + program.schedule[entry, ENTRY_COUNT]):
            if membrane >= program.thresholds[j]:
                crossed += 1
                last = program.thresholds[j]
        if crossed > 0:
            if program.reset[at] == RESET_ZERO:
                membrane = 0
            elif program.reset[at] == RESET_SUBTRACT:
                membrane = _clip(program, state, core, membrane - last)
    state.potential[at] = membrane
    return crossed


@njit
def walk(program: Program, state: State, record: Record, core: int, step: int, entry: int) -> None:
    """Visit the neurons of a core in order; ``state.crossed`` holds the counts afterwards."""
    at = program.neuron_at[core]
    potentials = len(record.potentials) > 0
    for neuron in range(program.neurons[core]):
        membrane = _membrane(program, state, core, neuron, entry)
        crossed = _compare(program, state, core, neuron, entry, membrane)
        state.crossed[at + neuron] = crossed
        if crossed > 0:
            state.counters[SPIKES, core] += crossed
            row = record.used[USED_SPIKES]
            record.spikes[row, 0] = step
            record.spikes[row, 1] = core
            record.spikes[row, 2] = neuron
            record.spikes[row, 3] = crossed
            record.used[USED_SPIKES] = row + 1
        if potentials:
            row = record.used[USED_POTENTIALS]
            record.potentials[row, 0] = step
            record.potentials[row, 1] = core
            record.potentials[row, 2] = neuron
            record.potentials[row, 3] = state.potential[at + neuron]
            record.used[USED_POTENTIALS] = row + 1
    state.counters[NEURON_UPDATES, core] += program.neurons[core]


@njit
def advance_schedule(program: Program, state: State, core: int) -> None:
    """Move the schedule position of a core on by one step (rule 9)."""
    entry = program.schedule_at[core] + state.entry[core]
    state.repetition[core] += 1
    if state.repetition[core] >= program.schedule[entry, ENTRY_REPEAT]:
        state.repetition[core] = 0
        state.entry[core] += 1
        if state.entry[core] >= program.schedule_length[core]:
            state.entry[core] = 0


@njit
def execute(program: Program, state: State, record: Record, core: int, step: int) -> tuple[int, int, int]:
    """Execute a step of a core with the events of bank ``step`` mod 2.

    Returns
    -------
    The schedule entry that held (row of ``program.schedule``, -1 for a disabled core), how many axons were
    present, and 1 if the neurons were visited: ``state.crossed`` is of this step only then.
    """
    if not program.enabled[core]:
        discard(program, state, core, step & 1)
        return -1, 0, 0
    entry = program.schedule_at[core] + state.entry[core]
    width = program.neurons[core] * program.columns[core]
    for column in range(width):
        state.sums[column] = 0
    if program.schedule[entry, ENTRY_INTEGRATE]:
        events = integrate(program, state, core, step & 1)
    else:
        events = discard(program, state, core, step & 1)
    row = program.schedule[entry]
    walked = 0
    if program.neurons[core] > 0 and (row[ENTRY_INIT] or row[ENTRY_UPDATE] or row[ENTRY_FIRE]):
        walk(program, state, record, core, step, entry)
        walked = 1
    advance_schedule(program, state, core)
    return entry, events, walked
