# SPDX-License-Identifier: Apache-2.0
"""`--explain`: what limits layers and rate, and what one change does, by doing it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mapping.chip import open_chip
from mapping.report.text import number
from mapping.report.worst import limits_at_worst
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.pages import differs, read_page
from spikeloom.cli import main

LINKS = ["digits", "--data", "digits", "--core", "small", "--chips", "3x2", "--shared-links", "--wires", "4"]
OPTIONS = ("--wires 8", "--inlets 2", "--outlets 2", "--placer anneal", "--objective latency")


def wide(folder: Path) -> list[str]:
    """Write a model that lies on many small cores, so that its inlet limits the rate, and its data."""
    b = ModelBuilder((1, 14, 14), seed=3)
    x = b.quantise("x", 0, 3.0)
    y = b.quantise(b.conv(x, b.ternary(1, 1, 3, 3), name="conv"), 0, 3.0)
    onnx.save(b.model(y), folder / "wide.onnx")
    np.savez(folder / "wide.npz", x=np.random.default_rng(2).uniform(1, 3, (3, 1, 14, 14)))
    return [str(folder / "wide.onnx"), "--data", str(folder / "wide.npz"), "--core", "tiny"]


def told(arguments: Sequence[str], folder: Path, *more: str) -> dict[str, Any]:
    """Return the breakdown of a report."""
    place = folder / "r.json"
    assert main(["estimate", *arguments, "--samples", "3", "--json", str(place), *more]) == 0
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))["targets"][0]["breakdown"]
    return found


def with_option(arguments: Sequence[str], option: str) -> list[str]:
    """Return arguments with one option in place of that of its name."""
    name, value = option.split()
    rest = list(arguments)
    if name in rest:
        at = rest.index(name)
        del rest[at : at + 2]
    return [*rest, name, value]


@pytest.mark.parametrize(
    ("limit", "options"), [("link", OPTIONS), ("inlet", OPTIONS[1:])], ids=["links", "inlets"]
)
def test_every_change_does_what_is_said(
    limit: str, options: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = LINKS if limit == "link" else wide(tmp_path)
    before = told(arguments, tmp_path, "--explain", "--html", str(tmp_path / "r.html"))
    text = capsys.readouterr().out
    now = before["rate"]["bounds"][0]["cycles"]
    assert before["rate"]["limit"] == limit
    assert [row["option"] for row in before["changes"]] == list(options)
    for row in before["changes"]:
        after = told(with_option(arguments, row["option"]), tmp_path)
        first = after["rate"]["bounds"][0]
        cores = sum(layer["cores"] for layer in after["limits"])
        assert (row["limit"], row["bound"]) == (first["of"], first["cycles"])
        assert (row["cycles"], row["cores"]) == (after["rate"]["cycles"], cores)
        assert after["changes"] is None
    best = min(before["changes"], key=lambda row: (row["bound"], row["cycles"]))
    assert best["bound"] < now
    assert f"the best for that part is {best['option']}: the busiest is then the {best['limit']}" in text
    assert "What one change does to the rate (loom)" in text
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert [said for figure in page.figures if (said := differs(figure, page.report))] == []
    shown = {place for figure in page.figures for place in figure.places}
    for at in range(len(options)):
        assert {f"/targets/0/breakdown/changes/{at}/{key}" for key in ("bound", "cycles", "cores")} <= shown


def test_who_is_not_told_is_told_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(wide(tmp_path), tmp_path)
    assert "Estimate with --explain to see which single change makes that part less busy." in (
        capsys.readouterr().out
    )


def test_changes_that_lower_nothing_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = ModelBuilder((6,), seed=3)
    y = b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(4, 6), name="fc"), 0, 3.0)
    onnx.save(b.model(y), tmp_path / "m.onnx")
    np.savez(tmp_path / "m.npz", x=np.ones((2, 6)))
    model = [str(tmp_path / "m.onnx"), "--data", str(tmp_path / "m.npz"), "--core", "tiny"]
    before = told(model, tmp_path, "--explain")
    assert before["rate"]["limit"] == "core"
    assert {row["bound"] for row in before["changes"]} == {before["rate"]["bounds"][0]["cycles"]}
    options = ", ".join(row["option"] for row in before["changes"])
    assert f"None of the changes {options} makes the busiest part less busy." in capsys.readouterr().out


def test_compiled_image_tells_its_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-o", str(tmp_path / "d.spikeloom"), "--core", "small", "--explain"]
    assert main(["compile", "digits", *flags]) == 0
    text = capsys.readouterr().out
    assert "at worst, all axons present and all neurons firing" in " ".join(text.split())
    expected = limits_at_worst(open_chip(tmp_path / "d.spikeloom"))
    for row in expected:
        cores, time = (lines for lines in text.split(row["name"])[1:])
        assert number(row["copies"]["inputs"]) in cores
        for cycles in row["cycles"].values():
            assert number(cycles) in time
    assert "axons" in text.split("conv1.sum")[1].split("conv2.sum")[0]


def test_parts_of_a_pass_are_not_named_as_whole_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passes = ["digits", "--data", "digits", "--core", "small", "--passes", "2x2"]
    before = told(passes, tmp_path, "--explain", "--html", str(tmp_path / "r.html"))
    text = capsys.readouterr().out
    assert "limits" not in before
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert [said for figure in page.figures if (said := differs(figure, page.report))] == []
    shown = {place for figure in page.figures for place in figure.places}
    for at, row in enumerate(before["passes"]):
        assert [layer["name"].split("[")[0] for layer in row["limits"]] == [
            layer[0] for layer in row["layers"]
        ]
        assert all(layer["name"] in text for layer in row["limits"])
        assert sum(layer["cores"] for layer in row["limits"]) == row["cores"]
        assert all(set(layer["saves"].values()) == {None} for layer in row["limits"])
        here = f"/targets/0/breakdown/passes/{at}/limits/0"
        assert {f"{here}/cores", f"{here}/used/axons", f"{here}/cycles/core"} <= shown
    names = [layer["name"] for row in before["passes"] for layer in row["limits"]]
    assert len(set(names)) == len(names) > 3
