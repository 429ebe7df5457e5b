# SPDX-License-Identifier: Apache-2.0
"""A network as the seed chip runs it: a count is a group of neurons of one threshold each.

Zou et al. 2021, Front. Neurosci. 15:694170: a packet has no payload, so a count of k levels is k neurons, of
which neuron i = 1..k fires if the count is at least i (Eq. 10); a cell is on or off, so a ternary weight is
two columns, of strengths -1 and +1 (k_wei, Eq. 19); axons are not merged, so a max-pool is a layer.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError
from mapping.spiking.digits import ON_OFF
from mapping.spiking.network import TERNARY, Pool, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Lists

__all__ = ["unary", "unary_layer"]

Shape = tuple[int, ...]


def unary(
    spiking: SpikingNetwork, *, strengths: tuple[int, ...] = ON_OFF, pool_layers: bool = True
) -> SpikingNetwork:
    """Return the network of neurons of one threshold that computes the same counts.

    Channel or feature c of k levels becomes k of them, k c .. k c + k - 1, of which the first k' fire for a
    count k'. A max-pool becomes a layer of neurons that fire if any of their inputs does.

    Parameters
    ----------
    spiking : SpikingNetwork
        A network of the code scatter-and-gather.
    strengths : tuple of int
        `ON_OFF`, or `TERNARY` of a chip whose cells are -1, 0 and 1.
    pool_layers : bool
        Whether a max-pool becomes a layer; otherwise the axons of its reader merge what arrives.

    Raises
    ------
    MappingError
        If it is of another code, or a map is read in another shape than it has.
    """
    if spiking.code != "scatter-and-gather" or spiking.input_low < 0:
        raise MappingError(
            f"Network {spiking.name} must be of the code scatter-and-gather for a chip of unary packets, not "
            f"{spiking.code}: compile it for loom."
        )
    layers: list[SpikingLayer] = []
    pooled: dict[tuple[str, tuple[Pool, ...]], SpikingLayer] = {}
    for layer in spiking.layers:
        sources = []
        for source in layer.sources:
            _require_shape(layer, source, spiking.shape(source.name))
            last = None
            for number in range(len(source.pools) if pool_layers else 0):
                key = (source.name, source.pools[: number + 1])
                if key not in pooled:
                    pooled[key] = _pool(f"{layer.name}.pool{number}", source, number, last, strengths)
                    layers.append(pooled[key])
                last = pooled[key]
            read = _source(source, spiking.shape(source.name)[0], layer.levels)
            pools = () if pool_layers else source.pools
            read = replace(read, pools=pools, shape=_grown(source.shape, source.high))
            sources.append(read if last is None else replace(read, name=last.name, shape=last.output_shape))
        layers.append(_layer(layer, sources, strengths))
    return replace(spiking, layers=tuple(layers), input_levels=1, input_group=spiking.input_levels)


def unary_layer(layer: SpikingLayer) -> SpikingLayer:
    """Return one layer as `unary` makes it, but for the pools before it, whose outputs it reads.

    Raises
    ------
    MappingError
        If it is of another code.
    """
    sources = [_source(source, source.shape[0], layer.levels) for source in layer.sources]
    return _layer(layer, sources, ON_OFF)


def _require_shape(layer: SpikingLayer, source: Source, shape: Shape) -> None:
    """Refuse a map that is read with other channels than it is written."""
    if (source.kind == "conv" or source.pools) and source.shape[0] != shape[0]:
        raise MappingError(
            f"Layer {layer.name!r} must read {source.name!r} in its own shape {shape} on a chip of unary "
            f"packets, not as {source.shape}: compile it for loom."
        )


def _grown(shape: Shape, times: int) -> Shape:
    return shape[0] * times, *shape[1:]


def _source(source: Source, channels: int, levels: int) -> Source:
    """Return a source with a row and a column of weights for each level, without its pools."""
    times = source.high
    if source.kind == "conv":
        weight = source.weight.repeat(levels, axis=0).repeat(times, axis=1)
    else:
        maps = source.weight.reshape(len(source.weight), channels, -1)
        weight = maps.repeat(times, axis=1).reshape(len(maps), -1).repeat(levels, axis=0)
    return replace(
        source,
        pools=(),
        shape=_grown(source.input_shape, times),
        input_shape=_grown(source.input_shape, times),
        weight=weight,
        high=1,
    )


def _layer(layer: SpikingLayer, sources: Sequence[Source], strengths: tuple[int, ...]) -> SpikingLayer:
    """Return a layer with a neuron for each of its thresholds."""
    if layer.strengths != TERNARY or not isinstance(layer.quantiser, Lists):
        raise MappingError(
            f"Layer {layer.name!r} must have weights -1, 0 and 1 and lists of thresholds for a chip of "
            "on/off cells: compile it for loom."
        )
    bias = layer.biases().reshape(layer.rows, -1).repeat(layer.levels, axis=0)
    return replace(
        layer,
        sources=tuple(sources),
        output_shape=_grown(layer.output_shape, layer.levels),
        quantiser=Lists(thresholds=layer.edges.reshape(-1, 1)),
        strengths=strengths,
        bias=bias.reshape(-1),
        levels=1,
        group=layer.levels,
    )


def _pool(
    name: str, source: Source, number: int, before: SpikingLayer | None, strengths: tuple[int, ...]
) -> SpikingLayer:
    """Return one max-pool of a source as a layer: a maximum of counts is one of each of their neurons."""
    pool, times = source.pools[number], source.high
    shape = _grown(source.shape, times) if before is None else before.output_shape
    after = _pooled(shape, pool)
    weight: NDArray[np.int16] = np.ones((shape[0], 1, *pool.kernel), np.int16)
    read = Source(
        name=source.name if before is None else before.name,
        shape=shape,
        input_shape=shape,
        weight=weight,
        stride=pool.stride,
        pads=pool.pads,
        groups=shape[0],
        high=1,
    )
    return SpikingLayer(
        name=name,
        sources=(read,),
        output_shape=after,
        quantiser=Lists(thresholds=np.ones((shape[0], 1), np.int64)),
        strengths=strengths,
        levels=1,
        activation=name,
        scale=1.0,
        group=times,
    )


def _pooled(shape: Shape, pool: Pool) -> Shape:
    """Return the shape of a map after a pool."""
    ends = zip(shape[1:], pool.pads[:2], pool.pads[2:], pool.kernel, pool.stride, strict=True)
    return shape[0], *((side + a + b - window) // step + 1 for side, a, b, window, step in ends)
