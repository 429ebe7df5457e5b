# SPDX-License-Identifier: Apache-2.0
"""Prove that passes, one after the other, compute a network (`docs/reference/passes.md`).

Every element of the input and of every layer has a number. What a row of a pass reads is told by the numbers
of what it is fed, and compared with what the row of the whole network reads.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError
from mapping.layout.plan import Pass, Rows
from mapping.spiking.network import INPUT, Source, SpikingLayer, SpikingNetwork

__all__ = ["pass_faults", "require_passes"]

Integers = NDArray[np.int64]


def require_passes(spiking: SpikingNetwork, passes: Sequence[Pass]) -> None:
    """Do nothing if `pass_faults` finds nothing.

    Raises
    ------
    MappingError
        With the first fault.
    """
    for fault in pass_faults(spiking, passes):
        raise MappingError(f"The passes do not compute their network: {fault}; compile the model again.")


def pass_faults(spiking: SpikingNetwork, passes: Sequence[Pass]) -> Iterator[str]:
    """Yield every way in which passes differ from a network that they are to compute.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network, as the chip runs it.
    passes : sequence of Pass
        What runs one after the other.
    """
    names = (INPUT, *(layer.name for layer in spiking.layers))
    ends = np.cumsum([math.prod(spiking.shape(name)) for name in names])
    ids = dict(zip(names, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    kept, times = np.zeros(ends[-1], np.bool_), np.zeros(ends[-1], np.int64)
    kept[ids[INPUT]], times[ids[INPUT]] = True, 1
    for number, one in enumerate(passes):
        fed = np.concatenate([ids[read.name][read.begin : read.end] for read in one.reads])
        if not kept[fed].all():
            yield f"pass {number} reads what no pass before it gives"
        here = {INPUT: fed}
        for layer, rows in zip(one.network.layers, one.rows, strict=True):
            yield from (f"pass {number}, {fault}" for fault in _layer(spiking, ids, here, layer, rows))
            pixels = math.prod(layer.output_shape[1:])
            here[layer.name] = ids[rows.layer][rows.begin * pixels : rows.end * pixels]
            times[here[layer.name]] += 1
        for name in one.network.outputs:
            kept[here[name]] = True
    for name, own in ids.items():
        if (times[own] != 1).any():
            yield f"{np.count_nonzero(times[own] != 1)} elements of {name} are not computed once"
        if name in spiking.outputs and not kept[own].all():
            yield f"the decoder reads elements of {name} that the host does not keep"


def _layer(
    spiking: SpikingNetwork,
    ids: dict[str, Integers],
    here: dict[str, Integers],
    layer: SpikingLayer,
    rows: Rows,
) -> Iterator[str]:
    """Compare a layer of a pass with the rows of the network that it stands for."""
    wanted, own = spiking.layer(rows.layer), slice(rows.begin, rows.end)
    pixels = math.prod(wanted.output_shape[1:])
    if layer.output_shape != (rows.end - rows.begin, *wanted.output_shape[1:]):
        yield f"layer {rows.layer} has the shape {layer.output_shape}"
        return
    settings = [(a.strengths, a.low, a.levels) for a in (layer, wanted)]
    bias = wanted.biases()[rows.begin * pixels : rows.end * pixels]
    equal = np.array_equal(layer.biases(), bias) and np.array_equal(layer.edges, wanted.edges[own])
    if not equal or settings[0] != settings[1] or len(layer.sources) != len(wanted.sources):
        yield f"layer {rows.layer} has other neurons than its rows {rows.begin}..{rows.end - 1}"
        return
    for got, source in zip(layer.sources, wanted.sources, strict=True):
        if _settings(got) != _settings(source) or not np.array_equal(got.weight, source.weight[own]):
            yield f"layer {rows.layer} has other weights than its rows {rows.begin}..{rows.end - 1}"
            continue
        groups = got.groups, source.groups, wanted.rows
        own_ids, its_ids = _channels(here[got.name], got), _channels(ids[source.name], source)
        if not _same_elements(own_ids, its_ids, rows, groups):
            yield f"layer {rows.layer} reads other elements than those of {source.name}"


def _settings(source: Source) -> tuple[object, ...]:
    """Return what does not depend on the channels."""
    geometry = source.pools, source.stride, source.pads, source.dilation, source.shape[1:]
    return *geometry, source.input_shape[1:], source.low, source.high, source.shift, source.kind


def _same_elements(
    own: Integers | None, whole: Integers | None, rows: Rows, groups: tuple[int, int, int]
) -> bool:
    """Tell whether every row reads, channel by channel, the elements that it reads in the network.

    ``groups`` are those of the pass, those of the network, and the rows of the layer.
    """
    here, there, of = groups
    if own is None or whole is None or rows.end > of:
        return False
    row = np.arange(rows.end - rows.begin)
    pairs = np.stack((row // (len(row) // here), (row + rows.begin) // (of // there)), axis=1)
    parts, all_parts = np.split(own, here), np.split(whole, there)
    return all(np.array_equal(parts[a], all_parts[b]) for a, b in np.unique(pairs, axis=0).tolist())


def _channels(elements: Integers, source: Source) -> Integers | None:
    """Return the elements that a source reads, a row a channel; None if there are too few."""
    own = elements[source.first : source.first + math.prod(source.shape)]
    return own.reshape(source.shape[0], -1) if len(own) == math.prod(source.shape) else None
