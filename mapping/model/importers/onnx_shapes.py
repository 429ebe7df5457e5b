# SPDX-License-Identifier: Apache-2.0
"""Tell the shapes of the tensors of a graph from the shape of its input."""

import math
from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mapping.model.importers.onnx_spelt import Parts
from mapping.model.node import Shape

__all__ = ["shapes_for"]

_LARGEST = 1 << 10
"""Elements of the largest constant whose values may tell a shape."""

_ROUNDS = 32
"""Most shapes that may be computed from one another."""

_COMPUTING = frozenset(
    {"Add", "Cast", "Concat", "Div", "Gather", "Mul", "ReduceProd", "Reshape", "Slice", "Squeeze", "Sub"}
    | {"Unsqueeze"}
)
"""Operators with which graphs compute shapes, whatever ONNX's inference follows of them."""

_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_Values = dict[str, NDArray[np.generic]]


def shapes_for(model: ModelProto, name: str, shape: Shape) -> dict[str, Shape]:
    """Return the shapes that follow from one of the input, by the name of the tensor.

    Parameters
    ----------
    model : ModelProto
        It is not changed, and what does not fit is left for others to tell.
    name, shape
        Of the input, with its batch.
    """
    bare = _bare(model, name, shape)
    found = {name: shape} | {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for _ in range(_ROUNDS):
        with suppress(onnx.shape_inference.InferenceError, *_FAILURES):
            inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
            found.update(_fixed([*inferred.graph.value_info, *inferred.graph.output]))
        asked = [node for node in bare.graph.node if node.op_type == "Reshape"]
        if all(node.output[0] in found for node in asked) or not _fold(bare, found):
            break
    return found


def _bare(model: ModelProto, name: str, shape: Shape) -> ModelProto:
    """Return a model without the values of large constants, whose input has a shape."""
    bare = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = "shapes"
    bare.graph.node.extend(model.graph.node)
    for value in model.graph.input:
        if value.name == name:
            given = helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, shape)
            bare.graph.input.append(given)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _LARGEST:
            bare.graph.initializer.append(tensor)
        else:
            given = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            bare.graph.input.append(given)
    bare.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    return bare


def _fixed(values: Iterable[ValueInfoProto]) -> dict[str, Shape]:
    """Return the shapes whose sizes are all known."""
    found = {}
    for value in values:
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.WhichOneof("value") == "dim_value" for dim in dims):
                found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _fold(bare: ModelProto, shapes: dict[str, Shape]) -> bool:
    """Write what is computed from known shapes as constants; tell whether there was something."""
    parts, values, left = Parts(bare.graph), _Values(), list[NodeProto]()
    for node in bare.graph.node:
        value = _value(bare, node, shapes, _read(parts, node, values))
        if value is None:
            left.append(node)
        else:
            values[node.output[0]] = value
            bare.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    kept = [NodeProto.FromString(node.SerializeToString()) for node in left]
    del bare.graph.node[:]
    bare.graph.node.extend(kept)
    return bool(values)


def _read(parts: Parts, node: NodeProto, values: _Values) -> _Values | None:
    """Return what a node reads, or None if that is not all known."""
    found = {}
    for name in filter(None, node.input):
        value = values.get(name, parts.constant(name))
        if value is None:
            return None
        found[name] = value
    return found


def _value(
    bare: ModelProto, node: NodeProto, shapes: dict[str, Shape], read: _Values | None
) -> NDArray[np.generic] | None:
    """Return what a node of shape arithmetic writes, or None."""
    if node.op_type == "Shape" and shapes.keys() & node.input:
        given = {attribute.name: attribute.i for attribute in node.attribute}
        shape = shapes[node.input[0]]
        return np.array(shape[given.get("start", 0) : given.get("end", len(shape))], np.int64)
    if node.op_type not in _COMPUTING or not read:
        return None
    graph = helper.make_graph([node], "one", [], [onnx.ValueInfoProto(name=node.output[0])])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in read.items())
    with suppress(*_FAILURES):
        one = helper.make_model(graph, opset_imports=bare.opset_import, ir_version=bare.ir_version)
        (found, *_) = ReferenceEvaluator(one).run(None, {})
        return np.asarray(found)
    return None
