# SPDX-License-Identifier: Apache-2.0
"""The recipe of the ordinary network and the model file that ships with the project."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

import mapping
import mapping.training.ordinary as recipe
from mapping.training import TEST_START, build_ordinary, train_ordinary
from mapping.training.model import evaluate, predict
from mapping.training.recipe import digits_part

MODEL = Path(mapping.__file__).parent / "model" / "data" / "digits-float.onnx"

Array = npt.NDArray[Any]


def parameters(seed: int) -> dict[str, Array]:
    """Return random parameters of every layer."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (3, 1, 3, 3), "conv2.weight": (4, 3, 3, 3)}
    shapes |= {"conv2.bias": (4,), "dense.weight": (10, 64), "dense.bias": (10,)}
    shapes |= {f"norm1.{part}": (3,) for part in ("weight", "bias", "mean")}
    found = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    found["norm1.variance"] = rng.uniform(0.5, 2, 3)
    return {name: values.astype(np.float32) for name, values in found.items()}


def runtime(model: onnx.ModelProto, x: Array) -> Array:
    """Return the logits of an independent runtime."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x[:, None].astype(np.float32)})[0])


def test_evaluate_agrees_with_onnxruntime() -> None:
    model = build_ordinary(parameters(1), notes={})
    x = np.random.default_rng(2).uniform(0, 16, (5, 8, 8))
    assert evaluate(model, x) == pytest.approx(runtime(model, x), abs=1e-4)


def test_equal_parameters_give_equal_bytes() -> None:
    first, again, other = (
        build_ordinary(parameters(seed), notes={"a": "b"}).SerializeToString(deterministic=True)
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_shipped_model_is_small_checked_and_ordinary() -> None:
    data = MODEL.read_bytes()
    assert len(data) < 50_000
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString(deterministic=True) == data
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Conv", "BatchNormalization", "Relu", "MaxPool", "Conv", "Relu", "Flatten", "Gemm"]
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name in ("conv1.weight", "conv2.weight", "dense.weight"):
        assert len(np.unique(weights[name])) > 0.99 * weights[name].size
    notes = {p.key: p.value for p in model.metadata_props}
    command = f"spikeloom train digits --float --seed {notes['seed']}"
    assert notes == {"task": "digits", "seed": notes["seed"], "recipe": "1", "command": command}


def test_shipped_model_reaches_97_percent_on_unseen_digits() -> None:
    x, y = digits_part(TEST_START, None)
    model = onnx.load(MODEL)
    assert len(y) == 360
    assert np.count_nonzero(predict(model, x) != y) <= 10
    assert np.count_nonzero(runtime(model, x).argmax(1) != y) <= 10


def test_training_is_seeded_and_never_sees_the_test_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'spikeloom[train]'")
    output, calls = tmp_path / "a.onnx", []

    def spy(start: int, stop: int | None) -> tuple[Array, Array]:
        calls.append((start, stop, output.exists()))
        return digits_part(start, stop)

    monkeypatch.setattr(recipe, "digits_part", spy)
    first = train_ordinary(seed=3, epochs=1, output=output)
    assert calls == [(0, TEST_START, False), (TEST_START, None, True)]
    again = train_ordinary(seed=3, epochs=1, output=tmp_path / "b.onnx")
    other = train_ordinary(seed=4, epochs=1, output=tmp_path / "c.onnx")
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"seed": -1}, "The training seed is -1; give an integer of 0 or more."),
        ({"seed": 1, "epochs": 0}, "The number of training epochs is 0; give an integer of 1 or more."),
    ],
)
def test_training_refuses_bad_arguments(arguments: dict[str, int], text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        train_ordinary(seed=arguments["seed"], epochs=arguments.get("epochs"), output=tmp_path / "a.onnx")


@pytest.mark.long
def test_retraining_reaches_97_percent(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'spikeloom[train]'")
    result = train_ordinary(seed=0, output=tmp_path / "f.onnx")
    assert min(result.test_accuracy, result.validation_accuracy) >= 0.97
