# SPDX-License-Identifier: Apache-2.0
"""Random networks as other programs write them: in each notation of quantisation, with what exporters add.

Asymmetric pads, strides, dilations, groups, dead and always active channels, normalisations with negative
and zero scales, several readers of one activation, channels last, and many ways to write the same thing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_models import DOMAIN

__all__ = ["NOTATIONS", "Foreign", "foreign_model"]

NOTATIONS = ("chain", "round", "qdq", "qonnx")
"""The explicit chain with Floor, the same with Round and any scale, QuantizeLinear, and Quant."""

_FIRST_OPSET = {"chain": 9, "round": 11, "qdq": 13, "qonnx": 9}
_MODES = ("ROUND", "HALF_UP", "HALF_DOWN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_EVEN", "round")

Shape = tuple[int, ...]


class Foreign(ModelBuilder):
    """A builder that writes the same things in many ways."""

    def __init__(self, shape: Shape, *, seed: int, notation: str) -> None:
        opset = int(np.random.default_rng(seed).integers(_FIRST_OPSET[notation], 22))
        super().__init__(shape, seed=seed, opset=opset)
        self.notation = notation
        self.inputs = [self.input]

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def constant(self, values: ArrayLike, dtype: type[np.generic] = np.float32, name: str = "") -> str:
        """Store a constant as an initializer, as one that is also an input, or as a node."""
        kind = self.rng.random()
        if kind < 0.7 or name:
            name = super().constant(values, dtype, name)
            if kind > 0.6:
                tensor = self.initializers[-1]
                self.inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
            return name
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(values, dtype)))

    def idle(self, x: str) -> str:
        """Perhaps add a node that does nothing."""
        kind = self.pick("", "", "", "Identity", "Dropout", "Cast")
        if not kind:
            return x
        return self.op("Cast", x, to=TensorProto.FLOAT) if kind == "Cast" else self.op(kind, x)

    def weight(self, digits: NDArray[np.int8]) -> str:
        """Store ternary weights: as floats, as integers with a scale, or as floats behind a quantiser."""
        size, rest = len(digits), (1,) * (digits.ndim - 1)
        a = self.rng.uniform(0.05, 0.5, size if self.rng.random() < 0.6 else 1).astype(np.float32)
        if self.notation == "chain":
            a = np.exp2(np.rint(np.log2(a))).astype(np.float32)
        scales = np.broadcast_to(a, size).reshape(size, *rest)
        if self.notation == "qdq" and self.rng.random() < 0.7:
            zero = int(self.rng.integers(-3, 4))
            stored = self.constant(digits + zero, np.int8)
            if len(a) == 1:
                return self.op("DequantizeLinear", stored, self.constant(a[0]), self.constant(zero, np.int8))
            zeros = self.constant(np.full(size, zero), np.int8)
            return self.op("DequantizeLinear", stored, self.constant(a), zeros, axis=0)
        if self.notation == "qonnx" and self.rng.random() < 0.7:
            spread = self.rng.uniform(0.6, 1.4, digits.shape) * digits * scales
            attributes = {"signed": 1, "narrow": self.pick(0, 1), "rounding_mode": "ROUND"}
            inputs = [spread, scales if len(a) > 1 else a[0], 0.0, 2.0]
            names = [self.constant(value) for value in inputs]
            return self.op("Quant", *names, domain=DOMAIN, **attributes)
        return self.constant(digits * scales)

    def digits(self, *shape: int) -> NDArray[np.int8]:
        """Return random digits with a dead row and one whose weights are all positive."""
        digits = self.rng.integers(-1, 2, size=shape).astype(np.int8)
        if shape[0] > 3:
            digits[1], digits[2] = 0, 1
        return digits

    def activation(self, x: str, levels: int) -> str:
        """Add a quantised activation of so many levels."""
        rule: dict[str, Callable[[str, int], str]] = {
            "chain": self._floor,
            "round": self._round,
            "qdq": self._qdq,
            "qonnx": self._qonnx,
        }
        y = rule[self.notation](self.op("Relu", x) if self.rng.random() < 0.4 else x, levels)
        return self.idle(y)

    def _floor(self, x: str, levels: int) -> str:
        k = int(self.rng.integers(0, 3))
        return self.quantise(x, k, levels * 2.0**-k)

    def _round(self, x: str, levels: int) -> str:
        scale = float(np.float32(self.rng.uniform(0.2, 0.6)))
        x = self.op("Div", x, self.constant(scale))
        x = self.clip(x, 0.0, levels) if self.rng.random() < 0.5 else x
        x = self.op("Round", x)
        return self.op("Mul", self.clip(x, 0.0, levels), self.constant(scale))

    def _qdq(self, x: str, levels: int) -> str:
        scale = float(np.float32(self.rng.uniform(0.2, 0.6)))
        dtype, zero = self.pick((np.uint8, 0), (np.int8, -128), (np.int8, 0), (np.uint8, 7))
        limits = [self.constant(scale), self.constant(zero, dtype)]
        x = self.clip(x, 0.0, float(np.float32(levels) * np.float32(scale)))
        x = self.op("DequantizeLinear", self.op("QuantizeLinear", x, *limits), *limits)
        if self.rng.random() < 0.2:  # exporters repeat a quantiser
            x = self.op("DequantizeLinear", self.op("QuantizeLinear", x, *limits), *limits)
        return x

    def _qonnx(self, x: str, levels: int) -> str:
        bits, mode = {1: 1, 3: 2, 7: 3}[levels], self.pick(*_MODES)
        attributes = {"signed": 0, "narrow": 0, "rounding_mode": mode}
        if self.rng.random() < 0.3:
            x, bits, attributes = self.op("Relu", x), bits + 1, {**attributes, "signed": 1, "narrow": 1}
        names = [self.constant(value) for value in (self.rng.uniform(0.2, 0.6), 0.0, float(bits))]
        return self.op("Quant", x, *names, domain=DOMAIN, **attributes)

    def normalise(self, x: str, channels: int, *, last: bool = False) -> str:
        """Perhaps add what stands between weights and activation, with scales of both signs and zero."""
        kind = self.pick("", "norm", "affine", "bias", "negate")
        full = (channels,) if last else (channels, 1, 1)
        if kind == "norm" and not last:
            return self.norm(x, channels)
        if kind in {"norm", "affine"}:
            factor = self.rng.normal(0, 1, channels)
            factor[0] = 0.0
            x = self.op("Mul", x, self.constant(factor.reshape(full)))
        if kind == "negate":
            return self.op("Sub", self.constant(self.rng.normal(0.5, 0.5, full)), x)
        return x if not kind else self.op("Add", self.constant(self.rng.normal(0.3, 0.5, full)), x)

    def pad(self, x: str, pads: list[int]) -> str:
        full = [0, 0, *pads[:2], 0, 0, *pads[2:]]
        if self.opset < 11:
            return self.op("Pad", x, pads=full)
        return self.op("Pad", x, self.constant(full, np.int64))

    def convolution(self, x: str, channels: int, size: Shape) -> tuple[str, int]:
        """Add a convolution of channels x size; return its output and its channels."""
        groups = self.pick(1, 1, 2 if channels % 2 == 0 else 1, channels)
        outputs = groups * int(self.rng.integers(1, 4)) if groups > 1 else int(self.rng.integers(3, 7))
        kernel = [int(self.rng.integers(1, min(4, n + 1))) for n in size]
        attributes: dict[str, Any] = {"group": groups, "strides": [self.pick(1, 1, 2), self.pick(1, 1, 2)]}
        pads = [int(self.rng.integers(0, k)) for k in (*kernel, *kernel)]
        how = self.pick("pads", "node", "same", "dilated")
        if how == "node":
            x = self.pad(x, pads)
        elif how == "same":
            attributes["auto_pad"] = self.pick("SAME_UPPER", "SAME_LOWER")
        else:
            attributes["pads"] = pads
        if how == "dilated":
            attributes["dilations"] = [2 if 2 * k - 1 <= n else 1 for k, n in zip(kernel, size, strict=True)]
        inputs = [x, self.weight(self.digits(outputs, channels // groups, *kernel))]
        if self.rng.random() < 0.5:
            inputs.append(self.constant(self.rng.normal(0, 0.3, outputs)))
        return self.op("Conv", *inputs, **attributes), outputs

    def pool(self, x: str, size: Shape) -> str:
        kernel = [min(2, n) for n in size]
        if self.rng.random() < 0.3 and min(size) > 2:
            return self.op("AveragePool", x, kernel_shape=kernel, strides=kernel)
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [self.pick(1, k) for k in kernel]}
        if self.rng.random() < 0.3:
            attributes["pads"] = [int(self.rng.integers(0, k)) for k in (*kernel, *kernel)]
        return self.op("MaxPool", x, **attributes)

    def flat(self, x: str, size: int) -> str:
        """Make a map (N, C, H, W) of ``size`` elements flat."""
        kind = self.pick("flatten", "minus", "zero", "last", "shape")
        if kind == "last":
            x = self.op("Transpose", x, perm=[0, 2, 3, 1])
        if kind == "shape":
            batch = self.op("Gather", self.op("Shape", x), self.constant(0, np.int64), axis=0)
            batch = self.op("Reshape", batch, self.constant([1], np.int64))
            wanted = self.op("Concat", batch, self.constant([-1], np.int64), axis=0)
            return self.op("Reshape", x, wanted)
        if kind in {"minus", "zero"}:
            shape = [-1, size] if kind == "minus" else [0, -1]
            return self.op("Reshape", x, self.constant(shape, np.int64))
        return self.op("Flatten", x)

    def dense_ternary(self, x: str, features: int, outputs: int) -> str:
        """Add a ternary dense layer in one of the ways to write it."""
        kind = self.pick("gemm", "scaled", "matmul", "plain")
        if kind == "matmul":
            scale = self.rng.uniform(0.05, 0.3, outputs).astype(np.float32)
            weight = self.constant(self.digits(outputs, features).T * scale)
            return self.op("Add", self.op("MatMul", x, weight), self.constant(self.rng.normal(0, 1, outputs)))
        if kind == "plain":
            return self.op("Gemm", x, self.constant(self.digits(outputs, features).T))
        inputs = [
            x,
            self.weight(self.digits(outputs, features)),
            self.constant(self.rng.normal(size=outputs)),
        ]
        attributes = {"alpha": self.pick(0.5, -0.3), "beta": 1.5} if kind == "scaled" else {}
        return self.op("Gemm", *inputs, transB=1, **attributes)

    def build(self, output: str) -> onnx.ModelProto:
        model = self.model(output)
        del model.graph.input[:]
        model.graph.input.extend(self.inputs)
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        return model


def foreign_model(seed: int, notation: str) -> tuple[onnx.ModelProto, Shape]:
    """Return a random model and the shape of its input without the batch."""
    last = seed % 3 == 1
    shape = (7, 8, 2) if last else (2, 7, 8)
    b = Foreign(shape, seed=seed, notation=notation)
    levels = int(b.pick(1, 3, 7))
    x = b.idle("x")
    if last:
        x = b.op("Transpose", x, perm=[0, 3, 1, 2])
    channels = 2
    size: Shape = (7, 8)
    y = b.activation(x, levels)
    for _ in range(int(b.rng.integers(1, 4))):
        y, channels, size = _block(b, y, channels, size, levels)
    heads = [_head(b, y, channels, size, levels) for _ in range(b.pick(1, 1, 2))]
    out = heads[0] if len(heads) == 1 else b.op("Add", *heads)
    return b.build(b.op("Softmax", out, axis=1) if b.rng.random() < 0.3 else out), shape


def _block(b: Foreign, y: str, channels: int, size: Shape, levels: int) -> tuple[str, int, Shape]:
    """Add convolution, normalisation, activation and perhaps a pool, with channels first or last."""
    last = b.rng.random() < 0.3
    y, channels = b.convolution(y, channels, size)
    if last:
        y = b.op("Transpose", y, perm=[0, 2, 3, 1])
    y = b.activation(b.normalise(y, channels, last=last), levels)
    if last:
        y = b.op("Transpose", y, perm=[0, 3, 1, 2])
    size = _size(b, y)
    if min(size) > 1 and b.rng.random() < 0.4:
        y = b.pool(y, size)
        if b.nodes[-1].op_type == "AveragePool":
            y = b.activation(y, levels)
        size = _size(b, y)
    return y, channels, size


def _size(b: Foreign, y: str) -> Shape:
    """Return height and width of a map, by ONNX's own inference of shapes."""
    model = b.model(y)
    graph = onnx.shape_inference.infer_shapes(model).graph if b.notation != "qonnx" else _without_quant(model)
    return tuple(d.dim_value for d in graph.output[0].type.tensor_type.shape.dim[2:])


def _without_quant(model: onnx.ModelProto) -> onnx.GraphProto:
    for node in model.graph.node:
        if node.op_type == "Quant":
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.attribute[:]
    return onnx.shape_inference.infer_shapes(model).graph


def _head(b: Foreign, y: str, channels: int, size: Shape, levels: int) -> str:
    features = channels * int(np.prod(size))
    flat = b.flat(y, features)
    outputs = int(b.rng.integers(4, 7))
    y = b.activation(b.dense_ternary(flat, features, outputs), levels)
    return b.head(y, outputs)
