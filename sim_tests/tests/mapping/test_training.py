# SPDX-License-Identifier: Apache-2.0
"""The training recipe for digits and the model file that ships with the project."""

from __future__ import annotations

import builtins
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

import mapping
import mapping.training.recipe
from mapping.training import RECIPE, TEST_START, augment, quantise, ternarise, train_digits
from mapping.training.model import BOUND, LEVEL, TERNARY, build_model, evaluate, predict

MODEL = Path(mapping.__file__).parent / "model" / "data" / "digits.onnx"

Array = npt.NDArray[Any]


def _torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'spikeloom[train]'")


def _digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def _weights(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def _parameters(rng: np.random.Generator) -> dict[str, Array]:
    shapes: dict[str, tuple[int, ...]] = {"host": (3, 1, 3, 3), "conv1": (4, 3, 3, 3), "conv2": (5, 4, 3, 3)}
    shapes |= {"dense": (6, 80), "out": (10, 6)}
    result = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        for part in ("gamma", "beta", "mean"):
            result[f"{name}.{part}"] = rng.normal(size=shape[0])
        result[f"{name}.variance"] = rng.uniform(0.5, 2, shape[0])
    result["out.bias"] = rng.normal(size=10)
    return {name: a.astype(np.float32) for name, a in result.items()}


def _runtime(model: onnx.ModelProto) -> Any:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_quantise_rounds_half_up_and_clips() -> None:
    torch = _torch()
    x = torch.tensor([-3, -0.25, 0.2499, 0.25, 0.7499, 0.75, 1.25, 1.7499, 1.75, 9.0], dtype=torch.float32)
    assert quantise(x).tolist() == [0, 0, 0, 0.5, 0.5, 1, 1.5, 1.5, 2, 2]


def test_quantise_passes_the_gradient_inside_its_range() -> None:
    torch = _torch()
    x: Any = torch.tensor([-0.1, 0.3, 1.9, 2.1], requires_grad=True)
    y: Any = quantise(x)
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_ternarise_keeps_weights_above_the_threshold() -> None:
    # mean|w| = 3, threshold 2.1: 2 falls, 2.5 stays; a = (2.5 + 4.5 + 5) / 3 = 4.
    w = _torch().tensor([1.0, -2.0, 2.5, -4.5, 5.0], requires_grad=True)
    t: Any = ternarise(w)
    assert t.tolist() == [0, 0, 4, -4, 4]
    t.sum().backward()
    assert w.grad.tolist() == [1, 1, 1, 1, 1]


def test_ternarise_of_zeros_is_zero() -> None:
    assert ternarise(_torch().zeros(4)).tolist() == [0, 0, 0, 0]


def test_augment_without_any_range_returns_the_images() -> None:
    from dataclasses import replace

    still = replace(RECIPE, rotation=0, scale=0, shear=0, shift=0, gamma=0, gain=0, noise=0)
    images = _digits()[0][:20].astype(np.float32)
    moved = augment(images, rng=np.random.default_rng(0), recipe=still)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, images, atol=1e-4)


def test_augment_is_seeded_and_stays_in_range() -> None:
    images = _digits()[0][:50].astype(np.float32)
    first, again, other = (augment(images, rng=np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 16


def test_evaluate_agrees_with_onnxruntime() -> None:
    model = build_model(_parameters(np.random.default_rng(5)), notes={"task": "test"})
    images = _digits()[0][:40]
    logits = _runtime(model).run(None, {"input": images[:, None].astype(np.float32)})[0]
    np.testing.assert_allclose(evaluate(model, images), logits, rtol=1e-4, atol=1e-4)


def test_evaluate_refuses_an_operator_it_does_not_know() -> None:
    model = build_model(_parameters(np.random.default_rng(5)), notes={})
    model.graph.node.append(helper.make_node("Tanh", ["logits"], ["squashed"], name="odd"))
    with pytest.raises(
        ValueError, match=r"^node 'odd' has operator Tanh, evaluate knows those of build_model only: "
    ):
        evaluate(model, np.zeros((1, 8, 8)))


def test_equal_parameters_give_equal_bytes() -> None:
    parameters = _parameters(np.random.default_rng(5))
    first, second = (build_model(p, notes={"task": "test"}) for p in (parameters, dict(parameters)))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_shipped_model_is_byte_identical_after_load_and_save() -> None:
    data = MODEL.read_bytes()
    assert len(data) < 300_000
    assert onnx.load_from_string(data).SerializeToString(deterministic=True) == data


def test_shipped_model_is_checked_onnx_with_its_origin() -> None:
    model = onnx.load(MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    (source,) = model.graph.input
    dims = source.type.tensor_type.shape.dim
    assert (source.name, dims[0].dim_param, [d.dim_value for d in dims[1:]]) == ("input", "N", [1, 8, 8])
    notes = {p.key: p.value for p in model.metadata_props}
    assert notes == {
        "task": "digits",
        "seed": notes["seed"],
        "recipe": str(RECIPE.version),
        "command": f"spikeloom train digits --seed {notes['seed']}",
        "B": str(BOUND),
        "k": str(LEVEL),
    }


@pytest.mark.parametrize("layer", TERNARY)
def test_shipped_weights_are_ternary(layer: str) -> None:
    weight = _weights(onnx.load(MODEL))[f"{layer}.weight"]
    values = np.unique(weight)
    assert weight.dtype == np.float32
    assert len(values) == 3
    assert values[0] == -values[2]
    assert values[1] == 0


def test_shipped_model_has_gammas_of_both_signs() -> None:
    gammas = np.concatenate([_weights(onnx.load(MODEL))[f"{layer}.gamma"] for layer in TERNARY])
    assert (gammas < 0).any()
    assert (gammas > 0).any()


def test_shipped_model_reaches_97_percent_on_unseen_digits() -> None:
    x, y = _digits()
    model = onnx.load(MODEL)
    x, y = x[TEST_START:], y[TEST_START:]
    assert len(y) == 360
    assert np.count_nonzero(predict(model, x) != y) <= 10
    logits = _runtime(model).run(None, {"input": x[:, None].astype(np.float32)})[0]
    assert np.count_nonzero(logits.argmax(1) != y) <= 10


def test_training_is_seeded(tmp_path: Path) -> None:
    _torch()
    lines: list[str] = []
    first = train_digits(seed=3, epochs=1, output=tmp_path / "a.onnx", progress=lines.append)
    again = train_digits(seed=3, epochs=1, output=tmp_path / "b.onnx")
    other = train_digits(seed=4, epochs=1, output=tmp_path / "c.onnx")
    assert first.digest == again.digest
    assert first.digest != other.digest
    assert hashlib.sha256((tmp_path / "a.onnx").read_bytes()).hexdigest() == first.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "c.onnx"]
    assert lines[0].startswith("validation run: epoch 1 of 1, loss ")


def test_training_leaves_the_settings_of_torch_alone(tmp_path: Path) -> None:
    torch = _torch()
    torch.manual_seed(11)
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())
    train_digits(seed=3, epochs=1, output=tmp_path / "a.onnx")
    after = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())
    assert after == before


def test_training_never_loads_the_test_digits_before_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _torch()
    output, load = tmp_path / "a.onnx", mapping.training.recipe.digits_part
    calls: list[tuple[int, int | None, bool]] = []

    def spy(start: int, stop: int | None) -> tuple[Array, Array]:
        calls.append((start, stop, output.exists()))
        return load(start, stop)

    monkeypatch.setattr(mapping.training.recipe, "digits_part", spy)
    train_digits(seed=3, epochs=1, output=output)
    assert calls == [(0, TEST_START, False), (TEST_START, None, True)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"seed": -1}, "The training seed is -1; give an integer of 0 or more."),
        ({"seed": 1, "epochs": 0}, "The number of training epochs is 0; give an integer of 1 or more."),
    ],
)
def test_training_refuses_bad_arguments(arguments: dict[str, int], text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        train_digits(seed=arguments["seed"], epochs=arguments.get("epochs"), output=tmp_path / "a.onnx")


def test_training_without_torch_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def hidden(name: str, *rest: Any, **options: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return found(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", hidden)
    text = r"^Training needs PyTorch, which is not installed; run 'pip install torch'\.$"
    with pytest.raises(ImportError, match=text):
        train_digits(seed=1, output=tmp_path / "a.onnx")


def test_importing_the_recipe_does_not_import_torch() -> None:
    code = "import sys, mapping.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.long
def test_retraining_reaches_97_percent(tmp_path: Path) -> None:
    _torch()
    notes = {p.key: p.value for p in onnx.load(MODEL).metadata_props}
    result = train_digits(seed=int(notes["seed"]), output=tmp_path / "digits.onnx")
    assert result.test_accuracy >= 0.97
    assert result.validation_accuracy >= 0.97
