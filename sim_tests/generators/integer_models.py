# SPDX-License-Identifier: Apache-2.0
"""Float models, quantised to int8 by onnxruntime in both of its formats."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sim_tests.generators.model_builder import ModelBuilder

__all__ = [
    "FORMS",
    "FURTHER",
    "Reader",
    "between_transposes",
    "bordered",
    "branches",
    "brevitas",
    "channels_last",
    "closing",
    "gated",
    "inception",
    "leaky",
    "padded",
    "plain",
    "product",
    "quantised",
    "residual",
    "sums",
    "swish",
]

FORMS = [
    (form, signed, per_channel)
    for form in ("QDQ", "QOperator")
    for signed in (0, 1)
    for per_channel in (0, 1)
]
"""Format, whether activations are int8, and whether weights have a scale per channel."""

FURTHER: Mapping[str, Mapping[str, bool]] = {
    "weights": {"AddQDQPairToWeight": True},
    "bias": {"QuantizeBias": False},
}
"""Options of its quantiser: weights stay float behind a quantiser of their own, or biases stay float."""


def plain(seed: int = 0) -> onnx.ModelProto:
    """A convolution, a max-pool, a depthwise convolution and two dense layers; input (2, 8, 8)."""
    b = ModelBuilder((2, 8, 8), seed=seed)
    y = b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), b.rng.normal(size=4), pads=[1, 1, 1, 1], name="first")
    y = b.op("MaxPool", b.op("Relu", y), kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("Relu", b.conv(y, b.rng.normal(size=(4, 1, 3, 3)), pads=[1, 1, 1, 1], group=4, name="depth"))
    y = b.op(
        "Relu", b.dense(b.op("Flatten", y), b.rng.normal(size=(12, 64)), b.rng.normal(size=12), name="fc")
    )
    return b.model(b.dense(y, b.rng.normal(size=(5, 12)), b.rng.normal(size=5), name="vote"))


def residual(seed: int = 0) -> onnx.ModelProto:
    """A block with a skip connection, a global average and a dense layer; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    skip = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), pads=[1, 1, 1, 1], name="stem"))
    y = b.op("Relu", b.conv(skip, b.rng.normal(size=(4, 4, 3, 3)), pads=[1, 1, 1, 1], name="one"))
    y = b.conv(y, 0.3 * b.rng.normal(size=(4, 4, 3, 3)), pads=[1, 1, 1, 1], name="two")
    y = b.op("Relu", b.op("Add", y, skip, name="join"))
    y = b.op("Flatten", b.op("GlobalAveragePool", y, name="mean"))
    return b.model(b.dense(y, b.rng.normal(size=(5, 4)), name="vote"))


def inception(seed: int = 0) -> onnx.ModelProto:
    """Two branches that are joined, and a clipped layer behind them; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    wide = b.op("Relu", b.conv("x", b.rng.normal(size=(3, 2, 3, 3)), pads=[1, 1, 1, 1], name="wide"))
    narrow = b.op("Relu", b.conv("x", 3 * b.rng.normal(size=(2, 2, 1, 1)), name="narrow"))
    y = b.conv(
        b.op("Concat", wide, narrow, axis=1, name="join"), b.rng.normal(size=(4, 5, 3, 3)), name="last"
    )
    y = b.op("Flatten", b.clip(y, 0.0, 6.0))
    return b.model(b.op("MatMul", y, b.constant(b.rng.normal(size=(64, 5))), name="fc"))


def branches(seed: int = 0) -> onnx.ModelProto:
    """A layer, a convolution of it and a max-pool of it that are joined, a dense layer; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    stem = b.op("Relu", b.conv("x", b.rng.normal(size=(3, 2, 3, 3)), pads=[1, 1, 1, 1], name="stem"))
    wide = b.op("Relu", b.conv(stem, b.rng.normal(size=(2, 3, 3, 3)), pads=[1, 1, 1, 1], name="wide"))
    pooled = b.op("MaxPool", stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], name="pool")
    y = b.op("Flatten", b.op("Concat", wide, pooled, axis=1, name="join"))
    return b.model(b.dense(y, b.rng.normal(size=(5, 180)), name="vote"))


def bordered(seed: int = 0) -> onnx.ModelProto:
    """A mean over windows that cross the border, without its pads, and a dense layer; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one"))
    y = b.op("AveragePool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], name="mean")
    return b.model(b.dense(b.op("Flatten", y), b.rng.normal(size=(5, 16)), name="vote"))


def channels_last(seed: int = 0) -> onnx.ModelProto:
    """A map whose channels are its last axis, pooled and put back in that order; input (6, 6, 2)."""
    b = ModelBuilder((6, 6, 2), seed=seed)
    y = b.op("Transpose", "x", perm=[0, 3, 1, 2])
    y = b.op("Relu", b.conv(y, b.rng.normal(size=(4, 2, 3, 3)), b.rng.normal(size=4), name="one"))
    y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], name="pool")
    y = b.op("Reshape", b.op("Transpose", y, perm=[0, 2, 3, 1]), b.constant([-1, 16], np.int64))
    return b.model(b.dense(y, b.rng.normal(size=(5, 16)), b.rng.normal(size=5), name="vote"))


def between_transposes(seed: int = 0, *, pooled: bool = False) -> onnx.ModelProto:
    """A residual sum of maps with their channels last, every layer between two transposes; input (6, 6, 2).

    Parameters
    ----------
    seed : int
        Of the weights.
    pooled : bool
        Whether the input is pooled first.
    """
    b = ModelBuilder((6, 6, 2), seed=seed)
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}

    def first(y: str) -> str:
        return b.op("Transpose", y, perm=[0, 3, 1, 2])

    def layer(y: str, inputs: int, name: str) -> str:
        y = b.conv(y, b.rng.normal(size=(4, inputs, 3, 3)), b.rng.normal(size=4), pads=[1] * 4, name=name)
        return b.op("Transpose", y, perm=[0, 2, 3, 1])

    x = b.op("MaxPool", first("x"), **pool) if pooled else first("x")
    skip = b.op("Relu", layer(x, 2, "one"))
    y = b.op("Relu", b.op("Add", layer(first(skip), 4, "two"), skip, name="join"))
    if not pooled:
        y = b.op("Transpose", b.op("MaxPool", first(y), **pool), perm=[0, 2, 3, 1])
    y = b.op("Reshape", y, b.constant([-1, 36], np.int64))
    return b.model(b.dense(y, b.rng.normal(size=(5, 36)), b.rng.normal(size=5), name="vote"))


def gated(seed: int = 0) -> onnx.ModelProto:
    """Channels that are multiplied by a function of their means, and a dense layer; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="stem"))
    gate = b.op("GlobalAveragePool", y, name="mean")
    gate = b.op("Sigmoid", b.conv(gate, b.rng.normal(size=(4, 4, 1, 1)), name="squeeze"))
    y = b.op("Flatten", b.op("Mul", y, gate, name="gate"))
    return b.model(b.dense(y, b.rng.normal(size=(40, 64)), name="vote"))


def leaky(seed: int = 0) -> onnx.ModelProto:
    """A LeakyRelu, a Sigmoid and a bias of its own; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.op("LeakyRelu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one"), alpha=0.1)
    y = b.op("Sigmoid", b.conv(y, b.rng.normal(size=(4, 4, 3, 3)), name="two"))
    y = b.op("MatMul", b.op("Flatten", y), b.constant(b.rng.normal(size=(16, 5))), name="fc")
    return b.model(b.op("Add", y, b.constant(b.rng.normal(size=5)), name="bias"))


def swish(seed: int = 0) -> onnx.ModelProto:
    """Two HardSwish, pooled before a dense layer's quantiser; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed, opset=14)
    y = b.op("HardSwish", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one"))
    y = b.op("HardSwish", b.conv(y, b.rng.normal(size=(4, 1, 1, 1)), group=4, name="two"))
    y = b.op("Flatten", b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], name="pool"))
    return b.model(b.dense(y, b.rng.normal(size=(5, 16)), b.rng.normal(size=5), name="vote"))


def padded(seed: int = 0) -> onnx.ModelProto:
    """Zeros around a map of integers, a mean over it and a dense layer; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one"))
    y = b.op("Pad", y, b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    y = b.op("Relu", b.conv(y, b.rng.normal(size=(4, 4, 3, 3)), name="two"))
    y = b.op("ReduceMean", y, axes=[2, 3], keepdims=0)
    return b.model(b.dense(y, b.rng.normal(size=(5, 4)), name="vote"))


def product(seed: int = 0) -> onnx.ModelProto:
    """A convolution, its channels multiplied by constants, and a dense layer; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one")
    y = b.op("Mul", y, b.constant(np.abs(b.rng.normal(size=(1, 4, 1, 1)))), name="times")
    return b.model(b.dense(b.op("Flatten", b.op("Relu", y)), b.rng.normal(size=(5, 64)), name="vote"))


def closing(seed: int = 0) -> onnx.ModelProto:
    """A convolution and a dense layer whose classes become shares; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one"))
    y = b.dense(b.op("Flatten", y), b.rng.normal(size=(5, 64)), b.rng.normal(size=5), name="vote")
    return b.model(b.op("Softmax", y, axis=1))


def sums(seed: int = 0) -> onnx.ModelProto:
    """Sums of integers that a Cast and real factors turn into real numbers; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    zero, none = b.constant(100, np.uint8), b.constant(0, np.int8)
    y = b.op("QuantizeLinear", "x", b.constant(0.03), zero)
    weight = b.constant(b.rng.integers(-128, 128, (4, 2, 3, 3)), np.int8)
    y = b.op("Cast", b.op("ConvInteger", y, weight, zero, none), to=1)
    y = b.op("Add", b.op("Mul", y, b.constant(0.0005)), b.constant(b.rng.normal(size=(1, 4, 1, 1))))
    y = b.op("Flatten", b.op("QuantizeLinear", b.op("Relu", y), b.constant(0.05), b.constant(0, np.uint8)))
    weight = b.constant(b.rng.integers(0, 256, (64, 5)), np.uint8)
    y = b.op("MatMulInteger", y, weight, b.constant(0, np.uint8), b.constant([128, 3, 9, 120, 80], np.uint8))
    y = b.op("Mul", b.op("Cast", y, to=1), b.constant([0.0001, 0.0002, 0.0003, 0.0001, 0.0005]))
    ends = b.constant(0.2), b.constant(7, np.int8)
    return b.model(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends), *ends))


def brevitas(*, bits: int = 8, per_channel: bool = False, whole_bias: bool = False) -> onnx.ModelProto:
    """A residual network as Brevitas exports it to QCDQ: the output is not quantised; input (2, 6, 6).

    Parameters
    ----------
    bits : int
        Of a weight, which is clipped to the narrow range.
    per_channel : bool
        Whether every output channel has a scale of its own.
    whole_bias : bool
        Whether biases are int32 in the units of the sums, else they are real.
    """
    b = ModelBuilder((2, 6, 6), seed=3)

    def act(x: str, scale: float, kind: type = np.uint8) -> tuple[str, np.float32]:
        ends = [b.constant(np.float32(scale)), b.constant(0, kind)]
        return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *ends), *ends), np.float32(scale)

    def layer(x: tuple[str, np.float32], shape: tuple[int, ...], name: str) -> str:
        most = 2 ** (bits - 1) - 1
        size = (shape[0],) if per_channel else ()
        scale = np.asarray(b.rng.uniform(0.5, 1.0, size) * 0.1 * 127 / most, np.float32)
        ends = [b.constant(scale), b.constant(np.zeros(size), np.int8)]
        axis: dict[str, Any] = {"axis": 0} if per_channel else {}
        weight = b.op("QuantizeLinear", b.constant(3 * b.rng.normal(size=shape)), *ends, **axis)
        weight = b.op("Clip", weight, b.constant(-most, np.int8), b.constant(most, np.int8))
        bias = b.rng.normal(size=shape[0])
        given = b.constant(bias)
        if whole_bias:
            unit = np.asarray(x[1] * scale, np.float32)
            given = b.constant(np.rint(bias / unit), np.int32)
            given = b.op(
                "DequantizeLinear", given, b.constant(unit), b.constant(np.zeros(size), np.int32), **axis
            )
        weight = b.op("DequantizeLinear", weight, *ends, **axis)
        if len(shape) == 2:
            return b.op("Gemm", x[0], weight, given, transB=1, name=name)
        return b.op("Conv", x[0], weight, given, pads=[1, 1, 1, 1], name=name)

    x = act("x", 0.03, np.int8)
    skip = act(b.op("Relu", layer(x, (4, 2, 3, 3), "stem")), 0.05)
    y = act(b.op("Relu", layer(skip, (4, 4, 3, 3), "one")), 0.1)
    shared = act(layer(y, (4, 4, 3, 3), "two"), 0.21, np.int8), act(skip[0], 0.21, np.int8)
    y = act(b.op("Relu", b.op("Add", shared[0][0], shared[1][0], name="join")), 0.19)
    y = act(b.op("GlobalAveragePool", y[0], name="mean"), 0.11)
    return b.model(layer((b.op("Flatten", y[0]), y[1]), (5, 4), "vote"))


class Reader:
    """Gives samples to onnxruntime's calibration, one by one."""

    def __init__(self, samples: NDArray[np.float32], name: str) -> None:
        self._samples: Iterator[NDArray[np.float32]] = iter(samples)
        self._name = name

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next sample as a batch, or None."""
        sample = next(self._samples, None)
        return None if sample is None else {self._name: sample[None]}


def quantised(
    model: onnx.ModelProto,
    samples: NDArray[np.float32],
    path: Path,
    form: tuple[str, int, int],
    options: Mapping[str, object] = MappingProxyType({}),
    *,
    exclude: Sequence[str] = (),
) -> Path:
    """Quantise a model by onnxruntime's ``quantize_static``; return the path of the result.

    Parameters
    ----------
    model : ModelProto
        The float model.
    samples : float32 (n, input shape)
        What its ranges are chosen on.
    path : Path
        Where it is written; the float model stands beside it.
    form : one of `FORMS`
        How it is quantised.
    options : mapping
        Further options of the quantiser, such as those of `FURTHER`.
    exclude : sequence of str
        Nodes that stay float.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    name, signed, per_channel = form
    real = path.with_suffix(".float.onnx")
    onnx.save(model, real)
    quantize_static(
        real,
        path,
        Reader(samples, model.graph.input[0].name),
        quant_format=QuantFormat[name],
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=bool(per_channel),
        nodes_to_exclude=list(exclude),
        extra_options=dict(options),
    )
    return path
