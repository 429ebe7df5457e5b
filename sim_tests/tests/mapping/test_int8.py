# SPDX-License-Identifier: Apache-2.0
"""Quantised networks on the chip: every activation equals onnxruntime's; every refusal is one sentence."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import version_converter

from emu.spec import preset
from mapping.chip import open_chip
from mapping.codes.choice import Request, code_of
from mapping.codes.int8.pairs import Pair, weigh
from mapping.codes.ladders import find_ladder_between, requantisation_thresholds
from mapping.datasets.load import load_data
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network, make_node
from mapping.model.operations import apply_elementwise
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists
from mapping.spiking.simulate import compare
from sim_tests.generators.integer_models import FORMS, inception, leaky, plain, quantised, residual
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees import int8_table
from sim_tests.referees.int8_table import compared, main

pytest.importorskip("onnxruntime")

MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "plain": (plain, (2, 8, 8)),
    "residual": (residual, (2, 6, 6)),
    "inception": (inception, (2, 6, 6)),
    "leaky": (leaky, (2, 6, 6)),
}
NAMES = [f"{form}-{'us'[signed]}8-{('tensor', 'channel')[per]}" for form, signed, per in FORMS]
ACTIVATIONS = {"plain": 4 * 64 + 4 * 16 + 12 + 5, "residual": 4 * 144 + 4 + 5}
ACTIVATIONS |= {"inception": 2 * 5 * 36 + 64 + 5, "leaky": 2 * 64 + 2 * 16 + 5}


def samples(shape: tuple[int, ...], n: int = 24) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, *shape)).astype(np.float32)


def written(name: str, form: tuple[str, int, int], folder: Path) -> tuple[Path, np.ndarray]:
    """Quantise a model; return its file and inputs."""
    build, shape = MODELS[name]
    x = samples(shape)
    return quantised(build(), x, folder / "model.onnx", form), x.astype(np.float64)


def converted(network: Network) -> SpikingNetwork:
    return code_of(network).convert(network, Request(spec=preset("medium")))


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
@pytest.mark.parametrize("name", MODELS)
def test_every_activation_equals_onnxruntime(name: str, form: tuple[str, int, int], tmp_path: Path) -> None:
    path, x = written(name, form, tmp_path)
    found = compared(path, x, core="medium")
    assert found.activations == len(x) * ACTIVATIONS[name]
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_float_model_of_the_same_form_is_not_taken_for_integers(tmp_path: Path) -> None:
    onnx.save(plain(), tmp_path / "float.onnx")
    assert code_of(load_onnx(tmp_path / "float.onnx")).name == "graded"


def test_network_of_another_scale_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, x = written("plain", FORMS[0], tmp_path)
    model, other = onnx.load(path), tmp_path / "other.onnx"
    scale = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("_scale"))
    values = onnx.numpy_helper.to_array(scale) * np.float32(1.01)
    scale.CopyFrom(onnx.numpy_helper.from_array(values, scale.name))
    onnx.save(model, other)
    monkeypatch.setattr(int8_table, "load_onnx", lambda _: load_onnx(other))
    found = compared(path, x, core="medium")
    assert found.network > 0
    assert found.image > 0


def test_requantisation_rounds_halves_to_even_and_saturates() -> None:
    node = make_node(
        "r",
        "Requantise",
        ["x"],
        "y",
        attributes={"low": -2, "high": 3},
        constants={"scale": np.array(0.5)},
    )
    got = apply_elementwise(node, np.array([-9.0, -5, -3, -1, 1, 3, 5, 9]), axis=0)
    assert got.tolist() == [-2, -2, -2, 0, 0, 2, 2, 3]


def test_product_of_sum_and_scale_is_rounded_to_float32() -> None:
    scale = float(np.float32(1e-5))
    attributes = {"low": -128, "high": 127}
    node = make_node(
        "r", "Requantise", ["x"], "y", attributes=attributes, constants={"scale": np.array(scale)}
    )
    assert 150000 * Fraction(scale) < Fraction(3, 2)
    assert apply_elementwise(node, np.array([149999.0, 150000.0]), axis=0).tolist() == [1, 2]


def test_image_carries_the_integer_network(tmp_path: Path) -> None:
    path, x = written("residual", FORMS[0], tmp_path)
    chip = compile_network(load_onnx(path), core="medium")
    chip.save(tmp_path / "image.npz")
    opened = open_chip(tmp_path / "image.npz")
    assert opened.spiking.code == "int8"
    assert opened.spiking.exact
    assert np.array_equal(opened.run(x[:3]).logits, chip.run(x[:3]).logits)


@pytest.mark.skipif("SPIKELOOM_DATA" not in os.environ, reason="SPIKELOOM_DATA names no folder of data")
@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_lenet_equals_onnxruntime_on_every_activation(form: tuple[str, int, int], tmp_path: Path) -> None:
    data = Path(os.environ["SPIKELOOM_DATA"])
    model = version_converter.convert_version(onnx.load(data / "models/mnist_lenet_andreygermanov.onnx"), 13)
    model.ir_version = 8

    train = load_data(f"mnist:{data / 'mnist'}:train").first(64)
    path = quantised(model, train.x.reshape(-1, 1, 28, 28).astype(np.float32), tmp_path / "lenet.onnx", form)
    test = load_data(f"mnist:{data / 'mnist'}").first(40).x.reshape(-1, 1, 28, 28).astype(np.float64)
    found = compared(path, test, emulated=4)
    assert found.activations == 40 * 6518
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_table_has_a_row_and_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, x = written("plain", FORMS[0], tmp_path)
    np.savez(tmp_path / "data.npz", x=x, y=np.zeros(len(x), np.int64))
    assert main([str(path), "--data", str(tmp_path / "data.npz"), "--core", "medium", "--samples", "4"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| model | 4 | 1348 | 0 | 0 | 0.00% |"
    assert main([str(path), "--data", str(tmp_path / "none.npz")]) == 2
    assert capsys.readouterr().err.startswith("int8_table: ")


# sums of two scales


def counts_of(scales: tuple[float, float, float], low: int, high: int) -> Callable[..., np.ndarray]:
    first, second, out = map(np.float32, scales)

    def count(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = a.astype(np.float32) * first + b.astype(np.float32) * second
        return np.clip(np.rint(total / out), low, high).astype(np.int64)

    return count


@pytest.mark.parametrize("seed", range(6))
def test_pairs_have_whole_weights_and_a_quantiser(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = map(float, rng.uniform(0.01, 0.1, 2).astype(np.float32))
    out = float(np.float32(max(first, second) * rng.uniform(1, 2)))
    zero = int(rng.integers(0, 256))
    inputs = np.arange(-zero, 256 - zero), np.arange(256)
    count = counts_of((first, second, out), -zero, 255 - zero)
    pair = Pair(first=first, second=second, step=out, count=count)
    found = weigh(pair, inputs, low=-zero, high=255 - zero)
    assert found is not None
    sums = found.first * inputs[0][:, None] + found.second * inputs[1]
    got = np.searchsorted(found.most, sums.reshape(-1), side="right").reshape(sums.shape) - zero
    a, b = np.meshgrid(*inputs, indexing="ij")
    assert np.array_equal(got, count(a, b))


def test_pairs_of_a_count_that_is_no_sum_have_no_weights() -> None:
    inputs = np.arange(16), np.arange(16)
    product = Pair(first=1.0, second=1.0, step=1.0, count=lambda a, b: a * b // 16)
    assert weigh(product, inputs, low=0, high=15) is None
    falling = Pair(first=1.0, second=1.0, step=1.0, count=lambda a, b: 15 - a - b)
    assert weigh(falling, (np.arange(16), np.arange(1)), low=0, high=15) is None


def test_ladder_lies_between_bounds() -> None:
    least = requantisation_thresholds(Fraction(1, 37), 0, 200)
    most = least + np.arange(200) % 5
    ladder = find_ladder_between(least, most, 0, 9)
    assert ladder is not None
    found = ladder.thresholds(0, 200)
    assert (least <= found).all()
    assert (found <= most).all()
    assert find_ladder_between(np.array([2, 4, 60]), np.array([2, 4, 61]), 0, 4) is None


def test_rows_without_a_ladder_are_lists() -> None:
    kinds: set[type] = set()
    for seed in range(8):
        b = ModelBuilder((400,), seed=seed)
        scale = b.constant(4e-3 / (1 + 3 * seed))
        spiking = converted(b.network(matrix(b, scale=scale, weights=(400, 1))))
        kinds.add(type(spiking.layers[0].quantiser))
        assert compare(spiking, samples((400,))).differences == 0
    assert kinds == {Ladders, Lists}


# refusals


def matrix(b: ModelBuilder, weights: tuple[int, int] = (6, 3), **given: str) -> str:
    """A QLinearMatMul between quantisers, with some of its inputs replaced."""
    parts = {
        "x": b.op("QuantizeLinear", "x", b.constant(0.5), b.constant(3, np.uint8)),
        "x_scale": b.constant(0.5),
        "x_zero": b.constant(3, np.uint8),
        "weight": b.constant(b.rng.integers(-128, 128, weights), np.int8),
        "scale": b.constant(0.25),
        "zero": b.constant(0, np.int8),
        "y_scale": b.constant(2.0),
        "y_zero": b.constant(100, np.uint8),
    } | given
    y = b.op("QLinearMatMul", *parts.values(), name="m")
    return b.op("DequantizeLinear", y, b.constant(2.0), parts["y_zero"])


def convolution(b: ModelBuilder, **given: str) -> str:
    """A QLinearConv between quantisers, with some of its inputs replaced."""
    ends = [b.constant(0.5), b.constant(3, np.uint8)]
    parts = {
        "x": b.op("QuantizeLinear", "x", *ends),
        "x_scale": ends[0],
        "x_zero": ends[1],
        "weight": b.constant(b.rng.integers(-128, 128, (3, 2, 1, 1)), np.int8),
        "scale": b.constant([0.25, 0.5, 0.125]),
        "zero": b.constant([0, 0, 0], np.int8),
        "y_scale": ends[0],
        "y_zero": ends[1],
        "bias": b.constant([1, 2, 3], np.int32),
    } | given
    return b.op("DequantizeLinear", b.op("QLinearConv", *parts.values(), name="c"), *ends)


M, C = "Node 'm' (QLinearMatMul)", "Node 'c' (QLinearConv)"
REFUSED: list[tuple[Callable[[ModelBuilder], str], str]] = [
    (lambda b: matrix(b, x_zero=""), f"{M} needs a zero point as input 2, that of its input."),
    (lambda b: matrix(b, zero=""), f"{M} needs a zero point as input 5, that of its weights."),
    (
        lambda b: matrix(b, y_scale=b.constant(0.0)),
        f"{M} has the scale 0 of its output, which is no number above zero.",
    ),
    (
        lambda b: matrix(b, scale=b.constant(np.nan)),
        f"{M} has the scale nan of its weights, which is no number above zero.",
    ),
    (
        lambda b: matrix(b, x_scale=b.constant([0.5, 0.5])),
        f"{M} has 2 scales of its input, an activation has one.",
    ),
    (
        lambda b: matrix(b, y_zero=b.constant(0, np.int16)),
        f"{M} has a zero point of type int16 and shape () of its output; supported is one int8 or uint8.",
    ),
    (
        lambda b: matrix(b, weight=b.constant(np.ones((6, 3)), np.int16)),
        f"{M} has weights of type int16, supported are int8 and uint8.",
    ),
    (
        lambda b: matrix(b, weight="x"),
        f"{M} reads tensor 'x' where a constant is needed; export the model with its weights.",
    ),
    (
        lambda b: matrix(b, scale=b.constant(np.ones(6))),
        f"{M} has 6 scales and 1 zero points of type int8 for 3 output channels of int8.",
    ),
    (
        lambda b: matrix(b, x_zero=b.constant(4, np.uint8)),
        f"{M} reads integers of the zero point 3 as of 4; supported is one zero point.",
    ),
    (lambda b: matrix(b, x="x"), f"{M} reads tensor 'x', which holds no integers of a quantiser."),
    (
        lambda b: matrix(b, scale=b.constant(1, np.int32)),
        f"{M} needs a scale of float32 as input 4, that of its weights.",
    ),
    (
        lambda b: convolution(b, bias=b.constant([1.0, 2.0, 3.0])),
        f"{C} has a bias of type float32 and shape (3,), supported are 3 int32.",
    ),
    (
        lambda b: convolution(b, weight=b.constant(np.ones((3, 2)), np.int8)),
        f"{C} needs a constant with 4 dimensions as input 3.",
    ),
]


@pytest.mark.parametrize(("build", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_bad_operator_on_integers_is_one_sentence(
    build: Callable[[ModelBuilder], str], sentence: str
) -> None:
    b = ModelBuilder((2, 3, 3) if sentence.startswith(C) else (6,))
    with pytest.raises(UnsupportedModelError) as error:
        b.network(build(b))
    assert str(error.value) == sentence


def test_weights_of_a_zero_point_are_exact(tmp_path: Path) -> None:
    b = ModelBuilder((6,))
    weight, zero = b.constant(b.rng.integers(0, 256, (6, 3)), np.uint8), b.constant(120, np.uint8)
    onnx.save(b.model(matrix(b, weight=weight, zero=zero)), tmp_path / "m.onnx")
    found = compared(tmp_path / "m.onnx", samples((6,)).astype(np.float64), core="medium")
    assert (found.network, found.image, found.activations) == (0, 0, 24 * 3)


def test_pooled_integers_below_zero_are_exact() -> None:
    b = ModelBuilder((2, 5, 5))
    ends = [b.constant(0.5), b.constant(60, np.uint8)]
    y = b.op("QLinearConv", b.op("QuantizeLinear", "x", *ends), *ends, *kernel(b, 3, 2, 2), *ends)
    y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("QLinearConv", y, *ends, *kernel(b, 4, 3, 3), *ends, pads=[1, 1, 1, 1])
    network = b.network(b.op("DequantizeLinear", y, *ends))
    spiking = converted(network)
    assert (spiking.layers[0].low, spiking.layers[0].zero) == (0, 60)
    assert spiking.host_share == 0
    assert compare(spiking, 10 * samples((2, 5, 5))).differences == 0


def kernel(b: ModelBuilder, rows: int, inputs: int, size: int) -> list[str]:
    """Return weights, scale and zero point of a convolution."""
    weight = b.rng.integers(-128, 128, (rows, inputs, size, size))
    return [b.constant(weight, np.int8), b.constant(0.004), b.constant(0, np.int8)]


def test_integers_at_the_output_are_given_with_their_zero_point() -> None:
    b = ModelBuilder((6,))
    y = matrix(b)
    network = b.network(b.nodes[-1].input[0])
    assert y
    values = converted(network)
    assert values.host_share == 0
    assert compare(values, samples((6,))).differences == 0


# quantised in steps of reals


def weights_of(b: ModelBuilder, step: float) -> list[str]:
    shapes = (4, 2, 3, 3), (5, 64)
    return [quant(b, b.constant(b.rng.normal(size=shape)), step, 8, 1) for shape in shapes]


def quant(b: ModelBuilder, x: str, scale: float, bits: int, signed: int) -> str:
    ends = [b.constant(scale), b.constant(0.0), b.constant(float(bits))]
    return b.op("Quant", x, *ends, domain="qonnx.custom_op.general", signed=signed, narrow=signed)


@pytest.mark.parametrize("step", [0.021, 2.0**-6])
def test_qonnx_network_with_float_biases_is_exact(step: float) -> None:
    b = ModelBuilder((2, 6, 6))
    y = quant(b, "x", 0.03, 8, 1)
    weights = [
        quant(b, b.constant(b.rng.normal(size=shape)), step, 8, 1) for shape in ((4, 2, 3, 3), (5, 64))
    ]
    y = b.op("Conv", y, weights[0], b.constant(b.rng.normal(size=4)), name="c1")
    y = quant(b, b.op("Relu", y), 0.04, 8, 0)
    y = b.op("Gemm", b.op("Flatten", y), weights[1], b.constant(b.rng.normal(size=5)), transB=1, name="fc")
    network = b.network(quant(b, y, 0.1, 8, 1))
    assert code_of(network).name == "int8"
    spiking = converted(network)
    assert spiking.host_share == 0
    found = compare(spiking, samples((2, 6, 6), 100))
    assert (found.differences, found.neurons) == (0, 100 * (64 + 5 + 5))


def test_layer_without_a_quantiser_is_the_hosts() -> None:
    b = ModelBuilder((2, 6, 6))
    y = quant(b, "x", 0.03, 8, 1)
    weights = [
        quant(b, b.constant(b.rng.normal(size=shape)), 0.02, 8, 1) for shape in ((4, 2, 3, 3), (5, 64))
    ]
    y = quant(b, b.op("Relu", b.op("Conv", y, weights[0], name="c1")), 0.04, 8, 0)
    network = b.network(b.op("Gemm", b.op("Flatten", y), weights[1], transB=1, name="fc"))
    spiking = converted(network)
    assert [layer.name for layer in spiking.layers] == ["c1"]
    assert [layer.reason for layer in spiking.host] == [
        "its output is not quantised, and no samples tell the range of its counts"
    ]
