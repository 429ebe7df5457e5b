# SPDX-License-Identifier: Apache-2.0
"""Make a layer of whole weights and of bounds of its thresholds: its sources, its digits, its quantiser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.forms import Convolved, Matrix, Picked
from mapping.codes.graded.layers import whole_sums
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.walk import Point
from mapping.codes.int8.units import WIDEST
from mapping.codes.ladders import find_ladder_between
from mapping.spiking.digits import INT8, MOST_DIGITS, largest_weight, strengths_of
from mapping.spiking.network import Source, SpikingLayer
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders, Lists, Mixed, Quantiser

__all__ = [
    "MOST_SHIFT",
    "Counted",
    "Weighed",
    "digits_for",
    "effective_of",
    "layer_from",
    "reach_of",
    "sources_of",
    "terms_of",
    "zeros_of",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_SHIFT = 7
"""Bits by which a row of the crossbar may be shifted."""

_DENSEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """An activation as the chip sends it: the name of its layer, its grid, and after how many layers."""

    name: str
    grid: Grid
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighed:
    """Sources of a layer, what its neurons add, digits, and the bounds of thresholds (rows, counts).

    ``near`` is by how many steps of its output its sums may be off.
    """

    sources: tuple[Source, ...]
    extra: Ints
    strengths: tuple[int, ...]
    bounds: tuple[Ints, Ints]
    near: float = 0.0


def terms_of(point: Point) -> list[Convolved | Matrix]:
    """Return the terms of a form as matrices, or as convolutions if it is a map."""
    if len(point.form.shape) == 3:
        return [term.convolution() if isinstance(term, Picked) else term for term in point.form.terms]
    return [term.matrix() for term in point.form.terms]


def effective_of(term: Convolved | Matrix, scale: float) -> Floats:
    """Return the weights (rows, n) of a term times the scale of what it reads."""
    weight = term.dense() if isinstance(term, Matrix) else term.weight
    return np.asarray(weight.reshape(len(weight), -1) * scale)


def digits_for(weights: Sequence[Ints], spec: CoreSpec) -> tuple[int, ...]:
    """Return the fewest digits that hold all weights; of larger ones a row of the crossbar holds a part."""
    largest = max((int(np.abs(weight).max(initial=0)) for weight in weights), default=0)
    for digits in range(1, _DENSEST + 1):
        if largest <= largest_weight(strengths_of(digits)):
            return strengths_of(digits)
    return INT8 if largest <= WIDEST else strengths_of(min(spec.strengths, MOST_DIGITS))


def sources_of(
    term: Convolved | Matrix, weight: Ints, read: Counted, strengths: tuple[int, ...]
) -> list[Source]:
    """Return the sources of a term; a weight beyond its digits is a sum of several, all but one shifted."""
    grid, most = read.grid, largest_weight(strengths)
    if np.abs(weight).max(initial=0) <= most:
        return [term.source(weight, grid.low, grid.high, 0, read.name)]
    shift, above = next(found for found in _shifted(weight) if _holds(*found, most))
    parts = -(-int(np.abs(above).max()) // most)
    return [
        term.source(weight - (above << shift), grid.low, grid.high, 0, read.name),
        *(
            term.source((above + part) // parts, grid.low, grid.high, shift, read.name)
            for part in range(parts)
        ),
    ]


def _shifted(weight: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield shifts and what of weights is shifted by them, the rest being half a step at most."""
    for shift in range(1, MOST_SHIFT + 1):
        yield shift, (weight + (1 << shift - 1)) >> shift


def _holds(shift: int, above: Ints, most: int) -> bool:
    """Tell whether digits hold what is shifted, or whether no larger shift is left."""
    return shift == MOST_SHIFT or int(np.abs(above).max()) <= most


def zeros_of(sources: Sequence[Source], sent: Mapping[str, Counted], point: Point) -> Ints:
    """Return what the zeros of counts that are sent from zero up add to every potential."""
    zero = {read.name: read.grid.zero for read in sent.values()}
    total = np.zeros(math.prod(point.form.shape), np.int64)
    for source in sources:
        if zero[source.name]:
            total += zero[source.name] * whole_sums(source, point.form.shape)
    return total


def reach_of(sources: Sequence[Source], extra: Ints, rows: int) -> tuple[Ints, Ints]:
    """Return the least and the largest potential of each row."""
    low, high = extra.reshape(rows, -1).min(axis=1), extra.reshape(rows, -1).max(axis=1)
    for source in sources:
        down, up = source.reach()
        low, high = low + down, high + up
    return low, high


def layer_from(point: Point, weighed: Weighed, grid: Grid, spec: CoreSpec) -> SpikingLayer:
    """Return the layer with ladders, and with lists for rows that have none."""
    quantiser: Quantiser | None = _ladders(weighed.bounds, grid, spec) if spec.ladder else None
    if not isinstance(quantiser, Ladders):
        grid = Grid(scale=grid.scale, low=0, high=grid.high - grid.low, zero=grid.zero - grid.low)
        reach = reach_of(weighed.sources, weighed.extra, point.form.shape[0])
        quantiser = _mixed(weighed.bounds, grid, spec, reach)
    return SpikingLayer(
        name=point.name,
        sources=weighed.sources,
        output_shape=point.form.shape,
        quantiser=quantiser,
        strengths=weighed.strengths,
        bias=weighed.extra if weighed.extra.any() else None,
        low=grid.low,
        levels=grid.high,
        activation=point.tensor,
        scale=grid.scale,
        zero=grid.zero,
        near=weighed.near,
    )


def _lists(bounds: tuple[Ints, Ints], reach: tuple[Ints, Ints]) -> Lists:
    """Return the thresholds of each row, each the highest that it may be."""
    (least, most), (low, high) = bounds, reach
    thresholds = np.where(most <= low[:, None], ALWAYS, np.where(least > high[:, None], NEVER, most))
    return Lists(thresholds=thresholds)


def _ladders(bounds: tuple[Ints, Ints], grid: Grid, spec: CoreSpec) -> Ladders | None:
    """Return a ladder for each row, or None if a row has none."""
    words, listed = _words(bounds, grid.low, spec.payload_bits)
    return None if listed.any() else Ladders(words=words, payload_bits=spec.payload_bits)


def _mixed(bounds: tuple[Ints, Ints], grid: Grid, spec: CoreSpec, reach: tuple[Ints, Ints]) -> Quantiser:
    """Return ladders for the rows that have one and lists for the others, counts from zero up."""
    lists = _lists(bounds, reach)
    if not spec.ladder:
        return lists
    words, listed = _words(bounds, grid.low, spec.payload_bits)
    if listed.all():
        return lists
    ladders = Ladders(words=words[~listed], payload_bits=spec.payload_bits)
    if not listed.any():
        return ladders
    return Mixed(listed=listed, lists=Lists(thresholds=lists.thresholds[listed]), ladders=ladders)


def _words(bounds: tuple[Ints, Ints], low: int, payload_bits: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the ladder of each row (rows, 4) and which rows have none; equal rows are looked at once."""
    both = np.concatenate(bounds, axis=1)
    rows, which = np.unique(both, axis=0, return_inverse=True)
    words, none = np.zeros((len(rows), 4), np.int64), np.zeros(len(rows), np.bool_)
    for index, row in enumerate(rows):
        least, most = np.split(row, 2)
        found = find_ladder_between(least, most, low, payload_bits)
        none[index] = found is None
        if found is not None:
            words[index] = found.first, found.step, found.offset, found.ties
    at = which.reshape(-1)
    return words[at], none[at]
