# SPDX-License-Identifier: Apache-2.0
"""Integration of a core in many lanes at once: one column after the other, a vector holds its lanes.

An event costs a cell of every column, whether that is zero or not. Where many samples run side by side most
rows have an event in some lane, so it costs less to add the rows of the cells that are not zero, each in all
lanes. Those of a column are in groups of eight, which 8 bits can hold (`SMALL`).
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

import numpy as np

from emu.jit import njit
from emu.kernels.state import (
    ABSENT,
    CROSSBAR_WORDS,
    GROUP_ROWS,
    LANES,
    SYNAPTIC_OPERATIONS,
    Program,
    State,
)

__all__ = ["SMALL", "integrate_lanes", "take_sums"]

SMALL = 15
"""Largest payload, either sign, of which eight add up in 8 bits."""


@njit
def _take_lane(program: Program, state: State, core: int, lane: int, bank: int) -> None:
    """Move the events of a bank into one lane of ``state.active``, and count them."""
    # Unsigned places need no check for an index from the end.
    own, place = np.uint64(program.axon_at[core]), bank * len(program.enabled) + core
    at, events = np.uint64(bank * len(program.row_cells)) + own, state.events[place]
    shifted, operations = program.shifted[core] != 0, 0
    for i in range(events):
        axon = np.uint64(state.event[at + np.uint64(i)])
        payload = state.value[at + axon] << (program.shift[own + axon] if shifted else 0)
        state.value[at + axon] = ABSENT
        state.active[axon * np.uint64(LANES) + np.uint64(lane)] = payload
        operations += program.row_cells[own + axon]
    state.counters[SYNAPTIC_OPERATIONS, core] += operations
    state.counters[CROSSBAR_WORDS, core] += events * program.blocks[core]
    state.events[place] = 0


@njit
def _add_groups(program: Program, state: State, column: int, begin: int, end: int, sign: int) -> None:
    """Add groups of rows in all lanes, or subtract them, to the sums of a column."""
    rows, active, sums = program.group_rows, state.active, state.beside
    out = np.uint64(column) * np.uint64(LANES)
    for group in range(begin, end):
        at = np.uint64(group) * np.uint64(GROUP_ROWS)
        r0, r1 = rows[at], rows[at + np.uint64(1)]
        r2, r3 = rows[at + np.uint64(2)], rows[at + np.uint64(3)]
        r4, r5 = rows[at + np.uint64(4)], rows[at + np.uint64(5)]
        r6, r7 = rows[at + np.uint64(6)], rows[at + np.uint64(7)]
        for lane in range(LANES):
            i = np.uint64(lane)
            some = np.int8(
                active[r0 + i]
                + active[r1 + i]
                + active[r2 + i]
                + active[r3 + i]
                + active[r4 + i]
                + active[r5 + i]
                + active[r6 + i]
                + active[r7 + i]
            )
            sums[out + i] += sign * some


@njit
def integrate_lanes(program: Program, state: State, core: int, lanes: int, half: int) -> bool:
    """Put the column sums of a core in every lane into ``state.beside`` if that is faster.

    Its banks are clear then. The caller knows that no payload is beyond `SMALL`; ``half`` is the parity of
    the step.
    """
    width, groups = program.neurons[core] * program.columns[core], program.groups[core]
    events = 0
    for lane in range(lanes):
        events += state.events[(2 * lane + half) * len(program.enabled) + core]
    if groups == 0 or events * width < groups * program.cells_per_group:
        return False
    state.active[: (program.axons[core] + 1) * LANES] = 0
    for lane in range(lanes):
        _take_lane(program, state, core, lane, 2 * lane + half)
    state.beside[: width * LANES] = 0
    for column in range(width):
        begin = program.group_at[core] + 2 * column
        first, middle, last = program.group[begin], program.group[begin + 1], program.group[begin + 2]
        _add_groups(program, state, column, first, middle, 1)
        _add_groups(program, state, column, middle, last, -1)
    return True


@njit
def take_sums(program: Program, state: State, core: int, lane: int) -> None:
    """Put the column sums of one lane into ``state.sums``."""
    at = np.uint64(lane)
    for column in range(program.neurons[core] * program.columns[core]):
        state.sums[column] = state.beside[np.uint64(column) * np.uint64(LANES) + at]
