# SPDX-License-Identifier: Apache-2.0
"""Let a network that is written for columns, W x, read rows: the batch is its first axis then.

A *column* is a matrix (features, batch): what a ``Transpose`` of the batch writes, and what is computed from
it. Each has a tensor of *rows* beside it, its transpose, and is written itself only where something reads it
that is not known here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper

from mapping.model.importers.onnx_elements import OF_ONE, OF_TWO

__all__ = ["rows_first"]

_ALONG = frozenset({"LogSoftmax", "Softmax"})


class _Rows:
    """The nodes so far, of each column its rows, and the shapes of constants."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = []
        self.rows: dict[str, str] = {}
        self.written: set[str] = set()
        self.constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.output:
                tensors = [a.t for a in node.attribute if a.type == AttributeProto.TENSOR]
                self.constants.update((node.output[0], tuple(tensor.dims)) for tensor in tensors[:1])

    def add(self, node: NodeProto, op: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Write the rows of what a node writes with another node."""
        rows = f"{node.output[0]}.rows"
        self.nodes.append(helper.make_node(op, inputs, [rows], name=node.name, **attributes))
        self.rows[node.output[0]] = rows

    def turned(self, name: str) -> str:
        """Return the transpose of a constant matrix."""
        turned = f"{name}.turned"
        if turned not in self.written:
            self.nodes.append(helper.make_node("Transpose", [name], [turned], name=turned, perm=[1, 0]))
            self.written.add(turned)
        return turned

    def spread(self, name: str) -> str | None:
        """Return a constant that is spread over a column as it is spread over the rows, or None."""
        shape = self.constants.get(name)
        if shape is None or (math.prod(shape) != 1 and (len(shape) != 2 or shape[1] != 1)):
            return None
        return self.turned(name) if len(shape) == 2 else name

    def column(self, name: str) -> None:
        """Write a column itself, for a node that reads it."""
        if name in self.rows and name not in self.written:
            rows = self.rows[name]
            self.nodes.append(helper.make_node("Transpose", [rows], [name], name=f"{name}.turn", perm=[1, 0]))
            self.written.add(name)


def rows_first(graph: GraphProto) -> None:
    """Write the nodes that compute with columns as nodes that compute with rows, in a sorted graph."""
    known = _Rows(graph)
    if not any(_begins(known, node) for node in graph.node):
        return
    _enter(known)
    for node in graph.node:
        rule = _RULES.get(node.op_type) if not node.domain and len(node.output) >= 1 else None
        if rule is None or not rule(known, node):
            for name in node.input:
                known.column(name)
            copy = NodeProto()
            copy.CopyFrom(node)
            known.nodes.append(copy)
    for value in graph.output:
        if value.name in known.rows:
            value.CopyFrom(helper.make_tensor_value_info(known.rows[value.name], TensorProto.FLOAT, None))
    del graph.node[:]
    graph.node.extend(known.nodes)


def _begins(known: _Rows, node: NodeProto) -> bool:
    """Tell whether a node multiplies a constant matrix with a tensor."""
    return (
        node.op_type in {"Gemm", "MatMul"}
        and len(node.input) > 1
        and len(known.constants.get(node.input[0], ())) == 2
        and node.input[1] not in known.constants
    )


def _enter(known: _Rows) -> None:
    """Read a column of one sample, which has no batch, as a row."""
    given = [value for value in known.graph.input if value.name not in known.constants]
    for value in given:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        readers = [node for node in known.graph.node if value.name in node.input]
        left = all(_begins(known, node) and not _flag(node, "transB") for node in readers)
        if len(sizes) == 2 and sizes[0] > 1 and sizes[1] == 1 and readers and left:
            element = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, element, sizes[::-1]))
            known.rows[value.name] = value.name


def _flag(node: NodeProto, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def _transpose(known: _Rows, node: NodeProto) -> bool:
    orders = [list(a.ints) for a in node.attribute if a.name == "perm"]
    name = node.input[0]
    if orders != [[1, 0]] or name in known.constants:
        return False
    if name in known.rows:
        known.nodes.append(helper.make_node("Identity", [known.rows[name]], node.output, name=node.name))
    else:
        known.rows[node.output[0]] = name
    return True


def _matmul(known: _Rows, node: NodeProto) -> bool:
    if not _begins(known, node) or node.input[1] not in known.rows:
        return False
    known.add(node, "MatMul", [known.rows[node.input[1]], known.turned(node.input[0])])
    return True


def _gemm(known: _Rows, node: NodeProto) -> bool:
    """Y = A' B' + C, whose rows are B'^T A'^T + C^T, where B' is a column."""
    if not _begins(known, node):
        return False
    weight, other, *rest = node.input
    column = other in known.rows
    bias = [known.spread(name) for name in rest if name]
    if column == bool(_flag(node, "transB")) or None in bias:
        return False
    inputs = [known.rows[other] if column else other, weight, *(name for name in bias if name)]
    scales = {a.name: float(a.f) for a in node.attribute if a.name in {"alpha", "beta"}}
    known.add(node, "Gemm", inputs, transB=1 - _flag(node, "transA"), **scales)
    return True


def _single(known: _Rows, node: NodeProto) -> bool:
    rest = list(node.input[1:])
    numbers = all(math.prod(known.constants.get(name, (0,))) == 1 for name in rest if name)
    if node.input[0] not in known.rows or not numbers:
        return False
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    known.add(node, node.op_type, [known.rows[node.input[0]], *rest], **given)
    return True


def _of_two(known: _Rows, node: NodeProto) -> bool:
    inputs = [known.rows.get(name) or known.spread(name) for name in node.input]
    if not any(name in known.rows for name in node.input) or None in inputs:
        return False
    known.add(node, node.op_type, [name for name in inputs if name])
    return True


def _along(known: _Rows, node: NodeProto) -> bool:
    axes = [a.i for a in node.attribute if a.name == "axis"]
    if node.input[0] not in known.rows or axes not in ([0], [-2]):
        return False
    known.add(node, node.op_type, [known.rows[node.input[0]]], axis=1)
    return True


_RULES: Mapping[str, Callable[[_Rows, NodeProto], bool]] = {
    **dict.fromkeys(OF_ONE, _single),
    **dict.fromkeys(OF_TWO, _of_two),
    **dict.fromkeys(_ALONG, _along),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Transpose": _transpose,
}
"""What is written in the place of a node that reads columns; it tells whether it wrote something."""
