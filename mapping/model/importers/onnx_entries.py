# SPDX-License-Identifier: Apache-2.0
"""Let a model whose input is a tensor of integers quantise it itself, as one with a real input does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["quantise_input"]

_BYTES: Mapping[int, type[np.int8 | np.uint8]] = {TensorProto.INT8: np.int8, TensorProto.UINT8: np.uint8}


def quantise_input(graph: GraphProto) -> None:
    """Write the values that integers of the input stand for, and their quantiser, before what reads them.

    These values are (x - zero) scale. Quantised again they are the integers, for scale times a whole number
    of 8 bits is nowhere near half-way.
    """
    stored = {constant.name for constant in graph.initializer}  # older files list them as inputs too
    given = [value for value in graph.input if value.name not in stored]
    kinds = {value.name: _BYTES.get(value.type.tensor_type.elem_type) for value in given}
    nodes: list[NodeProto] = []
    for index, node in enumerate(graph.node):
        kind = (
            kinds.get(node.input[0]) if node.op_type == "DequantizeLinear" and len(node.input) > 1 else None
        )
        if kind is not None:
            nodes += _quantised(graph, node, kind, f"{node.input[0]}.entry{index}")
        copy = NodeProto()
        copy.CopyFrom(node)
        nodes.append(copy)
    del graph.node[:]
    graph.node.extend(nodes)


def _quantised(
    graph: GraphProto, node: NodeProto, kind: type[np.int8 | np.uint8], name: str
) -> list[NodeProto]:
    """Return the nodes before a reader of the input, which reads their last output from here on."""
    source, scale, *zeros = node.input
    if not any(zeros):
        zeros = [f"{name}.zero"]
        graph.initializer.append(numpy_helper.from_array(np.zeros((), kind), zeros[0]))
        del node.input[2:]
        node.input.append(zeros[0])
    parts: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", [source], "real", {"to": TensorProto.FLOAT}),
        ("Cast", zeros, "shift", {"to": TensorProto.FLOAT}),
        ("Sub", [f"{name}.real", f"{name}.shift"], "shifted", {}),
        ("Mul", [f"{name}.shifted", scale], "values", {}),
        ("QuantizeLinear", [f"{name}.values", scale, *zeros], "integers", {}),
    ]
    node.input[0] = f"{name}.integers"
    return [
        helper.make_node(op, inputs, [f"{name}.{output}"], name=f"{name}.{output}.node", **attributes)
        for op, inputs, output, attributes in parts
    ]
