# SPDX-License-Identifier: Apache-2.0
"""One random network in three notations of quantisation, and a plain computation of its counts, for tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.codes.convert import convert
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["DOMAIN", "SHAPE", "Model", "Notation", "chain", "pixels", "qdq", "qonnx", "qonnx_quant"]

DOMAIN = "qonnx.custom_op.general"
SHAPE = (2, 7, 6)
LEVELS = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Notation:
    """How activations and weights are written, and what an activation does to one number."""

    activation: Callable[[ModelBuilder, str, float], str]
    weight: Callable[[ModelBuilder, NDArray[np.int8], NDArray[np.float32]], str]
    count: Callable[[float], int]


def _half_up(value: float) -> int:
    return int(np.floor(value + 0.5))


def _float_weight(b: ModelBuilder, digits: NDArray[np.int8], magnitude: NDArray[np.float32]) -> str:
    return b.constant(digits * magnitude.reshape((-1,) + (1,) * (digits.ndim - 1)))


def _chain_activation(b: ModelBuilder, x: str, scale: float) -> str:
    return b.quantise(x, int(-np.log2(scale)), LEVELS * scale)


def _qdq_activation(b: ModelBuilder, x: str, scale: float) -> str:
    limits = [b.constant(scale), b.constant(0, np.uint8)]
    clipped = b.clip(x, 0.0, float(np.float32(LEVELS) * np.float32(scale)))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", clipped, *limits), *limits)


def _qdq_weight(b: ModelBuilder, digits: NDArray[np.int8], magnitude: NDArray[np.float32]) -> str:
    zeros = np.zeros(len(magnitude))
    inputs = b.constant(digits, np.int8), b.constant(magnitude), b.constant(zeros, np.int8)
    return b.op("DequantizeLinear", *inputs, axis=0)


def qonnx_quant(
    b: ModelBuilder, x: str, scale: ArrayLike, bits: int, zero_point: ArrayLike = 0.0, **attributes: Any
) -> str:
    """Add a QONNX ``Quant``."""
    inputs = [b.constant(value) for value in (scale, zero_point, float(bits))]
    return b.op("Quant", x, *inputs, domain=DOMAIN, **attributes)


def _qonnx_activation(b: ModelBuilder, x: str, scale: float) -> str:
    return qonnx_quant(b, x, scale, 2, signed=0, narrow=0, rounding_mode="ROUND")


def _qonnx_weight(b: ModelBuilder, digits: NDArray[np.int8], magnitude: NDArray[np.float32]) -> str:
    shape = (-1,) + (1,) * (digits.ndim - 1)
    spread = b.rng.uniform(0.6, 1.4, size=digits.shape) * digits * magnitude.reshape(shape)
    return qonnx_quant(
        b, b.constant(spread), magnitude.reshape(shape), 2, signed=1, narrow=1, rounding_mode="ROUND"
    )


chain = Notation(activation=_chain_activation, weight=_float_weight, count=_half_up)
qdq = Notation(activation=_qdq_activation, weight=_qdq_weight, count=round)
qonnx = Notation(activation=_qonnx_activation, weight=_qonnx_weight, count=round)


def pixels(images: int = 6, step: float = 0.125, seed: int = 9) -> Floats:
    """Return images (n, *SHAPE) of multiples of ``step`` below and above every clip."""
    counts = np.random.default_rng(seed).integers(-8, 24, size=(images, *SHAPE))
    return np.asarray(counts * step)


class Model:
    """Parameters of: quantise, grouped convolution, norm, quantise, then two readers and two heads.

    The grouped convolution has asymmetric pads, strides and a dead channel, its norm scales of both signs and
    a zero. One reader is a convolution, the other a max-pool and a dense layer with a bias.
    """

    def __init__(self, *, scale: float, dyadic: bool, per_channel: bool = True, seed: int = 0) -> None:
        self.scale, rng = float(np.float32(scale)), np.random.default_rng(seed)
        self.digits = {
            name: rng.integers(-1, 2, size=shape).astype(np.int8)
            for name, shape in (("a", (6, 1, 3, 2)), ("b", (4, 6, 2, 2)), ("c", (5, 6 * 3 * 3)))
        }
        self.digits["a"][3] = 0
        self.digits["c"][rng.random((5, 54)) < 0.85] = 0
        self.magnitude: dict[str, NDArray[np.float32]] = {}
        for name, digits in self.digits.items():
            values = 2.0 ** rng.integers(-2, 0, len(digits)) if dyadic else rng.uniform(0.1, 0.6, len(digits))
            self.magnitude[name] = (values if per_channel else values[:1].repeat(len(digits))).astype(
                np.float32
            )
        signs = np.array([1.0, -1.0, 0.0, 1.0, 1.0, -0.5])
        self.factor = (signs if dyadic else signs * rng.uniform(0.5, 1.5, 6)).astype(np.float32)
        self.shift = (rng.integers(-2, 6, 6) / 4 if dyadic else rng.normal(0.4, 0.5, 6)).astype(np.float32)
        self.bias = (rng.integers(-4, 5, 5) / 8 if dyadic else rng.normal(0, 0.5, 5)).astype(np.float32)
        self.ties = 0

    def spiking(self, notation: Notation) -> SpikingNetwork:
        """Write the network in a notation, read it, and convert it."""
        b, scale = ModelBuilder(SHAPE), self.scale

        def conv(x: str, name: str, **attributes: Any) -> str:
            weight = notation.weight(b, self.digits[name], self.magnitude[name])
            return b.op("Conv", x, weight, name=name, **attributes)

        def activation(x: str) -> str:
            return notation.activation(b, x, scale)

        y = conv(activation("x"), "a", group=2, pads=[2, 0, 1, 1], strides=[2, 1])
        y = b.op("Mul", y, b.constant(self.factor.reshape(6, 1, 1)))
        y = activation(b.op("Add", y, b.constant(self.shift.reshape(6, 1, 1))))
        left = b.op("Flatten", activation(conv(y, "b")))
        flat = b.op("Flatten", b.op("MaxPool", y, kernel_shape=[2, 2], strides=[1, 2]))
        weight = notation.weight(b, self.digits["c"], self.magnitude["c"])
        right = activation(b.op("Gemm", flat, weight, b.constant(self.bias), name="c", transB=1))
        return convert(b.network(b.op("Add", b.head(left, 4 * 3 * 5), b.head(right, 5))))

    def counts(self, notation: Notation, x: Floats) -> dict[str, NDArray[np.int64]]:
        """Return the counts of the input and of every layer, computed one product and one sum at a time."""
        start = self._activation(notation, x)
        sums = np.zeros((len(x), 6, 4, 6))
        weight = {
            name: digits * self.magnitude[name].astype(np.float64).reshape((-1,) + (1,) * (digits.ndim - 1))
            for name, digits in self.digits.items()
        }
        padded = np.pad(start * self.scale, ((0, 0), (0, 0), (2, 1), (0, 1)))
        for out, row, column, i, j in np.ndindex(6, 4, 6, 3, 2):
            sums[:, out, row, column] += (
                weight["a"][out, 0, i, j] * padded[:, out // 3, 2 * row + i, column + j]
            )
        factor, shift = (part.astype(np.float64).reshape(1, 6, 1, 1) for part in (self.factor, self.shift))
        first = self._activation(notation, sums * factor + shift)
        values = first * self.scale
        left = np.zeros((len(x), 4, 3, 5))
        for out, row, column, channel, i, j in np.ndindex(4, 3, 5, 6, 2, 2):
            left[:, out, row, column] += (
                weight["b"][out, channel, i, j] * values[:, channel, row + i, column + j]
            )
        pooled = np.zeros((len(x), 6, 3, 3))
        for row, column in np.ndindex(3, 3):
            window = values[:, :, row : row + 2, 2 * column : 2 * column + 2]
            pooled[:, :, row, column] = window.max(axis=(2, 3))
        flat, right = pooled.reshape(len(x), -1), np.zeros((len(x), 5))
        for out, index in np.ndindex(5, flat.shape[1]):
            right[:, out] += weight["c"][out, index] * flat[:, index]
        right += self.bias.astype(np.float64)
        return {
            "input": start,
            "a": first,
            "b": self._activation(notation, left),
            "c": self._activation(notation, right),
        }

    def _activation(self, notation: Notation, values: Floats) -> NDArray[np.int64]:
        result = np.zeros(values.shape, np.int64)
        for at in np.ndindex(values.shape):
            exact = float(values[at]) / self.scale
            self.ties += exact % 1 == 0.5 and 0 < exact < LEVELS
            result[at] = min(max(notation.count(exact), 0), LEVELS)
        return result

    def assert_equal(self, notation: Notation, x: Floats) -> None:
        """Compare every count of the converted network with those computed here."""
        spiking, expected = self.spiking(notation), self.counts(notation, x)
        counts = simulate(spiking, encode(spiking, x))
        assert set(counts) == set(expected)
        assert all(layer.exhaustive for layer in spiking.layers)
        for name, values in expected.items():
            assert (counts[name] == values).all(), name
            assert len(np.unique(values)) > 1, name
        assert set(np.unique(expected["a"])) == set(range(LEVELS + 1))
