# SPDX-License-Identifier: Apache-2.0
"""Commands that are interrupted or killed: exit code, one line, nothing half-written, nobody left behind."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sim_tests.generators.sound_files import write_mnist
from sim_tests.robustness.processes import OLD, Ended, half_written, leftovers, outputs, start, survivors
from spikeloom.cli import main

COMMANDS: dict[str, str] = {
    "compile": "compile digits -o x.spikeloom --core small",
    "run": "run {image} --data digits --cycles --json x.json --trace x.npz",
    "estimate": "estimate digits --data digits --core small --json x.json",
    "inspect": "inspect {image} --data digits --samples 50 --json x.json",
    "verify": "verify --random 2 --junit x.xml",
    "verify-pysim": "verify --random 2 --sim pysim --junit x.xml --waves x.vcd",
    "verify-image": "verify {image} --data digits --samples 1 --junit x.xml",
    "verify-design": "verify --random 1 --verilog {design} --junit x.xml --waves x.vcd",
    "verilog": "verilog --preset tiny -o design",
    "verilog-image": "verilog {image} -o design",
    "demo": "demo --out demo --images 1",
    "train-digits": "train digits --epochs 4 -o x.onnx",
    "train-lenet": "train lenet --data {mnist} --epochs 1 -o x.onnx",
    "targets": "targets",
    "targets-show": "targets show loom",
    "doctor": "doctor",
}
"""Every command, with every kind of file that it writes."""

MOMENTS = 10
"""Random moments at which a command is interrupted, and as many at which it is killed."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The shipped model as an image, a design, and a data set in the form of MNIST."""
    folder = tmp_path_factory.mktemp("inputs")
    image, design = folder / "digits.spikeloom", folder / "design"
    assert main(["compile", "digits", "-o", str(image), "--core", "small"]) == 0
    assert main(["verilog", "--preset", "tiny", "--mesh", "1x1", "-o", str(design)]) == 0
    return {"image": str(image), "design": str(design), "mnist": str(write_mnist(folder / "mnist"))}


def _arguments(name: str, inputs: dict[str, str]) -> list[str]:
    if name.startswith("train"):
        pytest.importorskip("torch", exc_type=ImportError)
    return [word.format(**inputs) for word in COMMANDS[name].split()]


def _require_interrupted(ended: Ended, folder: Path) -> None:
    assert ended.code == 130, ended
    assert ended.err.splitlines() == ["interrupted"], ended.err
    assert survivors(ended.session) == []
    assert leftovers(folder) == []
    assert half_written(folder) == []


def _whole(arguments: Sequence[str], folder: Path) -> Ended:
    """Run a command undisturbed, after a run that fills the caches, and demand whole files."""
    start(arguments, folder=folder / "warm")
    whole = start(arguments, folder=folder)
    assert whole.code == 0, whole.err
    shutil.rmtree(folder / "warm")
    assert half_written(folder) == []
    return whole


def _with_old_files(folder: Path, names: Sequence[str]) -> Path:
    """Return a new folder in which files of these names are already there."""
    folder.mkdir()
    for name in names:
        if "/" not in name:
            (folder / name).write_text(OLD)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_interrupted_command_leaves_nothing_behind(
    name: str, tmp_path: Path, inputs: dict[str, str], seed: int
) -> None:
    """One moment while it imports or has just begun; every other command as a terminal does it."""
    moment = float(np.random.default_rng([seed, *name.encode()]).uniform(0.0, 0.5))
    group = list(COMMANDS).index(name) % 2 == 0
    folder = _with_old_files(tmp_path / "run", ["x.json", "x.spikeloom", "x.xml"])
    arguments = _arguments(name, inputs)
    ended = start(arguments, folder=folder, signals=[(moment, signal.SIGINT)], group=group)
    if ended.code == 0:
        assert name in ("targets", "targets-show", "doctor")
        return
    _require_interrupted(ended, folder)
    assert {path.read_text() for path in folder.glob("x.*")} == {OLD}


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_interrupted_at_ten_random_moments(
    name: str, tmp_path: Path, inputs: dict[str, str], seed: int
) -> None:
    """Every other time the whole process group as a terminal does it, else the process alone."""
    arguments = _arguments(name, inputs)
    whole, heard = _whole(arguments, tmp_path / "whole"), 0
    wanted = outputs(tmp_path / "whole")
    for index, share in enumerate(np.random.default_rng(seed).uniform(0.0, 0.95, MOMENTS)):
        folder = _with_old_files(tmp_path / str(index), sorted(wanted) if index % 4 > 1 else [])
        signals = [(float(share) * whole.seconds, signal.SIGINT)]
        ended = start(arguments, folder=folder, signals=signals, group=index % 2 == 0)
        if ended.code != 0:  # else it was faster this time
            _require_interrupted(ended, folder)
            heard += 1
        assert set(outputs(folder)) <= set(wanted)
        shutil.rmtree(folder)
    assert heard >= MOMENTS // 2
    again = start(arguments, folder=tmp_path / "again")
    assert again.code == 0, again.err
    assert outputs(tmp_path / "again") == wanted


def _kill(arguments: Sequence[str], shares: Sequence[float], tmp_path: Path) -> int:
    """Kill a command at shares of its time, alone or with its group; return how often it still ran."""
    whole = _whole(arguments, tmp_path / "whole")
    wanted, killed = outputs(tmp_path / "whole"), 0
    folder = _with_old_files(tmp_path / "killed", sorted(wanted))
    for index, share in enumerate(shares):
        signals = [(share * whole.seconds, signal.SIGKILL)]
        ended = start(arguments, folder=folder, signals=signals, group=index % 2 == 0)
        assert survivors(ended.session, 30) == []
        assert half_written(folder) == []
        assert set(outputs(folder)) <= set(wanted)
        killed += ended.code == -signal.SIGKILL
    again = start(arguments, folder=folder)
    assert again.code == 0, again.err
    assert outputs(folder) == wanted
    return killed


@pytest.mark.parametrize("name", ["compile"])
def test_killed_command_does_not_stop_the_next(
    name: str, tmp_path: Path, inputs: dict[str, str], seed: int
) -> None:
    assert _kill(_arguments(name, inputs), [0.5], tmp_path) == 1


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_ten_random_moments(name: str, tmp_path: Path, inputs: dict[str, str], seed: int) -> None:
    shares = np.random.default_rng(seed).uniform(0.0, 0.95, MOMENTS).tolist()
    assert _kill(_arguments(name, inputs), shares, tmp_path) >= MOMENTS // 2


@pytest.mark.long
@pytest.mark.cosim
@pytest.mark.parametrize("name", ["run", "verify"])
def test_interrupted_build_and_compilation_do_no_harm(
    name: str, tmp_path: Path, inputs: dict[str, str], seed: int
) -> None:
    """Simulators are built and kernels compiled from nothing, interrupted or killed, and used afterwards."""
    environment = {"SPIKELOOM_CACHE": str(tmp_path / "cache")}
    arguments = _arguments(name, inputs)
    whole = start(arguments, folder=tmp_path / "whole")
    assert whole.code == 0, whole.err
    for index, moment in enumerate(np.random.default_rng(seed).uniform(0.5, 30.0, MOMENTS)):
        number = (signal.SIGINT, signal.SIGKILL)[index % 2]
        folder = tmp_path / str(index)
        ended = start(arguments, folder=folder, environment=environment, signals=[(float(moment), number)])
        if ended.code == 0:
            shutil.rmtree(tmp_path / "cache")  # begin anew: the later moments shall meet a build, too
            continue
        assert ended.code == (130 if number == signal.SIGINT else -number), ended
        assert survivors(ended.session, 60) == []
        assert half_written(folder) == []
    last = start(arguments, folder=tmp_path / "last", environment=environment)
    assert last.code == 0, last.err
    assert outputs(tmp_path / "last") == outputs(tmp_path / "whole")
