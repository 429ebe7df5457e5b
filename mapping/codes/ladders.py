# SPDX-License-Identifier: Apache-2.0
"""Find the ladder that equals a list of thresholds (`docs/reference/machine.md`, "Quantisers").

A ladder has one word where a list of 255 thresholds has 64. It equals every requantisation with a constant
scale: y = round(V scale) + z, ties to even, clipped, as QDQ models and integer kernels write it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ladder", "find_ladder", "requantisation_thresholds"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A word of the threshold memory: theta_0, a, b and ties.

    ``payload_bits`` is P of the core that it is for; a and b count 2^-F, F = 2 P.
    """

    first: int
    step: int
    offset: int
    ties: int
    payload_bits: int

    def thresholds(self, low: int, high: int) -> Ints:
        """Return T_j for j = low + 1 .. high, int64."""
        j = np.arange(low + 1, high + 1, dtype=np.int64)
        even = self.ties * (j & 1) << self.payload_bits
        return self.first + ((j * self.step + self.offset + even) >> 2 * self.payload_bits)


def requantisation_thresholds(scale: Fraction, low: int, high: int) -> Ints:
    """Return the least V with round(V scale) >= j, ties to even, for j = low + 1 .. high.

    Parameters
    ----------
    scale
        Of one unit of V in steps of the output, above 0; a float32 is a fraction exactly.
    low, high
        Least and greatest output, without the zero point: an int8 with zero point z has -128 - z .. 127 - z.

    Raises
    ------
    ValueError
        If the scale is not above 0.
    """
    if scale <= 0:
        raise ValueError(f"Scale must be above 0, not {float(scale)!r}.")
    out = []
    for j in range(low + 1, high + 1):
        edge = (j - Fraction(1, 2)) / scale
        least = -(-edge.numerator // edge.denominator)
        out.append(least + (edge == least and j % 2 != 0))
    return np.array(out, np.int64)


def find_ladder(thresholds: Ints, low: int, payload_bits: int) -> Ladder | None:
    """Return a ladder with T_j = ``thresholds`` for j = low + 1, low + 2 and so on, or None if there is none.

    For a step a and ties, T_j asks that a j + B + ties (j odd) 2^(F - P) lies from T_j 2^F to
    T_j 2^F + 2^F - 1: every j bounds B = theta_0 2^F + b from both sides. A step is within
    2^F / (n - 1) of the mean distance of the thresholds; all of these are tried at once.

    Parameters
    ----------
    thresholds
        int64 (n,), not decreasing.
    low
        Least output; thresholds are those of the outputs above it.
    payload_bits
        P of the core.

    Examples
    --------
    >>> find_ladder(np.array([2, 4, 6]), 0, 4).thresholds(0, 3).tolist()
    [2, 4, 6]
    >>> find_ladder(np.array([2, 4, 9]), 0, 4) is None
    True
    """
    n, fraction = len(thresholds), 2 * payload_bits
    if n == 0:
        return Ladder(first=0, step=0, offset=0, ties=0, payload_bits=payload_bits)
    j = np.arange(low + 1, low + 1 + n, dtype=np.int64)
    wide = thresholds << fraction
    mean, around = int(wide[-1] - wide[0]) // max(n - 1, 1), (1 << fraction) // max(n - 1, 1) + 1
    for ties in (0, 1):
        even = ties * (j & 1) << payload_bits
        steps = np.arange(max(0, mean - around), mean + around + 1, dtype=np.int64)
        steps = steps[steps >= ties << payload_bits]
        fixed = wide - even - j * steps[:, None]
        least, most = fixed.max(axis=1), fixed.min(axis=1) + (1 << fraction) - 1
        fit = np.flatnonzero(least <= most)
        if len(fit):
            at = fit[np.argmax((most - least)[fit])]
            base = int(least[at] + most[at]) // 2
            first, offset = base >> fraction, base & (1 << fraction) - 1
            return Ladder(
                first=first, step=int(steps[at]), offset=offset, ties=ties, payload_bits=payload_bits
            )
    return None
