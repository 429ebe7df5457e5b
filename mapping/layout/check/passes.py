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
from mapping.layout.check.families import Families
from mapping.layout.check.layers import pooled_sources
from mapping.layout.plan import Pass, Rows, height_of
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
        fed = np.concatenate([ids[read.name][read.elements] for read in one.reads])
        if not kept[fed].all():
            yield f"pass {number} reads what no pass before it gives"
        here = {INPUT: fed}
        for layer, rows in zip(one.network.layers, one.rows, strict=True):
            yield from (f"pass {number}, {fault}" for fault in _layer(spiking, ids, here, layer, rows))
            here[layer.name] = _of_rows(ids[rows.layer], spiking.layer(rows.layer), rows)
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
    size = len(_of_rows(ids[rows.layer], wanted, rows))
    if math.prod(layer.output_shape) != size or layer.output_shape[2:] != wanted.output_shape[2:]:
        yield f"layer {rows.layer} has the shape {layer.output_shape}"
        return
    settings = [(a.strengths, a.low, a.levels) for a in (layer, wanted)]
    bias = _of_rows(wanted.biases(), wanted, rows)
    equal = np.array_equal(layer.biases(), bias) and np.array_equal(layer.edges, wanted.edges[own])
    if not equal or settings[0] != settings[1] or len(layer.sources) != len(wanted.sources):
        yield f"layer {rows.layer} has other neurons than its rows {rows.begin}..{rows.end - 1}"
        return
    for got, source in zip(layer.sources, wanted.sources, strict=True):
        if _settings(got) != _settings(source) or not np.array_equal(got.weight, source.weight[own]):
            yield f"layer {rows.layer} has other weights than its rows {rows.begin}..{rows.end - 1}"
        elif not _same_elements((here[got.name], got), (ids[source.name], source), rows, wanted):
            yield f"layer {rows.layer} reads other elements than those of {source.name}"


def _of_rows(values: Integers, layer: SpikingLayer, rows: Rows) -> Integers:
    """Return what belongs to the rows, or the band, of a layer that a pass has, of one value a neuron."""
    maps = values.reshape(layer.rows, height_of(layer), -1)
    return maps[rows.begin : rows.end, rows.band(layer)].reshape(-1)


def _settings(source: Source) -> tuple[object, ...]:
    """Return what depends neither on the channels nor on the rows of a map."""
    pools = [(pool.kernel, pool.stride, pool.pads[1::2]) for pool in source.pools]
    geometry = source.stride, source.pads[1::2], source.dilation, source.shape[2:], source.input_shape[2:]
    return pools, *geometry, source.low, source.high, source.shift, source.kind


def _same_elements(
    here: tuple[Integers, Source], there: tuple[Integers, Source], rows: Rows, layer: SpikingLayer
) -> bool:
    """Tell whether every neuron reads, tap by tap and channel by channel, what it reads in the network."""
    (_, got), (_, wanted) = here, there
    if any(len(ids) < source.first + math.prod(source.shape) for ids, source in (here, there)):
        return False
    own, whole = _inputs(here, there)
    if got.kind == "dense":
        return np.array_equal(own.reshape(-1), whole.reshape(-1))
    taps = _tap_rows(got, wanted, rows.band(layer))
    if taps is None:
        return False
    row = np.arange(rows.end - rows.begin)
    mine, its = row // (len(row) // got.groups), (row + rows.begin) // (layer.rows // wanted.groups)
    parts, all_parts = np.split(own[:, taps[0]], got.groups), np.split(whole[:, taps[1]], wanted.groups)
    pairs = np.unique(np.stack((mine, its), axis=1), axis=0).tolist()
    return all(np.array_equal(parts[a], all_parts[b]) for a, b in pairs)


def _inputs(*read: tuple[Integers, Source]) -> list[Integers]:
    """Return a number for each input after the pools, in its shape: equal ones for equal sources."""
    every = []
    for ids, source in read:
        begin, element = pooled_sources(source)
        every.append((begin, ids[source.first + element]))
    families = Families.of(*every[-1])
    return [
        families.find(*lists).reshape(source.input_shape)
        for lists, (_, source) in zip(every, read, strict=True)
    ]


def _tap_rows(got: Source, wanted: Source, band: slice) -> tuple[Integers, Integers] | None:
    """Return which row of the pass's map, and which of the network's, each tap of each row of a band reads.

    None if one of the two is padding where the other is not.
    """
    rows, taps = np.arange(band.start, band.stop)[:, None], np.arange(wanted.weight.shape[2])
    there = (rows * wanted.stride[0] - wanted.pads[0] + taps * wanted.dilation[0]).reshape(-1)
    here = ((rows - band.start) * got.stride[0] - got.pads[0] + taps * got.dilation[0]).reshape(-1)
    inside = (there >= 0) & (there < wanted.input_shape[1])
    if not np.array_equal(inside, (here >= 0) & (here < got.input_shape[1])):
        return None
    return here[inside], there[inside]
