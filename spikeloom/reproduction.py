# SPDX-License-Identifier: Apache-2.0
"""Computed tables beside published ones, cell by cell: the only reader of `spikeloom.published`."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mapping.reproduce.zou2021 import Cells, Computed, rounded
from spikeloom.published import Note, Published, PublishedTable

__all__ = ["Cell", "Reproduction", "compare_tables"]

_FORMS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "count": str,
    "patch": lambda value: "*".join(map(str, value)),
    "density": lambda value: str(rounded(value, 2)),
    "percent": lambda value: f"{rounded(100 * value, 0)}%",
    "share": lambda value: f"{rounded(100 * value, 2)}%",
    "ms": lambda value: str(rounded(value, 4)),
    "millijoule": lambda value: str(rounded(value, 4)),
    "whole": lambda value: str(rounded(value, 0, down=True)),
}
_WORDS = ("text", "patch")
_INSTEAD = ("misprint", "turned", "rounding")
_TOLD = {
    "equal": "equal",
    "misprint": "misprinted",
    "turned": "with width and height exchanged",
    "rounding": "rounded otherwise",
    "within": "within a bound",
    "ours": "measured with other weights",
    "open": "that need trained weights",
    "elsewhere": "of others",
    "differs": "that differ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a published table and what we make of it.

    Parameters
    ----------
    table : int
        Number of the table.
    row, column : str
        Where it is.
    published : str
        As printed.
    ours : str or None
        What the formula gives, printed the same way.
    formula : str
        Where ours comes from.
    verdict : str
        ``equal``; ``misprint``, ``turned``, ``rounding``: other, as the note says; ``within`` the bound of
        the note; ``ours``: measured with other weights; ``open``: needs weights; ``elsewhere``: of another
        machine; ``differs``.
    note : Note or None
        What is known of it.
    """

    table: int
    row: str
    column: str
    published: str
    ours: str | None
    formula: str
    verdict: str
    note: Note | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """All cells of the published tables of one system.

    Parameters
    ----------
    published : Published
        What was printed.
    cells : sequence of Cell
        By table, row and column.
    """

    published: Published
    cells: Sequence[Cell]

    @property
    def differing(self) -> list[Cell]:
        """Cells that should agree and do not."""
        return [cell for cell in self.cells if cell.verdict == "differs"]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many cells have each verdict."""
        counts = Counter(cell.verdict for cell in self.cells)
        return {verdict: counts[verdict] for verdict in _TOLD}

    @property
    def patches(self) -> tuple[int, int]:
        """Different rows of the tables of patches: those whose patches and extension are equal, and all."""
        rows: dict[tuple[int, str], list[Cell]] = {}
        for table in self.published.tables:
            if "patch" in table.forms:
                for cell in self.cells:
                    if cell.table == table.number and cell.column in ("name", "in", "out", "f"):
                        rows.setdefault((table.number, cell.row), []).append(cell)
        found: dict[tuple[str, ...], bool] = {}
        for (number, row), cells in rows.items():
            key = (str(number), row.partition(", ")[2], *(cell.published for cell in cells))
            equal = all(cell.verdict in ("equal", "turned") for cell in cells if cell.column != "name")
            found[key] = found.get(key, True) and equal
        return sum(found.values()), len(found)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as it is written to a file."""
        equal, distinct = self.patches
        return {
            "system": self.published.system,
            "source": dict(self.published.source),
            "verdicts": self.verdicts,
            "patches": {"equal": equal, "distinct": distinct},
            "cells": [
                {
                    "table": cell.table,
                    "row": cell.row,
                    "column": cell.column,
                    "published": cell.published,
                    "ours": cell.ours,
                    "formula": cell.formula,
                    "verdict": cell.verdict,
                    "reason": None if cell.note is None else cell.note.reason,
                }
                for cell in self.cells
            ],
        }

    def lines(self) -> Iterator[str]:
        """Give what is printed: two lines a row, the notes below their table, and the sum."""
        source = self.published.source
        yield f"{source['author']} ({source['year']}), {source['title']}, {source['journal']}"
        for table in self.published.tables:
            yield ""
            yield from self._table(table)
        yield ""
        told = ", ".join(f"{count} {_TOLD[verdict]}" for verdict, count in self.verdicts.items() if count)
        yield f"{len(self.cells)} cells: {told}."
        equal, distinct = self.patches
        yield f"Patches: {equal} of the {distinct} different rows of Tables 7 and 8."
        for cell in self.differing:
            yield (
                f"Differs: Table {cell.table}, {cell.row}, {cell.column}: article {cell.published}, "
                f"here {cell.ours or 'nothing'}."
            )

    def _table(self, table: PublishedTable) -> Iterator[str]:
        yield f"Table {table.number}. {table.title}"
        cells = {(cell.row, cell.column): cell for cell in self.cells if cell.table == table.number}
        notes = [note for note in self.published.notes if note.table == table.number]
        marks = {id(note): string.ascii_lowercase[index] for index, note in enumerate(notes)}
        rows = [[table.key, "", *table.columns]]
        for row, *_ in table.rows:
            line = [cells[row, column] for column in table.columns]
            rows.append([row, "here", *(f"{cell.ours or '-'}  " for cell in line)])
            rows.append(["", "article", *(f"{cell.published} {_mark(cell, marks)}" for cell in line)])
        yield from _aligned(rows)
        for note in notes:
            marked = [cell for cell in cells.values() if cell.note is note and cell.verdict != "equal"]
            if marked:
                yield f"{marks[id(note)]} {_said(note, marked)}"


def _said(note: Note, marked: Sequence[Cell]) -> str:
    """Return a note as a line; of cells that may be other, where ours come from."""
    verdicts = " or ".join(sorted({cell.verdict for cell in marked}))
    if note.kind not in ("bound", "weights"):
        return f"{verdicts}: {note.reason}."
    bound = f" {note.relative:.0%}" if note.kind == "bound" else ""
    formulas = "; ".join(dict.fromkeys(cell.formula for cell in marked if cell.formula))
    return f"{verdicts}{bound}: {note.reason}{'. Here: ' if formulas else ''}{formulas}."


def _mark(cell: Cell, marks: dict[int, str]) -> str:
    """Return the letter of a cell's note, an exclamation mark if it differs, a blank if it is equal."""
    if cell.verdict == "differs":
        return "!"
    return " " if cell.verdict == "equal" or cell.note is None else marks[id(cell.note)]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give rows with their columns one below the other, the first two from the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        parts = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield " ".join(parts).rstrip()


def compare_tables(published: Published, cells: Cells) -> Reproduction:
    """Compare what was computed, by table, row and column, with what was printed."""
    compared = [
        _compared(published, table, row, index, cells)
        for table in published.tables
        for row in table.rows
        for index in range(len(table.columns))
    ]
    return Reproduction(published=published, cells=compared)


def _compared(
    published: Published, table: PublishedTable, row: Sequence[str], index: int, cells: Cells
) -> Cell:
    """Return one cell."""
    name, column, form = row[0], table.columns[index], table.forms[index]
    note = published.note(table.number, name, column)
    computed = cells.get((table.number, name, column))
    ours = None if computed is None else _FORMS[form](computed.value)
    return Cell(
        table=table.number,
        row=name,
        column=column,
        published=row[index + 1],
        ours=ours,
        formula="" if computed is None else computed.formula,
        verdict=_verdict(row[index + 1], ours, form, computed, note),
        note=note,
    )


def _verdict(printed: str, ours: str | None, form: str, computed: Computed | None, note: Note | None) -> str:
    """Return what is to be said of a cell."""
    kind = "" if note is None else note.kind
    if computed is None or ours is None:
        return {"weights": "open", "elsewhere": "elsewhere"}.get(kind, "differs")
    if kind == "weights":
        return "ours"
    same = ours == printed if form in _WORDS else _number(ours) == _number(printed)
    if note is None or kind == "bound":
        if same:
            return "equal"
        if note is not None and abs(_number(ours) / _number(printed) - 1) <= note.relative:
            return "within"
        return "ours" if computed.own else "differs"
    return kind if kind in _INSTEAD and not same and ours == note.ours else "differs"


def _number(text: str) -> Decimal:
    return Decimal(text.removesuffix("%"))
