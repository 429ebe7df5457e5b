# SPDX-License-Identifier: Apache-2.0
"""Ladders and lists of thresholds as ONNX operators on int64 (`docs/reference/machine.md`, "Quantisers")."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mapping.exporters.graph import GraphWriter
from mapping.spiking.network import SpikingLayer
from mapping.spiking.quantisers import NEVER, Ladders

__all__ = ["write_quantiser"]

Ints = NDArray[np.int64]


def write_quantiser(graph: GraphWriter, layer: SpikingLayer, potential: str) -> None:
    """Write the counts of a layer's potentials, int64, to the tensor of its name.

    Parameters
    ----------
    graph : GraphWriter
        Where to.
    layer : SpikingLayer
        Whose quantiser it is.
    potential : str
        Tensor, int64 (n, output shape).
    """
    if isinstance(layer.quantiser, Ladders):
        _ladder(graph, layer, layer.quantiser, potential)
    else:
        _list(graph, layer, layer.edges, potential)


def _by_row(values: Ints, layer: SpikingLayer) -> Ints:
    """Return one value a row in a shape that is spread over the output."""
    return values.reshape((1, layer.rows, *(1,) * (len(layer.output_shape) - 1)))


def _list(graph: GraphWriter, layer: SpikingLayer, edges: Ints, potential: str) -> None:
    """Count the thresholds that were reached bit by bit, the highest first, as the hardware does a ladder's.

    Thresholds never decrease, so count c is reached if the c-th of them is.
    """
    bits = max(1, layer.levels.bit_length())
    table = np.full((layer.rows, 1 << bits), NEVER, np.int64)
    table[:, 1 : 1 + layer.levels] = edges
    thresholds = graph.constant(table.reshape(-1))
    place = start = graph.constant(_by_row(np.arange(layer.rows) << bits, layer))  # of a row in the table
    for bit in reversed(range(bits)):
        trial = graph.add("Add", place, graph.constant(np.array(1 << bit)))
        reached = graph.add("GreaterOrEqual", potential, graph.add("Gather", thresholds, trial))
        place = graph.add("Where", reached, trial, place)
    graph.add("Sub", place, start, output=layer.name)


def _ladder(graph: GraphWriter, layer: SpikingLayer, quantiser: Ladders, potential: str) -> None:
    """Divide as `Ladders.counts` does, with counts that begin at 0.

    The division of ONNX rounds towards 0 and not down, but what is below 0 is cut off there.
    With W = (V - first + 1) 2^F - offset - 1 the count is floor(W / step), within its range; with ties an odd
    one is one less if its threshold is above V, so if count step + offset + 2^P >= (V - first + 1) 2^F.
    """
    first, step, offset, ties = (_by_row(column, layer) for column in quantiser.words.T)
    fraction = 2 * quantiser.payload_bits
    scaled = graph.add("Mul", potential, graph.constant(np.array(1 << fraction)))
    above = ((1 - first) << fraction) - offset - 1 - layer.low * step
    steps = graph.constant(step)
    found = graph.add("Div", graph.add("Add", scaled, graph.constant(above)), steps)
    found = _larger(graph, found, 0)
    found = _smaller(graph, found, layer.levels - layer.low)
    if ties.any():
        found = graph.add("Sub", found, _tie(graph, layer, quantiser, found, scaled))
    graph.add("Add", found, graph.constant(np.array(layer.low)), output=layer.name)


def _tie(graph: GraphWriter, layer: SpikingLayer, quantiser: Ladders, found: str, scaled: str) -> str:
    """Return 1 where an odd count was found whose threshold is not reached, because a half goes to even.

    ``found`` are counts above ``layer.low``, ``scaled`` are the potentials times 2^F.
    """
    first, step, offset, ties = (_by_row(column, layer) for column in quantiser.words.T)
    places = quantiser.payload_bits
    rise = graph.add("Mul", found, graph.constant(step))
    base = layer.low * step + offset + (1 << places) - ((1 - first) << 2 * places)
    missed = graph.add("GreaterOrEqual", graph.add("Add", rise, graph.constant(base)), scaled)
    count = graph.add("Add", found, graph.constant(np.array(layer.low & 1)))
    odd = graph.add("Mod", count, graph.constant(np.array(2)))
    above = _smaller(graph, found, 1)  # the lowest count has no threshold
    tie = graph.add("Mul", graph.add("Cast", missed, to=TensorProto.INT64), graph.add("Mul", odd, above))
    return graph.add("Mul", tie, graph.constant((ties > 0).astype(np.int64)))


def _larger(graph: GraphWriter, tensor: str, limit: int) -> str:
    """Return the larger of values and a limit; onnxruntime 1.31 errs in the Max and Min of wide integers."""
    bound = graph.constant(np.array(limit))
    return graph.add("Where", graph.add("GreaterOrEqual", tensor, bound), tensor, bound)


def _smaller(graph: GraphWriter, tensor: str, limit: int) -> str:
    """Return the smaller of values and a limit."""
    bound = graph.constant(np.array(limit))
    return graph.add("Where", graph.add("GreaterOrEqual", tensor, bound), bound, tensor)
