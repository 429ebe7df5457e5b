# SPDX-License-Identifier: Apache-2.0
"""The trainer of the float networks in the table of the graded code."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mapping.datasets.load import load_data, scaled
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.load import load_network
from sim_tests.referees import train_float
from sim_tests.referees.train_float import CIFAR, RECIPES, main, parts

Array = npt.NDArray[Any]


def _torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'spikeloom[train]'")


def _images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write 48 images of CIFAR's form, 40 of them to train on, and idx files of 40 and 8."""
    monkeypatch.setattr(train_float, "TRAINED", 40)
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 256, (48, 32, 32, 3), np.uint8), np.arange(48) % 10
    np.savez(folder / CIFAR, x=x, y=y)
    for prefix, rows in (("train", slice(40)), ("t10k", slice(40, None))):
        grey = x[rows, 2:30, 2:30, 0]
        for kind, values in (("images-idx3", grey), ("labels-idx1", y[rows])):
            header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / f"{prefix}-{kind}-ubyte").write_bytes(header + values.astype(np.uint8).tobytes())
    return folder


def _run(name: str, folder: Path, output: Path, *options: str) -> int:
    return main([name, "--data", str(folder), "-o", str(output), "--epochs", "1", *options])


@pytest.mark.parametrize("name", RECIPES)
def test_float_training_writes_an_ordinary_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _torch()
    assert _run(name, _images(tmp_path, monkeypatch), tmp_path / "a.onnx") == 0
    network = load_network(str(tmp_path / "a.onnx"))
    source = f"fashion:{tmp_path}" if name == "fashion" else str(tmp_path / "cifar_test.npz")
    data, how = scaled(load_data(source), "unit", network)
    share = 100 * np.mean(infer(network, data.x).argmax(axis=1) == data.y)
    assert (how, len(data.x)) == ("unit", 8)
    assert f"{share:.2f} % of 8 images held back" in capsys.readouterr().out


def test_float_training_is_seeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _torch()
    folder = _images(tmp_path, monkeypatch)
    written = []
    for seed in ("1", "1", "2"):
        assert _run("mobilenet", folder, tmp_path / "a.onnx", "--seed", seed) == 0
        written.append((tmp_path / "a.onnx").read_bytes())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize(("name", "stride"), [("mobilenet", 2), ("mobilenet32", 1)])
def test_mobilenet_convolves_each_channel_alone_or_each_pixel_alone(name: str, stride: int) -> None:
    torch = _torch()
    layers = RECIPES[name].layers(torch.nn)
    first, *others = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    assert first.stride == (stride, stride)
    assert len(others) == 10
    for deep, narrow in zip(others[::2], others[1::2], strict=True):
        assert deep.groups == deep.in_channels == deep.out_channels == narrow.in_channels
        assert (deep.kernel_size, narrow.kernel_size) == ((3, 3), (1, 1))


def test_float_training_holds_images_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _images(tmp_path, monkeypatch)
    x = np.load(folder / CIFAR)["x"]
    (known, labels), (held, others) = parts("resnet8", folder)
    for found, wanted in (
        (known, x[:40].transpose(0, 3, 1, 2)),
        (labels, np.arange(40) % 10),
        (held, x[40:].transpose(0, 3, 1, 2)),
        (others, np.arange(40, 48) % 10),
    ):
        assert np.array_equal(found, wanted)


def test_moved_images_are_parts_of_reflected_ones() -> None:
    x = np.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    frame = np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(20):
        for image, whole in zip(train_float._moved(x, rng), frame, strict=True):
            places = [(i, j) for i in range(7) for j in range(7)]
            plain = any(np.array_equal(image, whole[:, i : i + 8, j : j + 8]) for i, j in places)
            other = any(np.array_equal(image, whole[:, i : i + 8, j : j + 8][..., ::-1]) for i, j in places)
            assert plain or other
            mirrored += other
    assert 8 <= mirrored <= 32


def test_float_training_without_pytorch_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Any:
        raise ImportError("Training needs PyTorch, which is not installed; run 'pip install torch'.")

    monkeypatch.setattr(train_float, "import_torch", missing)
    assert _run("fashion", tmp_path, tmp_path / "a.onnx") == 2
    sentence = "train_float: Training needs PyTorch, which is not installed; run 'pip install torch'.\n"
    assert capsys.readouterr().err == sentence


def test_float_training_refuses_other_images(tmp_path: Path) -> None:
    np.savez(tmp_path / CIFAR, x=np.zeros((5, 8, 8, 3), np.uint8), y=np.zeros(5, np.int64))
    sentence = (
        f"{tmp_path / CIFAR} must have more than 3000 images of shape (32, 32, 3), not 5 of (8, 8, 3): "
        "name the folder of another file."
    )
    with pytest.raises(MappingError, match=f"^{re.escape(sentence)}$"):
        parts("mobilenet", tmp_path)
    np.savez(tmp_path / CIFAR, x=np.zeros((3001, 32, 32, 3), np.uint8))
    sentence = "The images to train on have no labels: give a file with y."
    with pytest.raises(MappingError, match=f"^{re.escape(sentence)}$"):
        parts("mobilenet", tmp_path)
