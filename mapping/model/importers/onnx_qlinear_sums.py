# SPDX-License-Identifier: Apache-2.0
"""Translate sums of two tensors of integers, one of which may be constant.

A runtime has one operator for a sum, ``QLinearAdd``, whose roundings are fused; differences, and what it does
not join, it computes one by one (`docs/reference/truth.md`, "Integer networks").
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Integers, Operator, Step
from mapping.model.importers.onnx_grids import IntegerGrid, constant_of, counts_of_input, integer_grid
from mapping.model.importers.onnx_layout import joined
from mapping.model.network import make_node
from mapping.model.node import Attribute, Node, Shape

__all__ = ["add"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """What is added: its input, its grid, its factor, below zero if it is subtracted, and its shape."""

    index: int
    grid: IntegerGrid
    factor: np.float32
    shape: Shape
    constant: bool


def add(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearAdd``: a, scale, zero; b, scale, zero; scale and zero of y.

    `mapping.model.importers.onnx_fused` adds the attributes ``minus`` (a difference), ``written`` (whose
    steps are computed one by one) and ``shift`` (added to all zero points before they are rounded).
    """
    operator.allow("minus", "shift", "written")
    terms = [_term(operator, graph, index, what) for index, what in ((0, "first"), (3, "second"))]
    to = integer_grid(operator, graph, 6, "output")
    if operator.integer("minus", 0):
        terms[1] = replace(terms[1], factor=-terms[1].factor)
    fused = not operator.integer("written", 0)
    if fused and _is_spread(terms[0].shape, terms[1].shape):
        terms.reverse()  # an operator on integers adds what it repeats first
    last = int(terms[0].constant)
    if last:
        terms.reverse()
    given = {"first": terms[0].factor, "second": terms[1].factor, "scale": to.scale}
    if fused:
        shift = operator.integer("shift", 0)
        grids = {"first_zero": terms[0].grid, "second_zero": terms[1].grid, "zero": to}
        given |= {key: np.float32(grid.zero + shift) for key, grid in grids.items()}
    constants = {key: np.asarray(value, np.float64) for key, value in given.items()}
    attributes: dict[str, Attribute] = {"low": to.low, "high": to.high, "last": last}
    if terms[1].constant:
        _add_constant(operator, graph, terms, attributes, constants)
    else:
        inputs = tuple(counts_of_input(operator, graph, term.index, term.grid.zero) for term in terms)
        reading = replace(operator, inputs=inputs, outputs=(f"{operator.outputs[0]}.real",))

        def node(tensors: list[str], output: str) -> Node:
            name = operator.name
            return make_node(name, "AddIntegers", tensors, output, attributes=attributes, constants=constants)

        joined(reading, graph, node)
    scale, zero = np.array(float(to.scale)), np.array(float(to.zero))
    real = f"{operator.outputs[0]}.real"
    graph.define_integers(operator, Integers(real=real, scale=scale, zero_point=zero, counted=True))


def _term(operator: Operator, graph: Graph, index: int, what: str) -> _Term:
    grid = integer_grid(operator, graph, index + 1, f"{what} input")
    constant = graph.constants.get(operator.inputs[index])
    if constant is not None:
        shape: Shape = constant.shape
    else:
        tensor = counts_of_input(operator, graph, index, grid.zero)
        shape = graph.view(replace(operator, inputs=(tensor,)), 0).shape
    return _Term(index=index, grid=grid, factor=grid.scale, shape=shape, constant=constant is not None)


def _is_spread(first: Shape, second: Shape) -> bool:
    """Tell whether the first tensor has one value for each run of elements of the second."""
    ends = max(len(first), len(second))
    wide = [(1,) * (ends - len(shape)) + tuple(shape) for shape in (first, second)]
    axis = next((n for n in reversed(range(ends)) if (wide[0][n], wide[1][n]) != (1, 1)), 0)
    return ends > 0 and wide[0][axis] == 1 < wide[1][axis]


def _add_constant(
    operator: Operator,
    graph: Graph,
    terms: list[_Term],
    attributes: dict[str, Attribute],
    constants: dict[str, NDArray[np.float64]],
) -> None:
    """Append the sum of an activation and a constant, which is the second term."""
    first, second = terms
    tensor = counts_of_input(operator, graph, first.index, first.grid.zero)
    reading = replace(operator, inputs=(tensor,), outputs=(f"{operator.outputs[0]}.real",))
    held = graph.constants[operator.inputs[second.index]].astype(np.float64) - second.grid.zero
    name = constant_of(operator, graph, "addend", held)
    value = graph.per_element(operator, name, graph.view(reading, 0))
    steps: list[Step] = []
    if first.factor < 0:
        steps.append((".minus", "Mul", {}, {"value": np.array(-1.0)}))
    own = {**constants, "first": np.abs(constants["first"]), "value": value}
    graph.elementwise(reading, [*steps, ("", "AddIntegers", attributes, own)])
