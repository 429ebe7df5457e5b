# SPDX-License-Identifier: Apache-2.0
"""The records of a run: read from the kernels' buffers in pieces, returned as sorted tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from emu.kernels import state as arrays

__all__ = ["Piece", "Tape", "frozen", "share", "spike_table", "table"]

Ints = NDArray[np.int64]
Piece = tuple[Ints, Ints, Ints]
"""Spikes in one number each, visits, outputs."""


_LEAST_ROWS = 1 << 15
"""Rows for which a thread of its own pays."""


class Tape:
    """Buffers for the kernels and what was taken out of them.

    Parameters
    ----------
    rows, outputs : int
        Capacity of each lane: neuron visits and packets to the gateway.
    visits : bool
        Whether the state that a visit stores is recorded.
    lanes : int
        Lanes of the run that writes.
    """

    def __init__(self, *, rows: int, outputs: int, visits: bool, lanes: int = 1) -> None:
        self.record = arrays.make_record(rows=rows, outputs=outputs, visits=visits, lanes=lanes)
        self.pieces: list[Piece] = []

    def take(self) -> None:
        """Read and clear the buffers, the first lane first."""
        self.pieces += arrays.clear_record(self.record)


def frozen(array: Ints) -> Ints:
    """Return an array after making it read-only."""
    array.flags.writeable = False
    return array


def table(parts: Iterable[Ints], columns: int) -> Ints:
    """Return recorded rows in order of all their columns, read-only."""
    rows = np.concatenate([np.zeros((0, columns), np.int64), *parts])
    return frozen(np.ascontiguousarray(rows[np.lexsort(rows.T[::-1])]))


def share(work: Callable[[int, int], None], rows: int, threads: int) -> None:
    """Let several threads call ``work`` (first row, row after the last) for a part of some rows each."""
    parts = max(1, min(threads, rows // _LEAST_ROWS))
    if parts == 1:
        work(0, rows)
        return
    bounds = np.linspace(0, rows, parts + 1).astype(int).tolist()
    with ThreadPoolExecutor(parts) as pool:
        for _ in pool.map(work, bounds[:-1], bounds[1:]):
            pass


def spike_table(pieces: Sequence[Piece], *, ordered: bool, threads: int = 1) -> Ints:
    """Return rows (step, core, neuron, count) of all spikes in order, read-only; ``ordered``: they are."""
    spikes = np.concatenate([np.zeros(0, np.int64), *(piece[0] for piece in pieces)])
    if not ordered:
        spikes.sort()
    rows = np.empty((len(spikes), 4), np.int64)
    share(lambda a, b: arrays.unpack_spikes(spikes[a:b], rows[a:b]), len(spikes), threads)
    return frozen(rows)
