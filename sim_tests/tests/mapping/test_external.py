# SPDX-License-Identifier: Apache-2.0
"""Models whose data lie in a file beside them, as PyTorch's exporter writes them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper

from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx
from sim_tests.generators.model_builder import ModelBuilder


def model() -> onnx.ModelProto:
    b = ModelBuilder((6,))
    return b.model(b.dense("x", b.rng.normal(size=(4, 6)), b.rng.normal(size=4)))


def saved(folder: Path) -> Path:
    """Save the model with its data beside it."""
    file = folder / "net.onnx"
    onnx.save_model(model(), file, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return file


def test_data_beside_the_model_are_read(tmp_path: Path) -> None:
    inside = tmp_path / "inside.onnx"
    onnx.save_model(model(), inside)
    x = np.random.default_rng(0).normal(size=(5, 6))
    assert (tmp_path / "net.onnx.data").exists() is False
    assert np.array_equal(infer(load_onnx(saved(tmp_path)), x), infer(load_onnx(inside), x))
    assert (tmp_path / "net.onnx.data").exists()


def place(key: str, value: str) -> Callable[[Path], None]:
    """Return what changes an entry about the place of a tensor's data."""

    def change(file: Path) -> None:
        changed = onnx.load(file, load_external_data=False)
        tensor = changed.graph.initializer[0]
        info = external_data_helper.ExternalDataInfo(tensor)
        values = {"location": info.location, "offset": str(info.offset), "length": str(info.length)}
        del tensor.external_data[:]
        for name, text in (values | {key: value}).items():
            entry = tensor.external_data.add()
            entry.key, entry.value = name, text
        assert tensor.data_location == TensorProto.EXTERNAL
        file.write_bytes(changed.SerializeToString())

    return change


def missing(file: Path) -> None:
    (file.parent / "net.onnx.data").unlink()


def cut(file: Path) -> None:
    data = file.parent / "net.onnx.data"
    data.write_bytes(data.read_bytes()[:-50])


def link(file: Path) -> None:
    data, elsewhere = file.parent / "net.onnx.data", file.parent / "other"
    elsewhere.mkdir()
    data.rename(elsewhere / "data")
    data.symlink_to(elsewhere / "data")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (
        missing,
        r"^Data file net\.onnx\.data of the model cannot be read: .*; keep it beside the model\.$",
    ),
    "cut": (cut, r"^Data file net\.onnx\.data of the model ends before tensor .*; export the model again\.$"),
    "a link out of the folder": (link, r"is stored in 'net\.onnx\.data', which is no file beside the model;"),
    "another folder": (place("location", "../net.onnx.data"), r"which is no file beside the model;"),
    "an absolute path": (place("location", "/etc/passwd"), r"which is no file beside the model;"),
    "no name": (place("location", ""), r"which is no file beside the model;"),
    "another length": (
        place("length", "8"),
        r"has 8 bytes in net\.onnx\.data, but its type and shape ask ",
    ),
    "no number": (place("offset", "-4"), r"names the place '-4' in its data file, which is no number;"),
    "beyond the end": (place("offset", "100000"), r"ends before tensor "),
}


@pytest.mark.parametrize("name", BAD)
def test_data_that_do_not_lie_beside_the_model_are_one_sentence(name: str, tmp_path: Path) -> None:
    change, sentence = BAD[name]
    file = saved(tmp_path)
    change(file)
    with pytest.raises(UnsupportedModelError, match=sentence):
        load_onnx(file)


@pytest.mark.parametrize("name", BAD)
def test_model_that_is_saved_again_is_read(name: str, tmp_path: Path) -> None:
    """Every sentence asks for the model with its data inside, or saved again with them beside it."""
    BAD[name][0](saved(tmp_path))
    again = tmp_path / "again"
    again.mkdir()
    beside = load_onnx(saved(again))
    onnx.save_model(model(), again / "inside.onnx")
    inside = load_onnx(again / "inside.onnx")
    weights = [[dict(node.constants) for node in network.nodes] for network in (beside, inside)]
    assert any(weights[0])
    np.testing.assert_equal(weights[0], weights[1])


def test_weights_of_a_type_that_is_unknown_are_one_sentence(tmp_path: Path) -> None:
    file = saved(tmp_path)
    changed = onnx.load(file, load_external_data=False)
    changed.graph.initializer[0].data_type = TensorProto.STRING
    file.write_bytes(changed.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"Tensor .* (export it with float32 weights|asks? for)"):
        load_onnx(file)


def test_more_data_than_a_model_may_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path)
    monkeypatch.setattr("mapping.model.importers.onnx.MAX_BYTES", file.stat().st_size + 10)
    with pytest.raises(UnsupportedModelError, match=r"ask for \d+ of at most 10; export the model again\.$"):
        load_onnx(file)
