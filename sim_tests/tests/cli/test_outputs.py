# SPDX-License-Identifier: Apache-2.0
"""No room, no right, no reader, and what nobody foresaw: one sentence, the exit code, nothing left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mapping.errors import MappingError
from sim_tests.generators.sound_files import small_chip, small_models
from sim_tests.robustness.mutations import npz_of
from sim_tests.robustness.processes import half_written, leftovers, refused, start
from spikeloom.cli import main
from spikeloom.ending import EXIT_BUG, REPORT_BUG

Out = pytest.CaptureFixture[str]

# --- no room, no right, no reader -------------------------------------------------------------------------

OUTPUTS = {
    "compile": ["compile", "{model}", "-o", "{out}.spikeloom"],
    "run": ["run", "{image}", "--data", "{data}", "--json", "{out}.json"],
    "trace": ["run", "{image}", "--data", "{data}", "--trace", "{out}.npz"],
    "estimate": ["estimate", "{model}", "--data", "{data}", "--target", "kuang2021", "--json", "{out}.json"],
    "verilog": ["verilog", "--preset", "tiny", "--mesh", "1x1", "-o", "{out}"],
}
"""One command for every kind of output."""


@pytest.fixture
def fill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the inputs of `OUTPUTS`: one small network as an image and as a model, and data for it."""
    folder = tmp_path_factory.mktemp("inputs")
    image, model, data = folder / "small.spikeloom", folder / "small.onnx", folder / "good.npz"
    small_chip().save(image)
    model.write_bytes(small_models()[0])
    data.write_bytes(npz_of({"x": np.full((4, 2, 6, 6), 0.5), "y": np.zeros(4, np.int64)}))
    return {"image": str(image), "model": str(model), "data": str(data)}


@pytest.mark.parametrize("name", OUTPUTS)
def test_path_below_a_file_is_refused(name: str, fill: dict[str, str], tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "file").write_text("precious")
    out = str(tmp_path / "file" / "x")
    before = sorted(tmp_path.iterdir())
    refused([word.format(**fill, out=out) for word in OUTPUTS[name]], "file", capsys)
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", OUTPUTS)
def test_read_only_folder_is_refused(name: str, fill: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    arguments = [word.format(**fill, out=folder / "x") for word in OUTPUTS[name]]
    ended = start(arguments, folder=tmp_path / "run", humble=True)
    path = arguments[-1]
    wanted = (
        f"spikeloom: {path}: Permission denied; choose a place that you may use, or change its permissions.\n"
    )
    assert (ended.code, ended.err) == (2, wanted)
    assert list(folder.iterdir()) == []
    assert leftovers(tmp_path / "run") == []


def test_folder_that_nobody_can_write_is_refused(fill: dict[str, str], capsys: Out) -> None:
    """``/proc`` refuses even the superuser."""
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    for name, words in OUTPUTS.items():
        refused([word.format(**fill, out="/proc/self/x") for word in words], "/proc/self", capsys)
        assert name


@pytest.mark.parametrize("name", OUTPUTS)
def test_limit_of_file_size_is_a_sentence(name: str, fill: dict[str, str], tmp_path: Path) -> None:
    """A file larger than allowed fails like a full disk, in the middle of a write."""
    arguments = [word.format(**fill, out="x") for word in OUTPUTS[name]]
    ended = start(arguments, folder=tmp_path / "run", limit=256)
    assert ended.code == 2, ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    assert leftovers(tmp_path / "run") == half_written(tmp_path / "run") == []


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if (
        sys.platform != "linux"
        or os.geteuid()
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("a small disk can be mounted by the superuser of Linux only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", OUTPUTS)
def test_full_disk_is_a_sentence(name: str, fill: dict[str, str], tmp_path: Path, capfd: Out) -> None:
    with _small_disk(tmp_path / "disk", "4k") as disk:
        (disk / "filler").write_bytes(bytes(4096))
        arguments = [word.format(**fill, out=disk / "x") for word in OUTPUTS[name]]
        refused(arguments, "No space left on device; make room there or choose another place.", capfd)
        assert [path.name for path in disk.iterdir()] in (["filler"], ["x", "filler"], ["filler", "x"])
        assert not any(path.is_file() for path in disk.rglob("*") if path.name != "filler")


def _piped(arguments: list[str], reader: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m spikeloom "$@" {reader}; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )


@pytest.mark.parametrize("reader", ["| head -1", "| true", ">&-"])
def test_reader_that_leaves_does_not_stop_the_work(reader: str, fill: dict[str, str], tmp_path: Path) -> None:
    words = ["estimate", "{model}", "--data", "{data}", "--target", "kuang2021", "--json", "x.json"]
    for arguments in ([word.format(**fill) for word in words], ["targets", "show", "loom"], ["--help"]):
        done = _piped(arguments, reader, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert half_written(tmp_path) == []
    assert (tmp_path / "x.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_standard_output_is_a_sentence(tmp_path: Path) -> None:
    for arguments in (["targets"], ["targets", "show", "loom"]):
        done = _piped(arguments, "> /dev/full", tmp_path)
        assert done.returncode == 2
        wanted = (
            "spikeloom: standard output: No space left on device; make room there or choose another place.\n"
        )
        assert done.stderr == wanted


def test_place_of_an_output_is_checked_before_the_work(
    fill: dict[str, str], tmp_path: Path, capsys: Out
) -> None:
    """The data do not exist either, but the place is looked at first; and nothing is made there."""
    for option, suffix in (("--json", "json"), ("--trace", "npz")):
        place = tmp_path / f"folder.{suffix}"
        place.mkdir()
        arguments = ["run", fill["image"], "--data", "nosuch.npz", option, str(place)]
        refused(arguments, f"{place}: Is a directory; it is a folder, name a file in it.", capsys)
    assert main(["compile", fill["model"], "-o", str(tmp_path / "new" / "x.spikeloom")]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.spikeloom"]


def test_names_in_brackets_are_printed_as_they_are(fill: dict[str, str], tmp_path: Path, capsys: Out) -> None:
    """A terminal's markup, and the name of an emoji, mean nothing in the name of a file."""
    path = tmp_path / "[/]a[b]:smile:.spikeloom"
    assert main(["compile", fill["model"], "-o", str(path)]) == 0
    assert f"{path}: 2 of 2 x 1 cores" in capsys.readouterr().out


def test_letters_that_the_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    ended = start(["targets"], folder=tmp_path, environment=environment)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("model", ["some/net.onnx", "digits"])
@pytest.mark.parametrize("command", ["run {} --data digits", "verify {}", "verilog {} -o design"])
def test_model_in_place_of_an_image_gets_the_command_that_compiles_it(
    model: str, command: str, capsys: Out
) -> None:
    name = Path(model).stem
    part = f"{model} is a model, and this command takes an image: make one with "
    part += f"'spikeloom compile {model} -o {name}.spikeloom'."
    refused(command.format(model).split(), part, capsys)


def test_data_without_pixels_are_said_to_be_taken_as_they_are(fill: dict[str, str], capsys: Out) -> None:
    assert main(["run", fill["image"], "--data", fill["data"]]) == 0
    told = capsys.readouterr().out
    assert "Input: unit (values, no bytes of pixels: taken as they are)" in told
    assert "timesteps (2 an inference)" in told


def test_unknown_simulator_is_a_sentence(tmp_path: Path) -> None:
    ended = start(["verify", "--random", "1", "--sim", "nosuch"], folder=tmp_path)
    wanted = "spikeloom: Simulator must be auto, verilator, icarus or pysim, not 'nosuch'.\n"
    assert (ended.code, ended.err) == (2, wanted)


def _raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr("mapping.targets.files.list_targets", broken)


def test_unforeseen_error_is_a_bug_and_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    _raises(ZeroDivisionError("by hand"), monkeypatch)
    assert main(["targets"]) == EXIT_BUG == 70
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by hand" in err
    assert err.endswith(f"{REPORT_BUG}\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "There is not enough memory; use fewer samples or a smaller model."),
        (
            ImportError("Training needs PyTorch, which is not installed"),
            "Training needs PyTorch, which is not installed; 'spikeloom doctor' tells what is missing.",
        ),
        (
            OSError(28, "No space left on device", "a/b"),
            "a/b: No space left on device; make room there or choose another place.",
        ),
        (OSError("odd"), "odd."),
        (MappingError("The layer is too large."), "The layer is too large."),
    ],
)
def test_environment_errors_are_a_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    _raises(error, monkeypatch)
    assert main(["targets"]) == 2
    assert capsys.readouterr().err == f"spikeloom: {sentence}\n"


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("SPIKELOOM_DEBUG", "")
    _raises(MappingError("The layer is too large."), monkeypatch)
    assert main(["--debug", "targets"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    _raises(KeyboardInterrupt(), monkeypatch)
    assert main(["targets"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_verification_program_that_is_killed_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    (tmp_path / "killed.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("spikeloom.bench.BENCH_MODULE", "killed")
    refused(["verify", "--random", "1"], "ended by signal 9: the system may lack memory", capsys)
