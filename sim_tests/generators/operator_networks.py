# SPDX-License-Identifier: Apache-2.0
"""Small networks of one combination of operators each, as public models have them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["COMBINATIONS", "combination"]

Shape = tuple[int, ...]
Build = Callable[[ModelBuilder], str]
Between = Callable[[ModelBuilder, str], str]

MAP = (2, 8, 8)
ROW = (2, 12)
LAST = (8, 8, 2)
ONE = [1, 1, 1, 1]


def kernel(b: ModelBuilder, *shape: int) -> NDArray[np.float64]:
    """Return weights whose sums have about the size of what they read."""
    return b.rng.normal(0, 1.0 / np.sqrt(np.prod(shape[1:])), shape)


def integers(b: ModelBuilder, *values: int) -> str:
    """Return a constant of integers."""
    return b.constant(list(values), np.int64)


def conv(b: ModelBuilder, x: str, rows: int, channels: int, size: int = 3, **more: Any) -> str:
    """Return a convolution that keeps the size of the map."""
    pads = {} if "strides" in more else {"pads": [size // 2] * 4}
    return b.conv(x, kernel(b, rows, channels, size, size), **{**pads, **more})


def relu(b: ModelBuilder, x: str) -> str:
    """Return what is above zero."""
    return b.op("Relu", x)


def head(b: ModelBuilder, x: str, features: int) -> str:
    """Return three classes."""
    return b.dense(b.op("Flatten", x), kernel(b, 3, features), b.rng.normal(size=3))


def slices(b: ModelBuilder, x: str, *given: Shape) -> str:
    """Return a part, by starts, ends, axes and steps."""
    return b.op("Slice", x, *(integers(b, *numbers) for numbers in given))


def halves(b: ModelBuilder, x: str, axis: int = 1) -> tuple[str, str]:
    """Return two halves."""
    first = b.op("Split", x, outputs=2, axis=axis)
    return first, f"{first}_1"


def shuffled(b: ModelBuilder, x: str) -> str:
    """Return the channels of two groups by turns."""
    y = b.op("Transpose", b.op("Reshape", x, integers(b, 0, 2, 2, 8, 8)), perm=[0, 2, 1, 3, 4])
    return b.op("Reshape", y, integers(b, 0, 4, 8, 8))


def squeezed(b: ModelBuilder, x: str) -> str:
    """Return the sum of a map and its own average."""
    return b.op("Add", x, b.op("GlobalAveragePool", x))


def inception(b: ModelBuilder, x: str) -> str:
    """Return the branches of an Inception block, side by side."""
    average = b.op("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], pads=ONE)
    largest = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=ONE)
    branches = [relu(b, conv(b, y, 2, 4, 1)) for y in (x, average, largest)]
    return b.op("Concat", *branches, relu(b, conv(b, relu(b, conv(b, x, 2, 4, 1)), 2, 2)), axis=1)


def dense_block(b: ModelBuilder, x: str, channels: int = 4) -> str:
    """Return a layer of DenseNet: normalised, cut, convolved, and joined to what it reads."""
    y = relu(b, b.norm(conv(b, relu(b, b.norm(x, channels)), 6, channels, 1), 6))
    return b.op("Concat", x, conv(b, y, 4, 6), axis=1)


def preactivated(b: ModelBuilder, x: str) -> str:
    """Return a residual block whose functions stand before its layers."""
    y = conv(b, relu(b, b.norm(conv(b, relu(b, b.norm(x, 4)), 4, 4), 4)), 4, 4)
    return relu(b, b.norm(b.op("Add", y, x), 4))


def padded_shortcut(b: ModelBuilder, x: str) -> str:
    """Return a residual block that halves the map and fills up channels with zeros."""
    every = slices(b, x, (0, 0), (9, 9), (2, 3), (2, 2))
    skip = b.op("Pad", every, integers(b, 0, 2, 0, 0, 0, 2, 0, 0))
    y = conv(b, relu(b, conv(b, x, 8, 4, strides=[2, 2], pads=ONE)), 8, 8)
    return relu(b, b.op("Add", y, skip))


def shuffle_unit(b: ModelBuilder, x: str) -> str:
    """Return a block of ShuffleNet."""
    first, second = halves(b, x)
    y = conv(b, conv(b, relu(b, conv(b, second, 2, 2, 1)), 2, 1, group=2), 2, 2, 1)
    return shuffled(b, b.op("Concat", first, relu(b, y), axis=1))


def swish(b: ModelBuilder, x: str) -> str:
    """Return a product of a convolution and its own sigmoid."""
    y = conv(b, x, 4, 4)
    return b.op("Mul", y, b.op("Sigmoid", y))


def hard_swish(b: ModelBuilder, x: str) -> str:
    """Return the product as which old exporters write it."""
    y = conv(b, x, 4, 4)
    return b.op("Div", b.op("Mul", y, b.clip(b.op("Add", y, b.constant(3.0)), 0, 6)), b.constant(6.0))


def leaky(b: ModelBuilder, x: str) -> str:
    """Return a choice between a value and a part of it."""
    y = conv(b, x, 4, 4)
    above = b.op("Greater", y, b.constant(0.0))
    return b.op("Where", above, y, b.op("Mul", y, b.constant(0.1)))


def flattened_branches(b: ModelBuilder) -> str:
    """Two maps, flattened and joined."""
    y = relu(b, conv(b, "x", 3, 2))
    z = relu(b, conv(b, y, 2, 3, strides=[2, 2]))
    return b.dense(b.op("Concat", b.op("Flatten", y), b.op("Flatten", z), axis=1), kernel(b, 3, 210))


def channels_last(b: ModelBuilder) -> str:
    """A network as TensorFlow's converter writes it."""

    def layer(x: str, rows: int, channels: int) -> str:
        y = conv(b, b.op("Transpose", x, perm=[0, 3, 1, 2]), rows, channels)
        return b.op("Add", b.op("Transpose", y, perm=[0, 2, 3, 1]), b.constant(b.rng.normal(size=rows)))

    y = relu(b, layer(b.op("Pad", "x", integers(b, 0, 1, 1, 0, 0, 1, 1, 0)), 4, 2))
    y = b.op("Add", y, layer(y, 4, 4))
    y = b.op("Concat", y, b.op("Tanh", y), axis=-1)
    y = b.op("ReduceMean", y, axes=[1, 2], keepdims=0)
    return b.op("Softmax", b.op("MatMul", y, b.constant(kernel(b, 8, 3))), axis=1)


def rows(b: ModelBuilder) -> str:
    """Convolutions along one axis, pooled, joined and averaged."""
    y = relu(b, b.conv("x", kernel(b, 4, 2, 3), b.rng.normal(size=4), pads=[1, 1]))
    z = relu(b, b.norm(b.conv(y, kernel(b, 4, 1, 3), group=4, pads=[2, 2], dilations=[2]), 4))
    y = b.op("MaxPool", b.op("Concat", y, z, axis=1), kernel_shape=[2], strides=[2])
    y = b.op("ReduceMean", conv_row(b, y), axes=[2], keepdims=0)
    return b.dense(y, kernel(b, 3, 3))


def conv_row(b: ModelBuilder, x: str) -> str:
    """Return a convolution of a row."""
    return relu(b, b.conv(x, kernel(b, 3, 8, 3), pads=[1, 1]))


def vector_to_map(b: ModelBuilder) -> str:
    """A dense layer that makes a map."""
    y = b.op("Reshape", relu(b, b.dense("x", kernel(b, 32, 5))), integers(b, -1, 2, 4, 4))
    return head(b, relu(b, conv(b, y, 3, 2)), 48)


def matrix_rows(b: ModelBuilder) -> str:
    """Matrices on either side of rows of features."""
    y = b.op("MatMul", "x", b.constant(kernel(b, 12, 5)))
    return head(b, relu(b, b.op("MatMul", b.constant(kernel(b, 3, 2)), y)), 15)


def fully_convolutional(b: ModelBuilder) -> str:
    """Classes that are averages of maps, reshaped, dropped out and normalised."""
    y = b.op("GlobalAveragePool", conv(b, relu(b, conv(b, "x", 4, 2)), 3, 4, 1))
    return b.op("Softmax", b.op("Dropout", b.op("Flatten", y)), axis=1)


def shapes(b: ModelBuilder) -> str:
    """A reshape by a shape that the graph computes."""
    y = relu(b, conv(b, "x", 4, 2))
    sizes = b.op("Shape", y)
    batch = b.op("Slice", sizes, integers(b, 0), integers(b, 1))
    rest = b.op("ReduceProd", b.op("Slice", sizes, integers(b, 1), integers(b, 4)), keepdims=1)
    return b.dense(b.op("Reshape", y, b.op("Concat", batch, rest, axis=0)), kernel(b, 3, 256))


def scaled(b: ModelBuilder) -> str:
    """Dense layers with every parameter of a Gemm, none with a function of its own behind it."""
    y = b.op("Gemm", "x", b.constant(kernel(b, 5, 6)), b.constant(b.rng.normal(size=6)), alpha=0.5, beta=2.0)
    return b.op("Gemm", relu(b, y), b.constant(kernel(b, 6, 3)), b.constant(b.rng.normal(size=(1, 3))))


def pooled_branches(b: ModelBuilder, x: str) -> str:
    """Return two branches of unlike size, joined and then pooled."""
    wide = b.op("Mul", relu(b, conv(b, x, 3, 4)), b.constant(2.5))
    return pooled(b, b.op("Concat", relu(b, conv(b, x, 4, 4, 1)), wide, axis=1))


def pooled(b: ModelBuilder, x: str) -> str:
    """Return the largest of each window."""
    return b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=ONE)


_BETWEEN: Mapping[str, tuple[int, Between]] = {
    "add broadcast": (4, squeezed),
    "average without padding": (
        4,
        lambda b, x: b.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=ONE, ceil_mode=1),
    ),
    "channel shuffle": (4, shuffled),
    "branches pooled as one": (7, pooled_branches),
    "concat of height": (4, lambda b, x: b.op("Concat", x, relu(b, conv(b, x, 4, 4, 1)), axis=2)),
    "crop": (4, lambda b, x: slices(b, x, (1, 2), (7, 8), (2, 3), (1, 1))),
    "dense block": (8, dense_block),
    "dense blocks": (12, lambda b, x: dense_block(b, dense_block(b, x), 8)),
    "depthwise, dilated": (4, lambda b, x: b.conv(x, kernel(b, 4, 1, 3, 3), group=4, dilations=[2, 2])),
    "element factors": (4, lambda b, x: b.op("Mul", x, b.constant(b.rng.uniform(0.5, 1, (4, 8, 8))))),
    "flip": (4, lambda b, x: slices(b, x, (-1,), (-99,), (3,), (-1,))),
    "hard swish": (4, hard_swish),
    "inception": (8, inception),
    "larger of two": (4, lambda b, x: b.op("Max", conv(b, x, 4, 4), conv(b, x, 4, 4))),
    "leaky": (4, leaky),
    "pad by a number": (
        4,
        lambda b, x: b.op("Pad", x, integers(b, 0, 0, 1, 1, 0, 0, 1, 1), b.constant(0.5)),
    ),
    "padded shortcut": (8, padded_shortcut),
    "preactivated": (4, preactivated),
    "reverse channels": (4, lambda b, x: slices(b, x, (-1,), (-99,), (1,), (-1,))),
    "shuffle unit": (4, shuffle_unit),
    "split of width": (4, lambda b, x: b.op("Sub", *halves(b, x, 3))),
    "sum pooled": (4, lambda b, x: pooled(b, b.op("Add", x, relu(b, conv(b, x, 4, 4))))),
    "swish": (4, swish),
    "transposed": (4, lambda b, x: b.op("Transpose", x, perm=[0, 1, 3, 2])),
}

_WHOLE: Mapping[str, tuple[Shape, Build]] = {
    "channels last": (LAST, channels_last),
    "flattened branches": (MAP, flattened_branches),
    "fully convolutional": (MAP, fully_convolutional),
    "inception on the input": (MAP, lambda b: head(b, inception_of_input(b), 320)),
    "input and branch pooled": (MAP, lambda b: head(b, pooled(b, input_and_branch(b)), 80)),
    "matrices": (ROW, matrix_rows),
    "rows": (ROW, rows),
    "scaled": ((5,), scaled),
    "shapes": (MAP, shapes),
    "vector to map": ((5,), vector_to_map),
}


def inception_of_input(b: ModelBuilder) -> str:
    """Return two branches of the input itself."""
    largest = b.op("MaxPool", "x", kernel_shape=[3, 3], strides=[1, 1], pads=ONE)
    return b.op("Concat", largest, relu(b, conv(b, "x", 3, 2, 1)), axis=1)


def input_and_branch(b: ModelBuilder) -> str:
    """Return the input itself and a branch of it."""
    return b.op("Concat", "x", relu(b, conv(b, "x", 3, 2, 1)), axis=1)


COMBINATIONS = (*_BETWEEN, *_WHOLE)
"""Names of the networks; all of them lie on the chip as a whole."""


def combination(name: str, seed: int = 0) -> Network:
    """Return one of the networks."""
    if name in _WHOLE:
        shape, build = _WHOLE[name]
        b = ModelBuilder(shape, seed=seed)
        return b.network(build(b))
    channels, between = _BETWEEN[name]
    b = ModelBuilder(MAP, seed=seed)
    y = between(b, relu(b, b.conv("x", kernel(b, 4, 2, 3, 3), b.rng.normal(0, 0.3, 4), pads=ONE)))
    y = relu(b, conv(b, y, 5, channels))
    return b.network(head(b, b.op("GlobalAveragePool", y), 5))
