# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators that repeat a tensor along axes behind the batch: ``Tile`` and ``Expand``."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mapping.model.importers.onnx_constants import of_one
from mapping.model.importers.onnx_functions import taken
from mapping.model.importers.onnx_graph import Graph, Operator
from mapping.model.node import MAX_ELEMENTS

__all__ = ["REPEAT_RULES"]


def _numbers(operator: Operator, graph: Graph) -> list[int]:
    """Return the second input of an operator, for a batch of one."""
    given = graph.optional(operator, 1)
    if given is None or given.ndim != 1 or given.dtype.kind not in "iu":
        raise operator.bad("needs a constant list of integers as input 1; export it again")
    return [int(number) for number in of_one(given)]


def _repeated(operator: Operator, graph: Graph, factors: Sequence[int]) -> None:
    """Repeat an activation so often along each axis, the batch first."""
    shape = graph.view(operator, 0).shape
    if len(factors) != len(shape) + 1 or factors[0] != 1 or min(factors) < 1:
        raise operator.unknown("is supported only as a repetition along the axes behind the batch")
    _check_size(operator, [size * factor for size, factor in zip((1, *shape), factors, strict=True)])
    taken(operator, graph, lambda places: np.tile(places, factors[1:]))


def _check_size(operator: Operator, sizes: Sequence[int]) -> None:
    """Refuse an output that is too large."""
    if math.prod(sizes) > MAX_ELEMENTS:
        told = f"has an output of shape {tuple(sizes)}, above the limit of {MAX_ELEMENTS} elements"
        raise operator.bad(f"{told}; export the model without it")


def _tile(operator: Operator, graph: Graph) -> None:
    operator.allow()
    _repeated(operator, graph, _numbers(operator, graph))


def _expand(operator: Operator, graph: Graph) -> None:
    """Axes of size one are repeated; an axis that is told as one keeps its size."""
    operator.allow()
    shape = (1, *graph.view(operator, 0).shape)
    sizes = _numbers(operator, graph)
    _check_size(operator, sizes)
    sizes = [1] * (len(shape) - len(sizes)) + sizes
    known = len(sizes) == len(shape) and all(n in (1, m) or m == 1 for n, m in zip(sizes, shape, strict=True))
    if not known:
        raise operator.unknown("is supported only as a repetition along the axes behind the batch")
    _repeated(operator, graph, [n if m == 1 else 1 for n, m in zip(sizes, shape, strict=True)])


REPEAT_RULES: Mapping[str, Callable[[Operator, Graph], None]] = {"Expand": _expand, "Tile": _tile}
"""Operators by name."""
