# SPDX-License-Identifier: Apache-2.0
"""Every way out that a sentence of the command line names is tried: it works."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import spikeloom
from sim_tests.generators.sound_files import small_chip, small_models
from sim_tests.robustness.mutations import npz_of
from spikeloom.cli import main

REMEDIES: dict[str, tuple[str, str, str]] = {
    "model for an image": (
        "run small.onnx --data good.npz",
        " is a model, and this command takes an image: make one with 'spikeloom compile small.onnx -o small",
        "compile small.onnx -o small.spikeloom",
    ),
    "ending of an image": (
        "compile small.onnx -o small.bin",
        "Image file must end in .spikeloom",
        "compile small.onnx -o small.spikeloom",
    ),
    "ending of predictions, npz": (
        "run made.spikeloom --data good.npz --predictions p.txt",
        "Predictions are written to a file that ends in .npz or .csv, not 'p",
        "run made.spikeloom --data good.npz --predictions p.npz",
    ),
    "ending of predictions, csv": (
        "run made.spikeloom --data good.npz --predictions p",
        "Predictions are written to a file that ends in .npz or .csv, not 'p",
        "run made.spikeloom --data good.npz --predictions p.csv",
    ),
    "ending of an integer network": (
        "export small.onnx --integer net.txt",
        "File of the integer network must end in .onnx, as net_integer.onnx does, not ",
        "export small.onnx --integer net.onnx",
    ),
    "data beside an image": (
        "export made.spikeloom --integer net.onnx --data good.npz",
        " is an image, whose scales are chosen: leave --data out, or give the model instead.",
        "export made.spikeloom --integer net.onnx",
    ),
    "digits of a weight": (
        "estimate small.onnx --data good.npz --digits 9",
        "Digits of a weight must be auto or 1..7, not '9'.",
        "estimate small.onnx --data good.npz --digits auto",
    ),
    "two results in a file": (
        "estimate small.onnx --data good.npz --json r --html ./r",
        "Two results cannot be written to one file, r; name a file for each.",
        "estimate small.onnx --data good.npz --json r --html s",
    ),
    "no scale of pixels": (
        "estimate small.onnx --data none.npz --input=",
        "Input must be auto, raw, unit, 3sigma or MEAN,STD with a STD above zero, for example ",
        "estimate small.onnx --data good.npz --input 0.1307,0.3081",
    ),
    "inspection without data": (
        "inspect small.onnx --json i.json",
        "Give --data too",
        "inspect small.onnx --json i.json --data good.npz",
    ),
    "nothing to verify": (
        "verify --sim pysim",
        "Give either an image or --random N",
        "verify --random 1 --sim pysim",
    ),
    "image and sizes": (
        "verilog made.spikeloom --preset tiny -o design",
        "Give either an image or sizes",
        "verilog made.spikeloom -o design",
    ),
    "sizes and image": (
        "verilog made.spikeloom --mesh 1x1 --axons 8 -o design",
        "Give either an image or sizes",
        "verilog made.spikeloom --mesh 1x1 -o design",
    ),
    "passes and a pipeline": (
        "compile small.onnx -o small.spikeloom --mesh 1x1 --passes --pipelined",
        "A network in passes takes a batch at a time: leave out --pipelined or --passes.",
        "compile small.onnx -o small.spikeloom --mesh 1x1 --passes",
    ),
    "passes and exploration": (
        "estimate small.onnx --data good.npz --code graded --explore --passes 1x1",
        "Bits and digits are explored without passes: leave out --passes or --explore.",
        "estimate small.onnx --data good.npz --passes 1x1",
    ),
    "size of a mesh": (
        "compile small.onnx -o small.spikeloom --mesh 4",
        "Mesh must be WxH, for example 4x3",
        "compile small.onnx -o small.spikeloom --mesh 4x3",
    ),
    "bodies of memories": (
        "verilog --preset tiny --mesh 1x1 -o design --memories ram",
        "Memories must be inferred or macro, not 'ram'.",
        "verilog --preset tiny --mesh 1x1 -o design --memories macro",
    ),
    "range of a mesh": (
        "verilog --preset tiny --mesh 0x1 -o design",
        "The chip cannot be built: width must be 1..512, not 0.",
        "verilog made.spikeloom --mesh 1x1 -o design",
    ),
    "article to reproduce": (
        "reproduce zou2020",
        "System must be zou2021, not 'zou2020'.",
        "reproduce zou2021",
    ),
    "form of chips": (
        "verilog --preset tiny --chips two -o design",
        "Chips must be XxY, for example 2x1",
        "verilog --preset tiny --mesh 1x1 --chips 2x1 -o design",
    ),
    "links without chips": (
        "verilog --preset tiny --wires 8 -o design",
        "Option --wires needs several chips: add --chips, for example 2x1.",
        "verilog --preset tiny --mesh 1x1 --wires 8 --chips 2x1 -o design",
    ),
    "shared links without chips": (
        "verilog --preset tiny --shared-links -o design",
        "Option --shared-links needs several chips: add --chips, for example 2x1.",
        "verilog --preset tiny --mesh 1x1 --shared-links --chips 2x1 -o design",
    ),
    "wires of links": (
        "verilog --preset tiny --mesh 1x1 --chips 2x1 --wires 99 -o design",
        "The chip cannot be built: link wires must be 1..23, not 99.",
        "verilog --preset tiny --mesh 1x1 --chips 2x1 --wires 23 -o design",
    ),
    "value of an option": (
        "run made.spikeloom --data good.npz --samples 0",
        "'spikeloom run --help' lists what can be given",
        "run --help",
    ),
    "value of an option of a command in a group": (
        "train lenet --data digits --spikes 3",
        "'spikeloom train lenet --help' lists what can be given",
        "train lenet --help",
    ),
    "a table of better chips with another": (
        "reproduce zou2021 --better digits --data digits --samples 1 --noise",
        "Option --better prints a table of its own: leave --model and --noise out.",
        "reproduce zou2021 --better digits --data digits --samples 1",
    ),
    "better chips without data": (
        "reproduce zou2021 --better digits",
        "Option --better emulates a network on samples: add --data, for example digits.",
        "reproduce zou2021 --better digits --data digits --samples 1",
    ),
    "name of a command": ("nosuch", "'spikeloom --help' lists what can be given", "--help"),
}
"""What is refused, the sentence, and the command that does what the sentence says."""

UNTRIED = {
    " could not be written: ",
    ": the system may lack memory; use fewer samples.",
    "The emulated chip differs from the network: ",
}
"""Fixed parts of sentences about the environment or a bug, whose tests are elsewhere."""

ERRORS = {"MappingError", "BenchEnvironmentError"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a model, its image and data."""
    small_chip().save(tmp_path / "made.spikeloom")
    (tmp_path / "small.onnx").write_bytes(small_models()[0])
    data = {"x": np.full((4, 2, 6, 6), 0.5), "y": np.zeros(4, np.int64)}
    (tmp_path / "good.npz").write_bytes(npz_of(data))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", REMEDIES)
def test_way_out_works(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused, sentence, mended = REMEDIES[name]
    before = sorted(folder.iterdir())
    assert main(refused.split()) == 2
    told = capfd.readouterr().err.strip()
    assert sentence in told
    assert "\n" not in told
    assert sorted(folder.iterdir()) == before
    assert main(mended.split()) == 0


def sentences() -> set[str]:
    """Return the longest fixed part of every sentence that the modules of `spikeloom` raise."""
    found = set()
    for path in Path(spikeloom.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[text, *_])) if name in ERRORS:
                    found.add(fixed_part(text))
    return found - {""}


def fixed_part(text: ast.expr) -> str:
    """Return the longest text without a value in it."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    fixed = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return max(fixed, key=len, default="")


def test_every_sentence_is_tried_here() -> None:
    told = [sentence for _, sentence, _ in REMEDIES.values()]
    left = {part for part in sentences() if not any(part in text or text in part for text in told)}
    assert left == UNTRIED
