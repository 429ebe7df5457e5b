# SPDX-License-Identifier: Apache-2.0
"""Networks as converters of TensorFlow Lite write them in ONNX: channels last, integers at both ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["TAILS", "of_bytes", "tflite"]

TAILS = ("flat", "pooled", "mean", "map")
"""How the last map is read: flattened, pooled, averaged by a sum over axes, or given as it is."""

_ENDS: Mapping[str, tuple[type[np.int8 | np.uint8], int, int]] = {
    "int8": (np.int8, TensorProto.INT8, 0),
    "uint8": (np.uint8, TensorProto.UINT8, 128),
}
"""Type, its number in ONNX, and what is added to the zero points of int8."""


@dataclass
class _Writer:
    """Writes quantised layers; what it writes are values and their scale."""

    kind: str
    b: ModelBuilder = field(default_factory=lambda: ModelBuilder((8, 8, 3), seed=2))

    def ends(self, scale: float, zero: int) -> list[str]:
        dtype, _, shift = _ENDS[self.kind]
        return [self.b.constant(scale), self.b.constant(zero + shift, dtype)]

    def quantised(self, x: str, scale: float, zero: int) -> tuple[str, np.float32]:
        given = self.ends(scale, zero)
        y = self.b.op("DequantizeLinear", self.b.op("QuantizeLinear", x, *given), *given)
        return y, np.float32(scale)

    def weighed(self, x: tuple[str, np.float32], shape: tuple[int, ...], **given: Any) -> str:
        """A convolution with a scale for each channel, or a MatMul with one; a bias of int32."""
        b, conv = self.b, len(shape) == 4
        rows = shape[0] if conv else shape[1]
        scale = np.float32(b.rng.uniform(0.005, 0.01, rows) if conv else 0.004)
        axis: dict[str, Any] = {"axis": 0} if conv else {}
        zeros = np.zeros(scale.shape)
        stored = b.constant(b.rng.integers(-127, 128, shape), np.int8)
        weight = b.op("DequantizeLinear", stored, b.constant(scale), b.constant(zeros, np.int8), **axis)
        held, unit = b.constant(b.rng.integers(-500, 500, rows), np.int32), b.constant(x[1] * scale)
        bias = b.op("DequantizeLinear", held, unit, b.constant(zeros, np.int32), **axis)
        if not conv:
            return b.op("Add", b.op("MatMul", x[0], weight), bias)
        return b.op("Conv", x[0], weight, bias, kernel_shape=list(shape[2:]), **given)


def tflite(tail: str = "flat", kind: str = "int8") -> onnx.ModelProto:
    """A network of a MobileNet's layers: every map is transposed where it is read and where it is written.

    The activation of a layer that ends at 6 is its quantiser's range. Input (8, 8, 3), five outputs.

    Parameters
    ----------
    tail : str
        One of `TAILS`.
    kind : str
        Type of all activations, ``int8`` or ``uint8``.
    """
    writer = _Writer(kind)
    b = writer.b

    def first(x: tuple[str, np.float32]) -> tuple[str, np.float32]:
        return b.op("Transpose", x[0], perm=[0, 3, 1, 2]), x[1]

    def conv(x: tuple[str, np.float32], shape: tuple[int, ...], **given: Any) -> str:
        return b.op("Transpose", writer.weighed(first(x), shape, **given), perm=[0, 2, 3, 1])

    x = b.op("DequantizeLinear", "x", *writer.ends(0.03, -5)), np.float32(0.03)
    skip = writer.quantised(conv(x, (8, 3, 3, 3), pads=[0, 0, 1, 1], strides=[2, 2]), 6 / 255, -128)
    y = writer.quantised(conv(skip, (8, 1, 3, 3), pads=[1, 1, 1, 1], group=8), 6 / 255, -128)
    y = writer.quantised(conv(y, (8, 8, 1, 1)), 0.05137, 3)
    y = writer.quantised(b.op("Add", skip[0], y[0]), 0.06271, -20)
    return of_bytes(b.model(_tail(writer, y, first(y)[0], tail)), kind)


def _tail(writer: _Writer, y: tuple[str, np.float32], turned: str, tail: str) -> str:
    """Return the integers of the output."""
    b = writer.b
    if tail == "map":
        return b.op("QuantizeLinear", y[0], *writer.ends(0.0731, 4))
    if tail == "mean":
        y = writer.quantised(b.op("ReduceMean", y[0], axes=[1, 2], keepdims=0), 0.05137, -20)
    elif tail == "pooled":
        y = writer.quantised(b.op("GlobalAveragePool", turned), 0.05137, -20)
    size = 128 if tail == "flat" else 8
    flat = b.op("Reshape", y[0], b.constant([-1, size], np.int64)), y[1]
    return b.op("QuantizeLinear", writer.weighed(flat, (size, 5)), *writer.ends(0.2, 7))


def of_bytes(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """Return a model whose input and output are of a type of integers, which it reads and writes."""
    model.graph.input[0].type.tensor_type.elem_type = _ENDS[kind][1]
    name = model.graph.output[0].name
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, _ENDS[kind][1], None))
    return model
