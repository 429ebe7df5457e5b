# SPDX-License-Identifier: Apache-2.0
"""Averages go before the convolutions of single points that they commute with, and nothing else changes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.graded.averages import averages_first
from mapping.codes.graded.convert import convert_graded
from mapping.model.evaluate import infer
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operator_networks import conv, relu
from sim_tests.generators.ordinary_networks import calibration

Build = Callable[[ModelBuilder, str], str]


def average(b: ModelBuilder, x: str, **more: Any) -> str:
    return b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], **more)


def biased(b: ModelBuilder, x: str, rows: int = 3) -> str:
    return b.conv(x, b.rng.normal(size=(rows, 4, 1, 1)), b.rng.normal(size=rows))


def normed(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", b.norm(biased(b, x), 3), b.constant(b.rng.normal(size=(3, 1, 1))))


SWAPPED: dict[str, Build] = {
    "classes": lambda b, x: b.op("GlobalAveragePool", biased(b, x)),
    "normalised": lambda b, x: b.op("GlobalAveragePool", normed(b, x)),
    "transition": lambda b, x: average(b, b.norm(b.conv(x, b.rng.normal(size=(2, 4, 1, 1))), 2)),
    "groups": lambda b, x: average(b, b.conv(x, b.rng.normal(size=(6, 2, 1, 1)), group=2)),
    "mean over the map": lambda b, x: b.op("ReduceMean", biased(b, x), axes=[2, 3]),
}

KEPT: dict[str, Build] = {
    "function between": lambda b, x: b.op("GlobalAveragePool", relu(b, biased(b, x))),
    "windows": lambda b, x: b.op("GlobalAveragePool", conv(b, x, 3, 4)),
    "stride": lambda b, x: average(b, b.conv(x, b.rng.normal(size=(3, 4, 1, 1)), strides=[2, 2])),
    "padded average": lambda b, x: average(b, biased(b, x), pads=[1, 1, 1, 1], count_include_pad=1),
    "element factors": lambda b, x: average(
        b, b.op("Mul", biased(b, x), b.constant(b.rng.normal(size=(3, 8, 8))))
    ),
    "two readers": lambda b, x: twice(b, biased(b, x, 4)),
    "more channels before": lambda b, x: average(b, b.op("MaxPool", biased(b, x, 1), kernel_shape=[1, 1])),
    "more to average": lambda b, x: b.op(
        "Tanh", average(b, b.conv(b.op("Concat", *[x] * 5, axis=1), b.rng.normal(size=(4, 20, 1, 1))))
    ),
}


def twice(b: ModelBuilder, y: str) -> str:
    return b.op("Concat", average(b, y), b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), axis=1)


def built(build: Build) -> Network:
    b = ModelBuilder((2, 8, 8), seed=1)
    return b.network(build(b, relu(b, conv(b, "x", 4, 2))))


@pytest.mark.parametrize("name", [*SWAPPED, *KEPT])
def test_values_are_the_same(name: str) -> None:
    network = built({**SWAPPED, **KEPT}[name])
    found = averages_first(network)
    x = calibration(network, n=3)
    np.testing.assert_allclose(infer(found, x), infer(network, x), rtol=1e-9, atol=1e-9)
    assert (found.nodes != network.nodes) == (name in SWAPPED)


@pytest.mark.parametrize("name", ["classes", "normalised", "mean over the map"])
@pytest.mark.parametrize(("axons", "neurons"), [(256, [256, 3]), (64, [256, 4, 3])])
def test_channels_are_averaged_and_not_classes(name: str, axons: int, neurons: list[int]) -> None:
    """One layer where a row holds the map, else one more with a neuron for each channel."""
    network, spec = built(SWAPPED[name]), preset("medium").resized(axons=axons, max_extension=4)
    layers = convert_graded(network, calibration(network), spec).layers
    assert [layer.neurons for layer in layers] == neurons


def test_average_is_part_of_the_convolution() -> None:
    """A transition of DenseNet is one layer, of kernels of 2 x 2 points."""
    network = built(lambda b, x: relu(b, SWAPPED["transition"](b, x)))
    layers = convert_graded(network, calibration(network), preset("medium")).layers
    assert [source.weight.shape for source in layers[-1].sources] == [(2, 4, 2, 2)]
    assert len(layers) == 2
