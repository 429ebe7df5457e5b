# SPDX-License-Identifier: Apache-2.0
"""The benches, started as a program of their own, and the Verilog that they verify."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from emu.container import load_image
from emu.spec import SystemSpec, preset
from mapping.datasets import load_data
from mapping.errors import MappingError
from mapping.flow import open_chip
from rtl.export import VerilogError, write_verilog
from spikeloom.ending import EXIT_INTERRUPTED, shielded
from spikeloom.files import write_stimulus

__all__ = ["BenchEnvironmentError", "export_verilog", "verify_image", "verify_random"]

BENCH_MODULE = "sim_tests.verify"
PARENT = "SPIKELOOM_PARENT"
"""Environment variable by which the verification program knows that it ends with its parent."""

GRACE_SECONDS = 10.0
"""Time that an interrupted program has to end its simulators and remove its files."""


class BenchEnvironmentError(RuntimeError):
    """Something outside the input is missing or broken; the sentence says what to do."""


def _program(arguments: Sequence[str]) -> int:
    """Run the bench program and return its exit code; it ends with us, however we end.

    Raises
    ------
    KeyboardInterrupt : we or the program were interrupted; the program has ended.
    BenchEnvironmentError : the program was killed.
    """
    environment = {**os.environ, PARENT: str(os.getpid())}
    command = [sys.executable, "-m", BENCH_MODULE, *arguments]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _interrupt(process)
            raise
        except BaseException:
            process.kill()
            raise
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code < 0:
        raise BenchEnvironmentError(
            f"The verification program was ended by signal {-code}: the system may lack memory; "
            "use fewer samples."
        )
    return code


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let the program clean up: it may have heard the same Ctrl-C, so wait before and after telling it."""
    for wait, tell in ((0.2, process.terminate), (GRACE_SECONDS, process.kill)):
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            tell()
        else:
            return


def _verify(arguments: list[str], options: Mapping[str, object | None]) -> int:
    """Run the verification program and return its exit code: 0 equal, 1 different, 2 bad input."""
    flags = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
    return _program([*arguments, *flags])


def verify_random(systems: int, seed: int, options: Mapping[str, object | None]) -> int:
    """Verify random systems and return the exit code."""
    return _verify(["--random", str(systems), "--seed", str(seed)], options)


def verify_image(image: Path, data: str | None, samples: int, options: Mapping[str, object | None]) -> int:
    """Verify an image on the first samples of some data, or on random events, and return the exit code."""
    chip = open_chip(image)
    if data is None:
        return _verify([str(image)], options)
    chosen, _ = chip.prepare(load_data(data).first(samples))
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        stimulus = Path(folder) / "stimulus.npz"
        write_stimulus(stimulus, chip.stimulus(chosen.x))
        return _verify([str(image), "--stimulus", str(stimulus)], options)


def export_verilog(
    directory: Path,
    *,
    image: Path | None,
    preset_name: str,
    mesh: tuple[int, int],
    changes: Mapping[str, int],
) -> list[Path]:
    """Write a chip's Verilog and its bench; return the files.

    Parameters
    ----------
    image : take the sizes from this image; otherwise from ``preset_name``, ``changes`` to it, and ``mesh``.

    Raises
    ------
    MappingError : a size breaks a limit of the machine.
    """
    if image is not None:
        spec = load_image(image).spec
    else:
        try:
            core = dataclasses.replace(preset(preset_name), **changes)
            spec = SystemSpec(core=core, width=mesh[0], height=mesh[1])
        except ValueError as error:
            raise MappingError(f"The chip cannot be built: {error}.") from None
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=_existing(directory)) as name:
        stage = Path(name)
        try:
            write_verilog(spec, stage)
        except VerilogError as error:
            raise BenchEnvironmentError(str(error)) from error
        if code := _program(["--export-bench", str(stage)]):
            raise BenchEnvironmentError(f"The bench of {directory} could not be written (exit code {code}).")
        return _publish(stage, directory)


def _existing(directory: Path) -> Path:
    """Return the folder that a new folder will be in, made if it is not there."""
    directory.absolute().parent.mkdir(parents=True, exist_ok=True)
    if directory.exists() and not os.access(directory, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))
    return directory.absolute().parent


def _publish(stage: Path, directory: Path) -> list[Path]:
    """Move all files of a design to their place at once, and remove the jobs of an earlier one."""
    moved = []
    with shielded():
        bench = directory / "tb"
        bench.mkdir(parents=True, exist_ok=True)
        for old in [*bench.glob("job*.npz"), *bench.glob("expected*.npz")]:
            old.unlink()
        for source in sorted(path for path in stage.rglob("*") if path.is_file()):
            target = directory / source.relative_to(stage)
            source.replace(target)
            moved.append(target)
    return moved
