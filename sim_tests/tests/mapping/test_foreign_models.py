# SPDX-License-Identifier: Apache-2.0
"""Models as other programs write them count on the chip what an independent float64 evaluation counts."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.layout.host_tables import counts_of
from mapping.model.archive import network_from_arrays, network_to_arrays
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.foreign_models import NOTATIONS, foreign_model
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.independent import find_layers, layer_counts
from sim_tests.referees.onnx_reference import evaluate_onnx

SAMPLES = 12


def expected(model: onnx.ModelProto, x: NDArray[np.float64], names: list[str]) -> dict[str, NDArray[Any]]:
    """Return the counts of every layer and under ``""`` the output, by the independent evaluation."""
    run = evaluate_onnx(model, x)
    counts = {layer.name: layer_counts(model, run, layer) for layer in find_layers(model, run, names)}
    return {**counts, "": run.values[model.graph.output[0].name]}


def stimulus(seed: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return multiples of 1/8 on both sides of every clip, so that halves occur."""
    return np.asarray(np.random.default_rng(seed).integers(-8, 24, size=(SAMPLES, *shape)) * 0.125)


def assert_counts(
    model: onnx.ModelProto, spiking: SpikingNetwork, x: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    names = [layer.name for layer in spiking.layers]
    wanted, counts = expected(model, x, names), simulate(spiking, encode(spiking, x))
    for name in names:
        assert (wanted[name] == counts[name]).all(), name
    np.testing.assert_allclose(
        infer(spiking.network, x).reshape(len(x), -1), wanted[""].reshape(len(x), -1), rtol=1e-9, atol=1e-9
    )
    return wanted


def sweep(first: int, models: int) -> Counter[str]:
    """Compare so many models in every notation; return how often every operator and every count occurred."""
    seen: Counter[str] = Counter()
    for seed in range(first, first + models):
        for notation in NOTATIONS:
            model, shape = foreign_model(seed, notation)
            spiking = convert(network_from_onnx(model, name=f"{notation}{seed}"))
            wanted = assert_counts(model, spiking, stimulus(seed, shape))
            reasons = [layer.reason for layer in spiking.host if "weights" not in layer.reason]
            assert all("quantises the input" in reason for reason in reasons), (seed, notation, reasons)
            seen.update(node.op_type for node in model.graph.node)
            seen["layers"] += len(spiking.layers)
            seen["alive"] += sum(len(np.unique(wanted[layer.name])) > 1 for layer in spiking.layers)
            seen["dead"] += sum(bool((wanted[layer.name].max(axis=0) == 0).any()) for layer in spiking.layers)
    return seen


def test_models_of_every_notation_count_what_the_reference_counts(seed: int) -> None:
    seen = sweep(seed % 1000, 8)
    assert seen["layers"] > 50
    assert seen["alive"] > 0.8 * seen["layers"]
    assert seen["dead"] > 10
    for operator in (
        "Transpose",
        "Pad",
        "AveragePool",
        "MaxPool",
        "Quant",
        "QuantizeLinear",
        "Round",
        "Floor",
    ):
        assert seen[operator], operator


@pytest.mark.long
def test_many_models_count_what_the_reference_counts(seed: int) -> None:
    assert sweep(seed % 1000, 300)["layers"] > 2000


@pytest.mark.parametrize("notation", NOTATIONS)
def test_placed_image_counts_what_the_reference_counts(notation: str, seed: int) -> None:
    model, shape = foreign_model(seed + NOTATIONS.index(notation), notation)
    chip = compile_network(network_from_onnx(model, name="foreign"), core="small")
    x = stimulus(seed, shape)
    wanted = expected(model, x, [layer.name for layer in chip.spiking.layers])
    result = chip.run(x)
    got = counts_of(chip.image, result.result, SAMPLES)
    assert set(got) == set(wanted) - {""}
    for name, counts in got.items():
        assert (wanted[name] == counts).all(), name
    np.testing.assert_allclose(
        result.logits.reshape(SAMPLES, -1), wanted[""].reshape(SAMPLES, -1), rtol=1e-9, atol=1e-9
    )


def test_new_operations_survive_the_image() -> None:
    b = ModelBuilder((4, 5, 3))
    y = b.op("Round", b.op("Div", b.op("Transpose", "x", perm=[0, 3, 1, 2]), b.constant(0.3)))
    network = b.network(b.op("Concat", y, y, axis=1))
    again = network_from_arrays(network_to_arrays(network))
    x = stimulus(0, (4, 5, 3))
    assert {node.op for node in again.nodes} >= {"Concat", "Div", "Permute", "Round"}
    assert (infer(again, x) == infer(network, x)).all()


def quantised(b: ModelBuilder, x: str) -> str:
    limits = [b.constant(0.25), b.constant(0, np.uint8)]
    x = b.clip(x, 0.0, 0.75)
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *limits), *limits)


def ends(b: ModelBuilder, x: str, features: int) -> str:
    return b.head(quantised(b, b.dense(b.op("Flatten", x), b.ternary(5, features), name="fc")), 5)


def per_channel(b: ModelBuilder) -> str:
    limits = [b.constant([0.25, 0.5]), b.constant([0, 0], np.uint8)]
    y = b.clip("x", 0.0, 0.75)
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *limits, name="q", axis=1), *limits, axis=1)
    y = quantised(b, b.conv(y, b.ternary(2, 2, 1, 1), name="c"))
    return ends(b, quantised(b, b.conv(y, b.ternary(2, 2, 1, 1))), 32)


def signed(b: ModelBuilder) -> str:
    limits = [b.constant(0.25), b.constant(0, np.int8)]
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *limits, name="q"), *limits)
    return ends(b, quantised(b, b.conv(y, b.ternary(2, 2, 1, 1), name="c")), 32)


def joined(b: ModelBuilder) -> str:
    y = quantised(b, "x")
    y = b.op("Concat", y, y, axis=1)
    return ends(b, quantised(b, b.conv(y, b.ternary(2, 4, 1, 1), name="c")), 32)


def summed(b: ModelBuilder) -> str:
    y = quantised(b, "x")
    y = b.op("Add", y, quantised(b, b.conv(y, b.ternary(2, 2, 1, 1))))
    return ends(b, quantised(b, b.conv(y, b.ternary(2, 2, 1, 1), name="c")), 32)


def before_the_sum(b: ModelBuilder) -> str:
    y = quantised(b, "x")
    y = b.op("Add", y, b.conv(y, b.ternary(2, 2, 1, 1), name="c"), name="join")
    return ends(b, quantised(b, y), 32)


def turned(b: ModelBuilder) -> str:
    y = b.op("Transpose", quantised(b, b.op("Flatten", "x")), perm=[0, 1])
    y = b.op("Transpose", b.op("Reshape", y, b.constant([0, 2, 4, 4], np.int64)), perm=[0, 1, 3, 2])
    return ends(b, quantised(b, b.conv(y, b.ternary(2, 2, 1, 1), name="c")), 32)


REASONS: list[tuple[Callable[[ModelBuilder], str], str]] = [
    (
        per_channel,
        (
            "its input is quantised by 'q' with one scale per channel; "
            "give its quantiser one scale for the whole tensor"
        ),
    ),
    (signed, "its input is quantised by 'q' to values that may be negative; put a Relu before its quantiser"),
    (joined, "its input is several tensors joined, not a quantised activation; put a quantiser before it"),
    (summed, "its input is the sum of two tensors, not a quantised activation; put a quantiser before it"),
    (
        before_the_sum,
        "its output goes into 'join' (Add) before it is quantised; put a quantiser directly behind it",
    ),
    (turned, "its input is a tensor in another order, not a quantised activation; put a quantiser before it"),
]


@pytest.mark.parametrize(("build", "reason"), REASONS)
def test_host_layer_says_what_it_lacks(build: Callable[[ModelBuilder], str], reason: str) -> None:
    b = ModelBuilder((2, 4, 4))
    output = build(b)
    spiking = convert(b.network(output))
    assert {layer.name: layer.told for layer in spiking.host}["c"] == reason
    assert_counts(b.model(output), spiking, stimulus(1, (2, 4, 4)))


def test_quantiser_that_keeps_every_layer_off_the_chip_is_named() -> None:
    b = ModelBuilder((2, 4, 4))
    limits = [b.constant([0.25, 0.5]), b.constant([0, 0], np.uint8)]
    y = b.op("QuantizeLinear", b.clip("x", 0.0, 0.75), *limits, name="q")
    y = b.op("Flatten", b.op("DequantizeLinear", y, *limits))
    network = b.network(ends(b, y, 32))
    with pytest.raises(UnsupportedModelError) as error:
        convert(network)
    assert str(error.value) == (
        "No layer can run on the chip: layer 'fc' cannot because its input is quantised by 'q' with one "
        "scale per channel; give its quantiser one scale for the whole tensor."
    )


def test_pads_are_absorbed_only_where_that_is_the_same() -> None:
    b = ModelBuilder((2, 6, 6))
    y = b.op("Pad", quantised(b, "x"), b.constant([0, 0, 1, 2, 0, 0, 0, 1], np.int64))
    y = b.op("Pad", y, b.constant([0, 0, 0, 0, 0, 0, 1, 0], np.int64))
    y = quantised(b, b.conv(y, b.ternary(3, 2, 3, 3), name="c", pads=[0, 1, 0, 0]))
    y = b.op("MaxPool", b.op("Pad", y, b.constant([0, 0, 1, 0] * 2, np.int64)), kernel_shape=[2, 2])
    y = b.op("Pad", y, b.constant([0, 0, 3, 0] * 2, np.int64))
    output = ends(b, b.op("MaxPool", y, kernel_shape=[2, 2]), 3 * 12 * 6)
    spiking = convert(b.network(output))
    assert [layer.name for layer in spiking.layers] == ["c"]
    assert spiking.layers[0].only.pads == (1, 3, 1, 1)
    assert_counts(b.model(output), spiking, stimulus(2, (2, 6, 6)))


def test_zeros_around_values_below_zero_stay_a_layer_of_their_own() -> None:
    b = ModelBuilder((2, 6, 6))
    y = b.op("MaxPool", b.op("Pad", "x", b.constant([0, 0, 1, 0] * 2, np.int64)), kernel_shape=[2, 2])
    network = b.network(y)
    x = -np.ones((1, 2, 6, 6))
    assert (infer(network, x) == evaluate_onnx(b.model(y), x).values[y]).all()


def test_batch_may_not_be_mixed() -> None:
    b = ModelBuilder((2, 4))
    with pytest.raises(UnsupportedModelError) as error:
        b.network(b.op("ReduceMean", "x", axes=[0], name="m"))
    assert str(error.value) == "Node 'm' (ReduceMean) reduces the batch; export the model without it."
