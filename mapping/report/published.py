# SPDX-License-Identifier: Apache-2.0
"""Rows that others published, to stand beside a report; nothing here is computed."""

import tomllib
from pathlib import Path
from typing import Any

from mapping.errors import MappingError

__all__ = ["published", "published_sets"]

_FILE = Path(__file__).parent / "data" / "published.toml"


def published_sets() -> tuple[str, ...]:
    """Return the data sets of which something is known.

    >>> published_sets()
    ('mnist', 'cifar10', 'nmnist')
    """
    return tuple(dict.fromkeys(row["dataset"] for row in _rows()))


def published(dataset: str) -> list[dict[str, Any]]:
    """Return what others published of a data set, a mapping for each system, in SI units.

    Keys are ``system``, ``what`` (chip, FPGA or GPU, measured or not), ``accuracy``, ``throughput_per_s``,
    ``latency_s``, ``energy_j``, ``note`` and ``source``; what a source does not tell is None.

    Raises
    ------
    MappingError
        If nothing is known of the data set.
    """
    found = [_in_si(row) for row in _rows() if row["dataset"] == dataset]
    if not found:
        known = ", ".join(published_sets())
        raise MappingError(f"Published figures are known of {known}, not of {dataset[:100]!r}.")
    return found


def _in_si(row: dict[str, Any]) -> dict[str, Any]:
    def scaled(key: str, scale: float) -> float | None:
        return None if key not in row else row[key] / scale

    return {
        "system": row["system"],
        "what": row["what"],
        "accuracy": scaled("accuracy", 100),
        "throughput_per_s": scaled("rate", 1),
        "latency_s": scaled("latency_ms", 1e3),
        "energy_j": scaled("energy_mj", 1e3),
        "note": row.get("note"),
        "source": row["source"],
    }


def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads(_FILE.read_text())["system"]
    return rows
