# SPDX-License-Identifier: Apache-2.0
"""The benches, started as a program of their own, and the Verilog that they verify."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from emu.container import load_image
from emu.errors import SpikeloomError, clause
from emu.passes import holds_passes, load_images
from emu.spec import SystemSpec
from emu.trace import Stimulus
from mapping.chip import Chip
from mapping.datasets.load import load_data
from mapping.layout.host_tables import stimulus_for
from rtl.export import SIDECAR, VerilogError, write_verilog
from rtl.memory import Body
from spikeloom.ending import EXIT_INTERRUPTED, deaf_child, named, shielded
from spikeloom.files import check_places, numbered, write_stimulus
from spikeloom.first import PARENT
from spikeloom.passes import open_any

__all__ = ["BenchEnvironmentError", "export_verilog", "spec_of", "verify_image", "verify_random"]

BENCH_MODULE = "sim_tests.verify"
GRACE_SECONDS = 10.0
"""Time that an interrupted program has to end its simulators and remove its files."""


class BenchEnvironmentError(SpikeloomError, RuntimeError):
    """Something outside the input is missing or broken; the sentence says what to do."""


def _program(arguments: Sequence[str], errors: IO[str] | None = None) -> int:
    """Run the bench program and return its exit code; it ends with us, however we end.

    Parameters
    ----------
    errors : what it complains about is written there, else to our standard error.

    Raises
    ------
    KeyboardInterrupt : we or the program were interrupted; the program has ended.
    BenchEnvironmentError : the program was killed.
    """
    environment = {**os.environ, PARENT: str(os.getpid())}
    command = [sys.executable, "-P", "-m", BENCH_MODULE, *arguments]
    process = None
    try:
        with deaf_child():
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=errors)
        code = process.wait()
    except BaseException:
        if process is not None:
            _interrupt(process)
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
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
            return
        tell()
    process.wait()


def _verify(arguments: list[str], options: Mapping[str, object | None]) -> int:
    """Run the verification program and return its exit code: 0 equal, 1 different, 2 bad input."""
    flags = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
    return _program([*arguments, *flags])


def verify_random(systems: int, options: Mapping[str, object | None]) -> int:
    """Verify random systems and return the exit code."""
    return _verify(["--random", str(systems)], options)


def verify_image(image: Path, data: str | None, samples: int, options: Mapping[str, object | None]) -> int:
    """Verify an image on the first samples of some data, or on random events, and return the exit code.

    Of several passes each is verified on its own, fed with what the passes before it give; the first that
    differs is the last.
    """
    chip = open_any(image)
    chosen = None if data is None else chip.prepare(load_data(data).first(samples))[0]
    if isinstance(chip, Chip):
        return _verify_chip(image, None if chosen is None else chip.stimulus(chosen.x), options)
    fed = [None] * len(chip.images) if chosen is None else [one.input_counts for one in chip.run(chosen.x)]
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        for number, (one, counts) in enumerate(zip(chip.loaded, fed, strict=True)):
            place = Path(folder) / f"{image.stem}, pass {number}.spikeloom"
            one.save(place)
            stimulus = None if counts is None else stimulus_for(one.image, counts)
            own = {
                key: numbered(path, number) if isinstance(path, Path) and key != "--verilog" else path
                for key, path in options.items()
            }
            code = _verify_chip(place, stimulus, own)
            if code:
                return code
    return 0


def _verify_chip(image: Path, stimulus: Stimulus | None, options: Mapping[str, object | None]) -> int:
    """Verify one image on a stimulus, or on random events, and return the exit code."""
    if stimulus is None:
        return _verify([str(image)], options)
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        place = Path(folder) / "stimulus.npz"
        write_stimulus(place, stimulus)
        return _verify([str(image), "--stimulus", str(place)], options)


def export_verilog(
    directory: Path, spec: SystemSpec, *, initial: bool = True, memories: Body = Body.INFERRED
) -> list[Path]:
    """Write the Verilog of a chip or of several; return the files.

    Parameters
    ----------
    initial : declare the registers' start values.
    memories : what stands for a memory.

    Raises
    ------
    BenchEnvironmentError : the Verilog or its bench cannot be made.
    """
    with _stage(directory) as stage:
        try:
            write_verilog(spec, stage, initial=initial, memories=memories)
        except VerilogError as error:
            raise BenchEnvironmentError(str(error)) from error
        _write_bench(stage, directory)
        return _publish(stage, directory)


def spec_of(image: Path, mesh: tuple[int, int] | None = None) -> SystemSpec:
    """Return the sizes of the chip of an image, or of passes; with ``mesh`` of so many of its cores alone."""
    spec = (load_images(image)[0] if holds_passes(image) else load_image(image)).spec
    return spec if mesh is None else SystemSpec(core=spec.core, width=mesh[0], height=mesh[1])


def _write_bench(stage: Path, directory: Path) -> None:
    """Have the bench written beside a design that is not in its place yet."""
    with tempfile.TemporaryFile("w+") as errors:
        if code := _program(["--export-bench", str(stage)], errors):
            errors.seek(0)
            said = errors.read().strip().rpartition("\n")[2].removeprefix("spikeloom: ")
            reason = said.replace(str(stage), str(directory)) or f"exit code {code}"
            raise BenchEnvironmentError(f"The bench of {directory} could not be written: {clause(reason)}.")


@contextmanager
def _stage(directory: Path) -> Iterator[Path]:
    """Give a hidden folder beside one that will be written; an error names the latter.

    Raises
    ------
    OSError : the place cannot be written.
    """
    parent = directory.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        check_places(directory / SIDECAR if directory.exists() else directory)
        name = tempfile.mkdtemp(prefix=f".{directory.name}.", dir=parent)
        try:
            stage = Path(name) / directory.name
            stage.mkdir()
            yield stage
        finally:
            shutil.rmtree(name, ignore_errors=True)
    except OSError as error:
        raise named(error, directory) from error


def _publish(stage: Path, directory: Path) -> list[Path]:
    """Move all files of a design to their place at once, and remove the jobs of an earlier one.

    While files of an earlier design are replaced there is no sidecar, without which nothing reads a design.
    """
    files = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    with shielded():
        if not directory.exists():
            stage.replace(directory)
            return [directory / name for name in files]
        bench = directory / "tb"
        bench.mkdir(exist_ok=True)
        for old in [directory / SIDECAR, *bench.glob("job*.npz"), *bench.glob("expected*.npz")]:
            old.unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: name.name == SIDECAR):
            (stage / name).replace(directory / name)
    return [directory / name for name in files]
