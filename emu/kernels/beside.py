# SPDX-License-Identifier: Apache-2.0
"""Stretches side by side: what lanes hold, how packets come to them, and the column sums of all at once.

A *lane* is a stretch of the run that has nothing to do with the others (docs/decisions/0009). All lanes do
the same at the same time, so a value of every lane is one row, and a rule is one loop over it.

Where many samples run side by side most axons have an event in some lane, so it costs less to add the rows
of the cells that are not zero than to add cells event by event. Those of a column are in groups of eight.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.jit import inner
from emu.kernels.crossbar import integrate
from emu.kernels.state import (
    ABSENT,
    CROSSBAR_WORDS,
    ERRORS,
    MERGES,
    SYNAPTIC_OPERATIONS,
    Ints,
    Program,
    State,
)
from emu.kernels.vectors import LANES, sum_groups, sum_products

__all__ = [
    "SMALL",
    "Groups",
    "Lanes",
    "accept_one",
    "accept_row",
    "discard_lanes",
    "integrate_lanes",
    "make_lanes",
]

SMALL = 15
"""Largest payload, either sign, of which eight add up in 8 bits."""


class Groups(NamedTuple):
    """The cells of every core by column: the rows of those that are not zero, eight a group."""

    rows: NDArray[np.uint32]  # where the row of a cell begins in Lanes.active; that of no axon fills a group
    weights: NDArray[np.int16]  # what the cell multiplies with
    begin: Ints  # of each column: its first group of positive cells, that of negative cells; then the end
    at: Ints  # (C,) place in ``begin``
    size: Ints  # (C,) how many a core has
    narrow: Ints  # (C,) 1 if payloads up to SMALL may be added in 8 bits, columns in 16
    cells_per_group: int  # cells that are added event by event in the time of a group in all lanes


class Lanes(NamedTuple):
    """What all lanes hold, `LANES` values a row; scratch of one core where it says nothing else."""

    value: NDArray[np.int16]  # (2 A,) rows: bank b of every core, ABSENT without an event
    arrived: Ints  # (2 C,) events of a bank in all lanes
    active: NDArray[np.int8]  # (axons + 1,) rows: payloads, zero without an event; that of no axon is zero
    wide: NDArray[np.int16]  # the same where payloads are beyond SMALL; the weights of no axon are zero
    sums: NDArray[np.int32]  # (columns,) rows
    kept: NDArray[np.int32]  # (N,) rows: potentials of all cores; none if no neuron keeps anything
    crossed: NDArray[np.int32]  # one row
    last: NDArray[np.int32]  # one row: the last threshold that was crossed
    climbed: Ints  # one row: c times the step of a ladder
    next: Ints  # one row: the next packet of the host
    end: Ints  # one row: the packet after the last of the step
    sent: NDArray[np.int16]  # one row: payloads to be delivered, ABSENT where there is none


def make_lanes(program: Program) -> Lanes:
    """Return empty lanes."""
    rows, columns = (max(1, int(sizes.max(initial=0))) for sizes in (program.axons, program.neurons))
    return Lanes(
        value=np.full(2 * len(program.row_cells) * LANES, ABSENT, np.int16),
        arrived=np.zeros(2 * len(program.enabled), np.int64),
        active=np.zeros((rows + 1) * LANES, np.int8),
        wide=np.zeros((rows + 1) * LANES, np.int16),
        sums=np.zeros(columns * LANES, np.int32),
        kept=np.zeros(program.apart * LANES, np.int32),
        crossed=np.zeros(LANES, np.int32),
        last=np.zeros(LANES, np.int32),
        climbed=np.zeros(LANES, np.int64),
        next=np.zeros(LANES, np.int64),
        end=np.zeros(LANES, np.int64),
        sent=np.zeros(LANES, np.int16),
    )


@inner
def accept_one(
    program: Program, state: State, lanes: Lanes, core: int, half: int, axon: int, lane: int, payload: int
) -> None:
    """Put a packet into the bank of one lane (machine.md, "Receiving"), unless its axon is illegal."""
    if axon >= program.axons[core]:
        state.counters[ERRORS, core] += 1
        return
    # Unsigned places need no check for an index from the end.
    row = np.uint64(half * len(program.row_cells) + program.axon_at[core] + axon)
    place = row * np.uint64(LANES) + np.uint64(lane)
    before = lanes.value[place]
    lanes.value[place] = max(before, payload)
    merged = before != ABSENT
    state.counters[MERGES, core] += merged
    lanes.arrived[half * len(program.enabled) + core] += not merged


@inner
def accept_row(
    program: Program, state: State, lanes: Lanes, core: int, half: int, axon: int, packets: int
) -> None:
    """Put the ``packets`` of ``lanes.sent`` into the banks of their lanes, unless their axon is illegal."""
    if axon >= program.axons[core]:
        state.counters[ERRORS, core] += packets
        return
    row = np.uint64(half * len(program.row_cells) + program.axon_at[core] + axon) * np.uint64(LANES)
    merged = 0
    for i in range(LANES):
        lane = np.uint64(i)
        before, payload = lanes.value[row + lane], lanes.sent[lane]
        merged += (before != ABSENT) & (payload != ABSENT)
        lanes.value[row + lane] = max(before, payload)
    state.counters[MERGES, core] += merged
    lanes.arrived[half * len(program.enabled) + core] += packets - merged


@inner
def discard_lanes(program: Program, lanes: Lanes, core: int, half: int) -> None:
    """Clear a bank of a core."""
    place = half * len(program.enabled) + core
    if lanes.arrived[place] > 0:
        begin = (half * len(program.row_cells) + program.axon_at[core]) * LANES
        lanes.value[begin : begin + program.axons[core] * LANES] = ABSENT
        lanes.arrived[place] = 0


@inner
def _take_events(program: Program, state: State, lanes: Lanes, core: int, half: int, narrow: bool) -> None:
    """Move a bank into ``lanes.active`` or ``lanes.wide``, and count its events."""
    own = np.uint64(program.axon_at[core])
    begin = np.uint64(half * len(program.row_cells)) + own
    place, operations = half * len(program.enabled) + core, 0
    for axon in range(program.axons[core]):
        at, to = (begin + np.uint64(axon)) * np.uint64(LANES), np.uint64(axon) * np.uint64(LANES)
        shift, some = program.shift[own + np.uint64(axon)], 0
        for i in range(LANES):
            lane = np.uint64(i)
            payload = lanes.value[at + lane]
            some += payload != ABSENT
            lanes.value[at + lane] = ABSENT
            if narrow:
                lanes.active[to + lane] = payload if payload != ABSENT else 0
            else:
                lanes.wide[to + lane] = payload << shift if payload != ABSENT else 0
        operations += some * program.row_cells[own + np.uint64(axon)]
    state.counters[SYNAPTIC_OPERATIONS, core] += operations
    state.counters[CROSSBAR_WORDS, core] += lanes.arrived[place] * program.blocks[core]
    lanes.arrived[place] = 0


@inner
def _by_event(program: Program, state: State, lanes: Lanes, core: int, used: int, half: int) -> None:
    """Integrate the lanes in use one after the other, event by event."""
    begin = np.uint64(half * len(program.row_cells) + program.axon_at[core])
    own, place = np.uint64(program.axon_at[core]), core
    for i in range(used):
        lane, events = np.uint64(i), 0
        for axon in range(program.axons[core]):
            payload = lanes.value[(begin + np.uint64(axon)) * np.uint64(LANES) + lane]
            state.event[own + np.uint64(events)] = axon
            state.value[own + np.uint64(axon)] = payload
            events += payload != ABSENT
        state.events[place] = events
        integrate(program, state, core, 0)
        for column in range(program.neurons[core]):
            lanes.sums[np.uint64(column) * np.uint64(LANES) + lane] = state.sums[column]
    discard_lanes(program, lanes, core, half)


@inner
def _by_group(
    program: Program, state: State, lanes: Lanes, groups: Groups, core: int, half: int, loud: bool
) -> None:
    """Integrate all lanes at once, column by column."""
    narrow = groups.narrow[core] != 0 and not loud
    _take_events(program, state, lanes, core, half, narrow)
    end = program.axons[core] * LANES
    lanes.active[end : end + LANES] = 0
    for column in range(program.neurons[core]):
        at = groups.at[core] + 2 * column
        first, middle, last = groups.begin[at], groups.begin[at + 1], groups.begin[at + 2]
        if narrow:
            sum_groups(lanes.active, groups.rows, first, middle, last, lanes.sums, column * LANES)
        else:
            sum_products(lanes.wide, groups.rows, groups.weights, first, last, lanes.sums, column * LANES)


@inner
def integrate_lanes(
    program: Program,
    state: State,
    lanes: Lanes,
    groups: Groups,
    core: int,
    used: int,
    half: int,
    loud: bool,
) -> None:
    """Put the column sums of a core in every lane into ``lanes.sums``, and clear the bank ``half``.

    ``used`` lanes have events; ``loud``: a payload may be beyond `SMALL`.
    """
    width, events = program.neurons[core], lanes.arrived[half * len(program.enabled) + core]
    if events == 0:
        lanes.sums[: width * LANES] = 0
    elif events * width < groups.size[core] * groups.cells_per_group:
        _by_event(program, state, lanes, core, used, half)
    else:
        _by_group(program, state, lanes, groups, core, half, loud)
