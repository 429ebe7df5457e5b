# SPDX-License-Identifier: Apache-2.0
"""The scale of pixels: every way, the automatic choice, and where it is kept."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mapping.chip import open_chip
from mapping.datasets.load import AUTO_SAMPLES, Dataset, accuracy, load_data, scaled
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.given import scale_on
from mapping.model.evaluate import infer
from mapping.model.load import load_network
from mapping.model.network import Network
from mapping.report.machine import estimate
from sim_tests.generators.model_builder import ModelBuilder
from spikeloom.cli import main

SHAPE = (1, 3, 3)


def builder(unit: float) -> tuple[ModelBuilder, str]:
    """A model that tells dark from bright images if its input has a bright pixel of ``unit``.

    The first class wins below half a bright pixel; with a wrong scale one class wins always.
    """
    b = ModelBuilder(SHAPE)
    y = b.op("Mul", b.op("Flatten", "x"), b.constant(4.0 / unit))
    y = b.quantise(y, 0, 4.0)
    y = b.quantise(b.dense(y, np.ones((1, 9)), [-17.5], name="fc"), 0, 8.0)
    return b, b.dense(y, [[0.0], [1.0]], [0.5, 0.0])


def model(unit: float) -> Network:
    b, y = builder(unit)
    return b.network(y)


def pictures(n: int = 40) -> Dataset:
    """Grey images and whether they are bright."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    x = np.where(y[:, None, None] == 1, rng.integers(160, 256, (n, 3, 3)), rng.integers(0, 96, (n, 3, 3)))
    return Dataset(name="pictures", x=x.astype(np.float64), y=y, pixels=True)


X: NDArray[np.float64] = pictures().x.reshape(-1, *SHAPE)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("raw", X),
        ("unit", X / 255),
        ("0.1307,0.3081", (X / 255 - 0.1307) / 0.3081),
        ("0,1", X / 255),
        ("-1, 2e0", (X / 255 + 1) / 2),
    ],
)
def test_pixels_are_scaled(how: str, expected: NDArray[np.float64]) -> None:
    data, chosen = scaled(pictures(), how, model(1.0))
    assert (chosen, data.pixels, data.name) == (how, False, "pictures")
    assert (data.x == expected).all()


@pytest.mark.parametrize(("how", "expected"), [("raw", X), ("unit", X), ("auto", X), ("2,4", (X - 2) / 4)])
def test_other_numbers_change_by_mean_and_deviation_only(how: str, expected: NDArray[np.float64]) -> None:
    floats = Dataset(name="d", x=pictures().x, y=pictures().y)
    assert (scaled(floats, how, model(1.0))[0].x == expected).all()


@pytest.mark.parametrize(("unit", "chosen"), [(255.0, "raw"), (1.0, "unit")])
def test_auto_takes_the_more_accurate(unit: float, chosen: str) -> None:
    data, got = scaled(pictures(), "auto", model(unit))
    assert got == chosen
    assert accuracy(infer(model(unit), data.x), data.y) == 1.0


def test_auto_takes_unit_on_ties_and_without_labels() -> None:
    constant = ModelBuilder(SHAPE)
    y = constant.dense(constant.op("Flatten", "x"), np.zeros((2, 9)))
    assert scaled(pictures(), "auto", constant.network(y))[1] == "unit"
    unlabelled = Dataset(name="d", x=pictures().x, y=None, pixels=True)
    assert scaled(unlabelled, "auto", model(255.0))[1] == "unit"


def test_auto_looks_at_samples_at_equal_distances_only() -> None:
    data = pictures(8 * AUTO_SAMPLES)
    assert data.y is not None
    wrong = data.y.copy() ^ 1
    wrong[::8] ^= 1
    assert scaled(Dataset(name="d", x=data.x, y=wrong, pixels=True), "auto", model(255.0))[1] == "raw"
    assert scaled(Dataset(name="d", x=data.x, y=wrong ^ 1, pixels=True), "auto", model(255.0))[1] == "unit"


def test_auto_is_not_misled_by_data_sorted_by_class(tmp_path: Path) -> None:
    """Dark images alone look right at any scale: the first of sorted data decide nothing."""
    data = pictures(4 * AUTO_SAMPLES)
    assert data.y is not None
    order = np.argsort(data.y, kind="stable")
    network = model(255.0)
    first = data.at(order[:AUTO_SAMPLES])
    assert scaled(first, "auto", network)[1] == "unit"
    assert scaled(data.at(order), "auto", network)[1] == "raw"
    np.savez(tmp_path / "sorted.npz", x=data.x[order].astype(np.uint8), y=data.y[order])
    assert scale_on(network, str(tmp_path / "sorted.npz"), None)[1] == "raw"


def test_what_is_compiled_has_the_scale_that_is_run(tmp_path: Path) -> None:
    """The first samples that are looked at are dark, and right at any scale; of those behind some are not."""
    count = 4 * AUTO_SAMPLES
    given = pictures(4 * count)
    assert given.y is not None
    dark, bright = (np.flatnonzero(given.y == label)[:count] for label in (0, 1))
    data = given.at(np.where(np.arange(count) % 4 == 0, dark, bright))
    network = model(255.0)
    np.savez(tmp_path / "d.npz", x=data.x.astype(np.uint8), y=np.array(data.y))
    assert scaled(data.at(np.arange(0, count, 4)), "auto", network)[1] == "unit"
    assert scaled(data, "auto", network)[1] == "raw"
    for samples in (data, str(tmp_path / "d.npz")):
        assert compile_network(network, samples, core="small").image.meta["scaling"] == "raw"


@pytest.mark.parametrize("how", ["", "byte", "1", "1,", "1,2,3", "0.5,0", "0.5,-1", "nan,1", "0,inf", "a,b"])
def test_unknown_scale_is_refused(how: str) -> None:
    with pytest.raises(MappingError) as error:
        scaled(pictures(), how, model(1.0))
    assert str(error.value) == (
        "Input must be auto, raw, unit, 3sigma or MEAN,STD with a STD above zero, for example 0.1307,0.3081, "
        f"not {how!r}."
    )


@pytest.mark.parametrize(("label", "sample"), [(2, 5), (-1, 0)])
def test_label_out_of_range_is_refused(label: int, sample: int) -> None:
    y = np.zeros(9, np.int64)
    y[sample] = label
    with pytest.raises(MappingError) as error:
        scaled(Dataset(name="d", x=X[:9], y=y), "unit", model(1.0))
    assert str(error.value) == (
        f"Data d have the label {label} at sample {sample}, the network has outputs 0..1; number the "
        "classes from 0 in the order of the outputs, or leave y out."
    )


def test_choice_is_kept_in_image_and_report(tmp_path: Path) -> None:
    network = model(255.0)
    chip = compile_network(network, core="small", scaling=scaled(pictures(), "auto", network)[1])
    chip.save(tmp_path / "i.spikeloom")
    opened = open_chip(tmp_path / "i.spikeloom")
    assert opened.image.meta["scaling"] == "raw"
    assert opened.prepare(pictures())[1] == "raw"
    assert opened.prepare(pictures(), "unit")[1] == "unit"
    report = json.loads(estimate(network, pictures(), ["kuang2021"]).to_json())
    assert (report["input"], report["targets"][0]["accuracy"]) == ("raw", 1.0)
    report = json.loads(estimate(network, pictures(), ["kuang2021"], how="unit").to_json())
    assert report["input"] == "unit"
    assert report["targets"][0]["accuracy"] < 1.0


def test_image_without_choice_decides_on_its_data() -> None:
    chip = compile_network(model(255.0), core="small")
    assert chip.image.meta["scaling"] is None
    assert chip.prepare(pictures())[1] == "raw"


def test_command_line_chooses_prints_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b, y = builder(255.0)
    source, data, image = (str(tmp_path / name) for name in ("m.onnx", "d.npz", "i.spikeloom"))
    onnx.save(b.model(y), source)
    np.savez(data, x=pictures(24).x.astype(np.uint8), y=np.asarray(pictures(24).y))
    out = str(tmp_path / "o.json")
    assert main(["compile", source, "--data", data, "--core", "small", "-o", image]) == 0
    assert "Input: raw\n" in capsys.readouterr().out
    assert main(["run", image, "--data", data, "--json", out]) == 0
    result = json.loads(Path(out).read_text())
    assert (result["input"], result["accuracy"]) == ("raw", 1.0)
    assert main(["run", image, "--data", data, "--input", "unit", "--json", out]) == 0
    assert json.loads(Path(out).read_text())["input"] == "unit"
    flags = ["--target", "kuang2021", "--input", "0,0.00392156862745098", "--json", out]
    assert main(["estimate", source, "--data", data, *flags]) == 0
    result = json.loads(Path(out).read_text())
    assert (result["input"], result["targets"][0]["accuracy"]) == ("0,0.00392156862745098", 1.0)
    assert main(["inspect", image, "--data", data, "--json", out]) == 0
    assert json.loads(Path(out).read_text())["input"] == "raw"
    assert main(["inspect", source, "--data", data, "--input", "unit", "--json", out]) == 0
    result = json.loads(Path(out).read_text())
    assert (result["input"], result["input_scale"]["choice"]) == ("unit", "raw")
    assert main(["run", image, "--data", data, "--input", "odd"]) == 2
    assert "spikeloom: Input must be auto, raw, unit, 3sigma or MEAN,STD" in capsys.readouterr().err


ASSUMED = "Input: unit (assumed: without labels raw and unit cannot be compared; --input says otherwise)\n"


@pytest.mark.parametrize(("asked", "told"), [([], ASSUMED), (["--input", "raw"], "Input: raw\n")])
def test_choice_without_labels_is_told_as_an_assumption(
    asked: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that reads pixels says what it took them for; what is asked for is no assumption."""
    b, y = builder(255.0)
    source, data, image = (str(tmp_path / name) for name in ("m.onnx", "d.npz", "i.spikeloom"))
    onnx.save(b.model(y), source)
    np.savez(data, x=pictures(24).x.astype(np.uint8))
    assert main(["compile", source, "--core", "small", "-o", image]) == 0
    for command in (
        ["compile", source, "--core", "small", "-o", str(tmp_path / "second.spikeloom")],
        ["run", image],
        ["estimate", source, "--target", "kuang2021"],
        ["inspect", image],
        ["inspect", source],
    ):
        capsys.readouterr()
        assert main([*command, "--data", data, *asked]) == 0
        assert told in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mnist_lenet_andreygermanov.onnx", "mnist_conv_zoo/model.onnx"])
def test_published_models_want_raw_pixels(name: str) -> None:
    folder = Path(os.environ.get("SPIKELOOM_DATA", ""))
    if "SPIKELOOM_DATA" not in os.environ or not (folder / "models" / name).exists():
        pytest.skip(f"SPIKELOOM_DATA names no folder with models/{name}")
    network = load_network(folder / "models" / name)
    data, chosen = scaled(load_data(f"mnist:{folder / 'mnist'}").first(AUTO_SAMPLES), "auto", network)
    assert (accuracy(infer(network, data.x), data.y) or 0.0) > 0.95
    assert chosen == "raw"
