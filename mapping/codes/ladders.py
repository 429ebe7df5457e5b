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

__all__ = ["Ladder", "find_ladder", "find_ladder_between", "requantisation_thresholds"]

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
    return find_ladder_between(thresholds, thresholds, low, payload_bits)


def find_ladder_between(least: Ints, most: Ints, low: int, payload_bits: int) -> Ladder | None:
    """Return a ladder with ``least`` <= T_j <= ``most`` for j = low + 1 and so on, or None if none is found.

    For a step a and ties, T_j asks that a j + B + ties (j odd) 2^(F - P) lies from least_j 2^F to
    most_j 2^F + 2^F - 1: every j bounds B = theta_0 2^F + b from both sides. A step is near the mean distance
    of the thresholds, as near as their bounds are; these steps are tried all at once.

    Parameters
    ----------
    least, most
        int64 (n,), neither decreasing. Thresholds whose bounds lie far apart, as those that no sum reaches,
        bound a ladder but do not tell its step.
    low, payload_bits
        As of `find_ladder`.
    """
    n, fraction = len(least), 2 * payload_bits
    if n == 0:
        return Ladder(first=0, step=0, offset=0, ties=0, payload_bits=payload_bits)
    j = np.arange(low + 1, low + 1 + n, dtype=np.int64)
    below, above = least << fraction, (most << fraction) + (1 << fraction) - 1
    mean, around = _step_between(least, most, fraction)
    for ties in (0, 1):
        even = ties * (j & 1) << payload_bits
        steps = np.unique(np.linspace(max(1, mean - around), mean + around, _MOST_STEPS).astype(np.int64))
        steps = steps[steps >= max(1, ties << payload_bits)]
        lowest = (below - even - j * steps[:, None]).max(axis=1)
        highest = (above - even - j * steps[:, None]).min(axis=1)
        fit = np.flatnonzero(lowest <= highest)
        if len(fit):
            at = fit[np.argmax((highest - lowest)[fit])]
            base = int(lowest[at] + highest[at]) // 2
            first, offset = base >> fraction, base & (1 << fraction) - 1
            return Ladder(
                first=first, step=int(steps[at]), offset=offset, ties=ties, payload_bits=payload_bits
            )
    return None


_MOST_STEPS = 4097
"""Steps tried for one ladder."""

_CLOSE = 8
"""Times the closest bounds up to which bounds tell a step."""


def _step_between(least: Ints, most: Ints, fraction: int) -> tuple[int, int]:
    """Return the middle of the steps to try, and how far they lie around it, in units of 2^-F."""
    apart = most - least
    known = np.flatnonzero(apart <= _CLOSE * (apart.min() + 1))
    first, last = int(known[0]), int(known[-1])
    if first == last:
        return max(1, int(apart[first])) << fraction, 1 << fraction
    middle = (least + most) << fraction - 1
    mean = int(middle[last] - middle[first]) // (last - first)
    slack = int(apart[first] + apart[last]) + 2 << fraction
    return mean, slack // (2 * (last - first)) + 1
