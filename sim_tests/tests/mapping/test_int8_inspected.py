# SPDX-License-Identifier: Apache-2.0
"""Quantised networks with zero points and with matrices over maps are inspected and estimated as they are."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.datasets.load import Dataset
from mapping.diagnosis.layers import diagnose
from mapping.model.importers.onnx import load_onnx
from mapping.report.machine import estimate
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.integer_models import quantised
from sim_tests.generators.model_builder import ModelBuilder

X = np.random.default_rng(1).normal(size=(24, 2, 6, 6)).astype(np.float32)
SYMMETRIC = {"ActivationSymmetric": True}


def averaged() -> onnx.ModelProto:
    """Means that count no padding, at a border on all sides: a matrix over the map."""
    b = ModelBuilder((2, 6, 6), seed=2)
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(3, 2, 3, 3)), pads=[1, 1, 1, 1]))
    y = b.op("AveragePool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return b.model(b.dense(b.op("Flatten", y), b.rng.normal(size=(4, 27))))


def signed() -> onnx.ModelProto:
    """Activations with a sign, which a list of thresholds counts from a zero point."""
    b = ModelBuilder((2, 6, 6), seed=3)
    y = b.op("Tanh", b.dense(b.op("Flatten", "x"), b.rng.normal(size=(8, 72)) / 8))
    return b.model(b.dense(y, b.rng.normal(size=(4, 8))))


MODELS = {"averaged": averaged, "signed": signed}


def spiking_of(kind: str, path: Path) -> SpikingNetwork:
    quantised(MODELS[kind](), X, path, ("QDQ", 1, 0), SYMMETRIC if kind == "signed" else {})
    network = load_onnx(path)
    x = X.astype(np.float64)
    return code_of(network).convert(network, Request(spec=preset("reference"), samples=x))


@pytest.mark.parametrize("kind", MODELS)
def test_every_activation_is_compared_with_its_own(kind: str, tmp_path: Path) -> None:
    spiking = spiking_of(kind, tmp_path / "model.onnx")
    assert spiking.code == "int8"
    flat = {layer.name for layer in spiking.layers if len(layer.output_shape) == 1}
    maps = {layer.name for layer in spiking.layers if len(spiking.network.shapes[layer.activation]) == 3}
    assert bool(flat & maps) == (kind == "averaged")
    assert any(layer.zero for layer in spiking.layers) == (kind == "signed")
    found = diagnose(spiking, X.astype(np.float64))
    assert [layer.network.different for layer in found.layers if layer.network] == [0] * len(spiking.layers)
    assert found.output is not None
    assert found.output.different == 0
    assert sum(layer.float32_differs or 0 for layer in found.layers) < 50  # half-way, in a mean


@pytest.mark.parametrize("kind", MODELS)
def test_estimate_counts_where_float32_differs(kind: str, tmp_path: Path) -> None:
    spiking = spiking_of(kind, tmp_path / "model.onnx")
    data = Dataset(name="d", x=X.astype(np.float64), y=None)
    report = estimate(str(tmp_path / "model.onnx"), data, core="reference")
    assert report.float32.compared == len(X) * (72 + sum(layer.neurons for layer in spiking.layers))
    assert report.float32.activations < 50
