# SPDX-License-Identifier: Apache-2.0
"""`spikeloom inspect` on ordinary networks: what is lost by what, what helps, and planted faults by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mapping.datasets.scale import normalised
from sim_tests.generators.trained_networks import bars, trained
from spikeloom.cli import main

IMAGENET = "0.485,0.456,0.406,0.229,0.224,0.225"

Out = pytest.CaptureFixture[str]
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained on bars of three colours between 0 and 1."""
    x, y = bars(1500)
    b, output = trained(x / 255, y)
    path = tmp_path_factory.mktemp("model") / "bars.onnx"
    onnx.save(b.model(output), path)
    return path


@pytest.fixture(scope="module")
def saturating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with functions that saturate, so that the scale of its input matters."""
    x, y = bars(1500)
    b, output = trained(x / 255, y, function="Tanh")
    path = tmp_path_factory.mktemp("model") / "tanh.onnx"
    onnx.save(b.model(output), path)
    return path


def data(folder: Path, *, labels: bool = True, change: Callable[[Pixels], Any] | None = None) -> str:
    """Write 200 bars that the network was not trained on, changed."""
    x, y = bars(200, seed=1)
    arrays: dict[str, Any] = {"x": x if change is None else change(x)} | ({"y": y} if labels else {})
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return str(path)


def inspect(model: Path | str, source: str, folder: Path, *options: str) -> dict[str, Any]:
    """Run the command and return its JSON."""
    out = folder / "inspect.json"
    assert main(["inspect", str(model), "--data", source, "--json", str(out), *options]) == 0
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def told(result: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the one finding of a kind."""
    (found,) = [finding for finding in result["findings"] if finding["kind"] == kind]
    assert isinstance(found, dict)
    return found


def warned(result: dict[str, Any]) -> set[str]:
    return {finding["kind"] for finding in result["findings"] if finding["level"] == "warning"}


def test_sound_network_gives_no_warning(model: Path, tmp_path: Path, capsys: Out) -> None:
    result = inspect(model, data(tmp_path), tmp_path)
    out = capsys.readouterr().out
    assert warned(result) == set()
    assert (result["network"], result["output"], result["image"]) == (None, None, None)
    attribution = result["attribution"]
    assert [(part["layer"], part["part"]) for part in attribution["parts"]] == [
        ("input", "input"),
        *((name, part) for name in ("fc1", "fc2", "fc3") for part in ("weights", "activations")),
    ]
    assert attribution["samples"] == 200
    assert attribution["float_accuracy"] == result["ann_accuracy"] > 0.85
    assert attribution["parts"][-1]["accuracy"] == result["accuracy"]
    assert {key for part in attribution["parts"] for key in part} == {
        "layer", "part", "logit_error", "agreement", "accuracy", "share", "factor",
    }  # fmt: skip
    for part in attribution["parts"]:
        cells = [
            f"{part['logit_error']:.4f}",
            f"{100 * part['agreement']:.2f} %",
            f"{100 * part['share']:.2f} %",
        ]
        assert all(cell in out for cell in cells)
    assert [layer["network"] for layer in result["layers"]] == [None] * 4
    assert [layer["float32_differs"] for layer in result["layers"]] == [None] * 4


def test_option_that_helps_is_named_and_does_what_is_said(model: Path, tmp_path: Path, capsys: Out) -> None:
    source = data(tmp_path)
    coarse = inspect(model, source, tmp_path, "--digits", "1")
    assert coarse["attribution"]["worst"]["part"] == "weights"
    finding = told(coarse, "option-helps")
    assert finding["text"] in capsys.readouterr().out
    option = finding["text"].split(" helps: ")[0]
    assert option == "--digits 7"
    fine = inspect(model, source, tmp_path, *option.split())
    before, after = coarse["attribution"]["options"]
    first = {"option": None, "columns": before["columns"]}
    keys = ("logit_error", "agreement", "accuracy")
    assert before == {**first, **{key: coarse["attribution"]["parts"][-1][key] for key in keys}} | {
        "logit_error": pytest.approx(coarse["attribution"]["parts"][-1]["logit_error"], rel=1e-4)
    }
    for key in keys:
        assert after[key] == pytest.approx(fine["attribution"]["parts"][-1][key], rel=1e-4)
        assert f"{before[key]:.3g}" in finding["text"] or f"{100 * before[key]:.2f} %" in finding["text"]
    assert after["columns"] == 7 * before["columns"]
    assert finding["text"] == (
        f"--digits 7 helps: logit error {after['logit_error']:.3g} instead of {before['logit_error']:.3g}, "
        f"agreement {100 * after['agreement']:.2f} % instead of {100 * before['agreement']:.2f} %, "
        f"accuracy {100 * after['accuracy']:.2f} % instead of {100 * before['accuracy']:.2f} %, "
        f"with {after['columns']:,} columns instead of {before['columns']:,}."
    )


def test_loss_of_answers_is_told_by_compile_and_its_way_out_helps(
    model: Path, tmp_path: Path, capsys: Out
) -> None:
    source, image = data(tmp_path), str(tmp_path / "m.spikeloom")
    coarse = ["--bits", "2", "--digits", "1"]
    assert main(["compile", str(model), "-o", image, "--data", source]) == 0
    assert "answers as the float network" not in capsys.readouterr().out
    assert main(["compile", str(model), "-o", image, "--data", source, *coarse]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The converted network answers as the float network does on only" in said
    assert "'spikeloom inspect MODEL --data DATA' tries which option helps." in said
    assert "helps" in told(inspect(model, source, tmp_path, *coarse), "option-helps")["text"]


def test_loss_is_told_with_the_part_that_loses_most(model: Path, tmp_path: Path) -> None:
    result = inspect(model, data(tmp_path), tmp_path, "--bits", "2")
    worst = result["attribution"]["worst"]
    (part,) = [
        p
        for p in result["attribution"]["parts"]
        if (p["layer"], p["part"]) == (worst["layer"], worst["part"])
    ]
    whole = result["attribution"]["parts"][-1]
    assert worst["part"] == "activations"
    assert told(result, "loss")["text"] == (
        f"Against the float network on 200 samples: logit error {whole['logit_error']:.3g}, agreement "
        f"{100 * whole['agreement']:.2f} %, accuracy {100 * whole['accuracy']:.2f} % of "
        f"{100 * result['ann_accuracy']:.2f} %; {100 * part['share']:.2f} % of the squared error comes with "
        f"the activations of layer {worst['layer']!r}, counted in 0..3."
    )
    assert told(result, "option-helps")["text"].startswith("--bits 8 helps: ")


def test_scaled_weights_in_the_file_are_named(saturating: Path, tmp_path: Path, capsys: Out) -> None:
    model = onnx.load(saturating)
    (node,) = [node for node in model.graph.node if node.name == "fc1"]
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == node.input[1]]
    weight.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(4), weight.name)
    )
    onnx.save(model, tmp_path / "wrong.onnx")
    result = inspect(tmp_path / "wrong.onnx", data(tmp_path), tmp_path)
    finding = told(result, "layer-scale")
    better = result["layer_scale"]["better"]
    assert (finding["layer"], better["layer"], better["factor"]) == ("fc1", "fc1", 0.25)
    assert better == result["layer_scale"]["candidates"][0]
    assert result["layer_scale"]["accuracy"] == result["ann_accuracy"] < better["accuracy"]
    assert result["attribution"]["options"] == []
    assert "with them times 1/4" in " ".join(capsys.readouterr().out.split())


SCALES: dict[str, tuple[Callable[[Pixels], Any], list[str], str]] = {
    "bytes taken as they are": (lambda x: x, ["--input", "raw"], "unit"),
    "floats of 0..255": (lambda x: x.astype(np.float32), [], "0,255"),
    "floats divided twice": (lambda x: x / 255 / 255, [], "0,0.00392156862745"),
}


@pytest.mark.parametrize("fault", SCALES)
def test_wrong_scale_of_the_input_is_named_and_its_option_mends(
    fault: str, saturating: Path, tmp_path: Path, capsys: Out
) -> None:
    change, options, choice = SCALES[fault]
    source = data(tmp_path, change=change)
    result = inspect(saturating, source, tmp_path, *options)
    finding = told(result, "input-scale")
    assert finding["text"] in capsys.readouterr().out
    assert finding["text"].endswith(f"; try --input {choice}.")
    assert warned(result) == {"input-scale"}
    assert result["attribution"]["options"] == []
    mended = inspect(saturating, source, tmp_path, "--input", choice)
    assert warned(mended) == set()
    assert mended["accuracy"] > result["accuracy"] + 0.1


def last(x: Pixels) -> Pixels:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


ORDERS: dict[str, tuple[Callable[[Pixels], Pixels], str, str]] = {
    "BGR": (lambda x: x[:, ::-1], "channels-reversed", "x[:, ::-1]"),
    "BGR, channels last": (
        lambda x: last(x)[..., ::-1],
        "channels-reversed",
        "np.moveaxis(x, 3, 1)[:, ::-1]",
    ),
    "BGR, flat": (
        lambda x: x[:, ::-1].reshape(len(x), -1),
        "channels-reversed",
        "x.reshape(-1, 3, 8, 8)[:, ::-1]",
    ),
    "NHWC, flat": (
        lambda x: last(x).reshape(len(x), -1),
        "other-layout",
        "x.reshape(-1, 3, 8, 8).reshape(-1, 8, 8, 3).transpose(0, 3, 1, 2)",
    ),
    "NHWC that is called NCHW": (
        lambda x: last(x).reshape(x.shape),
        "other-layout",
        "x.reshape(-1, 8, 8, 3).transpose(0, 3, 1, 2)",
    ),
    "x and y": (lambda x: x.swapaxes(2, 3), "rows-and-columns", "x.swapaxes(2, 3)"),
}


@pytest.mark.parametrize("fault", ORDERS)
def test_wrong_order_of_the_input_is_named_and_its_expression_mends(
    fault: str, model: Path, tmp_path: Path, capsys: Out
) -> None:
    change, name, expression = ORDERS[fault]
    result = inspect(model, data(tmp_path, change=change), tmp_path)
    finding = told(result, "input-order")
    assert finding["text"] in capsys.readouterr().out
    assert finding["text"].endswith(f"; store {expression} as x.")
    assert result["input_order"]["better"] == name
    assert warned(result) - {"loss"} == {"input-order"}

    def mend(x: Pixels) -> Any:
        return eval(expression, {"x": change(x), "np": np})  # noqa: S307

    mended = inspect(model, data(tmp_path, change=mend), tmp_path)
    assert warned(mended) == set()
    assert mended["input_order"]["better"] is None
    candidates = {candidate["name"]: candidate for candidate in result["input_order"]["candidates"]}
    assert candidates[name]["accuracy"] == mended["input_order"]["accuracy"] == mended["ann_accuracy"]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained with the constants of ImageNet."""
    x, y = bars(1500)
    b, output = trained(normalised(x / 255, IMAGENET), y, function="Tanh")
    path = tmp_path_factory.mktemp("model") / "imagenet.onnx"
    onnx.save(b.model(output), path)
    return path


def test_normalisation_that_is_missing_is_named_in_inspect_and_in_estimate(
    imagenet: Path, tmp_path: Path, capsys: Out
) -> None:
    source = data(tmp_path, change=lambda x: x / 255)
    result = inspect(imagenet, source, tmp_path)
    finding, out = told(result, "input-normalisation"), capsys.readouterr().out
    assert warned(result) == {"input-normalisation"}
    assert finding["text"] in out
    better = result["input_normalisation"]["better"]
    assert finding["text"].endswith(f"; try --input {better}, or the constants of the training.")
    for candidate in result["input_normalisation"]["candidates"]:
        assert f"{100 * candidate['accuracy']:.2f} %" in out
    place = tmp_path / "r.json"
    assert main(["estimate", str(imagenet), "--data", source, "--json", str(place)]) == 0
    assert json.loads(place.read_text())["doubt"] == finding["text"]
    assert finding["text"] in capsys.readouterr().out
    assert main(["estimate", str(imagenet), "--data", source, "--input", better, "--json", str(place)]) == 0
    mended = json.loads(place.read_text())
    assert mended["doubt"] is None
    assert mended["targets"][0]["ann_accuracy"] > result["ann_accuracy"] + 0.1


def test_without_labels_it_says_what_it_cannot_judge(model: Path, tmp_path: Path) -> None:
    result = inspect(model, data(tmp_path, labels=False, change=lambda x: x[:, ::-1]), tmp_path)
    assert told(result, "input-assumed")["text"] == (
        "Without labels neither the scale nor the order of the input can be judged: on data that it was not "
        "trained for, a network still agrees with itself."
    )
    assert (result["input_order"], result["attribution"]["float_accuracy"]) == (None, None)
    assert {part["accuracy"] for part in result["attribution"]["parts"]} == {None}


def test_network_that_is_wrong_before_the_conversion_is_said_to_be(tmp_path: Path) -> None:
    x, y = bars(600)
    b, output = trained(x / 255, np.random.default_rng(5).integers(0, 12, len(y)), hidden=(8,))
    onnx.save(b.model(output), tmp_path / "odd.onnx")
    result = inspect(tmp_path / "odd.onnx", data(tmp_path), tmp_path)
    accuracy, common = result["ann_accuracy"], np.bincount(bars(200, seed=1)[1]).max() / 200
    assert told(result, "float-network")["text"] == (
        f"The float network itself has an accuracy of {100 * accuracy:.2f} %, and always naming the "
        f"commonest label has {100 * common:.2f} %: the loss lies before the conversion; compare data, "
        "labels and weights with those of the training."
    )


def test_image_of_an_ordinary_network_has_its_loss_and_no_options(model: Path, tmp_path: Path) -> None:
    source, image = data(tmp_path), str(tmp_path / "bars.spikeloom")
    assert main(["compile", str(model), "--data", source, "--digits", "2", "-o", image]) == 0
    of_image = inspect(image, source, tmp_path)
    of_model = inspect(model, source, tmp_path, "--digits", "2")
    assert of_image["attribution"]["parts"] == of_model["attribution"]["parts"]
    assert of_image["attribution"]["options"] == []
    assert of_image["image"]["different"] == of_image["errors"] == 0
    assert of_image["image_accuracy"] == of_image["accuracy"] == of_model["accuracy"]
    again = inspect(model, source, tmp_path, "--digits", "2", "--core", "reference")
    assert again["image_digest"] == of_image["image_digest"]


def test_ordinary_network_needs_data(model: Path, capsys: Out) -> None:
    assert main(["inspect", str(model)]) == 2
    assert "give --data with samples of its input." in capsys.readouterr().err


def test_exact_network_has_no_loss_to_attribute(tmp_path: Path) -> None:
    result = inspect("digits", "digits", tmp_path, "--samples", "20")
    assert result["attribution"] is None
    assert result["network"]["different"] == 0
