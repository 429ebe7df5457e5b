# SPDX-License-Identifier: Apache-2.0
"""One timestep of one core up to its emissions (machine.md, rules 1 to 7 and 9).

The rules are written as loops over all neurons of a core, one rule after the other and without branches: the
neurons do not know each other, so this is the walk, and the compiler makes vectors of it.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import inner
from emu.kernels.crossbar import discard, integrate
from emu.kernels.membrane import membranes
from emu.kernels.quantise import compare, take_thresholds
from emu.kernels.state import (
    ENTRY_FIRE,
    ENTRY_INIT,
    ENTRY_INTEGRATE,
    ENTRY_REPEAT,
    ENTRY_UPDATE,
    NEURON_UPDATES,
    SPIKE_CORE,
    SPIKE_NEURON,
    SPIKE_STEP,
    SPIKES,
    USED_SPIKES,
    USED_VISITS,
    VISIT_CURRENT,
    VISIT_POTENTIAL,
    VISIT_REFRACTORY,
    Program,
    Record,
    State,
)
from emu.words import CROSSED_BITS

__all__ = ["advance_schedule", "current_entry", "execute", "is_walked", "visit"]

CROSSED_MASK = (1 << CROSSED_BITS) - 1


@inner
def _write_down(program: Program, state: State, record: Record, core: int, step: int) -> int:
    """Record spikes and, if asked for, states; return how many neurons fired (in ``state.fired``)."""
    n, at = program.neurons[core], program.neuron_at[core]
    crossed, fired = state.crossed[at : at + n], state.fired
    count = spikes = 0
    for i in range(n):
        fired[count] = i
        count += crossed[i] != 0
        spikes += abs(crossed[i])
    state.counters[SPIKES, core] += spikes
    row = record.used[USED_SPIKES]
    key = step << SPIKE_STEP | core << SPIKE_CORE
    for i in range(count):
        record.spikes[row + i] = key | fired[i] << SPIKE_NEURON | crossed[fired[i]] & CROSSED_MASK
    record.used[USED_SPIKES] = row + count
    if len(record.visits):
        row = record.used[USED_VISITS]
        for i in range(n):
            record.visits[row + i, 0] = step
            record.visits[row + i, 1] = core
            record.visits[row + i, 2] = i
            record.visits[row + i, VISIT_POTENTIAL] = state.potential[at + i]
            record.visits[row + i, VISIT_CURRENT] = state.current[at + i]
            record.visits[row + i, VISIT_REFRACTORY] = state.refractory[at + i]
        record.used[USED_VISITS] = row + n
    return count


@inner
def is_walked(program: Program, core: int, entry: int) -> bool:
    """Return whether the neurons of a core are visited in a step of a schedule entry."""
    row = program.schedule[entry]
    some = row[ENTRY_INIT] or row[ENTRY_UPDATE] or row[ENTRY_FIRE]
    return program.neurons[core] > 0 and some  # type: ignore[no-any-return]


@inner
def visit(
    program: Program,
    state: State,
    record: Record,
    core: int,
    step: int,
    entry: int,
) -> tuple[int, int, int]:
    """Integrate and walk: a step of an enabled core, whose entry and thresholds were taken.

    Returns
    -------
    How many axons were present, 1 if the neurons were visited, and how many of them fired.
    """
    walked, events = is_walked(program, core, entry), 0
    if walked and program.schedule[entry, ENTRY_INTEGRATE]:
        events = integrate(program, state, core, step & 1)
    else:
        events = discard(program, state, core, step & 1)
        for column in range(program.neurons[core] * program.columns[core]):
            state.sums[column] = 0
    if not walked:
        return events, 0, 0
    membranes(program, state, core, entry)
    compare(program, state, core, entry)
    state.counters[NEURON_UPDATES, core] += program.neurons[core]
    return events, 1, _write_down(program, state, record, core, step)


@inner
def current_entry(program: Program, state: State, core: int) -> int:
    """Return the schedule entry that holds (row of ``program.schedule``), -1 for a disabled core."""
    if not program.enabled[core]:
        return -1
    return program.schedule_at[core] + state.entry[core]  # type: ignore[no-any-return]


@inner
def advance_schedule(program: Program, state: State, core: int) -> None:
    """Move the schedule position of a core on by one step (rule 9)."""
    entry = program.schedule_at[core] + state.entry[core]
    state.repetition[core] += 1
    if state.repetition[core] >= program.schedule[entry, ENTRY_REPEAT]:
        state.repetition[core] = 0
        state.entry[core] += 1
        if state.entry[core] >= program.schedule_length[core]:
            state.entry[core] = 0


@inner
def execute(program: Program, state: State, record: Record, core: int, step: int) -> tuple[int, int, int]:
    """Execute a step of a core with the events of bank ``step`` mod 2.

    Returns
    -------
    The schedule entry that held, how many axons were present, and 1 if the neurons were visited:
    ``state.crossed`` is of this step only then.
    """
    entry = current_entry(program, state, core)
    if entry < 0:
        discard(program, state, core, step & 1)
        return -1, 0, 0
    take_thresholds(program, state, core, entry)
    events, walked, _ = visit(program, state, record, core, step, entry)
    advance_schedule(program, state, core)
    return entry, events, walked
