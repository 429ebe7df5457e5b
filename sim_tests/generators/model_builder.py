# SPDX-License-Identifier: Apache-2.0
"""Build small ONNX models for tests."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network

__all__ = ["ModelBuilder", "relu"]


class ModelBuilder:
    """Collect nodes and constants; every method that adds a node returns the name of its output."""

    def __init__(self, shape: tuple[int, ...], *, seed: int = 0, opset: int = 13) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])

    def constant(self, values: ArrayLike, dtype: type[np.generic] = np.float32, name: str = "") -> str:
        tensor = np.asarray(values, dtype=dtype)
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(tensor, name))
        return name

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> str:
        index = len(self.nodes)
        names = [f"t{index}" + (f"_{i}" if i else "") for i in range(outputs)]
        name = name or f"{kind.lower()}{index}"
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names[0]

    def quantise(self, x: str, k: int = 1, bound: float = 2.0) -> str:
        x = self.op("Add", self.op("Mul", x, self.constant(2.0**k)), self.constant(0.5))
        x = self.clip(self.op("Floor", x), 0.0, bound * 2**k)
        return self.op("Mul", x, self.constant(2.0**-k))

    def clip(self, x: str, low: float, high: float) -> str:
        if self.opset < 11:
            return self.op("Clip", x, min=low, max=high)
        return self.op("Clip", x, self.constant(low), self.constant(high))

    def ternary(self, *shape: int, per_channel: bool = True) -> NDArray[np.float32]:
        digits = self.rng.integers(-1, 2, size=shape)
        magnitude = self.rng.uniform(
            0.05, 0.5, size=(shape[0] if per_channel else 1, *[1] * (len(shape) - 1))
        )
        return (digits * magnitude.astype(np.float32)).astype(np.float32)

    def norm(self, x: str, channels: int) -> str:
        """Batch normalisation with scales of both signs and one of zero."""
        scale = self.rng.normal(0.0, 1.0, channels)
        if channels > 2:
            scale[1], scale[2] = 0.0, -abs(scale[2])
        values = [scale, self.rng.normal(0.6, 0.5, channels), self.rng.normal(0, 0.5, channels)]
        values.append(self.rng.uniform(0.2, 2.0, channels))
        return self.op("BatchNormalization", x, *(self.constant(v) for v in values), epsilon=1e-3)

    def conv(self, x: str, weight: ArrayLike, bias: ArrayLike | None = None, **attributes: Any) -> str:
        inputs = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.op("Conv", *inputs, **attributes)

    def dense(self, x: str, weight: ArrayLike, bias: ArrayLike | None = None, **attributes: Any) -> str:
        inputs = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.op("Gemm", *inputs, transB=1, **attributes)

    def head(self, x: str, features: int, classes: int = 3) -> str:
        """A float dense layer for the decoder."""
        return self.dense(x, self.rng.normal(size=(classes, features)), self.rng.normal(size=classes))

    def model(self, *outputs: str) -> onnx.ModelProto:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", [self.input], values, self.initializers)
        versions = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)

    def network(self, output: str) -> Network:
        return network_from_onnx(self.model(output), name="test")


def relu() -> onnx.ModelProto:
    """The smallest model: two features through a Relu."""
    b = ModelBuilder((2,))
    return b.model(b.op("Relu", "x"))
