# SPDX-License-Identifier: Apache-2.0
"""Layer by layer: the float64 network against the spiking network, and against an emulated image of it.

Nothing here runs the machine: the caller passes a function that does.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.trace import RunResult
from mapping.datasets.normalisation import commonest_share
from mapping.diagnosis.attribution import Attribution, attribute
from mapping.diagnosis.difference import Difference, difference
from mapping.diagnosis.input_scale import InputScale, Scaling, check_input_scale
from mapping.errors import MappingError
from mapping.layout.emit import PLACED
from mapping.layout.host_tables import counts_of, outputs_of
from mapping.model.evaluate import infer, run, run_single
from mapping.spiking.matrices import operation_counts
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import decode, encode, potentials, simulate

__all__ = ["OUTPUT", "Diagnosis", "Emulate", "LayerDiagnosis", "SumRange", "diagnose"]

OUTPUT = "output"
"""Name of the network's output among the layers; it is compared as the floats it is made of."""

BLOCK = 128
"""Samples that are held in memory at once."""

Counts = NDArray[np.int32]
Emulate = Callable[[Counts], RunResult]
"""Runs an image on input counts (samples, input shape), samples one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumRange:
    """Integer sums and thresholds of a layer.

    ``reachable`` and ``observed`` are the smallest and largest sum of any row that weights and levels allow,
    and that occurred. Of all ``thresholds`` (rows x levels), ``unreachable`` lie above every sum that the row
    allows, and ``never_reached``, which includes them, above every one that occurred.
    """

    reachable: tuple[int, int]
    observed: tuple[int, int]
    thresholds: int
    unreachable: int
    never_reached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDiagnosis:
    """One layer on the data; the encoder's output is the layer `INPUT` of kind ``"encoder"``.

    Parameters
    ----------
    name, kind, neurons, levels
        The layer.
    network : Difference or None
        Spiking network against the float64 network; None for the encoder, which is part of both, and for a
        code that is not exact.
    image : Difference or None
        Emulated image against the spiking network; None without an image, and for the encoder.
    spikes, rate : float
        Mean spikes of all neurons per inference; mean count of a neuron / levels.
    zero_share, clipped_share : float
        Shares of activations that are 0 and at the top level.
    silent, full : int
        Neurons that are 0, and at the top level, on every sample.
    float32_differs : int or None
        Activations that are another count when the whole network is evaluated in float32; None for a code
        that is not exact.
    sums : SumRange or None
        None for the encoder.
    operations_logical, operations_dense, operations_physical : float or None
        Synaptic operations per inference, as in the report; physical ones need an image.
    saturations : int or None
        Hardware counter of the layer's cores, total; needs an image.
    """

    name: str
    kind: str
    neurons: int
    levels: int
    network: Difference | None
    image: Difference | None
    spikes: float
    rate: float
    zero_share: float
    clipped_share: float
    silent: int
    full: int
    float32_differs: int | None
    sums: SumRange | None
    operations_logical: float | None
    operations_dense: float | None
    operations_physical: float | None
    saturations: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A network, and an image of it if there is one, on data.

    ``network`` and ``image`` sum up the layers and the output; ``output`` and ``image_output`` are the
    network's output alone. ``refused`` says why the image's output could not be read. Accuracies are None
    without labels, as is ``commonest``, the share of the commonest label. A code that is not exact has no
    differences from the float network but an ``attribution``, which is None otherwise.
    """

    samples: int
    layers: tuple[LayerDiagnosis, ...]
    output: Difference | None
    image_output: Difference | None
    ann_accuracy: float | None
    accuracy: float | None
    image_accuracy: float | None
    errors: int | None
    refused: str | None
    commonest: float | None
    input_scale: InputScale
    attribution: Attribution | None = None

    @property
    def network(self) -> Difference | None:
        """The spiking network against the float64 network, None for a code that is not exact."""
        if self.output is None:
            return None
        total = Difference()
        for layer in self.layers:
            total = total if layer.network is None else total.plus(layer.network)
        return total.plus(self.output)

    @property
    def image(self) -> Difference | None:
        """The emulated image against the spiking network, None without an image."""
        total, emulated = Difference(), False
        for layer in self.layers:
            if layer.image is not None:
                total, emulated = total.plus(layer.image), True
        if not emulated:
            return None
        return total if self.image_output is None else total.plus(self.image_output)


class _Tally:
    """What is added up for one layer, or for the encoder, over the blocks of samples."""

    def __init__(self, name: str, kind: str, neurons: int, levels: int, layer: SpikingLayer | None) -> None:
        self.name, self.kind, self.neurons, self.levels, self.layer = name, kind, neurons, levels, layer
        self.network, self.image = Difference(), Difference()
        self.samples = self.spikes = self.zeros = self.tops = self.float32 = 0
        self.logical = self.dense = self.physical = self.saturations = 0
        self.smallest = np.full(neurons, np.iinfo(np.int32).max, np.int32)
        self.largest = np.full(neurons, np.iinfo(np.int32).min, np.int32)
        if layer is not None:
            self.low = np.full(layer.rows, np.iinfo(np.int64).max)
            self.high = np.full(layer.rows, np.iinfo(np.int64).min)

    def add_counts(self, counts: Counts) -> None:
        """Add the counts of a block, any shape (samples, ...)."""
        flat = counts.reshape(len(counts), -1)
        self.samples += len(flat)
        self.spikes += int(np.abs(flat).sum(dtype=np.int64))
        self.zeros += int(np.count_nonzero(flat == 0))
        self.tops += int(np.count_nonzero(flat == self.levels))
        np.minimum(self.smallest, flat.min(axis=0), out=self.smallest)
        np.maximum(self.largest, flat.max(axis=0), out=self.largest)

    def add_sums(self, sums: NDArray[np.int64]) -> None:
        """Add the potentials (samples, output shape) of a block."""
        rows = sums.reshape(len(sums), len(self.low), -1)
        np.minimum(self.low, rows.min(axis=(0, 2)), out=self.low)
        np.maximum(self.high, rows.max(axis=(0, 2)), out=self.high)

    def sums(self, layer: SpikingLayer) -> SumRange:
        """Return the ranges of the layer."""
        lows, highs = layer.reach()
        edges = layer.edges
        return SumRange(
            reachable=(int(lows.min()), int(highs.max())),
            observed=(int(self.low.min()), int(self.high.max())),
            thresholds=edges.size,
            unreachable=int((edges > highs[:, None]).sum()),
            never_reached=int((edges > self.high[:, None]).sum()),
        )

    def result(self, *, emulated: bool, exact: bool) -> LayerDiagnosis:
        """Return all that was added up."""
        activations, inner = self.neurons * self.samples, self.layer is not None
        return LayerDiagnosis(
            name=self.name,
            kind=self.kind,
            neurons=self.neurons,
            levels=self.levels,
            network=self.network if inner and exact else None,
            image=self.image if emulated and inner else None,
            spikes=self.spikes / self.samples,
            rate=self.spikes / (activations * self.levels),
            zero_share=self.zeros / activations,
            clipped_share=self.tops / activations,
            silent=int(((self.smallest == 0) & (self.largest == 0)).sum()),
            full=int((self.smallest == self.levels).sum()),
            float32_differs=self.float32 if exact else None,
            sums=self.sums(self.layer) if self.layer is not None else None,
            operations_logical=self.logical / self.samples if inner else None,
            operations_dense=self.dense / self.samples if inner else None,
            operations_physical=self.physical / self.samples if emulated and inner else None,
            saturations=self.saturations if emulated and inner else None,
        )


class _Study:
    """The tables of one diagnosis."""

    def __init__(self, spiking: SpikingNetwork, image: SystemImage | None, emulate: Emulate | None) -> None:
        self.spiking, self.image, self.emulate = spiking, image, emulate
        size, levels = math.prod(spiking.shape(INPUT)), spiking.input_levels
        self.tallies = {INPUT: _Tally(INPUT, "encoder", size, levels, None)}
        for layer in spiking.layers:
            size = math.prod(layer.output_shape)
            self.tallies[layer.name] = _Tally(layer.name, layer.kind, size, layer.levels, layer)
        self.scales = {INPUT: (spiking.encoder_output, spiking.input_scale, 0)}
        self.scales |= {layer.name: (layer.activation, layer.scale, layer.zero) for layer in spiking.layers}
        self.output, self.image_output = Difference(), Difference()
        self.classes: dict[str, list[NDArray[np.int64]]] = {"ann": [], "spiking": [], "image": []}
        self.errors = 0
        self.refused: str | None = None

    def add(self, x: NDArray[np.float64], start: int) -> None:
        """Add a block of samples, of which the first has the number ``start``."""
        network, exact = self.spiking.network, self.spiking.exact
        given = encode(self.spiking, x)
        counts = simulate(self.spiking, given)
        logits = decode(self.spiking, counts, x)
        operations = operation_counts(self.spiking, counts)
        for name, tally in self.tallies.items():
            tally.add_counts(counts[name])
            if tally.layer is not None:
                tally.add_sums(potentials(tally.layer, counts))
                tally.logical += int(operations[name].logical.sum())
                tally.dense += int(operations[name].dense.sum())
        truth = self._add_truth(x, counts, logits, start) if exact else infer(network, x)
        self._note("ann", truth)
        self._note("spiking", logits)
        if self.emulate is not None and self.image is not None:
            self._add_image(self.image, self.emulate(given), counts, logits, x, start=start)

    def _add_truth(
        self, x: NDArray[np.float64], counts: Mapping[str, Counts], logits: NDArray[np.float64], start: int
    ) -> NDArray[np.float64]:
        """Compare a block of an exact code with the float network; return that network's output."""
        network = self.spiking.network
        tensors = list(dict.fromkeys([*(tensor for tensor, *_ in self.scales.values()), network.output]))
        truth = run(network, {network.input: x}, tensors)
        with np.errstate(all="ignore"):  # a float32 that overflows is a difference, not an error
            single = run_single(network, x, tensors)
        for name, (tensor, scale, zero) in self.scales.items():
            tally, own = self.tallies[name], counts[name].reshape(truth[tensor].shape) - zero
            with np.errstate(invalid="ignore"):
                tally.float32 += int(np.count_nonzero(np.rint(single[tensor] / scale) != own))
            if tally.layer is not None:
                found = difference(name, truth[tensor], own * scale, start=start, unit=scale)
                tally.network = tally.network.plus(found)
        self.output = self.output.plus(difference(OUTPUT, truth[network.output], logits, start=start))
        return truth[network.output]

    def _note(self, which: str, logits: NDArray[np.float64]) -> None:
        self.classes[which].append(np.argmax(logits.reshape(len(logits), -1), axis=1))

    def _add_image(
        self,
        image: SystemImage,
        result: RunResult,
        counts: Mapping[str, Counts],
        logits: NDArray[np.float64],
        x: NDArray[np.float64],
        *,
        start: int,
    ) -> None:
        placed = image.attachments[PLACED]
        self.errors += result.total("errors") + result.total("router_errors")
        for order, (name, got) in enumerate(counts_of(image, result, len(logits)).items()):
            if name not in self.tallies:
                continue  # a max-pool that is a layer of the image alone: who reads it is compared
            tally, cores = self.tallies[name], np.unique(placed[placed[:, 0] == order, 2])
            tally.image = tally.image.plus(difference(name, counts[name], got, start=start))
            tally.physical += int(result.counters["synaptic_operations"][cores].sum())
            tally.saturations += int(result.counters["saturations"][cores].sum())
        try:
            left: dict[str, NDArray[np.integer]] = dict(outputs_of(image, result, len(logits)))
        except MappingError as error:
            self.refused = self.refused or str(error)
            return
        got_logits = decode(self.spiking, {**left, INPUT: counts[INPUT]}, x)
        self.image_output = self.image_output.plus(difference(OUTPUT, logits, got_logits, start=start))
        self._note("image", got_logits)

    def accuracy(self, which: str, y: NDArray[np.int64] | None) -> float | None:
        """Return the share of right classes, None without labels or if some samples gave no output."""
        classes = np.concatenate([np.zeros(0, np.int64), *self.classes[which]])
        return None if y is None or len(classes) != len(y) else float(np.mean(classes == y))

    def diagnosis(
        self, y: NDArray[np.int64] | None, input_scale: InputScale, attribution: Attribution | None
    ) -> Diagnosis:
        """Return all that was added up, for these labels."""
        emulated, exact = self.image is not None and self.emulate is not None, self.spiking.exact
        layers = tuple(tally.result(emulated=emulated, exact=exact) for tally in self.tallies.values())
        return Diagnosis(
            samples=self.tallies[INPUT].samples,
            layers=layers,
            output=self.output if exact else None,
            image_output=self.image_output if emulated and self.refused is None else None,
            ann_accuracy=self.accuracy("ann", y),
            accuracy=self.accuracy("spiking", y),
            image_accuracy=self.accuracy("image", y),
            commonest=None if y is None else commonest_share(y),
            errors=self.errors if emulated else None,
            refused=self.refused,
            input_scale=input_scale,
            attribution=attribution,
        )


def _blocks(samples: int) -> Iterator[slice]:
    for start in range(0, samples, BLOCK):
        yield slice(start, min(start + BLOCK, samples))


def diagnose(
    spiking: SpikingNetwork,
    x: NDArray[np.float64],
    y: NDArray[np.int64] | None = None,
    *,
    image: SystemImage | None = None,
    emulate: Emulate | None = None,
    scaling: Scaling | None = None,
    progress: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Compare every activation of every sample, and say what each layer does.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    x : float64 (samples, input shape)
    y : int64 (samples,) or None
    image, emulate : SystemImage and callable, optional
        An image of the network whose table of placed neurons is sound, and what runs it on some samples.
    scaling : Scaling, optional
        How ``x`` were made from the data, to say what would be better.
    progress : callable, optional
        Told what is being done.

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape, is not finite or is empty.
    """
    if not len(x):
        raise ValueError("x must have at least one sample, not 0")
    say, study = progress or (lambda _: None), _Study(spiking, image, emulate)
    for part in _blocks(len(x)):
        say(f"comparing samples {part.start}..{part.stop - 1} of {len(x)}")
        study.add(x[part], part.start)
    say("trying other input scales")
    scale = check_input_scale(spiking, x, y, scaling)
    return study.diagnosis(y, scale, None if spiking.exact else attribute(spiking, x, y, say))
