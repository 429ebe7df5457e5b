# SPDX-License-Identifier: Apache-2.0
"""Give every channel of an activation a step of its own: the ladders of its rows make up for it.

A finer step of a channel errs less itself, but a weight that reads it is less beside the others of its row,
whose step the largest of them sets. What both errors do to the layers that read the channels is estimated
from values of the float network, and the steps with the least sum are looked for, one channel at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.codes.graded.ranges import Grid

__all__ = ["Reader", "equalised"]

Floats = NDArray[np.float64]

_RATIOS = np.exp2(np.arange(-8, 13) / 6)
"""Steps tried, as multiples of the one with which the counts of a channel just reach its largest value."""

_LEAST = 1 / 32
"""Finest step of a channel, as a share of the one that suits all of them."""

_SEEN = 1 << 12
"""Values of a channel that are looked at."""

_SWEEPS = 6
"""Times that every channel is looked at, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """What reads the channels of an activation; of a row and channel, of all weights between them.

    Parameters
    ----------
    power, largest : float64 (rows, channels)
        Sum of the squared weights, and the largest of them.
    spread : float64 (channels,)
        What of the variance of a channel's inputs no input that is rounded later can make up for; 0 if rows
        read one channel alone, whose step does not matter to the weights then.
    variance : float64 (rows,)
        Of what a row gives.
    most : int
        Largest integer weight.
    """

    power: Floats
    largest: Floats
    spread: Floats
    variance: Floats
    most: int

    def weights(self) -> Floats:
        """Return how much an error of each row counts: relative to its variance, unless that is small."""
        return np.asarray(1.0 / (self.variance + self.variance.mean() + np.finfo(np.float64).tiny))


def equalised(
    grid: Grid, values: NDArray[np.floating], readers: Sequence[Reader], *, most_step: Floats, seed: int
) -> Grid:
    """Return the grid with a step for each channel with which what reads them errs least.

    Parameters
    ----------
    grid : Grid
        Without gains, of counts from 0 up.
    values : float64 (N, channels, ...)
        What the activation was.
    readers : sequence of Reader
        All that reads it.
    most_step : float64 (channels,)
        Largest step that each channel may have.
    seed : int
        Of the values that are looked at, if there are many.
    """
    steps, errors = _candidates(grid, values, most_step, seed)
    price = sum((reader.weights() @ reader.power for reader in readers), start=np.zeros(len(steps)))
    at = errors.argmin(axis=1)
    everyone = range(len(at))
    for _ in range(_SWEEPS):
        before = at.copy()
        for channel in everyone:
            others = steps[everyone, at]
            cost = price[channel] * errors[channel]
            for reader in readers:
                cost = cost + _weight_error(reader, others, channel, steps[channel])
            at[channel] = cost.argmin()
        if np.array_equal(before, at):
            break
    found = steps[everyone, at]
    return replace(grid, scale=float(found.max()), gains=found / found.max())


def _candidates(
    grid: Grid, values: NDArray[np.floating], most_step: Floats, seed: int
) -> tuple[Floats, Floats]:
    """Return steps of each channel and the mean squared error with each, both float64 (channels, steps)."""
    flat = np.moveaxis(values.reshape(*values.shape[:2], -1), 1, 0).reshape(values.shape[1], -1)
    whole = flat.max(axis=1).astype(np.float64) / grid.high
    whole = np.where(whole > 0, whole, grid.scale)
    if flat.shape[1] > _SEEN:
        flat = flat[:, np.random.default_rng(seed).choice(flat.shape[1], _SEEN, replace=False)]
    least = np.minimum(grid.scale * _LEAST, most_step)
    steps = np.clip(whole[:, None] * _RATIOS, least[:, None], most_step[:, None])
    errors = np.empty(steps.shape)
    for at in range(steps.shape[1]):
        step = steps[:, at, None]
        errors[:, at] = np.square(np.clip(np.rint(flat / step), 0, grid.high) * step - flat).mean(axis=1)
    return steps, errors


def _weight_error(reader: Reader, steps: Floats, channel: int, tried: Floats) -> Floats:
    """Return what rounded weights add to the error of a reader for every step tried of one channel."""
    if not reader.spread.any():
        return np.zeros(len(tried))
    reach = reader.largest * steps
    reach[:, channel] = 0.0
    widest = np.maximum(reach.max(axis=1), np.outer(tried, reader.largest[:, channel]))
    rest = reader.spread / np.square(steps)
    noise = rest.sum() - rest[channel] + reader.spread[channel] / np.square(tried)
    return np.asarray((np.square(widest) @ reader.weights()) * noise / (12.0 * reader.most**2))
