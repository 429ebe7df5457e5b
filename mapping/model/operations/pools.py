# SPDX-License-Identifier: Apache-2.0
"""Operations that make one value of many without weights: pools and reductions."""

import math
from collections.abc import Sequence

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.linear import dense
from mapping.model.operations.operation import (
    UNBOUNDED,
    Operation,
    Range,
    Reals,
    always,
    misfit,
    no_work,
    of_first,
    of_shape,
    same_range,
)
from mapping.model.operations.strays import kept
from mapping.model.operations.window import window_shape

__all__ = ["POOLS"]

_MEAN_ERROR = 2.0**-25
"""Relative error of a mean of `MAX_ELEMENTS` numbers at the most, twice over (Higham 2002, Eq. 3.5)."""


def _pool_shape(node: Node, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise misfit(node, f"needs an input of shape (channels, height, width), not {shape}")
    (kh, kw), (top, left, bottom, right) = node.pair("kernel"), node.pads()
    if max(top, bottom) >= kh or max(left, right) >= kw:
        raise misfit(node, "has pads that are not smaller than its kernel")
    return (shape[0], *window_shape(node, shape, (kh, kw), (1, 1)))


def _reduced_shape(node: Node, shape: Shape) -> Shape:
    axes = node.integers("axes")
    if not axes or list(axes) != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= len(shape):
        raise misfit(node, f"has axes {axes} for an input of shape {shape}")
    if node.text("kind") not in ("mean", "sum", "max", "min"):
        raise misfit(node, f"has the kind {node.text('kind')!r}")
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _max_pool(node: Node, values: Reals) -> Reals:
    (kh, kw), (sy, sx), (top, left, bottom, right) = node.pair("kernel"), node.pair("stride"), node.pads()
    edges = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(values, edges, constant_values=-np.inf) if any(node.pads()) else values
    height, width = (padded.shape[2] - kh) // sy + 1, (padded.shape[3] - kw) // sx + 1
    result = np.full((*values.shape[:2], height, width), -np.inf, dtype=values.dtype)
    for y in range(kh):
        for x in range(kw):
            tap = padded[:, :, y : y + (height - 1) * sy + 1 : sy, x : x + (width - 1) * sx + 1 : sx]
            np.maximum(result, tap, out=result)
    return result


def _reduce(node: Node, values: Reals) -> Reals:
    """Return a mean, a sum, a maximum or a minimum over some axes, which keep the size 1."""
    axes, kind = tuple(axis + 1 for axis in node.integers("axes")), node.text("kind")
    if kind in ("max", "min"):
        return np.asarray((np.max if kind == "max" else np.min)(values, axis=axes, keepdims=True))
    kept = [axis for axis in range(values.ndim) if axis not in axes]
    rows = np.ascontiguousarray(values.transpose(*kept, *axes))
    number = math.prod(values.shape[axis] for axis in axes)
    sums = dense(np.ones((1, number), values.dtype), rows.reshape(-1, number))
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(values.shape))
    return (sums / number if kind == "mean" else sums).reshape(shape)


def _reduced_interval(node: Node, ranges: Sequence[Range]) -> Range:
    """Return the range of the input, of a mean with its rounding, and of sums whether they are negative."""
    kind, (low, high) = node.text("kind"), ranges[0]
    if kind == "sum":
        return (0.0, math.inf) if low >= 0 else UNBOUNDED
    if kind == "mean":
        return low - abs(low) * _MEAN_ERROR, high + abs(high) * _MEAN_ERROR
    return low, high


POOLS = (
    Operation(
        name="MaxPool",
        attributes={
            "kernel": "(y, x)",
            "stride": "(y, x)",
            "pads": "(top, left, bottom, right), which never win",
        },
        shape=of_shape(_pool_shape),
        apply=of_first(_max_pool),
        interval=same_range,
        rises=always,
        work=no_work,
        chip="Pooled axons, for values that are never negative: the neurons of a window send to one axon, "
        "where packets of one step merge to the largest.",
        selects=True,
        strays=kept,
    ),
    Operation(
        name="Reduce",
        attributes={
            "kind": "mean, sum, max or min",
            "axes": "ascending, not counting the batch; they keep the size 1",
        },
        shape=of_shape(_reduced_shape),
        apply=of_first(_reduce),
        interval=_reduced_interval,
        rises=always,
        work=no_work,
        chip="A mean or a sum is folded into the layer that reads it, or is a layer of equal weights; a "
        "maximum or minimum is the host's, because windows of pooled axons lie in the map of a channel.",
    ),
)
"""Records of pools and reductions."""
