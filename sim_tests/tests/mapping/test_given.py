# SPDX-License-Identifier: Apache-2.0
"""Samples that the public functions are handed: bytes are pixels for all, and an example is no sample."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import spikeloom
from mapping.chip import Chip
from mapping.datasets.load import Dataset, load_data
from mapping.errors import MappingError
from mapping.flow import compile_passes
from mapping.given import FEW, calibration_of
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from sim_tests.generators.fake_torch import FakeTensor, fake_torch
from sim_tests.generators.model_builder import ModelBuilder

BYTES = np.random.default_rng(0).integers(0, 256, (24, 6)).astype(np.uint8)
UNIT = BYTES / 255.0
WAY = "give some hundred of the training."


def mlp() -> onnx.ModelProto:
    b = ModelBuilder((6,), seed=1)
    y = b.op("Tanh", b.dense("x", 3 * b.rng.normal(size=(9, 6)), b.rng.normal(size=9)))
    return b.model(b.dense(y, b.rng.normal(size=(4, 9))))


@pytest.fixture(scope="module")
def network() -> Network:
    return network_from_onnx(mlp(), name="mlp")


@pytest.fixture(scope="module")
def chip(network: Network) -> Chip:
    return spikeloom.compile_network(network, UNIT, scaling="unit", core="medium")


@pytest.fixture
def module_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with fake_torch(monkeypatch) as module:
        yield module


KINDS = {
    "array": BYTES,
    "tensor": FakeTensor(BYTES),
    "batches": [BYTES[:10], BYTES[10:]],
    "dataset": Dataset(name="samples", x=BYTES.astype(np.float64), y=None, pixels=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_pixels_for_compilation_and_run(network: Network, chip: Chip, kind: str) -> None:
    one = spikeloom.compile_network(network, KINDS[kind], core="medium")
    assert (one.image.digest, one.scaling) == (chip.image.digest, "unit")
    assert np.array_equal(chip.run(KINDS[kind]).logits, chip.run(UNIT).logits)


def test_labels_choose_the_scale_of_bytes(network: Network) -> None:
    for factor, scale in ((1.0, "raw"), (255.0, "unit")):
        labels = infer(network, BYTES / factor).argmax(1)
        assert spikeloom.compile_network(network, [(BYTES, labels)], core="medium").scaling == scale


def test_values_are_taken_as_they_are_by_compilation_and_run(network: Network, chip: Chip) -> None:
    wanted = chip.run(UNIT).logits
    for given in (FakeTensor(UNIT), [UNIT[:5], UNIT[5:]], [(UNIT, np.full(24, 0.5))]):
        assert np.array_equal(chip.run(given).logits, wanted)
        assert spikeloom.compile_network(network, given, core="medium").scaling is None
    whole = spikeloom.compile_network(network, 255 * UNIT, core="medium")
    assert np.array_equal(whole.run(BYTES.astype(np.int64)).logits, whole.run(255 * UNIT).logits)


def test_passes_take_what_a_chip_takes(network: Network) -> None:
    passes = compile_passes(network, BYTES, core="medium", mesh=(1, 1))
    assert np.array_equal(passes.run(BYTES)[-1].logits, passes.run(UNIT)[-1].logits)


def test_a_path_is_what_its_name_is(network: Network, chip: Chip, tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    np.savez(file, x=BYTES)
    for name in (file, str(file)):
        assert spikeloom.compile_network(network, name, core="medium").image.digest == chip.image.digest
        assert np.array_equal(chip.run(name).logits, chip.run(UNIT).logits)
    assert calibration_of(None, Path("digits"), 0).name == calibration_of(None, "digits", 0).name
    assert np.array_equal(calibration_of(None, file, 0).x, load_data(str(file)).x)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_example_of_the_shape_is_no_sample(network: Network, value: float) -> None:
    with pytest.raises(MappingError) as caught:
        spikeloom.compile_network(network, np.full((9, 6), value), core="medium")
    assert str(caught.value) == (
        f"Samples must be real ones, and all their numbers are {value:g}: the scales of the graded code are "
        f"chosen on them; {WAY}"
    )
    assert spikeloom.compile_network("digits", np.zeros((1, 1, 8, 8)), core="small").period


def test_few_samples_of_a_module_are_told(module_class: Any) -> None:
    with pytest.warns(UserWarning, match="chosen on 1 of Module's samples, ") as told:
        spikeloom.compile_network(module_class(mlp()), UNIT[:1], core="medium")
    assert str(told[0].message).endswith(WAY)
    assert told[0].filename == __file__
    spikeloom.compile_network(module_class(mlp()), UNIT[:FEW], core="medium")


def test_bytes_are_integers_of_a_model_that_declares_them(tmp_path: Path) -> None:
    b = ModelBuilder((6,), seed=1)
    real = b.op("Div", b.op("Cast", "x", to=onnx.TensorProto.FLOAT), b.constant(np.float32(255)))
    model = b.model(
        b.dense(b.op("Relu", b.dense(real, b.rng.normal(size=(9, 6)))), b.rng.normal(size=(4, 9)))
    )
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, tmp_path / "bytes.onnx")
    network = spikeloom.load_network(tmp_path / "bytes.onnx")
    wanted = infer(network, BYTES.astype(np.float64))
    assert np.ptp(wanted.argmax(1)) > 0
    for labels in (None, (wanted.argmax(1) + 1) % 4):
        report = spikeloom.estimate(network, BYTES if labels is None else (BYTES, labels), core="medium")
        assert report.input == "raw"
    assert spikeloom.estimate(network, BYTES, core="medium").input_told == "raw (the model reads integers)"
    chip = spikeloom.compile_network(network, BYTES, core="medium")
    chip.save(tmp_path / "bytes.spikeloom")
    again = spikeloom.open_chip(tmp_path / "bytes.spikeloom")
    assert chip.scaling == again.scaling == "raw"
    assert again.spiking.network.whole
    assert np.array_equal(again.run(BYTES).logits.argmax(1), wanted.argmax(1))
