# SPDX-License-Identifier: Apache-2.0
"""The trained digit network as an ONNX file, and its evaluation in float64.

No PyTorch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from mapping.training.graph import Array, GraphWriter

__all__ = ["BOUND", "LEVEL", "TERNARY", "build_model", "evaluate", "predict"]

LEVEL = 1
"""Quantisation level k: activations are multiples of 2**-k."""
BOUND = 2
"""Upper bound B of an activation; B * 2**k = 4 spikes stand for the largest one."""
TERNARY = ("conv1", "conv2", "dense")
"""The layers with weights -a, 0, a; the others are float and run on the host."""


def build_model(parameters: Mapping[str, Array], *, notes: Mapping[str, str]) -> onnx.ModelProto:
    """Return the checked ONNX model (opset 17) of trained parameters; equal parameters give equal bytes.

    Parameters are float32 arrays by name, "LAYER.weight" and so on; notes become metadata beside B and k. The
    weights of the `TERNARY` layers are -a, 0 and a already. The first convolution was trained on pixels / 16:
    the scale goes into its weights (a power of two, so exact). Batch normalisations are nodes of their own.
    """
    scaled = {**parameters, "host.weight": parameters["host.weight"] / np.float32(16)}
    graph = GraphWriter(parameters=scaled, level=LEVEL, bound=BOUND)
    same: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    y = graph.layer("Conv", "host", "input", **same)
    y = graph.layer("Conv", "conv1", y, **same)
    y = graph.add("MaxPool", "pool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = graph.add("Flatten", "flat", graph.layer("Conv", "conv2", y, **same), axis=1)
    graph.readout("out", graph.layer("Gemm", "dense", y, transB=1))
    return graph.model("digits", size=(8, 8), notes=notes)


def evaluate(model: onnx.ModelProto, images: Array) -> Array:
    """Return the logits, float64 (N, 10), of a model written here for images (N, 8, 8) of values 0..16.

    Every operation is done in float64, which is what the project calls the truth of a model; a float32
    runtime may differ where a sum lies within its rounding error of a threshold. ValueError for an operator
    that no recipe writes.
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
            y = np.tensordot(windows, rest[0], ((1, 4, 5), (1, 2, 3))) + (rest[1] if len(rest) > 1 else 0)
            y = y.transpose(0, 3, 1, 2)
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
        case "Relu":
            y = np.maximum(x, 0)
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
