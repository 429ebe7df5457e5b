# SPDX-License-Identifier: Apache-2.0
"""Operators that only ONNX knows: the host evaluates them, and they keep no other layer off the chip."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from mapping.chip import Chip
from mapping.codes.convert import convert
from mapping.errors import MappingError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.archive import network_from_arrays, network_to_arrays
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.model.work import multiply_adds
from sim_tests.generators.model_builder import ModelBuilder

Build = Callable[[ModelBuilder, str], str]


def floats(b: ModelBuilder, *shape: int) -> str:
    return b.constant(b.rng.normal(size=shape))


def integers(b: ModelBuilder, *values: int) -> str:
    return b.constant(list(values), np.int64)


def recurrent(b: ModelBuilder, x: str, op: str, gates: int, **attributes: Any) -> str:
    """A layer of five cells on 6 steps of 4 values, as PyTorch exports it, and its last step."""
    weights = (floats(b, 1, gates * 5, size) for size in (6, 5))
    y = b.op("Transpose", x, perm=[1, 0, 2])
    y = b.op(op, y, *weights, floats(b, 1, 2 * gates * 5), hidden_size=5, name="cells", **attributes)
    y = b.op("Transpose", b.op("Squeeze", y, integers(b, 1)), perm=[1, 0, 2])
    return b.op("Gather", y, b.constant(-1, np.int64), axis=1)


ROW = (4, 6)
MAP = (4, 6, 5)
OPERATORS: dict[str, tuple[tuple[int, ...], Build, dict[str, int | None]]] = {
    "Conv1d": (
        ROW,
        lambda b, x: b.conv(x, b.rng.normal(size=(6, 2, 3)), b.rng.normal(size=6), pads=[1, 2], group=2),
        {"conv": 6 * 2 * (2 + 4 * 3 + 2 + 1)},
    ),
    "MaxPool1d": (ROW, lambda b, x: b.op("MaxPool", x, kernel_shape=[2], strides=[2]), {}),
    "Conv3d": (
        (2, 3, 4, 5),
        lambda b, x: b.conv(x, b.rng.normal(size=(3, 2, 2, 2, 2)), name="conv"),
        {"conv": 3 * 2 * 3 * 4 * 16},
    ),
    "Conv3d, padded": (
        (2, 3, 4, 5),
        lambda b, x: b.conv(
            x, b.rng.normal(size=(3, 2, 3, 2, 2)), pads=[1, 0, 0, 0, 0, 0], strides=[1, 2, 1], name="conv"
        ),
        {"conv": 3 * 2 * (2 + 3) * (2 * 2) * (4 * 2)},
    ),
    "ConvTranspose": (
        MAP,
        lambda b, x: b.op("ConvTranspose", x, floats(b, 4, 3, 2, 2), strides=[2, 2], name="up"),
        {"up": 4 * 30 * 3 * 4},
    ),
    "LSTM": (ROW, lambda b, x: recurrent(b, x, "LSTM", 4), {"cells": 4 * 20 * (6 + 5)}),
    "GRU": (ROW, lambda b, x: recurrent(b, x, "GRU", 3), {"cells": 4 * 15 * (6 + 5)}),
    "RNN": (ROW, lambda b, x: recurrent(b, x, "RNN", 1), {"cells": 4 * 5 * (6 + 5)}),
    "MatMul of two": (
        ROW,
        lambda b, x: b.op("MatMul", x, b.op("Transpose", x, perm=[0, 2, 1]), name="mm"),
        {"mm": 4 * 4 * 6},
    ),
    "Einsum": (
        ROW,
        lambda b, x: b.op("Einsum", x, x, equation="bij,bkj->bik", name="e"),
        {"e": 4 * 4 * 6},
    ),
    "Einsum of one": (ROW, lambda b, x: b.op("Einsum", x, equation="bij->bji"), {}),
    "Einsum of three": (
        ROW,
        lambda b, x: b.op("Einsum", x, x, x, equation="bij,bij,bij->bij", name="e"),
        {"e": None},
    ),
    "Gemm of rows": (
        ROW,
        lambda b, x: b.op(
            "Reshape",
            b.op("Gemm", b.op("Reshape", x, integers(b, 4, 6)), floats(b, 5, 6), transB=1, name="fc"),
            integers(b, 1, 4, 5),
        ),
        {"fc": 4 * 6 * 5},
    ),
    "Concat with a constant": (
        ROW,
        lambda b, x: b.op("Concat", floats(b, 1, 1, 6), x, axis=1),
        {},
    ),
    "AveragePool3d": (
        (2, 3, 4, 5),
        lambda b, x: b.op("AveragePool", x, kernel_shape=[1, 2, 2], name="mean"),
        {"mean": 2 * 3 * (3 * 4) * 4},
    ),
    "Sin": (ROW, lambda b, x: b.op("Sin", x), {}),
    "Where": (ROW, lambda b, x: b.op("Where", b.op("Greater", x, b.constant(0.5)), x, b.constant(0.0)), {}),
    "Pad, reflect": (MAP, lambda b, x: b.op("Pad", x, integers(b, *[0, 0, 1, 1] * 2), mode="reflect"), {}),
    "MaxPool, indices": (MAP, lambda b, x: b.op("MaxPool", x, kernel_shape=[2, 2], outputs=2), {}),
    "Resize, linear": (
        MAP,
        lambda b, x: b.op("Resize", x, "", b.constant([1.0, 1.0, 1.5, 1.0]), mode="linear"),
        {},
    ),
    "TopK": (ROW, lambda b, x: b.op("TopK", x, integers(b, 2), outputs=2), {}),
    "Cast": (ROW, lambda b, x: b.op("Cast", b.op("Cast", x, to=7), to=1), {}),
}


def built(name: str) -> tuple[ModelBuilder, str, NDArray[np.float64]]:
    shape, build, _ = OPERATORS[name]
    b = ModelBuilder(shape, seed=4)
    output = build(b, "x")
    for node in b.nodes:
        node.name = "conv" if name == "Conv1d" else node.name
    return b, output, b.rng.normal(0.5, 1.5, (3, *shape))


def with_state(b: ModelBuilder) -> str:
    """A recurrent layer whose first state is zeros for the whole batch, as PyTorch's exporters write it."""
    batch = b.op("Shape", "x", start=0, end=1)
    shape = b.op("Concat", integers(b, 1), batch, integers(b, 5), axis=0)
    state, more = b.op("Expand", b.constant(0.5), shape), b.op("ConstantOfShape", shape)
    weights = (floats(b, 1, 20, size) for size in (6, 5))
    y = b.op("Transpose", "x", perm=[1, 0, 2])
    y = b.op("LSTM", y, *weights, floats(b, 1, 40), "", state, more, hidden_size=5)
    y = b.op("Transpose", y, perm=[0, 2, 1, 3])
    size = b.op("Shape", y)
    parts = [b.op("Slice", size, integers(b, i), integers(b, i + 1)) for i in (0, 1, 3)]
    y = b.op("Reshape", y, b.op("Concat", *parts, axis=0))
    return b.op("Gather", b.op("Transpose", y, perm=[1, 0, 2]), b.constant(-1, np.int64), axis=1)


def attention(b: ModelBuilder) -> str:
    """Attention with the batch as second axis, and shapes that are computed from it, as PyTorch writes it."""
    y = b.op("Transpose", "x", perm=[1, 0, 2])
    rows = b.op("Reshape", y, integers(b, 4, -1, 2, 3))
    key = b.op("Transpose", b.op("Reshape", rows, b.op("Shape", rows)), perm=[1, 2, 3, 0])
    first = b.op("Shape", "x", start=0, end=1)
    key = b.op("Reshape", key, b.op("Concat", first, integers(b, 2, 3, 4), axis=0))
    query = b.op("Transpose", rows, perm=[1, 2, 0, 3])
    seen = b.op("MatMul", b.op("Softmax", b.op("MatMul", query, key), axis=-1), query)
    return b.op("Flatten", seen)


@pytest.mark.parametrize("build", [with_state, attention])
def test_graph_that_computes_with_the_batch_has_the_value_of_a_batch_of_one(build: Any) -> None:
    b = ModelBuilder(ROW, seed=4, opset=17)
    output, x = build(b), b.rng.normal(0.5, 1.5, (3, *ROW))
    got = infer(b.network(output), x)
    np.testing.assert_allclose(got.reshape(3, -1), reference(b.model(output), x), rtol=2e-5, atol=2e-5)


def reference(model: onnx.ModelProto, x: NDArray[np.float64]) -> NDArray[np.float64]:
    run: Any = ReferenceEvaluator(model)
    return np.stack([run.run(None, {"x": sample[None].astype(np.float32)})[0].reshape(-1) for sample in x])


@pytest.mark.parametrize("name", OPERATORS)
def test_value_and_work_are_those_of_the_operator(name: str) -> None:
    b, output, x = built(name)
    network = b.network(output)
    got = infer(network, x)
    np.testing.assert_allclose(got.reshape(3, -1), reference(b.model(output), x), rtol=2e-5, atol=2e-5)
    assert dict(multiply_adds(network)) == OPERATORS[name][2]
    again = network_from_arrays(network_to_arrays(network))
    assert (infer(again, x) == got).all()
    assert (infer(network, x[1:2]) == got[1:2]).all()


RUNTIME: dict[str, tuple[tuple[int, ...], Build]] = {
    "Slice of the batch": (ROW, lambda b, x: b.op("Slice", x, integers(b, 0), integers(b, 1))),
    "Gather from the batch": (ROW, lambda b, x: b.op("Gather", x, integers(b, 0), axis=0)),
    "Div of a constant": (ROW, lambda b, x: b.op("Div", b.constant(1.5), x)),
    "Flatten, axis 2": (MAP, lambda b, x: b.op("Flatten", x, axis=2)),
    "Pad by a number": (
        MAP,
        lambda b, x: b.op("Pad", x, integers(b, 0, 0, 1, 2, 0, 0, 0, 1), b.constant(0.5)),
    ),
    "Pad of channels": (MAP, lambda b, x: b.op("Pad", x, integers(b, 0, 1, 1, 1, 0, 0, 1, 1))),
}
"""Uses of known operators that the host evaluates, a sample as a batch of one."""


@pytest.mark.parametrize("name", RUNTIME)
def test_unusual_form_has_the_value_of_another_runtime(name: str) -> None:
    shape, build = RUNTIME[name]
    b = ModelBuilder(shape, seed=7)
    output = build(b, "x")
    x = b.rng.normal(0.5, 1.5, (3, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(b.model(output).SerializeToString())
    wanted = np.stack([session.run(None, {"x": sample[None]})[0].reshape(-1) for sample in x])
    got = infer(b.network(output), x.astype(np.float64))
    np.testing.assert_allclose(got.reshape(3, -1), wanted, rtol=2e-6, atol=2e-6)


PRODUCT = "bij,bij,bij->bij"


def mixed(operator: Build, *, first: bool = False) -> Network:
    """A layer for the chip with an operator behind or before it."""
    b = ModelBuilder((6,), seed=1)
    around: list[Callable[[str], str]] = [
        lambda y: b.op("Flatten", operator(b, b.op("Unsqueeze", y, integers(b, 1)))),
        lambda y: b.quantise(b.dense(b.quantise(y), b.ternary(6, 6), name="fc")),
    ]
    y = "x"
    for part in around if first else around[::-1]:
        y = part(y)
    return b.network(b.dense(y, b.rng.normal(size=(3, 6)), name="head"))


@pytest.mark.parametrize("first", [False, True])
def test_layers_beside_it_stay_on_the_chip_and_equal_the_network(first: bool) -> None:
    network = mixed(lambda b, x: b.op("Einsum", x, x, x, equation=PRODUCT, name="e"), first=first)
    chip: Chip = compile_network(network, core="tiny")
    assert [layer.name for layer in chip.spiking.layers] == ["fc"]
    assert {layer.name: layer.told for layer in chip.spiking.host}[
        "e"
    ] == "the operator Einsum runs on no chip"
    assert (chip.spiking.host_share, chip.spiking.uncounted) == (None, ("e",))
    x = np.random.default_rng(2).normal(0.5, 1.0, (9, 6))
    np.testing.assert_array_equal(chip.run(x).logits, infer(network, x))


def test_strict_refuses_with_the_name_of_the_operator() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        convert(mixed(lambda b, x: b.op("Sin", x, name="wave")), strict=True)
    assert str(error.value) == (
        "Layer 'wave' would run on the host because the operator Sin runs on no chip; leave strict out."
    )


def test_share_is_exact_where_the_work_is_known() -> None:
    build: Build = lambda b, x: b.op("ConvTranspose", x, floats(b, 1, 1, 1), name="up")  # noqa: E731
    spiking = convert(mixed(build))
    assert spiking.host_share == (6 + 18) / (36 + 6 + 18)


def test_groups_of_a_transposed_convolution_stay_apart() -> None:
    b = ModelBuilder((4, 3), seed=5)
    weight = b.rng.normal(size=(4, 2, 2))
    network = b.network(b.op("ConvTranspose", "x", b.constant(weight), group=2, strides=[2], name="up"))
    x, weight = b.rng.normal(size=(1, 4, 3)), weight.astype(np.float32).astype(np.float64)
    by_hand = np.zeros((4, 6))
    for channel in range(4):
        for out in range(2):
            for at in range(3):
                row = channel // 2 * 2 + out
                by_hand[row, 2 * at : 2 * at + 2] += x[0, channel, at] * weight[channel, out]
    np.testing.assert_allclose(infer(network, x)[0], by_hand, rtol=1e-12)
    assert dict(multiply_adds(network)) == {"up": 12 * 2 * 2}


def test_ternary_convolution_of_rows_runs_on_the_chip() -> None:
    b = ModelBuilder((2, 9), seed=6)
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(3, 2, 3), pads=[1, 1], strides=[2], name="c1"))
    y = b.op("MaxPool", y, kernel_shape=[2], strides=[2])
    y = b.quantise(b.conv(y, b.ternary(4, 3, 2), name="c2"))
    network = b.network(b.head(b.op("Flatten", y), 4))
    chip = compile_network(network, core="tiny")
    assert [layer.name for layer in chip.spiking.layers] == ["c1", "c2"]
    x = b.rng.normal(0.5, 1.0, (9, 2, 9))
    np.testing.assert_array_equal(chip.run(x).logits, infer(network, x))


REFUSED: dict[str, tuple[Build, str]] = {
    "no size": (
        lambda b, x: b.op("NonZero", x, name="n"),
        (
            "Node 'n' (NonZero) has an output whose size cannot be told in advance; "
            "export the model without it."
        ),
    ),
    "random": (
        lambda b, x: b.op("RandomNormalLike", x, name="n"),
        "Node 'n' (RandomNormalLike) draws random numbers; export the model without it.",
    ),
    "too large": (
        lambda b, x: b.op("Expand", x, integers(b, 1, 10**9, 4, 6), name="n"),
        (
            "Node 'n' (Expand) has an output of shape (1, 1000000000, 4, 6), above the limit of 134217728 "
            "elements; export the model without it."
        ),
    ),
    "graph": (
        lambda b, x: b.op("If", x, name="n", then_branch=onnx.GraphProto(), else_branch=onnx.GraphProto()),
        "Node 'n' (If) holds a graph of its own; export the model without it.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operator_that_cannot_be_evaluated_is_refused(name: str) -> None:
    b = ModelBuilder(ROW)
    with pytest.raises(UnsupportedModelError) as error:
        b.network(REFUSED[name][0](b, "x"))
    assert str(error.value) == REFUSED[name][1]


@pytest.mark.parametrize(
    "build",
    [
        lambda b, x: b.op("LSTM", x, name="n"),
        lambda b, x: b.op("ConvTranspose", x, floats(b, 5, 3, 2), name="n"),
        lambda b, x: b.op("Einsum", x, x, equation="bij,bkkl->bik", name="n"),
        lambda b, x: b.op("Squeeze", x, name="n", axes=[1]),
        lambda b, x: b.op("MatMul", x, b.op("Sin", x), name="n"),
    ],
)
def test_operator_whose_inputs_do_not_fit_is_refused_in_one_sentence(build: Build) -> None:
    b = ModelBuilder(ROW)
    with pytest.raises(UnsupportedModelError) as error:
        b.network(build(b, "x"))
    assert str(error.value).startswith("Node 'n' (")
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_operator_that_the_evaluator_lacks_is_refused_in_one_sentence() -> None:
    b = ModelBuilder((1, 4, 6))
    pooled = b.op("MaxRoiPool", "x", floats(b, 1, 5), pooled_shape=[2, 2], name="n")
    with pytest.raises(UnsupportedModelError) as error:
        b.network(pooled)
    assert str(error.value).startswith("Node 'n' (MaxRoiPool) cannot be evaluated by ONNX's reference eval")
    assert str(error.value).endswith("; export the model without it.")
    assert "\n" not in str(error.value)


def test_operator_of_a_damaged_image_is_refused() -> None:
    arrays = network_to_arrays(mixed(lambda b, x: b.op("Sin", x, name="wave")))
    text = arrays["network"].tobytes().replace(b'"model": "', b'"model": "AAAA')
    with pytest.raises(MappingError):
        infer(network_from_arrays({**arrays, "network": np.frombuffer(text, np.uint8)}), np.ones((1, 6)))


@pytest.mark.parametrize(
    "build",
    [
        lambda b, x: b.op("Pow", b.constant(2.0), x),
        lambda b, x: b.op("Pow", b.op("Exp", x), x),
        lambda b, x: b.op("PRelu", x, b.op("Relu", x)),
    ],
)
def test_exponents_and_slopes_of_the_sample_are_the_hosts(build: Build) -> None:
    b = ModelBuilder(ROW)
    model = b.model(build(b, "x"))
    x = b.rng.normal(size=(3, *ROW)).astype(np.float32)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(infer(network_from_onnx(model, name="n"), x), wanted, rtol=1e-5)


def test_rows_of_a_table_are_the_hosts() -> None:
    """An embedding: its places are the input, and the elements are those of a constant."""
    b = ModelBuilder((5,))
    y = b.op("Gather", b.constant(b.rng.normal(size=(9, 3))), "x")
    model = b.model(b.op("Flatten", y))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    x = b.rng.integers(0, 9, (4, 5))
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    try:
        found = infer(network_from_onnx(model, name="n"), x)
    except UnsupportedModelError:
        found = np.empty(0)
    assert np.array_equal(found.astype(np.float32), wanted)
