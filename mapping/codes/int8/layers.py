# SPDX-License-Identifier: Apache-2.0
"""Make a layer that has every count of an integer activation, or say why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.forms import Picked
from mapping.codes.graded.ranges import Grid, output_grid
from mapping.codes.graded.walk import Point
from mapping.codes.int8.near import Near, near_units
from mapping.codes.int8.pair_layers import is_pair, pair_layer
from mapping.codes.int8.rising import FALLS, falls_behind, falls_somewhere
from mapping.codes.int8.units import Units, units_of
from mapping.codes.int8.weighing import (
    Counted,
    Weighed,
    digits_for,
    effective_of,
    layer_from,
    reach_of,
    sources_of,
    terms_of,
    zeros_of,
)
from mapping.codes.obstacles import Fits, Obstacle, anything_fits
from mapping.model.node import Node
from mapping.model.operations import apply_elementwise, rises
from mapping.model.operations.elementwise import scalar
from mapping.spiking.network import SpikingLayer

__all__ = ["QUANTISERS", "grid_of", "is_real", "layer_of", "output_counts"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUANTISERS = frozenset({"AddIntegers", "Quantise", "Requantise", "ToInteger"})
"""Operations that give integers times one scale."""

_UNLIKE = Obstacle(
    reason="the scales of what it adds are in no ratio of small whole numbers",
    remedy="quantise what it adds with one scale",
)
"""What keeps a sum of several activations off the chip."""


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
    point: Point,
    sent: Mapping[str, Counted],
    spec: CoreSpec,
    rounded: Grid | None = None,
    fits: Fits = anything_fits,
) -> SpikingLayer | Obstacle:
    """Return the layer of an activation, equal to it on every input, or what keeps it off the chip.

    With ``rounded`` its counts are the nearest to its real values on this grid. A sum of unlike scales has
    weights near it, as fine as a layer that ``fits`` may have.
    """
    grid = _output(point, sent, spec) if rounded is None else rounded
    if isinstance(grid, Obstacle):
        return grid
    if point.functions and len(point.functions[0].inputs) > 1:
        return pair_layer(point, sent, grid, spec)
    read = [sent[term.read.tensor] for term in terms_of(point)]
    effective = [effective_of(term, own.grid.scale) for term, own in zip(terms_of(point), read, strict=True)]
    bias = point.form.biases().reshape(len(effective[0]), -1)
    units = units_of(effective, bias)
    if not isinstance(units, Obstacle):
        return _weighed_layer(point, Near(units=units, off=0.0), sent, grid, spec)
    if is_pair(point):
        return pair_layer(point, sent, grid, spec)
    if len(read) == 1:
        return units
    found: SpikingLayer | Obstacle = _UNLIKE
    step = grid.scale if rounded is not None else _step(point)
    for near in near_units(effective, bias, read, replace(grid, scale=step), spec):
        found = _weighed_layer(point, near, sent, grid, spec)
        obstacle = found if isinstance(found, Obstacle) else fits(found)
        if obstacle is None:
            break
    return found


def _weighed_layer(
    point: Point, near: Near, sent: Mapping[str, Counted], grid: Grid, spec: CoreSpec
) -> SpikingLayer | Obstacle:
    """Return the layer with whole weights, or an obstacle if its counts fall."""
    units = near.units
    strengths = digits_for(units.weights, spec)
    sources = [
        source
        for term, weight in zip(terms_of(point), units.weights, strict=True)
        for source in sources_of(term, weight, sent[term.read.tensor], strengths)
    ]
    extra = units.extra - zeros_of(sources, sent, point)
    reach = reach_of(sources, extra, len(units.unit))
    least = _thresholds(point, units, grid, reach)
    if _falls(point, units, grid, reach, least):
        return FALLS
    weighed = Weighed(
        sources=tuple(sources), extra=extra, strengths=strengths, bounds=_bounds(least, reach), near=near.off
    )
    return layer_from(point, weighed, grid, spec)


def _output(point: Point, sent: Mapping[str, Counted], spec: CoreSpec) -> Grid | Obstacle:
    """Return the grid of an activation, from zero up where it is pooled."""
    grid, behind = _integers(point, sent)
    found = None if grid is None else _behind(behind, grid)
    if found is None:
        return Obstacle(
            reason="its output is not quantised by one scale",
            remedy="write QuantizeLinear and DequantizeLinear behind it",
        )
    low, high = found.low, found.high
    if not low <= 0 <= high or low == high:
        return Obstacle(reason="its counts do not hold zero", remedy="quantise it with its zero point inside")
    below = spec.ladder and spec.signed_ladder and not point.pooled
    zero = 0 if below or low >= 0 else -low
    return Grid(scale=found.scale, low=low + zero, high=high + zero, zero=zero)


def _integers(point: Point, sent: Mapping[str, Counted]) -> tuple[Grid | None, Sequence[Node]]:
    """Return the grid of the last integers in an activation, and the functions behind them.

    They are those of its last quantiser, else of the activation whose multiples it reads.
    """
    last = next((n for n in reversed(range(len(point.functions))) if _quantises(point, n)), None)
    if last is not None:
        grid = grid_of(point.functions[last])
        return None if grid is None else _reached(point, last, grid), point.functions[last + 1 :]
    (term, *others), bias = point.form.terms, point.form.bias
    if others or not isinstance(term, Picked) or bias.any():
        return None, ()
    gains, own = np.unique(term.gain[term.index >= 0]), sent[term.read.tensor].grid
    if gains.size != 1 or gains[0] <= 0:
        return None, ()
    whole = Grid(scale=own.scale * float(gains[0]), low=own.low - own.zero, high=own.high - own.zero)
    return whole, point.functions


def _behind(functions: Sequence[Node], grid: Grid) -> Grid | None:
    """Return the grid of what functions leave of integers, None if these are no integers of one scale.

    They may be multiplied by a number above zero, and cut off at some of them.
    """
    values: NDArray[np.floating] = np.arange(grid.low, grid.high + 1)[None] * grid.scale
    step = grid.scale
    for node in functions:
        factor = scalar(node) if node.op == "Mul" else None
        if node.op not in ("Clip", "Relu") and (factor is None or factor <= 0):
            return None
        step *= factor or 1.0
        values = apply_elementwise(node, values, axis=0)
    counts = np.rint(values / step)
    if (counts * step != values).any():
        return None
    return Grid(scale=step, low=int(counts.min()), high=int(counts.max()))


def _step(point: Point) -> float:
    """Return how far two integers of an activation lie apart in the values that its quantiser reads."""
    last = next(node for node in reversed(point.functions) if node.op in QUANTISERS)
    scale = float(last.constants["scale"].min())
    return 1 / scale if last.op == "Requantise" else scale


def _reached(point: Point, last: int, grid: Grid) -> Grid:
    """Return the grid of the counts that a quantiser gives behind what cuts off before it."""
    before = point.functions[: last + 1]
    if any(node.op not in _CUTS or len(node.inputs) > 1 for node in before):
        return grid
    values: NDArray[np.floating] = np.tile([-_FAR, _FAR], (point.form.shape[0], 1))
    for node in before:
        values = apply_elementwise(node, values, axis=0)
    counts = np.rint(values / grid.scale)
    return replace(grid, low=int(counts[:, 0].min()), high=int(counts[:, 1].max()))


_CUTS = frozenset({"Clip", "Quantise", "Relu", "Requantise", "ToInteger"})
"""Functions of one number that rise, and that are known at both ends."""

_FAR = 2.0**90
"""Stands for a value beyond all."""


def _quantises(point: Point, index: int) -> bool:
    return point.functions[index].op in QUANTISERS


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
