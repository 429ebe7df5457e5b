# SPDX-License-Identifier: Apache-2.0
"""Counts beyond those of a payload: each leaves as several neurons' counts, which the host adds up.

See `docs/reference/graded.md`, "What leaves the chip".
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Ladders

__all__ = ["spread", "spread_layer"]


def spread(spiking: SpikingNetwork) -> SpikingNetwork:
    """Return the network of which every neuron sends one packet, with groups of `SpikingLayer.parts` rows."""
    return replace(spiking, layers=tuple(spread_layer(layer) for layer in spiking.layers))


def spread_layer(layer: SpikingLayer) -> SpikingLayer:
    """Return a layer with a neuron for each part of a count; those of a row follow each other.

    Of m parts, part k = 0 .. m - 1 has the thresholds T_(m j - k) of its row, so it counts floor((c + k) / m)
    where the row counts c; the sum of these is c (Hermite's identity).
    """
    parts = layer.parts
    if parts == 1:
        return layer
    bias = layer.biases().reshape(layer.rows, -1).repeat(parts, axis=0)
    return replace(
        layer,
        sources=tuple(_repeated(source, parts) for source in layer.sources),
        output_shape=(layer.rows * parts, *layer.output_shape[1:]),
        quantiser=_ladders(layer.quantiser, parts),
        bias=bias.reshape(-1),
        low=layer.low // parts,
        levels=layer.levels // parts,
        parts=1,
        group=parts,
    )


def _repeated(source: Source, parts: int) -> Source:
    """Return a source with each row of its weights as often as a count has parts."""
    weight: NDArray[np.int16] = source.weight.repeat(parts, axis=0)
    return replace(source, weight=weight)


def _ladders(ladders: object, parts: int) -> Ladders:
    """Return the ladder of each part: it begins some steps of its row's lower, and its step is as many."""
    assert isinstance(ladders, Ladders)  # noqa: S101  # a layer demands it
    bits = 2 * ladders.payload_bits
    first, step, offset, ties = ladders.words.repeat(parts, axis=0).T
    base = (first << bits) + offset - np.tile(np.arange(parts), ladders.rows) * step
    words = np.stack((base >> bits, parts * step, base & (1 << bits) - 1, ties), axis=1)
    return Ladders(words=words, payload_bits=ladders.payload_bits)
