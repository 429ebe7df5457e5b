# SPDX-License-Identifier: Apache-2.0
"""Make a layer of integers of an activation: weights by digits, shifts, and a ladder or list of each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.reading import Inputs, Sent, apart, single, terms_of, weighed
from mapping.codes.graded.rounding import Elimination, clipped_scales, elimination, fitted
from mapping.codes.graded.walk import Point
from mapping.model.operations import apply_elementwise
from mapping.spiking.digits import largest_weight
from mapping.spiking.network import MOST_PARTS, Source, SpikingLayer
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders, Lists, Quantiser
from mapping.spiking.simulate import potentials

__all__ = ["Integers", "integers_of", "layer_of", "leaving_grid", "summing", "whole_sums"]

Floats = NDArray[np.float64]

_SPARE = 2
"""Bits that a ladder's first threshold keeps free."""


_PLAIN = Grid(scale=1.0, low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Integers:
    """The integer weights of an activation.

    ``unit`` (rows,) is the value of a potential of one, ``bias`` (rows,) that of a potential of zero, and
    ``extra`` (neurons,) what every neuron adds to its potential.
    """

    sources: tuple[Source, ...]
    unit: Floats
    bias: Floats
    extra: NDArray[np.int64]


def integers_of(
    point: Point,
    sent: Mapping[str, Sent],
    *,
    strengths: Sequence[int],
    grid: Grid,
    spec: CoreSpec,
    seed: int,
    known: dict[tuple[int, ...], Elimination] | None = None,
) -> Integers:
    """Round the weights of an activation.

    Parameters
    ----------
    point : Point
        The activation.
    sent : mapping
        Tensor -> the activation as the chip sends it, of all that the form reads.
    strengths : sequence of int
        What the digits of a weight stand for.
    grid : Grid
        Of the activation itself.
    spec : CoreSpec
        The core, which limits shifts and thresholds.
    seed : int
        Of the windows that are looked at.
    known : dict, optional
        What is known of the inputs of terms that are rounded together; what is missing is added.
    """
    terms, most = terms_of(point), largest_weight(strengths)
    effective = [weighed(term, sent[term.read.tensor].grid.steps(term.read.pooled[0])) for term in terms]
    inputs = Inputs(terms=terms, sent=sent, seed=seed)
    unit, shifts = _units(effective, most, spec, inputs)
    unit = _reachable(unit, point, grid, spec)
    shifts = [_fewest(values, unit, shift, most) for values, shift in zip(effective, shifts, strict=True)]
    weights, known = [np.zeros(0, np.int64)] * len(terms), {} if known is None else known
    for together in inputs.together(effective):
        shown = [effective[at] / (1 << shifts[at]) for at in together]
        alone = apart(effective[together[0]])
        if not alone and together not in known:
            known[together] = elimination(*inputs.of(together, shifts))
        free = len(together) == len(terms)
        found, unit = _rounded(shown, unit, most, known.get(together), free=free)
        for at, weight in zip(together, found, strict=True):
            weights[at] = weight
    sources = [
        term.source(weight, read.grid.low, read.grid.high, shift, read.name)
        for term, read, weight, shift in zip(
            terms, (sent[term.read.tensor] for term in terms), weights, shifts, strict=True
        )
    ]
    bias = point.form.biases().reshape(len(unit), -1)
    row = bias.mean(axis=1)
    extra = np.rint((bias - row[:, None]) / unit[:, None]).astype(np.int64).reshape(-1)
    for source, term in zip(sources, terms, strict=True):
        zero = sent[term.read.tensor].grid.zero
        if zero:
            extra = extra - zero * whole_sums(source, point.form.shape)
    return Integers(sources=tuple(sources), unit=unit, bias=row, extra=extra)


def _units(
    effective: Sequence[Floats], most: int, spec: CoreSpec, inputs: Inputs
) -> tuple[Floats, list[int]]:
    """Return the value of a potential of one for each row, and the shift of each source.

    Sources of unlike scale are shifted towards each other. A source of which a row reads one input alone, as
    a skip, has the row's unit divide its weight. A row that reads no more of any source has the largest of
    its weights as the most steps that there are.
    """
    top = 7 if spec.axon_shifts else 0
    largest = [np.abs(values).max(axis=1, initial=0.0) for values in effective]
    several = [at for at, values in enumerate(effective) if not single(values)]
    shifts = [0] * len(effective)
    unit = np.zeros(len(effective[0]))
    middle = {at: float(np.median(largest[at][largest[at] > 0])) for at in several if largest[at].any()}
    least = min(middle.values(), default=1.0)
    for at, size in middle.items():
        shifts[at] = min(top, max(0, round(math.log2(size / least))))
    _bound(shifts, inputs.reach(effective), spec.sum_max)
    for together in inputs.together(effective):
        if together[0] in middle:
            shown = [effective[at] / (1 << shifts[at]) for at in together]
            unit = np.maximum(unit, _own_unit(shown, inputs.of(together, shifts)[0], most))
    if len(effective) == 1:
        unit = unit if several else largest[0]
    else:
        _add_skips(
            {at: largest[at] for at in range(len(effective)) if at not in several}, unit, shifts, (most, top)
        )
    return np.where(unit > 0, unit, 1.0), shifts


def _bound(shifts: list[int], reach: Sequence[int], most: int) -> None:
    """Lower the largest shifts until no column's sum, of so much from each source, can be beyond ``most``."""
    while any(shifts) and sum(size << shift for size, shift in zip(reach, shifts, strict=True)) > most:
        shifts[shifts.index(max(shifts))] -= 1


def _add_skips(skips: Mapping[int, Floats], unit: Floats, shifts: list[int], limits: tuple[int, int]) -> None:
    """Let the units, and shifts of their own, suit sources of which a row reads one input alone.

    ``skips`` are the sizes of their weights; ``limits`` the largest weight and shift that there are.
    """
    if not skips:
        return
    most, top = limits
    known = unit > 0
    for at, sizes in skips.items():
        need = np.divide(sizes, unit * most, out=np.zeros_like(unit), where=known).max(initial=0.0)
        shifts[at] = min(top, max(0, math.ceil(math.log2(need)) if need > 1 else 0))
    steps = [sizes / (most << shifts[at]) for at, sizes in skips.items()]
    unit[~known] = np.max(steps, axis=0)[~known]
    for at, sizes in skips.items():
        step = unit * (1 << shifts[at])
        integer = np.floor(np.divide(sizes, step, out=np.zeros_like(unit), where=unit > 0))
        integer = np.minimum(integer, most)
        unit[:] = np.where(integer >= 1, sizes / (np.maximum(integer, 1) * (1 << shifts[at])), unit)


def _fewest(values: Floats, unit: Floats, shift: int, most: int) -> int:
    """Return the smallest shift, up to one given, with which no weight (rows, n) is beyond the digits."""
    largest = float((np.abs(values).max(axis=1, initial=0.0) / unit).max(initial=0.0))
    while shift and largest <= most << (shift - 1):
        shift -= 1
    return shift


def _own_unit(effective: Sequence[Floats], read: Floats, most: int) -> Floats:
    """Return the step of each row that suits what it reads of some sources, (groups, samples, inputs)."""
    power = np.square(read).mean(axis=1)
    return np.asarray(clipped_scales(_grouped(effective, len(read)), power, most).reshape(-1))


def _grouped(effective: Sequence[Floats], groups: int) -> Floats:
    """Return the weights of sources (rows, n) side by side, float64 (groups, rows of a group, all n)."""
    return np.concatenate([values.reshape(groups, -1, values.shape[1]) for values in effective], axis=2)


def _reachable(unit: Floats, point: Point, grid: Grid, spec: CoreSpec) -> Floats:
    """Return units with which bias and step of every ladder fit a threshold."""
    bias, steps = point.form.biases().reshape(len(unit), -1), grid.steps(len(unit))[:, None]
    ends = [(count - grid.zero) * steps - bias for count in (grid.low - 1, grid.high + 1)]
    farthest = np.abs(np.concatenate(ends, axis=1)).max(axis=1)
    room = 2.0 ** (spec.potential_bits - 1 - _SPARE)
    return np.asarray(np.maximum(unit, farthest / room))


def _rounded(
    effective: Sequence[Floats], step: Floats, most: int, inputs: Elimination | None, *, free: bool
) -> tuple[list[NDArray[np.int64]], Floats]:
    """Return the integers of weights (rows, n) of each source, and the step of each row."""
    if inputs is None:
        found = [np.clip(np.rint(values / step[:, None]), -most, most) for values in effective]
        return [np.asarray(values, np.int64) for values in found], step
    groups = len(inputs.order)
    whole, steps = fitted(_grouped(effective, groups), step.reshape(groups, -1), inputs, most, free=free)
    ends = np.cumsum([values.shape[1] for values in effective])[:-1]
    parts = np.split(whole, ends, axis=2)
    return [part.reshape(len(step), -1) for part in parts], steps.reshape(-1)


def whole_sums(source: Source, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return what a count of one at every input adds to the potential of every neuron, int64 (neurons,)."""
    ones = np.ones((1, math.prod(source.shape)), np.int32)
    layer = SpikingLayer(
        name="",
        sources=(source,),
        output_shape=shape,
        quantiser=Lists(thresholds=np.zeros((shape[0], 1), np.int64)),
        levels=1,
        activation="",
        scale=1.0,
    )
    return potentials(layer, {source.name: ones}).reshape(-1)


def summing(
    point: Point, integers: Integers, grid: Grid = _PLAIN, strengths: Sequence[int] = (1,)
) -> SpikingLayer:
    """Return the layer of an activation with all that its potentials need, but no thresholds yet."""
    extra = integers.extra if integers.extra.any() else None
    return SpikingLayer(
        name=point.name,
        sources=integers.sources,
        output_shape=point.form.shape,
        quantiser=Lists(thresholds=np.zeros((len(integers.unit), grid.high - grid.low), np.int64)),
        strengths=tuple(strengths),
        bias=extra,
        low=0,
        levels=grid.high - grid.low,
        activation=point.tensor,
        scale=grid.scale,
        zero=grid.zero,
        gains=grid.gains,
    )


def layer_of(
    point: Point, integers: Integers, grid: Grid, strengths: Sequence[int], spec: CoreSpec
) -> SpikingLayer:
    """Return the layer of an activation.

    A form of which functions only cut off gets ladders, any other one lists of thresholds.
    """
    layer = summing(point, integers, grid, strengths)
    bounds = _bounds(point, grid)
    if bounds is not None and spec.ladder:
        low, high = bounds
        grid, ladders = _ladders(integers, grid, spec)
        return replace(layer, quantiser=ladders, low=low, levels=high, gains=grid.gains, parts=grid.parts)
    quantiser = _lists(point, integers, grid, layer)
    return replace(layer, quantiser=quantiser, low=grid.low, levels=grid.high)


def leaving_grid(point: Point, grid: Grid, digits: int, spec: CoreSpec) -> Grid:
    """Return the grid of an activation that only the host reads, finer if that takes no further core.

    A count has the most neurons, 4, 2 or 1, with which the layer lies in one core and whose ladders exist.
    """
    inputs = sum(math.prod(term.read.pooled) for term in point.form.terms)
    extension = 1 << (-(-inputs // spec.axons) - 1).bit_length()
    room = spec.words // extension * (spec.lanes // digits)
    finest = MOST_PARTS if spec.ladder else 1
    while finest > 1:
        finer = grid.finer(finest)
        bounds = _bounds(point, finer)
        small = finest * math.prod(point.form.shape) <= room
        if small and bounds is not None and not any(bound % finest for bound in bounds):
            return finer
        finest //= 2
    return grid


def _bounds(point: Point, grid: Grid) -> tuple[int, int] | None:
    """Return the counts between which functions cut off, or None if they do something else."""
    low, high = grid.low, grid.high
    for node in point.functions:
        if node.op == "Relu":
            low = max(low, grid.zero)
        elif node.op == "Clip":
            ends = [float(np.clip(node.number(key) / grid.scale, -(2**20), 2**20)) for key in ("low", "high")]
            low, high = max(low, round(ends[0]) + grid.zero), min(high, round(ends[1]) + grid.zero)
        else:
            return None
    return (low, high) if low <= 0 <= high and low < high else None


def _ladders(integers: Integers, grid: Grid, spec: CoreSpec) -> tuple[Grid, Quantiser]:
    """Return ladders with the least potential V of count j where bias + V unit >= (j - zero - 1/2) scale.

    If rows have steps of their own, these become what the ladders count by, which is returned too.
    """
    fraction, scale = spec.fraction_bits, grid.steps(len(integers.unit))
    step = np.maximum(1, np.rint(np.ldexp(scale / integers.unit, fraction))).astype(np.int64)
    if grid.gains is not None:
        scale = np.ldexp(step * integers.unit, -fraction)
        grid = replace(grid, gains=scale / grid.scale)
    first = -((grid.zero + 0.5) * scale + integers.bias) / integers.unit
    base = np.floor(np.ldexp(first, fraction)).astype(np.int64) + (1 << fraction) - 1
    words = np.stack((base >> fraction, step, base & (1 << fraction) - 1, np.zeros_like(step)), axis=1)
    return grid, Ladders(words=words, payload_bits=spec.payload_bits)


def _lists(point: Point, integers: Integers, grid: Grid, layer: SpikingLayer) -> Lists:
    """Return for each row the least potentials at which the functions reach each count."""
    least, most = layer.reach()
    counts = np.arange(grid.low + 1, grid.high + 1)
    edge = np.outer(grid.steps(len(least)), counts - grid.zero - 0.5)
    below = np.repeat(least[:, None], len(counts), axis=1)
    above = np.repeat(most[:, None] + 1, len(counts), axis=1)
    while (below < above).any():
        middle = (below + above) // 2
        reached = _value(point, integers, middle) >= edge
        open_ = below < above
        above, below = np.where(open_ & reached, middle, above), np.where(open_ & ~reached, middle + 1, below)
    thresholds = np.where(below == least[:, None], ALWAYS, below)
    never = below > most[:, None]
    return Lists(thresholds=np.where(never, NEVER, thresholds))


def _value(point: Point, integers: Integers, potentials_: NDArray[np.int64]) -> Floats:
    values: NDArray[np.floating] = integers.bias[:, None] + integers.unit[:, None] * potentials_
    with np.errstate(over="ignore"):
        for node in point.functions:
            values = apply_elementwise(node, values, axis=0)
    return np.asarray(values, np.float64)
