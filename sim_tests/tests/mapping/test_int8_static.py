# SPDX-License-Identifier: Apache-2.0
"""Further forms of onnxruntime's quantiser, and functions with a valley: exact, or off the chip."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.codes.int8 import convert, layers
from mapping.codes.int8.rising import FALLS, falls_behind, falls_somewhere
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network, make_node
from mapping.spiking.simulate import compare
from sim_tests.generators.integer_models import (
    FURTHER,
    bordered,
    branches,
    channels_last,
    gated,
    inception,
    leaky,
    plain,
    quantised,
    residual,
    swish,
)
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees import int8_averages, int8_table
from sim_tests.referees.int8_averages import averaged
from sim_tests.referees.int8_runtime import Runtime
from sim_tests.referees.int8_table import compared, main

pytest.importorskip("onnxruntime")

U8, S8 = ("QDQ", 0, 0), ("QDQ", 1, 1)


def samples(build: Callable[[int], onnx.ModelProto], n: int = 24) -> np.ndarray:
    shape = (2, 8, 8) if build is plain else (6, 6, 2) if build is channels_last else (2, 6, 6)
    return 2 * np.random.default_rng(1).normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("form", [U8, S8], ids=["u8-tensor", "s8-channel"])
@pytest.mark.parametrize("further", FURTHER)
@pytest.mark.parametrize("build", [plain, residual, inception, branches, leaky, swish])
def test_further_form_equals_onnxruntime(
    build: Callable[[int], onnx.ModelProto], further: str, form: tuple[str, int, int], tmp_path: Path
) -> None:
    x = samples(build)
    path = quantised(build(0), x, tmp_path / "model.onnx", form, FURTHER[further])
    found = compared(
        path, x.astype(np.float64), core="medium", runtime=Runtime(path, optimised=further != "bias")
    )
    assert found.activations > 24 * 64
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


@pytest.mark.parametrize("form", [U8, S8, ("QOperator", 0, 0)])
def test_function_with_a_valley_equals_onnxruntime(form: tuple[str, int, int], tmp_path: Path) -> None:
    x = samples(swish)
    path = quantised(swish(), x, tmp_path / "model.onnx", form)
    found = compared(path, x.astype(np.float64), core="medium")
    assert found.activations == 24 * (4 * 64 + 16 + 5 - 64)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_valley_of_sums_that_are_not_quantised_equals_onnxruntime(tmp_path: Path) -> None:
    """No neuron gives real sums, so that each side of a valley has sums of its own."""
    x = samples(swish)
    options = {"OpTypesToExcludeOutputQuantization": ["Conv"]}
    path = quantised(swish(), x, tmp_path / "model.onnx", U8, options)
    found = compared(path, x.astype(np.float64), core="medium", runtime=Runtime(path, optimised=False))
    assert found.activations == 24 * (64 + 16 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_valley_that_is_not_split_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = samples(swish)
    path = quantised(swish(), x, tmp_path / "model.onnx", U8)
    monkeypatch.setattr(convert, "split_valleys", lambda network: network)
    network = load_onnx(path)
    spiking = code_of(network).convert(network, Request(spec=preset("medium")))
    assert [layer.reason for layer in spiking.host][:1] == [FALLS.reason]
    assert compare(spiking, x).differences == 0


def test_falling_counts_are_found_by_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = samples(swish)
    path = quantised(swish(), x, tmp_path / "model.onnx", U8)
    monkeypatch.setattr(convert, "split_valleys", lambda network: network)
    monkeypatch.setattr(layers, "falls_behind", lambda *_: False)
    found = compared(path, x.astype(np.float64), core="medium")
    assert found.network > 0


def test_pooled_integers_of_another_scale_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = samples(swish)
    path = quantised(swish(), x, tmp_path / "model.onnx", U8)
    model, other = onnx.load(path), tmp_path / "other.onnx"
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "t5_scale")
    values = onnx.numpy_helper.to_array(scale) * np.float32(1.01)
    scale.CopyFrom(onnx.numpy_helper.from_array(values, scale.name))
    onnx.save(model, other)
    monkeypatch.setattr(int8_table, "load_onnx", lambda _: load_onnx(other))
    found = compared(path, x.astype(np.float64), core="medium")
    assert found.network > 0
    assert found.image > 0


def test_integers_in_another_order_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, path = samples(channels_last), tmp_path / "model.onnx"
    quantised(channels_last(), x, path, U8, FURTHER["bias"])
    weight = next(tensor for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4)
    found = compared(path, x.astype(np.float64), core="medium", runtime=Runtime(path, optimised=False))
    assert (found.activations, found.network, found.image) == (24 * (64 + 5), 0, 0)
    monkeypatch.setattr("mapping.model.importers.onnx.fused", lambda model: model)
    found = compared(path, x.astype(np.float64), core="medium", runtime=Runtime(path, optimised=False))
    assert found.activations == 24 * (16 + 5)
    assert any(tensor.endswith(".real.held") for tensor in load_onnx(path).shapes)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)
    model, other = onnx.load(path), tmp_path / "other.onnx"
    values = onnx.numpy_helper.to_array(weight)[::-1]
    next(tensor for tensor in model.graph.initializer if tensor.name == weight.name).CopyFrom(
        onnx.numpy_helper.from_array(-values, weight.name)
    )
    onnx.save(model, other)
    monkeypatch.setattr(int8_table, "load_onnx", lambda _: load_onnx(other))
    assert (
        compared(path, x.astype(np.float64), core="medium", runtime=Runtime(path, optimised=False)).network
        > 0
    )


def test_integers_that_the_host_pools_are_compared(tmp_path: Path) -> None:
    """The host multiplies by the scale before it pools, the model quantises behind its pool."""
    b = ModelBuilder((2, 6, 6))
    y = b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), b.rng.normal(size=4), name="one")
    y = b.op("Relu", b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], name="pool"))
    model = b.model(b.dense(b.op("Flatten", y), b.rng.normal(size=(5, 16)), name="vote"))
    path = quantised(model, samples(swish), tmp_path / "model.onnx", U8, exclude=["vote"])
    found = compared(path, samples(swish).astype(np.float64), core="medium")
    assert found.activations > 24 * 16
    assert (found.network, found.image) == (0, 0)


def test_float_model_is_told_from_a_quantised_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(plain(), tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", x=samples(plain), y=np.zeros(24, np.int64))
    given = [str(tmp_path / "float.onnx"), "--data", str(tmp_path / "data.npz"), "--core", "medium"]
    assert main(given) == 2
    assert capsys.readouterr().err == (
        "int8_table: Network 'float' runs in the graded code, which has its own integers; quantise it with "
        "--quantise.\n"
    )
    assert main([*given, "--quantise", "--samples", "2", "--emulated", "1"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 8 + 4 * len(FURTHER)
    assert rows[1] == "| float_qdq_u8_tensor_weights | 2 | 674 | 0 | 0 | 0.00% |"


# where counts could fall


def test_what_falls_behind_a_quantiser_is_seen_on_its_integers() -> None:
    dip = [make_node("f", "HardSwish", ["x"], "y")]
    first, last = np.array([-50, 0]), np.array([-10, 100])
    assert falls_behind(dip, 0.1, first, last)
    assert not falls_behind(dip, 0.1, first[1:], last[1:])
    assert not falls_behind(dip, 0.001, first[1:] - 1000, last[1:] - 999)
    assert not falls_behind([make_node("f", "Relu", ["x"], "y")], 0.1, first, last)


@pytest.mark.parametrize("width", [1000, 1 << 15, 100000, 1 << 19])
@pytest.mark.parametrize("at", [0, 17, 500, 998])
def test_one_count_that_falls_is_seen(at: int, width: int) -> None:
    """Above 2^18 potentials in a row only those near a threshold are looked at."""
    low, high = np.array([-width // 2, 0]), np.array([width // 2, 3])
    steps = low[0] + np.array([at * width // 1000])
    dip = steps[0] + 1

    def counts(potentials: np.ndarray) -> np.ndarray:
        return np.asarray((potentials >= steps[0]).astype(np.int64) - (potentials == dip))

    least = np.stack([steps, np.array([4])])
    assert falls_somewhere(counts, (low, high), least)
    assert not falls_somewhere(lambda v: (v >= steps[0]).astype(np.int64), (low, high), least)


def test_count_that_falls_between_blocks_is_seen() -> None:
    low, high = np.array([0]), np.array([100000])

    def counts(potentials: np.ndarray) -> np.ndarray:
        return (potentials < 1 << 15).astype(np.int64)

    assert falls_somewhere(counts, (low, high), np.array([[100001]]))


# constants


def test_weights_are_quantised_in_float32(tmp_path: Path) -> None:
    """In float64 a weight is a little less than 3.5 steps, in float32 it is 3.5 and goes to 4."""
    b = ModelBuilder((2,))
    scale, weight = np.float32(0.1), np.float32(0.35)
    assert float(weight) / float(scale) < float(weight / scale) == 3.5
    x = [b.constant(1.0), b.constant(0, np.uint8)]
    ends = [b.constant(scale), b.constant(0, np.int8)]
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *x), *x)
    held = b.op("QuantizeLinear", b.constant([[float(weight), 1.0], [0.2, 0.3]]), *ends)
    y = b.op("MatMul", y, b.op("DequantizeLinear", held, *ends), name="fc")
    fine = [b.constant(0.01), b.constant(0, np.uint8)]
    onnx.save(b.model(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *fine), *fine)), tmp_path / "m.onnx")
    found = compared(tmp_path / "m.onnx", np.array([[1.0, 0.0], [2.0, 1.0]]), core="medium")
    assert (found.activations, found.network, found.image) == (4, 0, 0)


def test_zero_point_left_out_behind_a_clip_is_zero(tmp_path: Path) -> None:
    b = ModelBuilder((4,))
    x, y = [b.constant(0.5), b.constant(3, np.uint8)], [b.constant(0.25)]
    weights = [
        b.op(
            "DequantizeLinear",
            b.constant(b.rng.integers(-128, 128, (4, 4)), np.int8),
            b.constant(0.01),
            b.constant(0, np.int8),
        )
        for _ in range(2)
    ]
    t = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *x), *x)
    t = b.clip(b.op("MatMul", t, weights[0]), 0.0, 6.0)
    t = b.op("DequantizeLinear", b.op("QuantizeLinear", t, *x), *x)
    t = b.op("Relu", b.op("MatMul", t, weights[1]))
    onnx.save(b.model(b.op("DequantizeLinear", b.op("QuantizeLinear", t, *y), *y)), tmp_path / "m.onnx")
    given = 3 * np.random.default_rng(0).normal(size=(50, 4))
    network = load_onnx(tmp_path / "m.onnx")
    assert [node.op for node in network.nodes].count("Requantise") == 2
    spiking = code_of(network).convert(network, Request(spec=preset("medium")))
    assert (len(spiking.layers), spiking.layers[-1].low, spiking.layers[-1].levels) == (2, 0, 255)
    assert compare(spiking, given).differences == 0


# what is left to the host, and why


INSTEAD = "let an operator that the chip has take its place"


def hosts(path: Path) -> dict[str, str]:
    """Return what keeps each layer of a quantised model on the host."""
    network = load_onnx(path)
    spiking = code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    return {layer.name: layer.told for layer in spiking.host}


def test_joined_and_pooled_branches_are_on_the_chip(tmp_path: Path) -> None:
    """The pool reads integers times their scale, and it is the integers that the chip pools."""
    x = samples(branches)
    path = quantised(branches(), x, tmp_path / "model.onnx", U8)
    found = compared(path, x.astype(np.float64), core="medium")
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_layer_before_the_first_quantiser_is_the_hosts(tmp_path: Path) -> None:
    path = quantised(plain(), samples(plain), tmp_path / "model.onnx", U8, exclude=["first"])
    assert hosts(path) == {
        "first": "its input is not quantised; quantise it too, or run the float network with --code graded",
        "maxpool2": f"the input of the chip is not pooled on it; {INSTEAD}",
    }


def test_layers_before_a_product_name_it(tmp_path: Path) -> None:
    path = quantised(gated(), samples(gated), tmp_path / "model.onnx", U8)
    why = f"'gate' behind it is the host's: it multiplies two activations; {INSTEAD}"
    assert hosts(path) == dict.fromkeys(("stem", "mean", "squeeze"), why)


def test_layers_behind_one_of_the_host_name_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    quantised(
        plain(),
        samples(plain),
        path,
        U8,
        exclude=["fc", "vote"],
        options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
    )
    assert hosts(path)["fc"].startswith(
        "'relu4' before it is the host's: its output is not quantised by one "
    )


def summed(scale: float) -> Network:
    """A sum of two activations in steps of reals, the second of another scale."""
    b = ModelBuilder((2, 6, 6))

    def act(x: str, scale: float) -> str:
        ends = [b.constant(scale), b.constant(0.0), b.constant(8.0)]
        return b.op("Quant", x, *ends, domain="qonnx.custom_op.general", signed=1, narrow=0)

    x = act("x", 0.1)
    weights = [act(b.constant(b.rng.normal(size=(3, 2, 1, 1))), 2.0**-5) for _ in range(2)]
    third = act(b.constant(b.rng.normal(size=(2, 3, 1, 1))), 2.0**-5)
    parts = [act(b.op("Conv", x, w), s) for w, s in zip(weights, (0.1, scale), strict=True)]
    total = act(b.op("Add", *parts, name="sum"), 0.2)
    return b.network(act(b.op("Conv", total, third, name="behind"), 0.2))


def test_sum_of_any_scales_in_steps_of_reals_is_on_the_chip() -> None:
    network = summed(0.0371828)
    spiking = code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    assert (len(spiking.layers), spiking.host_share) == (4, 0.0)
    x = np.random.default_rng(0).normal(size=(64, 2, 6, 6)) * 4
    assert compare(spiking, x).differences == 0


def test_sum_of_scales_in_no_ratio_is_told_and_one_scale_is_the_way_out() -> None:
    strict = Request(spec=preset("medium"), strict=True)
    with pytest.raises(UnsupportedModelError) as error:
        code_of(summed(1e-7), "int8").convert(summed(1e-7), strict)
    assert str(error.value) == (
        "Layer 'behind' would run on the host because 'quant9' before it is the host's: at the scales 0.1 "
        "and 1e-07 in steps of 0.2 no whole weights give every pair of its inputs its count; quantise both "
        "inputs of the sum with one scale, or leave strict out."
    )
    assert len(code_of(summed(0.1), "int8").convert(summed(0.1), strict).layers) == 4


WIDE = "quantise activations to uint8 or int8, or run the float network with --code graded"


def test_activations_of_sixteen_bits_are_told(tmp_path: Path) -> None:
    b = ModelBuilder((6,))
    x = [b.constant(0.001), b.constant(0, np.int16)]
    ends = [b.constant(0.02), b.constant(0, np.int8)]
    weight = b.op("DequantizeLinear", b.constant(b.rng.integers(-9, 9, (6, 6)), np.int8), *ends)
    y = b.op("MatMul", b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *x), *x), weight, name="fc")
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends), *ends)
    b.opset = 21
    onnx.save(b.model(y), tmp_path / "m.onnx")
    network = load_onnx(tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError) as error:
        code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    assert str(error.value) == (
        f"No layer of {network.name!r} can run on the chip: it has activations of 16 bits, and the integers "
        f"of the chip have 8; {WIDE}."
    )


def test_quantisers_in_the_domain_of_onnxruntime_are_the_standard_ones(tmp_path: Path) -> None:
    x = samples(plain)
    options = {"UseQDQContribOps": True}
    path = quantised(plain(), x, tmp_path / "model.onnx", U8, options)
    assert {node.domain for node in onnx.load(path).graph.node if "Quant" in node.op_type} == {
        "com.microsoft"
    }
    found = compared(path, x.astype(np.float64), core="medium")
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


# averages


def test_windows_that_cross_the_border_equal_onnxruntime(tmp_path: Path) -> None:
    """As operators on integers, the scales of both sides of a mean differ, so that no mean is half-way."""
    x = samples(bordered)
    path = quantised(bordered(), x, tmp_path / "model.onnx", ("QOperator", 0, 0))
    found = compared(path, x.astype(np.float64), core="medium")
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)
    network = load_onnx(path)
    assert compare(code_of(network).convert(network, Request(spec=preset("medium"))), x).differences == 0


@pytest.mark.parametrize(("size", "stride", "pad"), [(2, 2, 0), (4, 4, 0), (3, 2, 1)])
def test_mean_of_a_runtime_differs_by_one_where_it_is_half_way(size: int, stride: int, pad: int) -> None:
    found = averaged((size, stride, pad), (0.0123, 0.0123), samples=20)
    assert 0 < found.differ == found.differ_at_halves < found.halves / 2
    assert found.largest == 1
    assert averaged((size, stride, pad), (0.0123, 0.00731), samples=20).differ == 0


def test_mean_that_differs_where_it_is_not_half_way_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(int8_averages, "_CASES", ((4, 4, 0),))
    assert int8_averages.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "| 4 x 4 | one, a power of two | 0 | 6400 | 393 | 0 | 0 | 0 |"
    )
    monkeypatch.setattr(int8_averages, "infer", lambda network, x: infer(network, x) + 2.0**-6)
    assert int8_averages.main() == 1
