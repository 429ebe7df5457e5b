# SPDX-License-Identifier: Apache-2.0
"""`spikeloom export`: the integer network as ONNX, of a model and of an image."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from mapping.chip import open_chip
from mapping.datasets.load import load_data
from mapping.spiking.simulate import simulate
from sim_tests.generators.ordinary_networks import calibration, mlp
from sim_tests.referees import integer_network
from spikeloom.cli import main


@pytest.fixture
def ordinary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, the current one, with an ordinary network ``net.onnx`` and its data ``net.npz``."""
    from sim_tests.generators.model_builder import ModelBuilder

    b = ModelBuilder((6,), seed=1)
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(9, 6)), b.rng.normal(size=9)))
    model = b.model(b.dense(y, b.rng.normal(size=(4, 9))))
    onnx.save(model, tmp_path / "net.onnx")
    np.savez(tmp_path / "net.npz", x=calibration(mlp(), n=40), y=np.zeros(40, np.int64))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_model_and_its_image_export_the_same_network(
    ordinary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "net.npz", "--bits", "6", "--core", "medium"]
    assert main(["compile", "net.onnx", "-o", "net.spikeloom", *options]) == 0
    assert main(["export", "net.spikeloom", "--integer", "one.onnx"]) == 0
    capsys.readouterr()
    assert main(["export", "net.onnx", "--integer", "two.onnx", *options]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("two.onnx: input 'input' of 6 counts -")
    assert shown[0].endswith(", 2 outputs, one a layer")
    assert shown[1].startswith("Input: a count is 'x' divided by 0.0")
    assert shown[2] == "On the host, outside every figure: nothing (0.00 % of the network's multiply-adds)"
    assert (ordinary / "one.onnx").read_bytes() == (ordinary / "two.onnx").read_bytes()
    chip = open_chip(ordinary / "net.spikeloom")
    counts = chip.counts(load_data("net.npz").x)
    expected = simulate(chip.spiking, counts)
    session = ReferenceEvaluator(onnx.load(ordinary / "two.onnx"))
    for name in [layer.name for layer in chip.spiking.layers]:
        (got,) = session.run([name], {"input": counts.astype(np.int64)})
        assert np.array_equal(got, expected[name])


@pytest.mark.parametrize("fault", [False, True])
def test_referee_compares_image_and_export(
    fault: bool,
    ordinary: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--data", "net.npz", "--core", "medium"]
    assert main(["compile", "net.onnx", "-o", "net.spikeloom", *options]) == 0
    assert main(["export", "net.spikeloom", "--integer", "one.onnx"]) == 0
    if fault:
        model = onnx.load("one.onnx")
        tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 9, tensor.name))
        onnx.save(model, "one.onnx")
    capsys.readouterr()
    assert integer_network.main(["net.spikeloom", "one.onnx", "--data", "net.npz"]) == int(fault)
    told = capsys.readouterr().out
    assert ": 40 samples, 520 activations, " in told
    assert told.endswith(", 0 differ\n") != fault


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["net.onnx", "--integer", "a.bin"],
            "File of the integer network must end in .onnx, as net_integer.onnx does, not 'a.bin'.",
        ),
        (
            ["net.onnx", "--integer", "a.onnx"],
            "Network net runs in the graded code, whose scales are chosen on samples: give --data with",
        ),
        (
            ["net.spikeloom", "--integer", "a.onnx", "--data", "net.npz"],
            "net.spikeloom is an image, whose scales are chosen: leave --data out",
        ),
        (
            ["none.onnx", "--integer", "a.onnx"],
            "Model file none.onnx cannot be read: No such file or directory.",
        ),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    arguments: list[str], sentence: str, ordinary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(ordinary.iterdir())
    assert main(["export", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"spikeloom: {sentence}")
    assert told.endswith(".\n")
    assert sorted(ordinary.iterdir()) == before
