# SPDX-License-Identifier: Apache-2.0
"""Take over operators that nothing here knows, for the host to evaluate as they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mapping.errors import UnsupportedModelError
from mapping.model.importers.onnx_constants import of_one
from mapping.model.importers.onnx_graph import Graph, Operator
from mapping.model.importers.onnx_reference import (
    apply_foreign,
    constant_outputs,
    obstacle,
    output_shapes,
    pack,
)
from mapping.model.importers.onnx_work import foreign_work
from mapping.model.network import make_node
from mapping.model.node import Attribute, Node, Shape

__all__ = ["import_foreign"]

Constants = Mapping[str, NDArray[np.generic]]

_MOVES = frozenset({"Flatten", "Gather", "GatherND", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that only move or repeat the elements of one input."""

_TYPES = {"real": TensorProto.FLOAT, "integer": TensorProto.INT64, "truth": TensorProto.BOOL}


def import_foreign(proto: onnx.NodeProto, operator: Operator, graph: Graph) -> None:
    """Append an operator that the host evaluates as it is, a node for each of its outputs.

    A sample is evaluated as a batch of one. An output whose first axis is then no longer one is kept whole.
    What an operator writes that reads constants alone is a constant.

    Raises
    ------
    UnsupportedModelError
        If the operator cannot be evaluated, or its inputs do not fit.
    """
    why = obstacle(proto, graph.opset)
    if why:
        raise operator.bad(f"{why}; export the model without it")
    read, inputs, constants = _inputs(operator, graph)
    if not read:
        _evaluate(proto, operator, graph, inputs, constants)
        return
    reals = {key: graph.finite(key, value) for key, value in constants.items() if value.dtype.kind == "f"}
    others = {key: value for key, value in constants.items() if value.dtype.kind != "f"}
    model = _model(proto, graph, inputs, read, others)
    try:
        shapes = output_shapes(model, reals)
    except ValueError as error:
        raise operator.bad(str(error)) from None
    sizes = {f"a{index}": _full(graph, tensor) for index, tensor in enumerate(read)}
    sizes |= {key: value.shape for key, value in constants.items()}
    work = foreign_work(proto, operator, [sizes.get(name, ()) for name in inputs], shapes[0][0])
    shared: dict[str, Attribute] = {
        "operator": operator.op,
        "model": pack(model),
        "kinds": " ".join(graph.kind(tensor) for tensor in read),
        "whole": tuple(int(tensor in graph.whole) for tensor in read),
    }
    if work is not None:
        shared["work"] = work
    named = [output for output in operator.outputs if output]
    for position, (output, (shape, kind)) in enumerate(zip(named, shapes, strict=True)):
        node = make_node(
            operator.name,
            "Foreign",
            read,
            graph.fresh(operator, output),
            attributes={**shared, "output": position},
            constants=reals,
        )
        if not _gathered(graph, node, shape):
            _append(graph, node, shape=shape, kind=kind)


def _gathered(graph: Graph, node: Node, shape: Shape) -> bool:
    """Take elements at once where the last of several moves brings the batch back to the first axis.

    An index that is a tensor is written so: its axes come first, something is gathered, and they go back.
    Tell whether it was that.
    """
    written = {other.output: other for other in graph.nodes}
    moves = [node]
    while _moves(written.get(moves[0].inputs[0])):
        moves.insert(0, written[moves[0].inputs[0]])
    source = moves[0].inputs[0]
    if not _moves(node) or len(shape) < 2 or shape[0] != 1 or source in {*graph.whole, *graph.kinds}:
        return False
    held = [*(graph.shapes[move.output] for move in moves[:-1]), shape[1:]]
    places = np.arange(math.prod(graph.shapes[source]), dtype=np.float64).reshape(1, *graph.shapes[source])
    for move, size in zip(moves, held, strict=True):
        places = apply_foreign(move, [places], size)
    order, sizes = {"order": places.reshape(-1)}, dict[str, Attribute](shape=shape[1:])
    graph.add(make_node(node.name, "Take", [source], node.output, attributes=sizes, constants=order))
    return True


def _moves(node: Node | None) -> bool:
    """Tell whether a node moves the elements of a tensor, not those of a constant by a tensor of places."""
    return (
        node is not None
        and node.op == "Foreign"
        and len(node.inputs) == 1
        and "c0" not in node.constants
        and node.text("operator") in _MOVES
    )


def _evaluate(
    proto: onnx.NodeProto, operator: Operator, graph: Graph, inputs: Sequence[str], constants: Constants
) -> None:
    """Define what an operator writes that reads constants alone, real numbers in float64."""
    reals = {key: value.astype(np.float64) for key, value in constants.items() if value.dtype.kind == "f"}
    others = {key: value for key, value in constants.items() if value.dtype.kind != "f"}
    try:
        values = constant_outputs(_model(proto, graph, inputs, [], others), reals)
    except ValueError as error:
        raise operator.bad(str(error)) from None
    named = [output for output in operator.outputs if output]
    for output, value in zip(named, values, strict=True):
        graph.constants[graph.fresh(operator, output)] = value


def _inputs(operator: Operator, graph: Graph) -> tuple[list[str], list[str], Constants]:
    """Return the activations that an operator reads, its inputs by their new names, and its constants."""
    read, inputs, constants = list[str](), list[str](), dict[str, NDArray[np.generic]]()
    for index, name in enumerate(operator.inputs):
        if not name:
            inputs.append("")
        elif name in graph.constants:
            inputs.append(f"c{index}")
            constants[f"c{index}"] = of_one(graph.constants[name])
        else:
            inputs.append(f"a{len(read)}")
            read.append(graph.held(operator, index))
    return read, inputs, constants


def _full(graph: Graph, tensor: str) -> Shape:
    return graph.shapes[tensor] if tensor in graph.whole else (1, *graph.shapes[tensor])


def _model(
    proto: onnx.NodeProto, graph: Graph, inputs: Sequence[str], read: Sequence[str], others: Constants
) -> onnx.ModelProto:
    """Return a model of one node: its activations are a0, a1, ..., its constants c and their place."""
    node = onnx.NodeProto()
    node.CopyFrom(proto)
    node.name = ""
    del node.input[:], node.output[:]
    node.input.extend(inputs)
    node.output.extend(f"o{index}" if output else "" for index, output in enumerate(proto.output))
    activations = [
        helper.make_tensor_value_info(f"a{index}", _TYPES[graph.kind(tensor)], _full(graph, tensor))
        for index, tensor in enumerate(read)
    ]
    results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    initial = [numpy_helper.from_array(np.array(value, order="C"), key) for key, value in others.items()]
    part = helper.make_graph([node], "operator", activations, results, initial)
    return helper.make_model(part, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=10)


def _append(graph: Graph, node: Node, *, shape: Shape, kind: str) -> None:
    """Append a node whose output has a shape, with the batch, after a trial."""
    whole = len(shape) < 2 or shape[0] != 1
    held = (shape or (1,)) if whole else shape[1:]
    node = replace(node, attributes={**node.attributes, "shape": held})
    output, read = node.output, node.inputs
    zeros = [np.zeros((1, *graph.shapes[tensor])) for tensor in read]
    try:
        with np.errstate(all="ignore"):
            apply_foreign(node, zeros, held)
    except UnsupportedModelError:
        with np.errstate(all="ignore"):
            apply_foreign(node, [part + 1 for part in zeros], held)
    graph.add(node)
    if whole:
        graph.whole.add(output)
    if kind != "real":
        graph.kinds[output] = kind
