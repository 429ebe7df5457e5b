# SPDX-License-Identifier: Apache-2.0
"""Modules of PyTorch that are refused, and the sentences that say why: with a stand-in for PyTorch."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mapping.errors import UnsupportedModelError
from mapping.model.load import load_network
from sim_tests.generators.fake_torch import FakeTensor, fake_torch
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.tests.mapping.test_torch_module import mlp

X = np.random.default_rng(0).uniform(-1, 1, (40, 6))


@pytest.fixture
def module_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with fake_torch(monkeypatch) as module:
        yield module


def refused(module: Any, x: Any = X) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        load_network(module, x)
    assert all(part.training for part in module.modules())
    return str(caught.value)


def test_samples_of_another_shape_are_refused(module_class: Any) -> None:
    sentence = refused(module_class(mlp()), X[:, :5])
    assert sentence.startswith("Module Module does not take samples of shape (5,) (")
    assert sentence.endswith("); give samples as it takes them, with the batch as first axis.")


def test_module_of_several_inputs_is_told_to_be_wrapped(module_class: Any) -> None:
    class Two(module_class):  # type: ignore[misc]
        def __call__(self, given: Any) -> Any:
            return self.forward(*[given])

        def forward(self, image: Any, row: Any, scale: float = 1) -> Any:
            return image * row * scale

    sentence = refused(Two(mlp()))
    assert sentence.startswith("Module Two takes 2 tensors, image and row (TypeError: ")
    assert sentence.endswith(
        "); wrap it in a module that takes one and splits it, as docs/guides/pytorch.md shows."
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "tuple"),
        ({"logits": [1, "a"]}, "int"),
        (FakeTensor([[1.0]]), "FakeTensor of shape (1, 1)"),
        (FakeTensor(1.0), "FakeTensor of shape ()"),
    ],
)
def test_what_is_no_tensor_of_the_batch_is_refused(module_class: Any, given: object, words: str) -> None:
    class Odd(module_class):  # type: ignore[misc]
        def __call__(self, _: object) -> object:
            return given

    assert refused(Odd(mlp())) == (
        f"Module Odd gives {words} for 16 samples instead of one tensor with the batch as first axis and "
        "outputs behind it; wrap it in a module that gives its logits."
    )


def test_failing_export_tells_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_module: object, _file: Path) -> None:
        raise RuntimeError("Failed.\nmuch more") from KeyError("aten.fold")

    monkeypatch.setattr("mapping.model.importers.torch_module.find_spec", lambda _: None)
    with fake_torch(monkeypatch, fail) as module:
        assert refused(module(mlp())) == (
            "Module Module cannot be exported to ONNX (KeyError: 'aten.fold'); change what that says, or "
            "export it with torch.onnx.export and give the file; pip install onnxscript gives PyTorch a "
            "better exporter."
        )


def test_branch_on_the_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older exporter only warns that it followed one branch."""

    def trace(_module: object, _file: Path) -> None:
        warnings.warn(
            "Converting a tensor to a Python boolean might cause the trace to be wrong", stacklevel=1
        )

    with fake_torch(monkeypatch, trace) as module:
        assert "(UserWarning: Converting a tensor to a Python boolean" in refused(module(mlp()))


def test_file_with_what_is_not_supported_names_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(_module: object, file: Path) -> None:
        b = ModelBuilder((6,))
        onnx.save(b.model(b.op("NonZero", "x")), file)

    with fake_torch(monkeypatch, export) as module:
        sentence = refused(module(mlp()))
    assert sentence.startswith("Module Module as ONNX: Node ")
    assert sentence.endswith(".")


@pytest.mark.parametrize("end", ["Neg", "Relu"])
def test_file_that_computes_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    with fake_torch(monkeypatch, lambda _, file: onnx.save(mlp(end), file)) as module:
        assert refused(module(mlp())) == (
            "Module Module and the network read from its ONNX file differ in their outputs; export it with "
            "torch.onnx.export and compare the file with the module."
        )
