# SPDX-License-Identifier: Apache-2.0
"""The trained digit network as an ONNX file, and its evaluation in float64.

Written node by node with onnx.helper, so that the graph has exactly the operators the importer documents and
the same parameters give the same bytes. No PyTorch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["BOUND", "EPSILON", "LEVEL", "TERNARY", "Array", "build_model", "evaluate", "predict"]

Array = npt.NDArray[Any]

LEVEL = 1
"""Quantisation level k: activations are multiples of 2**-k."""
BOUND = 2
"""Upper bound B of an activation; B * 2**k = 4 spikes stand for the largest one."""
TERNARY = ("conv1", "conv2", "dense")
"""The layers with weights -a, 0, a; the others are float and run on the host."""
EPSILON = 1e-5
"""Added to the variance in every batch normalisation."""


def build_model(parameters: Mapping[str, Array], *, notes: Mapping[str, str]) -> onnx.ModelProto:
    """Return the checked ONNX model (opset 17) of trained parameters; equal parameters give equal bytes.

    Parameters are float32 arrays by name, "LAYER.weight" and so on; notes become metadata beside B and k. The
    weights of the `TERNARY` layers are -a, 0 and a already. The first convolution was trained on pixels / 16:
    the scale goes into its weights (a power of two, so exact). Batch normalisations are nodes of their own.
    """
    arrays, nodes = _constants(), list[onnx.NodeProto]()

    def add(op: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def layer(op: str, name: str, source: str, **attributes: Any) -> str:
        arrays[f"{name}.weight"] = parameters[f"{name}.weight"]
        y = add(op, f"{name}.sum", source, f"{name}.weight", **attributes)
        norm = [f"{name}.{part}" for part in ("gamma", "beta", "mean", "variance")]
        arrays.update({key: parameters[key] for key in norm})
        y = add("BatchNormalization", f"{name}.norm", y, *norm, epsilon=EPSILON)
        y = add("Add", f"{name}.shifted", add("Mul", f"{name}.scaled", y, "levels"), "half")
        y = add("Clip", f"{name}.count", add("Floor", f"{name}.floor", y), "zero", "most")
        return add("Mul", f"{name}.out", y, "step")

    same: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    y = layer("Conv", "host", "input", **same)
    y = layer("Conv", "conv1", y, **same)
    y = add("MaxPool", "pool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = add("Flatten", "flat", layer("Conv", "conv2", y, **same), axis=1)
    y = layer("Gemm", "dense", y, transB=1)
    arrays["host.weight"] = parameters["host.weight"] / np.float32(16)
    arrays.update({key: parameters[key] for key in ("out.weight", "out.bias")})
    add("Gemm", "logits", y, "out.weight", "out.bias", transB=1)
    return _pack(nodes, arrays, notes=notes)


def _constants() -> dict[str, Array]:
    """The scalars of the quantised activation."""
    values = {"levels": 2**LEVEL, "half": 0.5, "zero": 0, "most": BOUND * 2**LEVEL, "step": 2**-LEVEL}
    return {name: np.array(value, np.float32) for name, value in values.items()}


def _pack(
    nodes: list[onnx.NodeProto], arrays: Mapping[str, Array], *, notes: Mapping[str, str]
) -> onnx.ModelProto:
    """Wrap nodes and constants in a model with its metadata."""
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="spikeloom")
    helper.set_model_props(model, {**notes, "B": str(BOUND), "k": str(LEVEL)})
    onnx.checker.check_model(model, full_check=True)
    return model


def evaluate(model: onnx.ModelProto, images: Array) -> Array:
    """Return the logits, float64 (N, 10), of a `build_model` model for images (N, 8, 8) of values 0..16.

    Every operation is done in float64, which is what the project calls the truth of a model; a float32
    runtime may differ where a sum lies within its rounding error of a threshold. ValueError for an operator
    that `build_model` does not write.
    """
    values = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    values["input"] = np.asarray(images, np.float64)[:, None]
    for node in model.graph.node:
        values[node.output[0]] = _apply(node, [values[name] for name in node.input])
    return values[model.graph.output[0].name]


def _apply(node: onnx.NodeProto, inputs: list[Array]) -> Array:
    x, *rest = inputs
    match node.op_type:
        case "Conv":
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
            y = np.tensordot(windows, rest[0], ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        case "Gemm":
            y = x @ rest[0].T + (rest[1] if len(rest) > 1 else 0)
        case "BatchNormalization":
            gamma, beta, mean, variance = (v.reshape(-1, *(1,) * (x.ndim - 2)) for v in rest)
            (epsilon,) = (a.f for a in node.attribute if a.name == "epsilon")
            y = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta
        case "Mul":
            y = x * rest[0]
        case "Add":
            y = x + rest[0]
        case "Floor":
            y = np.floor(x)
        case "Clip":
            y = np.clip(x, rest[0], rest[1])
        case "MaxPool":
            n, c, h, w = x.shape
            y = x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))
        case "Flatten":
            y = x.reshape(len(x), -1)
        case other:
            raise ValueError(
                f"node {node.name!r} has operator {other}, evaluate knows those of build_model only: "
                "load other models with the importer"
            )
    return np.asarray(y)


def predict(model: onnx.ModelProto, images: Array) -> Array:
    """Return the class, int64 (N,), of each image (N, 8, 8): `evaluate`, argmax, ties to the lowest index."""
    classes: Array = np.argmax(evaluate(model, images), axis=1)
    return classes
