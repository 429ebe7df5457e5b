# SPDX-License-Identifier: Apache-2.0
"""Pools before an activation are moved behind it without changing a value."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mapping.codes.convert import convert
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.model.rewrite import sink_moves, sink_pools
from mapping.spiking.network import INPUT
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.spiking_models import SHAPE, assert_equal, images


def pooled_early(scale: float = 1.0, readers: int = 1) -> Network:
    """A ternary convolution pooled before its normalisation and activation, then a ternary layer."""
    b = ModelBuilder(SHAPE)
    y = b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), pads=[1, 1, 1, 1], name="conv")
    y = pool = b.op("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], name="pool")
    values: list[ArrayLike] = [
        [1.0, 2.0, 0.5, scale],
        b.rng.normal(0.5, 0.1, 4),
        b.rng.normal(0, 0.2, 4),
        b.rng.uniform(1, 2, 4),
    ]
    y = b.quantise(b.op("Relu", b.op("BatchNormalization", y, *(b.constant(v) for v in values))))
    y = b.head(b.quantise(b.dense(b.op("Flatten", y), b.ternary(5, 64), name="fc")), 5)
    if readers == 2:
        y = b.op("Add", y, b.head(b.op("Flatten", pool), 64))
    return b.network(y)


def test_pool_before_the_activation_runs_on_the_chip() -> None:
    spiking = convert(pooled_early())
    assert [layer.name for layer in spiking.layers] == ["conv", "fc"]
    assert len(spiking.layer("fc").only.pools) == 1
    assert_equal(spiking, images(n=40))


def test_moved_pool_changes_no_output() -> None:
    network, x = pooled_early(), images(n=40)
    moved = sink_pools(network)
    assert [node.op for node in moved.nodes] != [node.op for node in network.nodes]
    assert (infer(moved, x) == infer(network, x)).all()


def test_constant_channel_lets_the_pool_pass() -> None:
    assert len(convert(pooled_early(scale=0.0)).layers) == 2


def test_falling_channel_keeps_the_pool() -> None:
    network, x = pooled_early(scale=-1.0), images(n=40)
    assert [node.name for node in sink_pools(network).nodes] == [node.name for node in network.nodes]
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["fc"]
    assert "conv" in spiking.host_layers
    assert_equal(spiking, x)


def test_pool_with_two_readers_stays() -> None:
    network = pooled_early(readers=2)
    assert [node.name for node in sink_pools(network).nodes] == [node.name for node in network.nodes]
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["fc"]
    assert spiking.decoder_reads_data
    assert_equal(spiking, images(n=40))


def test_pool_of_a_float_layer_stays_in_the_encoder() -> None:
    b = ModelBuilder(SHAPE)
    y = b.op("MaxPool", b.conv("x", b.rng.normal(size=(4, 2, 3, 3))), kernel_shape=[2, 2], strides=[2, 2])
    y = b.quantise(b.dense(b.op("Flatten", b.quantise(b.op("Relu", y))), b.ternary(5, 36), name="fc"))
    spiking = convert(b.network(b.head(y, 5)))
    assert (spiking.shape(INPUT), spiking.layer("fc").only.pools) == ((4, 3, 3), ())
    assert_equal(spiking, images())


def test_network_without_pool_is_unchanged() -> None:
    b = ModelBuilder((4,))
    network = b.network(b.quantise(b.dense("x", np.ones((2, 4)))))
    assert [node.name for node in sink_pools(network).nodes] == [node.name for node in network.nodes]


def flattened_early(moves: str = "Flatten", per_element: bool = False) -> Network:
    """A ternary convolution whose output is moved before its quantiser, then a dense layer."""
    b = ModelBuilder(SHAPE)
    y = b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), pads=[1, 1, 1, 1], name="conv")
    y = b.op("MaxPool", b.op("Relu", y), kernel_shape=[2, 2], strides=[2, 2])
    if moves == "Flatten":
        y = b.op("Flatten", y)
    elif moves == "Reshape":
        y = b.op("Reshape", y, b.constant([0, 4, 16], np.int64))
    else:
        y = b.op("Squeeze", b.op("Unsqueeze", y, b.constant([1], np.int64)), b.constant([1], np.int64))
    factor = b.rng.uniform(0.5, 1.5, 4).astype(np.float32)
    factor = factor.repeat(16) if moves == "Flatten" else factor[:, None] if moves == "Reshape" else factor[0]
    if per_element:
        factor = b.rng.uniform(0.5, 1.5, factor.shape).astype(np.float32)
    y = b.quantise(b.op("Add", b.op("Mul", y, b.constant(factor), name="factor"), b.constant(0.125)))
    y = y if moves == "Flatten" else b.op("Flatten", y)
    return b.network(b.head(b.quantise(b.dense(y, b.ternary(5, 64), name="fc")), 5))


@pytest.mark.parametrize("moves", ["Flatten", "Reshape", "Squeeze"])
def test_layer_whose_quantiser_stands_behind_a_reshape_runs_on_the_chip(moves: str) -> None:
    network, x = flattened_early(moves), images(n=40)
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["conv", "fc"]
    assert len(spiking.layer("fc").only.pools) == 1
    assert (infer(sink_moves(network), x) == infer(network, x)).all()
    assert_equal(spiking, x)


def test_factors_that_differ_within_a_channel_keep_the_layer_on_the_host() -> None:
    network, x = flattened_early(per_element=True), images(n=40)
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["fc"]
    assert {layer.name: layer.told for layer in spiking.host}["conv"].startswith("its output passes 'maxpool")
    assert_equal(spiking, x)


def test_mean_over_space_before_the_quantiser_runs_on_the_chip() -> None:
    b = ModelBuilder(SHAPE)
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), name="conv"))
    y = b.quantise(b.op("ReduceMean", y, axes=[2, 3], keepdims=0, name="mean"), 3)
    spiking = convert(b.network(b.head(b.quantise(b.dense(y, b.ternary(5, 4), name="fc")), 5)))
    assert [layer.name for layer in spiking.layers] == ["conv", "mean", "fc"]
    assert_equal(spiking, images(n=40))


MEANS: dict[str, dict[str, Any]] = {
    "AveragePool": {"kernel_shape": [1, 1]},
    "GlobalAveragePool": {},
    "ReduceMean": {"axes": [2, 3]},
}


@pytest.mark.parametrize("kind", MEANS)
def test_mean_of_one_pixel_is_the_pixel(kind: str) -> None:
    b = ModelBuilder(SHAPE)
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, *SHAPE[1:]), name="conv"))
    y = b.op("Flatten", b.op(kind, y, **MEANS[kind]))
    spiking = convert(b.network(b.quantise(b.dense(y, b.ternary(5, 4), name="fc"))))
    assert [layer.name for layer in spiking.layers] == ["conv", "fc"]
    assert spiking.host_share == 0.0
    assert_equal(spiking, images(n=40))


def test_mean_of_one_value_in_a_row_is_the_value() -> None:
    b = ModelBuilder((2, 8))
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3), name="conv"))
    y = b.op("Flatten", b.op("AveragePool", y, kernel_shape=[1]))
    spiking = convert(b.network(b.quantise(b.dense(y, b.ternary(5, 24), name="fc"))))
    assert [layer.name for layer in spiking.layers] == ["conv", "fc"]
    assert_equal(spiking, images((2, 8), n=40))


def test_two_readers_of_a_reshape_are_both_served() -> None:
    b = ModelBuilder(SHAPE)
    y = b.op("Flatten", b.conv(b.quantise("x"), b.ternary(3, 2, 3, 3), name="conv"))
    fine, coarse = b.quantise(y, 2), b.quantise(b.op("Relu", y), 0)
    y = b.op("Add", b.head(fine, 108), b.head(coarse, 108))
    spiking = convert(b.network(y))
    assert len(spiking.layers) == 2
    assert_equal(spiking, images(n=40))
