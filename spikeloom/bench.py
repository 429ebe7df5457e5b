# SPDX-License-Identifier: Apache-2.0
"""The benches, started as a program of their own, and the Verilog that they verify."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from emu.container import load_image
from emu.spec import SystemSpec, preset
from mapping.datasets import load_data
from mapping.errors import MappingError
from mapping.flow import open_chip
from rtl.export import write_verilog
from spikeloom.files import write_stimulus

__all__ = ["BenchEnvironmentError", "export_verilog", "verify_image", "verify_random"]

BENCH_MODULE = "sim_tests.verify"


class BenchEnvironmentError(RuntimeError):
    """Something outside the input is missing or broken; the sentence says what to do."""


def _verify(arguments: list[str], options: Mapping[str, object | None]) -> int:
    """Run the verification program and return its exit code: 0 equal, 1 different, 2 bad input."""
    flags = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
    return subprocess.run([sys.executable, "-m", BENCH_MODULE, *arguments, *flags], check=False).returncode


def verify_random(systems: int, seed: int, options: Mapping[str, object | None]) -> int:
    """Verify random systems and return the exit code."""
    return _verify(["--random", str(systems), "--seed", str(seed)], options)


def verify_image(image: Path, data: str, samples: int, options: Mapping[str, object | None]) -> int:
    """Verify an image on the first samples of some data and return the exit code."""
    chip = open_chip(image)
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
    written = write_verilog(spec, directory)
    bench = [sys.executable, "-m", BENCH_MODULE, "--export-bench", str(directory)]
    if subprocess.run(bench, check=False).returncode:
        raise BenchEnvironmentError(
            f"The bench could not be written to {directory / 'tb'}: see the message above."
        )
    return written + sorted((directory / "tb").iterdir())
