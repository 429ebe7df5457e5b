# SPDX-License-Identifier: Apache-2.0
"""What the ways of integration cost against each other on this machine: measured, never assumed.

The ways have equal sums (`emu.kernels.crossbar`, `emu.kernels.beside`), so a measurement decides how long a
run takes and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emu.jit import INTERPRETED, njit
from emu.kernels.crossbar import add_rows, count_planes
from emu.kernels.state import WORD
from emu.kernels.vectors import GROUP_ROWS, LANES, sum_groups

__all__ = ["Balance", "measured"]

_COLUMNS = 512
_ROWS = 240
_WORDS = 8
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Balance:
    """The costs of the ways of integration.

    Parameters
    ----------
    rows_per_plane : int
        Rows that are added in the time in which one word of a bit plane is counted.
    cells_per_group : int
        Cells that are added event by event in the time of a group of rows in all lanes.
    """

    rows_per_plane: int = 16
    cells_per_group: int = 400


@njit
def _rows(
    cells: NDArray[np.int8], picked: NDArray[np.int32], sums: NDArray[np.int32], partial: NDArray[np.int8]
) -> None:
    add_rows(cells, 0, picked, 1, sums, partial)


@njit
def _planes(planes: NDArray[np.uint64], plane: NDArray[np.uint64], sums: NDArray[np.int32]) -> None:
    count_planes(planes, plane, len(plane), 1, sums)


@njit
def _groups(active: NDArray[np.int8], rows: NDArray[np.uint32], each: int, sums: NDArray[np.int32]) -> None:
    for column in range(len(sums) // LANES):
        first = column * each
        sum_groups(active, rows, first, first + each // 2, first + each, sums, column * LANES)


def _shortest(run: Callable[[], object]) -> float:
    """Return the shortest of some runs in seconds, after one that compiles."""
    run()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


@cache
def measured() -> Balance:
    """Return the costs on this machine, measured once a process in a few milliseconds.

    Kernels that run in the interpreter are not measured: every way is as slow as the others.
    """
    if INTERPRETED:
        return Balance()
    rng = np.random.default_rng(0)
    cells = rng.integers(-1, 2, _ROWS * _COLUMNS, dtype=np.int8)
    picked, sums = np.arange(_ROWS, dtype=np.int32), np.zeros(_COLUMNS * LANES, np.int32)
    partial = np.zeros(_COLUMNS, np.int8)
    row = _shortest(lambda: _rows(cells, picked, sums[:_COLUMNS], partial)) / _ROWS
    planes = rng.integers(0, 1 << 63, 2 * _WORDS * _COLUMNS, dtype=np.uint64)
    plane = np.full(_WORDS, (1 << WORD) - 1, np.uint64)
    word = _shortest(lambda: _planes(planes, plane, sums[:_COLUMNS])) / _WORDS
    active = rng.integers(0, 2, _ROWS * LANES, dtype=np.int8)
    each = 2 * (_ROWS // (2 * GROUP_ROWS))
    names = (rng.integers(0, _ROWS, _COLUMNS * each * GROUP_ROWS) * LANES).astype(np.uint32)
    group = _shortest(lambda: _groups(active, names, each, sums)) / (_COLUMNS * each)
    return Balance(
        rows_per_plane=max(1, round(word / row)), cells_per_group=max(1, round(group * _COLUMNS / row))
    )
