# SPDX-License-Identifier: Apache-2.0
"""Make a layer of integers of an activation: weights by digits, shifts, and a ladder or list of each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.forms import Convolved, Matrix, Picked
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.rounding import Elimination, clipped_scales, elimination, rounded
from mapping.codes.graded.walk import Point
from mapping.model.operations import apply_elementwise
from mapping.model.operations.sums import windows
from mapping.spiking.digits import largest_weight
from mapping.spiking.network import INPUT, Source, SpikingLayer
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders, Lists, Quantiser
from mapping.spiking.simulate import potentials, source_input

__all__ = ["Integers", "Sent", "integers_of", "layer_of", "whole_sums"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]

_POSITIONS = 1 << 14
"""Windows whose inputs are correlated."""

_SPARE = 2
"""Bits that a ladder's first threshold keeps free."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sent:
    """An activation as the chip sends it: the name of its layer, its grid, its counts on the samples."""

    name: str
    grid: Grid
    counts: Counts


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


def _terms(point: Point) -> list[Convolved | Matrix]:
    """Return the terms of a form as matrices, or as convolutions if it is a map."""
    if len(point.form.shape) == 3:
        found = [term.convolution() if isinstance(term, Picked) else term for term in point.form.terms]
    else:
        found = [term.matrix() for term in point.form.terms]
    return found


def _effective(term: Convolved | Matrix, scale: float) -> Floats:
    """Return what a count adds to the value of each row, (rows, n)."""
    weight = term.dense() if isinstance(term, Matrix) else term.weight
    return np.asarray(weight.reshape(len(weight), -1) * scale)


def integers_of(
    point: Point,
    sent: Mapping[str, Sent],
    *,
    strengths: Sequence[int],
    grid: Grid,
    spec: CoreSpec,
    seed: int,
    plain: bool = False,
    known: dict[int, Elimination] | None = None,
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
    plain : bool
        Round to the nearest, without regard for correlations.
    known : dict, optional
        What is known of the inputs of each term from rounding it before; what is missing is added.
    """
    terms, most = _terms(point), largest_weight(strengths)
    effective = [_effective(term, sent[term.read.tensor].grid.scale) for term in terms]
    unit, shifts = _units(effective, most, spec, plain=plain, inputs=(point, terms, sent, seed))
    unit = _reachable(unit, point, grid, spec)
    sources, known = [], {} if known is None else known
    for at, (term, values, shift) in enumerate(zip(terms, effective, shifts, strict=True)):
        if not plain and not _single(values) and at not in known:
            known[at] = elimination(_inputs(term, sent[term.read.tensor], seed))
        weight = _rounded(values, unit * (1 << shift), most, known.get(at))
        read = sent[term.read.tensor]
        sources.append(term.source(weight, read.grid.low, read.grid.high, shift, read.name))
    bias = point.form.biases().reshape(len(unit), -1)
    row = bias.mean(axis=1)
    extra = np.rint((bias - row[:, None]) / unit[:, None]).astype(np.int64).reshape(-1)
    for source, term in zip(sources, terms, strict=True):
        zero = sent[term.read.tensor].grid.zero
        if zero:
            extra = extra - zero * whole_sums(source, point.form.shape)
    return Integers(sources=tuple(sources), unit=unit, bias=row, extra=extra)


def _single(values: Floats) -> bool:
    """Tell whether every row reads one input at most."""
    return bool((np.count_nonzero(values, axis=1) <= 1).all())


def _units(
    effective: Sequence[Floats],
    most: int,
    spec: CoreSpec,
    *,
    plain: bool,
    inputs: tuple[Point, Sequence[Convolved | Matrix], Mapping[str, Sent], int],
) -> tuple[Floats, list[int]]:
    """Return the value of a potential of one for each row, and the shift of each source.

    Sources of unlike scale are shifted towards each other. A source of which a row reads one input alone, as
    a skip, has the row's unit divide its weight. A row that reads no more of any source has the largest of
    its weights as the most steps that there are.
    """
    top = 7 if spec.axon_shifts else 0
    largest = [np.abs(values).max(axis=1, initial=0.0) for values in effective]
    several = [at for at, values in enumerate(effective) if not _single(values)]
    shifts = [0] * len(effective)
    unit = np.zeros(len(effective[0]))
    middle = {at: float(np.median(largest[at][largest[at] > 0])) for at in several if largest[at].any()}
    least = min(middle.values(), default=1.0)
    for at, size in middle.items():
        shifts[at] = min(top, max(0, round(math.log2(size / least))))
        unit = np.maximum(
            unit, _own_unit(at, effective[at], most, plain=plain, inputs=inputs) / (1 << shifts[at])
        )
    if len(effective) == 1:
        unit = unit if several else largest[0]
    else:
        _add_skips(
            {at: largest[at] for at in range(len(effective)) if at not in several}, unit, shifts, (most, top)
        )
    return np.where(unit > 0, unit, 1.0), shifts


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


def _own_unit(
    at: int,
    values: Floats,
    most: int,
    *,
    plain: bool,
    inputs: tuple[Point, Sequence[Convolved | Matrix], Mapping[str, Sent], int],
) -> Floats:
    """Return the step of each row that suits one source."""
    _, terms, sent, seed = inputs
    if plain:
        return np.asarray(np.abs(values).max(axis=1) / most)
    read = _inputs(terms[at], sent[terms[at].read.tensor], seed)
    power = np.square(read).mean(axis=1)
    grouped = values.reshape(len(read), -1, values.shape[1])
    return np.asarray(clipped_scales(grouped, power, most).reshape(-1))


def _reachable(unit: Floats, point: Point, grid: Grid, spec: CoreSpec) -> Floats:
    """Return units with which bias and step of every ladder fit a threshold."""
    bias = np.abs(point.form.biases().reshape(len(unit), -1)).max(axis=1)
    room = 2.0 ** (spec.potential_bits - 1 - _SPARE)
    levels = grid.high - grid.low + abs(grid.zero) + 1
    return np.asarray(np.maximum(unit, (bias + levels * grid.scale) / room))


def _inputs(term: Convolved | Matrix, read: Sent, seed: int) -> Floats:
    """Return inputs that the rows of a group read together, (groups, samples, n), as values in steps."""
    numbered = term.source(np.zeros(term.weight.shape), read.grid.low, read.grid.high, 0, INPUT)
    values = source_input(numbered, read.counts) - read.grid.zero
    random = np.random.default_rng(seed)
    if isinstance(term, Matrix):
        return values.reshape(1, len(values), -1).astype(np.float64)
    kernel = (term.weight.shape[2], term.weight.shape[3])
    view = windows(values, kernel, stride=term.stride, pads=term.pads, dilation=term.dilation)
    n, _, height, width = view.shape[:4]
    picks = random.choice(n * height * width, min(_POSITIONS, n * height * width), replace=False)
    sample, y, x = np.unravel_index(np.sort(picks), (n, height, width))
    chosen = view[sample, :, y, x].reshape(len(picks), term.groups, -1)
    return np.ascontiguousarray(chosen.transpose(1, 0, 2)).astype(np.float64)


def _rounded(values: Floats, step: Floats, most: int, inputs: Elimination | None) -> NDArray[np.int64]:
    if inputs is None:
        return np.asarray(np.clip(np.rint(values / step[:, None]), -most, most), np.int64)
    groups = len(inputs.order)
    grouped = values.reshape(groups, -1, values.shape[1])
    found = rounded(grouped, step.reshape(groups, -1), inputs, most)
    return found.reshape(values.shape)


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


def layer_of(
    point: Point, integers: Integers, grid: Grid, strengths: Sequence[int], spec: CoreSpec
) -> SpikingLayer:
    """Return the layer of an activation.

    A form of which functions only cut off gets ladders, any other one lists of thresholds.
    """
    extra = integers.extra if integers.extra.any() else None
    layer = SpikingLayer(
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
    )
    bounds = _bounds(point, grid)
    if bounds is not None and spec.ladder:
        low, high = bounds
        return replace(layer, quantiser=_ladders(integers, grid, spec), low=low, levels=high)
    quantiser = _lists(point, integers, grid, layer)
    return replace(layer, quantiser=quantiser, low=grid.low, levels=grid.high)


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


def _ladders(integers: Integers, grid: Grid, spec: CoreSpec) -> Quantiser:
    """Return ladders with the least potential V of count j where bias + V unit >= (j - zero - 1/2) scale."""
    fraction = spec.fraction_bits
    step = np.maximum(1, np.rint(np.ldexp(grid.scale / integers.unit, fraction))).astype(np.int64)
    first = -((grid.zero + 0.5) * grid.scale + integers.bias) / integers.unit
    base = np.floor(np.ldexp(first, fraction)).astype(np.int64) + (1 << fraction) - 1
    words = np.stack((base >> fraction, step, base & (1 << fraction) - 1, np.zeros_like(step)), axis=1)
    return Ladders(words=words, payload_bits=spec.payload_bits)


def _lists(point: Point, integers: Integers, grid: Grid, layer: SpikingLayer) -> Lists:
    """Return for each row the least potentials at which the functions reach each count."""
    least, most = layer.reach()
    counts = np.arange(grid.low + 1, grid.high + 1)
    edge = (counts - grid.zero - 0.5) * grid.scale
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
