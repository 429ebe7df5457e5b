# SPDX-License-Identifier: Apache-2.0
"""`--digits auto`, `--explore` and `--debug` on the command line."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from mapping.model.importers.onnx import load_onnx
from mapping.report.exploration import EXPLORATION_KEYS
from sim_tests.generators.model_builder import ModelBuilder
from spikeloom.cli import main
from spikeloom.terminal import console


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Return the arguments of an ordinary network and its data."""
    b = ModelBuilder((6,), seed=3)
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(12, 6)), b.rng.normal(size=12)))
    onnx.save(b.model(b.dense(y, b.rng.normal(size=(4, 12)))), tmp_path / "m.onnx")
    rng = np.random.default_rng(4)
    np.savez(tmp_path / "m.npz", x=rng.random((40, 6)), y=rng.integers(0, 4, 40))
    assert load_onnx(tmp_path / "m.onnx").input == "x"
    return [str(tmp_path / "m.onnx"), "--data", str(tmp_path / "m.npz"), "--core", "medium"]


def test_auto_tells_the_digits_of_every_layer(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", 200)
    out = tmp_path / "r.json"
    taken = []
    for tolerance in ("0.1", "4"):
        options = ["--digits", "auto", "--tolerance", tolerance, "--json", str(out)]
        assert main(["estimate", *files, *options]) == 0
        part = json.loads(out.read_text(encoding="utf-8"))["targets"][0]
        digits = [layer["digits"] for layer in part["breakdown"]["layers"]]
        assert part["columns"] == 12 * digits[0] + 4 * 4 * digits[1]
        shown = re.findall(r"│ dense, (\d) digits │", capsys.readouterr().out)
        assert [int(number) for number in shown] == digits
        taken.append(part["columns"])
    assert taken[0] > taken[1]


def test_exploration_is_a_table_and_a_key(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", 200)
    out = tmp_path / "r.json"
    assert main(["estimate", *files, "--explore", "--json", str(out)]) == 0
    said, errors = capsys.readouterr()
    rows = json.loads(out.read_text(encoding="utf-8"))["exploration"]
    assert errors == ""
    assert len(rows) == 15
    assert all(tuple(row) == EXPLORATION_KEYS for row in rows)
    for row in rows:
        star = r" \*" if row["pareto"] else ""
        low, value, high = (100 * row[f"accuracy_difference{end}"] for end in ("_low", "", "_high"))
        assert low <= value <= high
        paired = re.escape(f" {value:+.2f} ({low:+.2f} .. {high:+.2f}) │")
        cells = (
            rf"│ {row['bits']} x {row['digits']}{star} +│ .*{paired}.* {row['columns']} │ +{row['cores']} │"
        )
        assert re.search(cells, said)
    assert "*: no other setting agrees as much with the float network" in said
    assert "Answers are to 40 samples; spikes, latency and energy are of the first 40." in said


def test_without_exploring_the_key_is_null(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    assert main(["estimate", *files, "--json", str(out)]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["exploration"] is None


WRONG = {
    "digits": (["--digits", "9"], "Digits of a weight must be auto or 1..7, not '9'."),
    "word": (["--digits", "few"], "Digits of a weight must be auto or 1..7, not 'few'."),
    "tolerance": (["--tolerance", "-1"], "Tolerance must be 0 or more points of error, not -1."),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["estimate", "compile"])
def test_wrong_values_are_one_sentence(
    command: str, name: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, sentence = WRONG[name]
    image = tmp_path / "m.spikeloom"
    place = ["-o", str(image)] if command == "compile" else []
    assert main([command, *files, *place, *options]) == 2
    assert capsys.readouterr() == ("", f"spikeloom: {sentence}\n")
    assert not image.exists()


@pytest.mark.parametrize(
    "options",
    [["--code", "scatter-and-gather"], ["--target", "kuang2021"], ["--target", "loom", "--target", "loom"]],
)
def test_what_cannot_be_explored_ends_with_its_sentence(
    options: list[str], files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", *files, "--explore", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"spikeloom: Bits and digits are explored .*, or leave --explore out\.\n", err)


STAGES = ["import", "data", "convert", "partition", "place", "route", "emit", "check"]


def told(errors: str) -> list[str]:
    """Return the stages of a table on standard error."""
    return re.findall(r"^│ (\w+) +│ +\d+\.\d\d │ +[\d,]+ │$", errors, re.MULTILINE)


@pytest.mark.parametrize("before", [True, False])
def test_debug_tells_the_stages_on_standard_error(
    before: bool,
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPIKELOOM_DEBUG", "")
    command = ["compile", *files, "-o", str(tmp_path / "m.spikeloom")]
    assert main(["--debug", *command] if before else [*command, "--debug"]) == 0
    assert told(capsys.readouterr().err) == [*STAGES, "save", "all"]
    assert main(["estimate", *files, *([] if before else ["--debug"])]) == 0
    assert told(capsys.readouterr().err) == [*STAGES, "observe", "cycles", "report", "all"]


def test_without_debug_nothing_is_told(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *files]) == 0
    assert capsys.readouterr().err == ""


def test_stages_until_an_error_are_told(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKELOOM_DEBUG", "")
    assert main(["estimate", *files, "--core", "small", "--debug"]) == 2
    err = capsys.readouterr().err
    assert told(err) == ["import", "data", "convert", "all"]
    assert "spikeloom: Activations of 8 bits need payloads of 9 bits" in err
