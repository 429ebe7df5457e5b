# SPDX-License-Identifier: Apache-2.0
"""Round weights to integers so that what they are multiplied with makes the rounding errors cancel.

The method is that of Frantar et al. 2022 (GPTQ, arXiv 2210.17323, Algorithm 1): columns are rounded one after
the other, and the error of each is taken up by those that are left, as far as their inputs are correlated.
Then each weight moves to where the error of its row is least, the others being as they are, a few times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Elimination", "clipped_scales", "covariance", "elimination", "fitted", "rounded", "unshared"]

Floats = NDArray[np.float64]

_DAMPING = 0.01
"""Share of the mean power that is added to the power of every input."""

_CLIPS = np.linspace(1.0, 0.6, 17)

_SAMPLES_A_WEIGHT = 8
"""Samples for each weight of a row, with fewer of which weights are not fitted to what is read."""

_STEPS = (0.8, 0.9, 1.0, 1.1)
"""Multiples of a row's step that are tried."""

_PASSES = 2
"""Times that every weight of a row is looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elimination:
    """In which order inputs are rounded, and what is left to those that follow; of each group.

    Parameters
    ----------
    order : int64 (groups, n)
        The inputs, that of the largest variance first.
    upper : float64 (groups, n, n)
        Upper triangle whose product with itself is the inverse of the covariance, in this order.
    power : float64 (groups, n, n)
        The covariance of the inputs, damped.
    fit : float64 (groups, n, n), optional
        By which weights are multiplied so that what is read does for what it stands for.
    """

    order: NDArray[np.int64]
    upper: Floats
    power: Floats
    fit: Floats | None = None


def elimination(inputs: Floats, truth: Floats | None = None) -> Elimination:
    """Return how errors are handed on between inputs, from their damped covariance.

    What is the same for all samples is the bias's to make up for.

    Parameters
    ----------
    inputs : float64 (groups, samples, n)
        What is read.
    truth : float64 (groups, samples, n), optional
        What that stands for. Weights are fitted to what is read if there are enough samples.
    """
    power = covariance(inputs)
    order, root = _ordered_root(power)
    upper = np.asarray(np.linalg.inv(root), np.float64)
    samples, size = inputs.shape[1:]
    fit = None
    if truth is not None and samples >= _SAMPLES_A_WEIGHT * size:
        missing = truth - inputs
        missing -= missing.mean(axis=1, keepdims=True)
        shared = missing.transpose(0, 2, 1) @ inputs / samples
        fit = np.eye(size) + np.linalg.solve(power, shared.transpose(0, 2, 1)).transpose(0, 2, 1)
    return Elimination(order=order, upper=upper, power=power, fit=fit)


def unshared(power: Floats) -> Floats:
    """Return the variance of each input that none of those rounded later shares, float64 (groups, n).

    It is the squared error that rounding the input by one step leaves, whatever else makes up for it.
    """
    order, root = _ordered_root(power)
    result = np.empty(order.shape)
    np.put_along_axis(result, order, np.square(np.diagonal(root, axis1=1, axis2=2)), axis=1)
    return result


def _ordered_root(power: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the order of inputs, and the upper triangle that gives their covariance times its transpose."""
    order = np.argsort(-np.diagonal(power, axis1=1, axis2=2), axis=1, kind="stable")
    back = order[:, ::-1]
    rows = np.take_along_axis(power, back[:, :, None], axis=1)
    lower = np.linalg.cholesky(np.take_along_axis(rows, back[:, None, :], axis=2))
    return np.asarray(order, np.int64), np.asarray(lower[:, ::-1, ::-1], np.float64)


def covariance(inputs: Floats) -> Floats:
    """Return the damped covariance of inputs (groups, samples, n), float64 (groups, n, n)."""
    size = inputs.shape[2]
    centred = inputs - inputs.mean(axis=1, keepdims=True)
    products = centred.transpose(0, 2, 1) @ centred / max(1, inputs.shape[1])
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


def fitted(
    weight: Floats, step: Floats, inputs: Elimination, most: int, *, free: bool
) -> tuple[NDArray[np.int64], Floats]:
    """Return integers (groups, rows, n) that act like weights on inputs, and their steps (groups, rows).

    Parameters
    ----------
    weight : float64 (groups, rows, n)
    step : float64 (groups, rows)
        What an integer of one stands for, about.
    inputs : Elimination
        What is known of the inputs.
    most : int
        Largest integer.
    free : bool
        Whether the step of a row may change: the best of some is taken, and fitted to the integers.
    """
    if inputs.fit is not None:
        weight = weight @ inputs.fit
    if not free:
        return _settled(weight, step, rounded(weight, step, inputs, most), inputs, most), step
    rows = step.shape[1]
    wide, steps = np.tile(weight, (1, len(_STEPS), 1)), np.concatenate([step * by for by in _STEPS], axis=1)
    integers = rounded(wide, steps, inputs, most)
    wrong = integers * steps[..., None] - wide
    errors = ((wrong @ inputs.power) * wrong).sum(axis=2).reshape(len(steps), len(_STEPS), rows)
    pick = errors.argmin(axis=1) * rows + np.arange(rows)
    step = np.take_along_axis(steps, pick, axis=1)
    integers = np.take_along_axis(integers, pick[..., None], axis=1)
    integers = _settled(weight, step, integers, inputs, most)
    acting = integers @ inputs.power
    got, wanted = (acting * integers).sum(axis=2), (acting * weight).sum(axis=2)
    step = np.divide(wanted, got, out=step, where=(got > 0) & (wanted > 0))
    return _settled(weight, step, integers, inputs, most), step


def _settled(
    weight: Floats, step: Floats, integers: NDArray[np.int64], inputs: Elimination, most: int
) -> NDArray[np.int64]:
    """Return integers of which none alone is better otherwise, or nearly."""
    power, now = inputs.power, integers.astype(np.float64)
    curve = np.diagonal(power, axis1=1, axis2=2)[:, None] * step[..., None]
    slope = (now * step[..., None] - weight) @ power
    for _ in range(_PASSES):
        before = now.copy()
        for start in range(0, now.shape[2], _BLOCK):
            end = min(start + _BLOCK, now.shape[2])
            part = slope[:, :, start:end].copy()
            for at in range(start, end):
                best = np.rint(now[:, :, at] - part[:, :, at - start] / curve[:, :, at])
                change = (np.clip(best, -most, most) - now[:, :, at]) * step
                now[:, :, at] = np.clip(best, -most, most)
                part += change[..., None] * power[:, None, at, start:end]
            moved = now[:, :, start:end] - before[:, :, start:end]
            slope += (moved * step[..., None]) @ power[:, start:end]
        if np.array_equal(before, now):
            break
    return now.astype(np.int64)
