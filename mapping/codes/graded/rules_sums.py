# SPDX-License-Identifier: Apache-2.0
"""What weighted sums make of linear forms: convolutions, matrices, averages, sums of two tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mapping.codes.graded.forms import (
    Convolved,
    Floats,
    Form,
    Matrix,
    Picked,
    Reading,
    Shape,
    Term,
    convolved,
    flattened,
    wide,
)
from mapping.codes.graded.moves import MOST, map_shape
from mapping.codes.graded.walk import Walk
from mapping.model.network import make_node
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS

__all__ = ["conv", "dense", "depthwise", "join", "reduce", "windowed"]

NOTHING = Reading(tensor="", shape=(), pooled=())
"""Stands for what a convolution reads until it is known."""


def conv(walk: Walk, node: Node) -> str | None:
    """Fold a convolution into the form that it reads."""
    outer = Convolved(
        read=NOTHING,
        weight=node.constants["weight"],
        stride=node.pair("stride"),
        pads=node.pads(),
        dilation=node.pair("dilation"),
        groups=int(node.number("groups")),
    )
    found = windowed(walk, node.inputs[0], outer)
    walk.write(node, found, matrix=True)
    return None


def depthwise(channels: int, kernel: tuple[int, int], pads: tuple[int, int, int, int]) -> Convolved:
    """Return a convolution of each channel by ones."""
    return Convolved(read=NOTHING, weight=np.ones((channels, 1, *kernel)), pads=pads, groups=channels)


def windowed(walk: Walk, tensor: str, outer: Convolved) -> Form:
    """Return the convolution of a tensor, which becomes an activation if it cannot be folded in."""
    shape = map_shape(walk.network.shapes[tensor])
    shape = shape if len(shape) > 1 else (shape[0], 1, 1)
    found = convolved(walk.shaped(tensor, shape), outer, _biases_of(outer))
    if found is None or wide(found, walk.axons):
        walk.linear(tensor)
        found = convolved(walk.shaped(tensor, shape), outer, _biases_of(outer))
    if found is None:
        raise ValueError(f"tensor must be an activation, not {tensor!r}")
    return found


def _biases_of(outer: Convolved) -> Callable[[Floats], Floats]:
    attributes = {"stride": outer.stride, "pads": outer.pads, "dilation": outer.dilation}
    node = make_node(
        "bias",
        "Conv",
        ["x"],
        "y",
        attributes={**attributes, "groups": outer.groups},
        constants={"weight": outer.weight},
    )
    return lambda values: np.asarray(OPERATIONS["Conv"].apply(node, [values[None]], (), None)[0])


def dense(walk: Walk, node: Node) -> str | None:
    """Fold a matrix into the form that it reads."""
    tensor, weight = node.inputs[0], node.constants["weight"]
    walk.write(node, _multiplied(walk, tensor, weight), matrix=True)
    return None


def _multiplied(walk: Walk, tensor: str, weight: Floats) -> Form:
    """Return the form of a matrix times a tensor, which becomes a layer of its own if it must."""
    form = walk.forms[tensor]
    if not form.plain:
        foldable = all(isinstance(term, Picked | Matrix) or _pools(term) for term in form.terms)
        if not foldable or wide(flattened(form, weight[:1]), walk.axons):
            form = walk.linear(tensor)
    return flattened(form, weight)


def _pools(term: Term) -> bool:
    return isinstance(term, Convolved) and term.groups == term.read.pooled[0] == len(term.weight)


def reduce(walk: Walk, node: Node) -> str | None:
    """Fold a mean or a sum over some axes into the form that it reads, as a convolution."""
    tensor, kind = node.inputs[0], node.text("kind")
    shape = walk.network.shapes[tensor]
    if kind not in ("mean", "sum"):
        return "windows of pooled axons lie in the map of a channel"
    if len(shape) > 3:  # a map has three axes
        return _by_element(walk, node)
    axes = {2 if axis == 1 and len(shape) == 2 else axis for axis in node.integers("axes")}
    sizes = map_shape(shape) if len(shape) > 1 else (shape[0], 1, 1)
    kernel = tuple(size if axis in axes else 1 for axis, size in enumerate(sizes))
    value = 1.0 if kind == "sum" else 1.0 / math.prod(kernel)
    over = 0 in axes
    weight = np.full((1 if over else sizes[0], sizes[0] if over else 1, *kernel[1:]), value)
    outer = Convolved(read=NOTHING, weight=weight, groups=1 if over else sizes[0])
    found = windowed(walk, tensor, outer)
    walk.write(node, found.moved(walk.network.shapes[node.output]), matrix=True)
    return None


def _by_element(walk: Walk, node: Node) -> str | None:
    """Fold a mean or a sum over some axes of many into the form that it reads, as a matrix."""
    before, after = (walk.network.shapes[tensor] for tensor in (node.inputs[0], node.output))
    elements, rows = math.prod(before), math.prod(after)
    if elements * rows > MOST:
        return "it adds along the axes of more than a map"
    added = np.broadcast_to(np.arange(rows).reshape(after), before).reshape(-1)
    weight = np.zeros((rows, elements))
    weight[added, np.arange(elements)] = 1.0 if node.text("kind") == "sum" else rows / elements
    walk.write(node, replace(_multiplied(walk, node.inputs[0], weight), view=after), matrix=True)
    return None


def join(walk: Walk, node: Node) -> str | None:
    """Add two tensors; axes of size 1 are repeated."""
    shape = walk.network.shapes[node.output]
    if any(walk.network.shapes[tensor] != shape for tensor in node.inputs) and len(shape) not in (1, 3):
        return "it repeats axes of a tensor that is no map"
    first, second = (walk.forms[tensor] for tensor in node.inputs)
    if first.shape != second.shape or first.view != shape or second.view != shape:
        first, second = (_repeated(walk, tensor, shape) for tensor in node.inputs)
    walk.write(node, replace(first.plus(second), view=shape))
    walk.names[node.output] = next(
        (
            walk.names[tensor]
            for tensor in node.inputs
            if tensor in walk.names and not walk.forms[tensor].plain
        ),
        node.name,
    )
    return None


def _repeated(walk: Walk, tensor: str, shape: Shape) -> Form:
    """Return the form of a tensor whose axes of size 1 are repeated up to a shape."""
    own = walk.network.shapes[tensor]
    if own == shape:
        return walk.shaped(tensor, map_shape(shape))
    rows, kernel = shape[0], tuple(1 if m == n else n for m, n in zip(own[1:], shape[1:], strict=True))
    kernel = (*kernel, 1, 1)[:2]
    weight = np.ones((rows, 1, *kernel))
    pads = (kernel[0] - 1, kernel[1] - 1, kernel[0] - 1, kernel[1] - 1)
    outer = Convolved(read=NOTHING, weight=weight, pads=pads, groups=own[0])
    return replace(windowed(walk, tensor, outer), shape=map_shape(shape))
