# SPDX-License-Identifier: Apache-2.0
"""Sums of integers round as operators of a runtime do; twins of a quantiser and wide weights are exact."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from mapping.codes.int8.layers import QUANTISERS
from mapping.codes.int8.units import Units, units_of
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx
from mapping.model.operations.integers import fused_sum
from sim_tests.generators.integer_models import quantised, residual
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees import int8_sums
from sim_tests.referees.int8_sums import FORMS, added, main
from sim_tests.referees.int8_table import compared

pytest.importorskip("onnxruntime")

X = 2 * np.random.default_rng(1).normal(size=(24, 2, 6, 6))


@pytest.mark.parametrize("form", FORMS)
def test_all_pairs_of_bytes_are_those_of_onnxruntime(form: str) -> None:
    found = added(form, choices=4)
    assert (found.pairs, found.differ) == (4 << 16, 0)


def test_roundings_are_fused_where_a_runtime_has_one_operator() -> None:
    assert added("`QLinearAdd`, uint8", choices=4).one_by_one > 1000
    assert added("`Sub`, uint8", choices=4).one_by_one == 0


def test_table_ends_with_one_if_a_pair_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    form = "`Sub`, uint8"
    monkeypatch.setattr(int8_sums, "FORMS", {form: FORMS[form]})
    assert main() == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| `Sub`, uint8 | 786432 | 0 |")
    monkeypatch.setattr(int8_sums, "infer", lambda network, x: infer(network, x) + 0.2)
    assert main() == 1


def test_sum_that_is_rounded_once_is_that_of_the_exact_numbers() -> None:
    """The exact sum is just above half-way between two float32 numbers; float64 rounds it to half-way."""
    tiny = 2.0**-60
    assert _once(2.0**24 + 1, 1.0, tiny) == 2.0**24 + 2
    assert _once(2.0**24 + 1, 1.0, -tiny) == _once(2.0**24 + 1, 1.0, 0.0) == 2.0**24
    assert _once(2.0**24 + 3, 1.0, tiny) == _once(2.0**24 + 3, 1.0, 0.0) == 2.0**24 + 4
    assert _once(255.0, 0.1, 0.0) == float(np.float32(255 * np.float64(np.float32(0.1))))


def _once(integer: float, factor: float, addend: float) -> float:
    value = fused_sum(np.array([integer]), np.array(factor, np.float32), np.array(addend, np.float32))
    return float(value[0])


def test_quantisers_that_are_written_twice_are_one(tmp_path: Path) -> None:
    x = X.astype(np.float32)
    path = quantised(residual(), x, tmp_path / "m.onnx", ("QDQ", 0, 0), {"DedicatedQDQPair": True})
    read = [node.input[0] for node in onnx.load(path).graph.node if node.op_type == "QuantizeLinear"]
    assert len(set(read)) < len(read)
    joined = [node.inputs for node in load_onnx(path).nodes if node.op in QUANTISERS]
    assert len(set(joined)) == len(joined)
    found = compared(path, X, core="medium")
    assert found.activations > 24 * 400
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_quantisers_of_one_tensor_with_unlike_scales_stay_two(tmp_path: Path) -> None:
    b = ModelBuilder((2, 6, 6), seed=5)
    parts = []
    for scale in (0.1, 0.3):
        ends = [b.constant(scale), b.constant(9, np.uint8)]
        parts.append(b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends))
    onnx.save(b.model(b.op("Concat", *parts, axis=1)), tmp_path / "m.onnx")
    nodes = [node for node in load_onnx(tmp_path / "m.onnx").nodes if node.op == "Quantise"]
    assert sorted(float(node.constants["scale"].reshape(())) for node in nodes) == pytest.approx([0.1, 0.3])


def test_weights_of_a_byte_far_from_their_zero_point_are_on_the_chip(tmp_path: Path) -> None:
    b = ModelBuilder((2, 6, 6), seed=5)
    x = [b.constant(0.05), b.constant(120, np.uint8)]
    w = [b.constant(0.002), b.constant(3, np.uint8)]
    values = np.array([[255, 0, 17, 90], [4, 254, 251, 3], [200, 1, 0, 255]], np.uint8).reshape(3, 2, 2, 1)
    to = [b.constant(0.07), b.constant(40, np.uint8)]
    y = b.op("QLinearConv", b.op("QuantizeLinear", "x", *x), *x, b.constant(values, np.uint8), *w, *to)
    onnx.save(b.model(b.op("DequantizeLinear", y, *to)), tmp_path / "m.onnx")
    found = compared(tmp_path / "m.onnx", X, core="medium")
    assert found.activations == 24 * 3 * 5 * 6
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_whole_weights_are_those_of_a_byte_and_no_wider() -> None:
    rows, none = np.array([[255.0, -251.0, 17.0], [-255.0, 1.0, 0.0]]), np.zeros((2, 1))
    units = units_of([rows], none)
    assert isinstance(units, Units)
    assert (units.weights[0].tolist(), units.unit.tolist()) == (rows.tolist(), [1.0, 1.0])
    assert not isinstance(units_of([rows + 1], none), Units)
