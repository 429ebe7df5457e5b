# SPDX-License-Identifier: Apache-2.0
"""What people see of an exploration: one table of bits and digits against accuracy and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mapping.report.result import Report
from mapping.report.text import number, quantity, share, signed
from spikeloom.table import Table

__all__ = ["exploration_notes", "exploration_table"]


def _difference(row: Mapping[str, Any]) -> str:
    value, *ends = (signed(row[f"accuracy_difference{end}"]) for end in ("", "_low", "_high"))
    return value if value == "-" else f"{value} ({ends[0]} .. {ends[1]})"


_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "accuracy": lambda row: share(row["accuracy"]),
    "difference, points": _difference,
    "agreement": lambda row: share(row["agreement"]),
    "columns": lambda row: number(row["columns"]),
    "cores": lambda row: number(row["cores"]),
    "spikes": lambda row: number(row["spikes"]),
    "latency": lambda row: quantity(row["latency_s"], "s"),
    "energy": lambda row: quantity(row["energy_j"], "J"),
}


def exploration_table(report: Report) -> Table:
    """Return the settings of a report as a table, a row each; Pareto points have a star."""
    rows = report.exploration or ()
    return Table(
        title=f"Bits x digits of {report.model} on {report.data}, per inference",
        columns=["bits x digits", *_COLUMNS],
        rows=[[_setting(row), *(show(row) for show in _COLUMNS.values())] for row in rows],
    )


def _setting(row: Mapping[str, Any]) -> str:
    return f"{row['bits']} x {row['digits']}{' *' if row['pareto'] else ''}"


def exploration_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is to be said below the table, a line each: the stars, samples, digits auto, refusals."""
    taken = [row for row in rows if row["refusal"] is None]
    refused = [row for row in rows if row["refusal"] is not None]
    notes = []
    if taken:
        emulated = number(taken[0]["samples_emulated"])
        answers = number(taken[0]["samples"])
        notes = [
            "*: no other setting agrees as much with the float network for as few columns and joules.",
            "difference: accuracy less that of the float network; in brackets its 95 % interval, in pairs.",
            f"Answers are to {answers} samples; spikes, latency and energy are of the first {emulated}.",
        ]
    for row in taken:
        if row["digits"] == "auto":
            digits = ", ".join(f"{name} {count}" for name, count in row["digits_by_layer"].items())
            notes.append(f"{_setting(row)}: {digits}.")
    return notes + [f"Refused with {_setting(row)}: {row['refusal']}" for row in refused]
