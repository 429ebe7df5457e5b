# SPDX-License-Identifier: Apache-2.0
"""How a neuron counts: a list of thresholds, or a ladder (`docs/reference/machine.md`, "Quantisers")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from emu.words import COUNT_BITS

__all__ = [
    "ALWAYS",
    "LADDER_FIELDS",
    "NEVER",
    "Ladders",
    "Lists",
    "Mixed",
    "OfOneKind",
    "Quantiser",
    "between",
    "least_count",
    "of_rows",
]

NEVER = 2**40
"""A threshold no sum reaches; an emitter clamps it to the largest threshold of its hardware."""

ALWAYS = -(2**40)
"""A threshold every sum reaches."""

LADDER_FIELDS = ("first", "step", "offset", "ties")
"""Columns of `Ladders.words`: theta_0, a, b and ties."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lists:
    """A list of thresholds a row: the count is how many of them the potential has reached.

    Parameters
    ----------
    thresholds : int64 (rows, levels)
        Non-decreasing along the levels; `NEVER` and `ALWAYS` stand for thresholds outside the reachable
        potentials.
    """

    thresholds: Ints

    def __post_init__(self) -> None:
        self.thresholds.flags.writeable = False

    @property
    def rows(self) -> int:
        """Rows: output channels or features."""
        return len(self.thresholds)

    def counts(self, potentials: Ints, low: int, high: int) -> Ints:
        """Return the counts of potentials (n, rows, m), within ``low`` .. ``high``; a list has low = 0."""
        self.edges(low, high)
        if high <= _FEW:
            counts = np.zeros(potentials.shape, np.int64)
            for steps in self.thresholds.T:
                counts += potentials >= steps[:, None]
            return counts
        counts = np.empty(potentials.shape, np.int64)
        for row, steps in enumerate(self.thresholds):
            counts[:, row] = np.searchsorted(steps, potentials[:, row], side="right")
        return counts

    def edges(self, low: int, high: int) -> Ints:
        """Return the least potential of each count above ``low``, int64 (rows, high - low)."""
        if (low, high) != (0, self.thresholds.shape[1]):
            most = self.thresholds.shape[1]
            raise ValueError(f"Range of a list of {most} thresholds must be 0..{most}, not {low}..{high}.")
        return self.thresholds


_FEW = 16
"""Thresholds up to which comparing with each is faster than searching."""


def least_count(spec: CoreSpec) -> int:
    """Return the least count of a signed ladder: a payload of which ``threshold_first`` holds the size."""
    return max(spec.payload_min, 1 - (1 << COUNT_BITS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ladders:
    """A ladder a row: thresholds T_j = first + ((j step + offset + ties (j odd) 2^P) >> 2 P).

    Parameters
    ----------
    words : int64 (rows, 4)
        Columns `LADDER_FIELDS`; step is above 0.
    payload_bits : int
        P of the core that they are for.
    """

    words: Ints
    payload_bits: int

    def __post_init__(self) -> None:
        self.words.flags.writeable = False

    @property
    def rows(self) -> int:
        """Rows: output channels or features."""
        return len(self.words)

    def counts(self, potentials: Ints, low: int, high: int) -> Ints:
        """Return the counts of potentials (n, rows, m), within ``low`` .. ``high``.

        >>> ladder = Ladders(words=np.array([[2, 2 << 8, 0, 0]]), payload_bits=4)  # T_j = 2 + 2 j
        >>> ladder.counts(np.arange(8)[:, None, None], -1, 2).reshape(-1).tolist()
        [-1, -1, 0, 0, 1, 1, 2, 2]
        """
        # What is counted on lists alone needs no compiler, which takes a while to be loaded.
        from mapping.spiking.ladder_counts import count_ladders

        counts = np.empty(potentials.shape, np.int64)
        values = np.ascontiguousarray(potentials, np.int64)
        count_ladders(values, self.words, self.payload_bits, (low, high), counts)
        return counts

    def edges(self, low: int, high: int) -> Ints:
        """Return the least potential of each count above ``low``, int64 (rows, high - low)."""
        j = np.arange(low + 1, high + 1, dtype=np.int64)
        first, step, offset, ties = (column[:, None] for column in self.words.T)
        even = ties * (j & 1) << self.payload_bits
        return np.asarray(first + ((j * step + offset + even) >> 2 * self.payload_bits), np.int64)


OfOneKind = Lists | Ladders
"""What a core compares with: lists, or ladders."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixed:
    """A list for some rows and a ladder for the others; a core has rows of one kind.

    Parameters
    ----------
    listed : bool (rows,)
        Which rows have a list.
    lists : Lists
        Of these rows, in their order.
    ladders : Ladders
        Of the others, in their order.
    """

    listed: NDArray[np.bool_]
    lists: Lists
    ladders: Ladders

    def __post_init__(self) -> None:
        self.listed.flags.writeable = False
        if (self.lists.rows, self.ladders.rows) != (self.listed.sum(), (~self.listed).sum()):
            raise ValueError(
                f"listed must be true for {self.lists.rows} rows and false for {self.ladders.rows}, not for "
                f"{self.listed.sum()} of {len(self.listed)}"
            )

    @property
    def rows(self) -> int:
        """Rows: output channels or features."""
        return len(self.listed)

    def counts(self, potentials: Ints, low: int, high: int) -> Ints:
        """Return the counts of potentials (n, rows, m), within ``low`` .. ``high``; with lists low = 0."""
        counts = np.empty(potentials.shape, np.int64)
        counts[:, self.listed] = self.lists.counts(potentials[:, self.listed], low, high)
        counts[:, ~self.listed] = self.ladders.counts(potentials[:, ~self.listed], low, high)
        return counts

    def edges(self, low: int, high: int) -> Ints:
        """Return the least potential of each count above ``low``, int64 (rows, high - low)."""
        edges = np.empty((self.rows, high - low), np.int64)
        edges[self.listed] = self.lists.edges(low, high)
        edges[~self.listed] = self.ladders.edges(low, high)
        return edges


Quantiser = OfOneKind | Mixed


def of_rows(quantiser: Quantiser, rows: Ints) -> OfOneKind:
    """Return the quantiser of some rows, which must be of one kind.

    Raises
    ------
    ValueError
        If they are not.
    """
    if isinstance(quantiser, Lists):
        return Lists(thresholds=quantiser.thresholds[rows])
    if isinstance(quantiser, Ladders):
        return Ladders(words=quantiser.words[rows], payload_bits=quantiser.payload_bits)
    listed = quantiser.listed[rows]
    if listed.any() != listed.all():
        raise ValueError(f"rows must be of one kind, not {listed.sum()} of {len(listed)} with lists")
    kind = quantiser.listed == listed[0]
    place = (np.cumsum(kind) - 1)[rows]
    return of_rows(quantiser.lists if listed[0] else quantiser.ladders, place)


def between(quantiser: Quantiser, begin: int, end: int) -> Quantiser:
    """Return the quantiser of the rows from ``begin`` up to ``end``, of whatever kinds they are."""
    rows = np.arange(begin, end)
    if not isinstance(quantiser, Mixed):
        return of_rows(quantiser, rows)
    listed = quantiser.listed[begin:end]
    if listed.all() or not listed.any():
        return of_rows(quantiser, rows)
    lists, ladders = of_rows(quantiser, rows[listed]), of_rows(quantiser, rows[~listed])
    if not isinstance(lists, Lists) or not isinstance(ladders, Ladders):
        raise TypeError("listed rows must have lists and the others ladders")
    return Mixed(listed=listed.copy(), lists=lists, ladders=ladders)
