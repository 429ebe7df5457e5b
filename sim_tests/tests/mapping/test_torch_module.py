# SPDX-License-Identifier: Apache-2.0
"""Modules of PyTorch, read through its exporter: with a stand-in for PyTorch, and with itself if there."""

import os
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import spikeloom
from mapping.errors import MappingError, UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.torch_module import is_module
from mapping.model.load import load_network
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.fake_torch import FakeTensor, fake_torch
from sim_tests.generators.model_builder import ModelBuilder

X = np.random.default_rng(0).uniform(-1, 1, (40, 6))
Y = np.arange(40) % 4


def decode_of(chip: spikeloom.Chip, x: Any) -> Any:
    """Return the outputs of the network that a chip runs, without the chip."""
    return decode(chip.spiking, simulate(chip.spiking, encode(chip.spiking, x)), x)


def mlp(end: str = "") -> onnx.ModelProto:
    b = ModelBuilder((6,), seed=1)
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(9, 6)), b.rng.normal(size=9)))
    y = b.dense(y, b.rng.normal(size=(4, 9)))
    return b.model(b.op(end, y) if end else y)


@pytest.fixture
def module_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with fake_torch(monkeypatch) as module:
        yield module


def test_pytorch_is_not_imported_for_others() -> None:
    assert not is_module(mlp())
    assert not is_module("digits")
    load_network("digits")
    assert "torch" not in sys.modules or find_spec("torch") is not None


def test_module_is_the_network_it_exports(module_class: Any, capfd: pytest.CaptureFixture[str]) -> None:
    class Mine(module_class):  # type: ignore[misc]
        """As users write them: a class of their own."""

    module = Mine(mlp())
    network = load_network(module, X)
    assert (network.name, network.shapes[network.input]) == ("Mine", (6,))
    expected = module(FakeTensor(X)).values
    assert np.allclose(infer(network, X), expected, rtol=1e-5, atol=1e-5)
    assert capfd.readouterr() == ("", "")


def test_modes_of_all_parts_are_put_back(module_class: Any) -> None:
    frozen = module_class(mlp())
    frozen.training = False
    module = module_class(mlp(), frozen, module_class(mlp()))
    load_network(module, X)
    assert [part.training for part in module.modules()] == [True, False, True]
    assert {training for training, _, _ in module.seen} == {False}


@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
def test_samples_have_the_device_and_precision_of_the_module(module_class: Any, kind: str) -> None:
    module = module_class(mlp(), dtype=kind)
    load_network(module, X[:1].astype(np.float64))
    assert set(module.seen) == {(False, "gpu", kind)}


def test_estimate_takes_a_module_and_its_loader(module_class: Any) -> None:
    loader = [(FakeTensor(X[:25]), FakeTensor(Y[:25])), (FakeTensor(X[25:]), FakeTensor(Y[25:]))]
    report = spikeloom.estimate(module_class(mlp()), loader, core="medium")
    (target,) = report.targets
    assert (report.model, report.data, target["samples"]) == ("Module", "list", 40)
    assert (target["code"], target["host_share"]) == ("graded", 0.0)
    assert target["agreement"] > 0.9


def test_estimate_is_the_same_for_module_and_file(module_class: Any, tmp_path: Path) -> None:
    onnx.save(mlp(), tmp_path / "Module.onnx")
    one = spikeloom.estimate(module_class(mlp()), (X, Y), core="medium")
    two = spikeloom.estimate(tmp_path / "Module.onnx", (X, Y), core="medium")
    assert one.to_json() == two.to_json()


def test_compile_takes_a_module_and_an_example(module_class: Any) -> None:
    one = spikeloom.compile_network(module_class(mlp()), FakeTensor(X), core="medium")
    two = spikeloom.compile_network(module_class(mlp()), [(X[:20], Y[:20]), (X[20:], Y[20:])], core="medium")
    assert one.image.digest == two.image.digest
    assert one.run(X[:3]).logits.shape == (3, 4)


def test_compile_scales_the_pixels_of_loaded_data() -> None:
    one = spikeloom.compile_network("digits", "digits", core="small")
    two = spikeloom.compile_network("digits", spikeloom.load_data("digits"), core="small")
    assert one.image.meta["scaling"] == two.image.meta["scaling"] == "unit"
    assert one.image.digest == two.image.digest


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_an_end_that_changes_no_class_may_be_left_out(module_class: Any, end: str) -> None:
    network = load_network(module_class(mlp(end)), X)
    assert network.nodes[-1].op != end


def test_grey_pictures_get_their_channel(module_class: Any) -> None:
    b = ModelBuilder((1, 5, 5))
    y = b.op("Flatten", b.conv("x", b.rng.normal(size=(2, 1, 5, 5))))
    model = b.model(b.dense(y, b.rng.normal(size=(3, 2))))
    assert load_network(module_class(model), np.ones((3, 5, 5))).shapes["x"] == (1, 5, 5)


def test_module_needs_an_example(module_class: Any) -> None:
    with pytest.raises(MappingError) as caught:
        spikeloom.compile_network(module_class(mlp()))
    assert str(caught.value) == (
        "Module Module does not say what shape its input has: give an example of it, an array (n, input "
        "shape)."
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, "int"),
        (dict, "type; make a module of the class by calling it"),
        ({"w": 1}, "dict; build the module and hand it its state with load_state_dict"),
    ],
)
def test_other_models_are_refused(model: object, words: str) -> None:
    with pytest.raises(MappingError) as caught:
        load_network(model)
    assert str(caught.value) == f"Model must be a file, a network or a module of PyTorch, not {words}."


def test_wrapped_modules_are_the_module_inside(module_class: Any) -> None:
    def wrapped(name: str, attribute: str, inside: Any) -> Any:
        module = type(name, (module_class,), {"__module__": "torch.any"})(mlp())
        setattr(module, attribute, inside)
        return module

    inside = module_class(mlp())
    network = load_network(
        wrapped("OptimizedModule", "_orig_mod", wrapped("DataParallel", "module", inside)), X
    )
    assert (network.name, len(inside.seen)) == ("Module", 1)
    own = wrapped("DataParallel", "module", None)
    type(own).__module__ = "mine"
    assert load_network(own, X).name == "DataParallel"


@pytest.mark.parametrize(
    "among",
    [lambda y: (y, FakeTensor(-y.values)), lambda y: {"out": [y], "loss": None}],
    ids=["tuple", "dict"],
)
def test_first_of_several_outputs_is_the_module_s(module_class: Any, among: Any) -> None:
    class Several(module_class):  # type: ignore[misc]
        def __call__(self, given: Any) -> Any:
            return among(super().__call__(given))

    expected = module_class(mlp())(FakeTensor(X)).values
    assert np.allclose(infer(load_network(Several(mlp()), X), X), expected, rtol=1e-5, atol=1e-5)


def test_graphs_that_a_library_prints_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """PyTorch's library writes to the process, not to Python's streams."""

    def export(module: Any, file: Path) -> None:
        for descriptor in (1, 2):
            os.write(descriptor, b"Torch IR graph at exception: graph(%input.1")
        onnx.save(module.model, file)

    print("mine")
    with fake_torch(monkeypatch, export) as module:
        load_network(module(mlp()), X)
    os.write(1, b"again mine")
    assert capfd.readouterr() == ("mine\nagain mine", "")


def test_older_exporter_follows_where_the_newer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []

    def fail_once(module: Any, file: Path) -> None:
        tried.append(file)
        if len(tried) == 1:
            raise ValueError("Exporting a ScriptModule is not supported.")
        onnx.save(module.model, file)

    monkeypatch.setattr("mapping.model.importers.torch_module.find_spec", lambda _: True)
    with fake_torch(monkeypatch, fail_once) as module:
        assert load_network(module(mlp()), X).name == "Module"
    assert len(tried) == 2


def test_module_that_mixes_two_samples_is_exported_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recurrent layers and attention reshape the batch too: a file for two samples cannot be read."""

    def export(module: Any, file: Path) -> None:
        b = ModelBuilder((6,), seed=1)
        b.op("Reshape", "x", b.constant([12], np.int64))
        onnx.save(module.model if module.batches[-1] == 1 else b.model("t0"), file)

    with fake_torch(monkeypatch, export) as module:
        mixing = module(mlp())
        assert load_network(mixing, X).shapes["x"] == (6,)
    assert (mixing.batches[0], mixing.batches[-1]) == (2, 1)


def test_module_that_cannot_be_exported_was_tried_with_one_sample_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def export(module: Any, file: Path) -> None:
        raise ValueError("It reshapes.")

    monkeypatch.setattr("mapping.model.importers.torch_module.find_spec", lambda _: None)
    with fake_torch(monkeypatch, export) as module:
        mixing = module(mlp())
        with pytest.raises(UnsupportedModelError, match="ValueError: It reshapes"):
            load_network(mixing, X)
    assert mixing.batches == [2, 1]


def test_question_of_a_layer_of_pytorch_is_no_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(module: Any, file: Path) -> None:
        text = "Converting a tensor to a Python boolean might cause the trace to be wrong"
        warnings.warn_explicit(text, UserWarning, "functional.py", 1, module="torch.nn.functional")
        onnx.save(module.model, file)

    with fake_torch(monkeypatch, trace) as module:
        assert load_network(module(mlp()), X).name == "Module"


@pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed: pip install 'spikeloom[train]'"
)
@pytest.mark.parametrize("kind", ["mlp", "lenet", "resnet", "mobile"])
def test_modules_of_pytorch_load(kind: str) -> None:
    from sim_tests.generators.torch_modules import module_of

    module, shape = module_of(kind)
    x = np.random.default_rng(1).normal(size=(5, *shape))
    network = load_network(module, x)
    assert module.training
    report = spikeloom.compile_network(network, x)
    assert report.spiking.host_share == 0


@pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed: pip install 'spikeloom[train]'"
)
@pytest.mark.parametrize("kind", ["recurrent", "attention"])
def test_modules_that_mix_samples_load_and_tell_their_share(kind: str) -> None:
    from sim_tests.generators.torch_modules import module_of

    module, shape = module_of(kind)
    x = np.random.default_rng(1).normal(size=(30, *shape))
    chip = spikeloom.compile_network(module, x)
    assert 0 < (chip.spiking.host_share or 0) < 1
    assert (chip.run(x[:3]).logits == decode_of(chip, x[:3])).all()


@pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed: pip install 'spikeloom[train]'"
)
@pytest.mark.parametrize("onnxscript", [False, True])
def test_layers_of_pytorch_that_ask_for_shapes_load(
    onnxscript: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim_tests.generators.torch_modules import module_of

    if onnxscript and find_spec("onnxscript") is None:
        pytest.skip("onnxscript is not installed, and PyTorch's newer exporter needs it")
    monkeypatch.setattr(
        "mapping.model.importers.torch_module.find_spec", lambda _: True if onnxscript else None
    )
    module, shape = module_of("normalised")
    x = np.random.default_rng(1).normal(size=(5, *shape))
    network = load_network(module, x)
    assert network.shapes[network.input] == shape


@pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed: pip install 'spikeloom[train]'"
)
@pytest.mark.parametrize("kind", ["mlp", "resnet", "mobile"])
@pytest.mark.parametrize(
    "how", [{"dynamo": False}, {"dynamo": True}, {"dynamo": True, "optimize": False}], ids=str
)
def test_files_of_both_exporters_load(how: dict[str, bool], kind: str, tmp_path: Path) -> None:
    import torch

    from sim_tests.generators.torch_modules import module_of

    if how["dynamo"] and find_spec("onnxscript") is None:
        pytest.skip("onnxscript is not installed, and PyTorch's newer exporter needs it")
    module, shape = module_of(kind)
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (x[:2],), str(tmp_path / "m.onnx"), **how)
        expected = module(x).numpy()
    network = load_network(tmp_path / "m.onnx")
    assert np.allclose(infer(network, x.double().numpy()), expected, rtol=1e-4, atol=1e-5)
    assert spikeloom.compile_network(network, x.double().numpy()).spiking.host_share == 0
