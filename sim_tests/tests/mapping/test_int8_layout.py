# SPDX-License-Identifier: Apache-2.0
"""Quantised networks with their channels last, and integers at both ends, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx, network_from_onnx
from mapping.spiking.simulate import compare
from sim_tests.generators.integer_models import FORMS, between_transposes, quantised, residual
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.tflite_models import TAILS, of_bytes, tflite
from sim_tests.referees.int8_runtime import Runtime
from sim_tests.referees.int8_table import compared

pytest.importorskip("onnxruntime")

LAST = (6, 6, 2)
FEW = [form for form in FORMS if not form[2]]
NAMES = [f"{form}-{'us'[signed]}8" for form, signed, _ in FEW]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("tail", TAILS)
def test_network_of_bytes_with_channels_last_is_whole_on_the_chip(
    tail: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(tflite(tail, kind), path)
    low = np.iinfo(kind).min
    x = np.random.default_rng(1).integers(low, low + 256, (16, 8, 8, 3)).astype(np.float64)
    found = compared(path, x, core="medium", emulated=2)
    assert found.activations >= len(x) * (4 * 128 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


@pytest.mark.parametrize("form", FEW, ids=NAMES)
def test_sum_of_maps_with_channels_last_is_on_the_chip(form: tuple[str, int, int], tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(24, *LAST)).astype(np.float32)
    path = quantised(between_transposes(), x, tmp_path / "model.onnx", form)
    runtime = Runtime(path, optimised=form[0] != "QDQ")  # of two quantisers in a row it would make one
    found = compared(path, x.astype(np.float64), core="medium", emulated=2, runtime=runtime)
    assert found.activations >= len(x) * (3 * 144 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def bare(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """Return a quantised model without the quantiser of its input and without the values of its output."""
    graph, constants = model.graph, {t.name: t for t in model.graph.initializer}
    first = next(node for node in graph.node if node.input[0] == graph.input[0].name)
    last = next(node for node in graph.node if node.output[0] == graph.output[0].name)
    assert (first.op_type, last.op_type) == ("QuantizeLinear", "DequantizeLinear")
    assert constants[first.input[2]].data_type == constants[last.input[2]].data_type
    graph.input[0].name, graph.output[0].name = first.output[0], last.input[0]
    graph.node.remove(first)
    graph.node.remove(last)
    return of_bytes(model, kind)


def refusal(path: Path, x: np.ndarray) -> str | None:
    """Return the sentence that refuses a network, None if it is compiled."""
    try:
        compile_network(str(path), x, core="medium")
    except UnsupportedModelError as error:
        return str(error)
    return None


@pytest.mark.parametrize("form", FEW, ids=NAMES)
def test_input_of_integers_enters_any_operator_on_integers(
    form: tuple[str, int, int], tmp_path: Path
) -> None:
    kind: Any = "int8" if form[1] else "uint8"
    x = np.random.default_rng(1).normal(size=(24, 2, 6, 6)).astype(np.float32)
    path = quantised(residual(), x, tmp_path / "model.onnx", form)
    onnx.save(bare(onnx.load(path), kind), path)
    low = np.iinfo(kind).min
    given = np.random.default_rng(2).integers(low, low + 256, x.shape).astype(np.float64)
    assert refusal(path, given) is None
    found = compared(path, given, core="medium", emulated=2)
    assert found.activations >= len(x) * (3 * 144 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_integers_of_the_input_may_be_moved_first(tmp_path: Path) -> None:
    """A transposed and pooled input is read by a layer whose scale is that of the input."""
    x = np.random.default_rng(1).normal(size=(24, *LAST)).astype(np.float32)
    path = quantised(between_transposes(pooled=True), x, tmp_path / "model.onnx", ("QOperator", 0, 0))
    model = onnx.load(path)
    moved = [node.op_type for node in model.graph.node[:3]]
    assert moved == ["Transpose", "MaxPool", "QuantizeLinear"]
    quantiser = model.graph.node[2]
    model.graph.node[3].input[0] = model.graph.node[1].output[0]
    model.graph.node.remove(quantiser)
    last = model.graph.node[-1]
    model.graph.output[0].name = last.input[0]
    model.graph.node.remove(last)
    del model.graph.value_info[:]
    onnx.save(of_bytes(model, "uint8"), path)
    given = np.random.default_rng(2).integers(0, 256, x.shape).astype(np.float64)
    network = load_onnx(path)
    spiking = code_of(network).convert(network, Request(spec=preset("medium"), samples=given))
    assert (spiking.code, spiking.host_share) == ("int8", 0.0)
    assert compare(spiking, given).differences == 0
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (right,) = session.run(None, {"x": given.astype(np.uint8)})
    assert int((infer(network, given) != right).sum()) == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 2, 1, 3), (0, 2, 1, 3)), ((0, 2, 1, 3), (0, 3, 1, 2)), ((0, 3, 2, 1), (0, 1, 3, 2))],
)
@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
def test_views_of_unlike_orders_are_added_as_they_are_read(
    op: str, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    b = ModelBuilder((3, 3, 3))
    once, twice = (b.conv("x", b.rng.normal(size=(3, 3, 1, 1)), name=name) for name in ("one", "two"))
    model = b.model(b.op(op, b.op("Transpose", once, perm=first), b.op("Transpose", twice, perm=second)))
    x = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
    right = outputs[0]
    got = infer(network_from_onnx(model, name="n"), x.astype(np.float64))
    np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-5)


def test_one_value_a_channel_is_added_to_a_map_with_channels_last() -> None:
    """Both are read with their axes in one order, although the map has more places."""
    b = ModelBuilder((4, 5, 5))
    mean = b.op("Transpose", b.op("GlobalAveragePool", "x"), perm=[0, 2, 3, 1])
    model = b.model(b.op("Add", b.op("Transpose", b.op("Relu", "x"), perm=[0, 2, 3, 1]), mean))
    network = network_from_onnx(model, name="n")
    x = np.random.default_rng(1).normal(size=(4, 4, 5, 5)).astype(np.float32)
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
    right = outputs[0]
    np.testing.assert_allclose(infer(network, x.astype(np.float64)), right, rtol=1e-5)
    assert sum(node.op == "Permute" for node in network.nodes) == 1
