# SPDX-License-Identifier: Apache-2.0
"""Write what onnxruntime's optimiser joins as the layers and functions that it joined.

Their meaning is that of onnxruntime's docs/ContribOperators.md, where `FusedConv` and the others stand in
its domain com.microsoft.
"""

from collections.abc import Callable, Mapping

import numpy as np

from mapping.model.importers.onnx_writing import Writer

__all__ = ["DOMAIN", "FUSED"]

DOMAIN = "com.microsoft"
"""Domain of onnxruntime's own operators."""

_QUICK = 1.702
"""Default of the factor inside the sigmoid of a ``QuickGelu``."""

_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_PRODUCT = ("alpha", "beta", "transA", "transB")


def _activated(writer: Writer, tensor: str, given: object, parameters: object) -> None:
    """Write the function behind a layer by its name, with its one or two parameters."""
    kind = given.decode("ascii", "replace") if isinstance(given, bytes) else ""
    numbers = [float(number) for number in parameters] if isinstance(parameters, list | tuple) else []
    if kind == "Clip" and len(numbers) == 2:
        ends = [writer.constant(np.array(n, np.float32), f"end{i}") for i, n in enumerate(numbers)]
        clip = {"min": numbers[0], "max": numbers[1]} if writer.opset < _ENDS_GIVEN else {}
        writer.op(kind, tensor, *(() if clip else ends), output=writer.result(), **clip)
    elif kind in _ACTIVATIONS and len(numbers) <= len(_ACTIVATIONS[kind]):
        named = dict(zip(_ACTIVATIONS[kind], numbers, strict=False))
        writer.op(kind, tensor, output=writer.result(), **named)
    else:
        raise writer.bad(
            f"has the activation {kind!r} with {len(numbers)} parameters, which is not known; optimise the "
            "model without this fusion, or export it without optimising it"
        )


_ENDS_GIVEN = 11
"""Operator set from which a ``Clip`` reads its ends as inputs."""

_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}
"""Functions that may be joined to a layer, and their parameters."""


def _conv(writer: Writer) -> None:
    """A convolution, perhaps a sum with another tensor, and a function."""
    x, weight, *rest = writer.node.input
    bias = rest[:1] if rest and rest[0] else []
    window = {key: value for key, value in writer.given.items() if key in _WINDOW}
    tensor = writer.op("Conv", x, weight, *bias, **window)
    if len(rest) > 1:
        tensor = writer.op("Add", tensor, rest[1])
    _activated(writer, tensor, writer.given.get("activation"), writer.given.get("activation_params"))


def _gemm(writer: Writer) -> None:
    product = {key: value for key, value in writer.given.items() if key in _PRODUCT}
    tensor = writer.op("Gemm", *writer.node.input, **product)
    keys = [f"activation_{key}" for key in ("alpha", "beta")]
    given = [writer.given[key] for key in keys if key in writer.given]
    _activated(writer, tensor, writer.given.get("activation"), given)


def _matmul(writer: Writer) -> None:
    """A product with a matrix, which may be transposed, and with a number."""
    if len(writer.node.input) != 2 or any(writer.given.get(key) for key in ("transA", "transBatchA")):
        raise writer.bad("transposes its first input, which mixes samples; export it without optimising it")
    first, second = writer.node.input
    if writer.given.get("transB"):
        second = writer.op("Transpose", second)
    alpha = float(writer.given.get("alpha", 1.0))
    if alpha == 1.0:
        writer.op("MatMul", first, second, output=writer.result())
        return
    factor = writer.constant(np.array(alpha, np.float32), "alpha")
    writer.op("Mul", writer.op("MatMul", first, second), factor, output=writer.result())


def _gelu(writer: Writer) -> None:
    writer.op("Gelu", writer.source(), output=writer.result())


def _bias_gelu(writer: Writer) -> None:
    writer.op("Gelu", writer.op("Add", *writer.node.input), output=writer.result())


def _fast_gelu(writer: Writer) -> None:
    x, *bias = [name for name in writer.node.input if name]
    tensor = writer.op("Add", x, *bias) if bias else x
    writer.op("Gelu", tensor, output=writer.result(), approximate="tanh")


def _quick_gelu(writer: Writer) -> None:
    alpha = float(writer.given.get("alpha", _QUICK))
    writer.op("Swish", writer.source(), output=writer.result(), alpha=alpha)


FUSED: Mapping[str, Callable[[Writer], None]] = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
}
"""What is written in the place of an operator of onnxruntime."""
