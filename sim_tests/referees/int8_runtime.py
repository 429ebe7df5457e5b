# SPDX-License-Identifier: Apache-2.0
"""The integers that onnxruntime computes for a quantised model, tensor by tensor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["Counts", "Integers", "Runtime"]

_ZERO_POINT = {
    "QGemm": 8,
    "QLinearAdd": 7,
    "QLinearAveragePool": 4,
    "QLinearConcat": 1,
    "QLinearConv": 7,
    "QLinearGlobalAveragePool": 4,
    "QLinearLeakyRelu": 4,
    "QLinearMatMul": 7,
    "QLinearMul": 7,
    "QLinearSigmoid": 4,
    "QLinearSoftmax": 4,
    "QuantizeLinear": 2,
}
"""Input of each operator that writes integers which is their zero point."""

Counts = NDArray[np.int64]


class Integers(Protocol):
    """All integers that something else computes for a model."""

    def __contains__(self, tensor: str) -> bool:
        """Tell whether a tensor holds integers that the model computes."""

    def counts(self, x: NDArray[np.float64], tensor: str) -> Counts:
        """Return integers less their zero point, for inputs (n, shape)."""


class Runtime:
    """A model in onnxruntime and all integers that it computes.

    Each tensor of integers is seen at the end of a model of its own, the part of the whole up to there.
    Further outputs would keep onnxruntime from joining the layers on either side of a quantiser, and it would
    sum real numbers there. What several layers of the whole read is read more than once in every part.

    Parameters
    ----------
    path : Path
        The model.
    optimised : bool
        Whether onnxruntime may change the graph first. It then joins quantised layers to operators on
        integers, for which it also rounds real biases.
    """

    def __init__(self, path: Path, *, optimised: bool = True) -> None:
        self._model = onnx.load(path)
        self._optimised = optimised
        graph = self._model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._ends: dict[str, tuple[str, str]] = {}
        self._scales: dict[str, np.float32] = {}
        self._cut: set[str] = set()
        values: dict[str, np.float32] = {}
        for node in graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in self._scales:
                values[node.output[0]] = self._scales[node.input[0]]
            if node.op_type in ("Clip", "Relu") and node.input[0] in values:
                self._cut.add(node.output[0])
                self._scales[node.output[0]] = values[node.output[0]] = values[node.input[0]]
            if node.op_type == "Clip" and node.input[0] in self._ends:
                self._ends[node.output[0]] = self._ends[node.input[0]]
                self._scales[node.output[0]] = self._scales[node.input[0]]
            index = _ZERO_POINT.get(node.op_type)
            if index is None or (node.op_type == "QuantizeLinear" and node.input[0] in constants):
                continue
            self._ends[node.output[0]] = node.input[index - 1], node.input[index]
            self._scales[node.output[0]] = np.float32(constants[node.input[index - 1]].reshape(-1)[0])
        given = next(value for value in graph.input if value.name not in constants)
        self._input = given.name
        self._kind = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
        self._sessions: dict[str, Any] = {}

    def __contains__(self, tensor: str) -> bool:
        """Tell whether a tensor holds integers that the model computes, or their values cut off at some."""
        return tensor in self._ends or tensor in self._cut

    def counts(self, x: NDArray[np.float64], tensor: str) -> Counts:
        """Return integers less their zero point, for inputs (n, shape)."""
        if tensor not in self._sessions:
            self._sessions[tensor] = self._session(tensor)
        session = self._sessions[tensor]
        size = session.get_inputs()[0].shape[0]
        parts = np.split(x, range(size, len(x), size)) if isinstance(size, int) else [x]
        value = np.concatenate(
            [session.run(None, {self._input: part.astype(self._kind)})[0] for part in parts]
        )
        return np.asarray(np.rint(value / self._scales[tensor]), np.int64)

    @staticmethod
    def _readers(tensor: str, nodes: Sequence[onnx.NodeProto]) -> int:
        """Return how many layers read a tensor; of several onnxruntime may join fewer to their quantisers."""
        readers = [node for node in nodes if tensor in node.input]
        values = [node.output[0] for node in readers if node.op_type == "DequantizeLinear"]
        return max(len(readers), sum(name in values for node in nodes for name in node.input))

    def _session(self, tensor: str) -> Any:
        import onnxruntime  # an extra of the tests

        part = onnx.ModelProto()
        part.CopyFrom(self._model)
        wanted, kept = {tensor}, []
        for node in reversed(part.graph.node):
            if wanted & set(node.output):
                wanted |= set(node.input)
                kept.append(node)
        made, whole = {name for node in kept for name in node.output}, self._model.graph.node
        lost = [t for t in self._ends if t in made and self._readers(t, kept) < 2 <= self._readers(t, whole)]
        seen, nodes = {"seen": tensor, **{f"again.{name}": name for name in lost}}, kept[::-1]
        for name, integers in seen.items():
            ends = () if integers in self._cut else self._ends[integers]
            wanted |= set(ends)
            kind = "DequantizeLinear" if ends else "Identity"
            nodes.append(onnx.helper.make_node(kind, [integers, *ends], [name]))
        outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in seen]
        constants = [kept for kept in self._model.graph.initializer if kept.name in wanted]
        inputs = [value for value in self._model.graph.input if value.name == self._input]
        graph = onnx.helper.make_graph(nodes, "part", inputs, outputs, constants)
        part.graph.CopyFrom(graph)
        options = onnxruntime.SessionOptions()
        if not self._optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
