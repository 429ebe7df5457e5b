# SPDX-License-Identifier: Apache-2.0
"""What the lines of a crossbar weigh, and whether a core's are those of its layer: once for cores alike.

Cores of one class share a crossbar and differ in the axons that read its lines. What is found for one of
them holds for the next as long as the crossbar and the layer's weights are the same objects and line stands
by input in the same order, so that only the lines of an axon are looked up core by core.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage
from mapping.layout.check.layers import Block

__all__ = ["Crossbar", "Crossbars", "Lines", "Shifts"]

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Lines = NDArray[np.int32]
Shifts = NDArray[np.uint8]
Weights = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossbar:
    """The crossbar of some cores.

    Parameters
    ----------
    core : CoreImage
        The first core that has it.
    weights : int32 (lines, neurons)
        The digits of every line times their strengths, before any shift.
    loud : bool (lines + 1,)
        Which lines have a weight that is not zero; the last, line -1, has none.
    negative : bool
        Whether a cell is -1.
    same : dict
        Whether lines equal the weights of a block, by what `Crossbars.equal` compared; with these weights,
        which must live as long as their number is a part of the key.
    """

    core: CoreImage
    weights: Weights
    loud: Flags
    negative: bool
    same: dict[tuple[object, ...], tuple[Weights, bool]] = field(default_factory=dict)

    def held(self, lines: Lines, shift: Shifts) -> Weights:
        """Return the shifted weights of some lines, -1 for none; int32 (lines, neurons)."""
        held = self.weights[lines] << shift[:, None].astype(np.int32)
        held[lines < 0] = 0
        return np.asarray(held, np.int32)


@dataclass(slots=True, kw_only=True)
class Crossbars:
    """The crossbars of the cores of one layer, the last one at hand.

    ``classes`` counts those that were looked at, ``compared`` the comparisons of all their cells.
    """

    classes: int = 0
    compared: int = 0
    _last: Crossbar | None = None

    def of(self, core: CoreImage) -> Crossbar:
        """Return the crossbar of a core; cores that share it should follow each other."""
        last = self._last
        if last is None or not _alike(last.core, core):
            self.classes += 1
            self._last = last = _read(core)
        return last

    def equal(self, crossbar: Crossbar, lines: Lines, shift: Shifts, block: Block, wanted: Integers) -> bool:
        """Tell whether lines hold the weights of the inputs of a block at ``wanted``, -1 for no weights."""
        key = (id(block.weights), *(array.tobytes() for array in (lines, shift, wanted)))
        if key not in crossbar.same:
            self.compared += 1
            found = np.array_equal(crossbar.held(lines, shift), block.of(wanted))
            crossbar.same[key] = block.weights, found
        return crossbar.same[key][1]


def _alike(one: CoreImage, other: CoreImage) -> bool:
    return one.crossbar is other.crossbar and np.array_equal(one.strengths, other.strengths)


def _read(core: CoreImage) -> Crossbar:
    """Return the crossbar of a core."""
    lines, digits = len(core.crossbar), len(core.strengths)
    cells = core.crossbar.reshape(lines, core.neurons, digits)
    weights = np.zeros(cells.shape[:2], np.int32)
    for digit, strength in enumerate(core.strengths.tolist()):
        weights += cells[:, :, digit] * np.int32(strength)
    loud = np.append(weights.any(axis=1), False)
    return Crossbar(core=core, weights=weights, loud=loud, negative=bool((core.crossbar < 0).any()))
