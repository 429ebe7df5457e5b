# SPDX-License-Identifier: Apache-2.0
"""Layers of weights: convolutions and dense layers."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.model.node import Node, Shape
from mapping.model.operations.operation import UNBOUNDED, Operation, Range, Reals, misfit, of_shape
from mapping.model.operations.strays import weighed
from mapping.model.operations.sums import product, sums_are_exact, windows
from mapping.model.operations.window import convolved, window_shape

__all__ = ["LINEAR", "dense", "is_pad", "magnitudes"]

_BLOCK = 2**18
"""Elements of a window matrix built at once, 2 MiB: they stay in the cache. Sums of float32 depend on it."""


def is_pad(node: Node) -> bool:
    """Tell whether a node only puts zeros around a map: a convolution by one, channel by channel."""
    weight = node.constants.get("weight")
    return (
        node.op == "Conv"
        and weight is not None
        and weight.shape[1:] == (1, 1, 1)
        and node.number("groups") == len(weight)
        and node.pair("stride") == (1, 1)
        and bool((weight == 1.0).all())
    )


def magnitudes(weight: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return for every output row its a if all weights are -a, 0 or a, else None."""
    rows = np.abs(weight.reshape(len(weight), -1))
    largest = np.asarray(rows.max(axis=1))
    return largest if ((rows == 0) | (rows == largest[:, None])).all() else None


def _fitting(weight: NDArray[np.float64], groups: int, channels: int) -> str:
    """Return what to give a convolution instead of weights that do not fit its input."""
    if groups < 1 or channels % groups or weight.shape[0] % groups:
        return f"give it groups that divide its {channels} inputs and {weight.shape[0]} outputs"
    return f"give it weights of shape {(len(weight), channels // groups, *weight.shape[2:])}"


def _conv_shape(node: Node, shape: Shape) -> Shape:
    weight, groups = node.constants["weight"], int(node.number("groups"))
    if len(shape) != 3:
        raise misfit(node, f"needs an input of shape (channels, height, width), not {shape}")
    if groups < 1 or shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        told = f"has weights of shape {weight.shape} in {groups} groups for an input of shape {shape}"
        raise misfit(node, f"{told}; {_fitting(weight, groups, shape[0])}")
    kernel = (weight.shape[2], weight.shape[3])
    return (weight.shape[0], *window_shape(node, shape, kernel, node.pair("dilation")))


def _dense_shape(node: Node, shape: Shape) -> Shape:
    weight = node.constants["weight"]
    if shape != (weight.shape[1],):
        told = f"has weights for {weight.shape[1]} features and an input of shape {shape}"
        raise misfit(node, f"{told}; give each output {math.prod(shape)} weights")
    return (weight.shape[0],)


def _conv(node: Node, weight: Reals, values: Reals) -> Reals:
    groups = int(node.number("groups"))
    rows, fan_in, kh, kw = weight.shape
    matrix = weight.reshape(groups, rows // groups, -1)
    view = windows(
        values, (kh, kw), stride=node.pair("stride"), pads=node.pads(), dilation=node.pair("dilation")
    )
    height, width = view.shape[2:4]
    exact = sums_are_exact(weight.reshape(rows, -1), values)
    result = np.empty((len(values), rows, height, width), dtype=values.dtype)
    images = max(1, _BLOCK // max(1, fan_in * kh * kw * height * width))
    for start in range(0, len(values), images):
        part = view[start : start + images]
        for g in range(groups):
            block = part[:, g * fan_in : (g + 1) * fan_in].transpose(1, 4, 5, 0, 2, 3)
            columns = np.ascontiguousarray(block, dtype=values.dtype).reshape(matrix.shape[2], -1)
            sums = product(matrix[g], columns, exact=exact).reshape(-1, len(part), height, width)
            rows_of_group = slice(g * matrix.shape[1], (g + 1) * matrix.shape[1])
            result[start : start + images, rows_of_group] = sums.transpose(1, 0, 2, 3)
    return result


def dense(weight: Reals, values: Reals) -> Reals:
    """Return values (N, features) times weight (outputs, features), in a fixed order unless all are exact."""
    columns = np.ascontiguousarray(values.T)
    return np.ascontiguousarray(product(weight, columns, exact=sums_are_exact(weight, columns)).T)


def _linear(node: Node, inputs: Sequence[Reals], _shape: Shape, scale: float | None) -> Reals:
    """Return a convolution or dense layer; ``scale`` is that of the counts it reads, if it does."""
    values = inputs[0]
    weight = node.constants["weight"].astype(values.dtype)
    magnitude = None if scale is None else magnitudes(node.constants["weight"])
    if scale is None or magnitude is None:
        return _conv(node, weight, values) if node.op == "Conv" else dense(weight, values)
    digits, counts = np.sign(weight), np.rint(values / scale)
    sums = _conv(node, digits, counts) if node.op == "Conv" else dense(digits, counts)
    unit = (magnitude * scale).reshape((-1,) + (1,) * (sums.ndim - 2))
    return np.asarray(unit * sums)


def _all_positive(node: Node) -> bool:
    return bool((node.constants["weight"] >= 0).all())


def _sum_interval(node: Node, ranges: Sequence[Range]) -> Range:
    """Return that weighted sums of what is never negative never are; other sums have no bound here."""
    return (0.0, math.inf) if ranges[0][0] >= 0 and _all_positive(node) else UNBOUNDED


def _conv_work(node: Node, shapes: Sequence[Shape]) -> int:
    """Return one multiply-add for each weight that meets an element; a pad takes none."""
    if is_pad(node):
        return 0
    top, left, bottom, right = node.pads()
    return convolved(
        node.constants["weight"].shape,
        shapes[0][1:],
        stride=node.pair("stride"),
        dilation=node.pair("dilation"),
        pads=((top, left), (bottom, right)),
    )


LINEAR = (
    Operation(
        name="Conv",
        attributes={
            "stride": "(y, x)",
            "pads": "(top, left, bottom, right), zeros",
            "dilation": "(y, x)",
            "groups": "how many parts the channels are cut into",
        },
        constants={"weight": "(Cout, Cin / groups, kh, kw); a bias is an Add of its own"},
        shape=of_shape(_conv_shape),
        apply=_linear,
        interval=_sum_interval,
        rises=_all_positive,
        work=_conv_work,
        strays=weighed,
        chip="One neuron an output, with the digits of its kernel where the window meets an axon; groups, "
        "depthwise and dilated kernels have fewer such places, and padding is silence.",
    ),
    Operation(
        name="Dense",
        constants={"weight": "(out, in); a bias is an Add of its own"},
        shape=of_shape(_dense_shape),
        apply=_linear,
        interval=_sum_interval,
        rises=_all_positive,
        work=lambda node, _shapes: node.constants["weight"].size,
        strays=weighed,
        chip="One neuron an output, with the digits of its weights where it meets the axons.",
    ),
)
"""Records of the layers of weights."""
