# SPDX-License-Identifier: Apache-2.0
"""Which chains of operations are quantised activations, and which are not."""

from collections.abc import Callable

import numpy as np
import pytest

from mapping.codes.convert import convert
from mapping.model.analysis import analyse
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.spiking_models import (
    assert_equal,
    images,
)


def mul(b: ModelBuilder, x: str, value: float) -> str:
    return b.op("Mul", x, b.constant(value))


def half(b: ModelBuilder, x: str, value: float = 0.5) -> str:
    return b.op("Add", x, b.constant(value))


Form = Callable[[ModelBuilder, str], str]


FORMS: list[Form] = [
    lambda b, x: b.quantise(x, 2, 1.0),
    lambda b, x: b.quantise(b.op("Relu", x), 2, 1.0),
    lambda b, x: mul(b, b.op("Floor", b.clip(half(b, mul(b, x, 4)), 0, 4.5)), 0.25),
    lambda b, x: b.clip(mul(b, b.op("Floor", half(b, mul(b, x, 4))), 0.25), 0, 1),
    lambda b, x: mul(b, b.op("Floor", half(b, mul(b, b.clip(x, 0, 1), 4))), 0.25),
    lambda b, x: mul(b, b.op("Floor", half(b, b.clip(mul(b, x, 4), 0, 4))), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", mul(b, half(b, x, 0.125), 4)), 0, 4), 0.25),
    lambda b, x: b.op("Div", b.clip(b.op("Floor", half(b, mul(b, mul(b, x, 2), 2))), 0, 4), b.constant(4.0)),
    lambda b, x: b.clip(b.op("Floor", half(b, x)), 0, 4),
    lambda b, x: mul(
        b, b.op("Floor", half(b, b.op("Clip", b.op("Relu", mul(b, x, 4)), "", b.constant(4.0)))), 0.25
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_activation_is_recognised_in_every_equal_form(form: Form) -> None:
    b = ModelBuilder((6,))
    y = form(b, b.norm(b.dense(form(b, "x"), b.ternary(5, 6)), 5))
    spiking = convert(b.network(b.head(y, 5)))
    assert spiking.layers[0].levels == 4
    assert_equal(spiking, images((6,), 200))


def test_average_of_counts_needs_no_relu_before_a_signed_quantiser() -> None:
    b = ModelBuilder((2, 6, 6))
    limits = [b.constant(0.25), b.constant(0, np.int8)]
    y = b.clip("x", 0.0, 1.0)
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *limits), *limits)
    y = b.op("AveragePool", y, kernel_shape=[3, 2], strides=[3, 2], name="average")
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *limits), *limits)
    spiking = convert(b.network(b.head(b.op("Flatten", y), 2 * 2 * 3)))
    assert [(layer.name, layer.levels) for layer in spiking.layers] == [("average", 127)]
    assert_equal(spiking, images((2, 6, 6), 50))


def test_activation_of_whole_numbers_may_have_a_clip_among_its_readers() -> None:
    b = ModelBuilder((6,))
    y = b.clip(b.op("Floor", half(b, "x")), 0, 4)
    network = b.network(b.op("Add", b.clip(y, 0, 1), b.op("Relu", y)))
    assert [activation.output for activation in analyse(network).activations.values()] == [y]


ROUNDINGS: list[Form] = [
    lambda b, x: mul(b, b.clip(b.op("Floor", mul(b, x, 4)), 0, 4), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 4), 0.25)), 0, 4), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 3))), 0, 4), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 4))), 0, 4), 0.3),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 4))), 1, 4), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, -4))), 0, 4), 0.25),
    lambda b, x: mul(b, b.op("Round", b.clip(b.op("Div", x, b.constant(0.3)), 0, 4)), 0.3),
    lambda b, x: mul(b, b.clip(b.op("Round", b.op("Div", x, b.constant(-0.3))), 0, 4), 0.3),
    lambda b, x: b.op("Div", b.clip(b.op("Round", mul(b, x, 3)), 0, 4), b.constant(0.125)),
]


@pytest.mark.parametrize("form", ROUNDINGS)
def test_other_roundings_and_scales_are_quantised_activations(form: Form) -> None:
    b = ModelBuilder((6,), seed=3)
    y = form(b, b.norm(b.dense(form(b, "x"), b.ternary(5, 6)), 5))
    spiking = convert(b.network(b.head(y, 5)))
    assert spiking.layers[0].levels == 4
    assert_equal(spiking, images((6,), 200))


OTHERS: list[Form] = [
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 4))), -1, 4), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 4))), 0, 4.5), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Floor", half(b, mul(b, x, 4))), 0, 4000), 0.25),
    lambda b, x: mul(b, b.op("Floor", half(b, mul(b, x, 4))), 0.25),
    lambda b, x: mul(b, b.op("Relu", b.op("Floor", half(b, mul(b, x, 4)))), 0.25),
    lambda b, x: mul(b, b.op("Floor", b.clip(x, -2000, -1000)), 0.25),
    lambda b, x: mul(b, b.clip(b.op("Round", x), 0, 4), -0.25),
    lambda b, x: b.op("Div", b.clip(b.op("Round", x), 0, 60), b.constant(49.0)),
]


@pytest.mark.parametrize("form", OTHERS)
def test_other_functions_are_no_quantised_activation(form: Form) -> None:
    b = ModelBuilder((6,))
    network = b.network(form(b, "x"))
    assert network.output not in analyse(network).activations


def test_numbers_beyond_all_floats_are_no_quantised_activation() -> None:
    b = ModelBuilder((6,))
    y = b.op("Clip", b.op("Floor", "x"), b.constant(1e300, np.float64), b.constant(2e300, np.float64))
    analysed = analyse(b.network(b.op("Mul", y, b.constant(1e300, np.float64))))
    assert analysed.activations == {}
