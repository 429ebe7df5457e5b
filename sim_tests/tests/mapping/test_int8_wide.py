# SPDX-License-Identifier: Apache-2.0
"""Sums, differences and types of quantised networks that runtimes do not fuse: exact, or told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.codes.int8.convert import why_inexact
from mapping.datasets.load import Dataset
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network
from mapping.report.machine import estimate
from mapping.report.text import notes
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.int8_table import compared

pytest.importorskip("onnxruntime")

X = 2 * np.random.default_rng(1).normal(size=(24, 2, 6, 6))

Join = Callable[[ModelBuilder, str, str], str]


def act(b: ModelBuilder, x: str, scale: float, zero: int = 0, kind: type = np.uint8) -> str:
    ends = [b.constant(scale), b.constant(zero, kind)]
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *ends), *ends)


def weights(b: ModelBuilder, shape: tuple[int, ...], kind: type = np.int8, bits: int = 8) -> str:
    """Weights with a scale a channel, whose zero point is left out."""
    most = 2 ** (bits - 1) - 1
    scale = b.constant(2.5 / most * b.rng.uniform(0.5, 1, shape[0]))
    return b.op("DequantizeLinear", b.constant(b.rng.integers(-most, most, shape), kind), scale, axis=0)


def joined(join: Join, path: Path, scales: tuple[float, float, float] = (0.1137, 0.0731, 0.2219)) -> Path:
    """Two convolutions that are joined, pooled and voted on."""
    b = ModelBuilder((2, 6, 6), seed=5)
    x = act(b, "x", 0.03, 0, np.int8)
    first, second = (
        act(b, b.op("Conv", x, weights(b, (4, 2, 3, 3)), pads=[1] * 4), scale, zero)
        for scale, zero in zip(scales, (3, 120), strict=False)
    )
    y = act(b, b.op("Relu", join(b, first, second)), scales[2])
    y = b.op("Flatten", b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    y = act(b, b.op("Gemm", y, weights(b, (5, 36)), transB=1, name="vote"), 0.9, 7, np.int8)
    onnx.save(b.model(y), path)
    return path


def stored(b: ModelBuilder, size: int = 1) -> str:
    ends = b.constant(0.02), b.constant(128, np.uint8)
    return b.op("DequantizeLinear", b.constant(b.rng.integers(0, 255, (1, 4, size, size)), np.uint8), *ends)


def written(b: ModelBuilder) -> str:
    return act(b, b.constant(b.rng.normal(size=(1, 4, 1, 1))), 0.02, 128)


PAIRS: dict[str, Join] = {
    "difference": lambda b, u, v: b.op("Sub", u, v),
    "sum of two": lambda b, u, v: b.op("Sum", u, v),
    "twice": lambda b, u, _v: b.op("Add", b.op("Identity", u), u),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pair_equals_onnxruntime(name: str, tmp_path: Path) -> None:
    found = compared(joined(PAIRS[name], tmp_path / "m.onnx"), X, core="medium")
    assert found.activations >= len(X) * (2 * 144 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


CONSTANTS: dict[str, Join] = {
    "sum": lambda b, u, _v: b.op("Add", u, stored(b)),
    "turned sum": lambda b, u, _v: b.op("Add", stored(b), u),
    "difference": lambda b, u, _v: b.op("Sub", u, stored(b)),
    "turned difference": lambda b, u, _v: b.op("Sub", stored(b), u),
    "one an element": lambda b, u, _v: b.op("Add", u, stored(b, 6)),
    "one an element, turned": lambda b, u, _v: b.op("Sub", stored(b, 6), u),
    "quantised constant": lambda b, u, _v: b.op("Sub", u, written(b)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant_on_a_step_is_added_in_float32(name: str, tmp_path: Path) -> None:
    """With these scales many sums lie on a step, and the roundings of float32 decide."""
    path = joined(CONSTANTS[name], tmp_path / "m.onnx", (0.11, 0.07, 0.2))
    found = compared(path, X, core="medium")
    assert found.activations >= len(X) * (144 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_sum_with_one_value_a_channel_is_on_the_chip(tmp_path: Path) -> None:
    def spread(b: ModelBuilder, u: str, v: str) -> str:
        return b.op("Add", u, act(b, b.op("GlobalAveragePool", v), 0.03, 100))

    found = compared(joined(spread, tmp_path / "m.onnx"), X, core="reference")
    assert found.activations >= len(X) * (144 + 4 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


@pytest.mark.parametrize("columns", [(6, 1), (1, 6)], ids=["column", "row"])
def test_sum_of_other_shapes_is_the_hosts_and_told(columns: tuple[int, int], tmp_path: Path) -> None:
    def spread(b: ModelBuilder, u: str, v: str) -> str:
        ends = [b.constant(values, np.int64) for values in ([0, 0], columns, [2, 3])]
        return b.op("Add", u, act(b, b.op("Slice", v, *ends), 0.0731, 120))

    spiking = converted(joined(spread, tmp_path / "m.onnx"))
    sentence = "it adds tensors of different shapes, other than a map and one value a channel"
    assert all(sentence in host.told for host in spiking.host)
    assert 0 < (spiking.host_share or 0) < 0.05


def converted(path: Path) -> SpikingNetwork:
    network = load_onnx(path)
    return code_of(network).convert(network, Request(spec=preset("medium"), samples=X))


def test_tensor_added_to_itself_is_on_the_chip_at_any_scale(tmp_path: Path) -> None:
    found = compared(joined(PAIRS["twice"], tmp_path / "m.onnx", (0.11, 0.07, 0.2)), X, core="medium")
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


TIED = (
    "at the scales 0.11 and 0.07 in steps of 0.2 some of its sums lie half-way, and rounding takes some of "
    "these up, others down; quantise it with scales in no simple ratio, as of calibration, or all powers of "
    "two"
)
FAR = (
    "at the scales 2.5 and 1e-05 in steps of 2.6 no whole weights give every pair of its inputs its count; "
    "quantise both inputs of the sum with one scale"
)
Scales = tuple[float, float, float]
OUT: dict[str, tuple[Scales, list[Scales]]] = {
    TIED: ((0.11, 0.07, 0.2), [(0.1137, 0.0731, 0.2219), (0.125, 0.0625, 0.25)]),
    FAR: ((2.5, 0.00001, 2.6), [(2.5, 2.5, 2.6)]),
}


@pytest.mark.parametrize("sentence", OUT, ids=["tied", "far"])
def test_sum_that_no_weights_give_is_told_with_a_way_out(sentence: str, tmp_path: Path) -> None:
    scales, ways = OUT[sentence]
    spiking = converted(joined(PAIRS["sum of two"], tmp_path / "m.onnx", scales))
    assert spiking.host
    assert all(host.told == f"'relu11' before it is the host's: {sentence}" for host in spiking.host)
    for way in ways:
        assert converted(joined(PAIRS["sum of two"], tmp_path / "m.onnx", way)).host_share == 0.0


def test_sum_of_three_is_the_hosts_and_told(tmp_path: Path) -> None:
    def three(b: ModelBuilder, u: str, v: str) -> str:
        return b.op("Sum", u, v, u)

    spiking = converted(joined(three, tmp_path / "m.onnx"))
    reason = "the scales of what it adds are in no ratio of small whole numbers"
    assert spiking.host
    assert all(f": {reason}; quantise what it adds with one scale" in host.told for host in spiking.host)
    assert converted(joined(three, tmp_path / "m.onnx", (0.1, 0.1, 0.2219))).host_share == 0.0


def test_type_that_a_quantiser_names_is_that_of_its_integers(tmp_path: Path) -> None:
    import onnxruntime

    b = ModelBuilder((2, 6, 6), seed=5, opset=21)
    scale = b.constant(0.05)

    def signed(x: str) -> str:
        return b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, output_dtype=3), scale)

    y = signed(b.op("Conv", signed("x"), weights(b, (4, 2, 3, 3)), pads=[1] * 4))
    model = b.model(signed(b.op("Gemm", b.op("Flatten", y), weights(b, (5, 144)), transB=1)))
    model.ir_version = 10
    onnx.save(model, tmp_path / "m.onnx")
    (right,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": X.astype(np.float32)})
    got = infer(load_onnx(tmp_path / "m.onnx"), X)
    assert right.min() < 0
    np.testing.assert_array_equal(np.rint(got / 0.05), np.rint(right / 0.05))


def typed(path: Path, activation: type, weight: type, bits: int) -> Network:
    b = ModelBuilder((2, 6, 6), seed=5, opset=21)
    scale = 12.0 / np.iinfo(activation).max
    y = b.op("Conv", act(b, "x", scale, 0, activation), weights(b, (4, 2, 3, 3), weight, bits))
    y = act(b, b.op("Relu", y), 2 * scale, 0, activation)
    y = b.op("Gemm", b.op("Flatten", y), weights(b, (5, 64), weight, bits), transB=1)
    model = b.model(act(b, y, 8 * scale, 0, activation))
    model.ir_version = 10
    onnx.save(model, path)
    return load_onnx(path)


WAY = "quantise activations and weights to 8 bits for equal ones."
COARSE = (
    "The model is quantised, but {}: the graded code rounds it anew, and its activations are near those of "
    f"the model but not equal; {WAY}"
)
ACTIVATIONS = "it has activations of 16 bits and the integers of the chip have 8"
TIMES = "are no integers of 8 bits times one number in each channel"
WIDE: list[tuple[type, type, int, str | None]] = [
    (np.int16, np.int8, 8, ACTIVATIONS),
    (np.int16, np.int16, 16, ACTIVATIONS),
    (
        np.int8,
        np.int16,
        16,
        "the weights of 'conv3' are no integers of 8 bits times one number in each channel",
    ),
    (np.int8, np.int8, 8, None),
]


@pytest.mark.parametrize(("activation", "weight", "bits", "why"), WIDE)
def test_report_says_what_is_rounded_anew(
    activation: type, weight: type, bits: int, why: str | None, tmp_path: Path
) -> None:
    network = typed(tmp_path / "m.onnx", activation, weight, bits)
    assert (code_of(network).name, why_inexact(network)) == ("graded" if why else "int8", why)
    data = Dataset(x=X, y=np.zeros(len(X), np.int64), name="noise")
    report = estimate(network, data, ["loom"], core="medium").to_dict()
    assert (COARSE.format(why) in " ".join(notes(report))) == (why is not None)
    assert report["targets"][0]["host_share"] == 0.0


def stored_as(kind: int, **block: Any) -> onnx.ModelProto:
    """A dense layer whose weights are of another type, or have a scale for every block."""
    b = ModelBuilder((8,), seed=5, opset=21)
    values = b.rng.integers(-7, 8, 40)
    b.initializers.append(onnx.helper.make_tensor("w", kind, (5, 8), values))
    scale = b.constant(np.full((5, 2), 0.02) if block else 0.02)
    y = b.op("Gemm", act(b, "x", 0.03, 7), b.op("DequantizeLinear", "w", scale, **block), transB=1, name="fc")
    model = b.model(act(b, y, 0.011, 128))
    model.ir_version = 10
    return model


def test_weights_of_four_bits_are_those_of_eight(tmp_path: Path) -> None:
    x = np.random.default_rng(2).normal(size=(24, 8))
    for kind in (onnx.TensorProto.INT4, onnx.TensorProto.INT8):
        onnx.save(stored_as(kind), tmp_path / "m.onnx")
        found = compared(tmp_path / "m.onnx", x, core="medium")
        assert found.activations == len(x) * 5
        assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


REFUSED = {
    "Node 'dequantizelinear2' (DequantizeLinear) reads numbers with a floating point, and the chip "
    "has integers; quantise the float model to int8.": stored_as(onnx.TensorProto.FLOAT8E4M3FN),
    "Node 'dequantizelinear2' (DequantizeLinear) has a scale for every 4 numbers, and a neuron has one for "
    "all its weights; quantise the float model with one scale for each tensor or output channel.": stored_as(
        onnx.TensorProto.INT8, axis=1, block_size=4
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_weights_that_are_no_integers_of_one_scale_are_told(sentence: str, tmp_path: Path) -> None:
    onnx.save(REFUSED[sentence], tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError) as error:
        load_onnx(tmp_path / "m.onnx")
    assert str(error.value) == sentence
