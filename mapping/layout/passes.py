# SPDX-License-Identifier: Apache-2.0
"""The parts of a network that run one after the other on one chip (`docs/reference/passes.md`)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mapping.layout.plan import Pass, Plan, Reading, Rows
from mapping.spiking.network import INPUT, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import between

__all__ = ["passes_of", "rows_a_unit", "whole"]


def whole(layer: SpikingLayer) -> Rows:
    """Return all rows of a layer."""
    return Rows(layer=layer.name, begin=0, end=layer.rows)


def rows_a_unit(layer: SpikingLayer) -> int:
    """Return the rows between which a layer is not cut: those of a group of channels of every source."""
    grouped = [layer.rows // source.groups for source in layer.sources if source.groups > 1]
    return math.lcm(1, *grouped)


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
    layers = [_rows_of(spiking.layer(part.layer), part) for part in rows]
    reads: dict[str, Reading] = {}
    for source in (source for layer in layers for source in layer.sources if source.name not in here):
        span = Reading(name=source.name, begin=source.first, end=source.first + math.prod(source.shape))
        known = reads.get(source.name, span)
        begin, end = min(known.begin, span.begin), max(known.end, span.end)
        reads[source.name] = Reading(name=source.name, begin=begin, end=end)
    ends = np.cumsum([0, *(reading.elements for reading in reads.values())]).tolist()
    start = {name: at - reads[name].begin for name, at in zip(reads, ends, strict=False)}
    low, high = _range(spiking, reads)
    network = replace(
        spiking,
        name=f"{spiking.name}, pass {number + 1} of {passes}",
        layers=tuple(replace(layer, sources=_fed(layer, start), group=1) for layer in layers),
        outputs=tuple(part.layer for part in rows if part.layer in _kept(spiking, here)),
        input_low=low,
        input_levels=high,
        input_scale=1.0,
        input_group=1,
        input_shape=(ends[-1],),
        decoder_reads_input=False,
        decoder_reads_data=False,
        host=(),
        left=(),
    )
    return Pass(network=network, rows=tuple(rows), reads=tuple(reads.values()))


def _kept(spiking: SpikingNetwork, here: Iterable[str]) -> set[str]:
    """Return what must leave the chip, when some layers are there: what is read elsewhere."""
    inside = set(here)
    elsewhere = [layer for layer in spiking.layers if layer.name not in inside]
    return {*spiking.outputs, *(source.name for layer in elsewhere for source in layer.sources)}


def _fed(layer: SpikingLayer, start: Mapping[str, int]) -> tuple[Source, ...]:
    """Return the sources of a layer where those that the host feeds are parts of the input."""
    return tuple(
        replace(source, name=INPUT, first=start[source.name] + source.first)
        if source.name in start
        else source
        for source in layer.sources
    )


def _range(spiking: SpikingNetwork, names: Iterable[str]) -> tuple[int, int]:
    """Return the least and the largest count of some activations."""
    known = {layer.name: (layer.low, layer.levels) for layer in spiking.layers}
    known[INPUT] = spiking.input_low, spiking.input_levels
    lows, highs = zip(*(known[name] for name in names), strict=True)
    return min(lows), max(highs)


def _rows_of(layer: SpikingLayer, part: Rows) -> SpikingLayer:
    """Return some rows of a layer as a layer; with groups of channels, whole units of them."""
    if (part.begin, part.end) == (0, layer.rows):
        return layer
    pixels = math.prod(layer.output_shape[1:])
    own = slice(part.begin * pixels, part.end * pixels)
    return replace(
        layer,
        sources=tuple(_source_rows(source, part, layer.rows) for source in layer.sources),
        output_shape=(part.end - part.begin, *layer.output_shape[1:]),
        quantiser=between(layer.quantiser, part.begin, part.end),
        bias=None if layer.bias is None else layer.bias[own],
        gains=None if layer.gains is None else layer.gains[part.begin : part.end],
    )


def _source_rows(source: Source, part: Rows, rows: int) -> Source:
    """Return what some rows read of a source: where channels form groups, the channels of theirs."""
    weight = source.weight[part.begin : part.end].copy()
    if source.groups == 1:
        return replace(source, weight=weight)
    per_group, channels = rows // source.groups, source.input_shape[0] // source.groups
    low, high = part.begin // per_group, part.end // per_group
    count = (high - low) * channels
    return replace(
        source,
        weight=weight,
        groups=high - low,
        first=source.first + low * channels * math.prod(source.shape[1:]),
        shape=(count, *source.shape[1:]),
        input_shape=(count, *source.input_shape[1:]),
    )
