# SPDX-License-Identifier: Apache-2.0
"""The arrays that kernels work on, as structures of arrays: all cores one after the other, sized once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["COUNTER_COUNT", "Program", "Record", "State", "clear_record", "make_record", "make_state"]

Ints = NDArray[np.int64]

# Rows of State.counters, in the order of emu.words.COUNTERS (docs/reference/machine.md, "Counters").
SPIKES = 0
PACKETS = 1
DELIVERIES = 2
MERGES = 3
SYNAPTIC_OPERATIONS = 4
NEURON_UPDATES = 5
SATURATIONS = 6
ERRORS = 7
INTEGRATE = 8
UPDATE = 9
SEND_STALL = 10
TOKEN_WAIT = 11
PAUSED = 12
HOPS = 13
TOKEN_HOPS = 14
ROUTER_ERRORS = 15
COUNTER_COUNT = 16

# Columns of Program.schedule.
ENTRY_REPEAT, ENTRY_INIT, ENTRY_INTEGRATE, ENTRY_UPDATE, ENTRY_FIRE, ENTRY_FIRST, ENTRY_COUNT = range(7)

# Places in Record.used.
USED_SPIKES, USED_POTENTIALS, USED_OUTPUTS = range(3)


class Program(NamedTuple):
    """What an image fixes; C cores, N neurons, A axons concatenated, a core's part begins at ``*_at``."""

    width: int
    height: int
    low: int
    high: int
    enabled: Ints  # (C,) 0 or 1
    axons: Ints  # (C,) the axons register
    neurons: Ints  # (C,)
    columns: Ints  # (C,) k
    words: Ints  # (C,) crossbar words of a row in use
    axon_at: Ints  # (C,)
    cell_at: Ints  # (C,)
    neuron_at: Ints  # (C,)
    schedule_at: Ints  # (C,)
    schedule_length: Ints  # (C,)
    cells: NDArray[np.int8]  # rows of every core, n k cells each
    row_cells: Ints  # (A,) cells of a row that are not zero
    strengths: Ints  # (C, strengths)
    bias: Ints  # (N,)
    v0: Ints  # (N,)
    reset: Ints  # (N,)
    count_emission: Ints  # (N,)
    connected: Ints  # (N,)
    threshold_base: Ints  # (N,) index into thresholds
    fanout_base: Ints  # (N,) index into fanout
    thresholds: Ints
    fanout: Ints  # (f, 6)
    schedule: Ints  # (e, 7)


class State(NamedTuple):
    """What a run changes. Bank b of a core collects the events of its steps t with t mod 2 = b."""

    potential: Ints  # (N,)
    crossed: Ints  # (N,) thresholds crossed in the core's latest step
    sums: NDArray[np.int32]  # (most columns,) scratch of one core
    present: NDArray[np.uint8]  # (2, A)
    value: Ints  # (2, A)
    event: Ints  # (2, A) present axons of a core in order of arrival, from axon_at on
    events: Ints  # (2, C) how many
    entry: Ints  # (C,) schedule position
    repetition: Ints  # (C,)
    counters: Ints  # (COUNTER_COUNT, C)


class Record(NamedTuple):
    """What a run writes down until the caller takes it away."""

    spikes: Ints  # (s, 4) step, core, neuron, count
    potentials: Ints  # (v, 4) step, core, neuron, V; no rows if not wanted
    outputs: Ints  # (o, 3) step, axon, payload
    used: Ints  # (3,) rows in use


def make_state(program: Program, potential: Ints) -> State:
    """Return the state at the start of a run; ``potential`` is copied."""
    cores, axons = len(program.enabled), len(program.row_cells)
    widest = int((program.neurons * program.columns).max(initial=0))
    return State(
        potential=potential.copy(),
        crossed=np.zeros(len(potential), np.int64),
        sums=np.zeros(max(1, widest), np.int32),
        present=np.zeros((2, axons), np.uint8),
        value=np.zeros((2, axons), np.int64),
        event=np.zeros((2, axons), np.int64),
        events=np.zeros((2, cores), np.int64),
        entry=np.zeros(cores, np.int64),
        repetition=np.zeros(cores, np.int64),
        counters=np.zeros((COUNTER_COUNT, cores), np.int64),
    )


def make_record(program: Program, *, outputs: int, potentials: bool) -> Record:
    """Return buffers for at least one step; ``outputs`` is the most packets of a step to the gateway."""
    rows = max(2 * len(program.bias), 1 << 14)
    return Record(
        spikes=np.zeros((rows, 4), np.int64),
        potentials=np.zeros((rows if potentials else 0, 4), np.int64),
        outputs=np.zeros((max(2 * outputs, 1 << 12), 3), np.int64),
        used=np.zeros(3, np.int64),
    )


def clear_record(record: Record) -> tuple[Ints, Ints, Ints]:
    """Return copies of the rows in use (spikes, potentials, outputs) and empty the buffers."""
    spikes, potentials, outputs = (int(used) for used in record.used)
    record.used[:] = 0
    return (
        record.spikes[:spikes].copy(),
        record.potentials[:potentials].copy(),
        record.outputs[:outputs].copy(),
    )
