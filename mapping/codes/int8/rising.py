# SPDX-License-Identifier: Apache-2.0
"""Whether a neuron has an activation: its count must never fall when the potential rises.

Bisection finds thresholds only of what rises, so whatever could fall is looked at before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.codes.obstacles import Obstacle
from mapping.model.node import Node
from mapping.model.operations import apply_elementwise, rises

__all__ = ["FALLS", "falls_behind", "falls_somewhere"]

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

FALLS = Obstacle(
    reason="its counts fall somewhere while its sum rises, and those of a neuron never do",
    remedy="let a function that rises take the place of the one before its quantiser",
)
"""What keeps an activation off the chip that no neuron has."""

_MOST = 1 << 18
"""Potentials of a row up to which every one is looked at."""

_NEAR = 64
"""Potentials looked at on either side of a threshold, where a row has more."""

_BLOCK = 1 << 15


def falls_behind(functions: Sequence[Node], scale: float, first: Ints, last: Ints) -> bool:
    """Tell whether what lies behind a quantiser falls on one of the integers that it gives.

    Parameters
    ----------
    functions : sequence of Node
        What lies behind the quantiser, elementwise.
    scale : float
        By which its integers are multiplied.
    first, last : int64 (rows,)
        The least and the largest integer of each row.
    """
    if all(map(rises, functions)):
        return False
    span = np.arange(int((last - first).max()) + 1)
    integers = np.minimum(first[:, None] + span, last[:, None])
    values: Floats = integers * scale
    for node in functions:
        values = apply_elementwise(node, values, axis=0)
    return bool((np.diff(values, axis=1) < 0).any())


def falls_somewhere(counts: Callable[[Ints], Ints], reach: tuple[Ints, Ints], least: Ints) -> bool:
    """Tell whether counts fall on a potential in reach, or on one near a threshold if there are too many.

    Parameters
    ----------
    counts : callable
        Gives the counts (rows, n) of potentials (rows, n).
    reach : int64 (rows,), int64 (rows,)
        The least and the largest potential of each row.
    least : int64 (rows, counts)
        The thresholds that bisection found.
    """
    low, high = reach
    widest = int((high - low).max())
    if widest <= _MOST:
        starts = range(0, widest + 1, _BLOCK)
        parts: Iterable[Ints] = (low[:, None] + np.arange(at, min(at + _BLOCK, widest) + 1) for at in starts)
    else:
        near = (least[:, :, None] + np.arange(-_NEAR, _NEAR + 1)).reshape(len(least), -1)
        spread = np.linspace(low, high, _BLOCK, axis=1).astype(np.int64)
        parts = [np.sort(np.concatenate([near, spread], axis=1), axis=1)]
    return any(
        (np.diff(counts(np.clip(part, low[:, None], high[:, None])), axis=1) < 0).any() for part in parts
    )
