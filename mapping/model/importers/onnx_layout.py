# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators that only move elements; see `mapping.model.importers.onnx_graph.View`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import BATCH, Graph, Operator, Step, View
from mapping.model.network import make_node
from mapping.model.node import Node, Shape

__all__ = [
    "axes_of",
    "concat",
    "flatten",
    "flattened",
    "joined",
    "reshape",
    "reshaped",
    "squeeze",
    "transpose",
    "transposed",
    "unsqueeze",
]


def flattened(
    operator: Operator, graph: Graph, weight: NDArray[np.float64]
) -> tuple[Operator, NDArray[np.float64]]:
    """Return an operator and its weights (out, in), with a view undone by the order of the weights."""
    view = graph.view(operator, 0)
    if view.order is None or len(view.shape) != 1 or weight.shape[1:] != view.shape:
        return operator, weight
    flat, moved = f"{view.tensor}.flat", np.empty_like(weight)
    moved[:, view.order] = weight
    if flat not in graph.shapes:
        graph.add(make_node(flat, "Flatten", [view.tensor], flat))
    return replace(operator, inputs=(flat, *operator.inputs[1:])), moved


def flatten(operator: Operator, graph: Graph) -> None:
    """Translate a ``Flatten``."""
    operator.allow("axis")
    shape = graph.view(operator, 0).shape
    axis = operator.integer("axis", 1)
    if axis not in (1, -len(shape)):
        raise operator.unknown(f"has axis = {axis}, supported is 1")
    reshaped(operator, graph, (math.prod(shape),), ("", "Flatten", {}, {}))


def reshaped(operator: Operator, graph: Graph, shape: Shape, step: Step | None = None) -> None:
    """Write the input of an operator in another shape, by a step of its own if it is no view."""
    view = graph.view(operator, 0)
    if view.order is None:
        graph.chain(operator, [step or ("", "Reshape", {"shape": shape}, {})])
    else:
        graph.define_view(operator, view.tensor, view.order.reshape(shape))


def reshape(operator: Operator, graph: Graph) -> None:
    """Translate a ``Reshape`` that keeps the batch."""
    operator.allow("allowzero")
    source, constant = graph.view(operator, 0).shape, graph.optional(operator, 1)
    if constant is None or constant.ndim != 1 or constant.dtype.kind not in "iu":
        raise operator.bad("needs a constant list of integers as its shape")
    sizes = [int(n) for n in constant.tolist()]
    full = (graph.batch, *source)
    if not operator.integer("allowzero", 0):
        sizes = [(full[i] or 0) if n == 0 and 0 < i < len(full) else n for i, n in enumerate(sizes)]
    rest, free = sizes[1:], sizes[1:].count(-1)
    if free == 1:
        known = math.prod(n for n in rest if n != -1)
        rest = [math.prod(source) // known if n == -1 and known > 0 else n for n in rest]
    batches = (graph.batch, BATCH) if operator.integer("allowzero", 0) else (0, graph.batch, BATCH)
    keeps_batch = bool(sizes) and (sizes[0] in batches or (sizes[0] == -1 and free == 0))
    if not keeps_batch or min(rest, default=0) < 1 or math.prod(rest) != math.prod(source):
        raise operator.unknown(
            f"reshapes (N, {', '.join(map(str, source))}) to {sizes} and does not keep the batch"
        )
    reshaped(operator, graph, tuple(rest))


def axes_of(operator: Operator, graph: Graph, rank: int) -> tuple[int, ...] | None:
    """Return the axes of an operator, ascending and not negative; they are an input or an attribute."""
    given = graph.optional(operator, 1)
    axes = operator.attributes.get("axes") if given is None else tuple(given.reshape(-1).tolist())
    if axes is None:
        return None
    if not isinstance(axes, tuple) or not all(isinstance(a, int) and -rank <= a < rank for a in axes):
        raise operator.bad(f"has the axes {axes!r}, which are not integers from {-rank} to {rank - 1}")
    return tuple(sorted({a % rank for a in axes}))


def squeeze(operator: Operator, graph: Graph) -> None:
    """Translate a ``Squeeze``."""
    operator.allow("axes")
    shape = graph.view(operator, 0).shape
    axes = axes_of(operator, graph, len(shape) + 1)
    axes = tuple(i for i, n in enumerate(shape, start=1) if n == 1) if axes is None else axes
    if 0 in axes or any(shape[axis - 1] != 1 for axis in axes):
        raise operator.unknown(
            f"leaves out the axes {axes} of (N, {', '.join(map(str, shape))}), not all of size 1"
        )
    reshaped(operator, graph, tuple(n for i, n in enumerate(shape, start=1) if i not in axes))


def unsqueeze(operator: Operator, graph: Graph) -> None:
    """Translate an ``Unsqueeze``."""
    operator.allow("axes")
    shape = list(graph.view(operator, 0).shape)
    given = graph.optional(operator, 1)
    number = given.size if given is not None else len(operator.attributes.get("axes", ()))  # type: ignore[arg-type]
    axes = axes_of(operator, graph, len(shape) + 1 + number)
    if axes is None or 0 in axes:
        raise operator.unknown(f"adds the axes {axes}; supported are axes behind the batch")
    for axis in axes:
        shape.insert(axis - 1, 1)
    reshaped(operator, graph, tuple(shape))


def transpose(operator: Operator, graph: Graph) -> None:
    """Translate a ``Transpose`` that leaves the batch where it is."""
    operator.allow("perm")
    rank = len(graph.view(operator, 0).shape) + 1
    order = operator.integers("perm", tuple(range(rank))[::-1])
    if sorted(order) != list(range(rank)) or order[0] != 0:
        raise operator.unknown(f"has perm = {order}; supported are permutations that leave the batch first")
    transposed(operator, graph, order)


def transposed(operator: Operator, graph: Graph, order: tuple[int, ...]) -> None:
    """Write the input of an operator with its axes, the batch first, in another order."""
    view = graph.view(operator, 0)
    graph.define_view(operator, view.tensor, view.places().transpose([axis - 1 for axis in order[1:]]))


def concat(operator: Operator, graph: Graph) -> None:
    """Translate a ``Concat`` of activations; tensors with the same order of axes keep it."""
    operator.allow("axis")
    if not operator.inputs:
        raise operator.bad("joins nothing")
    views = [graph.view(operator, index) for index in range(len(operator.inputs))]
    axis = operator.axis(1, len(views[0].shape) + 1) - 1
    if axis < 0:
        raise operator.bad("joins samples of the batch")
    order = _common_order(views, graph)
    along = axis if order is None else order[axis]

    def node(tensors: list[str], output: str) -> Node:
        return make_node(operator.name, "Concat", tensors, output, attributes={"axis": along})

    _written(operator, graph, node, order)


def joined(operator: Operator, graph: Graph, node: Callable[[list[str], str], Node]) -> None:
    """Append a node of two activations, element by element; views of one order stay a view.

    Parameters
    ----------
    operator, graph
        What is read, and what has been.
    node : callable
        Gives the node that reads tensors and writes one, by their names.
    """
    views = [graph.view(operator, index) for index in range(len(operator.inputs))]
    first, *others = views
    shape = graph.shapes[first.tensor]
    alike = (graph.shapes[other.tensor] == shape for other in others)
    if first.order is None or not all(alike) or not all(_same_places(first, other) for other in others):
        _written(operator, graph, node, _common_order(views, graph))
        return
    held = graph.fresh(operator, f"{operator.outputs[0]}.held")
    graph.add(node([view.tensor for view in views], held))
    graph.define_view(operator, held, first.order)


def _same_places(first: View, other: View) -> bool:
    return np.array_equal(first.places(), other.places())


def _written(
    operator: Operator,
    graph: Graph,
    node: Callable[[list[str], str], Node],
    order: tuple[int, ...] | None,
) -> None:
    """Append a node of tensors as they are read, or of those that are read with their axes in an order."""
    indices = range(len(operator.inputs))
    if order is None:
        tensors = [graph.activation(operator, index) for index in indices]
        graph.add(node(tensors, graph.fresh(operator, operator.outputs[0])))
        return
    held = graph.fresh(operator, f"{operator.outputs[0]}.held")
    graph.add(node([graph.view(operator, index).tensor for index in indices], held))
    shape = graph.shapes[held]
    graph.define_view(operator, held, np.arange(math.prod(shape)).reshape(shape).transpose(order))


def _common_order(views: Sequence[View], graph: Graph) -> tuple[int, ...] | None:
    """Return an order in which all views have the axes of their tensors, or None if there is none."""
    rank = len(views[0].shape)
    if any(view.order is None or len(view.shape) != rank for view in views):
        return None
    shapes, orders = [graph.shapes[view.tensor] for view in views], permutations(range(rank))
    for order in orders:
        if all(_has_order(view, shape, order) for view, shape in zip(views, shapes, strict=True)):
            return order
    return None


def _has_order(view: View, shape: Shape, order: tuple[int, ...]) -> bool:
    """Tell whether a view has the axes of a tensor of a shape in an order."""
    if len(shape) != len(order) or view.shape != tuple(shape[axis] for axis in order):
        return False
    return np.array_equal(np.arange(math.prod(shape)).reshape(shape).transpose(order), view.places())
