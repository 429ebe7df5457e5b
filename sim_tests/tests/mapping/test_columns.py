# SPDX-License-Identifier: Apache-2.0
"""Networks that are written for columns, with the weights before the activation, are networks of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mapping.model.evaluate import infer
from sim_tests.generators.model_builder import ModelBuilder

Build = Callable[[ModelBuilder, str], str]


def gemm(b: ModelBuilder, x: str, outputs: int, inputs: int) -> str:
    weight, bias = b.rng.normal(size=(outputs, inputs)), b.rng.normal(size=(outputs, 1))
    return b.op("Gemm", b.constant(weight), x, b.constant(bias), alpha=0.5, beta=2.0)


def turned_gemm(b: ModelBuilder, x: str, outputs: int, inputs: int) -> str:
    return b.op("Gemm", b.constant(b.rng.normal(size=(inputs, outputs))), x, b.constant(0.5), transA=1)


def matmul(b: ModelBuilder, x: str, outputs: int, inputs: int) -> str:
    y = b.op("MatMul", b.constant(b.rng.normal(size=(outputs, inputs))), x)
    return b.op("Add", y, b.constant(b.rng.normal(size=(outputs, 1))))


def functions(b: ModelBuilder, x: str) -> str:
    """Functions that every element has, a slope for each feature, and a sum."""
    y = b.op("PRelu", b.clip(x, -3.0, 2.0), b.constant(b.rng.uniform(0, 1, (5, 1))))
    return b.op("Sub", b.op("Add", y, b.op("LeakyRelu", x, alpha=0.25)), b.constant(0.25))


def network(layer: Any, between: Build) -> Build:
    return lambda b, x: layer(b, between(b, layer(b, x, 5, 6)), 4, 5)


LAYERS = {"Gemm": gemm, "Gemm, transA": turned_gemm, "MatMul": matmul}
BETWEEN: dict[str, Build] = {
    "Relu": lambda b, x: b.op("Relu", x),
    "functions": functions,
    "Softmax": lambda b, x: b.op("Softmax", x, axis=0),
}


def runtime(b: ModelBuilder, output: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(b.model(output).SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("back", [False, True])
def test_network_of_columns_has_the_values_of_another_runtime(layer: str, between: str, back: bool) -> None:
    b = ModelBuilder((6,), seed=8)
    y = network(LAYERS[layer], BETWEEN[between])(b, b.op("Transpose", "x", perm=[1, 0]))
    y = b.op("Transpose", y, perm=[1, 0]) if back else y
    x = b.rng.normal(size=(7, 6)).astype(np.float32)
    wanted = runtime(b, y, x)
    found = b.network(y)
    np.testing.assert_allclose(infer(found, x), wanted if back else wanted.T, rtol=2e-6, atol=2e-6)
    assert "Foreign" not in {node.op for node in found.nodes}
    assert [node.op for node in found.nodes].count("Dense") == 2


FUNCTIONS = (
    *("Abs", "Cast", "Ceil", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu"),
    *("HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Relu", "Round"),
    *("Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
)
ATTRIBUTES: dict[str, dict[str, Any]] = {"Cast": {"to": 1}, "LeakyRelu": {"alpha": 0.25}}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions_of_one_number_are_the_same_of_columns(op: str) -> None:
    b = ModelBuilder((6,), seed=8, opset=20)
    y = gemm(b, b.op("Transpose", "x", perm=[1, 0]), 5, 6)
    y = b.op(op, b.op("Abs", y) if op in {"Log", "Sqrt"} else y, **ATTRIBUTES.get(op, {}))
    y = matmul(b, y, 4, 5)
    x = b.rng.normal(size=(7, 6)).astype(np.float32)
    found = b.network(y)
    np.testing.assert_allclose(infer(found, x), runtime(b, y, x).T, rtol=1e-5, atol=1e-5)
    assert [node.op for node in found.nodes].count("Dense") == 2


@pytest.mark.parametrize("layer", LAYERS)
def test_column_without_a_batch_is_a_sample(layer: str) -> None:
    b = ModelBuilder((6,), seed=8)
    b.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, 1])
    y = network(LAYERS[layer], BETWEEN["Relu"])(b, "x")
    found, x = b.network(y), b.rng.normal(size=(7, 6)).astype(np.float32)
    wanted = np.stack([runtime(b, y, sample[:, None])[:, 0] for sample in x])
    assert found.shapes[found.input] == (6,)
    np.testing.assert_allclose(infer(found, x), wanted, rtol=2e-6, atol=2e-6)


def test_weights_before_rows_that_a_gemm_turns_itself() -> None:
    b = ModelBuilder((6,), seed=8)
    y = b.op("Gemm", b.constant(b.rng.normal(size=(4, 6))), "x", transB=1)
    x = b.rng.normal(size=(7, 6)).astype(np.float32)
    found = b.network(y)
    np.testing.assert_allclose(infer(found, x), runtime(b, y, x).T, rtol=2e-6, atol=2e-6)
    assert [node.op for node in found.nodes] == ["Dense"]


def test_column_that_another_operator_reads_is_written() -> None:
    b = ModelBuilder((6,), seed=8)
    y = gemm(b, b.op("Transpose", "x", perm=[1, 0]), 4, 6)
    y = b.op("Transpose", b.op("Sin", y), perm=[1, 0])
    x = b.rng.normal(size=(7, 6)).astype(np.float32)
    got = infer(b.network(y), x).reshape(7, 4)
    np.testing.assert_allclose(got, runtime(b, y, x), rtol=2e-6, atol=2e-6)


def test_softmax_of_an_early_set_is_that_of_a_batch_of_one() -> None:
    b = ModelBuilder((6,), seed=8, opset=11)
    y = gemm(b, b.op("Transpose", "x", perm=[1, 0]), 4, 6)
    y = b.op("Relu", b.op("Transpose", b.op("Softmax", y, axis=0), perm=[1, 0]))
    x = b.rng.normal(size=(1, 6)).astype(np.float32)
    got = infer(b.network(y), x).reshape(1, 4)
    np.testing.assert_allclose(got, runtime(b, y, x), rtol=2e-6, atol=2e-6)
