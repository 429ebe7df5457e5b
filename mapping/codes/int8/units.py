# SPDX-License-Identifier: Apache-2.0
"""Whole weights: the number of which all weights of a row are small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.codes.obstacles import Obstacle

__all__ = ["NEAR", "WIDEST", "Units", "common_of", "is_whole", "only_sums", "units_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LARGEST = 248
"""Largest multiple: what six digits hold."""

WIDEST = 255
"""Largest whole weight: a byte less its zero point. Beyond six digits it lies in two rows."""

NEAR = 2.0**-36
"""Share by which products of two stored numbers, each rounded, miss a multiple."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """Whole weights of a layer.

    Parameters
    ----------
    weights : sequence of int64 (rows, n)
        Of each source.
    unit, bias : float64 (rows,)
        The value of a potential V is unit V + bias.
    extra : int64 (neurons,)
        What every neuron adds to its potential.
    """

    weights: Sequence[Ints]
    unit: Floats
    bias: Floats
    extra: Ints


def is_whole(weight: Floats) -> bool:
    """Tell whether the weights of every row are small whole multiples of one number."""
    return common_of(weight.reshape(len(weight), -1)) is not None


def only_sums(weight: Floats) -> bool:
    """Tell whether weights only sum, as those of an average over windows or a map."""
    return np.unique(weight[weight != 0]).size <= 1


def units_of(effective: Sequence[Floats], bias: Floats) -> Units | Obstacle:
    """Return the whole weights of real ones (rows, n) by source and biases (rows, pixels), or an obstacle."""
    whole = _whole(effective, bias)
    if whole is not None:
        return whole
    every = np.concatenate(effective, axis=1)
    unit = common_of(every)
    if unit is None:
        return Obstacle(
            reason="its weights are no small whole multiples of one number in each channel",
            remedy="quantise its weights to 8 bits",
        )
    if (bias != bias[:, :1]).any():
        return Obstacle(
            reason="its bias differs from place to place", remedy="quantise its input with the zero point 0"
        )
    weights = [np.rint(values / unit[:, None]).astype(np.int64) for values in effective]
    extra = np.zeros(bias.size, np.int64)
    return Units(weights=weights, unit=unit, bias=bias[:, 0].copy(), extra=extra)


def _whole(effective: Sequence[Floats], bias: Floats) -> Units | None:
    """Return the units of weights and biases that are integers as they stand."""
    parts = (*effective, bias)
    if any((part != np.rint(part)).any() for part in parts):
        return None
    if any(np.abs(values).max(initial=0.0) > WIDEST for values in effective):
        return None
    rows = len(bias)
    return Units(
        weights=[values.astype(np.int64) for values in effective],
        unit=np.ones(rows),
        bias=np.zeros(rows),
        extra=bias.astype(np.int64).reshape(-1),
    )


def common_of(rows: Floats) -> Floats | None:
    """Return for each row the largest number of which all its values are multiples up to `_LARGEST`."""
    unit = np.ones(len(rows))
    for index, row in enumerate(rows):
        sizes = np.unique(np.abs(row[row != 0]))
        if not len(sizes):
            continue
        parts = sizes[None] / (sizes[0] / np.arange(1, _LARGEST + 1)[:, None])
        fits = (np.abs(parts - np.rint(parts)) <= NEAR * parts).all(axis=1) & (parts[:, -1] <= _LARGEST + 0.5)
        if not fits.any():
            return None
        unit[index] = sizes[0] / (1 + int(np.argmax(fits)))
    return unit
