# SPDX-License-Identifier: Apache-2.0
"""What people see: tables of a report, of a model, of targets, and progress on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console

from mapping.report.result import Report
from mapping.report.text import ROWS, host_line, notes, number, quantity, share
from mapping.targets.files import Target
from spikeloom.table import Table

__all__ = [
    "FILE_WIDTH",
    "console",
    "console_on",
    "errors",
    "host_line",
    "layer_table",
    "number",
    "quantity",
    "report_notes",
    "report_table",
    "share",
    "status",
    "target_table",
]

FILE_WIDTH = 120
"""Columns of a table in a file or a pipe, which have no width of their own."""


def console_on(stream: TextIO | None, *, stderr: bool = False) -> Console:
    """Return a console as wide as its terminal, or as COLUMNS says; elsewhere a table has room."""
    shown = stream is not None and stream.isatty()
    width = None if shown or "COLUMNS" in os.environ else FILE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=True, markup=False, emoji=False)


console = console_on(sys.stdout)
errors = console_on(sys.stderr, stderr=True)


def report_table(report: Report) -> Table:
    """Return a report as a table, one column per target, per inference."""
    return Table(
        title=f"{report.model} on {report.data}, per inference",
        columns=["", *(str(target["target"]) for target in report.targets)],
        rows=[[row.name, *map(row.text, report.targets)] for row in ROWS],
        by_column=True,
    )


def report_notes(report: Report) -> list[str]:
    """Return what is to be said below `report_table`, a line each: refusals, rounding, energy."""
    return notes(report.to_dict())


def layer_table(target: Mapping[str, Any]) -> Table:
    """Return the layers of one target of a report."""
    keys = ("spikes", "synaptic_operations", "synaptic_operations_logical", "synaptic_operations_dense")
    return Table(
        title=f"Layers on chip ({target['target']})",
        columns=["layer", "kind", "spikes", "operations, physical", "logical", "dense"],
        rows=[
            [row["name"], _kind(row), *(number(row[key]) for key in keys)]
            for row in target["breakdown"]["layers"]
        ],
        text=["kind"],
    )


def _kind(row: Mapping[str, Any]) -> str:
    return row["kind"] if row["digits"] == 1 else f"{row['kind']}, {row['digits']} digits"


def target_table(targets: Sequence[Target]) -> Table:
    """Return the targets as a table."""
    return Table(
        columns=["target", "kind", "machine", "title"],
        rows=[[target.name, target.kind, target.machine, target.title] for target in targets],
        text=["kind", "machine", "title"],
    )


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done on a terminal, and stay quiet elsewhere."""
    if not errors.is_terminal:
        yield lambda _: None
        return
    with errors.status(text) as line:
        yield line.update
