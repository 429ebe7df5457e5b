# SPDX-License-Identifier: Apache-2.0
"""Float models of any operator set in the table of quantised networks."""

from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import pytest

from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.int8_table import main

pytest.importorskip("onnxruntime")


def given(folder: Path, model: onnx.ModelProto) -> list[str]:
    """Save a model and data; return the arguments of the table."""
    onnx.save(model, folder / "m.onnx")
    x = np.random.default_rng(1).normal(size=(8, 1, 4, 4)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.zeros(8, np.int64))
    paths = ["--quantise", str(folder / "m.onnx"), "--data", str(folder / "data.npz")]
    return [*paths, "--core", "medium", "--emulated", "1"]


def model_of(opset: int) -> onnx.ModelProto:
    b = ModelBuilder((1, 4, 4), opset=opset)
    y = b.conv("x", b.rng.normal(size=(3, 1, 3, 3)), b.rng.normal(size=3), name="one")
    y = b.op("Flatten", b.op("Relu", y))
    y = b.dense(y, b.rng.normal(size=(5, 12)), name="vote")
    return b.model(y if opset < _GELU else b.op("Gelu", y, name="last"))


_GELU = 20
"""First operator set that has it: none before can hold such a model."""


def test_later_operator_set_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="No Previous Version"):
        onnx.version_converter.convert_version(model_of(_GELU), 13)
    assert main(given(tmp_path, model_of(_GELU))) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 16


def test_operator_set_that_cannot_be_converted_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise onnx.version_converter.ConvertError("no adapter")

    monkeypatch.setattr(onnx.version_converter, "convert_version", fails)
    assert main(given(tmp_path, model_of(11))) == 2
    sentence = (
        "int8_table: Model 'm' has operator set 11, and onnx cannot take it to 13; export it with operator "
        "set 13 or later.\n"
    )
    assert capsys.readouterr().err == sentence
    assert main(given(tmp_path, model_of(13))) == 0
