# SPDX-License-Identifier: Apache-2.0
"""Make the layers of a graded network one after the other, each from the counts that come before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.equalisation import equalised
from mapping.codes.graded.forms import Convolved, Matrix
from mapping.codes.graded.host import host_reads
from mapping.codes.graded.layers import Integers, integers_of, layer_of, leaving_grid, summing
from mapping.codes.graded.ranges import Grid, best_grid, input_grid, output_grid
from mapping.codes.graded.reading import Sent, balance, reader_of, single, terms_of
from mapping.codes.graded.rounding import Elimination
from mapping.codes.graded.structure import Structure
from mapping.codes.graded.walk import CUTS, Point
from mapping.codes.obstacles import Fits, Obstacle
from mapping.datasets.rows import Take, spread_rows
from mapping.errors import MappingError
from mapping.model.evaluate import run_single
from mapping.model.network import Network
from mapping.spiking.digits import largest_weight, strengths_of
from mapping.spiking.network import INPUT, SpikingLayer
from mapping.spiking.simulate import fire, potentials

__all__ = ["Calibration", "Grids", "Made"]

Counts = NDArray[np.int32]

_MOST_VALUES = 1 << 28
"""Values of all samples that are held at once, 1 GiB of float32; work on a layer takes as much again."""

_FEWEST = 8
"""Samples that are looked at whatever their size."""

_POSITIVE = frozenset({"Exp", "Relu", "Sigmoid", "Softplus"})
_KEEPING = frozenset({"Ceil", "Clip", "Floor", "PRelu", "Pow", "Round", "Sign", "Sqrt", "Tanh"})
"""Functions that write nothing below zero where they read nothing below it, a clip while its ends are not."""

_MOST_INPUTS = 1024
"""Inputs of a row beyond which a layer is not asked for the steps of what it reads."""

_READERS_MOST = largest_weight(strengths_of(3))
"""Largest integer that steps of channels are chosen for: a layer depends on its own digits alone."""


@dataclass(frozen=True, slots=True)
class Grids:
    """How grids of activations are chosen: their bits, and the seed of the values looked at."""

    bits: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A layer, the digits of its weights, and its counts on the samples."""

    layer: SpikingLayer
    digits: int
    counts: Counts


@dataclass(slots=True, kw_only=True, eq=False)
class _Last:
    """What was found out of the activation whose layer was made last, whatever its digits are.

    Before another one is made, nothing that it reads can change.
    """

    tensor: str = ""
    grid: Grid = field(default_factory=lambda: Grid(scale=1.0, low=0, high=1))
    known: dict[tuple[int, ...], Elimination] = field(default_factory=dict)


class Calibration:
    """The float network on some samples, and the layers made so far.

    A layer is made once for the same digits and the same counts before it.

    Parameters
    ----------
    network : Network
        The float network.
    structure : Structure
        Its activations on the chip.
    samples : float64 (n, input shape)
        Calibration samples; of a large network some are left out, those looked at lie at equal distances.
    spec : CoreSpec
        The core.
    grids : Grids
        How grids are chosen.
    """

    def __init__(
        self,
        network: Network,
        structure: Structure,
        samples: NDArray[np.float64],
        spec: CoreSpec,
        grids: Grids,
    ) -> None:
        self._network, self._structure, self._spec, self._grids = network, structure, spec, grids
        points = structure.points
        pools = [node.output for node in network.nodes if node.op == "MaxPool" and node.inputs[0] in points]
        before = [_before(point) for point in points.values()]
        wanted = dict.fromkeys([structure.root, *points, *before, *pools])
        rows = _looked_at_together(network, wanted)(len(samples))
        self._values = run_single(network, samples[rows], list(wanted))
        for tensor, values in self._values.items():
            _check_finite(tensor, values)
        self._leaving = host_reads(network, structure)
        self._readers = {tensor: _readers(point, points.values()) for tensor, point in points.items()}
        self._sent: dict[str, Sent] = {}
        self._made: dict[str, Made] = {}
        self._last = _Last()

    @property
    def points(self) -> Sequence[Point]:
        """The activations, in the order of their layers."""
        return tuple(self._structure.points.values())

    def layers(
        self, digits: Sequence[int], fits: Fits, say: Callable[[str], None]
    ) -> tuple[list[SpikingLayer], Grid, dict[str, Obstacle]]:
        """Return the layers, the grid of what enters the chip, and what keeps some tensor off it.

        The layers end before the first that does not fit.

        Parameters
        ----------
        digits : sequence of int
            Of the weights of each layer.
        fits : callable
            Why a layer does not fit, or None.
        say : callable
            Told which layer is being made.
        """
        root = self._values[self._structure.root]
        grid = input_grid(root, most=self._spec.payload_max)
        self._sent = {self._structure.root: Sent(name=INPUT, grid=grid, counts=grid.counts(root), truth=root)}
        found: list[SpikingLayer] = []
        other: set[str] = set()
        for point, number in zip(self.points, digits, strict=True):
            made = self._made.get(point.tensor)
            if made is None or made.digits != number or not other.isdisjoint(_reads(point)):
                say(f"converting {point.name}")
                made = self._made[point.tensor] = self.made(point, number)
                other.add(point.tensor)
            layer = made.layer
            obstacle = fits(layer)
            if obstacle is not None:
                return found, grid, {point.tensor: obstacle}
            found.append(layer)
            own = Grid(
                scale=layer.scale, low=layer.low, high=layer.levels, zero=layer.zero, gains=layer.gains
            )
            truth = self._values[point.tensor]
            self._sent[point.tensor] = Sent(name=layer.name, grid=own, counts=made.counts, truth=truth)
        return found, grid, {}

    def error(self, tensors: Iterable[str], other: Made | None = None) -> float:
        """Return how far some activations are from the float network's on the samples.

        It is the root of the mean squared error, in percent of the deviation of the float values.

        Parameters
        ----------
        tensors : iterable of str
            The activations.
        other : Made, optional
            Takes the place of its layer; the layers behind it stay as they are.
        """
        counts = {sent.name: sent.counts for sent in self._sent.values()}
        changed: set[str] = set()
        if other is not None:
            counts[other.layer.name] = other.counts
            changed.add(other.layer.name)
        for made in self._made.values():
            layer = made.layer
            if layer.name not in changed and any(source.name in changed for source in layer.sources):
                counts[layer.name] = fire(layer, potentials(layer, counts))
                changed.add(layer.name)
        errors = [self._deviation(self._made[tensor].layer, counts) for tensor in tensors]
        return 100.0 * float(np.sqrt(np.mean(errors))) if errors else 0.0

    def _deviation(self, layer: SpikingLayer, counts: Mapping[str, Counts]) -> float:
        """Return the mean squared error of an activation, divided by the variance of its float values."""
        truth = self._values[layer.activation].astype(np.float64)
        got = layer.values(counts[layer.name]).reshape(truth.shape)
        return float(np.square(got - truth).mean() / (truth.var() or 1.0))

    def made(self, point: Point, digits: int) -> Made:
        """Return the layer of an activation with some digits, and with the bias that errs less.

        It reads what the layers of the last call of `layers` count.
        """
        if self._last.tensor != point.tensor:
            self._last = _Last(tensor=point.tensor, grid=self._grid(point))
        grid, strengths = self._last.grid, strengths_of(digits)
        if point.tensor in self._leaving and not self._readers[point.tensor]:
            grid = leaving_grid(point, grid, digits, self._spec)
        integers = integers_of(
            point,
            self._sent,
            strengths=strengths,
            grid=grid,
            spec=self._spec,
            seed=self._grids.seed,
            known=self._last.known,
        )
        counts = {sent.name: sent.counts for sent in self._sent.values()}
        sums = potentials(summing(point, integers), counts)
        made = []
        for variant in (integers, self._corrected(point, integers, sums)):
            layer = layer_of(point, variant, grid, strengths, self._spec)
            own = fire(layer, sums)
            truth = self._values[point.tensor].reshape(own.shape)
            made.append((float(np.square(layer.values(own) - truth).mean()), layer, own))
        _, layer, own = min(made, key=lambda variant: variant[0])
        return Made(layer=layer, digits=digits, counts=own)

    def _grid(self, point: Point) -> Grid:
        """Return the grid of an activation: with a step for each channel, where the ladders make up for it.

        Those that are only added to each other have one scale. Then no shift between them widens the sums of
        who reads them, and none of them is finer in vain. One that is always zero does not say how large.
        """
        grid = self._own_grid(point)
        ends = [node.number("high") for node in point.functions if node.op == "Clip"]
        if self._has_steps(point, grid) and all(end > 0 for end in ends):
            return self._equalised(point, grid, most=min(ends, default=np.inf) / grid.high)
        own = [grid.scale] if self._values[point.tensor].any() else []
        others = [other for other in self._added(point) if self._values[other.tensor].any()]
        scale = max([*own, *(self._own_grid(other).scale for other in others)], default=grid.scale)
        return replace(grid, scale=scale, zero=round(grid.zero * grid.scale / scale))

    def _has_steps(self, point: Point, grid: Grid) -> bool:
        """Tell whether channels have steps of their own: counts are from 0 up and only layers read them.

        These must tell the channels apart, have few enough inputs to be looked at, and no exact skip.
        """
        readers = self._readers[point.tensor]
        return (
            grid.low == grid.zero == 0
            and point.tensor not in self._leaving
            and bool(readers)
            and all(_looked_at(other, term, point.form.shape[0]) for other, term in readers)
        )

    def _equalised(self, point: Point, grid: Grid, *, most: float) -> Grid:
        """Return the grid with the steps of channels, none above ``most``, that suit what reads them."""
        terms = [term for _, term in self._readers[point.tensor]]
        factor = balance(terms)
        own = self._values[point.tensor]
        shaped = _times(own.reshape(len(own), len(factor), -1), factor).reshape(-1, *point.form.shape)
        readers = [reader_of(term, shaped, _READERS_MOST, self._grids.seed, factor) for term in terms]
        seen = [values.reshape(len(own), len(factor), -1) for values in self._seen(point)]
        values = _times(np.concatenate(seen, axis=2), factor)
        if (factor != 1).any():
            grid = best_grid(values, bits=self._grids.bits, signed=False, offset=False, seed=self._grids.seed)
        found = equalised(grid, values, readers, most_step=most * factor, seed=self._grids.seed)
        steps = found.steps(len(factor)) / factor
        return replace(grid, scale=float(steps.max()), gains=steps / steps.max())

    def _added(self, point: Point) -> list[Point]:
        """Return the other activations, of the same ones, that a sum alone reads together with this one."""
        readers = self._network.consumers(point.tensor)
        if len(readers) != 1 or readers[0].op != "Add" or point.tensor == self._network.output:
            return []
        sources = {term.read.tensor for term in point.form.terms}
        found = [self._structure.points.get(tensor) for tensor in readers[0].inputs if tensor != point.tensor]
        return [
            other
            for other in found
            if other is not None
            and self._network.consumers(other.tensor) == readers
            and {term.read.tensor for term in other.form.terms} == sources
        ]

    def _own_grid(self, point: Point) -> Grid:
        """Return the grid of an activation with one step."""
        values = np.concatenate([values.reshape(-1) for values in self._seen(point)])
        below_zero = self._spec.ladder and self._spec.signed_ladder and _cuts(point) and not point.pooled
        signed = not self._never_negative(point)
        if point.tensor == self._network.output and signed:
            return output_grid(values, self._spec, below_zero=below_zero)
        last = point.tensor == self._network.output
        return best_grid(
            values,
            bits=self._spec.payload_bits - 1 if last else self._grids.bits,
            signed=signed,
            offset=signed and not below_zero,
            seed=self._grids.seed,
        )

    def _seen(self, point: Point) -> list[NDArray[np.floating]]:
        """Return the values of an activation, behind the max-pools that read it if nothing else does."""
        readers = self._network.consumers(point.tensor)
        if readers and all(node.op == "MaxPool" for node in readers):
            return [self._values[node.output] for node in readers]
        return [self._values[point.tensor]]

    def _never_negative(self, point: Point) -> bool:
        """Tell whether an activation is never below zero."""
        known = False
        for node in point.functions:
            if node.op in _POSITIVE or (node.op == "Clip" and node.number("low") >= 0):
                known = True
            elif node.op not in _KEEPING or (node.op == "Clip" and node.number("high") < 0):
                known = False
        if known:
            return True
        grids = [self._sent[term.read.tensor].grid for term in point.form.terms]
        reads = all(grid.low == grid.zero == 0 for grid in grids)
        return reads and not point.functions and point.form.rises and bool((point.form.bias >= 0).all())

    def _corrected(self, point: Point, integers: Integers, sums: NDArray[np.int64]) -> Integers:
        """Return the integers with a bias that gives the form the mean that it has in floats.

        ``sums`` are the potentials on the samples.
        """
        got = sums.reshape(len(self._values[point.tensor]), len(integers.unit), -1)
        mean = got.mean(axis=(0, 2)) * integers.unit + integers.bias
        truth = self._values[_before(point)].reshape(got.shape).mean(axis=(0, 2))
        return replace(integers, bias=integers.bias + truth - mean)


def _times(values: NDArray[np.floating], factor: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return values (n, channels, pixels) times a power of two for each channel; no copy where all are 1."""
    return values if (factor == 1).all() else values * factor.astype(values.dtype)[:, None]


def _looked_at_together(network: Network, tensors: Iterable[str]) -> Take:
    """Return how to take as many samples as the values of these tensors leave room for."""
    each = sum(math.prod(network.shapes[tensor]) for tensor in tensors)
    return spread_rows(max(_FEWEST, _MOST_VALUES // each))


def _readers(point: Point, points: Iterable[Point]) -> list[tuple[Point, Convolved | Matrix]]:
    """Return what reads an activation: other ones, and their terms."""
    reading = [other for other in points if point.tensor in _reads(other)]
    terms = [(other, term) for other in reading for term in terms_of(other)]
    return [(other, term) for other, term in terms if term.read.tensor == point.tensor]


def _looked_at(reader: Point, term: Convolved | Matrix, channels: int) -> bool:
    """Tell whether steps of channels can be chosen for a term that reads them."""
    inputs = term.weight.shape[1] if isinstance(term, Matrix) else math.prod(term.weight.shape[1:])
    if inputs > _MOST_INPUTS or term.read.shape[0] != channels or term.read.pooled[0] != channels:
        return False
    if len(reader.form.terms) == 1:
        return True
    weight = term.dense() if isinstance(term, Matrix) else term.weight.reshape(len(term.weight), -1)
    return not single(weight)


def _reads(point: Point) -> set[str]:
    """Return the tensors that an activation reads."""
    return {term.read.tensor for term in point.form.terms}


def _check_finite(tensor: str, values: NDArray[np.floating]) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        raise MappingError(
            f"Tensor {tensor!r} is {values[tuple(wrong[0])]:g} for calibration sample {wrong[0][0]}: an "
            "operation before it leaves the range of float32 or has no value there; keep data and weights "
            "inside."
        )


def _before(point: Point) -> str:
    """Return the tensor that has the values of a point's form."""
    return point.functions[0].inputs[0] if point.functions else point.tensor


def _cuts(point: Point) -> bool:
    """Tell whether functions only cut off, so that a ladder does."""
    return all(node.op in CUTS for node in point.functions)
