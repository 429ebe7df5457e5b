# SPDX-License-Identifier: Apache-2.0
"""Output files: written beside their place and renamed, so that none is ever half there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.trace import RunResult, Stimulus

__all__ = ["write_arrays", "write_stimulus", "write_text", "write_trace"]


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    _replace(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an npz file whole or not at all."""
    with tempfile.SpooledTemporaryFile(max_size=2**26) as buffer:
        np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
        buffer.seek(0)
        _replace(path, buffer.read())


def write_stimulus(path: Path, stimulus: Stimulus) -> None:
    """Write a stimulus as arrays ``steps``, ``step``, ``packet``."""
    write_arrays(path, {"steps": np.array(stimulus.steps), "step": stimulus.step, "packet": stimulus.packet})


def write_trace(path: Path, result: RunResult) -> None:
    """Write a run: spikes, outputs, potentials and cycles where it has them, and one array per counter."""
    arrays = {
        name: getattr(result, name)
        for name in ("spikes", "outputs", "potentials", "finish", "gateway", "state")
    }
    arrays |= {f"counter_{name}": values for name, values in result.counters.items()}
    write_arrays(path, {name: values for name, values in arrays.items() if values is not None})
