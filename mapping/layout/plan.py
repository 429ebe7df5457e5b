# SPDX-License-Identifier: Apache-2.0
"""What passes are: which rows of which layers run together, and what the host feeds them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import SpikingLayer, SpikingNetwork

__all__ = ["Pass", "Plan", "Reading", "Rows", "height_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows ``begin`` .. ``end`` - 1 of a layer, output channels or features, or a band of its map.

    ``top`` .. ``bottom`` - 1 are the rows of the map that are computed, by default all of them.
    """

    layer: str
    begin: int
    end: int
    top: int = 0
    bottom: int | None = None

    def band(self, layer: SpikingLayer) -> slice:
        """Return the rows of the map of its layer."""
        return slice(self.top, height_of(layer) if self.bottom is None else self.bottom)


def height_of(layer: SpikingLayer) -> int:
    """Return the rows of the map of a layer, 1 of a layer without one."""
    return layer.output_shape[1] if len(layer.output_shape) == 3 else 1


Plan = tuple[tuple[Rows, ...], ...]
"""What every pass computes, in order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """Elements, int64 (n,), of what the host keeps of `INPUT` or of a layer."""

    name: str
    elements: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One pass: a network of its own, whose input is what the host has kept.

    Parameters
    ----------
    network : SpikingNetwork
        Its layers. Its input is ``reads``, one after the other, and its outputs are what later passes or the
        decoder read.
    rows : tuple of Rows
        What it computes of the layers of the whole network, in their order.
    reads : tuple of Reading
        What it is fed.
    """

    network: SpikingNetwork
    rows: tuple[Rows, ...]
    reads: tuple[Reading, ...]
