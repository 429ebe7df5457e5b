# SPDX-License-Identifier: Apache-2.0
"""Which images run with their lanes abreast, and their cells by column for it (`emu.kernels.abreast`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emu.kernels.beside import SMALL, Groups
from emu.kernels.state import Program
from emu.kernels.vectors import GROUP_ROWS, LANES

__all__ = ["groups_of", "runs_abreast"]

Ints = NDArray[np.int64]
_INT32 = np.iinfo(np.int32).max


def _cells(program: Program, core: int) -> NDArray[np.integer]:
    """Return what a core multiplies payloads with, shape (axons, columns)."""
    shape = program.axons[core], program.neurons[core] * program.columns[core]
    folded = program.weight_at[core] >= 0
    table = program.weights if folded else program.cells
    begin = program.weight_at[core] if folded else program.cell_at[core]
    return table[begin : begin + shape[0] * shape[1]].reshape(shape)


def runs_abreast(program: Program) -> bool:
    """Return whether all neurons of a program are plain, with one column each, and fit 32 bits."""
    plain = not program.dynamic.any() and bool((program.columns[program.enabled > 0] == 1).all())
    return plain and all(_fits(program, core) for core in np.flatnonzero(program.neurons).tolist())


def _fits(program: Program, core: int) -> bool:
    """Return whether a potential of a core, before it is clipped, fits 32 bits whatever payloads come."""
    cells, own = _cells(program, core), slice(program.axon_at[core], None)
    most = np.abs(cells.astype(np.int32)).max(axis=1, initial=0)
    rows = program.row_cells[own][: len(cells)]
    extreme = (1 << program.shift[own][: len(cells)]) << (program.payload_bits - 1)
    sums = int((np.where(rows > 0, most, 0) * extreme).sum())
    first = program.neuron_at[core]
    neurons = slice(first, first + program.neurons[core])
    start = max(int(np.abs(program.v0[neurons]).max(initial=0)), -program.low)
    bias = int(np.abs(program.bias[neurons]).max(initial=0))
    return sums <= _INT32 and sums * abs(int(program.strengths[core, 0])) + bias + start <= _INT32


def _column_groups(cells: NDArray[np.integer]) -> tuple[NDArray[np.uint32], NDArray[np.int16], Ints]:
    """Return the rows and values of cells by column and sign, in groups, and where those begin.

    A group that is not full names the row after the last one.
    """
    signs = np.stack([cells.T > 0, cells.T < 0], axis=1).reshape(-1, len(cells))
    counts = np.count_nonzero(signs, axis=1)
    begin = np.concatenate([[0], np.cumsum(-(-counts // GROUP_ROWS))])
    which, row = np.nonzero(signs)
    offsets = np.concatenate([[0], np.cumsum(counts)])[:-1]
    place = begin[which] * GROUP_ROWS + np.arange(len(row)) - offsets[which]
    rows = np.full(begin[-1] * GROUP_ROWS, len(cells), np.uint32)
    weights = np.zeros(len(rows), np.int16)
    rows[place], weights[place] = row, cells[row, which // 2]
    return rows * np.uint32(LANES), weights, begin


def _is_narrow(program: Program, core: int, cells: NDArray[np.integer]) -> bool:
    """Return whether eight cells of a column, times small payloads, fit 8 bits, and the column 16."""
    if program.shifted[core] or program.weight_at[core] >= 0:
        return False
    return SMALL * int(np.count_nonzero(cells, axis=0).max(initial=0)) <= np.iinfo(np.int16).max


def groups_of(program: Program, cells_per_group: int) -> Groups:
    """Return the cells of every core in groups, equal crossbars once."""
    known: dict[tuple[int, ...], tuple[int, int]] = {}
    rows, weights, begins = [np.zeros(0, np.uint32)], [np.zeros(0, np.int16)], [np.zeros(0, np.int64)]
    at, count, narrow = np.zeros((3, len(program.enabled)), np.int64)
    size = place = 0
    for core in np.flatnonzero(program.neurons).tolist():
        cells = _cells(program, core)
        narrow[core] = _is_narrow(program, core, cells)
        key = (int(program.weight_at[core]), int(program.cell_at[core]), *cells.shape)
        if key not in known:
            own, values, begin = _column_groups(cells)
            known[key] = place, int(begin[-1])
            rows.append(own)
            weights.append(values)
            begins.append(begin + size)
            size, place = size + int(begin[-1]), place + len(begin)
        at[core], count[core] = known[key]
    return Groups(
        rows=np.concatenate(rows),
        weights=np.concatenate(weights),
        begin=np.concatenate(begins).astype(np.int64),
        at=at,
        size=count,
        narrow=narrow,
        cells_per_group=cells_per_group,
    )
