# SPDX-License-Identifier: Apache-2.0
"""Sums of terms of unlike scales, one of them a layer's: whole weights in a ratio near that of the scales.

Each term is whole numbers S_g times a unit u_g, which is real. A neuron weights S_g by m_g, so that a
potential stands for U = u_h / p times itself, where p = m_h is that of one term. What is left of the
others, (u_g - m_g U) S_g, has a middle, which joins the bias, and a reach around it, by which
sums are off at most. It is none where the scales are in a ratio of whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.ranges import Grid
from mapping.codes.int8.units import NEAR, Units, common_of
from mapping.codes.int8.weighing import MOST_SHIFT, Counted
from mapping.spiking.digits import MOST_DIGITS, largest_weight, strengths_of

__all__ = ["Near", "near_units"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FINENESS = (1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Most times that the weights of a layer are multiplied, the finest first."""

_MOST_OFF = 2.0**-9
"""Most steps of the output by which a sum may be off."""

_MOST_ROWS = 8
"""Rows of the crossbar that one weight may take beyond the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Near:
    """Whole weights, and by how many steps of the output their sums may be off."""

    units: Units
    off: float


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """Whole weights (rows, n), their unit, least and largest sum, each (rows,), and how deep it is."""

    weight: Ints
    unit: Floats
    low: Floats
    high: Floats
    depth: int

    @property
    def width(self) -> Floats:
        return self.high - self.low


def near_units(
    effective: Sequence[Floats], bias: Floats, read: Sequence[Counted], grid: Grid, spec: CoreSpec
) -> Iterator[Near]:
    """Yield whole weights that are near real ones, the nearest first; none if terms are no whole numbers.

    Parameters
    ----------
    effective : sequence of float64 (rows, n)
        Weights of each term, times the scale of what it reads.
    bias : float64 (rows, pixels)
        What is added.
    read : sequence of Counted
        What each term reads.
    grid, spec : Grid, CoreSpec
        Of the output, in the values that are rounded, and the core.
    """
    terms = [_term(values, own) for values, own in zip(effective, read, strict=True)]
    known = [term for term in terms if term is not None]
    if len(known) < len(terms) or (bias != bias[:, :1]).any() or not any(map(_adds, known)):
        return
    last = 0
    for finest in _FINENESS:
        near = _near(known, bias, finest, grid, spec)
        size = 0 if near is None else max(int(np.abs(weight).max()) for weight in near.units.weights)
        if near is not None and near.off <= _MOST_OFF and size != last:
            last = size
            yield near


def _term(effective: Floats, read: Counted) -> _Term | None:
    unit = common_of(effective)
    if unit is None:
        return None
    weight = np.rint(effective / unit[:, None]).astype(np.int64)
    up, down = np.where(weight > 0, weight, 0).sum(axis=1), np.where(weight < 0, weight, 0).sum(axis=1)
    least, most = read.grid.low - read.grid.zero, read.grid.high - read.grid.zero
    ends = up * least + down * most, up * most + down * least
    low, high = (sums.astype(np.float64) for sums in ends)
    return _Term(weight, unit, low, high, read.depth)


def _adds(term: _Term) -> bool:
    """Tell whether a term sums weighted inputs, and is no activation alone."""
    return bool(((term.weight != 0).sum(axis=1) > 1).any())


def _near(terms: Sequence[_Term], bias: Floats, finest: int, grid: Grid, spec: CoreSpec) -> Near | None:
    """Return the nearest weights, in each row one term being multiplied by up to so much."""
    unit = np.concatenate([term.unit[:, None] / np.arange(1, finest + 1) for term in terms], axis=1)
    factors = [np.rint(term.unit[:, None] / unit) for term in terms]
    off = sum(_left(term, unit * m) * term.width[:, None] / 2 for term, m in zip(terms, factors, strict=True))
    digits = strengths_of(min(spec.strengths, MOST_DIGITS))
    largest = (largest_weight(digits) * _MOST_ROWS) << MOST_SHIFT
    for term, m in zip(terms, factors, strict=True):
        off = np.where(m * np.abs(term.weight).max(axis=1, initial=0)[:, None] > largest, np.inf, off)
    centre, most = _held(terms, bias[:, 0], grid)
    off = np.where(most[:, None] / unit > spec.potential_max, np.inf, off)
    best = np.argmin(off, axis=1)[:, None]
    if np.isinf(np.take_along_axis(off, best, 1)).any():
        return None

    def chosen(values: Floats) -> Floats:
        return np.take_along_axis(values, best, axis=1)[:, 0]

    sizes = [chosen(m) for m in factors]
    middle = sum(
        (term.unit - m * chosen(unit)) * (term.low + term.high) / 2
        for term, m in zip(terms, sizes, strict=True)
    )
    moved = np.rint(centre / chosen(unit))
    units = Units(
        weights=[term.weight * m.astype(np.int64)[:, None] for term, m in zip(terms, sizes, strict=True)],
        unit=chosen(unit),
        bias=bias[:, 0] + middle + chosen(unit) * moved,
        extra=np.repeat(-moved, bias.shape[1]).astype(np.int64),
    )
    return Near(units=units, off=float(chosen(off).max()) / grid.scale)


def _held(terms: Sequence[_Term], bias: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """Return the middle of the edges of counts that sums reach, and what a potential must hold around it.

    These are the edges, and the sums of terms that arrive before the last.
    """
    low, high = _between(terms)
    edges = [(end - grid.zero) * grid.scale - bias for end in (grid.low, grid.high)]
    first, last = np.clip(edges[0], low, high), np.clip(edges[1], low, high)
    centre, most = (first + last) / 2, (last - first) / 2
    early = [term for term in terms if term.depth < max(other.depth for other in terms)]
    for sums in _between(early):
        most = np.maximum(most, np.abs(sums - centre))
    return centre, np.maximum(most, np.abs(centre))


def _between(terms: Sequence[_Term]) -> tuple[Floats, Floats]:
    """Return the least and the largest value of a sum of terms, without bias."""
    low = high = np.zeros(1)
    for term in terms:
        low, high = low + term.unit * term.low, high + term.unit * term.high
    return np.asarray(low), np.asarray(high)


def _left(term: _Term, size: Floats) -> Floats:
    """Return by what the sizes (rows, n) of weights miss the unit of a term; nothing where roundings do."""
    missed = np.abs(term.unit[:, None] - size)
    return np.where(missed <= NEAR * term.unit[:, None], 0.0, missed)
