# SPDX-License-Identifier: Apache-2.0
"""Scales of activations: the step of a count, and the counts that stand for the values seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.spiking.quantisers import least_count

__all__ = ["Grid", "best_grid", "input_grid", "output_grid", "own_step"]

Reals = NDArray[np.floating]

_SAMPLE = 1 << 18
"""Values that a search of a scale looks at."""

_CANDIDATES = 64
"""Scales tried between half and all of the largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The values (count - zero) times ``scale`` of counts ``low`` .. ``high``.

    ``gains`` (rows,), if there are any, multiply the scale of each row: its step. A count is the sum of those
    of ``parts`` neurons.
    """

    scale: float
    low: int
    high: int
    zero: int = 0
    gains: NDArray[np.float64] | None = None
    parts: int = 1

    def finer(self, parts: int) -> Grid:
        """Return the grid of counts that are so many times as fine and as many, each of as many neurons."""
        return replace(
            self,
            scale=self.scale / parts,
            low=self.low * parts,
            high=self.high * parts,
            zero=self.zero * parts,
            parts=parts,
        )

    def counts(self, values: Reals) -> NDArray[np.int32]:
        """Return the nearest counts of values, by one step for all rows."""
        return np.asarray(np.clip(np.rint(values / self.scale) + self.zero, self.low, self.high), np.int32)

    def values(self, counts: NDArray[np.integer]) -> Reals:
        """Return the values that counts stand for, by one step for all rows."""
        return np.asarray((counts - self.zero) * self.scale)

    def steps(self, rows: int) -> NDArray[np.float64]:
        """Return the step of every row, float64 (rows,)."""
        return np.full(rows, self.scale) * (1.0 if self.gains is None else self.gains)


def _thinned(values: Reals, seed: int) -> Reals:
    flat = values.reshape(-1)
    if flat.size <= _SAMPLE:
        return flat.astype(np.float64)
    return np.random.default_rng(seed).choice(flat, _SAMPLE, replace=False).astype(np.float64)


def best_grid(values: Reals, *, bits: int, signed: bool, offset: bool, seed: int, clip: bool = True) -> Grid:
    """Return the grid with the least squared error on some values.

    Parameters
    ----------
    values : array
        What an activation was on calibration samples.
    bits : int
        Bits of a count, beside its sign.
    signed : bool
        Whether values may be negative.
    offset : bool
        Count negative values from zero up, as max-pools need it, instead of below zero.
    seed : int
        Of the values looked at, if there are many.
    clip : bool
        Also try scales that clip the largest values.
    """
    sample = _thinned(values, seed)
    least, most = float(sample.min(initial=0.0)), float(sample.max(initial=0.0))
    least = min(float(values.min(initial=0.0)), least) if signed else 0.0
    most = max(float(values.max(initial=0.0)), most, 0.0)
    levels = (1 << bits) - 1
    best: tuple[float, Grid] | None = None
    for share in np.linspace(1.0, 0.4, _CANDIDATES) if clip else (1.0,):
        grid = _grid(least * share, most * share, levels, signed=signed, offset=offset)
        error = float(np.square(grid.values(grid.counts(sample)) - sample).mean())
        if best is None or error < best[0]:
            best = (error, grid)
    assert best is not None  # noqa: S101
    return best[1]


def _grid(least: float, most: float, levels: int, *, signed: bool, offset: bool) -> Grid:
    if not signed:
        return Grid(scale=_step(most, levels), low=0, high=levels)
    if offset:
        scale = _step(most - least, levels)
        return Grid(scale=scale, low=0, high=levels, zero=min(levels, round(-least / scale)))
    return Grid(scale=_step(max(most, -least), levels), low=-levels, high=levels)


def output_grid(values: Reals, spec: CoreSpec, *, below_zero: bool) -> Grid:
    """Return the grid of what leaves the chip: it holds all values and some room around them.

    It has all counts of the core, the negative ones only with ``below_zero``; that of zero may be any.
    """
    least, most = float(values.min()), float(values.max())
    room = _ROOM * (most - least)
    low, high = least_count(spec) if below_zero else 0, spec.payload_max
    scale = _step(most - least + 2 * room, high - low)
    return Grid(scale=scale, low=low, high=high, zero=low - round((least - room) / scale))


_ROOM = 0.04
"""Share of the values seen by which a grid of outputs is wider at either end."""


def _step(reach: float, levels: int) -> float:
    return reach / levels if reach > 0 else 1.0


def own_step(values: Reals, most: int, *, bits: int = 8) -> float | None:
    """Return the step of values that are bytes, byte shares or sixteenths, of counts that a payload has."""
    levels = min((1 << bits) - 1, most)
    if float(values.min(initial=0.0)) < 0:
        return None
    for scale in (1.0, 1 / 255, 1 / 16, 1 / 15):
        steps = values / scale
        if steps.max(initial=0.0) <= levels + 1e-3 and np.abs(steps - np.rint(steps)).max(initial=0.0) < 1e-3:
            return scale
    return None


def input_grid(values: Reals, *, most: int, bits: int = 8) -> Grid:
    """Return the grid of what enters the chip: the values' own steps where they are bytes or byte shares.

    Values of both signs use all counts that a payload has, -most .. most.
    """
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    levels = min((1 << bits) - 1, most)
    if low >= 0:
        scale = own_step(values, most, bits=bits) or _step(high, levels)
        return Grid(scale=scale, low=0, high=levels)
    return Grid(scale=_step(max(high, -low), most), low=-most, high=most)
