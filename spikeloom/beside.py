# SPDX-License-Identifier: Apache-2.0
"""What people see of published systems beside a report: one table, each row marked as what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mapping.report.result import Report
from mapping.report.text import per_second, quantity, share
from spikeloom.table import Table

__all__ = ["beside_table"]


def beside_table(report: Report) -> Table:
    """Return the targets of a report above what others published of the same data."""
    ours = [
        _row(target["target"], "estimated here, joules modelled", target, "") for target in report.accepted
    ]
    theirs = [_row(row["system"], _what(row), row, f"{row['source']}") for row in report.published or ()]
    return Table(
        title="Beside what others published, as printed there: other networks, other technologies",
        columns=["system", "what it is", "accuracy", "latency", "rate", "energy", "source"],
        rows=[*ours, *theirs],
        text=["what it is", "source"],
    )


def _row(name: str, what: str, values: Mapping[str, Any], source: str) -> list[str]:
    return [
        name,
        what,
        share(values["accuracy"]),
        quantity(values["latency_s"], "s"),
        per_second(values["throughput_per_s"]),
        quantity(values["energy_j"], "J"),
        source,
    ]


def _what(row: Mapping[str, Any]) -> str:
    return row["what"] if row["note"] is None else f"{row['what']}; {row['note']}"
