# SPDX-License-Identifier: Apache-2.0
"""Values of integers that a `Relu` or `Clip` cuts off before a real operator."""

from dataclasses import replace

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder


@pytest.mark.parametrize(("end", "host"), [(1.5, 0.0), (1.6, 5 / 11)])
def test_values_that_are_cut_off_between_two_integers_are_the_hosts(end: float, host: float) -> None:
    """A dense layer reads steps of 0.25, of which 6 are 1.5, and 1.6 is none."""
    b = ModelBuilder((6,))
    ends = [b.constant(0.25), b.constant(0, np.int8)]
    weight = b.op("DequantizeLinear", b.constant(b.rng.integers(-9, 9, (6, 5)), np.int8), *ends)
    first = b.op("DequantizeLinear", b.constant(b.rng.integers(-9, 9, (6, 6)), np.int8), *ends)
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", b.op("MatMul", y, first), *ends), *ends)
    skip = b.op("Mul", y, b.constant(1.0))
    y = b.op("Add", b.op("MatMul", b.clip(y, 0.0, end), weight, name="vote"), b.constant(0.5))
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends), *ends)
    network = b.network(b.op("Concat", y, skip, axis=1))
    x = np.random.default_rng(1).normal(size=(64, 6))
    spiking = code_of(network, "int8").convert(network, Request(spec=preset("medium"), samples=x))
    assert spiking.host_share == host
    assert compare(spiking, x).differences == 0


def test_integers_that_are_sent_from_zero_up_are_cut_off_where_the_model_does() -> None:
    """A core without signs sends integers below zero from zero up; a `Clip` keeps those from -2 to 3."""
    b = ModelBuilder((6,))
    ends = [b.constant(0.5), b.constant(0, np.int8)]
    weight = [
        b.op("DequantizeLinear", b.constant(b.rng.integers(-9, 9, (6, 6)), np.int8), *ends) for _ in range(2)
    ]
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", b.op("MatMul", y, weight[0]), *ends), *ends)
    y = b.op("Concat", b.op("MatMul", b.clip(y, -1.0, 1.5), weight[1]), y, axis=1)
    network = b.network(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends), *ends))
    spec, x = replace(preset("medium"), signed_ladder=False), np.random.default_rng(1).normal(size=(64, 6))
    spiking = code_of(network, "int8").convert(network, Request(spec=spec, samples=x))
    assert spiking.host_share == 0.0
    assert min(layer.low for layer in spiking.layers) == 0 < max(layer.zero for layer in spiking.layers)
    assert compare(spiking, x).differences == 0
