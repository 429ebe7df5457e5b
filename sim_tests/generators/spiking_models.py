# SPDX-License-Identifier: Apache-2.0
"""Small spiking networks and a second computation of their counts, for tests."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.codes.convert import convert
from mapping.spiking.matrices import layer_matrix, pool_members
from mapping.spiking.network import SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder

__all__ = [
    "CONVS",
    "POOLS",
    "SHAPE",
    "assert_equal",
    "images",
    "mlp",
    "naive_counts",
    "one_conv",
    "pooled_network",
]

SHAPE = (2, 8, 8)


def images(shape: tuple[int, ...] = SHAPE, n: int = 12, seed: int = 5) -> NDArray[np.float64]:
    """Return seeded random inputs."""
    return np.random.default_rng(seed).normal(0.8, 1.0, size=(n, *shape))


def assert_equal(spiking: SpikingNetwork, x: NDArray[np.float64]) -> None:
    """Demand that every activation and logit equals the float network's, and that all were compared."""
    result = compare(spiking, x)
    assert result.differences == 0, result.first
    per_image = sum(int(np.prod(layer.output_shape)) for layer in spiking.layers)
    logits = int(np.prod(spiking.network.shapes[spiking.network.output]))
    assert (result.images, result.neurons) == (len(x), len(x) * (per_image + logits))


def one_conv(seed: int = 0, weight: tuple[int, ...] = (6, 4, 3, 3), **attributes: Any) -> SpikingNetwork:
    """Encoder of four channels, one ternary convolution, four levels, a float head."""
    b = ModelBuilder(SHAPE, seed=seed)
    y = b.quantise(b.conv("x", b.rng.normal(0, 0.5, size=(4, 2, 3, 3)), pads=[1, 1, 1, 1]))
    y = b.quantise(b.norm(b.conv(y, b.ternary(*weight), name="conv", **attributes), weight[0]))
    flat = b.op("Flatten", y)
    return convert(b.network(b.head(flat, b.network(flat).shapes[flat][0])))


CONVS: list[dict[str, Any]] = [
    {},
    {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"pads": [0, 1, 2, 3], "strides": [1, 2]},
    {"dilations": [2, 1], "pads": [2, 2, 2, 2]},
    {"group": 2, "weight": (6, 2, 3, 3)},
    {"group": 4, "weight": (8, 1, 3, 2), "pads": [0, 1, 1, 0]},
]


def naive_counts(layer: SpikingLayer, source: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count thresholds from the sparse matrices alone."""
    pooled = np.array([source.reshape(len(source), -1)[:, m].max(axis=1) for m in pool_members(layer.only)]).T
    sums = (layer_matrix(layer).astype(np.int64) @ pooled.T.astype(np.int64)).T
    rows = np.repeat(layer.edges, sums.shape[1] // layer.rows, axis=0)
    return np.asarray((sums[:, :, None] >= rows).sum(axis=2))


POOLS = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "pads": [2, 0, 0, 1]},
]


def pooled_network(attributes: dict[str, Any], times: int = 1) -> SpikingNetwork:
    """Return a network with max-pools between two ternary layers."""
    b = ModelBuilder(SHAPE)
    y = b.quantise("x")
    y = b.quantise(b.conv(y, b.ternary(3, 2, 3, 3), pads=[1, 1, 1, 1], name="conv"))
    for _ in range(times):
        y = b.op("MaxPool", y, **attributes)
    flat = b.op("Flatten", y)
    features = b.network(flat).shapes[flat][0]
    y = b.quantise(b.dense(flat, b.ternary(7, features), b.rng.normal(size=7), name="fc"))
    return convert(b.network(b.head(y, 7)))


def mlp(
    b: ModelBuilder, y: str, sizes: list[int], *, per_channel: bool = True, k: int = 1, bound: float = 2.0
) -> str:
    """Append ternary dense layers, each with batch norm and a quantised activation."""
    for fan_in, out in pairwise(sizes):
        y = b.quantise(b.norm(b.dense(y, b.ternary(out, fan_in, per_channel=per_channel)), out), k, bound)
    return y
