# SPDX-License-Identifier: Apache-2.0
"""Random float networks of the operators that ordinary networks have, with no weight that is ternary."""

import numpy as np
from numpy.typing import NDArray

from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["calibration", "inverted", "mlp", "ordinary", "pooled", "residual"]


def calibration(network: Network, n: int = 64, seed: int = 1) -> NDArray[np.float64]:
    """Return seeded inputs of both signs."""
    return np.random.default_rng(seed).uniform(-1.5, 2.0, (n, *network.shapes[network.input]))


def _kernel(b: ModelBuilder, *shape: int) -> NDArray[np.float64]:
    return b.rng.normal(0, 1.0 / np.sqrt(np.prod(shape[1:])), shape)


def mlp(seed: int = 0) -> Network:
    """Two dense layers with a third between them that has no function of its own."""
    b = ModelBuilder((6,), seed=seed)
    y = b.op("Relu", b.dense("x", _kernel(b, 9, 6), b.rng.normal(size=9)))
    y = b.dense(y, _kernel(b, 7, 9), b.rng.normal(size=7))
    return b.network(b.dense(y, _kernel(b, 4, 7), b.rng.normal(size=4)))


def residual(seed: int = 0, channels: int = 3, size: int = 6) -> Network:
    """A block with a skip, one with a convolution beside it, an average over the map, and a dense layer."""
    b = ModelBuilder((2, size, size), seed=seed)
    y = b.op("Relu", b.norm(b.conv("x", _kernel(b, channels, 2, 3, 3), pads=[1, 1, 1, 1]), channels))
    z = b.op("Relu", b.conv(y, _kernel(b, channels, channels, 3, 3), pads=[1, 1, 1, 1]))
    z = b.conv(z, _kernel(b, channels, channels, 3, 3), b.rng.normal(size=channels), pads=[1, 1, 1, 1])
    y = b.op("Relu", b.op("Add", z, y))
    z = b.op("Relu", b.conv(y, _kernel(b, 4, channels, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    z = b.conv(z, _kernel(b, 4, 4, 3, 3), pads=[1, 1, 1, 1])
    y = b.op("Relu", b.op("Add", z, b.conv(y, _kernel(b, 4, channels, 1, 1), strides=[2, 2])))
    y = b.op("Flatten", b.op("GlobalAveragePool", y))
    return b.network(b.dense(y, _kernel(b, 3, 4), b.rng.normal(size=3)))


def inverted(seed: int = 0) -> Network:
    """Depthwise and pointwise convolutions, cut at 6, with a linear bottleneck and a skip around it."""
    b = ModelBuilder((2, 6, 6), seed=seed)

    def cut(x: str) -> str:
        return b.clip(x, 0.0, 6.0)

    y = b.conv("x", _kernel(b, 3, 2, 1, 1), b.rng.normal(size=3))
    z = cut(b.conv(y, _kernel(b, 6, 3, 1, 1)))
    z = cut(b.norm(b.conv(z, _kernel(b, 6, 1, 3, 3), pads=[1, 1, 1, 1], group=6), 6))
    y = b.op("Add", b.conv(z, _kernel(b, 3, 6, 1, 1)), y)
    y = b.op("Relu", b.conv(y, _kernel(b, 4, 3, 3, 3)))
    return b.network(b.dense(b.op("Flatten", y), _kernel(b, 3, 64), b.rng.normal(size=3)))


def pooled(seed: int = 0) -> Network:
    """Pools of both kinds, joined and split channels, and functions that only lists of thresholds give."""
    b = ModelBuilder((2, 8, 8), seed=seed)
    one = b.op(
        "MaxPool",
        b.op("Tanh", b.conv("x", _kernel(b, 2, 2, 3, 3), pads=[1, 1, 1, 1])),
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    two = b.op(
        "MaxPool", b.conv("x", _kernel(b, 3, 2, 3, 3), pads=[1, 1, 1, 1]), kernel_shape=[2, 2], strides=[2, 2]
    )
    three = b.op("Sigmoid", b.op("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2]))
    y = b.op("Concat", one, b.op("LeakyRelu", two, alpha=0.1), three, axis=1)
    y = b.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("Relu", b.conv(y, _kernel(b, 4, 7, 2, 2), b.rng.normal(size=4)))
    return b.network(b.dense(b.op("Flatten", y), _kernel(b, 3, 4), b.rng.normal(size=3)))


def ordinary(seed: int) -> Network:
    """Return one of these networks."""
    return (mlp, residual, inverted, pooled)[seed % 4](seed)
