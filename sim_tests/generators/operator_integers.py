# SPDX-License-Identifier: Apache-2.0
"""A small ONNX model around every operator on integers."""

from typing import Any

import numpy as np

from mapping.model.operations.operation import HOST
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operator_example import SHAPE, Build, Example

__all__ = ["QLINEAR_EXAMPLES"]


def _on_integers(name: str, *places: str, domain: str = "com.microsoft", **attributes: Any) -> Build:
    """Return an operator on integers between quantisers.

    ``places`` are what it reads and writes: "x" an activation, "y" the output, "w" weights, "b" a bias; each
    but the bias stands before its scale and zero point.
    """

    def build(b: ModelBuilder) -> str:
        ends = [b.constant(0.5), b.constant(3, np.uint8)]
        x = b.op("QuantizeLinear", "x", *ends)
        if name in ("QGemm", "QLinearMatMul"):
            x = b.op("Flatten", x)
        shape = (int(np.prod(SHAPE)), 3) if name in ("QGemm", "QLinearMatMul") else (2, SHAPE[0], 1, 1)
        weight = [b.constant(np.full(shape, 5), np.int8), b.constant(0.25), b.constant(0, np.int8)]
        given = {"x": [x, *ends], "w": weight, "y": ends, "b": [b.constant([1, 2, 3], np.int32)]}
        inputs = [tensor for place in places for tensor in given[place]]
        return b.op("DequantizeLinear", b.op(name, *inputs, domain=domain, **attributes), *ends)

    return build


def _sums_of_integers(name: str) -> Build:
    """Return a sum of integers that nothing requantises, behind a quantiser and before a Cast."""

    def build(b: ModelBuilder) -> str:
        zero = b.constant(3, np.uint8)
        x = b.op("QuantizeLinear", "x", b.constant(0.5), zero)
        shape: tuple[int, ...] = (2, SHAPE[0], 1, 1)
        if name == "MatMulInteger":
            x, shape = b.op("Flatten", x), (int(np.prod(SHAPE)), 3)
        weight = b.constant(b.rng.integers(-9, 9, shape), np.int8)
        return b.op("Cast", b.op(name, x, weight, zero, b.constant(0, np.int8)), to=1)

    return build


def _product(constant: bool) -> Build:
    def build(b: ModelBuilder) -> str:
        ends = [b.constant(0.5), b.constant(3, np.uint8)]
        x = b.op("QuantizeLinear", "x", *ends)
        other = b.constant([5], np.uint8) if constant else x
        y = b.op("QLinearMul", x, *ends, other, *ends, *ends, domain="com.microsoft")
        return b.op("DequantizeLinear", y, *ends)

    return build


_QLINEAR_AROUND = ("Flatten", "Mul", "ToInteger")
_SUMS = "A layer of integer weights, whose ladder or list is that of the scales."
_REQUANTISED = "A layer whose neurons read one input each, and requantise it."
_TIMES = f"{HOST}no neuron multiplies two activations."
_INTEGER_MEAN = "A layer of equal weights, whose ladder or list is that of the scales."

QLINEAR_EXAMPLES = (
    *(
        Example(operator=name, build=_sums_of_integers(name), around=("Flatten", "ToInteger"))
        for name in ("ConvInteger", "MatMulInteger")
    ),
    Example(
        operator="QLinearMul",
        form="by a constant",
        build=_product(constant=True),
        around=("Mul", "ToInteger"),
        note=_REQUANTISED,
    ),
    Example(
        operator="QLinearMul",
        form="of two activations",
        build=_product(constant=False),
        around=("ToInteger",),
        note=_TIMES,
    ),
    Example(
        operator="QLinearSoftmax",
        build=_on_integers("QLinearSoftmax", "x", "y", axis=1, opset=13),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QGemm",
        build=_on_integers("QGemm", "x", "w", "b", "y"),
        around=_QLINEAR_AROUND,
        note=_SUMS,
    ),
    Example(
        operator="QLinearAdd",
        build=_on_integers("QLinearAdd", "x", "x", "y"),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QLinearAveragePool",
        build=_on_integers("QLinearAveragePool", "x", "y", kernel_shape=[2, 2]),
        around=_QLINEAR_AROUND,
        note=_INTEGER_MEAN,
    ),
    Example(
        operator="QLinearConcat",
        build=_on_integers("QLinearConcat", "y", "x", "x", axis=1),
        around=_QLINEAR_AROUND,
        note=_REQUANTISED,
    ),
    Example(
        operator="QLinearLeakyRelu",
        build=_on_integers("QLinearLeakyRelu", "x", "y", alpha=0.1),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QLinearSigmoid",
        build=_on_integers("QLinearSigmoid", "x", "y"),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QLinearConv",
        build=_on_integers("QLinearConv", "x", "w", "y", domain=""),
        around=_QLINEAR_AROUND,
        note=_SUMS,
    ),
    Example(
        operator="QLinearGlobalAveragePool",
        build=_on_integers("QLinearGlobalAveragePool", "x", "y", channels_last=0),
        around=_QLINEAR_AROUND,
        note=_INTEGER_MEAN,
    ),
    Example(
        operator="QuantizeLinear",
        form="in a network of operators on integers",
        build=_on_integers("QLinearConv", "x", "w", "y", domain=""),
        around=("Conv", "Mul", "Requantise"),
    ),
    Example(
        operator="QLinearMatMul",
        build=_on_integers("QLinearMatMul", "x", "w", "y", domain=""),
        around=_QLINEAR_AROUND,
        note=_SUMS,
    ),
)
