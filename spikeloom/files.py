# SPDX-License-Identifier: Apache-2.0
"""Output files: written beside their place and renamed, so that none is ever half there."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.trace import RunResult, Stimulus
from mapping.errors import MappingError
from spikeloom.ending import named

__all__ = [
    "check_places",
    "numbered",
    "whole",
    "write_arrays",
    "write_bytes",
    "write_stimulus",
    "write_text",
    "write_trace",
]


def check_places(*paths: Path | None) -> None:
    """Refuse, before the work, files that cannot be written where they shall be.

    Raises
    ------
    OSError : the place is a folder, or its folder cannot be written; it names the file.
    MappingError : two of them are one file.
    """
    given = [path for path in paths if path is not None]
    for at, path in enumerate(given):
        if path.resolve() in [other.resolve() for other in given[:at]]:
            raise MappingError(f"Two results cannot be written to one file, {path}; name a file for each.")
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        try:
            with tempfile.TemporaryFile(dir=folder, prefix="."):
                pass
        except OSError as error:
            raise named(error, path) from error


def numbered(path: Path, number: int) -> Path:
    """Return the file of one pass of several.

    >>> numbered(Path("run.json"), 2).name
    'run.2.json'
    """
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a place to write a file to; at the end it is renamed, and after an error nothing is left.

    Raises
    ------
    OSError : the folder cannot be written or is full; it names the file.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise named(error, path) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an npz file whole or not at all."""
    with tempfile.SpooledTemporaryFile(max_size=2**26) as buffer:
        np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
        buffer.seek(0)
        write_bytes(path, buffer.read())


def write_stimulus(path: Path, stimulus: Stimulus) -> None:
    """Write a stimulus as arrays ``steps``, ``step``, ``packet``."""
    write_arrays(path, {"steps": np.array(stimulus.steps), "step": stimulus.step, "packet": stimulus.packet})


def write_trace(path: Path, result: RunResult) -> None:
    """Write a run: spikes, outputs, potentials and cycles where it has them, and one array per counter."""
    arrays = {
        name: getattr(result, name) for name in ("spikes", "outputs", "potentials", "finish", "gateway")
    }
    arrays["state"] = result.state["potential"]
    arrays |= {f"counter_{name}": values for name, values in result.counters.items()}
    write_arrays(path, {name: values for name, values in arrays.items() if values is not None})
