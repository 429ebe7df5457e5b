# SPDX-License-Identifier: Apache-2.0
"""Write an integer network as standard ONNX, so that any runtime can check it (`docs/reference/integer.md`).

Sums are taken in float32, which every runtime multiplies in, and which is exact below 2^24: weights are split
into parts whose sums stay below that. Everything else is int64.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mapping.errors import MappingError
from mapping.exporters.graph import GraphWriter
from mapping.exporters.quantisers import write_quantiser
from mapping.spiking.network import INPUT, Source, SpikingLayer, SpikingNetwork

__all__ = ["OPSET", "SCHEMA", "integer_bytes", "integer_onnx", "parts_of"]

OPSET = 17
"""Operator set of the file: what it uses means the same in every later one."""

SCHEMA = "spikeloom.integer/1"

EXACT = 2**24
"""Integers of a smaller magnitude, and sums of them in any order, are exact in float32."""

_MOST_PLACES = 12


def integer_onnx(spiking: SpikingNetwork) -> onnx.ModelProto:
    """Return an integer network as an ONNX model.

    Its input ``input`` takes the counts that enter the chip, int64 (n, shape). It has an output a layer, of
    the layer's name: the counts that it fires, int64 (n, output shape). Its metadata, ``spikeloom`` as JSON
    text, tells what a count stands for.

    Raises
    ------
    MappingError
        If a layer reads so many inputs that its sums cannot be taken exactly.
    """
    graph = GraphWriter({INPUT, *(layer.name for layer in spiking.layers)})
    for layer in spiking.layers:
        write_quantiser(graph, layer, _potential(graph, layer))
    shapes = {layer.name: layer.output_shape for layer in spiking.layers}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            spiking.name,
            [_value(INPUT, spiking.shape(INPUT))],
            [_value(name, shape) for name, shape in shapes.items()],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="spikeloom",
        producer_version=version("spikeloom"),
    )
    helper.set_model_props(model, {"spikeloom": json.dumps(_meaning(spiking))})
    onnx.checker.check_model(model, full_check=True)
    return model


def integer_bytes(spiking: SpikingNetwork) -> bytes:
    """Return the file of `integer_onnx`; equal networks give equal bytes."""
    return bytes(integer_onnx(spiking).SerializeToString(deterministic=True))


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["n", *shape])


def _meaning(spiking: SpikingNetwork) -> dict[str, object]:
    """Return what the counts of every tensor stand for."""
    fed = {
        "tensor": spiking.encoder_output,
        "scale": spiking.input_scale,
        "zero": 0,
        "low": spiking.input_low,
        "high": spiking.input_levels,
    }
    layers = {
        layer.name: {
            "tensor": layer.activation,
            "scale": layer.scale,
            "zero": layer.zero,
            "low": layer.low,
            "high": layer.levels,
            **({} if layer.gains is None else {"gains": layer.gains.tolist()}),
        }
        for layer in spiking.layers
    }
    return {
        "schema": SCHEMA,
        "model": spiking.name,
        "code": spiking.code,
        "outputs": list(spiking.outputs),
        "counts": {INPUT: fed, **layers},
    }


def _potential(graph: GraphWriter, layer: SpikingLayer) -> str:
    """Write the potentials of a layer, int64 (n, output shape), and return their name."""
    bias = layer.biases().reshape((1, *layer.output_shape))
    flat = bias.reshape(layer.rows, -1)
    if (flat == flat[:, :1]).all():
        bias = flat[:, 0].reshape((1, layer.rows, *(1,) * (len(layer.output_shape) - 1)))
    total = graph.constant(bias)
    for source in layer.sources:
        read = _read(graph, source)
        for weight, factor in parts_of(source):
            sums = _sums(graph, source, read, weight)
            if source.kind == "dense":
                sums = graph.reshape(sums, layer.output_shape)
            sums = graph.add("Cast", sums, to=TensorProto.INT64)
            if factor << source.shift != 1:
                sums = graph.add("Mul", sums, graph.constant(np.array(factor << source.shift)))
            total = graph.add("Add", total, sums)
    return total


def _read(graph: GraphWriter, source: Source) -> str:
    """Write what a layer reads of a source, float32 (n, input shape)."""
    read = graph.add("Cast", source.name, to=TensorProto.FLOAT)
    read = graph.reshape(read, source.shape)
    for pool in source.pools:
        top, left, bottom, right = pool.pads
        if any(pool.pads):  # counts that are pooled are never negative, so zeros around the map never win
            pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
            read = graph.add("Pad", read, pads)
        read = graph.add("MaxPool", read, kernel_shape=pool.kernel, strides=pool.stride)
    return graph.reshape(read, source.input_shape)


def _sums(graph: GraphWriter, source: Source, read: str, weight: NDArray[np.int64]) -> str:
    """Write the sums of weights and counts, float32."""
    if source.kind == "dense":
        return graph.add("MatMul", read, graph.constant(weight.T.astype(np.float32)))
    return graph.add(
        "Conv",
        read,
        graph.constant(weight.astype(np.float32)),
        kernel_shape=weight.shape[2:],
        strides=source.stride,
        pads=source.pads,
        dilations=source.dilation,
        group=source.groups,
    )


def parts_of(source: Source) -> list[tuple[NDArray[np.int64], int]]:
    """Return weights as parts with a factor each, so that the sums of a part are exact in float32.

    The sum of part times factor is the weight.

    >>> weight = np.full((1, 600), 121, np.int16)
    >>> source = Source(name="x", shape=(600,), input_shape=(600,), weight=weight, high=255)
    >>> [(int(part[0, 0]), factor) for part, factor in parts_of(source)]
    [(-7, 1), (1, 128)]

    Raises
    ------
    MappingError
        If it reads too many inputs even for weights of one digit.
    """
    rest, factor, parts = source.weight.astype(np.int64), 1, list[tuple[NDArray[np.int64], int]]()
    while not _exact(rest, source):
        below = next((p for p in range(_MOST_PLACES, 0, -1) if _exact(_low_part(rest, p), source)), None)
        if below is None:
            raise MappingError(
                f"Source {source.name!r} has {source.inputs} inputs, too many for sums that are exact in "
                "float32; leave that layer to the host."
            )
        low = _low_part(rest, below)
        parts.append((low, factor))
        rest, factor = (rest - low) >> below, factor << below
    return [*parts, (rest, factor)]


def _low_part(weight: NDArray[np.int64], places: int) -> NDArray[np.int64]:
    """Return the part of weights that lies in their lowest binary places, of both signs."""
    half = 1 << (places - 1)
    return ((weight + half) & ((1 << places) - 1)) - half


def _exact(weight: NDArray[np.int64], source: Source) -> bool:
    """Return whether no sum of some weights times counts leaves the integers of float32."""
    most = np.abs(weight.reshape(len(weight), -1)).sum(axis=1).max(initial=0)
    return bool(most * max(source.high, -source.low) < EXACT)
