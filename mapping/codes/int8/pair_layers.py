# SPDX-License-Identifier: Apache-2.0
"""Make a layer of the sum of two activations of unlike scale, or say why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.walk import Point
from mapping.codes.int8.pairs import MOST, Pair, near_half, weigh
from mapping.codes.int8.weighing import (
    Counted,
    Weighed,
    effective_of,
    layer_from,
    sources_of,
    terms_of,
    zeros_of,
)
from mapping.codes.obstacles import Obstacle
from mapping.model.operations import OPERATIONS, apply_elementwise
from mapping.spiking.digits import INT8
from mapping.spiking.network import SpikingLayer

__all__ = ["is_pair", "pair_layer"]

Ints = NDArray[np.int64]


def pair_layer(
    point: Point, sent: Mapping[str, Counted], grid: Grid, spec: CoreSpec
) -> SpikingLayer | Obstacle:
    """Return the layer of a sum of two activations of unlike scale."""
    terms = terms_of(point)
    grids = [sent[term.read.tensor].grid for term in terms]
    spread = [effective_of(term, 1.0) for term in terms]
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
        for source in sources_of(term, weight, sent[term.read.tensor], strengths)
    ]
    extra = -zeros_of(sources, sent, point)
    bounds = tuple(np.repeat(bound[None], len(spread[0]), axis=0) for bound in (found.least, found.most))
    weighed = Weighed(sources=tuple(sources), extra=extra, strengths=strengths, bounds=(bounds[0], bounds[1]))
    return layer_from(point, weighed, grid, spec)


def is_pair(point: Point) -> bool:
    """Tell whether an activation is a function of the sum of two others, the same at every place."""
    parts = [effective_of(term, 1.0) for term in terms_of(point)]
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
