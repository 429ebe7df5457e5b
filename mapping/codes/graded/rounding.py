# SPDX-License-Identifier: Apache-2.0
"""Round weights to integers so that what they are multiplied with makes the rounding errors cancel.

The method is that of Frantar et al. 2022 (GPTQ, arXiv 2210.17323, Algorithm 1): columns are rounded one after
the other, and the error of each is taken up by those that are left, as far as their inputs are correlated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Elimination", "clipped_scales", "elimination", "rounded"]

Floats = NDArray[np.float64]

_DAMPING = 0.01
"""Share of the mean power that is added to the power of every input."""

_CLIPS = np.linspace(1.0, 0.6, 17)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elimination:
    """In which order inputs are rounded, and what is left to those that follow; of each group.

    Parameters
    ----------
    order : int64 (groups, n)
        The inputs, the one of the largest power first.
    upper : float64 (groups, n, n)
        Upper triangle whose product with itself is the inverse of the correlations, in this order.
    """

    order: NDArray[np.int64]
    upper: Floats


def elimination(inputs: Floats) -> Elimination:
    """Return how errors are handed on between inputs (groups, samples, n), from their damped correlations."""
    correlation = _correlations(inputs)
    order = np.argsort(-np.diagonal(correlation, axis1=1, axis2=2), axis=1, kind="stable")
    rows = np.take_along_axis(correlation, order[:, :, None], axis=1)
    inverse = np.linalg.inv(np.take_along_axis(rows, order[:, None, :], axis=2))
    return Elimination(order=order, upper=np.linalg.cholesky(inverse).transpose(0, 2, 1))


def _correlations(inputs: Floats) -> Floats:
    size = inputs.shape[2]
    products = np.einsum("gsi,gsj->gij", inputs, inputs, optimize=True) / max(1, inputs.shape[1])
    power = np.trace(products, axis1=1, axis2=2) / size
    damping = _DAMPING * np.where(power > 0, power, 1.0)
    return np.asarray(products + damping[:, None, None] * np.eye(size))


def clipped_scales(weight: Floats, power: Floats, most: int) -> Floats:
    """Return the step of each row (groups, rows) that rounds weights with the least weighted error.

    It is 0 for a row of zeros.

    Parameters
    ----------
    weight : float64 (groups, rows, n)
    power : float64 (groups, n)
        Mean square of each input.
    most : int
        Largest integer weight.
    """
    whole = np.abs(weight).max(axis=2)
    best, least = whole / most, np.full(whole.shape, np.inf)
    for clip in _CLIPS:
        step = np.where(whole > 0, whole * clip / most, 1.0)
        integers = np.clip(np.rint(weight / step[..., None]), -most, most)
        error = (np.square(weight - integers * step[..., None]) * power[:, None]).sum(axis=2)
        better = error < least
        best, least = np.where(better, step, best), np.where(better, error, least)
    return np.where(whole > 0, best, 0.0)


def rounded(weight: Floats, step: Floats, inputs: Elimination, most: int) -> NDArray[np.int64]:
    """Return integers (groups, rows, n) whose multiples of ``step`` act like weights on correlated inputs.

    Parameters
    ----------
    weight : float64 (groups, rows, n)
    step : float64 (groups, rows)
        What an integer of one stands for.
    inputs : Elimination
        What is known of the inputs.
    most : int
        Largest integer.
    """
    order, upper = inputs.order, inputs.upper
    left = np.take_along_axis(weight, order[:, None, :], axis=2).astype(np.float64)
    result = np.empty(left.shape, np.int64)
    for start in range(0, left.shape[2], _BLOCK):
        end = min(start + _BLOCK, left.shape[2])
        errors = np.empty((*left.shape[:2], end - start))
        for column in range(start, end):
            integers = np.clip(np.rint(left[:, :, column] / step), -most, most)
            result[:, :, column] = integers
            error = (left[:, :, column] - integers * step) / upper[:, None, column, column]
            left[:, :, column + 1 : end] -= error[..., None] * upper[:, None, column, column + 1 : end]
            errors[:, :, column - start] = error
        left[:, :, end:] -= errors @ upper[:, start:end, end:]
    back = np.argsort(order, axis=1)
    return np.take_along_axis(result, back[:, None, :], axis=2)


_BLOCK = 64
"""Columns whose errors are handed on together."""
