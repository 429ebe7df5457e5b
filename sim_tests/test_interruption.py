# SPDX-License-Identifier: Apache-2.0
"""Commands that are interrupted or killed: exit code, one line, nothing half-written, nobody left behind."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from sim_tests.processes import Ended, half_written, leftovers, start, survivors
from spikeloom.cli import main

COMMANDS: dict[str, tuple[str, ...]] = {
    "compile": ("compile", "digits", "-o", "x.spikeloom", "--core", "small"),
    "run": ("run", "{image}", "--data", "digits", "--cycles", "--json", "x.json", "--trace", "x.npz"),
    "estimate": ("estimate", "digits", "--data", "digits", "--core", "small", "--json", "x.json"),
    "inspect": ("inspect", "digits", "--core", "small"),
    "verify": ("verify", "--random", "2", "--junit", "x.xml"),
    "verify-pysim": ("verify", "--random", "2", "--sim", "pysim", "--junit", "x.xml", "--waves", "x.vcd"),
    "verify-image": ("verify", "{image}", "--samples", "1", "--junit", "x.xml"),
    "verilog": ("verilog", "--preset", "tiny", "-o", "design"),
    "demo": ("demo", "--out", "demo", "--images", "1"),
    "train": ("train", "digits", "--epochs", "4", "-o", "x.onnx"),
}  # fmt: skip
"""Every command that takes longer than a moment."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model, compiled once."""
    path = tmp_path_factory.mktemp("image") / "digits.spikeloom"
    assert main(["compile", "digits", "-o", str(path), "--core", "small"]) == 0
    return path


def _arguments(name: str, image: Path) -> list[str]:
    return [word.format(image=image) for word in COMMANDS[name]]


def _require_interrupted(ended: Ended, folder: Path) -> None:
    assert ended.code == 130, ended
    assert ended.err.splitlines() == ["interrupted"], ended.err
    assert survivors(ended.session) == []
    assert leftovers(folder) == []
    assert half_written(folder) == []


def _interrupt(name: str, moments: list[float], tmp_path: Path, image: Path, *, group: bool) -> int:
    """Interrupt a command at shares of the time that it takes; return how often it was still running."""
    arguments = _arguments(name, image)
    start(arguments, folder=tmp_path / "warm")  # builds and compiles what is kept
    whole = start(arguments, folder=tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert half_written(tmp_path / "whole") == []
    count = 0
    for index, share in enumerate(moments):
        folder = tmp_path / f"interrupted{index}"
        at = 0.1 + share * whole.seconds
        ended = start(arguments, folder=folder, signals=[(at, signal.SIGINT)], group=group)
        if ended.code == 0:  # it was faster this time
            continue
        _require_interrupted(ended, folder)
        count += 1
        shutil.rmtree(folder)
    return count


@pytest.mark.parametrize("name", ["compile", "run", "verilog"])
def test_interrupted_command_leaves_nothing_behind(name: str, tmp_path: Path, image: Path, seed: int) -> None:
    moments = np.random.default_rng(seed).uniform(0.0, 0.8, 2).tolist()
    assert _interrupt(name, moments, tmp_path, image, group=name == "run") >= 1


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_interrupted_at_ten_random_moments(name: str, tmp_path: Path, image: Path, seed: int) -> None:
    """Five times the whole process group as a terminal does it, five times the process alone."""
    if name == "train":
        pytest.importorskip("torch", exc_type=ImportError)
    rng = np.random.default_rng(seed)
    heard = sum(
        _interrupt(name, rng.uniform(0.0, 0.9, 5).tolist(), tmp_path / str(group), image, group=group)
        for group in (True, False)
    )
    assert heard >= 6


@pytest.mark.long
@pytest.mark.cosim
def test_interrupted_build_and_compilation_do_no_harm(tmp_path: Path, image: Path, seed: int) -> None:
    """Simulators are built and kernels compiled from nothing, interrupted or killed, and used afterwards."""
    environment = {"SPIKELOOM_CACHE": str(tmp_path / "cache")}
    rng = np.random.default_rng(seed)
    arguments = ["verify", "--random", "1", "--junit", "x.xml"]
    for index, moment in enumerate(rng.uniform(1.0, 30.0, 6)):
        number = (signal.SIGINT, signal.SIGKILL)[index % 2]
        folder = tmp_path / str(index)
        ended = start(arguments, folder=folder, environment=environment, signals=[(float(moment), number)])
        if ended.code == 0:
            continue
        assert ended.code == (130 if number == signal.SIGINT else -number), ended
        assert survivors(ended.session, 15) == []
        assert half_written(folder) == []
    last = start(arguments, folder=tmp_path / "last", environment=environment)
    assert last.code == 0, last.err
    assert "all equal" in last.out


def _kill(name: str, moments: list[float], tmp_path: Path, image: Path) -> int:
    arguments = _arguments(name, image)
    whole = start(arguments, folder=tmp_path)
    assert whole.code == 0, whole.err
    count = 0
    for share in moments:
        signals = [(share * whole.seconds, signal.SIGKILL)]
        ended = start(arguments, folder=tmp_path, signals=signals)
        assert survivors(ended.session, 15) == []
        assert half_written(tmp_path) == []
        count += ended.code == -signal.SIGKILL
    again = start(arguments, folder=tmp_path)
    assert again.code == 0, again.err
    return count


@pytest.mark.parametrize("name", ["compile"])
def test_killed_command_does_not_stop_the_next(name: str, tmp_path: Path, image: Path, seed: int) -> None:
    assert _kill(name, [0.5], tmp_path, image) == 1


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name: str, tmp_path: Path, image: Path, seed: int) -> None:
    if name == "train":
        pytest.importorskip("torch", exc_type=ImportError)
    moments = np.random.default_rng(seed).uniform(0.05, 0.9, 3).tolist()
    assert _kill(name, moments, tmp_path, image) >= 1
