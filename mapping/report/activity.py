# SPDX-License-Identifier: Apache-2.0
"""Sums over samples, added batch by batch: of any number of samples one batch is in memory at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mapping.chip import Chip, Inference
from mapping.datasets.load import Dataset, batches, classes, correct
from mapping.datasets.named import largest
from mapping.errors import MappingError
from mapping.layout.host_tables import payloads_of
from mapping.model.evaluate import infer, run_single
from mapping.report.answers import answers
from mapping.report.intervals import paired
from mapping.spiking.matrices import operation_counts
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from mapping.stages import stage
from mapping.threads import one_thread

__all__ = [
    "Activity",
    "LayerActivity",
    "RunTotals",
    "SingleDifferences",
    "observe",
    "require_equal",
    "total_of_runs",
]

Progress = Callable[[int, int], None]

OBSERVED = 250
"""Samples whose activations are held at once: few, so that they stay near the processor."""


@dataclass(slots=True, kw_only=True)
class RunTotals:
    """What a machine did in some runs.

    Parameters
    ----------
    mode : str
        ``functional`` or ``cycle``.
    runs, samples, steps : int
        How many of each.
    correct : int or None
        Samples whose largest output is the label; None without labels or classes.
    answers : list of int
        By sample, index of the largest output.
    elapsed : int or None
        Cycles of all runs; None in functional mode.
    counters : mapping
        Name -> int64 (cores,).
    fired : int64 (cores x neurons of the fullest core,)
        Steps in which each neuron fired, by core.
    fed : int64 (p,)
        How often the host fed each stimulus packet of the image.
    """

    mode: str = ""
    runs: int = 0
    samples: int = 0
    steps: int = 0
    correct: int | None = None
    answers: list[int] = field(default_factory=list)
    elapsed: int | None = None
    counters: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    fired: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    fed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def add(self, chip: Chip, data: Dataset, inference: Inference) -> None:
        """Add a run of the chip on the samples of ``data``."""
        result, logits = inference.result, inference.logits
        self.mode = result.mode
        self.runs += 1
        self.samples += len(data.x)
        self.steps += result.steps
        self.correct = _sum(self.correct, correct(logits, data.y))
        self.answers += largest(logits).tolist()
        self.elapsed = _sum(self.elapsed, result.elapsed)
        for name, values in result.counters.items():
            self.counters[name] = self.counters.get(name, 0) + values
        most = max(core.neurons for core in chip.image.cores if core is not None)
        neuron = result.spikes[:, 1] * most + result.spikes[:, 2]
        self.fired = self.fired + np.bincount(neuron, minlength=most * chip.image.spec.cores)
        fed = np.count_nonzero(payloads_of(chip.image, inference.input_counts), axis=0)
        self.fed = self.fed + fed

    @property
    def accuracy(self) -> float | None:
        """Share of correct samples; None without labels or classes."""
        return None if self.correct is None else self.correct / self.samples

    def total(self, counter: str) -> int:
        """Return the sum of a counter over the cores."""
        return int(self.counters[counter].sum())


def total_of_runs(
    chip: Chip, data: Dataset, *, cycles: bool = False, progress: Progress | None = None
) -> RunTotals:
    """Emulate a chip on any number of samples, batch by batch, and return the sums.

    Parameters
    ----------
    chip : Chip
        The chip to emulate.
    data : Dataset
        Samples in the shape and scale of the network, see `mapping.chip.Chip.prepare`.
    cycles, progress
        As of `mapping.chip.Chip.run`.
    """
    totals = RunTotals()
    with stage("cycles" if cycles else "run"):
        for part, inference in chip.runs(data, cycles=cycles, progress=progress):
            totals.add(chip, part, inference)
    return totals


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


@dataclass(slots=True, kw_only=True)
class SingleDifferences:
    """How a network differs where a runtime evaluates it in float32.

    Parameters
    ----------
    compared, activations : int
        Quantised activations, the encoder's included, and how many of them have another count.
    answers : int
        Samples of which another output is the largest.

    Of a code that is not exact only answers are compared: its counts are not those of the float network.
    """

    compared: int = 0
    activations: int = 0
    answers: int = 0

    def add(
        self,
        spiking: SpikingNetwork,
        x: NDArray[np.float64],
        counts: Mapping[str, NDArray[np.int32]],
        answers: NDArray[np.int64],
    ) -> None:
        """Evaluate more samples of an exact code; ``counts`` and ``answers`` are those of float64."""
        scales = {INPUT: (spiking.encoder_output, spiking.input_scale, 0)}
        scales |= {layer.name: (layer.activation, layer.scale, layer.zero) for layer in spiking.layers}
        output = spiking.network.output
        single = run_single(spiking.network, x, [*{tensor for tensor, *_ in scales.values()} | {output}])
        for name, (tensor, scale, zero) in scales.items():
            values = single[tensor].reshape(counts[name].shape)  # a matrix has a map's neurons in a row
            with np.errstate(all="ignore"):  # a float32 that overflows is a difference, not an error
                self.activations += int(np.count_nonzero(np.rint(values / scale) + zero != counts[name]))
            self.compared += counts[name].size
        self.answers += int(np.count_nonzero(largest(single[output]) != answers))


@dataclass(slots=True, kw_only=True)
class LayerActivity:
    """What the neurons of one layer did.

    It ``read`` so many spikes, after its pools, and fired ``spikes``; ``silent`` of its activations were
    zero, ``largest`` is the largest count that it read.
    """

    read: int = 0
    spikes: int = 0
    logical: int = 0
    effective: int = 0
    dense: int = 0
    silent: int = 0
    largest: int = 0
    neurons: int = 0


@dataclass(slots=True, kw_only=True)
class Activity:
    """What the spiking network did on some samples, without a chip, and how often it was right.

    Parameters
    ----------
    samples, input_spikes : int
        Samples; spikes that entered the chip.
    correct, float_correct : int or None
        Samples that the spiking network, and the float network in float64, get right; None without labels or
        classes.
    gained, lost : int
        Samples that only the spiking network, and only the float network, gets right; 0 without labels.
    answers, float_answers : list of int
        By sample, index of the largest output of the spiking network, and of the float network in float64.
    classes : bool
        Whether there are several outputs: a single one is a value, no class.
    single : SingleDifferences
        How the float network differs where it is evaluated in float32.
    layers : mapping
        By name, in the order of the network.
    """

    samples: int = 0
    input_spikes: int = 0
    correct: int | None = None
    float_correct: int | None = None
    gained: int = 0
    lost: int = 0
    answers: list[int] = field(default_factory=list)
    float_answers: list[int] = field(default_factory=list)
    classes: bool = True
    single: SingleDifferences = field(default_factory=SingleDifferences)
    layers: dict[str, LayerActivity] = field(default_factory=dict)

    def add(self, spiking: SpikingNetwork, data: Dataset) -> None:
        """Run the network on more samples."""
        counts = simulate(spiking, encode(spiking, data.x))
        self.input_spikes += int(np.abs(counts[INPUT]).sum(dtype=np.int64))
        if spiking.exact:
            truth = largest(infer(spiking.network, data.x))
            self.single.add(spiking, data.x, counts, truth)
        else:
            found = answers(spiking.network, data.x)
            truth = found.double
            self.single.answers += int(np.count_nonzero(found.single != truth))
        self.answer(decode(spiking, counts, data.x), truth, data.y)
        for name, operations in operation_counts(spiking, counts).items():
            layer = self.layers.setdefault(name, LayerActivity())
            layer.read += int(operations.input_spikes.sum())
            layer.spikes += int(operations.spikes.sum())
            layer.effective += int(operations.effective.sum())
            layer.logical += int(operations.logical.sum())
            layer.dense += int(operations.dense.sum())
            layer.largest = max(layer.largest, int(operations.largest.max()))
            layer.silent += int(np.count_nonzero(counts[name] == 0))
            layer.neurons += int(np.size(counts[name]))

    def answer(
        self, logits: NDArray[np.float64], truth: NDArray[np.int64], labels: NDArray[np.int64] | None
    ) -> None:
        """Count the answers to more samples; ``truth`` are those of the float network in float64."""
        found = largest(logits)
        self.samples += len(logits)
        self.classes = classes(logits) is not None
        self.answers += found.tolist()
        self.float_answers += truth.tolist()
        if labels is not None and self.classes:
            right, wanted = found == labels, truth == labels
            self.correct = (self.correct or 0) + int(np.count_nonzero(right))
            self.float_correct = (self.float_correct or 0) + int(np.count_nonzero(wanted))
            self.gained += int(np.count_nonzero(right & ~wanted))
            self.lost += int(np.count_nonzero(wanted & ~right))

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """Accuracy minus that of the float network, and the ends of its 95 % interval; None without labels.

        Samples are pairs, see `mapping.report.intervals.paired`.
        """
        if self.correct is None or not self.samples:
            return None
        low, high = paired(self.gained, self.lost, self.samples)
        return (self.gained - self.lost) / self.samples, low, high

    @property
    def accuracy(self) -> float | None:
        """Share of samples that the spiking network gets right; None without labels or classes."""
        return None if self.correct is None else self.correct / self.samples

    @property
    def float_accuracy(self) -> float | None:
        """Share of samples that the float network gets right; None without labels or classes."""
        return None if self.float_correct is None else self.float_correct / self.samples

    @property
    def agreement(self) -> float | None:
        """Share of samples on which spiking and float network answer the same; None without classes."""
        return self.same / self.samples if self.same is not None and self.samples else None

    @property
    def same(self) -> int | None:
        """Samples on which spiking and float network answer the same; None without classes."""
        if not self.classes:
            return None
        return sum(a == b for a, b in zip(self.answers, self.float_answers, strict=True))

    def mean(self, name: str, what: str) -> float:
        """Return the mean per sample of one sum of a layer."""
        return int(getattr(self.layers[name], what)) / self.samples

    def total(self, what: str) -> float:
        """Return the mean per sample of one sum over all layers, divided once so that it is rounded once."""
        return sum(int(getattr(layer, what)) for layer in self.layers.values()) / self.samples


@stage("observe")
def observe(spiking: SpikingNetwork, data: Dataset, progress: Progress | None = None) -> Activity:
    """Return the activity of a network on data; ``progress`` is called with (samples done, all samples)."""
    activity = Activity()
    for part in batches(data, OBSERVED):
        with one_thread():
            activity.add(spiking, part)
        if progress is not None:
            progress(activity.samples, len(data.x))
    return activity


def require_equal(spikes: int, totals: RunTotals, activity: Activity) -> None:
    """Refuse a report whose image and network disagree: its counts would be of two different things.

    ``spikes`` are those of the image, of all passes together; ``totals`` tell its answers.

    Raises
    ------
    MappingError
        If they differ.
    """
    fired = sum(layer.spikes for layer in activity.layers.values())
    for what, chip, network in (
        ("spikes", spikes, fired),
        ("correct answers", totals.correct, activity.correct),
    ):
        if chip != network:
            raise MappingError(
                f"The emulated chip and its network differ in {what}, {chip} and {network}: please report it."
            )
    if totals.answers != activity.answers:
        raise MappingError("The emulated chip and its network differ in their answers: please report it.")
