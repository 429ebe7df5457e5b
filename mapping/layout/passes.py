# SPDX-License-Identifier: Apache-2.0
"""The parts of a network that run one after the other on one chip (`docs/reference/passes.md`)."""

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.layout.plan import Pass, Plan, Reading, Rows
from mapping.spiking.network import INPUT, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import between

__all__ = ["banded", "passes_of", "rows_a_unit", "whole"]

Integers = NDArray[np.int64]
Pads = tuple[int, int, int, int]


def whole(layer: SpikingLayer) -> Rows:
    """Return all rows of a layer."""
    return Rows(layer=layer.name, begin=0, end=layer.rows)


def rows_a_unit(layer: SpikingLayer) -> int:
    """Return the rows between which a layer is not cut: those of a group of channels of every source."""
    grouped = [layer.rows // source.groups for source in layer.sources if source.groups > 1]
    return math.lcm(1, *grouped)


def banded(layer: SpikingLayer) -> bool:
    """Tell whether bands of a layer's map can be computed each for itself.

    They can if all that it reads is by convolutions and pools of which no window has padding alone.
    """
    if len(layer.output_shape) != 3 or any(source.kind != "conv" for source in layer.sources):
        return False
    windows = [(source.pads, _span(source)) for source in layer.sources]
    windows += [(pool.pads, pool.kernel[0]) for source in layer.sources for pool in source.pools]
    return all(max(pads[0], pads[2]) < span for pads, span in windows)


def _span(source: Source) -> int:
    """Return the rows that a window of a convolution spans."""
    return int(source.weight.shape[2] - 1) * source.dilation[0] + 1


def passes_of(spiking: SpikingNetwork, plan: Plan) -> tuple[Pass, ...]:
    """Return the passes of a network.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network, as the chip runs it: on a chip of unary packets `mapping.spiking.unary` of it.
    plan : tuple of tuples of Rows
        What every pass computes: a layer's rows once, and no layer before what it reads.
    """
    return tuple(_pass(spiking, rows, number, len(plan)) for number, rows in enumerate(plan))


def _pass(spiking: SpikingNetwork, rows: Sequence[Rows], number: int, passes: int) -> Pass:
    """Return one pass; what it reads comes in the order in which its layers name it."""
    here = {part.layer for part in rows}
    reads: list[Reading] = []
    layers = [_layer(spiking.layer(part.layer), part, here, reads) for part in rows]
    low, high = _range(spiking, [reading.name for reading in reads])
    network = replace(
        spiking,
        name=f"{spiking.name}, pass {number + 1} of {passes}",
        layers=tuple(layers),
        outputs=tuple(part.layer for part in rows if part.layer in _kept(spiking, here)),
        input_low=low,
        input_levels=high,
        input_scale=1.0,
        input_group=1,
        input_shape=(sum(len(reading.elements) for reading in reads),),
        decoder_reads_input=False,
        decoder_reads_data=False,
        host=(),
        left=(),
    )
    return Pass(network=network, rows=tuple(rows), reads=tuple(reads))


def _layer(layer: SpikingLayer, part: Rows, here: Container[str], reads: list[Reading]) -> SpikingLayer:
    """Return a layer of a pass; what it reads of the host is added to ``reads``, the same only once."""
    sources = []
    for source in layer.sources:
        own, elements = _source_rows(source, part, layer)
        if source.name in here:
            sources.append(own)
            continue
        first = 0
        for known in reads:
            if known.name == source.name and np.array_equal(known.elements, elements):
                break
            first += len(known.elements)
        else:
            reads.append(Reading(name=source.name, elements=elements))
        sources.append(replace(own, name=INPUT, first=first))
    return replace(_rows_of(layer, part), sources=tuple(sources), group=1)


def _kept(spiking: SpikingNetwork, here: Iterable[str]) -> set[str]:
    """Return what must leave the chip, when some layers are there: what is read elsewhere."""
    inside = set(here)
    elsewhere = [layer for layer in spiking.layers if layer.name not in inside]
    return {*spiking.outputs, *(source.name for layer in elsewhere for source in layer.sources)}


def _range(spiking: SpikingNetwork, names: Iterable[str]) -> tuple[int, int]:
    """Return the least and the largest count of some activations."""
    known = {layer.name: (layer.low, layer.levels) for layer in spiking.layers}
    known[INPUT] = spiking.input_low, spiking.input_levels
    lows, highs = zip(*(known[name] for name in names), strict=True)
    return min(lows), max(highs)


def _rows_of(layer: SpikingLayer, part: Rows) -> SpikingLayer:
    """Return some rows of a layer, or a band of its map, without its sources."""
    band, rows = part.band(layer), slice(part.begin, part.end)
    shape = (part.end - part.begin, *layer.output_shape[1:])
    bias = layer.bias
    if len(shape) == 3:
        shape = (shape[0], band.stop - band.start, shape[2])
        bias = None if bias is None else bias.reshape(layer.output_shape)[rows, band].reshape(-1)
    elif bias is not None:
        bias = bias[rows]
    return replace(
        layer,
        output_shape=shape,
        quantiser=between(layer.quantiser, part.begin, part.end),
        bias=bias,
        gains=None if layer.gains is None else layer.gains[rows],
    )


def _source_rows(source: Source, part: Rows, layer: SpikingLayer) -> tuple[Source, Integers]:
    """Return a source as some rows of a layer, or a band of its map, read it, and the elements of it.

    Where channels form groups these are the channels of theirs.
    """
    weight, groups, channels = source.weight[part.begin : part.end].copy(), 1, slice(0, source.shape[0])
    if source.groups > 1:
        per_group, size = layer.rows // source.groups, source.shape[0] // source.groups
        groups = (part.end - part.begin) // per_group
        channels = slice(part.begin // per_group * size, part.end // per_group * size)
    elements = np.arange(source.first, source.first + math.prod(source.shape)).reshape(source.shape)[channels]
    own = replace(source, weight=weight, groups=groups)
    if source.groups > 1:
        count = channels.stop - channels.start
        shapes = (count, *source.shape[1:]), (count, *source.input_shape[1:])
        own = replace(own, shape=shapes[0], input_shape=shapes[1])
    if part.bottom is not None:
        own, rows = _in_band(own, part.band(layer))
        elements = elements[:, rows]
    return own, np.ascontiguousarray(elements).reshape(-1)


def _in_band(source: Source, band: slice) -> tuple[Source, slice]:
    """Return a convolution's source as a band of its map reads it, and the rows of the source's own map."""
    sizes = [source.shape[1]]
    for pool in source.pools:
        padded = sizes[-1] + pool.pads[0] + pool.pads[2]
        sizes.append((padded - pool.kernel[0]) // pool.stride[0] + 1)
    rows, pads = _window(band, sizes[-1], _span(source), source.stride[0], source.pads)
    shape, pools = (source.input_shape[0], rows.stop - rows.start, source.input_shape[2]), []
    for pool, size in zip(reversed(source.pools), reversed(sizes[:-1]), strict=True):
        rows, around = _window(rows, size, pool.kernel[0], pool.stride[0], pool.pads)
        pools.append(replace(pool, pads=around))
    own = (source.shape[0], rows.stop - rows.start, source.shape[2])
    changed = replace(source, pads=pads, input_shape=shape, pools=tuple(reversed(pools)), shape=own)
    return changed, rows


def _window(rows: slice, size: int, span: int, stride: int, pads: Pads) -> tuple[slice, Pads]:
    """Return which of ``size`` rows some rows of the output see through windows of ``span``, and the padding.

    >>> _window(slice(0, 2), 8, 3, 1, (1, 0, 1, 0)), _window(slice(6, 8), 8, 3, 1, (1, 0, 1, 0))
    ((slice(0, 3, None), (1, 0, 0, 0)), (slice(5, 8, None), (0, 0, 1, 0)))
    """
    first, last = rows.start * stride - pads[0], (rows.stop - 1) * stride - pads[0] + span
    low, high = max(first, 0), min(last, size)
    return slice(low, high), (low - first, pads[1], last - high, pads[3])
