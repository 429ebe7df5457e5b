# SPDX-License-Identifier: Apache-2.0
"""The arrays that kernels work on, as structures of arrays: all cores one after the other, sized once.

A functional run may have several *lanes*, stretches of its steps that have nothing to do with each other and
are executed side by side (`emu.kernels.beside`). A record has rows for each lane; every index without a lane
is of lane 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.jit import njit
from emu.spec import MOST_ACROSS
from emu.tables import column
from emu.words import COUNTERS, CROSSED_BITS, PACKET, RECTANGLE, STATE_FIELDS, Section

__all__ = [
    "ABSENT",
    "GROUPS",
    "TARGET",
    "WORD",
    "Program",
    "Record",
    "State",
    "clear_record",
    "make_record",
    "make_state",
    "unpack_spikes",
]

Ints = NDArray[np.int64]

# Rows of State.counters (docs/reference/machine.md, "Counters").
SPIKES = COUNTERS.index("spikes")
PACKETS = COUNTERS.index("packets")
DELIVERIES = COUNTERS.index("deliveries")
MERGES = COUNTERS.index("merges")
SYNAPTIC_OPERATIONS = COUNTERS.index("synaptic_operations")
CROSSBAR_WORDS = COUNTERS.index("crossbar_words")
NEURON_UPDATES = COUNTERS.index("neuron_updates")
THRESHOLDS = COUNTERS.index("thresholds")
SATURATIONS = COUNTERS.index("saturations")
ERRORS = COUNTERS.index("errors")
INTEGRATE = COUNTERS.index("integrate")
UPDATE = COUNTERS.index("update")
SEND_STALL = COUNTERS.index("send_stall")
TOKEN_WAIT = COUNTERS.index("token_wait")
PAUSED = COUNTERS.index("paused")
HOPS = COUNTERS.index("hops")
TOKEN_HOPS = COUNTERS.index("token_hops")
ROUTER_ERRORS = COUNTERS.index("router_errors")
CROSSINGS = COUNTERS.index("crossings")

# Columns of Program.schedule.
ENTRY_REPEAT = column(Section.SCHEDULE, "repeat")
ENTRY_INIT = column(Section.SCHEDULE, "init")
ENTRY_INTEGRATE = column(Section.SCHEDULE, "integrate")
ENTRY_UPDATE = column(Section.SCHEDULE, "update")
ENTRY_FIRE = column(Section.SCHEDULE, "fire")
ENTRY_FIRST = column(Section.SCHEDULE, "threshold_first")
ENTRY_COUNT = column(Section.SCHEDULE, "threshold_count")
ENTRY_RESET = column(Section.SCHEDULE, "reset_value")
ENTRY_EMIT = column(Section.SCHEDULE, "emit")

# Columns of a packet, a row of a stimulus, and of a target, a row of Program.fanout.
X0, X1, Y0, Y1, AXON, PAYLOAD = (PACKET.index(name) for name in PACKET)
TARGET = (*RECTANGLE, "axon", "last")
LAST = TARGET.index("last")

# Columns of Program.dynamics: the fields of a profile that plain neurons do without.
DYNAMICS = ("signed", "refractory_period", "potential_decay", "current_kept")
SIGNED, REFRACTORY_PERIOD, POTENTIAL_DECAY, CURRENT_KEPT = range(4)

LADDER_ROWS = 5
"""Parts of a ladder in State.theta: first, step, offset, what a tie adds, the least count."""

# Places in Record.used, of each lane.
USED_SPIKES, USED_VISITS, USED_OUTPUTS, USED_KINDS = range(4)

# Columns of Record.visits: step, core, neuron, then the state word.
VISIT_COLUMNS = 3 + len(STATE_FIELDS)
VISIT_POTENTIAL, VISIT_CURRENT, VISIT_REFRACTORY = (
    3 + STATE_FIELDS.index(name) for name in ("potential", "current", "refractory")
)

ABSENT = -(1 << 15)
"""Value of an axon without an event; no payload is as small."""

WORD = 64
"""Axons of a word of a bit plane."""

GROUPS = 8
"""Groups of events with equal payloads; a power of two."""

# A spike in one number: the step above, then core, neuron and count, each in its greatest width (emu.spec).
CORE_BITS, NEURON_BITS = (MOST_ACROSS**2 - 1).bit_length(), 12
SPIKE_NEURON = CROSSED_BITS
SPIKE_CORE = SPIKE_NEURON + NEURON_BITS
SPIKE_STEP = SPIKE_CORE + CORE_BITS

_MOST_RECTANGLES = 1 << 18


class Program(NamedTuple):
    """What an image fixes; C cores, N neurons, A axons concatenated, a core's part begins at ``*_at``."""

    width: int
    height: int
    inlets: Ints  # (i,) the places of the inputs that the host feeds (`emu.topology`)
    outlets: Ints  # (width + 1,) outlets west of each column
    across: int  # x coordinates that fit a flit
    down: int  # y coordinates that fit a flit
    low: int
    high: int
    payload_bits: int
    axon_bits: int  # of an axon in a flit
    forever: int  # largest refractory count
    apart: int  # N, or 0 if no neuron keeps anything from step to step
    rows_per_plane: int  # rows that are added in the time in which one word of a bit plane is counted
    integrate_fill: int  # FI
    walk_fill: int  # FW
    behind: Ints  # (8 C,) what an output leads to (`emu.topology`), output p of router r at 8 r + p
    links: Ints  # (8 C,) 1 where an output leads to another chip
    enabled: Ints  # (C,) 0 or 1
    axons: Ints  # (C,) the axons register
    neurons: Ints  # (C,)
    columns: Ints  # (C,) k, 1 where the digits of a neuron are folded into one weight
    digits: Ints  # (C,) k
    per_block: Ints  # (C,) m, neurons of a block
    blocks: Ints  # (C,) B
    axon_at: Ints  # (C,)
    cell_at: Ints  # (C,)
    weight_at: Ints  # (C,) -1 if the core is not folded
    plane_at: Ints  # (C,)
    neuron_at: Ints  # (C,)
    fanout_at: Ints  # (C,)
    fanouts: Ints  # (C,) fan-out entries
    kept: Ints  # (C,) 0 if every neuron of the core is cleared in each step
    dynamic: Ints  # (C,) 1 if a neuron has a current, a decay, a refractory period or a value it is reset to
    ladder: Ints  # (C,) 1 if the core compares with ladders
    shifted: Ints  # (C,) 1 if a row of the core is shifted
    schedule_at: Ints  # (C,)
    schedule_length: Ints  # (C,)
    cells: NDArray[np.int8]  # rows of every core, n k cells each
    weights: NDArray[np.int16]  # rows of every folded core, n weights each
    planes: NDArray[np.uint64]  # words of 64 rows of every core: n k of positive cells, n k of negative ones
    row_cells: Ints  # (A,) cells of a row that are not zero
    strengths: Ints  # (C, strengths)
    bias: Ints  # (N,)
    v0: Ints  # (N,)
    reset: Ints  # (N,)
    emission: Ints  # (N,)
    dynamics: Ints  # (N, 4) as DYNAMICS names them
    connected: Ints  # (N,)
    threshold_base: Ints  # (N,) index into thresholds, or into ladders
    fanout_base: Ints  # (N,) index into fanout
    thresholds: Ints
    ladders: Ints  # (l, 4) first, step, offset, ties
    shift: Ints  # (A,) of the axon's row
    fanout: Ints  # (f, 6) as TARGET names them
    only: Ints  # (f,) the one core of the rectangle; -1 if there are several, or none, or the gateway
    schedule: Ints  # (e, fields) as in emu.words


class State(NamedTuple):
    """What a run changes. Bank b of a core collects the events of its steps t with t mod 2 = b."""

    potential: Ints  # (N,)
    current: Ints  # (N,)
    refractory: Ints  # (N,)
    crossed: Ints  # (N,) c of the core's latest step
    value: NDArray[np.int16]  # (2 A,) ABSENT without an event
    event: NDArray[np.integer[Any]]  # (2 A,) present axons of a core in order of arrival, from axon_at on
    events: Ints  # (2 C,) how many
    entry: Ints  # (C,) schedule position
    repetition: Ints  # (C,)
    counters: Ints  # (counters, C)
    sent: Ints  # (f,) packets by fan-out entry, still to be counted as hops
    fed: Ints  # stimulus packets by rectangle, still to be counted; empty for too many or several inlets
    sums: NDArray[np.int32]  # scratch of one core, as all below
    partial: NDArray[np.int8]
    group: Ints  # (GROUPS,) axons picked of each group
    picked: NDArray[np.int32]
    payload: NDArray[np.int32]
    plane: NDArray[np.uint64]
    theta: Ints  # thresholds of the current entry: all first ones, all second ones, ...; or LADDER_ROWS
    last: Ints
    fired: Ints  # neurons that crossed a threshold in the latest walk


class Record(NamedTuple):
    """What a run writes down until the caller takes it away; each lane has an equal share of the rows."""

    spikes: Ints  # (s,) step, core, neuron, count in one number
    visits: Ints  # (v, fields) step, core, neuron and the state stored; no rows if not recorded
    outputs: Ints  # (o, 3) step, axon, payload
    used: Ints  # (3 L,) the next free rows


def make_state(program: Program, start: Mapping[str, Ints]) -> State:
    """Return the state at the start of a run, with a copy of ``start``, by field."""
    cores, axons = len(program.enabled), len(program.row_cells)
    widest = max(1, int((program.neurons * program.digits).max(initial=0)))
    rows, neurons = (max(1, int(sizes.max(initial=0))) for sizes in (program.axons, program.neurons))
    fire = program.schedule[:, ENTRY_FIRE] > 0
    lists = np.repeat(program.ladder[program.enabled > 0] == 0, program.schedule_length[program.enabled > 0])
    most = int(program.schedule[fire & lists, ENTRY_COUNT].max(initial=0))
    compares = max(1, most, LADDER_ROWS if program.ladder.any() else 0)
    rectangles = (program.across * program.down) ** 2 if len(program.inlets) == 1 else 0
    return State(
        **{name: values.copy() for name, values in start.items()},
        crossed=np.zeros(len(program.bias), np.int64),
        value=np.full(2 * axons, ABSENT, np.int16),
        event=np.zeros(2 * axons, np.uint16 if rows <= 1 << 16 else np.int32),
        events=np.zeros(2 * cores, np.int64),
        entry=np.zeros(cores, np.int64),
        repetition=np.zeros(cores, np.int64),
        counters=np.zeros((len(COUNTERS), cores), np.int64),
        sent=np.zeros(len(program.fanout), np.int64),
        fed=np.zeros(rectangles if rectangles <= _MOST_RECTANGLES else 0, np.int64),
        sums=np.zeros(widest, np.int32),
        partial=np.zeros(widest, np.int8),
        group=np.zeros(GROUPS, np.int64),
        picked=np.zeros(GROUPS * rows, np.int32),
        payload=np.zeros(rows, np.int32),
        plane=np.zeros(16 * (-(-rows // WORD)), np.uint64),
        theta=np.zeros(compares * neurons, np.int64),
        last=np.zeros(neurons, np.int64),
        fired=np.zeros(neurons, np.int64),
    )


def make_record(*, rows: int, outputs: int, visits: bool, lanes: int = 1) -> Record:
    """Return empty buffers.

    Parameters
    ----------
    rows : int
        Neuron visits that each lane can record.
    outputs : int
        Packets to the gateway that each lane can record.
    visits : bool
        Whether the state that a visit stores is recorded.
    """
    return _started(
        Record(
            spikes=np.empty(lanes * rows, np.int64),
            visits=np.zeros((lanes * rows if visits else 0, VISIT_COLUMNS), np.int64),
            outputs=np.empty((lanes * outputs, 3), np.int64),
            used=np.zeros(USED_KINDS * lanes, np.int64),
        )
    )


def _started(record: Record) -> Record:
    """Let every lane write from its first row on."""
    lanes = len(record.used) // USED_KINDS
    for kind, rows in enumerate((record.spikes, record.visits, record.outputs)):
        record.used[kind::USED_KINDS] = np.arange(lanes) * (len(rows) // lanes)
    return record


def clear_record(record: Record) -> list[tuple[Ints, Ints, Ints]]:
    """Return copies of the rows in use (spikes, visits, outputs) of lanes with any; clear the buffers."""
    lanes = len(record.used) // USED_KINDS
    used = record.used.reshape(lanes, USED_KINDS).copy()
    _started(record)
    first = record.used.reshape(lanes, USED_KINDS)
    kinds = (record.spikes, record.visits, record.outputs)
    return [
        tuple(  # type: ignore[misc]
            rows[a:b].copy() for rows, a, b in zip(kinds, begin.tolist(), end.tolist(), strict=True)
        )
        for begin, end in zip(first, used, strict=True)
        if (end > begin).any()
    ]


@njit
def unpack_spikes(spikes: Ints, rows: Ints) -> None:
    """Write spikes of one number each as rows (step, core, neuron, count), shape (s, 4)."""
    for i in range(len(spikes)):
        spike = spikes[i]
        rows[i, 0] = spike >> SPIKE_STEP
        rows[i, 1] = spike >> SPIKE_CORE & (1 << CORE_BITS) - 1
        rows[i, 2] = spike >> SPIKE_NEURON & (1 << NEURON_BITS) - 1
        count = spike & (1 << CROSSED_BITS) - 1
        rows[i, 3] = count - ((count >> CROSSED_BITS - 1) << CROSSED_BITS)
