# SPDX-License-Identifier: Apache-2.0
"""Let a model whose input is a tensor of integers quantise it itself, as one with a real input does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["quantise_input"]

_BYTES: Mapping[int, type[np.int8 | np.uint8]] = {TensorProto.INT8: np.int8, TensorProto.UINT8: np.uint8}


_MOVES = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that give integers which they read."""

_READS: Mapping[str, tuple[int, ...]] = {
    "DequantizeLinear": (0,),
    "QGemm": (0,),
    "QLinearAdd": (0, 3),
    "QLinearAveragePool": (0,),
    "QLinearConv": (0,),
    "QLinearGlobalAveragePool": (0,),
    "QLinearLeakyRelu": (0,),
    "QLinearMatMul": (0,),
    "QLinearMul": (0, 3),
    "QLinearSigmoid": (0,),
}
"""Operators that read integers, and which of their inputs these are, each before its scale and zero point."""


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
        copy = NodeProto()
        copy.CopyFrom(node)
        for at, name in enumerate(node.input):
            kind = kinds.get(name)
            grid = None if kind is None else _grid_of(graph, node, at)
            if kind is not None and grid is not None:
                entry = f"{name}.entry{index}" if not at else f"{name}.entry{index}.{at}"
                nodes += _quantised(graph, name, grid, kind, entry)
                copy.input[at] = f"{entry}.integers"
                if node.op_type == "DequantizeLinear":
                    del copy.input[1:]
                    copy.input.extend([grid[0], grid[1] or f"{entry}.zero"])
        nodes.append(copy)
    del graph.node[:]
    graph.node.extend(nodes)


def _grid_of(graph: GraphProto, node: NodeProto, at: int) -> tuple[str, str] | None:
    """Return the names of scale and zero point by which a node reads integers, at once or behind moves."""
    if at in _READS.get(node.op_type, ()) and at + 1 < len(node.input):
        return node.input[at + 1], node.input[at + 2] if at + 2 < len(node.input) else ""
    if node.op_type not in _MOVES or at:
        return None
    for other in graph.node:
        for index, name in enumerate(other.input):
            grid = _grid_of(graph, other, index) if name in node.output else None
            if grid is not None:
                return grid
    return None


def _quantised(
    graph: GraphProto, source: str, grid: tuple[str, str], kind: type[np.int8 | np.uint8], name: str
) -> list[NodeProto]:
    """Return the nodes between integers of the input and their reader, which reads what the last writes."""
    scale, zero = grid
    if not zero:
        zero = f"{name}.zero"
        graph.initializer.append(numpy_helper.from_array(np.zeros((), kind), zero))
    parts: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", [source], "real", {"to": TensorProto.FLOAT}),
        ("Cast", [zero], "shift", {"to": TensorProto.FLOAT}),
        ("Sub", [f"{name}.real", f"{name}.shift"], "shifted", {}),
        ("Mul", [f"{name}.shifted", scale], "values", {}),
        ("QuantizeLinear", [f"{name}.values", scale, zero], "integers", {}),
    ]
    return [
        helper.make_node(op, inputs, [f"{name}.{output}"], name=f"{name}.{output}.node", **attributes)
        for op, inputs, output, attributes in parts
    ]
