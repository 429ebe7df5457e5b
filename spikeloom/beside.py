# SPDX-License-Identifier: Apache-2.0
"""What people see of targets and published systems: one table, each row marked as what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mapping.report.side_by_side import what
from mapping.report.text import FORMATS, number, quantity, share
from spikeloom.table import Table

__all__ = ["beside_table"]

_COLUMNS = ["system", "what it is", "accuracy", "cores", "latency", "rate", "energy", "low .. high"]


def beside_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows of `mapping.report.side_by_side.side_by_side` as a table."""
    cited = any(row["source"] for row in rows)
    theirs = "; what is published is as printed there: other networks, other technologies"
    return Table(
        title=f"Side by side{theirs if cited else ''}",
        columns=[*_COLUMNS, "source"] if cited else _COLUMNS,
        rows=[[*_row(row), row["source"] or ""] if cited else _row(row) for row in rows],
        text=["what it is", "source"],
    )


def _row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["system"],
        what(row),
        share(row["accuracy"]),
        number(row["cores"]),
        quantity(row["latency_s"], "s"),
        FORMATS["rate"](row["throughput_per_s"]),
        quantity(row["energy_j"], "J"),
        FORMATS["J range"](row["energy_j_low"], row["energy_j_high"]),
    ]
