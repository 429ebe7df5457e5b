# SPDX-License-Identifier: Apache-2.0
"""What the rows of a layer read on calibration samples, and how they read the channels of an activation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.codes.graded.equalisation import Reader
from mapping.codes.graded.forms import Convolved, Matrix, Picked
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.rounding import covariance, unshared
from mapping.codes.graded.walk import Point
from mapping.model.operations.sums import windows
from mapping.spiking.network import INPUT
from mapping.spiking.simulate import source_input

__all__ = ["Inputs", "Sent", "apart", "balance", "inputs_of", "reader_of", "single", "terms_of", "weighed"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]

_POSITIONS = 1 << 14
"""Windows whose inputs are correlated."""

_FEWER_POSITIONS = 1 << 12
"""Of these, how many tell the steps of channels."""


_TOGETHER = 2048
"""Inputs of a row, of all terms, up to which these are rounded together."""

_CORRELATED = 9216
"""Inputs of a row up to which errors are handed on: what more have in common takes gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sent:
    """An activation as the chip sends it: the name of its layer, its grid, its counts on the samples.

    ``truth`` are the values of the float network.
    """

    name: str
    grid: Grid
    counts: Counts
    truth: NDArray[np.floating]

    def real_counts(self) -> Floats:
        """Return what the counts would be if they were neither rounded nor bounded."""
        shape = self.counts.shape
        truth = self.truth.reshape(shape)
        steps = self.grid.steps(shape[1]).reshape(-1, *(1 for _ in shape[2:]))
        return np.asarray(truth / steps + self.grid.zero)


def terms_of(point: Point) -> list[Convolved | Matrix]:
    """Return the terms of a form as matrices, or as convolutions if it is a map."""
    if len(point.form.shape) == 3:
        found = [term.convolution() if isinstance(term, Picked) else term for term in point.form.terms]
    else:
        found = [term.matrix() for term in point.form.terms]
    return found


def inputs_of(term: Convolved | Matrix, values: NDArray[Any], seed: int, *, most: int = _POSITIONS) -> Floats:
    """Return what the rows of a group read together, (groups, samples, n), of an activation's values.

    The same windows are looked at for the same seed.
    """
    values = source_input(term.source(np.zeros(term.weight.shape), 0, 1, 0, INPUT), values)
    random = np.random.default_rng(seed)
    if isinstance(term, Matrix):
        return values.reshape(1, len(values), -1).astype(np.float64)
    kernel = (term.weight.shape[2], term.weight.shape[3])
    view = windows(values, kernel, stride=term.stride, pads=term.pads, dilation=term.dilation)
    n, _, height, width = view.shape[:4]
    picks = random.choice(n * height * width, min(most, n * height * width), replace=False)
    sample, y, x = np.unravel_index(np.sort(picks), (n, height, width))
    chosen = view[sample, :, y, x].reshape(len(picks), term.groups, -1)
    return np.ascontiguousarray(chosen.transpose(1, 0, 2)).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """What the rows of a layer read of several terms, in the same windows of the same samples."""

    terms: Sequence[Convolved | Matrix]
    sent: Mapping[str, Sent]
    seed: int

    def together(self, weights: Sequence[Floats]) -> list[tuple[int, ...]]:
        """Return which terms are rounded together: all of as many groups, if their inputs are few enough.

        Of ``weights`` (rows, n) those of which a row reads one input alone are each on their own.
        """
        found: dict[int, list[int]] = {}
        for at, (term, weight) in enumerate(zip(self.terms, weights, strict=True)):
            groups = 1 if isinstance(term, Matrix) else term.groups
            found.setdefault(-1 - at if single(weight) else groups, []).append(at)
        parts: list[tuple[int, ...]] = []
        for members in found.values():
            few = sum(weights[at].shape[1] for at in members) <= _TOGETHER
            parts += [tuple(members)] if few else [(at,) for at in members]
        return sorted(parts)

    def reach(self, weights: Sequence[Floats]) -> list[int]:
        """Return the most that counts of each term can add up to in a row that has a cell for each weight."""
        grids = [self.sent[term.read.tensor].grid for term in self.terms]
        cells = [int(np.count_nonzero(weight, axis=1).max(initial=0)) for weight in weights]
        return [number * max(grid.high, -grid.low) for number, grid in zip(cells, grids, strict=True)]

    def of(self, together: Sequence[int], shifts: Sequence[int]) -> tuple[Floats, Floats]:
        """Return shifted counts, (groups, samples, inputs), and what these would be if they were real."""
        counts, real = [], []
        for at in together:
            term, read = self.terms[at], self.sent[self.terms[at].read.tensor]
            counts.append(inputs_of(term, read.counts - read.grid.zero, self.seed) * (1 << shifts[at]))
            values = read.real_counts() - read.grid.zero
            real.append(inputs_of(term, values, self.seed) * (1 << shifts[at]))
        return np.concatenate(counts, axis=2), np.concatenate(real, axis=2)


def single(weight: Floats) -> bool:
    """Tell whether every row (rows, n) reads one input at most."""
    return bool((np.count_nonzero(weight, axis=1) <= 1).all())


def apart(weight: Floats) -> bool:
    """Tell whether weights (rows, n) are rounded each for itself: alone in a row, or too many of them."""
    return weight.shape[1] > _CORRELATED or single(weight)


def weighed(term: Convolved | Matrix, steps: Floats) -> Floats:
    """Return the weights of a term times a number for each channel (channels,) that it reads, (rows, n)."""
    if isinstance(term, Matrix):
        return np.asarray(term.dense() * np.repeat(steps, math.prod(term.read.pooled[1:])))
    return np.asarray((term.weight * steps[term.channels()][:, :, None, None]).reshape(len(term.weight), -1))


def balance(terms: Sequence[Convolved | Matrix]) -> Floats:
    """Return a power of 256 for each channel that terms read, by which its weights are larger than usual.

    It is 1 for all channels but those of weights beyond a sixteenth and 16 times the middle size.
    """
    channels = terms[0].read.pooled[0]
    power = np.zeros(channels)
    for term in terms:
        if isinstance(term, Matrix):
            power += np.square(term.dense()).sum(axis=0).reshape(channels, -1).sum(axis=1)
        else:
            squares = np.square(term.weight).sum(axis=(2, 3)).reshape(-1)
            power += np.bincount(term.channels().reshape(-1), squares, minlength=channels)
    there = power > 0
    middle = np.median(power[there]) if there.any() else 1.0
    relative = np.log2(np.where(there, power, middle) / middle) / 2
    return np.asarray(np.exp2(8 * np.rint(relative / 8)))


def reader_of(
    term: Convolved | Matrix, values: NDArray[np.floating], most: int, seed: int, factor: Floats
) -> Reader:
    """Return how a term with integers up to ``most`` reads channels of which it gets some values.

    The values are those of the channels times a ``factor`` (channels,), by which weights are divided.
    """
    covered = covariance(inputs_of(term, values, seed, most=_FEWER_POSITIONS))
    channels, size = term.read.pooled[0], covered.shape[1]
    weight = weighed(term, 1.0 / factor)
    grouped = weight.reshape(len(covered), -1, size)
    variance = np.einsum("gri,gij,grj->gr", grouped, covered, grouped, optimize=True).reshape(-1)
    power, largest = np.zeros((len(weight), channels)), np.zeros((len(weight), channels))
    each = (
        np.arange(channels)[None].repeat(len(weight), axis=0) if isinstance(term, Matrix) else term.channels()
    )
    by_channel = weight.reshape(*each.shape, -1)
    np.put_along_axis(power, each, np.square(by_channel).sum(axis=2), axis=1)
    np.put_along_axis(largest, each, np.abs(by_channel).max(axis=2), axis=1)
    spread = np.zeros(channels) if single(largest) else unshared(covered).reshape(channels, -1).sum(axis=1)
    return Reader(power=power, largest=largest, spread=spread, variance=variance, most=most)
