# SPDX-License-Identifier: Apache-2.0
"""The NeuroBench keys of a report against NeuroBench's own method, on the ONNX file.

NeuroBench runs every connection layer a second time with its inputs and weights replaced by 0 and 1, or all
by 1 for the dense count, and adds up the outputs (Yik et al. 2025; documentation of `SynapticOperations`).
"""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mapping.datasets.load import Dataset
from mapping.model.importers.onnx import network_from_onnx
from mapping.report.machine import estimate
from sim_tests.generators.model_builder import ModelBuilder

SAMPLES = 12
LAYERS = ("first", "second", "third")


def model(levels: tuple[int, int, int, int]) -> tuple[onnx.ModelProto, list[str]]:
    """Return a model with so many levels at its input and after each layer, and its activations.

    Padding, groups, strides, dilation and a max-pool are in it.
    """
    b = ModelBuilder((2, 9, 8), seed=sum(levels))
    activations = []

    def quantise(x: str, most: int) -> str:
        activations.append(b.quantise(x, 0, most))
        return activations[-1]

    x = quantise("x", levels[0])
    x = b.conv(x, b.ternary(6, 1, 3, 3), name="first", group=2, pads=[1, 1, 1, 1], strides=[1, 2])
    x = quantise(x, levels[1])
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.conv(x, b.ternary(5, 6, 2, 2), name="second", pads=[2, 1, 0, 1], dilations=[2, 1])
    x = b.op("Flatten", quantise(x, levels[2]))
    x = quantise(b.dense(x, b.ternary(4, 5 * 4 * 3), name="third"), levels[3])
    return b.model(b.head(x, 4)), activations[1:]


def forward(
    onnx_model: onnx.ModelProto, wanted: list[str] | None, x: dict[str, NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Run a model with the reference evaluator of ONNX; return the wanted tensors."""
    found: Any = ReferenceEvaluator(onnx_model).run(wanted, x)
    return list(found)


def again(node: onnx.NodeProto, x: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """Run one connection layer without its bias on other inputs and weights; return the sum per sample."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[2:]
    names = [(name, value.shape) for name, value in zip(copy.input, (x, weight), strict=True)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in names]
    output = helper.make_tensor_value_info(copy.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([copy], "again", inputs, [output])
    single = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    values = dict(zip(copy.input, (x, weight), strict=True))
    return float(np.sum(forward(single, None, values)[0], dtype=np.float64)) / len(x)


def counted(onnx_model: onnx.ModelProto, x: NDArray[np.float32], activations: list[str]) -> dict[str, Any]:
    """Return what NeuroBench counts for the named layers."""
    nodes = [node for node in onnx_model.graph.node if node.name in LAYERS]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx_model.graph.initializer}
    wanted = [*(node.input[0] for node in nodes), *activations]
    every = dict(zip(wanted, forward(onnx_model, wanted, {"x": x}), strict=True))
    operations = {"dense": 0.0, "effective_macs": 0.0, "effective_acs": 0.0}
    for node in nodes:
        read, weight = every[node.input[0]], stored[node.input[1]]
        binary = np.isin(read, (0, 1)).all()
        kind = "effective_acs" if binary else "effective_macs"
        operations[kind] += again(node, (read != 0).astype(np.float32), (weight != 0).astype(np.float32))
        operations["dense"] += again(node, np.ones_like(read), np.ones_like(weight))
    weights = np.concatenate([stored[node.input[1]].reshape(-1) for node in nodes])
    outputs = np.concatenate([every[name].reshape(-1) for name in activations])
    return {
        "connection_sparsity": np.mean(weights == 0),
        "activation_sparsity": np.mean(outputs == 0),
        "synaptic_operations": operations,
    }


@pytest.mark.parametrize("levels", [(1, 1, 1, 1), (3, 1, 2, 1), (1, 4, 1, 3), (7, 7, 7, 7)])
def test_keys_are_what_neurobench_counts(levels: tuple[int, int, int, int]) -> None:
    onnx_model, activations = model(levels)
    x = np.random.default_rng(5).uniform(-1, max(levels[0], 2), (SAMPLES, 2, 9, 8)).astype(np.float32)
    expected = counted(onnx_model, x, activations)
    data = Dataset(name="random", x=x.astype(np.float64), y=None)
    report = estimate(network_from_onnx(onnx_model, name="m"), data, ("loom", "kuang2021"), core="small")
    for part in report.targets:
        got = part["neurobench"]
        operations = got["synaptic_operations"]
        assert operations == pytest.approx(expected["synaptic_operations"], rel=1e-12)
        assert operations["effective_macs"] + operations["effective_acs"] <= operations["dense"]
        for key in ("connection_sparsity", "activation_sparsity"):
            assert got[key] == pytest.approx(expected[key], rel=1e-12)
    # The hardware visits exactly the effective pairs: a packet carries a count of any size.
    loom = report.targets[0]
    assert operations["effective_macs"] + operations["effective_acs"] == pytest.approx(
        loom["synaptic_operations"], rel=1e-12
    )
    assert loom["synaptic_operations"] > 0


def test_every_kind_of_operation_is_met() -> None:
    x = np.random.default_rng(5).uniform(-1, 4, (SAMPLES, 2, 9, 8)).astype(np.float32)
    onnx_model, activations = model((1, 4, 1, 3))
    operations = counted(onnx_model, x, activations)["synaptic_operations"]
    assert min(operations.values()) > 0
    assert operations["effective_macs"] + operations["effective_acs"] < operations["dense"]
