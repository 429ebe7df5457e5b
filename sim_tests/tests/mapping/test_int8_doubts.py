# SPDX-License-Identifier: Apache-2.0
"""Reports and `compile` say where a quantised network has not its own integers, or those of float64 alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from mapping.codes.choice import code_of
from mapping.codes.doubts import doubt_about
from mapping.datasets.load import Dataset
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network
from mapping.report.machine import estimate
from sim_tests.generators.integer_models import brevitas
from sim_tests.generators.model_builder import ModelBuilder
from spikeloom.cli import main

X = 2 * np.random.default_rng(1).normal(size=(24, 2, 6, 6))

REAL = (
    "Biases are real numbers in layers 'stem', 'one' and 1 more, so their truth is float64: a runtime that "
    "sums them in float32 has one count more or less where a value lies half-way between two, and one that "
    "rounds biases first has others; quantise biases to int32 for equal ones."
)
WIDE = "The model is quantised, but it has activations of 16 bits and the integers of the chip have 8: "


def network_of(model: onnx.ModelProto, path: Path) -> Network:
    onnx.save(model, path)
    return load_onnx(path)


def wide() -> onnx.ModelProto:
    """A convolution and a dense layer between quantisers of 16 bits."""
    b = ModelBuilder((2, 6, 6), seed=5, opset=21)

    def act(x: str, scale: float) -> str:
        ends = [b.constant(scale), b.constant(0, np.int16)]
        return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *ends), *ends)

    def weights(*shape: int) -> str:
        ends = [b.constant(0.02), b.constant(0, np.int8)]
        return b.op("DequantizeLinear", b.constant(b.rng.integers(-127, 128, shape), np.int8), *ends)

    y = act(b.op("Relu", b.op("Conv", act("x", 0.0004), weights(4, 2, 3, 3))), 0.001)
    model = b.model(act(b.op("Gemm", b.op("Flatten", y), weights(5, 64), transB=1), 0.005))
    model.ir_version = 10
    return model


def test_real_biases_are_told(tmp_path: Path) -> None:
    network = network_of(brevitas(), tmp_path / "m.onnx")
    assert code_of(network).name == "int8"
    assert doubt_about(network, "int8") == REAL
    data = Dataset(x=X, y=np.zeros(len(X), np.int64), name="noise")
    assert REAL in str(estimate(network, data, ["loom"], core="medium").to_dict()["doubt"])


def test_whole_biases_are_the_way_out(tmp_path: Path) -> None:
    network = network_of(brevitas(whole_bias=True), tmp_path / "m.onnx")
    assert code_of(network).name == "int8"
    assert doubt_about(network, "int8") is None


@pytest.mark.parametrize(("model", "told"), [(brevitas(), REAL), (wide(), WIDE)], ids=["real", "wide"])
def test_compile_tells_it_too(
    model: onnx.ModelProto, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=X, y=np.zeros(len(X), np.int64))
    given = ["compile", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.spikeloom")]
    assert main([*given, "--data", str(tmp_path / "x.npz")]) == 0
    assert told in " ".join(capsys.readouterr().out.split())


def test_compile_tells_nothing_of_whole_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(brevitas(whole_bias=True), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=X, y=np.zeros(len(X), np.int64))
    given = ["compile", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.spikeloom")]
    assert main([*given, "--data", str(tmp_path / "x.npz")]) == 0
    assert "float64" not in capsys.readouterr().out
