# SPDX-License-Identifier: Apache-2.0
"""Read the grids of integers that operators on integers name: a scale and a zero point."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Operator
from mapping.model.network import make_node

__all__ = ["BYTES", "IntegerGrid", "Single", "constant_of", "counts_of_input", "integer_grid", "scales_of"]

BYTES: Mapping[str, tuple[int, int]] = {"int8": (-128, 127), "uint8": (0, 255)}
"""Ranges of the integers of a byte."""

Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerGrid:
    """Scale and zero point of a tensor, and the range of its integers less the zero point."""

    scale: np.float32
    zero: int
    low: int
    high: int


def scales_of(operator: Operator, graph: Graph, index: int, what: str) -> Single:
    """Return the scales above zero that an operator has as an input."""
    value = graph.optional(operator, index)
    if value is None or value.dtype.kind != "f" or value.ndim > 1 or not value.size:
        raise operator.bad(f"needs a scale of float32 as input {index}, that of its {what}")
    scale = np.asarray(value, np.float32)
    if not (np.isfinite(scale) & (scale > 0)).all():
        worst = float(scale.reshape(-1)[int(np.argmin(np.isfinite(scale) & (scale > 0)))])
        raise operator.bad(f"has the scale {worst:g} of its {what}, which is no number above zero")
    return scale


def integer_grid(operator: Operator, graph: Graph, index: int, what: str) -> IntegerGrid:
    """Return the grid of an activation from its scale and the zero point behind it."""
    scale, zero = scales_of(operator, graph, index, what), graph.optional(operator, index + 1)
    if scale.size != 1:
        raise operator.bad(f"has {scale.size} scales of its {what}, an activation has one")
    if zero is None:
        raise operator.bad(f"needs a zero point as input {index + 1}, that of its {what}")
    if zero.dtype.name not in BYTES or zero.size != 1:
        raise operator.bad(
            f"has a zero point of type {zero.dtype.name} and shape {zero.shape} of its {what}; "
            "supported is one int8 or uint8"
        )
    number = int(zero.reshape(-1)[0])
    low, high = BYTES[zero.dtype.name]
    return IntegerGrid(scale=scale.reshape(-1)[0], zero=number, low=low - number, high=high - number)


def counts_of_input(operator: Operator, graph: Graph, index: int, zero: int) -> str:
    """Return the name of the integers that an operator reads, less their zero point; it may be a view."""
    tensor = operator.inputs[index] if index < len(operator.inputs) else ""
    known = graph.integers.get(tensor)
    if known is not None:
        if float(known.zero_point) != zero:
            raise operator.bad(
                f"reads integers of the zero point {float(known.zero_point):g} as of {zero}; "
                "supported is one zero point"
            )
        graph.view(replace(operator, inputs=(known.real,)), 0)  # refuses what is no activation
        return known.real
    if tensor != graph.input_name or graph.input_kind != "integer":
        raise operator.bad(f"reads tensor {tensor!r}, which holds no integers of a quantiser")
    if not zero:
        return tensor
    counted = f"{tensor}.counts"
    if counted not in graph.shapes:
        constants = {"value": np.array(-float(zero))}
        graph.add(make_node(counted, "Add", [tensor], counted, constants=constants))
    return counted


def constant_of(operator: Operator, graph: Graph, what: str, value: NDArray[np.float64]) -> str:
    """Name a constant that is made of those of an operator; return its name."""
    name = f"{operator.outputs[0]}.{what}"
    graph.define(replace(operator, outputs=(name,)), value)
    return name
