# SPDX-License-Identifier: Apache-2.0
"""Published values, misprints included: one file a system, read by the printer of a reproduction alone."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mapping.errors import MappingError

__all__ = ["SYSTEMS", "Note", "Published", "PublishedTable", "load_published"]

_FOLDER = Path(__file__).parent

SYSTEMS = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
"""Names of the systems whose published values are here."""

Kind = Literal["misprint", "turned", "rounding", "bound", "weights", "elsewhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """One table as it was printed.

    Parameters
    ----------
    number : int
        Its number.
    title : str
        What it shows.
    key : str
        What names its rows.
    columns, forms : sequence of str
        Names of the columns, and how each is printed (`docs/reference/reproduce.md`).
    rows : sequence of sequence of str
        Name of the row, then a cell a column.
    """

    number: int
    title: str
    key: str
    columns: Sequence[str]
    forms: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of some cells that no formula gives as they were printed.

    Parameters
    ----------
    table : int
        Number of the table.
    rows, columns : sequence of str
        The cells: every one of these rows in every one of these columns.
    kind : str
        ``misprint``, ``turned``, ``rounding``, ``bound``, ``weights`` or ``elsewhere``.
    reason : str
        Why, in words that follow a colon.
    ours : str
        What the formula gives instead: the first three kinds.
    relative : float
        Largest relative difference: ``bound``.
    """

    table: int
    rows: Sequence[str]
    columns: Sequence[str]
    kind: Kind
    reason: str
    ours: str = ""
    relative: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The tables of one article.

    Parameters
    ----------
    system : str
        Name of what the article describes.
    source : mapping
        Author, year, title and journal.
    tables : sequence of PublishedTable
        In the order of the article.
    notes : sequence of Note
        No cell has two.
    """

    system: str
    source: Mapping[str, Any]
    tables: Sequence[PublishedTable]
    notes: Sequence[Note]

    def note(self, table: int, row: str, column: str) -> Note | None:
        """Return what is known of a cell."""
        for note in self.notes:
            if note.table == table and row in note.rows and column in note.columns:
                return note
        return None


def load_published(system: str) -> Published:
    """Return the published tables of a system.

    Raises
    ------
    MappingError
        If there are none of this name.
    """
    if system not in SYSTEMS:
        raise MappingError(f"System must be {' or '.join(SYSTEMS)}, not {system[:100]!r}.")
    data = tomllib.loads((_FOLDER / f"{system}.toml").read_text(encoding="utf-8"))
    return Published(
        system=system,
        source=data["source"],
        tables=[PublishedTable(**table) for table in data["table"]],
        notes=[Note(**note) for note in data["note"]],
    )
