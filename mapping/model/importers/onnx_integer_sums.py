# SPDX-License-Identifier: Apache-2.0
"""Translate ``ConvInteger`` and ``MatMulInteger``: sums of integers, which nothing requantises.

They write int32, which a ``Cast``, a product with scales and a bias then turn into real numbers. Sums are
exact here; what follows is float64 as everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Operator
from mapping.model.importers.onnx_grids import counts_of_input
from mapping.model.importers.onnx_qlinear import dense_sums
from mapping.model.importers.onnx_windows import conv

__all__ = ["DYNAMIC", "SUMS"]

DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"})
"""Operators that scale activations anew for every sample."""


def _zeros(operator: Operator, graph: Graph, index: int, like: np.dtype[np.generic]) -> NDArray[np.int64]:
    """Return the zero points of an input, 0 where they are left out."""
    given = graph.optional(operator, index)
    if given is None:
        return np.zeros(1, np.int64)
    if given.dtype != like or not given.size or given.ndim > 1:
        raise operator.bad(
            f"has a zero point of type {given.dtype.name} and shape {given.shape} as input {index}, "
            f"supported are {like.name} and one or a list"
        )
    return given.astype(np.int64).reshape(-1)


def _counts(operator: Operator, graph: Graph) -> str:
    """Return the tensor of the integers that are summed, less their zero point."""
    zero = graph.optional(operator, 2)
    if zero is not None and (zero.size != 1 or zero.dtype.name not in ("int8", "uint8")):
        raise operator.bad(
            f"has a zero point of type {zero.dtype.name} and shape {zero.shape} of its input; "
            "supported is one int8 or uint8"
        )
    return counts_of_input(operator, graph, 0, 0 if zero is None else int(zero.reshape(-1)[0]))


def _weight(operator: Operator, graph: Graph, axis: int) -> NDArray[np.float64]:
    """Return constant weights less their zero points, one or one for each row of ``axis``."""
    weight = graph.optional(operator, 1)
    if weight is None or weight.ndim <= axis or not weight.size or weight.dtype.name not in ("int8", "uint8"):
        raise operator.bad("needs constant weights of int8 or uint8 as input 1")
    zeros = _zeros(operator, graph, 3, weight.dtype)
    if zeros.size not in (1, weight.shape[axis]):
        raise operator.bad(f"has {zeros.size} zero points for {weight.shape[axis]} output channels")
    along = [1] * weight.ndim
    along[axis] = -1
    return np.asarray(weight.astype(np.float64) - zeros.reshape(along if zeros.size > 1 else ()))


def _conv(operator: Operator, graph: Graph) -> None:
    """Translate ``ConvInteger``: x, w, zero point of x, zero points of w."""
    name, weight = f"{operator.outputs[0]}.weight", _weight(operator, graph, 0)
    tensor = _counts(operator, graph)
    graph.define(replace(operator, outputs=(name,)), weight)
    conv(replace(operator, op="Conv", inputs=(tensor, name)), graph)


def _matmul(operator: Operator, graph: Graph) -> None:
    """Translate ``MatMulInteger``: a, b, zero point of a, zero points of b."""
    operator.allow()
    weight = _weight(operator, graph, 1)
    if weight.ndim != 2:
        raise operator.bad(f"needs weights with 2 dimensions, not {weight.ndim}")
    sums = dense_sums(operator, graph, _counts(operator, graph), weight.T, None)
    graph.alias(replace(operator, inputs=(sums,)))


SUMS: Mapping[str, Callable[[Operator, Graph], None]] = {"ConvInteger": _conv, "MatMulInteger": _matmul}
"""Rules of sums of integers, by name."""
