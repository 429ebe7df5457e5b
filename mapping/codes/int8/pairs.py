# SPDX-License-Identifier: Apache-2.0
"""Sums of two integer activations of unlike scale: whole weights under which a count follows from one sum.

The count of a pair (a, b) is a function of 2^16 pairs. A neuron has it exactly if some whole weights p and q
put the pairs in an order along p a + q b in which the count never falls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST", "Pair", "Weighted", "near_half", "weigh"]

Ints = NDArray[np.int64]

MOST = 127 << 7
"""Largest weight tried, one that two rows of the crossbar hold: 128 times an 8-bit integer and another."""

_TRIES = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A sum of two inputs: their scales, the second below zero if it is subtracted, and that of the output.

    ``count`` gives the counts of pairs of integers, arrays of one shape.
    """

    first: float
    second: float
    step: float
    count: Callable[[Ints, Ints], Ints]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighted:
    """Weights of both inputs, and the bounds of the threshold of each count above the lowest."""

    first: int
    second: int
    least: Ints
    most: Ints


def weigh(
    pair: Pair, inputs: tuple[Ints, Ints], *, low: int, high: int, same: bool = False
) -> Weighted | None:
    """Return whole weights and thresholds that give every pair its count, or None if none are found.

    Parameters
    ----------
    pair : Pair
        The sum; of a difference the second weight is that of the negative of its input.
    inputs : int64 (n,), int64 (m,)
        Every integer that each input may be.
    low, high : int
        Range of the counts.
    same : bool
        Whether both inputs are one, so that only pairs of equal integers occur.
    """
    a, b = (inputs[0], inputs[0]) if same else (g.reshape(-1) for g in np.meshgrid(*inputs, indexing="ij"))
    counts, sign = pair.count(a, b), 1 if pair.second > 0 else -1
    for p, q in _ratios(Fraction(pair.first) / abs(Fraction(pair.second))):
        found = _bounds(p * a + sign * q * b, counts, low, high)
        if found is not None:
            return Weighted(first=p, second=q, least=found[0], most=found[1])
    return None


def near_half(pair: Pair, inputs: tuple[Ints, Ints]) -> bool:
    """Tell whether some sum lies so near half-way between two steps that its roundings decide."""
    sums = (inputs[0][:, None] * pair.first + inputs[1][None] * pair.second) / pair.step
    return bool((np.abs(sums - np.floor(sums) - 0.5) < _NEAR * (1 + np.abs(sums))).any())


_NEAR = 2.0**-22


def _bounds(sums: Ints, counts: Ints, low: int, high: int) -> tuple[Ints, Ints] | None:
    """Return for each count above ``low`` the bounds of its threshold, or None if one sum has two counts."""
    order = np.argsort(sums, kind="stable")
    sums, counts = sums[order], counts[order]
    if (np.diff(counts) < 0).any() or ((np.diff(sums) == 0) & (np.diff(counts) != 0)).any():
        return None
    at = np.searchsorted(counts, np.arange(low + 1, high + 1))
    far = int(np.abs(sums).max(initial=0)) * 4 + 4
    least = np.where(at > 0, sums[np.maximum(at - 1, 0)] + 1, -far)
    most = np.where(at < len(sums), sums[np.minimum(at, len(sums) - 1)], far)
    return least, most


def _ratios(ratio: Fraction) -> Iterator[tuple[int, int]]:
    """Yield pairs of whole weights near a ratio, small ones first."""
    seen = set()
    size, tried = 1, 0
    while size <= MOST and tried < _TRIES:
        p, q = (ratio * size, Fraction(size)) if ratio <= 1 else (Fraction(size), size / ratio)
        pair = round(p), round(q)
        reduced = Fraction(pair[0], pair[1]) if pair[1] else None
        close = reduced is not None and reduced > 0 and abs(reduced / ratio - 1) < Fraction(1, 4 * size)
        if close and reduced not in seen:
            seen.add(reduced)
            tried += 1
            yield pair
        size = size + 1 if size < 16 else size + max(1, size // 16)
