# SPDX-License-Identifier: Apache-2.0
"""Cores of a layer that are alike in all that the check reads: what holds for one holds for the others.

Cores of one class share a crossbar. They differ in what they read and in the axons that it arrives on, and so
in the order of the lines of the crossbar. By input, in ascending order, all is the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import FIELDS, CoreImage
from mapping.layout.check.cells import Crossbar
from mapping.layout.check.layers import Outline
from mapping.layout.check.synapses import Plain

__all__ = ["Likeness", "Twins", "likeness"]

_BY_AXON = ("lines", "shifts", "pooled")
_APART = ("crossbar", "connected", "fanout", "fanout_base")
"""Fields of a core that are compared input by input, and those that are not: the crossbar is one object, and
the packets of a core are followed whatever it is like."""

_WHOLE = tuple(name for name in FIELDS if name not in (*_BY_AXON, *_APART))

Likeness = tuple[NDArray[Any], ...]


def likeness(core: CoreImage, crossbar: Crossbar, outline: Outline, plain: Plain) -> Likeness:
    """Return what the check of a core reads, in the order of its inputs.

    Parameters
    ----------
    core, crossbar, outline
        The core, its crossbar, and what its outputs read.
    plain : Plain
        What arrives at its axons.
    """
    axon = plain.axon
    by_axon = core.lines[axon], core.shifts[axon // int(core.extension)], core.pooled[axon]
    loud = np.count_nonzero(crossbar.loud[core.lines])
    whole = [getattr(core, name) for name in _WHOLE]
    return (*whole, outline.bias, plain.places(outline.inputs), *by_axon, plain.distinct, np.array(loud))


class Twins:
    """The likeness of the last core of a class that was found sound."""

    def __init__(self) -> None:
        self._crossbar: Crossbar | None = None
        self._sound: dict[tuple[int, ...], Likeness] = {}

    def has(self, crossbar: Crossbar, outline: Outline, like: Likeness) -> bool:
        """Tell whether a sound core of the class was like this."""
        if self._crossbar is not crossbar:
            self._crossbar = crossbar
            self._sound = {}
        known = self._sound.get(outline.kind)
        return known is not None and all(
            one is other or np.array_equal(one, other) for one, other in zip(known, like, strict=True)
        )

    def add(self, outline: Outline, like: Likeness) -> None:
        """Note that a core of the class that was asked for last is sound."""
        self._sound[outline.kind] = like
