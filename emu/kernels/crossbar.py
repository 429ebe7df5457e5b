# SPDX-License-Identifier: Apache-2.0
"""Integration: the column sums of the present rows (machine.md, rule 4), in three ways with equal sums.

Few present rows are added, equal payloads together; many are counted in bit planes; payloads of many values
are multiplied. docs/benchmarks.md has the measurements behind the choice.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.jit import inner, popcount
from emu.kernels.state import (
    ABSENT,
    CROSSBAR_WORDS,
    GROUPS,
    SYNAPTIC_OPERATIONS,
    WORD,
    Program,
    State,
)

__all__ = ["add_rows", "count_planes", "discard", "integrate"]

AT_ONCE = 120
"""Rows that are added in 8 bits before the sum could overflow; a multiple of the 8 added at once."""


@inner
def discard(program: Program, state: State, core: int, bank: int) -> int:
    """Clear a bank of a core and return how many axons were present."""
    at = bank * len(program.row_cells) + program.axon_at[core]
    place = bank * len(program.enabled) + core
    count = state.events[place]
    for i in range(count):
        state.value[at + state.event[at + i]] = ABSENT
    state.events[place] = 0
    return count  # type: ignore[no-any-return]


@inner
def _flush(sums: NDArray[np.int32], partial: NDArray[np.int8], payload: int) -> None:
    """Add the sums of 8 bits, times their payload, to the column sums, and clear them."""
    width, times = len(sums), np.int32(payload)
    for column in range(width):
        sums[column] += times * partial[column]
    for column in range(width):
        partial[column] = 0


@inner
def add_rows(
    cells: NDArray[np.int8],
    begin: int,
    picked: NDArray[np.int32],
    payload: int,
    sums: NDArray[np.int32],
    partial: NDArray[np.int8],
) -> None:
    """Add the picked rows of a core, whose cells begin at ``begin``, to its sums, all with one payload."""
    width, count, i = len(sums), len(picked), 0
    while i + 8 <= count:
        r0 = cells[begin + picked[i] * width :][:width]
        r1 = cells[begin + picked[i + 1] * width :][:width]
        r2 = cells[begin + picked[i + 2] * width :][:width]
        r3 = cells[begin + picked[i + 3] * width :][:width]
        r4 = cells[begin + picked[i + 4] * width :][:width]
        r5 = cells[begin + picked[i + 5] * width :][:width]
        r6 = cells[begin + picked[i + 6] * width :][:width]
        r7 = cells[begin + picked[i + 7] * width :][:width]
        for c in range(width):
            partial[c] += r0[c] + r1[c] + r2[c] + r3[c] + r4[c] + r5[c] + r6[c] + r7[c]
        i += 8
        if i % AT_ONCE == 0:
            _flush(sums, partial, payload)
    while i < count:
        row = cells[begin + picked[i] * width :][:width]
        for c in range(width):
            partial[c] += row[c]
        i += 1
    _flush(sums, partial, payload)


@inner
def _by_value(program: Program, state: State, core: int, width: int, low: int, high: int) -> None:
    """Add the rows of events whose payloads are ``low`` to ``high``, value by value."""
    rows, sums, partial = len(state.payload), state.sums[:width], state.partial[:width]
    for payload in range(low, high + 1):
        group = payload % GROUPS
        picked = state.picked[group * rows :][: state.group[group]]
        if payload != 0 and len(picked):
            add_rows(program.cells, program.cell_at[core], picked, payload, sums, partial)


@inner
def _by_product(
    table: NDArray[np.integer[Any]],
    sums: NDArray[np.int32],
    event: NDArray[np.integer[Any]],
    payload: NDArray[np.int32],
) -> None:
    """Add the rows of events, of cells or of weights, each times its payload."""
    width = len(sums)
    for i in range(len(event)):
        begin = np.int64(event[i]) * width
        row, value = table[begin : begin + width], np.int32(payload[i])
        for column in range(width):
            sums[column] += value * row[column]


@inner
def count_planes(
    planes: NDArray[np.uint64], plane: NDArray[np.uint64], words: int, bits: int, sums: NDArray[np.int32]
) -> None:
    """Add the cells of a core, as bit planes, under each word and bit of the payloads to its sums."""
    width = len(sums)
    for word in range(words):
        begin = 2 * word * width
        positive, negative = planes[begin : begin + width], planes[begin + width : begin + 2 * width]
        for bit in range(bits):
            mask = plane[bit * words + word]
            if mask != 0:
                for column in range(width):
                    more = popcount(positive[column] & mask) - popcount(negative[column] & mask)
                    sums[column] += more << bit


@inner
def _by_plane(program: Program, state: State, core: int, events: int, at: int, width: int, bits: int) -> None:
    """Count the positive and the negative cells under the events, one bit of the payloads after the other."""
    words = (program.axons[core] + WORD - 1) // WORD
    plane, sums = state.plane, state.sums[:width]
    for i in range(bits * words):
        plane[i] = 0
    for i in range(events):
        axon = np.int64(state.event[at + i])
        for bit in range(bits):
            one = np.uint64(state.payload[i] >> bit & 1)
            plane[bit * words + axon // WORD] |= one << np.uint64(axon % WORD)
    count_planes(program.planes[program.plane_at[core] :], plane, words, bits, sums)


@inner
def _take_events(program: Program, state: State, core: int, bank: int, events: int) -> tuple[int, int]:
    """Move a bank into ``state.payload`` and groups of equal payloads; return the least and the greatest.

    A group holds one payload if all are within `GROUPS`; otherwise nobody reads the groups.
    """
    # Unsigned places need no check for an index from the end.
    own, rows = np.uint64(program.axon_at[core]), np.uint64(len(state.payload))
    at = np.uint64(bank * len(program.row_cells)) + own
    state.group[:] = 0
    shifted = program.shifted[core] != 0
    operations, low, high = 0, 1 << 31, -1 << 31
    for i in range(events):
        axon = np.uint64(state.event[at + np.uint64(i)])
        payload = state.value[at + axon] << (program.shift[own + axon] if shifted else 0)
        state.value[at + axon] = ABSENT
        state.payload[i] = payload
        group = np.uint64(payload) % np.uint64(GROUPS)
        count = np.uint64(state.group[group])
        state.picked[group * rows + count] = axon
        state.group[group] = count + np.uint64(1)
        low, high = min(low, payload), max(high, payload)
        operations += program.row_cells[own + axon]
    state.counters[SYNAPTIC_OPERATIONS, core] += operations
    state.counters[CROSSBAR_WORDS, core] += events * program.blocks[core]
    state.events[bank * len(program.enabled) + core] = 0
    return low, high


@inner
def integrate(program: Program, state: State, core: int, bank: int) -> int:
    """Put the column sums of a bank's events into ``state.sums``, clear it, return how many there were."""
    at = bank * len(program.row_cells) + program.axon_at[core]
    place = bank * len(program.enabled) + core
    width, events = program.neurons[core] * program.columns[core], state.events[place]
    for column in range(width):
        state.sums[column] = 0
    if events == 0:
        return 0
    low, high = _take_events(program, state, core, bank, events)
    bits = 0
    while high >> bits > 0:
        bits += 1
    words = (program.axons[core] + WORD - 1) // WORD
    sums, event, payload = state.sums[:width], state.event[at : at + events], state.payload
    if program.weight_at[core] >= 0:
        _by_product(program.weights[program.weight_at[core] :], sums, event, payload)
    elif low >= 0 and events > program.rows_per_plane * bits * words:
        _by_plane(program, state, core, events, at, width, bits)
    elif high - low < GROUPS:
        _by_value(program, state, core, width, low, high)
    else:
        _by_product(program.cells[program.cell_at[core] :], sums, event, payload)
    return events  # type: ignore[no-any-return]
