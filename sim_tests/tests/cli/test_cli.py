# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: exit codes, sentences, files, stable keys."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emu.container import load_image
from mapping.report.keys import TARGET_KEYS
from sim_tests.referees.pages import read_page
from spikeloom.cli import COMMANDS, main


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model, compiled once."""
    path = tmp_path_factory.mktemp("image") / "digits.spikeloom"
    assert main(["compile", "digits", "-o", str(path), "--core", "small"]) == 0
    return path


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("spikeloom 0.")


def test_help_lists_exactly_what_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    built = (
        "demo",
        "estimate",
        "compile",
        "run",
        "verify",
        "verilog",
        "export",
        "inspect",
        "targets",
        "reproduce",
        "train",
        "doctor",
    )
    assert all(f" {command} " in out for command in built)
    assert not any(f" {command} " in out for command in ("synth", "sweep", "diff"))


def test_compile_gives_the_same_bytes_twice(image: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.spikeloom"
    assert main(["compile", "digits", "-o", str(again), "--core", "small"]) == 0
    assert again.read_bytes() == image.read_bytes()


def test_demo_network_spreads_over_cores_with_hops(image: Path, tmp_path: Path) -> None:
    cores = load_image(image).cores
    assert sum(core is not None for core in cores) >= 4
    out = tmp_path / "run.json"
    assert main(["run", str(image), "--data", "digits", "--samples", "3", "--json", str(out)]) == 0
    counters = json.loads(out.read_text())["counters"]
    assert counters["hops"] > counters["packets"] > 0  # more than one hop a packet on average


def test_run_reaches_the_accuracy_on_unseen_digits(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    assert main(["run", str(image), "--data", "digits", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["samples"], result["mode"]) == (360, "functional")
    assert result["accuracy"] >= 0.97


def test_run_modes_agree_and_write_a_trace(image: Path, tmp_path: Path) -> None:
    traces = [tmp_path / "functional.npz", tmp_path / "cycle.npz"]
    base = ["run", str(image), "--data", "digits", "--samples", "2", "--trace"]
    assert main([*base, str(traces[0])]) == 0
    assert main([*base, str(traces[1]), "--cycles"]) == 0
    with np.load(traces[0]) as functional, np.load(traces[1]) as cycle:
        assert len(functional["spikes"]) > 100
        assert np.array_equal(functional["spikes"], cycle["spikes"])
        assert np.array_equal(functional["outputs"], cycle["outputs"])
        assert "finish" in cycle
        assert "finish" not in functional


def test_estimate_writes_every_key_for_both_targets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    flags = [
        "--target",
        "loom",
        "--target",
        "kuang2021",
        "--core",
        "small",
        "--samples",
        "20",
        "--json",
        str(out),
    ]
    assert main(["estimate", "digits", "--data", "digits", *flags]) == 0
    report = json.loads(out.read_text())
    assert report["schema"] == "spikeloom.report/1"
    assert [target["target"] for target in report["targets"]] == ["loom", "kuang2021"]
    for target in report["targets"]:
        assert tuple(target) == TARGET_KEYS
        assert target["accuracy"] == target["ann_accuracy"]
        assert target["power_w"] == pytest.approx(
            target["energy_j"] * target["throughput_per_s"], rel=1e-12, abs=0
        )
        assert 0 < target["energy_j_low"] <= target["energy_j"] <= target["energy_j_high"]
    loom, kuang = report["targets"]
    assert loom["spikes"] == kuang["spikes"] == loom["counters"]["spikes"]
    assert loom["synaptic_operations"] == sum(
        row["synaptic_operations"] for row in loom["breakdown"]["layers"]
    )
    assert "accuracy" in capsys.readouterr().out


def test_targets_show_is_a_file_that_estimate_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "show", "loom"]) == 0
    own = tmp_path / "mine.toml"
    own.write_text(capsys.readouterr().out.replace('name = "loom"', 'name = "mine"'))
    out = tmp_path / "report.json"
    flags = ["--target", str(own), "--core", "small", "--samples", "2", "--json", str(out)]
    assert main(["estimate", "digits", "--data", "digits", *flags]) == 0
    assert json.loads(out.read_text())["targets"][0]["target"] == "mine"


def test_inspect_shows_layers_cores_and_host(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(image)]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("conv1", "on the host", "fullest core"))


BAD: tuple[tuple[list[str], str], ...] = (
    (["compile", "nosuch.onnx", "-o", "x.spikeloom"], "nosuch.onnx cannot be read"),
    (
        ["compile", "model.txt", "-o", "x.spikeloom"],
        "Model must be digits, digits-float or a file ending in .onnx, not 'model.txt'",
    ),
    (
        ["compile", "model.pt", "-o", "x.spikeloom"],
        "'model.pt'; export the module with torch.onnx.export, or hand it to spikeloom.estimate in Python.",
    ),
    (
        ["compile", "model.npz", "-o", "x.spikeloom"],
        "not 'model.npz'; give its arrays as layers in Python (docs/guides/bring_a_model.md).",
    ),
    (
        ["compile", "digits", "-o", "x.spikeloom", "--core", "huge"],
        "Core must be one of tiny, small, medium, reference, article, not 'huge'",
    ),
    (["compile", "digits", "-o", "x.spikeloom", "--core", "tiny"], "needs 57 axons"),
    (
        ["compile", "digits", "-o", "x.spikeloom", "--chips", "2"],
        "Chips must be XxY, for example 2x1, not '2'",
    ),
    (
        ["compile", "digits", "-o", "x.spikeloom", "--shared-links"],
        "Links are shared between several chips only: add --chips, for example 2x1.",
    ),
    (
        ["compile", "digits", "-o", "x.spikeloom", "--wires", "4"],
        "Wires are those of links between several chips: add --chips, for example 2x1.",
    ),
    (
        ["compile", "digits", "-o", "x.spikeloom", "--core", "small", "--chips", "2x1", "--wires", "99"],
        "The chip cannot be built: link wires must be 1..27, not 99.",
    ),
    (["compile", "digits", "-o", "x.spikeloom", "--chips", "0x2"], "Chips must be at least 1x1, not 0x2."),
    (["compile", "digits", "-o", "x.spikeloom", "--mesh", "4"], "Mesh must be WxH, for example 4x3, not '4'"),
    (["compile", "digits", "-o", "x.spikeloom", "--strict"], "or leave strict out."),
    (
        [
            "compile",
            "digits",
            "-o",
            "x.spikeloom",
            "--target",
            "kuang2021",
            "--code",
            "graded",
            "--data",
            "digits",
        ],
        "whose packets have no payload: choose scatter-and-gather, or the target loom.",
    ),
    (["estimate", "digits", "--data", "nosuch"], "'nosuch'"),
    (["estimate", "digits", "--data", "digits:some"], "'some'"),
    (["estimate", "digits", "--data", "nosuch.npz"], "nosuch.npz"),
    (["estimate", "digits", "--data", "digits", "--target", "nosuch"], "nosuch"),
    (["run", "nosuch.spikeloom", "--data", "digits"], "nosuch.spikeloom"),
    (["compile", "digits", "-o", "x"], "Image file must end in .spikeloom"),
    (["verify"], "either an image or --random N"),
    (["verilog", "-o", "x", "--preset", "huge"], "'huge'"),
    (["verilog", "-o", "x", "--axons", "1"], "axons must be 2..4096, not 1"),
    (["targets", "show", "nosuch"], "nosuch"),
    (["targets", "show", "nosuch.toml"], "Target file nosuch.toml must be readable"),
    (["compile", "net.nir", "-o", "x.spikeloom"], "a file ending in .onnx, not 'net.nir'"),
    (["inspect", "net.nir"], "a file ending in .onnx, not 'net.nir'"),
    (["inspect", "."], "a file ending in .onnx, not '.'"),
    (["run", ".", "--data", "digits"], "it is a folder, name a file in it"),
    (["compile", "digits", "-o", "x.spikeloom", "--mesh", "0x0"], "width must be 1..512, not 0"),
    (
        ["compile", "digits", "-o", "x.spikeloom", "--mesh", "\N{SUPERSCRIPT TWO}x1"],
        "Mesh must be WxH, for example 4x3, not '\N{SUPERSCRIPT TWO}x1'",
    ),
    (["verilog", "-o", "x", "--mesh", "0x0"], "width must be 1..512, not 0"),
    (["verilog", "-o", "x", "--memories", "sram"], "Memories must be inferred or macro, not 'sram'."),
    (
        ["estimate", "digits", "--data", "digits", "--samples", "0"],
        "Invalid value for '--samples': Input should be greater than or equal to 1, not '0'; 'spikeloom",
    ),
    (["verify", "--random", "1", "--seed", "-1"], "greater than or equal to 0, not '-1'; 'spikeloom verify"),
    (["verify", "--random", "one"], "Input should be a valid integer"),
    (["run", "a.spikeloom"], "Missing option '--data'; 'spikeloom run --help' lists what can be given."),
    (["nosuch"], "No such command 'nosuch'; 'spikeloom --help' lists what can be given."),
    (["run", "a.spikeloom", "--data", "digits", "--nosuch"], "No such option: --nosuch"),
    (["estimate", "digits", "--data", "digits", "--input", "loud"], "Input must be auto, raw, unit"),
)


@pytest.mark.parametrize(("arguments", "part"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert part in message
    assert message.count("\n") == message.count("Traceback") == 0
    assert list(tmp_path.iterdir()) == []  # nothing half-written


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"x" * 5000])
def test_damaged_files_are_named(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in (
        ("a.spikeloom", ["run", "{}", "--data", "digits"]),
        ("a.onnx", ["inspect", "{}"]),
        ("a.npz", ["estimate", "digits", "--data", "{}"]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert main([part.format(path) for part in command]) == 2
        message = capsys.readouterr().err
        assert name in message
        assert "Traceback" not in message


def test_unwritable_output_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["compile", "digits", "-o", str(blocked / "x.spikeloom"), "--core", "small"]) == 2
    assert "file" in capsys.readouterr().err


def test_output_in_a_folder_that_is_not_there_makes_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "deep" / "report.json"
    words = ["--target", "kuang2021", "--samples", "2", "--json", str(out)]
    assert main(["estimate", "digits", "--data", "digits", *words]) == 0
    assert json.loads(out.read_text())["schema"] == "spikeloom.report/1"


@pytest.mark.parametrize("name", [module.__name__.rpartition(".")[2] for module in COMMANDS])
def test_help_of_every_command_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"spikeloom {name}" in out.partition("Examples")[2]


def test_console_and_json_tell_the_same_input(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, source in (("run", str(image)), ("inspect", str(image)), ("estimate", "digits")):
        for choice, expected in (([], "unit"), (["--input", "raw"], "raw"), (["--input", "0,255"], "0,255")):
            out = tmp_path / f"{command}.json"
            words = ["--data", "digits", "--samples", "3", *choice, "--json", str(out)]
            assert main([command, source, *words]) == 0
            told = capsys.readouterr().out
            assert json.loads(out.read_text())["input"] == expected
            assert re.search(rf"^Input: {expected}(?: \(|$)", told, re.MULTILINE)


def test_program_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spikeloom.cli", "targets"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "kuang2021" in done.stdout


def test_demo_runs_the_whole_chain(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--images", "1"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["verification"]["equal"]
    assert report["targets"][0]["accuracy"] >= 0.97
    assert {"chip.v", "neurocore.v", "router.v", "tb"} <= {path.name for path in (out / "verilog").iterdir()}
    ordinary = json.loads((out / "digits-float.json").read_text())
    (part,) = ordinary["targets"]
    assert ordinary["verification"]["equal"]
    assert (part["code"], part["host_share"], part["host_layers"]) == ("graded", 0.0, [])
    assert part["accuracy"] >= 0.97
    for name in ("report", "digits-float"):
        page = read_page((out / f"{name}.html").read_text(encoding="utf-8"))
        assert page.report == json.loads((out / f"{name}.json").read_text())
    told = capfd.readouterr().out
    assert told.count("all equal") == 2
    assert told.endswith(f"Open {out / 'digits-float.html'} in a browser to see these figures drawn.\n")


def test_verify_hands_its_files_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {}

    def verify_random(number: int, options: dict[str, object]) -> int:
        given.update(options, number=number)
        return 0

    monkeypatch.setattr("spikeloom.bench.verify_random", verify_random)
    files = {f"--{kind}": tmp_path / f"a.{kind}" for kind in ("json", "junit", "waves")}
    flags = [word for flag, path in files.items() for word in (flag, str(path))]
    assert main(["verify", "--random", "2", "--seed", "3", *flags]) == 0
    options = {"--seed": 3, "--cores": None, "--target": None, "--sim": "auto", "--verilog": None}
    assert given == {"number": 2, **options, **files}
