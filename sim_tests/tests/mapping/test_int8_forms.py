# SPDX-License-Identifier: Apache-2.0
"""Quantised networks in the forms that tools write, and those whose output is not quantised."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from emu.spec import preset
from mapping.chip import open_chip
from mapping.codes.candidates import find_candidates
from mapping.codes.choice import Request, code_of
from mapping.datasets.load import Dataset
from mapping.errors import UnsupportedModelError
from mapping.exporters.integer_onnx import integer_onnx
from mapping.flow import compile_network
from mapping.layout.check import check
from mapping.layout.emit import PLACED
from mapping.layout.host_tables import outputs_of
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.model.rewrite import prepare
from mapping.report.machine import estimate
from mapping.report.text import notes
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists, Mixed, of_rows
from mapping.spiking.simulate import compare, decode, encode, simulate
from sim_tests.generators.integer_models import brevitas, closing, padded, product, quantised, sums
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.int8_runtime import Runtime
from sim_tests.referees.int8_table import compared, main

pytest.importorskip("onnxruntime")

SHAPE = (2, 6, 6)


def samples(n: int = 24) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, *SHAPE)).astype(np.float32)


X = samples().astype(np.float64)


@pytest.mark.parametrize("form", [("QDQ", 0, 1), ("QOperator", 0, 1), ("QOperator", 1, 0)])
@pytest.mark.parametrize("build", [padded, product, closing])
def test_form_equals_onnxruntime(
    build: Callable[[], onnx.ModelProto], form: tuple[str, int, int], tmp_path: Path
) -> None:
    path = quantised(build(), samples(), tmp_path / "model.onnx", form)
    found = compared(path, X, core="medium")
    assert found.activations >= len(X) * (64 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_sums_of_integers_equal_onnxruntime(tmp_path: Path) -> None:
    onnx.save(sums(), tmp_path / "sums.onnx")
    found = compared(tmp_path / "sums.onnx", X, core="medium")
    assert found.activations == len(X) * (64 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


BREVITAS = [(8, False), (8, True), (4, False), (4, True)]


@pytest.mark.parametrize("whole_bias", [False, True])
@pytest.mark.parametrize(("bits", "per_channel"), BREVITAS)
def test_brevitas_network_equals_onnxruntime(
    bits: int, per_channel: bool, whole_bias: bool, tmp_path: Path
) -> None:
    path = tmp_path / "qcdq.onnx"
    onnx.save(brevitas(bits=bits, per_channel=per_channel, whole_bias=whole_bias), path)
    found = compared(path, X, core="medium", runtime=Runtime(path, optimised=whole_bias))
    assert found.activations == len(X) * (5 * 144 + 4)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_onnxruntime_rounds_a_real_bias_that_the_model_does_not(tmp_path: Path) -> None:
    path = tmp_path / "qcdq.onnx"
    onnx.save(brevitas(bits=4), path)
    assert compared(path, X, core="medium", runtime=Runtime(path, optimised=True)).network > 0


def test_table_compares_a_model_as_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(brevitas(bits=4), tmp_path / "qcdq.onnx")
    np.savez(tmp_path / "data.npz", x=X, y=np.zeros(len(X), np.int64))
    given = [str(tmp_path / "qcdq.onnx"), "--data", str(tmp_path / "data.npz"), "--core", "medium"]
    assert main(given) == 1
    assert main([*given, "--as-written"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| qcdq | 24 | 17376 | 0 | 0 | 0.00% |"


def rounded(x: np.ndarray | None = X) -> SpikingNetwork:
    network = network_from_onnx(brevitas(whole_bias=True), name="n")
    assert code_of(network).name == "int8"
    return code_of(network).convert(network, Request(spec=preset("medium"), samples=x))


def test_output_without_a_quantiser_leaves_as_the_nearest_counts() -> None:
    spiking = rounded()
    assert (spiking.host_share, spiking.rounded, spiking.exact) == (0.0, ("vote",), False)
    layer = spiking.layer("vote")
    truth = infer(spiking.network, X)
    counts = simulate(spiking, encode(spiking, X))["vote"]
    nearest = np.rint(truth / layer.scale).astype(int) + layer.zero
    np.testing.assert_array_equal(counts, np.clip(nearest, layer.low, layer.levels))
    assert (layer.low, layer.levels) == (-255, 255)
    assert np.ptp(counts) > 440
    assert isinstance(layer.quantiser, Ladders)
    logits = decode(spiking, {"vote": counts, **simulate(spiking, encode(spiking, X))}, X)
    assert np.abs(logits - truth).max() <= layer.scale / 2 * (1 + 1e-9)


def test_output_of_a_core_without_signs_leaves_as_the_nearest_counts() -> None:
    network = network_from_onnx(brevitas(whole_bias=True), name="n")
    spec = replace(preset("medium"), signed_ladder=False)
    spiking = code_of(network).convert(network, Request(spec=spec, samples=X))
    layer, truth = spiking.layer("vote"), infer(spiking.network, X)
    counts = simulate(spiking, encode(spiking, X))["vote"]
    assert (layer.low, layer.levels) == (0, 255)
    np.testing.assert_array_equal(counts, np.rint(truth / layer.scale).astype(int) + layer.zero)


def test_real_output_is_the_hosts_without_samples() -> None:
    spiking = rounded(None)
    assert (spiking.rounded, spiking.exact) == ((), True)
    (host,) = spiking.host
    assert host.told == (
        "its output is not quantised, and no samples tell the range of its counts; give --data with samples "
        "of the input, or quantise its output"
    )


def test_image_keeps_which_outputs_are_rounded(tmp_path: Path) -> None:
    chip = compile_network(network_from_onnx(brevitas(), name="n"), core="medium", samples=X)
    chip.save(tmp_path / "chip.spikeloom")
    kept = open_chip(tmp_path / "chip.spikeloom").spiking
    assert (kept.rounded, kept.exact) == (("vote",), False)


def test_report_says_that_the_output_is_rounded() -> None:
    data = Dataset(x=X, y=np.zeros(len(X), np.int64), name="noise")
    report = estimate(network_from_onnx(brevitas(), name="n"), data, ["loom"], core="medium").to_dict()
    (target,) = report["targets"]
    same = round(target["agreement"] * len(X))
    assert (target["rounded"], target["host_share"]) == (["vote"], 0.0)
    line = (
        "The model does not quantise the output of vote: it leaves the chip rounded to whole counts, every "
        f"other activation is the model's own integer; the answer is the same on {same} of 24 samples."
    )
    assert line in notes(report)
    target["rounded"] = []
    assert line not in notes(report)


def test_middle_layer_without_a_quantiser_is_not_rounded() -> None:
    b = ModelBuilder((6,))
    ends = [b.constant(0.1), b.constant(0, np.int8)]
    weight = [
        b.op("DequantizeLinear", b.constant(b.rng.integers(-9, 9, (6, 6)), np.int8), *ends) for _ in range(2)
    ]
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)
    y = b.op("Relu", b.op("MatMul", y, weight[0], name="first"))
    network = b.network(b.op("MatMul", y, weight[1], name="second"))
    with pytest.raises(UnsupportedModelError, match="its output is not quantised by one scale"):
        code_of(network, "int8").convert(network, Request(spec=preset("medium"), samples=np.ones((4, 6))))


@pytest.mark.parametrize("bits", [8, 2])
def test_few_ternary_layers_and_a_mean_do_not_choose_the_code_of_ternary_networks(bits: int) -> None:
    """Of 2 bits, weights are ternary: one layer of four reads counts, and so does the mean."""
    network = network_from_onnx(brevitas(bits=bits), name="n")
    found = {candidate.linear.name for candidate in find_candidates(prepare(network))[0]}
    assert found == ({"one", "mean"} if bits == 2 else set())
    assert code_of(network).name == "int8"


def test_mean_on_a_step_goes_to_even() -> None:
    """A sum of 49 integers, divided, is half-way between two counts in one of 98 samples."""
    b = ModelBuilder((1, 7, 7))
    ends, finer = ([b.constant(scale), b.constant(0, np.uint8)] for scale in (0.25, 0.5))
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)
    y = b.op("GlobalAveragePool", y, name="mean")
    network = b.network(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *finer), *finer))
    spiking = code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    x = 0.25 * np.random.default_rng(1).integers(0, 256, (4000, 1, 7, 7))
    counts = simulate(spiking, encode(spiking, x))
    on_a_step = (x.sum(axis=(1, 2, 3)) / 49 / 0.5) % 1 == 0.5
    assert on_a_step.sum() > 20
    np.testing.assert_array_equal(decode(spiking, counts, x), infer(network, x))


def test_pooled_quantised_tensor_may_enter_the_chip() -> None:
    """The first layer reads real numbers, and is the host's with the max-pool behind it."""
    b = ModelBuilder(SHAPE)
    ends = [b.constant(0.05), b.constant(0, np.uint8)]
    scale = [b.constant(0.02), b.constant(0, np.int8)]
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 1, 1)), name="real"))
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends), *ends)
    y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    weight = b.op("DequantizeLinear", b.constant(b.rng.integers(-128, 128, (3, 4, 1, 1)), np.int8), *scale)
    y = b.op("Relu", b.op("Conv", y, weight, name="whole"))
    network = b.network(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends), *ends))
    spiking = code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    assert [layer.name for layer in spiking.layers] == ["whole"]
    counts = simulate(spiking, encode(spiking, X))
    np.testing.assert_array_equal(decode(spiking, counts, X), infer(network, X))


def test_float_network_is_sent_to_the_graded_code() -> None:
    b = ModelBuilder((6,))
    network = b.network(b.op("Relu", b.dense("x", b.rng.normal(size=(4, 6)), name="fc")))
    with pytest.raises(UnsupportedModelError) as error:
        code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    assert str(error.value).endswith(
        "can run on the chip: it has no quantised layer; run a float network with --code graded."
    )


def test_pad_of_integers_by_another_number_is_refused() -> None:
    b = ModelBuilder(SHAPE)
    ends = [b.constant(0.5), b.constant(3, np.uint8)]
    sides = b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    y = b.op("Pad", b.op("QuantizeLinear", "x", *ends), sides, b.constant(9, np.uint8), name="p")
    weight = [b.constant(np.full((2, 2, 1, 1), 5), np.int8), b.constant(0.25), b.constant(0, np.int8)]
    y = b.op("QLinearConv", y, *ends, *weight, *ends)
    with pytest.raises(UnsupportedModelError) as error:
        b.network(b.op("DequantizeLinear", y, *ends))
    assert str(error.value) == (
        "Node 'p' (Pad) pads integers of the zero point 3 with 9; pad with the zero point."
    )


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (("x", "w16", "z", "n"), "needs constant weights of int8 or uint8 as input 1."),
        (("q", "w", "z2", "n"), "has a zero point of type uint8 and shape (2,) of its input; supported is "),
        (("q", "w", "z", "z"), "has a zero point of type uint8 and shape () as input 3, supported are int8 "),
        (("q", "w", "z", "n2"), "has 2 zero points for 3 output channels."),
        (("x", "w", "z", "n"), "reads tensor 'x', which holds no integers of a quantiser."),
    ],
)
def test_bad_sum_of_integers_is_one_sentence(inputs: tuple[str, ...], sentence: str) -> None:
    b = ModelBuilder((6,))
    given = {
        "x": "x",
        "q": b.op("QuantizeLinear", "x", b.constant(0.5), b.constant(3, np.uint8)),
        "w": b.constant(np.ones((6, 3)), np.int8),
        "w16": b.constant(np.ones((6, 3)), np.int16),
        "z": b.constant(3, np.uint8),
        "z2": b.constant([3, 3], np.uint8),
        "n": b.constant(0, np.int8),
        "n2": b.constant([0, 0], np.int8),
    }
    y = b.op("MatMulInteger", *(given[name] for name in inputs), name="m")
    with pytest.raises(UnsupportedModelError) as error:
        b.network(b.op("Cast", y, to=1))
    assert str(error.value).startswith(f"Node 'm' (MatMulInteger) {sentence}")


def test_dynamic_scales_are_refused_with_a_way_out() -> None:
    b = ModelBuilder((6,))
    with pytest.raises(UnsupportedModelError) as error:
        b.network(b.op("DynamicQuantizeLinear", "x", name="d"))
    assert str(error.value) == (
        "Node 'd' (DynamicQuantizeLinear) chooses the scale of its input anew for every sample, and a chip "
        "has fixed ones; quantise the float model with onnxruntime's quantize_static instead of "
        "quantize_dynamic, or give the float model."
    )


# rows with ladders and rows with lists in one layer


def mixed(kind: str = "dense") -> Network:
    """A layer of steps above 1000, of which some rows have no ladder; then one that reads it."""
    shapes = {"dense": (400,), "map": (3, 8, 8), "depthwise": (16, 5, 5)}
    b = ModelBuilder(shapes[kind], seed=5)
    ends = [b.constant(0.5), b.constant(3, np.uint8)]
    x = b.op("QuantizeLinear", "x", *ends)
    scale = b.constant(b.rng.uniform(2e-4, 2e-3, 16))
    zero = b.constant(np.zeros(16), np.int8)
    if kind == "dense":
        weight = b.constant(b.rng.integers(-128, 128, (400, 16)), np.int8)
        y = b.op("QLinearMatMul", x, *ends, weight, scale, zero, *ends, name="m")
    else:
        shape, group = ((16, 3, 3, 3), 1) if kind == "map" else ((16, 1, 3, 3), 16)
        weight = b.constant(b.rng.integers(-128, 128, shape), np.int8)
        y = b.op("QLinearConv", x, *ends, weight, scale, zero, *ends, group=group, name="m")
        y = b.op("Flatten", y)
    size = {"dense": 16, "map": 16 * 36, "depthwise": 16 * 9}[kind]
    weight = b.constant(b.rng.integers(-128, 128, (size, 3)), np.int8)
    none = b.constant(0, np.int8)
    y = b.op("QLinearMatMul", y, *ends, weight, b.constant(2e-3), none, *ends, name="vote")
    return b.network(b.op("DequantizeLinear", y, *ends))


@pytest.mark.parametrize("kind", ["dense", "map", "depthwise"])
def test_rows_with_a_ladder_and_rows_without_lie_on_cores_of_their_own(kind: str) -> None:
    network = mixed(kind)
    x = 40 * np.random.default_rng(3).normal(size=(40, *network.shapes[network.input]))
    chip = compile_network(network, core="medium")
    layer = chip.spiking.layer("m")
    assert isinstance(layer.quantiser, Mixed)
    assert compare(chip.spiking, x).differences == 0
    listed = layer.quantiser.listed
    placed = chip.image.attachments[PLACED]
    own = placed[placed[:, 0] == chip.spiking.layers.index(layer), 2]
    cores = [chip.image.cores[at] for at in set(own.tolist())]
    assert {core.is_ladder for core in cores if core is not None} == {False, True}
    assert 0 < listed.sum() < len(listed)
    counts = outputs_of(chip.image, chip.machine.run(chip.stimulus(x)), len(x))["vote"]
    np.testing.assert_array_equal(decode(chip.spiking, {"vote": counts}, x), infer(chip.spiking.network, x))


def test_check_finds_rows_of_two_kinds_on_one_core_and_rows_of_another() -> None:
    chip = compile_network(mixed(), core="medium")
    layer = chip.spiking.layer("m")
    own = layer.quantiser
    assert isinstance(own, Mixed)
    assert not check(chip.image, chip.spiking)
    found = []
    for listed in (np.roll(own.listed, 1), own.listed[::-1].copy()):
        other = replace(layer, quantiser=replace(own, listed=listed))
        layers = tuple(other if each.name == "m" else each for each in chip.spiking.layers)
        found += check(chip.image, replace(chip.spiking, layers=layers))
    assert {violation.kind for violation in found} == {"thresholds"}
    assert any("its rows have ladders and lists, and a core has one kind" in str(v) for v in found)


def test_image_of_a_mixed_layer_is_read_again(tmp_path: Path) -> None:
    chip = compile_network(mixed(), core="medium")
    chip.save(tmp_path / "chip.spikeloom")
    kept, own = (c.spiking.layer("m").quantiser for c in (open_chip(tmp_path / "chip.spikeloom"), chip))
    assert isinstance(kept, Mixed)
    assert isinstance(own, Mixed)
    np.testing.assert_array_equal(kept.edges(0, 255), own.edges(0, 255))
    np.testing.assert_array_equal(kept.listed, own.listed)


def test_exported_mixed_layer_is_equal() -> None:
    network = mixed("map")
    spiking = code_of(network, "int8").convert(network, Request(spec=preset("medium")))
    x = 40 * np.random.default_rng(3).normal(size=(4, *network.shapes[network.input]))
    given = encode(spiking, x)
    expected = simulate(spiking, given)["m"]
    (got,) = ReferenceEvaluator(integer_onnx(spiking)).run(["m"], {INPUT: given.astype(np.int64)})
    np.testing.assert_array_equal(got, expected)


def test_quantiser_of_some_rows_is_of_one_kind() -> None:
    lists = Lists(thresholds=np.array([[5], [9]]))
    ladders = Ladders(words=np.array([[2, 2 << 8, 0, 0], [3, 1 << 8, 0, 0]]), payload_bits=4)
    both = Mixed(listed=np.array([False, True, False, True]), lists=lists, ladders=ladders)
    assert both.edges(0, 1).tolist() == [[4], [5], [4], [9]]
    assert both.counts(np.full((1, 4, 1), 5), 0, 1).reshape(-1).tolist() == [1, 1, 1, 0]
    found = of_rows(both, np.array([3, 1, 3]))
    assert isinstance(found, Lists)
    assert found.thresholds.tolist() == [[9], [5], [9]]
    found = of_rows(both, np.array([2, 0]))
    assert isinstance(found, Ladders)
    assert found.words[:, 0].tolist() == [3, 2]
    with pytest.raises(ValueError, match=r"^rows must be of one kind, not 1 of 2 with lists$"):
        of_rows(both, np.array([0, 1]))
    with pytest.raises(ValueError, match="listed must be true for 2 rows and false for 2, not for 3 of 4"):
        Mixed(listed=np.array([True, True, False, True]), lists=lists, ladders=ladders)
