# SPDX-License-Identifier: Apache-2.0
"""Find functions that a model writes with several operators, and quotients that change no order of classes.

A ``Sigmoid`` is 1 / (1 + exp(-x)), the same float64 operations that it is evaluated with. A ``Softmax`` is
exp(x) / sum(exp(x)), whether the largest x is subtracted from all of them or not. Probabilities
P / sum(P) have the order of P if no P is negative; `skl2onnx` puts shares where the sum is zero.
"""

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper

from mapping.model.importers.onnx_stored import stored

__all__ = ["Parts", "named_functions", "shared"]

_PASSING = frozenset({"Cast", "Identity"})
_NEVER_NEGATIVE = frozenset({"Abs", "Exp", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"})


class Parts:
    """A graph by its tensors: who writes one, and the constants."""

    def __init__(self, graph: GraphProto) -> None:
        self.writers = {name: node for node in graph.node for name in node.output if name}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return a constant, which is an initializer or what a node ``Constant`` holds."""
        tensor, node = self.tensors.get(name), self.writers.get(name)
        if node is not None and node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        return stored(tensor)

    def back(self, name: str, passing: frozenset[str]) -> tuple[str, NodeProto | None]:
        """Return the tensor behind operators that do not matter, and the node that writes it."""
        node = self.writers.get(name)
        while node is not None and node.op_type in passing and not node.domain and node.input:
            name = node.input[0]
            node = self.writers.get(name)
        return name, node

    def made(self, name: str, op: str, inputs: int = 1) -> NodeProto | None:
        """Return the node that writes a tensor if it is such an operator of the standard."""
        node = self.writers.get(name)
        fits = node is not None and node.op_type == op and not node.domain and len(node.input) >= inputs
        return node if fits else None

    def number(self, name: str) -> float | None:
        """Return a constant of one number."""
        value = self.constant(name)
        if value is None or value.size != 1 or value.dtype.kind not in "iuf":
            return None
        return float(value.reshape(-1)[0])

    def with_number(self, name: str, op: str) -> tuple[str, float] | None:
        """Return the tensor and the number that an operator joins, which may be in either order for most."""
        node = self.made(name, op, 2)
        orders = [] if node is None else [(0, 1)] if op in {"Div", "Sub"} else [(0, 1), (1, 0)]
        for tensor, other in orders:
            value = None if node is None else self.number(node.input[other])
            if node is not None and value is not None:
                return node.input[tensor], value
        return None


def named_functions(graph: GraphProto, opset: int) -> None:
    """Write a ``Sigmoid`` or ``Softmax`` where a graph spells one; what nobody reads is left out later."""
    parts = Parts(graph)
    for node in graph.node:
        exponent = _softmax(parts, node, opset)
        if exponent is not None:
            node.op_type = "Softmax"
            node.attribute.append(helper.make_attribute("axis", _along(parts, node.input[1])))
            del node.input[:]
            node.input.append(exponent)
            continue
        below = None
        if node.op_type == "Reciprocal" and not node.domain and node.input:
            below = node.input[0]
        elif node.op_type == "Div" and len(node.input) == 2 and parts.number(node.input[0]) == 1.0:
            below = node.input[1]
        argument = None if below is None else _sigmoid(parts, below)
        if argument is not None:
            node.op_type = "Sigmoid"
            del node.input[:], node.attribute[:]
            node.input.append(argument)


def _softmax(parts: Parts, node: NodeProto, opset: int) -> str | None:
    """Return the x of a quotient exp(x) / sum(exp(x)) over an axis that a ``Softmax`` of this opset has."""
    if node.op_type != "Div" or node.domain or len(node.input) != 2:
        return None
    above, below = node.input
    power = parts.made(above, "Exp")
    if power is None or not _sums(parts, below, above):
        return None
    axis = _along(parts, below)
    if axis != -1 and opset < _AXIS_ALONE:
        return None
    less = parts.made(power.input[0], "Sub", 2)
    most = None if less is None else parts.made(less.input[1], "ReduceMax")
    if less is None or most is None or most.input[0] != less.input[0]:
        return str(power.input[0])
    return str(less.input[0] if _along(parts, less.input[1]) == axis else power.input[0])


_AXIS_ALONE = 13
"""Operator set from which on a ``Softmax`` is of one axis, and not of all behind it."""


def _sigmoid(parts: Parts, below: str) -> str | None:
    """Return the x of a tensor 1 + exp(-x)."""
    one = parts.with_number(below, "Add")
    power = None if one is None or one[1] != 1.0 else parts.made(one[0], "Exp")
    if power is None:
        return None
    negative = parts.made(power.input[0], "Neg")
    if negative is not None:
        return str(negative.input[0])
    turned = parts.with_number(power.input[0], "Mul")
    return turned[0] if turned is not None and turned[1] == -1.0 else None


def shared(parts: Parts, quotient: NodeProto) -> str | None:
    """Return the P of a quotient P / sum(P) over classes that keeps the order of P, or None.

    Where the sum is zero, skl2onnx adds one and the same number to each P and another one to the sum.
    """
    if quotient.op_type != "Div" or quotient.domain or len(quotient.input) != 2:
        return None
    above, below = quotient.input
    top, bottom = parts.made(above, "Add", 2), parts.made(below, "Add", 2)
    if top is None or bottom is None:
        return str(above) if _sums(parts, below, above) else None
    scores, total = str(top.input[0]), bottom.input[0]
    added = parts.with_number(bottom.input[1], "Mul")
    same = added is not None and top.input[1] == added[0] and added[1] > 0
    replaced = same and _of_zero(parts, top.input[1], total)
    return scores if replaced and _sums(parts, total, scores) else None


def _sums(parts: Parts, total: str, scores: str) -> bool:
    """Tell whether a tensor is the sum of scores none of which is negative, an axis of its own."""
    whole = parts.made(total, "ReduceSum")
    if whole is None or whole.input[0] != scores:
        return False
    return _along(parts, total) is not None and _low(parts, scores) >= 0


def _along(parts: Parts, name: str) -> int | None:
    """Return the axis, 1 or the last, over which a tensor was reduced, if that is kept."""
    whole = parts.writers[name]
    given = parts.constant(whole.input[1]) if len(whole.input) > 1 else None
    axes = [a.ints for a in whole.attribute if a.name == "axes"] if given is None else [given.reshape(-1)]
    kept = all(a.i for a in whole.attribute if a.name == "keepdims")
    found = [list(axis) for axis in axes]
    return int(found[0][0]) if kept and found in ([[1]], [[-1]]) else None


def _of_zero(parts: Parts, name: str, total: str) -> bool:
    """Tell whether a tensor is 1 where another one is zero, and 0 elsewhere."""
    node = parts.back(name, _PASSING)[1]
    if node is None or node.op_type != "Not":
        return False
    cast = parts.made(node.input[0], "Cast")
    kinds = [] if cast is None else [a.i for a in cast.attribute if a.name == "to"]
    return cast is not None and kinds == [onnx.TensorProto.BOOL] and cast.input[0] == total


def _low(parts: Parts, name: str) -> float:
    """Return a number that no element of a tensor is below."""
    node = parts.writers.get(name)
    op = "" if node is None or node.domain or not node.input else node.op_type
    joined = parts.with_number(name, op) if op in {"Add", "Div", "Mul"} else None
    low = -math.inf
    if op in _NEVER_NEGATIVE:
        low = 0.0
    elif op == "Clip" and node is not None and len(node.input) > 1:
        given = parts.number(node.input[1])
        low = low if given is None else given
    elif op == "Reciprocal" and node is not None:
        low = 0.0 if _low(parts, node.input[0]) >= 0 else low
    elif joined is not None and op == "Add":
        low = _low(parts, joined[0]) + joined[1]
    elif joined is not None:
        low = 0.0 if _low(parts, joined[0]) >= 0 and joined[1] > 0 else low
    return low
