# SPDX-License-Identifier: Apache-2.0
"""The words of a memory as a table: one row a word, one column for each field of `emu.words.TABLES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emu.words import TABLES, Section

__all__ = ["column", "columns_of", "table_of"]


def column(section: Section, name: str) -> int:
    """Return the column of a field in a section's table.

    >>> column(Section.FANOUT, "last")
    5
    """
    return [c.name for c in TABLES[section]].index(name)


def columns_of(section: Section, table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a section's table, shape (words, fields), by field name."""
    return {c.name: table[:, i] for i, c in enumerate(TABLES[section])}


def table_of(section: Section, columns: Mapping[str, ArrayLike]) -> NDArray[np.int32]:
    """Return the table of a section, shape (words, fields); a field that is not named is 0.

    >>> table_of(Section.FANOUT, {"x0": [1, 3], "axon": [7, 8]}).tolist()
    [[1, 0, 0, 0, 7, 0], [3, 0, 0, 0, 8, 0]]
    """
    words = len(np.asarray(next(iter(columns.values()))))
    table = np.zeros((words, len(TABLES[section])), np.int32)
    for name, values in columns.items():
        table[:, column(section, name)] = values
    return table
