# SPDX-License-Identifier: Apache-2.0
"""Tables that never cut a name: what is too wide for a terminal is written one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as Grid
from rich.text import Text

__all__ = ["Table"]

_LINED, _APART = 3, 2
"""What margins and line of a cell take, and what parts cells without lines."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under named columns; `rich` prints it.

    Parameters
    ----------
    title : str
        A line above the table; none if it is empty.
    columns : sequence of str
        Names of the columns. The first one names the rows.
    rows : sequence of sequence of str
        One cell a column.
    text : sequence of str
        Columns that may be wrapped at spaces, written from the left. The first column is written from the
        left too and all others from the right; none of these is ever wrapped.
    by_column : bool
        Where the table is too wide, write a paragraph for every column instead of one for every row.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    text: Sequence[str] = ()
    by_column: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Give what fits the width of the terminal: a grid, one without lines, or paragraphs."""
        if self.title:
            yield Text(self.title, style="table.title")
        widths, cells = [self._column_width(i) for i in range(len(self.columns))], len(self.columns)
        if sum(widths) + _LINED * cells + 1 <= options.max_width:
            yield self._filled(Grid())
        elif sum(widths) + _APART * (cells - 1) <= options.max_width:
            yield self._filled(Grid(box=None, padding=(0, _APART, 0, 0), pad_edge=False))
        else:
            yield from map(Text, self._paragraphs())

    def _column_width(self, index: int) -> int:
        name = self.columns[index]
        cells = [name, *(row[index] for row in self.rows)]
        parts = [word for cell in cells for word in cell.split()] if name in self.text else cells
        return max(map(cell_len, parts), default=0)

    def _filled(self, grid: Grid) -> Grid:
        """Return a grid with the cells in it."""
        for index, name in enumerate(self.columns):
            wraps = name in self.text
            left = wraps or index == 0
            grid.add_column(
                Text(name), justify="left" if left else "right", no_wrap=not wraps, overflow="fold"
            )
        for row in self.rows:
            grid.add_row(*map(Text, row))
        return grid

    def _paragraphs(self) -> Iterator[str]:
        """Give the lines of the paragraphs; a terminal wraps what is still too long, and nothing is cut."""
        columns, rows = self.columns, self.rows
        if self.by_column:
            turned = list(zip(columns, *rows, strict=True))
            columns, rows = turned[0], turned[1:]
        for row in rows:
            if len(columns) == 2:
                yield f"{row[0]}: {row[1]}"
                continue
            yield row[0]
            yield from (f"  {name}: {cell}" for name, cell in zip(columns[1:], row[1:], strict=True))
