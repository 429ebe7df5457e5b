# SPDX-License-Identifier: Apache-2.0
"""Float models, quantised to int8 by onnxruntime in both of its formats."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["FORMS", "inception", "leaky", "plain", "quantised", "residual"]

FORMS = [
    (form, signed, per_channel)
    for form in ("QDQ", "QOperator")
    for signed in (0, 1)
    for per_channel in (0, 1)
]
"""Format, whether activations are int8, and whether weights have a scale per channel."""


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


def leaky(seed: int = 0) -> onnx.ModelProto:
    """A LeakyRelu, a Sigmoid and a bias of its own; input (2, 6, 6)."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.op("LeakyRelu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), name="one"), alpha=0.1)
    y = b.op("Sigmoid", b.conv(y, b.rng.normal(size=(4, 4, 3, 3)), name="two"))
    y = b.op("MatMul", b.op("Flatten", y), b.constant(b.rng.normal(size=(16, 5))), name="fc")
    return b.model(b.op("Add", y, b.constant(b.rng.normal(size=5)), name="bias"))


class _Reader:
    """Gives samples to onnxruntime's calibration, one by one."""

    def __init__(self, samples: NDArray[np.float32], name: str) -> None:
        self._samples: Iterator[NDArray[np.float32]] = iter(samples)
        self._name = name

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next sample as a batch, or None."""
        sample = next(self._samples, None)
        return None if sample is None else {self._name: sample[None]}


def quantised(
    model: onnx.ModelProto, samples: NDArray[np.float32], path: Path, form: tuple[str, int, int]
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
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    name, signed, per_channel = form
    real = path.with_suffix(".float.onnx")
    onnx.save(model, real)
    quantize_static(
        real,
        path,
        _Reader(samples, model.graph.input[0].name),
        quant_format=QuantFormat[name],
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=bool(per_channel),
    )
    return path
