# SPDX-License-Identifier: Apache-2.0
"""Which core, on which axon, receives what a layer reads (`docs/reference/mapping.md`)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.layout.cut import CorePart
from mapping.spiking.matrices import pool_matrix
from mapping.spiking.network import SpikingLayer

__all__ = ["arriving", "deliveries", "ranges"]

Integers = NDArray[np.int64]


def deliveries(
    layer: SpikingLayer, index: int, parts: Sequence[CorePart]
) -> tuple[Integers, Integers, Integers]:
    """Return source element, index into ``parts`` and axon of every delivery from one source, sorted.

    ``index`` is that of the source among those of the layer.
    """
    element, core, axon = arriving(layer, index, parts)
    axons = int(axon.max(initial=0)) + 1
    key = np.sort((element * len(parts) + core) * axons + axon)
    place, axon = np.divmod(key, axons)
    element, core = np.divmod(place, len(parts))
    return element, core, axon


def arriving(
    layer: SpikingLayer, index: int, parts: Sequence[CorePart]
) -> tuple[Integers, Integers, Integers]:
    """Return what `deliveries` does, in the order of the parts and their inputs."""
    source, pools = layer.sources[index], pool_matrix(layer.sources[index])
    low = sum(other.inputs for other in layer.sources[:index])
    inputs = np.concatenate([part.inputs for part in parts]) - low
    own = (inputs >= 0) & (inputs < source.inputs)
    core = np.repeat(np.arange(len(parts)), [len(part.inputs) for part in parts])[own]
    axon, inputs = np.concatenate([part.axon for part in parts])[own], inputs[own]
    begin = pools.indptr.astype(np.int64)
    sizes = np.diff(begin)[inputs]
    member = pools.indices[ranges(begin[inputs], sizes)].astype(np.int64) + source.first
    return member, np.repeat(core, sizes), np.repeat(axon, sizes)


def ranges(begin: Integers, size: Integers) -> Integers:
    """Return begin, begin + 1, ... of every range, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(size) - size
    result: Integers = np.arange(int(size.sum())) + np.repeat(begin - before, size)
    return result
