# SPDX-License-Identifier: Apache-2.0
"""`--inlets` and `--outlets`: an image with several gates, what a report tells of them, or a sentence."""

import json
from pathlib import Path

import pytest

from emu.gates import GateSpec
from mapping.chip import open_chip
from sim_tests.referees.pages import differs, read_page
from spikeloom.cli import main

GATES = ["--core", "small", "--inlets", "0W,2E", "--outlets", "0,3"]


def test_image_has_the_gates(tmp_path: Path) -> None:
    image = tmp_path / "digits.spikeloom"
    assert main(["compile", "digits", "-o", str(image), *GATES]) == 0
    chip = open_chip(image)
    assert chip.image.spec.gates == GateSpec(inlets=((2, "E"),), outlets=(3,))
    assert set(chip.image.input_inlet.tolist()) == {0, 1}


def test_report_tells_packets_by_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    assert main(["estimate", "digits", "--data", "digits", "--samples", "5", *GATES, *files]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    (part,) = report["targets"]
    gates = part["breakdown"]["gates"]
    assert [(row["x"], row["y"], row["port"]) for row in gates["inlets"]] == [(0, 0, "west"), (3, 2, "east")]
    assert [(row["x"], row["y"], row["port"]) for row in gates["outlets"]] == [
        (0, 2, "south"),
        (3, 2, "south"),
    ]
    bounds = {row["of"]: row["cycles"] for row in part["breakdown"]["rate"]["bounds"]}
    assert bounds["inlet"] == max(row["packets"] for row in gates["inlets"])
    assert bounds["outlet"] == max(row["packets"] for row in gates["outlets"])
    assert part["accuracy"] == 1.0
    text = (tmp_path / "r.html").read_text()
    page = read_page(text)
    assert [said for figure in page.figures if (said := differs(figure, report)) is not None] == []
    figures = {where for figure in page.figures for where in figure.places}
    for place in ("inlets/0", "inlets/1", "outlets/0", "outlets/1"):
        assert f"/targets/0/breakdown/gates/{place}/packets" in figures
    assert text.count("one of the inlets") == text.count("one of the outlets") == 2
    told = " ".join(capsys.readouterr().out.split())
    busiest = max(gates["inlets"], key=lambda row: row["packets"])
    assert "Packets an inference at the inlets and outlets of loom:" in told
    assert (
        f"{busiest['packets']:,.1f} in the {busiest['port']} of router ({busiest['x']}, {busiest['y']})"
        in told
    )


def test_gates_that_are_none_are_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-o", str(tmp_path / "x.spikeloom"), "--core", "small"]
    assert main(["compile", "digits", *options, "--inlets", "7"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told == "spikeloom: Inlets must be at most 6 on a mesh of 3 rows, not 7."
