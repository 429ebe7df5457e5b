# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear and DequantizeLinear: their rounding, saturation and weights, and every refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto

from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.model.analysis import analyse
from mapping.model.evaluate import infer
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_models import qonnx_quant
from sim_tests.generators.spiking_models import images
from sim_tests.tests.mapping.test_importer import assert_same, reference, refusal


def pair(
    b: ModelBuilder,
    x: str,
    scale: ArrayLike = 0.25,
    zero_point: ArrayLike = 0,
    dtype: type[np.generic] = np.uint8,
    **attributes: Any,
) -> str:
    """Add a QuantizeLinear and a DequantizeLinear."""
    limits = [b.constant(scale), b.constant(zero_point, dtype)]
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *limits, **attributes), *limits, **attributes)


LINE = np.arange(-300, 1300)[:, None] * 0.125


@pytest.mark.parametrize(
    ("zero_point", "dtype"),
    [(0, np.uint8), (7, np.uint8), (255, np.uint8), (0, np.int8), (-128, np.int8), (-3, np.int8)],
)
def test_pair_rounds_and_saturates_as_onnxruntime_does(zero_point: int, dtype: type[np.generic]) -> None:
    b = ModelBuilder((1,))
    y = pair(b, "x", 0.25, zero_point, dtype)
    model, x = b.model(y), LINE.astype(np.float32)
    assert (infer(b.network(y), x) == reference(model, x)).all()
    low, high = (0, 255) if dtype is np.uint8 else (-128, 127)
    plain = [[(min(max(round(v / 0.25) + zero_point, low), high) - zero_point) * 0.25] for v in LINE[:, 0]]
    assert (infer(b.network(y), x) == np.array(plain)).all()


def test_zero_point_is_added_after_the_rounding() -> None:
    b = ModelBuilder((1,))
    network = b.network(pair(b, "x", 1.0, 1))
    assert infer(network, [[0.5], [1.5], [2.5], [-0.5], [-1.5]]).reshape(-1).tolist() == [0, 2, 2, 0, -1]


def test_scale_per_channel_is_evaluated() -> None:
    b = ModelBuilder((2, 3, 3))
    assert_same(b.model(pair(b, "x", [0.5, 0.1], [0, 0])), (2, 3, 3))
    assert not analyse(b.network("t1")).activations


@pytest.mark.parametrize(
    ("before", "zero_point", "dtype", "levels"),
    [
        (None, 0, np.uint8, 255),
        (None, -128, np.int8, 255),
        (None, 0, np.int8, None),
        (None, 3, np.uint8, None),
        ("relu", 0, np.int8, 127),
        ("relu", 3, np.uint8, 252),
        ("clip", 0, np.int8, 4),
        ("clip", 10, np.uint8, 4),
    ],
)
def test_levels_follow_from_type_zero_point_and_clip(
    before: str | None, zero_point: int, dtype: type[np.generic], levels: int | None
) -> None:
    b = ModelBuilder((3,))
    x = {None: "x", "relu": b.op("Relu", "x"), "clip": b.clip("x", 0.0, 1.0)}[before]
    found = list(analyse(b.network(pair(b, x, 0.25, zero_point, dtype))).activations.values())
    assert [activation.levels for activation in found] == ([] if levels is None else [levels])


def test_pool_and_reshapes_may_stand_between_the_two() -> None:
    b = ModelBuilder((2, 4, 4))
    limits = [b.constant(0.2), b.constant(5, np.uint8)]
    y = b.op("MaxPool", b.op("QuantizeLinear", "x", *limits), kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("Reshape", b.op("Identity", y), b.constant([0, 8, 1, 1], np.int64))
    y = b.op("DequantizeLinear", b.op("Flatten", y), *limits)
    x = np.random.default_rng(0).normal(size=(9, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(infer(b.network(y), x), reference(b.model(y), x), rtol=1e-6)


@pytest.mark.parametrize(("low", "high", "levels"), [(5, 8, 3), (0, 7, None), (6, 255, 250), (5, 300, 250)])
def test_integers_may_be_clipped_between_the_two(low: int, high: int, levels: int | None) -> None:
    b = ModelBuilder((1,))
    limits = [b.constant(0.3), b.constant(5, np.uint8)]
    bounds = [b.constant(min(bound, 255), np.uint8) for bound in (low, high)]
    q = b.op("Clip", b.op("QuantizeLinear", "x", *limits), *bounds)
    network = b.network(b.op("DequantizeLinear", q, *limits))
    scale = float(np.float32(0.3))
    plain = [(min(max(round(v / scale) + 5, low), high, 255) - 5) * scale for v in LINE[:, 0]]
    assert infer(network, LINE)[:, 0].tolist() == plain
    assert [found.levels for found in analyse(network).activations.values()] == ([levels] if levels else [])
    assert [node.op for node in network.nodes] == ["Quantise"]


def test_stored_integers_may_be_clipped() -> None:
    b = ModelBuilder((3,))
    w = b.op("Clip", b.constant([[-5, 0, 9]], np.int8), b.constant(-1, np.int8), b.constant(1, np.int8))
    network = b.network(b.op("Gemm", "x", b.op("DequantizeLinear", w, b.constant(0.5)), transB=1))
    assert network.nodes[0].constants["weight"].tolist() == [[-0.5, 0.0, 0.5]]


def test_one_quantiser_with_several_readers_is_one_activation() -> None:
    b = ModelBuilder((6,))
    limits = [b.constant(0.3), b.constant(0, np.uint8)]
    q = b.op("QuantizeLinear", b.clip("x", 0.0, 1.0), *limits)
    parts = [b.dense(b.op("DequantizeLinear", q, *limits), b.ternary(4, 6), name=n) for n in ("a", "b")]
    y = b.op("Add", *(b.head(pair(b, b.op("Relu", part), 0.1, 0, np.int8), 4) for part in parts))
    network = b.network(y)
    assert len(analyse(network).activations) == 3
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["a", "b"]
    assert spiking.host_layers[0] == "quantizelinear1"
    assert compare(spiking, images((6,), 200)).differences == 0


WEIGHTS: list[tuple[NDArray[Any], ArrayLike, ArrayLike | None, dict[str, Any]]] = [
    (np.array([[-1, 0, 1], [0, 0, 0]], np.int8), 0.3, None, {}),
    (np.array([[-1, 0, 1], [0, 0, 0]], np.int8), 0.3, 0, {}),
    (np.array([[-1, 0, 1], [1, 0, 0]], np.int8), [0.3, 0.7], [0, 0], {"axis": 0}),
    (np.array([[-1, 0, 1], [1, 0, 0]], np.int8), [0.3, 0.7], None, {"axis": -2}),
    (np.array([[4, 5, 6], [6, 5, 5]], np.int8), [0.3, 0.7], [5, 5], {"axis": 0}),
    (np.array([[-127, 0, 127], [0, 0, 127]], np.int8), 0.01, 0, {}),
    (np.array([[-127, 0, 127], [0, 0, 127]], np.int8), [0.01], 0, {}),
]


@pytest.mark.parametrize(("stored", "scale", "zero_point", "attributes"), WEIGHTS)
def test_stored_weights_are_exact(
    stored: NDArray[Any], scale: ArrayLike, zero_point: ArrayLike | None, attributes: dict[str, Any]
) -> None:
    b = ModelBuilder((3,))
    inputs = [b.constant(stored, np.int8), b.constant(scale)]
    inputs += [] if zero_point is None else [b.constant(zero_point, np.int8)]
    y = b.op("Gemm", pair(b, "x"), b.op("DequantizeLinear", *inputs, **attributes), name="fc", transB=1)
    network = b.network(b.head(pair(b, y), 2))
    single = np.asarray(scale, np.float32).astype(np.float64).reshape(-1, 1)
    offset = 0 if zero_point is None else np.reshape(zero_point, (-1, 1))
    weight = next(node for node in network.nodes if node.name == "fc").constants["weight"]
    assert (weight == (stored.astype(np.float64) - offset) * single).all()
    assert [layer.name for layer in convert(network).layers] == ["fc"]


def test_weights_quantised_in_the_graph_and_a_stored_bias_are_folded() -> None:
    b = ModelBuilder((3,), opset=21)
    weight = b.constant([[0.2, -0.24, 0.1], [0.96, 0.5, -0.05]])
    limits = [b.constant([0.2, 0.6]), b.constant([0, 0], np.int8)]
    w = b.op("QuantizeLinear", weight, *limits, axis=0)
    w = b.op("Transpose", b.op("DequantizeLinear", w, *limits, axis=0), perm=[1, 0])
    bias = b.op("DequantizeLinear", b.constant([70000, -3], np.int32), b.constant(0.001))
    y = b.op("Gemm", "x", w, bias)
    assert_same(b.model(y), (3,))
    digits = b.network(y).nodes[0].constants["weight"] / np.array([[0.2], [0.6]], np.float32)
    assert digits.tolist() == [[1, -1, 0], [2, 1, 0]]


def q(b: ModelBuilder, *inputs: str, **attributes: Any) -> str:
    return b.op("QuantizeLinear", *inputs, name="q", **attributes)


def dq(b: ModelBuilder, *inputs: str, **attributes: Any) -> str:
    return b.op("DequantizeLinear", *inputs, name="d", **attributes)


def scaled(b: ModelBuilder, value: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
    return b.constant(value, dtype, "s")


Build = Callable[[ModelBuilder], str]
QN, DN = "Node 'q' (QuantizeLinear)", "Node 'd' (DequantizeLinear)"

MESSAGES: list[tuple[Build, str]] = [
    (lambda b: q(b, "x", scaled(b, 0.0)), f"{QN} has the scale 0, which is not above zero."),
    (lambda b: q(b, "x", scaled(b, -0.5)), f"{QN} has the scale -0.5, which is not above zero."),
    (lambda b: q(b, "x", scaled(b, np.nan)), "Tensor 's' has NaN or infinite values; train the model again."),
    (lambda b: q(b, "x", scaled(b, np.inf)), "Tensor 's' has NaN or infinite values; train the model again."),
    (lambda b: q(b, "x"), f"{QN} must have two or three inputs, not 1."),
    (q, f"{QN} reads tensor '', which no earlier node writes."),
    (lambda b: q(b, "x", ""), f"{QN} needs a numeric constant as input 1, its scale."),
    (
        lambda b: q(b, "x", "x"),
        f"{QN} reads tensor 'x' where a constant is needed; export the model with its weights.",
    ),
    (
        lambda b: q(b, "x", scaled(b, 1.0), b.constant(0.0)),
        (
            f"{QN} has a zero point that is no integer, so its numbers have a floating point, and the chip "
            "has integers; quantise the float model to int8."
        ),
    ),
    (
        lambda b: q(b, "x", scaled(b, 1.0), b.constant([0, 0], np.int8)),
        (
            f"{QN} has a zero point of type int8 and shape (2,) beside a scale of shape (); supported are "
            "integers of the same shape."
        ),
    ),
    (
        lambda b: q(b, "x", scaled(b, [1.0, 2.0]), b.constant([0, 1], np.uint8)),
        f"{QN} has different zero points on the channels of an activation.",
    ),
    (
        lambda b: q(b, "x", scaled(b, [1.0, 2.0, 3.0])),
        f"{QN} has 3 scales along axis 1 of an input with 2 channels.",
    ),
    (
        lambda b: q(b, "x", scaled(b, [[1.0, 2.0]])),
        f"{QN} has a scale of shape (1, 2), supported are () and (channels,).",
    ),
    (
        lambda b: q(b, "x", scaled(b, 1.0), output_dtype=TensorProto.FLOAT8E5M2),
        f"{QN} writes the ONNX type 19, which is not supported.",
    ),
    (
        lambda b: q(b, "x", scaled(b, 1.0), block_size=4),
        (
            f"{QN} has a scale for every 4 numbers, and a neuron has one for all its weights; quantise the "
            "float model with one scale for each tensor or output channel."
        ),
    ),
    (
        lambda b: dq(b, "x", scaled(b, 1.0)),
        f"{DN} reads neither a constant nor the integers of a QuantizeLinear.",
    ),
    (dq, f"{DN} reads neither a constant nor the integers of a QuantizeLinear."),
    (
        lambda b: dq(b, q(b, "x", scaled(b, 1.0)), b.constant(0.5)),
        f"{DN} has another scale or zero point than the QuantizeLinear it reads.",
    ),
    (
        lambda b: dq(b, q(b, "x", scaled(b, 1.0)), "s", b.constant(1, np.uint8)),
        f"{DN} has another scale or zero point than the QuantizeLinear it reads.",
    ),
    (
        lambda b: dq(b, b.constant([1.0]), scaled(b, 1.0)),
        (
            f"{DN} reads numbers with a floating point, and the chip has integers; quantise the float model "
            "to int8."
        ),
    ),
    (
        lambda b: dq(b, b.constant([[1, 2]], np.int8), scaled(b, [1.0, 2.0, 3.0])),
        f"{DN} has 3 scales along axis 1 of a constant of shape (1, 2).",
    ),
    (
        lambda b: b.op("Relu", q(b, "x", scaled(b, 1.0)), name="r"),
        "Node 'r' (Relu) reads the integers 't0' of a QuantizeLinear; put a DequantizeLinear between.",
    ),
    (
        lambda b: b.op("Add", "x", q(b, "x", scaled(b, 1.0)), name="a"),
        "Node 'a' (Add) reads the integers 't0' of a QuantizeLinear; put a DequantizeLinear between.",
    ),
    (
        lambda b: b.op(
            "Clip", b.op("Flatten", q(b, "x", scaled(b, 1.0))), "", b.constant(9, np.uint8), name="c"
        ),
        ("Node 'c' (Clip) clips integers behind a pool or a reshape, which is supported only before them."),
    ),
    (
        lambda b: b.op("Flatten", q(b, "x", scaled(b, [1.0, 2.0])), name="f"),
        "Node 'f' (Flatten) reads the integers 't0' of a QuantizeLinear; put a DequantizeLinear between.",
    ),
]


@pytest.mark.parametrize(("build", "message"), MESSAGES)
def test_refusal_says_what_and_where(build: Build, message: str) -> None:
    b = ModelBuilder((2, 6, 6), opset=21)
    output = build(b)
    with pytest.raises(UnsupportedModelError) as error:
        b.network(output)
    assert str(error.value) == message


def test_tensor_written_twice_is_refused() -> None:
    b = ModelBuilder((2,))
    first = b.op("QuantizeLinear", "x", b.constant(1.0))
    b.op("QuantizeLinear", "x", "c0", name="q")
    b.nodes[-1].output[0] = first
    with pytest.raises(UnsupportedModelError) as error:
        b.network(first)
    assert str(error.value) == f"{QN} writes tensor 't0', which is there already; export it again."


def damaged_files(b: ModelBuilder, output: str, path: Path, files: int = 300) -> int:
    """Load damaged copies of a model; return how many were refused by a sentence."""
    data, rng, refused = b.model(output).SerializeToString(), np.random.default_rng(3), 0
    for _ in range(files):
        damaged = bytearray(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
        for at in rng.integers(0, len(damaged), size=rng.integers(1, 9)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        refused += refusal(path) is not None
    return refused


def test_damaged_file_with_quantisers_never_fails_otherwise(tmp_path: Path) -> None:
    b = ModelBuilder((2, 4, 4))
    weight = b.op("DequantizeLinear", b.constant(np.eye(2).reshape(2, 2, 1, 1), np.int8), b.constant(0.5))
    y = b.op("Flatten", pair(b, b.op("Conv", pair(b, "x"), weight), [0.5, 0.25], [0, 0]))
    y = qonnx_quant(b, qonnx_quant(b, y, 0.25, 3), 0.5, 4, rounding_mode="CEIL")
    assert damaged_files(b, y, tmp_path / "m.onnx") > 150
