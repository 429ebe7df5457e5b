# SPDX-License-Identifier: Apache-2.0
"""What the lines of a crossbar weigh: found once for the cores that share it and follow each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage
from mapping.layout.check.layers import Weights, narrowest

__all__ = ["Crossbar", "Crossbars"]

Flags = NDArray[np.bool_]
Lines = NDArray[np.int32]
Shifts = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossbar:
    """The crossbar of some cores.

    Parameters
    ----------
    core : CoreImage
        The first core that has it.
    weights : integers (lines, neurons)
        The digits of every line times their strengths, before any shift.
    loud : bool (lines + 1,)
        Which lines have a weight that is not zero; the last, line -1, has none.
    negative : bool
        Whether a cell is -1.
    """

    core: CoreImage
    weights: Weights
    loud: Flags
    negative: bool

    def held(self, lines: Lines, shift: Shifts) -> Weights:
        """Return the shifted weights of some lines, -1 for none; (lines, neurons)."""
        held = self.weights[lines]
        if shift.any():
            held = held.astype(np.int64) << shift[:, None]
        held[lines < 0] = 0
        return held


class Crossbars:
    """The crossbars of the cores of one layer, the last one at hand."""

    def __init__(self) -> None:
        self._last: Crossbar | None = None

    def of(self, core: CoreImage) -> Crossbar:
        """Return the crossbar of a core; cores that share it should follow each other."""
        last = self._last
        if last is None or not _alike(last.core, core):
            self._last = last = _read(core)
        return last


def _alike(one: CoreImage, other: CoreImage) -> bool:
    return one.crossbar is other.crossbar and np.array_equal(one.strengths, other.strengths)


def _read(core: CoreImage) -> Crossbar:
    """Return the crossbar of a core."""
    strengths = core.strengths.tolist()
    kind = narrowest(sum(map(abs, strengths)))
    products = (core.crossbar * np.tile(np.array(strengths, kind), core.neurons)).reshape(-1)
    ends = range(len(products) - len(strengths) + 1, len(products) + 1)
    sums = products[: ends[0]].copy()  # from every cell on those of so many, the first of a neuron too
    for digit, end in enumerate(ends[1:], 1):
        sums += products[digit:end]
    weights = sums[:: len(strengths)].reshape(len(core.crossbar), core.neurons)
    loud = np.append(weights.any(axis=1), False)
    return Crossbar(core=core, weights=weights, loud=loud, negative=bool((core.crossbar < 0).any()))
