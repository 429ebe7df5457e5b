# SPDX-License-Identifier: Apache-2.0
"""Operations without arithmetic: elements in other places, parts of a tensor, tensors joined."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.operation import (
    Apply,
    Operation,
    Reals,
    always,
    misfit,
    no_work,
    of_shape,
    same_range,
    unbounded,
)
from mapping.model.operations.strays import kept

__all__ = ["PLACES"]


def _reshape_shape(node: Node, shape: Shape) -> Shape:
    target = node.integers("shape")
    if min(target, default=1) < 1 or math.prod(target) != math.prod(shape):
        raise misfit(node, f"cannot reshape {shape} to {target}")
    return target


def _permute_shape(node: Node, shape: Shape) -> Shape:
    target, order = _reshape_shape(node, shape), node.constants["order"]
    if not np.array_equal(np.sort(order), np.arange(math.prod(shape))):
        raise misfit(node, "has an order that is no permutation of its input")
    return target


def _taken_shape(node: Node, shape: Shape) -> Shape:
    target, order = node.integers("shape"), node.constants["order"]
    places = math.prod(shape)
    whole = bool((order == np.rint(order)).all()) and order.shape == (math.prod(target),)
    if min(target, default=0) < 1 or not whole or order.min() < 0 or order.max() >= places:
        raise misfit(node, f"takes places that an input of shape {shape} does not have")
    return target


def _concat_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = int(node.number("axis"))
    if not all(0 <= axis < len(shape) == len(shapes[0]) for shape in shapes) or any(
        shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for shape in shapes
    ):
        told = f"joins tensors of shapes {', '.join(map(str, shapes))} along axis {axis}"
        raise misfit(node, f"{told}; give it tensors whose other axes agree")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _take(node: Node, inputs: Sequence[Reals], shape: Shape, _scale: float | None) -> Reals:
    flat = inputs[0].reshape(len(inputs[0]), -1)
    return flat[:, node.constants["order"].astype(np.int64)].reshape((-1, *shape))


def _reshaped(_node: Node, inputs: Sequence[Reals], shape: Shape, _scale: float | None) -> Reals:
    return inputs[0].reshape((len(inputs[0]), *shape))


def _joined(node: Node, inputs: Sequence[Reals], _shape: Shape, _scale: float | None) -> Reals:
    return np.concatenate(inputs, axis=int(node.number("axis")) + 1)


def _selecting(
    name: str,
    shape: Callable[[Node, Shape], Shape],
    apply: Apply,
    chip: str,
    *,
    moves: bool = True,
    attributes: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
) -> Operation:
    return Operation(
        name=name,
        attributes=attributes or {},
        constants=constants or {},
        shape=of_shape(shape),
        apply=apply,
        interval=same_range,
        rises=always,
        work=no_work,
        chip=chip,
        moves=moves,
        selects=True,
        strays=kept,
    )


_SHAPE = {"shape": "sizes of the output, without the batch"}
_NUMBERED = "Nothing but a numbering: the layer that reads it counts its axons in the new order."

PLACES = (
    _selecting("Flatten", lambda _node, shape: (math.prod(shape),), _reshaped, _NUMBERED),
    _selecting(
        "Permute",
        _permute_shape,
        _take,
        "Nothing but a numbering before a dense layer or of channels; elsewhere a layer of ones, or the "
        "host's if its matrix has more than 16 million places.",
        attributes=_SHAPE,
        constants={"order": "place in the input of each element of the output, both flat"},
    ),
    _selecting("Reshape", _reshape_shape, _reshaped, _NUMBERED, attributes=_SHAPE),
    _selecting(
        "Take",
        _taken_shape,
        _take,
        "By channel or as an evenly spaced part of a map, folded into the layer that reads it; any other "
        "choice is a layer of ones, or the host's if its matrix has more than 16 million places.",
        moves=False,
        attributes=_SHAPE,
        constants={"order": "as of Permute, but places may be left out and repeated"},
    ),
    Operation(
        name="Concat",
        attributes={"axis": "where its inputs follow one another, not counting the batch"},
        shape=_concat_shape,
        apply=_joined,
        interval=unbounded,
        rises=always,
        work=no_work,
        chip="A layer that reads it has several sources, each with its own scale and part of the weights.",
    ),
)
"""Records of operations that calculate nothing."""
