# SPDX-License-Identifier: Apache-2.0
"""Where a converted network loses accuracy: part after part becomes as it is on the chip, the rest is float.

The contract is `docs/reference/inspect.md`, "Where accuracy goes".
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.load import classes
from mapping.datasets.rows import spread_rows
from mapping.model.evaluate import resume, run_single
from mapping.model.network import Network
from mapping.model.operations import apply_elementwise
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders
from mapping.spiking.simulate import decode, encode, fire, potentials, simulate

__all__ = [
    "ACTIVATIONS",
    "SAMPLES",
    "WEIGHTS",
    "Attribution",
    "Loss",
    "Part",
    "attribute",
    "loss_of",
    "values_of",
]

SAMPLES = 256
"""Samples that are looked at."""

WEIGHTS, ACTIVATIONS = "weights", "activations"
"""Names of the parts of a layer; that of the input is `INPUT`."""

_BLOCK = 64
_OFF = 0.25
"""Distance from 1 that rounding does not give a factor, if there are at least `_DIGITS` and `_LEVELS`."""

_MOST_VALUES = 1 << 26
"""Values of all tensors that are held at once, 256 MiB of float32."""

_DIGITS, _LEVELS = 2, 15

_CUTS = frozenset({"Clip", "Relu"})

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How far outputs are from those of the float network.

    ``logit_error`` is in deviations of the float output. ``agreement`` and ``accuracy`` are None if the
    network gives a value and no class, and ``accuracy`` without labels.
    """

    logit_error: float
    agreement: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a layer, or the input: what is lost when it and all before it are as on the chip.

    ``share`` is what it adds to the squared logit error; all that add something add 1. ``factor`` is the
    slope of the values of a layer over those of the float network, None but for weights.
    """

    layer: str
    part: str
    loss: Loss
    share: float
    factor: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What each part of a converted network loses, in order; the loss of the last is that of the whole.

    ``misscaled`` are the weights of the first layer whose values have another scale than the float network's.
    """

    samples: int
    float_accuracy: float | None
    parts: tuple[Part, ...]
    misscaled: Part | None

    @property
    def whole(self) -> Loss:
        """What the converted network loses."""
        return self.parts[-1].loss

    @property
    def worst(self) -> Part:
        """The part that loses most."""
        return max(self.parts, key=lambda part: part.share)

    def share_of(self, *names: str) -> float:
        """Return what all parts of these names lose together."""
        return sum(max(0.0, part.share) for part in self.parts if part.part in names)


class _Tally:
    """Sums over blocks of samples for one row of the table."""

    def __init__(self) -> None:
        self.squares, self.agreed, self.right, self.classes = 0.0, 0, 0, True
        self.count, self.products, self.power = 0, 0.0, 0.0
        self.sums = 0.0, 0.0

    def add(self, got: Floats, truth: Floats, labels: NDArray[np.int64] | None) -> None:
        """Add a block of outputs."""
        with np.errstate(all="ignore"):
            self.squares += float(np.square(got.astype(np.float64) - truth).sum())
        answers, wanted = classes(np.asarray(got, np.float64)), classes(np.asarray(truth, np.float64))
        self.classes = answers is not None and wanted is not None
        if answers is not None and wanted is not None:
            self.agreed += int(np.count_nonzero(answers == wanted))
            self.right += 0 if labels is None else int(np.count_nonzero(answers == labels))

    def add_values(self, values: Floats, truth: Floats) -> None:
        """Add a block of a layer's values."""
        flat, wanted = values.reshape(-1).astype(np.float64), truth.reshape(-1).astype(np.float64)
        self.count += len(flat)
        self.products += float(flat @ wanted)
        self.power += float(wanted @ wanted)
        self.sums = self.sums[0] + float(flat.sum()), self.sums[1] + float(wanted.sum())

    @property
    def slope(self) -> float | None:
        """The slope of a layer's values over those of the float network, None if these are all the same."""
        if not self.count:
            return None
        variance = self.power - self.sums[1] ** 2 / self.count
        return (self.products - self.sums[0] * self.sums[1] / self.count) / variance if variance > 0 else None

    def loss(self, samples: int, deviation: float, *, labelled: bool) -> Loss:
        """Return what was lost, the error in deviations of so many outputs."""
        return Loss(
            logit_error=math.sqrt(self.squares) / deviation,
            agreement=self.agreed / samples if self.classes else None,
            accuracy=self.right / samples if self.classes and labelled else None,
        )


class _Spread:
    """The deviation of outputs from their means, summed over all of them."""

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, 0.0, 0.0

    def add(self, outputs: Floats) -> None:
        """Add a block of outputs."""
        flat = outputs.reshape(len(outputs), -1).astype(np.float64)
        self.count += len(flat)
        self.sums = self.sums + flat.sum(axis=0)
        self.squares += float(np.square(flat).sum())

    @property
    def root(self) -> float:
        """Root of the summed squares of the deviations, 1 if there are none."""
        found = self.squares - float(np.square(self.sums).sum()) / self.count
        return math.sqrt(found) if found > 0 else 1.0


def attribute(
    spiking: SpikingNetwork,
    x: NDArray[np.float64],
    y: NDArray[np.int64] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Attribution:
    """Say what each part of a converted network loses, on `SAMPLES` samples at equal distances.

    Parameters
    ----------
    spiking : SpikingNetwork
        A network of a code that is not exact.
    x : float64 (samples, input shape)
    y : int64 (samples,) or None
    progress : callable, optional
        Told what is being done.
    """
    rows = spread_rows(SAMPLES)(len(x))
    x, y = x[rows], None if y is None else y[rows]
    tallies: dict[tuple[str, str], _Tally] = {}
    own, spread = _Tally(), _Spread()
    step = _together(spiking.network)
    for start in range(0, len(x), step):
        (progress or (lambda _: None))(f"attributing the loss on samples {start}.. of {len(x)}")
        part, labels = x[start : start + step], None if y is None else y[start : start + step]
        truth = run_single(spiking.network, part, _tensors(spiking))
        output = truth[spiking.network.output]
        spread.add(output)
        own.add(output, output, labels)
        for layer, name, logits, values in _walk(spiking, part, truth):
            tally = tallies.setdefault((layer, name), _Tally())
            tally.add(logits, output, labels)
            if values is not None:
                tally.add_values(values, truth[spiking.layer(layer).activation])
    parts = _parts(tallies, len(x), spread.root, labelled=y is not None)
    first = own.loss(len(x), spread.root, labelled=y is not None)
    return Attribution(
        samples=len(x),
        float_accuracy=first.accuracy,
        parts=parts,
        misscaled=_misscaled(spiking, parts),
    )


def _misscaled(spiking: SpikingNetwork, parts: tuple[Part, ...]) -> Part | None:
    """Return the first layer of another scale, if it and all before it are fine enough to tell."""
    for part in parts:
        if part.part == WEIGHTS:
            layer = spiking.layer(part.layer)
            if len(layer.strengths) < _DIGITS or layer.levels - layer.low < _LEVELS:
                return None
            if part.factor is not None and abs(part.factor - 1) > _OFF:
                return part
    return None


def _tensors(spiking: SpikingNetwork) -> list[str]:
    wanted = [spiking.encoder_output, *(layer.activation for layer in spiking.layers), spiking.network.output]
    return list(dict.fromkeys(wanted))


def _parts(
    tallies: Mapping[tuple[str, str], _Tally], samples: int, deviation: float, *, labelled: bool
) -> tuple[Part, ...]:
    squares = [tally.squares for tally in tallies.values()]
    changes = np.diff([0.0, *squares])
    gained = float(changes[changes > 0].sum()) or 1.0
    return tuple(
        Part(
            layer=layer,
            part=name,
            loss=tally.loss(samples, deviation, labelled=labelled),
            share=float(change) / gained,
            factor=tally.slope,
        )
        for ((layer, name), tally), change in zip(tallies.items(), changes, strict=True)
    )


def _walk(
    spiking: SpikingNetwork, x: NDArray[np.float64], truth: Mapping[str, Floats]
) -> Iterator[tuple[str, str, Floats, Floats | None]]:
    """Yield layer, part, the output with all parts up to it as on the chip, and of weights their values."""
    network = spiking.network
    counts = {INPUT: encode(spiking, x)}
    given: dict[str, Floats] = {network.input: x, spiking.encoder_output: counts[INPUT] * spiking.input_scale}

    def output() -> Floats:
        return resume(network, given, [network.output])[network.output]

    yield INPUT, INPUT, output(), None
    for layer in spiking.layers:
        reached = potentials(layer, counts)
        values = _real_values(network, layer, reached).reshape(truth[layer.activation].shape)
        given[layer.activation] = values
        yield layer.name, WEIGHTS, output(), values
        counts[layer.name] = fire(layer, reached)
        given[layer.activation] = layer.values(counts[layer.name]).reshape(values.shape)
        yield layer.name, ACTIVATIONS, output(), None


def _real_values(network: Network, layer: SpikingLayer, reached: NDArray[np.int64]) -> Floats:
    """Return the values that potentials (n, output shape) would stand for if counts were real and had no end.

    What functions cut off stays cut off.
    """
    rows = reached.reshape(len(reached), layer.rows, -1)
    values = layer.values(_real_counts(layer, rows).reshape(reached.shape)).reshape(rows.shape)
    nodes, tensor = {node.output: node for node in network.nodes}, layer.activation
    functions = []
    while tensor in nodes and nodes[tensor].op in _CUTS:
        functions.append(nodes[tensor])
        tensor = nodes[tensor].inputs[0]
    for node in reversed(functions):
        values = apply_elementwise(node, values, axis=1)
    return values


def _real_counts(layer: SpikingLayer, rows: NDArray[np.int64]) -> Floats:
    """Return the real counts of potentials (n, rows, m), half a count below a threshold's at it."""
    quantiser = layer.quantiser
    if isinstance(quantiser, Ladders):
        first, step, offset, _ = (column[:, None] for column in quantiser.words.T)
        wide = (rows - first + 1) << (2 * quantiser.payload_bits)
        return np.asarray((wide - offset - 1) / step - 0.5)
    return _interpolated(layer.edges, rows)


def _interpolated(thresholds: NDArray[np.int64], rows: NDArray[np.int64]) -> Floats:
    counts = np.empty(rows.shape)
    for row, steps in enumerate(thresholds):
        there = np.flatnonzero((steps > ALWAYS) & (steps < NEVER))
        below = float(np.count_nonzero(steps <= ALWAYS))
        if not len(there):
            counts[:, row] = below
            continue
        edges = steps[there].astype(np.float64)
        ends = edges[0] - _gap(edges[:2]) / 2, edges[-1] + _gap(edges[-2:]) / 2
        levels = np.concatenate([there[:1] - 0.5, there, there[-1:] + 0.5]) + 0.5
        counts[:, row] = np.interp(rows[:, row], np.concatenate([ends[:1], edges, ends[1:]]), levels)
    return counts


def _gap(edges: Floats) -> float:
    """Return how far two thresholds are from each other, at least 1."""
    return max(1.0, float(edges[-1] - edges[0]))


def loss_of(spiking: SpikingNetwork, x: NDArray[np.float64], y: NDArray[np.int64] | None = None) -> Loss:
    """Return what a converted network loses on `SAMPLES` samples, as `attribute` counts it."""
    rows = spread_rows(SAMPLES)(len(x))
    x, y = x[rows], None if y is None else y[rows]
    tally, spread = _Tally(), _Spread()
    step = _together(spiking.network)
    for start in range(0, len(x), step):
        part, labels = x[start : start + step], None if y is None else y[start : start + step]
        truth = run_single(spiking.network, part, [spiking.network.output])[spiking.network.output]
        spread.add(truth)
        tally.add(decode(spiking, simulate(spiking, encode(spiking, part)), part), truth, labels)
    return tally.loss(len(x), spread.root, labelled=y is not None)


def _together(network: Network) -> int:
    """Return how many samples are evaluated together."""
    return max(1, min(_BLOCK, _MOST_VALUES // values_of(network)))


def values_of(network: Network) -> int:
    """Return the values of one sample in all tensors of a network."""
    return sum(math.prod(shape) for shape in network.shapes.values())
