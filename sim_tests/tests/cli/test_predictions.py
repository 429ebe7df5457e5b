# SPDX-License-Identifier: Apache-2.0
"""The predictions of `spikeloom run`: what the chip says of every sample, classes and values alike."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.chip import open_chip
from mapping.datasets.load import load_data
from mapping.flow import compile_network
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.estimator_models import CLASSIFIERS, FEATURES
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.sound_files import small_chip
from sim_tests.referees.onnx_reference import evaluate_onnx
from sim_tests.robustness.mutations import npz_of
from spikeloom.cli import main

X = np.random.default_rng(7).uniform(0, 1, (6, 2, 6, 6))
Y = np.array([0, 1, 0, 1, 1, 0])


def expected(image: Path, data: Path) -> NDArray[np.float64]:
    """Return what the chip gives through the public interface."""
    chip = open_chip(image)
    chosen, _ = chip.prepare(load_data(str(data)))
    return chip.run(chosen.x).logits


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictions") / "small.spikeloom"
    small_chip().save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictions") / "data.npz"
    path.write_bytes(npz_of({"x": X, "y": Y}))
    return path


def run(image: Path, data: Path, out: Path) -> None:
    assert main(["run", str(image), "--data", str(data), "--predictions", str(out)]) == 0


def test_npz_holds_outputs_class_and_label(image: Path, data: Path, tmp_path: Path) -> None:
    run(image, data, tmp_path / "a.npz")
    run(image, data, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        assert sorted(arrays.files) == ["class", "label", "outputs"]
        assert np.array_equal(arrays["outputs"], expected(image, data))
        assert np.array_equal(arrays["class"], expected(image, data).reshape(6, -1).argmax(axis=1))
        assert np.array_equal(arrays["label"], Y)


def test_csv_reads_back_as_the_same_numbers(image: Path, data: Path, tmp_path: Path) -> None:
    run(image, data, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    outputs = expected(image, data).reshape(6, -1)
    assert [int(row["sample"]) for row in rows] == list(range(6))
    names = [f"output_{i}" for i in range(outputs.shape[1])]
    assert list(rows[0]) == ["sample", *names, "class", "label"]
    assert np.array_equal([[float(row[name]) for name in names] for row in rows], outputs)
    assert [int(row["class"]) for row in rows] == outputs.argmax(axis=1).tolist()
    assert [int(row["label"]) for row in rows] == Y.tolist()


def test_single_output_is_a_value_and_no_class(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = ModelBuilder((2, 6, 6))
    x = draft.quantise(draft.conv(draft.quantise("x"), draft.ternary(4, 2, 3, 3)))
    weight = np.random.default_rng(1).normal(size=(1, 64))
    network = draft.network(draft.dense(draft.op("Flatten", x), weight))
    path, told = tmp_path / "value.spikeloom", tmp_path / "run.json"
    compile_network(network, core="small").save(path)
    out = tmp_path / "a.npz"
    words = ["run", str(path), "--data", str(data), "--predictions", str(out), "--json", str(told)]
    assert main(words) == 0
    assert json.loads(told.read_text())["accuracy"] is None
    with np.load(out) as arrays:
        assert "class" not in arrays.files
        assert np.array_equal(arrays["outputs"], expected(path, data))
        assert len(np.unique(arrays["outputs"])) > 1


def test_value_behind_a_sigmoid_is_what_the_model_gives(tmp_path: Path) -> None:
    draft = ModelBuilder((2, 6, 6))
    x = draft.quantise(draft.conv(draft.quantise("x"), draft.ternary(4, 2, 3, 3)))
    x = draft.dense(draft.op("Flatten", x), np.random.default_rng(1).normal(size=(1, 64)) * 0.1)
    model = draft.model(draft.op("Sigmoid", x))
    chip = compile_network(network_from_onnx(model, name="value"), core="small")
    wanted = evaluate_onnx(model, X).values[model.graph.output[0].name]
    got = chip.run(X).logits
    assert ((got > 0) & (got < 1)).all()
    np.testing.assert_allclose(got.reshape(6), wanted.reshape(6), rtol=1e-12)


def test_other_ending_is_refused(
    image: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.txt"
    assert main(["run", str(image), "--data", str(data), "--predictions", str(out)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"Predictions are written to a file that ends in .npz or .csv, not '{out}'." in told
    assert list(tmp_path.iterdir()) == []


def test_classes_and_labels_are_told_by_name(tmp_path: Path) -> None:
    network = network_from_onnx(CLASSIFIERS["classes of text"][0](True), name="flowers")
    x = np.random.default_rng(2).normal(size=(5, FEATURES))
    compile_network(network, x, core="medium").save(tmp_path / "f.spikeloom")
    y = np.array(["setosa", "virginica", "setosa", "versicolor", "setosa"])
    (tmp_path / "d.npz").write_bytes(npz_of({"x": x, "y": y}))
    for suffix in ("csv", "npz"):
        run(tmp_path / "f.spikeloom", tmp_path / "d.npz", tmp_path / f"p.{suffix}")
    with np.load(tmp_path / "p.npz") as arrays:
        best = arrays["outputs"].argmax(axis=1)
        assert arrays["class"].tolist() == np.array(network.classes)[best].tolist()
        assert arrays["label"].tolist() == y.tolist()
        rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
        assert [row["class"] for row in rows] == arrays["class"].tolist()
        assert [row["label"] for row in rows] == y.tolist()
