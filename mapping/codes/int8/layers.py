# SPDX-License-Identifier: Apache-2.0
"""Make a layer that has every count of an integer activation, or say why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.forms import Convolved, Matrix, Picked
from mapping.codes.graded.layers import whole_sums
from mapping.codes.graded.ranges import Grid, output_grid
from mapping.codes.graded.walk import Point
from mapping.codes.int8.pairs import MOST, Pair, near_half, weigh
from mapping.codes.int8.rising import FALLS, falls_behind, falls_somewhere
from mapping.codes.int8.units import Units, units_of
from mapping.codes.ladders import find_ladder_between
from mapping.codes.obstacles import Obstacle
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS, apply_elementwise, rises
from mapping.spiking.digits import INT8, largest_weight, strengths_of
from mapping.spiking.network import Source, SpikingLayer
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders, Lists, Mixed, Quantiser

__all__ = ["QUANTISERS", "Counted", "grid_of", "is_real", "layer_of", "output_counts"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUANTISERS = frozenset({"AddIntegers", "Quantise", "Requantise", "ToInteger"})
"""Operations that give integers times one scale."""

_UNLIKE = Obstacle(
    reason="the scales of what it adds are in no ratio of small whole numbers",
    remedy="quantise what it adds with one scale",
)
"""What keeps a sum of several activations off the chip."""

_SPLIT = 7
_DENSEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """An activation as the chip sends it: the name of its layer, and its grid."""

    name: str
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weighed:
    """Sources of a layer, what its neurons add, digits, and the bounds of thresholds (rows, counts)."""

    sources: tuple[Source, ...]
    extra: Ints
    strengths: tuple[int, ...]
    bounds: tuple[Ints, Ints]


def grid_of(node: Node) -> Grid | None:
    """Return the grid of what a quantiser gives, or None if its values are no counts times one scale."""
    low, high = node.number("low"), node.number("high")
    if node.op != "Quantise":
        return Grid(scale=1.0, low=int(low), high=int(high))
    scale, zero = node.constants["scale"], node.constants["zero_point"]
    if scale.size != 1 or zero.size != 1 or float(zero.reshape(-1)[0]) % 1:
        return None
    shift = int(zero.reshape(-1)[0])
    return Grid(scale=float(scale.reshape(-1)[0]), low=int(low) - shift, high=int(high) - shift)


def is_real(point: Point) -> bool:
    """Tell whether an activation is not quantised."""
    return not any(node.op in QUANTISERS for node in point.functions)


def output_counts(values: NDArray[np.floating], spec: CoreSpec) -> Grid:
    """Return the grid of an output that is not quantised, for the values that it had on samples."""
    below_zero = spec.ladder and spec.signed_ladder
    return output_grid(values, spec, below_zero=below_zero)


def layer_of(
    point: Point, sent: Mapping[str, Counted], spec: CoreSpec, rounded: Grid | None = None
) -> SpikingLayer | Obstacle:
    """Return the layer of an activation, equal to it on every input, or what keeps it off the chip.

    With ``rounded`` its counts are the nearest to its real values on this grid.
    """
    grid = _output(point, spec) if rounded is None else rounded
    if isinstance(grid, Obstacle):
        return grid
    if point.functions and len(point.functions[0].inputs) > 1:
        return _pair_layer(point, sent, grid, spec)
    terms = _terms(point)
    effective = [_effective(term, sent[term.read.tensor].grid.scale) for term in terms]
    units = units_of(effective, point.form.biases().reshape(len(effective[0]), -1))
    if isinstance(units, Obstacle):
        if _is_pair(point):
            return _pair_layer(point, sent, grid, spec)
        return units if len(terms) == 1 else _UNLIKE
    strengths = _strengths(units.weights)
    sources = [
        source
        for term, weight in zip(terms, units.weights, strict=True)
        for source in _sources(term, weight, sent[term.read.tensor], strengths)
    ]
    extra = units.extra - _zeros(sources, sent, point)
    reach = _reach(sources, extra, len(units.unit))
    least = _thresholds(point, units, grid, reach)
    if _falls(point, units, grid, reach, least):
        return FALLS
    weighed = _Weighed(sources=tuple(sources), extra=extra, strengths=strengths, bounds=_bounds(least, reach))
    return _layer(point, weighed, grid, spec)


def _output(point: Point, spec: CoreSpec) -> Grid | Obstacle:
    """Return the grid of an activation, from zero up where it is pooled."""
    last = next((n for n in reversed(range(len(point.functions))) if _quantises(point, n)), None)
    grid = None if last is None else grid_of(point.functions[last])
    if last is None or grid is None or any(n.op not in ("Clip", "Relu") for n in point.functions[last + 1 :]):
        return Obstacle(
            reason="its output is not quantised by one scale",
            remedy="write QuantizeLinear and DequantizeLinear behind it",
        )
    low, high = grid.low, grid.high
    for node in point.functions[last + 1 :]:
        if node.op == "Relu":
            low = max(low, 0)
        else:
            ends = [np.clip(node.number(key) / grid.scale, low, high) for key in ("low", "high")]
            low, high = round(ends[0]), round(ends[1])
    if not low <= 0 <= high or low == high:
        return Obstacle(reason="its counts do not hold zero", remedy="quantise it with its zero point inside")
    below = spec.ladder and spec.signed_ladder and not point.pooled
    zero = 0 if below or low >= 0 else -low
    return Grid(scale=grid.scale, low=low + zero, high=high + zero, zero=zero)


def _quantises(point: Point, index: int) -> bool:
    return point.functions[index].op in QUANTISERS


def _terms(point: Point) -> list[Convolved | Matrix]:
    """Return the terms of a form as matrices, or as convolutions if it is a map."""
    if len(point.form.shape) == 3:
        return [term.convolution() if isinstance(term, Picked) else term for term in point.form.terms]
    return [term.matrix() for term in point.form.terms]


def _effective(term: Convolved | Matrix, scale: float) -> Floats:
    weight = term.dense() if isinstance(term, Matrix) else term.weight
    return np.asarray(weight.reshape(len(weight), -1) * scale)


def _strengths(weights: Sequence[Ints]) -> tuple[int, ...]:
    """Return the fewest digits that hold all weights; of larger ones a row of the crossbar holds a part."""
    largest = max((int(np.abs(weight).max(initial=0)) for weight in weights), default=0)
    for digits in range(1, _DENSEST + 1):
        if largest <= largest_weight(strengths_of(digits)):
            return strengths_of(digits)
    return INT8


def _sources(
    term: Convolved | Matrix, weight: Ints, read: Counted, strengths: tuple[int, ...]
) -> list[Source]:
    """Return the sources of a term; a weight beyond its digits is written as two, one of them shifted."""
    grid = read.grid
    if np.abs(weight).max(initial=0) <= largest_weight(strengths):
        return [term.source(weight, grid.low, grid.high, 0, read.name)]
    above = (weight + (1 << _SPLIT - 1)) >> _SPLIT
    return [
        term.source(weight - (above << _SPLIT), grid.low, grid.high, 0, read.name),
        term.source(above, grid.low, grid.high, _SPLIT, read.name),
    ]


def _zeros(sources: Sequence[Source], sent: Mapping[str, Counted], point: Point) -> Ints:
    """Return what the zeros of counts that are sent from zero up add to every potential."""
    zero = {read.name: read.grid.zero for read in sent.values()}
    total = np.zeros(math.prod(point.form.shape), np.int64)
    for source in sources:
        if zero[source.name]:
            total += zero[source.name] * whole_sums(source, point.form.shape)
    return total


def _reach(sources: Sequence[Source], extra: Ints, rows: int) -> tuple[Ints, Ints]:
    """Return the least and the largest potential of each row."""
    low, high = extra.reshape(rows, -1).min(axis=1), extra.reshape(rows, -1).max(axis=1)
    for source in sources:
        down, up = source.reach()
        low, high = low + down, high + up
    return low, high


def _thresholds(point: Point, units: Units, grid: Grid, reach: tuple[Ints, Ints]) -> Ints:
    """Return for each row the least potential at which the network's own arithmetic reaches each count.

    It is the lowest potential for counts that all reach, and one above the highest for those that none does.
    """
    low, high = reach
    counts = np.arange(grid.low + 1, grid.high + 1)
    below = np.repeat(low[:, None], len(counts), axis=1)
    above = np.repeat(high[:, None] + 1, len(counts), axis=1)
    while (below < above).any():
        middle = (below + above) // 2
        reached = _counts(point, units, grid, middle) >= counts
        open_ = below < above
        above, below = np.where(open_ & reached, middle, above), np.where(open_ & ~reached, middle + 1, below)
    return np.asarray(below)


def _counts(point: Point, units: Units, grid: Grid, potentials: Ints) -> Ints:
    """Return the counts of potentials (rows, n), as the network computes them."""
    values = _applied(point.functions, units, potentials)
    return np.asarray(np.rint(values / grid.scale).astype(np.int64) + grid.zero)


def _applied(functions: Sequence[Node], units: Units, potentials: Ints) -> NDArray[np.floating]:
    """Return what functions make of the values of potentials (rows, n)."""
    values: NDArray[np.floating] = units.unit[:, None] * potentials + units.bias[:, None]
    for node in functions:
        values = apply_elementwise(node, values, axis=0)
    return values


def _falls(point: Point, units: Units, grid: Grid, reach: tuple[Ints, Ints], least: Ints) -> bool:
    """Tell whether the counts of an activation fall somewhere."""
    at = next((n + 1 for n in range(len(point.functions)) if _quantises(point, n)), 0)
    before, behind = point.functions[:at], point.functions[at:]
    held = grid_of(before[-1]) if at and all(map(rises, before)) else None
    if held is None:
        return falls_somewhere(lambda potentials: _counts(point, units, grid, potentials), reach, least)
    ends = [_applied(before, units, end[:, None])[:, 0] / held.scale for end in reach]
    first, last = (np.rint(end).astype(np.int64) for end in ends)
    return falls_behind(behind, held.scale, first, last)


def _bounds(least: Ints, reach: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Return between which bounds thresholds may lie that give every reachable potential its count."""
    low, high = reach[0][:, None], reach[1][:, None]
    far = 4 * (np.abs(low) + np.abs(high) + 1)
    return np.where(least <= low, -far, least), np.where(least > high, far, least)


def _layer(point: Point, weighed: _Weighed, grid: Grid, spec: CoreSpec) -> SpikingLayer:
    """Return the layer with ladders, and with lists for rows that have none."""
    quantiser: Quantiser | None = _ladders(weighed.bounds, grid, spec) if spec.ladder else None
    if not isinstance(quantiser, Ladders):
        grid = Grid(scale=grid.scale, low=0, high=grid.high - grid.low, zero=grid.zero - grid.low)
        reach = _reach(weighed.sources, weighed.extra, point.form.shape[0])
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


def _pair_layer(
    point: Point, sent: Mapping[str, Counted], grid: Grid, spec: CoreSpec
) -> SpikingLayer | Obstacle:
    """Return the layer of a sum of two activations of unlike scale."""
    terms = _terms(point)
    grids = [sent[term.read.tensor].grid for term in terms]
    spread = [_effective(term, 1.0) for term in terms]
    pair = _pair(point, [float(values.flat[np.argmax(values != 0)]) for values in spread], grids, grid)
    inputs = [np.arange(g.low - g.zero, g.high - g.zero + 1) for g in grids]
    same = terms[0].read == terms[1].read and pair.second > 0
    found = weigh(pair, (inputs[0], inputs[1]), low=grid.low, high=grid.high, same=same)
    if found is None:
        return _unweighed(pair, (inputs[0], inputs[1]))
    sizes = found.first, found.second if pair.second > 0 else -found.second
    weights = [(values != 0) * size for values, size in zip(spread, sizes, strict=True)]
    strengths = INT8
    sources = [
        source
        for term, weight in zip(terms, weights, strict=True)
        for source in _sources(term, weight, sent[term.read.tensor], strengths)
    ]
    extra = -_zeros(sources, sent, point)
    bounds = tuple(np.repeat(bound[None], len(spread[0]), axis=0) for bound in (found.least, found.most))
    weighed = _Weighed(
        sources=tuple(sources), extra=extra, strengths=strengths, bounds=(bounds[0], bounds[1])
    )
    return _layer(point, weighed, grid, spec)


def _is_pair(point: Point) -> bool:
    """Tell whether an activation is a function of the sum of two others, the same at every place."""
    parts = [_effective(term, 1.0) for term in _terms(point)]
    alike = all(len(np.unique(part[part != 0])) == 1 for part in parts)
    plain = all(value.size == 1 for node in point.functions for value in node.constants.values())
    if len(parts) != 2 or not alike or not plain or point.form.bias.any():
        return False
    alone = all(((part != 0).sum(axis=1) == 1).all() for part in parts)
    return alone and bool((parts[0] >= 0).all())


def _pair(point: Point, gains: Sequence[float], grids: Sequence[Grid], grid: Grid) -> Pair:
    """Return the scales of both inputs of a sum, of integers or of real numbers, and its counts."""
    node, after = point.functions[0], point.functions
    scales = [gain * g.scale for gain, g in zip(gains, grids, strict=True)]
    step = grid.scale
    if len(node.inputs) > 1:
        after = point.functions[1:]
        *scales, step = (float(node.constants[key]) for key in ("first", "second", "scale"))

    def count(first: Ints, second: Ints) -> Ints:
        values: NDArray[np.floating] = (first * scales[0] + second * scales[1])[None]
        if len(node.inputs) > 1:
            inputs = [first[None].astype(np.float64), second[None].astype(np.float64)]
            values = OPERATIONS[node.op].apply(node, inputs, first.shape, None)
        for function in after:
            values = apply_elementwise(function, values, axis=0)
        counts = np.rint(values[0] / grid.scale).astype(np.int64) + grid.zero
        return np.asarray(np.clip(counts, grid.low, grid.high))

    return Pair(first=scales[0], second=scales[1], step=step, count=count)


def _unweighed(pair: Pair, inputs: tuple[Ints, Ints]) -> Obstacle:
    """Return what keeps a sum of two activations off the chip that no weights give."""
    shown = f"at the scales {pair.first:g} and {abs(pair.second):g} in steps of {pair.step:g}"
    if 1 / MOST < pair.first / abs(pair.second) < MOST and near_half(pair, inputs):
        return Obstacle(
            reason=f"{shown} some of its sums lie half-way, and rounding takes some of these up, others down",
            remedy="quantise it with scales in no simple ratio, as of calibration, or all powers of two",
        )
    return Obstacle(
        reason=f"{shown} no whole weights give every pair of its inputs its count",
        remedy="quantise both inputs of the sum with one scale",
    )
