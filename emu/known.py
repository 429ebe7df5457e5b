# SPDX-License-Identifier: Apache-2.0
"""What the check of a program has looked at, as cores share arrays (`emu.legal`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emu.bits import used_cells

if TYPE_CHECKING:
    from emu.image import CoreImage

__all__ = ["Known"]

Ints = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class Known:
    """What was looked at, by the identity of arrays of cores that are there as long as this.

    ``crossbars`` has for each legal crossbar its cells that are not zero, int64 (columns,); ``factors`` has
    the last that was made, as cores that share theirs follow each other.
    """

    crossbars: dict[int, Ints] = field(default_factory=dict)
    factors: dict[tuple[int, ...], Ints] = field(default_factory=dict)
    schedules: set[tuple[object, ...]] = field(default_factory=set)

    def has(self, crossbar: NDArray[np.int8]) -> bool:
        """Tell whether the cells of a crossbar were counted."""
        return id(crossbar) in self.crossbars

    def cells(self, crossbar: NDArray[np.int8]) -> Ints:
        """Return the cells of each column that are not zero."""
        if not self.has(crossbar):
            self.crossbars[id(crossbar)] = used_cells(crossbar)
        return self.crossbars[id(crossbar)]

    def factor(self, core: CoreImage) -> Ints:
        """Return the sum of the powers that the axons of each line shift by, int64 (lines,)."""
        extension, size = int(core.extension), len(core.crossbar)
        key = id(core.lines), id(core.shifts), extension, size
        if key not in self.factors:
            used = core.lines >= 0
            rows = np.repeat(core.shifts, extension)[: core.axons]
            shifted = np.bincount(core.lines[used], np.ldexp(1.0, rows[used]), minlength=size)
            self.factors = {key: shifted.astype(np.int64)}  # whole, below 2^53
        return self.factors[key]

    def is_new(self, core: CoreImage) -> bool:
        """Tell whether no core had the schedule and the profiles of this one before."""
        arrays = (core.schedule, core.profiles, core.profile)
        key = (*map(id, arrays), core.is_ladder, core.neurons > 0)
        new = key not in self.schedules
        self.schedules.add(key)
        return new
