# SPDX-License-Identifier: Apache-2.0
"""Targets: the chips an estimate is made for, each one TOML file (`docs/reference/targets.md`).

A target file has the sections ``[target]``, ``[geometry]``, ``[timing]`` and ``[energy]``. The sizes of a
core are those of `emu.spec.CoreSpec`. Every other number is a table with the keys ``value``, ``unit``,
``low``, ``high``, ``kind`` and ``source``, so a figure never travels without its uncertainty and its origin.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from emu.spec import PRESETS
from mapping.targets.reader import target_of
from mapping.targets.target import Quantity, Target, TargetError

__all__ = [
    "MAX_TARGET_BYTES",
    "Quantity",
    "Target",
    "TargetError",
    "list_targets",
    "load_target",
    "target_text",
]

MAX_TARGET_BYTES = 65536
"""Largest target file that is read, in bytes."""

_SHIPPED = Path(__file__).parent / "data"


def list_targets() -> tuple[str, ...]:
    """Return the names of the shipped targets, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def target_text(name_or_path: str | Path) -> str:
    """Return the TOML text of a target, unchanged.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped target, or the path of a file that ends in ``.toml``.

    Raises
    ------
    TargetError
        If there is no such target, or the file is not readable UTF-8 text of at most ``MAX_TARGET_BYTES``.
    """
    path = _locate(name_or_path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TARGET_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise TargetError(f"Target file {path} must be readable, not {reason!r}; check the path.") from error
    if len(data) > MAX_TARGET_BYTES:
        raise TargetError(
            f"Target file {path} must be at most {MAX_TARGET_BYTES} bytes; shorten it or check the path."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TargetError(
            f"Target file {path} must be UTF-8 text, not byte {data[error.start]:#04x}"
            f" at offset {error.start}; save it as UTF-8."
        ) from error


def load_target(name_or_path: str | Path) -> Target:
    """Load and check a target.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped target, or the path of a file that ends in ``.toml``.

    Raises
    ------
    TargetError
        If there is no such target or the file breaks a rule; the sentence names file, key, value and remedy.

    Examples
    --------
    >>> load_target("kuang2021").count("axons")
    1152
    """
    path = _locate(name_or_path)
    text = target_text(name_or_path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"Target file {path} must be valid TOML: {error}; correct that line.") from error
    except RecursionError as error:
        raise TargetError(f"Target file {path} must not be nested this deeply; use plain tables.") from error
    shipped = path.parent == _SHIPPED
    file, origin = (path.name, "shipped") if shipped else (str(path), str(path))
    return target_of(document, file=file, origin=origin)


def _locate(name_or_path: str | Path) -> Path:
    """Turn a name or a path into the path of the file to read."""
    if not isinstance(name_or_path, str | Path):
        raise TypeError(f"Target must be a name or a path, not {name_or_path!r}.")
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    if name_or_path not in list_targets():
        told = f", not {name_or_path!r}"
        if name_or_path in PRESETS:
            told = f"; {name_or_path!r} is a size of core, which is --core {name_or_path} in estimate and "
            told += "in compile"
        names = ", ".join(list_targets())
        raise TargetError(f"Target must be one of {names} or a path that ends in .toml{told}.")
    return _SHIPPED / f"{name_or_path}.toml"
