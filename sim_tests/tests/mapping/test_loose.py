# SPDX-License-Identifier: Apache-2.0
"""Graphs of one sample without a batch, or with it among rows, have the values of another runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

Build = Callable[[ModelBuilder, str], str]
Sizes = Sequence[int | str]


def ints(b: ModelBuilder, *values: int) -> str:
    return b.constant(values, np.int64)


def random(b: ModelBuilder, *shape: int) -> str:
    return b.constant(b.rng.normal(size=shape))


def dense(b: ModelBuilder, x: str, inputs: int, outputs: int) -> str:
    return b.op("Add", b.op("MatMul", x, random(b, inputs, outputs)), random(b, outputs))


def conv(b: ModelBuilder, x: str, **attributes: Any) -> str:
    return b.op("Relu", b.conv(x, b.rng.normal(size=(3, 2, 3, 3)), b.rng.normal(size=3), **attributes))


def flat(b: ModelBuilder, x: str) -> str:
    """As PyTorch writes ``x.flatten()`` of one sample."""
    return dense(b, b.op("Relu", dense(b, b.op("Reshape", x, ints(b, -1)), 32, 6)), 6, 4)


def through_elements(b: ModelBuilder, x: str) -> str:
    y = b.op("Div", b.op("Cast", x, to=TensorProto.FLOAT), b.constant(4))
    return dense(b, b.op("Flatten", b.op("Sub", y, random(b, 4)), axis=0), 32, 4)


def through_transpose(b: ModelBuilder, x: str) -> str:
    y = b.op("Unsqueeze", b.op("Transpose", x, perm=[2, 0, 1]), ints(b, 0))
    y = b.op("Relu", b.conv(y, b.rng.normal(size=(3, 4, 2, 2))))
    return dense(b, b.op("ReduceMean", b.op("Squeeze", y, ints(b, 0)), axes=[-1, 1], keepdims=0), 3, 4)


def squeezed(b: ModelBuilder, x: str) -> str:
    y = b.op("Squeeze", conv(b, b.op("Unsqueeze", x, ints(b, 0))), ints(b, 0))
    y = b.op("Softmax", b.op("ReduceMax", y, axes=[1, 2], keepdims=0), axis=0)
    return dense(b, y, 3, 4)


def everything_squeezed(b: ModelBuilder, x: str) -> str:
    y = b.op("Squeeze", b.op("GlobalAveragePool", conv(b, x)))
    return b.op("Add", b.op("MatMul", random(b, 4, 3), y), random(b, 4))


def joined(b: ModelBuilder, x: str) -> str:
    y = b.op("Relu", dense(b, x, 5, 6))
    first = b.op("Split", b.op("Concat", y, b.op("Neg", y), axis=0), ints(b, 4, 8), axis=0, outputs=2)
    second = b.op("MatMul", random(b, 4, 8), f"{first}_1")
    return b.op("Unsqueeze", b.op("Add", first, second), ints(b, 0))


def spread(b: ModelBuilder, x: str) -> str:
    """A constant with a batch gives a vector one."""
    return b.op("Add", dense(b, x, 5, 4), random(b, 1, 4))


def rows(b: ModelBuilder, x: str) -> str:
    """As Keras writes a dense layer of the last axis."""
    y = dense(b, b.op("Reshape", x, ints(b, -1, 4)), 4, 3)
    y = b.op("Reshape", b.op("Relu", y), ints(b, -1, 2, 4, 3))
    return dense(b, b.op("Reshape", y, ints(b, -1, 24)), 24, 4)


def gemm_of_rows(b: ModelBuilder, x: str) -> str:
    y = b.op("Reshape", x, ints(b, -1, 4))
    y = b.op("Gemm", y, random(b, 3, 4), random(b, 3), transB=1, alpha=0.5, beta=2.0)
    y = b.op("Reshape", b.op("Gemm", y, random(b, 3, 3)), ints(b, -1, 24))
    return dense(b, y, 24, 4)


def shape_of_rows(b: ModelBuilder, x: str) -> str:
    y = b.op("Reshape", x, ints(b, -1, 4))
    halves = b.op("Concat", b.op("Shape", y), ints(b, 1), axis=0)
    y = b.op("Reshape", y, halves)
    return dense(b, b.op("Reshape", y, ints(b, 1, 32)), 32, 4)


def norm_of_rows(b: ModelBuilder, x: str) -> str:
    y = b.norm(b.op("Reshape", x, ints(b, -1, 4)), 4)
    return dense(b, b.op("Reshape", y, ints(b, -1, 32)), 32, 4)


def flat_by_shape(b: ModelBuilder, x: str) -> str:
    """As PyTorch's older exporter writes ``x.flatten()``."""
    none = b.op("Slice", b.op("Shape", x), ints(b, 0), ints(b, 0), ints(b, 0))
    y = b.op("Reshape", x, b.op("Concat", none, ints(b, -1), axis=0))
    return dense(b, b.op("Relu", dense(b, y, 32, 6)), 6, 4)


def rows_by_shape(b: ModelBuilder, x: str) -> str:
    """As Keras writes a dense layer of the last axis of a map of any size."""
    sizes = b.op("Gather", b.op("Shape", x), ints(b, 0, 1, 2))
    number = b.op("Reshape", b.op("ReduceProd", sizes, keepdims=0), ints(b, 1))
    y = b.op("Reshape", x, b.op("Concat", number, ints(b, 4), axis=0))
    y = b.op("Reshape", dense(b, y, 4, 3), b.op("Concat", sizes, ints(b, 3), axis=0))
    return dense(b, b.op("Reshape", b.op("Relu", y), ints(b, -1, 24)), 24, 4)


CASES: dict[str, tuple[Sizes, Build]] = {
    "flat": ([2, 4, 4], flat),
    "flat, a batch of one": ([1, 2, 4, 4], flat),
    "through elements": ([2, 4, 4], through_elements),
    "through a transpose": ([2, 4, 4], through_transpose),
    "squeezed": ([2, 4, 4], squeezed),
    "everything squeezed": ([1, 2, 4, 4], everything_squeezed),
    "joined": ([5], joined),
    "spread": ([5], spread),
    "rows": ([1, 2, 4, 4], rows),
    "rows of a free batch": (["N", 2, 4, 4], rows),
    "normalisation of rows": (["N", 2, 4, 4], norm_of_rows),
    "flat, by its shape": ([2, 4, 4], flat_by_shape),
    "rows, by their shape": (["N", 2, 4, 4], rows_by_shape),
    "Gemm of rows": (["N", 2, 4, 4], gemm_of_rows),
    "shape of rows": ([1, 2, 4, 4], shape_of_rows),
}


def written(sizes: Sizes, build: Build) -> onnx.ModelProto:
    b = ModelBuilder((1,), seed=3)
    model = b.model(build(b, "x"))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes))
    return model


def read(model: onnx.ModelProto) -> Network:
    try:
        return network_from_onnx(model, name="n")
    except UnsupportedModelError as error:
        refusal = str(error)
    assert refusal == "", "a graph of one sample is read"
    raise AssertionError


def runtime(model: onnx.ModelProto, x: NDArray[np.float32], sizes: Sizes) -> NDArray[np.float32]:
    """Return what onnxruntime makes of samples one by one, or together where the batch is free."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    if sizes[0] == "N":
        return np.asarray(session.run(None, {"x": x})[0])
    return np.stack([session.run(None, {"x": sample.reshape(sizes)})[0].reshape(-1) for sample in x])


@pytest.mark.parametrize("case", CASES)
def test_tensors_without_a_batch_have_the_values_of_another_runtime(case: str) -> None:
    sizes, build = CASES[case]
    model = written(sizes, build)
    shape = [int(n) for n in (sizes[1:] if sizes[0] in (1, "N") else sizes)]
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    network = read(model)
    assert network.shapes[network.input] == tuple(shape)
    assert "Foreign" not in {node.op for node in network.nodes}
    wanted = runtime(model, x, sizes)
    np.testing.assert_allclose(infer(network, x), wanted, rtol=1e-5, atol=1e-5)


def even_rows(b: ModelBuilder, x: str) -> str:
    """What is not known here of rows, and behind it a normalisation, which the host evaluates too."""
    y = b.op("LpNormalization", b.op("Reshape", x, ints(b, -1, 4)), axis=1, p=2)
    return dense(b, b.op("Reshape", b.norm(y, 4), ints(b, -1, 32)), 32, 4)


@pytest.mark.parametrize("opset", [13, 15])
def test_graph_that_does_more_to_rows_is_read_as_it_is_written(opset: int) -> None:
    model = written([1, 2, 4, 4], even_rows)
    model.opset_import[0].version = opset
    network = read(model)
    x = np.random.default_rng(0).normal(size=(6, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(infer(network, x), runtime(model, x, [1, 2, 4, 4]), rtol=1e-5, atol=1e-5)


KEPT: dict[str, Build] = {
    "layer": lambda b, x: dense(b, b.op("Relu", x), 4, 4),
    "map": lambda b, x: dense(b, b.op("Reshape", b.op("Reshape", x, ints(b, 4, 2, 2)), ints(b, 4, -1)), 4, 4),
}


@pytest.mark.parametrize("build", KEPT.values(), ids=KEPT)
def test_batch_that_is_kept_is_one(build: Build) -> None:
    """What keeps the first axis of an input keeps a batch, also of as many samples as features."""
    assert read(written([4, 4], build)).shapes["x"] == (4,)
