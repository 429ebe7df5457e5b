# SPDX-License-Identifier: Apache-2.0
"""Figures of a report that depend on network and data alone equal an independent float64 computation."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mapping.datasets.load import Dataset, load_data
from mapping.model.importers.onnx import load_onnx, network_from_onnx
from mapping.report.machine import estimate
from sim_tests.generators.foreign_models import NOTATIONS, foreign_model
from sim_tests.referees.independent import count, differences, load, main

DIGITS = Path(__file__).parents[3] / "mapping/model/data/digits.onnx"


@cache
def digits() -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return the shipped model and its report on all of its test data."""
    report = estimate(load_onnx(DIGITS), load_data("digits"), ("loom", "kuang2021")).to_dict()
    return onnx.load(DIGITS), report


def counted(model: onnx.ModelProto, report: dict[str, Any], data: str = "digits") -> dict[str, Any]:
    names = [layer["name"] for layer in report["targets"][0]["breakdown"]["layers"]]
    return count(model, *load(data, report["input"]), names)


def test_report_on_digits_equals_an_independent_count() -> None:
    model, report = digits()
    result = counted(model, report)
    assert result["samples"] == 360
    assert result["synaptic_operations_logical"] > result["synaptic_operations"] > 0
    assert differences(report, result) == []


@pytest.mark.parametrize("notation", NOTATIONS)
def test_report_on_a_foreign_model_equals_an_independent_count(notation: str, seed: int) -> None:
    model, shape = foreign_model(seed + 7 + NOTATIONS.index(notation), notation)
    rng = np.random.default_rng(seed)
    x, y = np.asarray(rng.integers(-8, 24, size=(33, *shape)) * 0.125, np.float64), rng.integers(0, 3, 33)
    data = Dataset(name="random", x=x, y=y)
    report = estimate(network_from_onnx(model, name="foreign"), data, ("loom",)).to_dict()
    names = [layer["name"] for layer in report["targets"][0]["breakdown"]["layers"]]
    assert differences(report, count(model, x, y, names)) == []


@pytest.mark.long
def test_report_on_all_digits_equals_an_independent_count() -> None:
    model, _ = digits()
    report = estimate(load_onnx(DIGITS), load_data("digits:all"), ("loom", "kuang2021")).to_dict()
    result = counted(model, report, "digits:all")
    assert result["samples"] == 1797
    assert differences(report, result) == []


KEYS = (
    "accuracy",
    "ann_accuracy",
    "samples",
    "spikes",
    "spikes_input",
    "synaptic_operations",
    "synaptic_operations_logical",
    "synaptic_operations_dense",
)


@pytest.mark.parametrize("key", KEYS)
def test_one_wrong_figure_of_a_report_is_found(key: str) -> None:
    model, report = digits()
    wrong = json.loads(json.dumps(report))
    value = wrong["targets"][0][key]
    wrong["targets"][0][key] = np.nextafter(value, 2 * value)
    (sentence,) = differences(wrong, counted(model, report))
    assert sentence == (
        f"loom: {key} is {wrong['targets'][0][key]!r} in the report and {value!r} by this computation"
    )


@pytest.mark.parametrize("key", KEYS[3:4] + KEYS[5:])
def test_one_wrong_figure_of_a_layer_is_found(key: str) -> None:
    model, report = digits()
    wrong = json.loads(json.dumps(report))
    row = wrong["targets"][0]["breakdown"]["layers"][1]
    row[key] += 1 / 360
    (sentence,) = differences(wrong, counted(model, report))
    assert sentence.startswith(f"loom: {key} of layer conv2.sum is ")


def change(model: onnx.ModelProto, name: str, to: Callable[[Any], Any]) -> onnx.ModelProto:
    """Return a copy of a model with one constant changed."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    (tensor,) = (tensor for tensor in other.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(to(numpy_helper.to_array(tensor).copy()), name))
    return other


def flip(value: Any) -> Any:
    """Change one weight that is not zero to zero."""
    flat = value.reshape(-1)
    flat[np.flatnonzero(flat)[0]] = 0
    return value


def shift(value: Any) -> Any:
    value[2] += 0.25
    return value


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("conv1.weight", flip),
        ("dense.weight", flip),
        ("conv2.beta", shift),
        ("conv1.mean", shift),
        ("half", lambda value: value - np.float32(0.25)),
        ("most", lambda value: value - np.float32(1.0)),
    ],
)
def test_report_of_another_network_is_found(name: str, to: Callable[[Any], Any]) -> None:
    model, report = digits()
    assert differences(report, counted(change(model, name, to), report))


def test_command_compares_and_names_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    report = json.loads(json.dumps(digits()[1]))
    path.write_text(json.dumps(report))
    arguments = [str(DIGITS), "--data", "digits", "--report", str(path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("equal: every figure of 360 samples and 3 layers\n")
    report["targets"][1]["spikes"] += 1
    path.write_text(json.dumps(report))
    assert main(arguments) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("kuang2021: spikes is ")


def test_data_are_read_without_the_readers_under_test(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, size=(5, 1, 4, 4)).astype(np.uint8), np.arange(5)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    got, labels = load(str(tmp_path / "d.npz"), "0.5,2")
    assert labels is not None
    assert np.array_equal(got, (x / 255 - 0.5) / 2)
    assert np.array_equal(labels, y)


def test_idx_files_are_read_as_by_the_readers_under_test(data_dir: Path) -> None:
    x, y = load(f"mnist:{data_dir / 'mnist'}", "raw")
    data = load_data(f"mnist:{data_dir / 'mnist'}")
    assert (x.reshape(data.x.shape) == data.x).all()
    assert y is not None
    assert data.y is not None
    assert np.array_equal(y, data.y)
