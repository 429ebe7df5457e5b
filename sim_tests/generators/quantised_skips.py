# SPDX-License-Identifier: Apache-2.0
"""Quantise float models as TensorRT reads them: inputs of layers, and of a residual sum the skip alone.

Activations are int8 with the zero point 0 and one scale, the largest value seen by 127; weights have a scale
for each output channel, biases are real. What a layer gives is not quantised before it is added.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["skip_quantised"]

_LAYERS = ("Conv", "Gemm")
_READ = (*_LAYERS, "GlobalAveragePool")
"""Operators whose input is quantised."""


def skip_quantised(model: onnx.ModelProto, samples: NDArray[np.float32], path: Path) -> Path:
    """Quantise a float model, ranges from samples (n, input shape); write it to a path and return that."""
    quantiser = _Quantiser(model, samples)
    nodes = [made for node in model.graph.node for made in quantiser.nodes(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(quantiser.added)
    onnx.save(model, path)
    return path


class _Quantiser:
    """Rewrites one node after the other; constants that are added lie in ``added``."""

    def __init__(self, model: onnx.ModelProto, samples: NDArray[np.float32]) -> None:
        graph = model.graph
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._layers = {node.output[0] for node in graph.node if node.op_type in _LAYERS}
        self._largest = _largest_of(model, samples)
        self._done: set[str] = set()
        self.added: list[onnx.TensorProto] = []

    def nodes(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return a node behind the quantisers of its inputs that are not there yet."""
        made: list[onnx.NodeProto] = []
        new = onnx.NodeProto()
        new.CopyFrom(node)
        if node.op_type in _READ:
            new.input[0] = self._activation(node.input[0], made)
        if node.op_type in _LAYERS:
            new.input[1] = self._weights(node, made)
        elif node.op_type == "Add" and not set(node.input) & self._constants.keys():
            skip = max((0, 1), key=lambda index: (node.input[index] not in self._layers, index))
            new.input[skip] = self._activation(node.input[skip], made)
        return [*made, new]

    def _activation(self, tensor: str, made: list[onnx.NodeProto]) -> str:
        scale = np.asarray(self._largest[tensor] / 127, np.float32)
        return self._both(tensor, scale, made)

    def _weights(self, node: onnx.NodeProto, made: list[onnx.NodeProto]) -> str:
        name, weight = node.input[1], self._constants[node.input[1]]
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or turned else 1
        rows = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).max(axis=1)
        return self._both(name, (rows / 127).astype(np.float32), made, axis=axis)

    def _both(self, tensor: str, scale: NDArray[np.float32], made: list[onnx.NodeProto], **more: Any) -> str:
        """Quantise and dequantise a tensor, once; return the name of the result."""
        result, ends = f"{tensor}_dequantised", [f"{tensor}_step", f"{tensor}_zero"]
        if tensor not in self._done:
            self._done.add(tensor)
            values = scale, np.zeros(scale.shape, np.int8)
            self.added += [
                numpy_helper.from_array(np.asarray(v), name) for v, name in zip(values, ends, strict=True)
            ]
            held = f"{tensor}_quantised"
            made.append(helper.make_node("QuantizeLinear", [tensor, *ends], [held], **more))
            made.append(helper.make_node("DequantizeLinear", [held, *ends], [result], **more))
        return result


def _largest_of(model: onnx.ModelProto, samples: NDArray[np.float32]) -> dict[str, float]:
    """Return the largest magnitude of every tensor on samples."""
    import onnxruntime  # an extra of the tests

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    names = [name for node in model.graph.node for name in node.output]
    seen.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    source, size = session.get_inputs()[0].name, session.get_inputs()[0].shape[0]
    batch = size if isinstance(size, int) else len(samples)
    most = {source: float(np.abs(samples).max())}
    for start in range(0, len(samples), batch):
        values = session.run(names, {source: samples[start : start + batch]})
        for name, value in zip(names, values, strict=True):
            most[name] = max(most.get(name, 0.0), float(np.abs(value).max()))
    return most
