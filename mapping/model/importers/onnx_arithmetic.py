# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators of sums, products and bounds, of activations and of constants."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Operator, Step
from mapping.model.importers.onnx_layout import joined
from mapping.model.network import make_node
from mapping.model.node import Attribute

__all__ = ["ARITHMETIC_RULES"]

Rule = Callable[[Operator, Graph], None]


def _two_inputs(operator: Operator, graph: Graph) -> tuple[str, str, bool]:
    """Return activation, other input, and whether the operator reads them in the opposite order.

    A constant that stands along ``axis`` and those behind it, as before operator set 7, gets axes of one for
    the rest of them.
    """
    operator.allow("axis")
    if len(operator.inputs) != 2:
        raise operator.bad(f"must have two inputs, not {len(operator.inputs)}")
    first, second = operator.inputs
    if first in graph.constants:
        return second, first, True
    if "axis" in operator.attributes and second in graph.constants:
        return first, _aligned(operator, graph, second), False
    return first, second, False


def _aligned(operator: Operator, graph: Graph, tensor: str) -> str:
    """Return the name of a constant whose first axis is that one of an activation from which it stands."""
    value, rank = graph.constants[tensor], len(graph.view(operator, 0).shape) + 1
    axis = operator.axis(0, rank)
    name = f"{operator.outputs[0]}.{tensor}.aligned"
    graph.constants[name] = value.reshape(*value.shape, *[1] * max(0, rank - axis - value.ndim))
    return name


def _add(operator: Operator, graph: Graph) -> None:
    tensor, other, _ = _two_inputs(operator, graph)
    if other in graph.constants:
        _with_constant(operator, graph, (tensor, other), op="Add")
    else:
        _join(operator, graph, "Add")


def _join(operator: Operator, graph: Graph, op: str) -> None:
    """Append a node of two activations; equal views of two tensors stay a view."""
    joined(operator, graph, lambda tensors, output: make_node(operator.name, op, tensors, output))


def _one_by_one(operator: Operator, graph: Graph, rule: Rule) -> None:
    """Do to any number of tensors, one after the other, what a rule does to two."""
    if len(operator.inputs) == 1:
        graph.alias(operator)
        return
    first, *others = operator.inputs
    for index, other in enumerate(others, start=1):
        last = index == len(others)
        output = operator.outputs[0] if last else f"{operator.outputs[0]}.upto{index}"
        name = operator.name if last else f"{operator.name}.{index}"
        rule(replace(operator, name=name, inputs=(first, other), outputs=(output,)), graph)
        first = output


def _sum(operator: Operator, graph: Graph) -> None:
    operator.allow()
    _one_by_one(operator, graph, _add)


def _mean(operator: Operator, graph: Graph) -> None:
    operator.allow()
    total = f"{operator.outputs[0]}.total"
    _one_by_one(replace(operator, outputs=(total,)), graph, _add)
    share: Step = (".share", "Mul", {}, {"value": np.array(1.0 / len(operator.inputs))})
    graph.elementwise(replace(operator, inputs=(total,)), [share])


def _sub(operator: Operator, graph: Graph) -> None:
    tensor, other, swapped = _two_inputs(operator, graph)
    if other not in graph.constants:
        negative = f"{operator.outputs[0]}.negative"
        _neg(replace(operator, name=f"{operator.name}.neg", inputs=(other,), outputs=(negative,)), graph)
        _join(replace(operator, inputs=(tensor, negative)), graph, "Add")
        return
    if not swapped:
        _with_constant(operator, graph, (tensor, other), op="Add", change=np.negative)
        return
    reading = replace(operator, inputs=(tensor,))
    value = graph.per_element(operator, other, graph.view(reading, 0))
    negated: Step = ("", "Mul", {}, {"value": np.array(-1.0)})
    graph.elementwise(reading, [negated, (".minuend", "Add", {}, {"value": value})])


def _neg(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.elementwise(operator, [("", "Mul", {}, {"value": np.array(-1.0)})])


def _mul(operator: Operator, graph: Graph) -> None:
    tensor, other, _ = _two_inputs(operator, graph)
    if other not in graph.constants:
        _join(operator, graph, "Mul")
        return
    _with_constant(operator, graph, (tensor, other), op="Mul")


def _div(operator: Operator, graph: Graph) -> None:
    tensor, other, swapped = _two_inputs(operator, graph)
    if swapped:
        raise operator.unknown("is not supported with a constant dividend")
    if other not in graph.constants:
        _join(operator, graph, "Div")
        return
    divisor = graph.constants[other]
    exact = divisor.dtype.kind == "f" and bool((np.abs(np.frexp(divisor)[0]) == 0.5).all())
    if exact:  # a power of two divides as its reciprocal multiplies
        _with_constant(operator, graph, (tensor, other), op="Mul", change=np.reciprocal)
    else:
        _with_constant(operator, graph, (tensor, other), op="Div")


def _bound(operator: Operator, graph: Graph) -> None:
    """The larger or the smaller of activations and constants, two at a time."""
    if len(operator.inputs) != 2:
        _one_by_one(operator, graph, _bound)
        return
    tensor, other, _ = _two_inputs(operator, graph)
    if other not in graph.constants:
        _join(operator, graph, operator.op)
        return
    value = graph.constants[other]
    if value.dtype.kind not in "biuf":
        raise operator.unknown("is supported only of two activations, or of one and numbers")
    reading = replace(operator, inputs=(tensor,))
    if value.size != 1:
        _bound_by_channel(reading, graph, other)
        return
    ends: dict[str, Attribute] = {"low": -math.inf, "high": math.inf}
    ends["low" if operator.op == "Max" else "high"] = float(graph.finite(other, value).reshape(()))
    graph.elementwise(reading, [("", "Clip", ends, {})])


def _bound_by_channel(reading: Operator, graph: Graph, other: str) -> None:
    """A number for each channel: the larger of x and c is c and what x has more; the smaller likewise."""
    value = graph.per_element(reading, other, graph.view(reading, 0))
    sign = 1.0 if reading.op == "Max" else -1.0
    turned: Step = (".sign", "Mul", {}, {"value": np.array(sign)})
    back: Step = ("", "Mul", {}, {"value": np.array(sign)})
    steps: list[Step] = [
        turned,
        (".less", "Add", {}, {"value": -sign * value}),
        (".more", "Relu", {}, {}),
        (".plus", "Add", {}, {"value": sign * value}),
        back,
    ]
    graph.elementwise(reading, steps)


def _with_constant(
    operator: Operator,
    graph: Graph,
    tensors: tuple[str, str],
    *,
    op: str,
    change: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.positive,
) -> None:
    reading = replace(operator, inputs=tensors[:1])
    value = change(graph.per_element(operator, tensors[1], graph.view(reading, 0)))
    graph.elementwise(reading, [("", op, {}, {"value": value})])


ARITHMETIC_RULES: Mapping[str, Rule] = {
    "Add": _add,
    "Div": _div,
    "Max": _bound,
    "Mean": _mean,
    "Min": _bound,
    "Mul": _mul,
    "Neg": _neg,
    "Sub": _sub,
    "Sum": _sum,
}
"""Operators by name."""
