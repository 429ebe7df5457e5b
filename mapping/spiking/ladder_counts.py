# SPDX-License-Identifier: Apache-2.0
"""Counts of potentials on ladders, compiled (`docs/reference/machine.md`, "Quantisers")."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.jit import INTERPRETED, njit

__all__ = ["count_ladders"]

_EXACT = 2**51
"""Integers below this have quotients whose floor floats tell exactly.

Quotients of integers that differ lie 1 / step apart. A rounded one is off by less than half of that, and one
that is an integer is not off at all, so its floor is that of the exact one.
"""

Ints = NDArray[np.int64]


def _plain(potentials: Ints, words: Ints, bits: int, ends: tuple[int, int], counts: Ints) -> None:
    """Count where the interpreter runs kernels: all potentials at once, by a division of integers."""
    low, high = ends
    first, step, offset, ties = (column[:, None] for column in words.T)
    wide = (potentials << 2 * bits) + (((1 - first) << 2 * bits) - offset - 1)
    found = np.clip(wide // step, low, high)
    early = (found & 1) & (found > low) & (wide - found * step < ties << bits)
    counts[:] = found - early


def _compiled(potentials: Ints, words: Ints, bits: int, ends: tuple[int, int], counts: Ints) -> None:
    """Count row by row; a division of floats, where all potentials of a row allow it, is much faster."""
    low, high = ends
    for i in range(len(potentials)):
        for row in range(len(words)):
            step, tie = words[row, 1], words[row, 3] << bits
            more = ((1 - words[row, 0]) << 2 * bits) - words[row, 2] - 1
            values, result = potentials[i, row], counts[i, row]
            least, most = 0, 0
            for k in range(len(values)):
                wide = (values[k] << 2 * bits) + more
                least, most = min(least, wide), max(most, wide)
            small, divisor = max(-least, most) < _EXACT, float(step)
            for k in range(len(values)):
                wide = (values[k] << 2 * bits) + more
                found = np.int64(np.floor(wide / divisor)) if small else wide // step
                found = min(max(found, low), high)
                result[k] = found - ((found & 1) & (found > low) & (wide - found * step < tie))


count_ladders: Callable[[Any, Any, int, tuple[int, int], Any], None] = (
    _plain if INTERPRETED else njit(_compiled)
)
"""Count potentials (n, rows, m) on the ladders of ``words`` (rows, 4), within ``ends``; all int64.

``bits`` is P of the core. Without ties, T_j <= V exactly if j step < ((V - first + 1) << 2 P) - offset,
which one division solves. With ties the odd ones lie 2^P higher: the one found is out of reach if the
remainder is smaller.
"""
