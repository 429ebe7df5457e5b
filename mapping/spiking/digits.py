# SPDX-License-Identifier: Apache-2.0
"""Weights as digits: a neuron of k columns weights a count by k digits -1, 0, 1 times strengths."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["INT8", "MOST_DIGITS", "ON_OFF", "digits_of", "largest_weight", "strengths_of"]

MOST_DIGITS = 7
"""Digits of strengths 1, 3, 9, ... that fit 12 bits."""

INT8 = (1, 3, 9, 27, 81, 127)
"""Six strengths whose digits hold every 8-bit integer, -128 .. 127."""

ON_OFF = (-1, 1)
"""Two strengths whose cells are on or off: digits 0 and 1 hold -1, 0 and 1 (Zou et al. 2021, k_wei = 2)."""


def strengths_of(digits: int) -> tuple[int, ...]:
    """Return the strengths of balanced-ternary digits: 1, 3, 9 and so on.

    >>> strengths_of(3)
    (1, 3, 9)
    """
    return tuple(3**digit for digit in range(digits))


def largest_weight(strengths: Sequence[int]) -> int:
    """Return the largest weight, the sum of all strengths.

    >>> largest_weight(strengths_of(5)), largest_weight(INT8)
    (121, 248)
    """
    return sum(strengths)


def digits_of(weight: NDArray[np.integer], strengths: Sequence[int]) -> NDArray[np.int8]:
    """Return the digits of weights, int8 (..., len(strengths)), the least first.

    The largest strength takes the digit that leaves what the others can hold, zero if several do. Cells of
    `ON_OFF` are 0 or 1.

    Raises
    ------
    ValueError
        If a weight cannot be written so.

    Examples
    --------
    >>> digits_of(np.array([5, -4, 0]), (1, 3, 9)).tolist()
    [[-1, -1, 1], [-1, -1, 0], [0, 0, 0]]
    >>> digits_of(np.array([-1, 0, 1]), ON_OFF).tolist()
    [[1, 0], [0, 0], [0, 1]]
    """
    low, high = int(weight.min(initial=0)), int(weight.max(initial=0))
    rest = np.arange(low, high + 1)
    if tuple(strengths) == ON_OFF:
        digits = (rest[:, None] == strengths).astype(np.int8)
        rest = rest - digits @ np.array(strengths)
    else:
        digits = np.zeros((len(rest), len(strengths)), np.int8)
        for place in reversed(range(len(strengths))):
            below = sum(strengths[:place])
            digits[:, place] = np.where(np.abs(rest) > below, np.sign(rest), 0)
            rest = rest - digits[:, place].astype(np.int64) * strengths[place]
    at = weight.astype(np.intp) - low
    if rest.any() and rest[at].any():
        first = int(np.flatnonzero(rest[at].reshape(-1))[0])
        raise ValueError(f"Weight {weight.reshape(-1)[first]} has no digits of strengths {tuple(strengths)}.")
    return np.asarray(digits.take(at, axis=0), np.int8)
