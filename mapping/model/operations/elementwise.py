# SPDX-License-Identifier: Apache-2.0
"""What operations have in common that treat every element alone: constants, shapes, ranges."""

from collections.abc import Callable, Sequence

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.operation import (
    UNBOUNDED,
    Apply,
    Each,
    Interval,
    Range,
    Reals,
    misfit,
)

__all__ = ["applied", "at_ends", "by_channel", "each_of", "joined_shape", "one_shape", "scalar", "within"]

_BY_ELEMENT = frozenset({"slope", "value"})


def by_channel(node: Node) -> bool:
    """Tell whether a node has one input and no constant that differs within a channel."""
    return len(node.inputs) == 1 and all(value.ndim <= 1 for value in node.constants.values())


def scalar(node: Node) -> float | None:
    """Return the constant of an ``Add``, ``Mul`` or ``Div`` if it is one value for the whole tensor."""
    value = node.constants.get("value")
    if value is None or value.ndim > 1 or (value != value.reshape(-1)[0]).any():
        return None
    return float(value.reshape(-1)[0])


def _along(value: Reals, ndim: int, axis: int) -> Reals:
    return value.reshape((-1,) + (1,) * (ndim - 1 - axis)) if value.ndim == 1 else value


def applied(each: Each, node: Node, values: Reals, *, axis: int) -> Reals:
    """Apply a formula to values whose channels lie along ``axis``, in their precision."""
    constants = {
        key: _along(value.astype(values.dtype), values.ndim, axis) for key, value in node.constants.items()
    }
    return np.asarray(each(node, values, constants), dtype=values.dtype)


def each_of(each: Each) -> Apply:
    """Return what an operation does to whole tensors from what it does to every element."""

    def apply(node: Node, inputs: Sequence[Reals], _shape: Shape, _scale: float | None) -> Reals:
        if len(inputs) > 1:
            return np.asarray(each(node, inputs[0], {"value": inputs[1]}))
        return applied(each, node, inputs[0], axis=1)

    return apply


def at_ends(each: Each, when: Callable[[Node], bool]) -> Interval:
    """Return the range between the values at both ends of the input, where this holds, or an unbounded one.

    It holds of operations that rise, or fall, with one constant for every channel at the most.
    """

    def interval(node: Node, ranges: Sequence[Range]) -> Range:
        if not when(node):
            return UNBOUNDED
        with np.errstate(all="ignore"):
            ends = applied(each, node, np.array([ranges[0]]), axis=0)
        return UNBOUNDED if np.isnan(ends).any() else (float(ends.min()), float(ends.max()))

    return interval


def within(low: float, high: float) -> Interval:
    """Return a range that no input leaves."""
    return lambda _node, _ranges: (low, high)


def one_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of the one input, after a look at the constants."""
    if len(shapes) > 1:
        raise _unlike(node, shapes)
    for key, value in node.constants.items():
        full = (shapes[0],) if key in _BY_ELEMENT else ()
        if value.shape not in ((), shapes[0][:1], *full):
            told = f"has {key} of shape {value.shape} for an input of shape {shapes[0]}"
            raise misfit(node, f"{told}; give it one value for each channel")
    return shapes[0]


def joined_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of one input with a constant, or of two, where an axis of size 1 is repeated."""
    if len(shapes) == 1:
        return one_shape(node, shapes)
    first, second = shapes
    fits = len(first) == len(second)
    if not fits or any(m != n and 1 not in (m, n) for m, n in zip(first, second, strict=True)):
        raise _unlike(node, shapes)
    return tuple(np.broadcast_shapes(first, second))


def _unlike(node: Node, shapes: Sequence[Shape]) -> Exception:
    told = f"joins tensors of different shapes {' and '.join(map(str, shapes))}"
    return misfit(node, f"{told}; give it tensors of one shape")
