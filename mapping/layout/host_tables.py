# SPDX-License-Identifier: Apache-2.0
"""Between counts and the packets of an image: what the host feeds, and what comes back."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.trace import RunResult, Stimulus
from mapping.errors import MappingError
from mapping.layout.emit import PLACED

__all__ = [
    "counts_of",
    "interval_of",
    "outputs_of",
    "payloads_of",
    "spread",
    "steps_of",
    "stimulus_for",
    "summed",
]

Counts = NDArray[np.int64]


def stimulus_for(image: SystemImage, counts: NDArray[np.integer]) -> Stimulus:
    """Return the packets of samples that enter one after the other, an interval apart.

    Parameters
    ----------
    image : SystemImage
        An image made by `mapping.layout.emit.emit`.
    counts : integer array (samples, ...)
        What enters the chip, in low..levels of the input; any shape with one count per input element, or
        per group of them.

    Raises
    ------
    ValueError
        If ``counts`` are not integers of that number and range, or there is no sample.
    """
    given = image.meta["input"]
    group = given.get("group", 1)
    low, levels = given.get("low", 0), given["levels"] * group
    elements = math.prod(given["shape"]) // group
    if counts.dtype.kind not in "iu" or counts.ndim < 2 or math.prod(counts.shape[1:]) != elements:
        raise ValueError(
            f"counts must be integers of shape (samples, {elements}), not {counts.dtype} {counts.shape}"
        )
    if not len(counts):
        raise ValueError("counts must have at least one sample, not 0")
    flat = counts.reshape(len(counts), -1).astype(np.int64)
    if not low <= flat.min() <= flat.max() <= levels:
        raise ValueError(f"counts must be in {low}..{levels}, not {flat.min()}..{flat.max()}")
    payload = payloads_of(image, flat)
    sample, packet = np.nonzero(payload)
    rows = np.column_stack((image.input_packet[packet], payload[sample, packet])).astype(np.int64)
    step, inlet = sample * interval_of(image), image.input_inlet[packet].astype(np.int64)
    return Stimulus(steps=steps_of(image, len(flat)), step=step, packet=rows, inlet=inlet)


def interval_of(image: SystemImage) -> int:
    """Return the steps from one sample to the next: those of one sample, or 1 where samples are pipelined."""
    return int(image.meta.get("interval", image.meta["period"]))


def steps_of(image: SystemImage, samples: int) -> int:
    """Return the steps of so many samples, 1 or more, until the last one has left."""
    return (samples - 1) * interval_of(image) + int(image.meta["period"])


def payloads_of(image: SystemImage, counts: NDArray[np.integer]) -> Counts:
    """Return the payload of every packet of the input, int64 (samples, packets), 0 if it is not sent.

    ``counts`` are as of `stimulus_for`; groups carry them as of `spread`.
    """
    given = image.meta["input"]
    group = given.get("group", 1)
    return spread(counts, given["shape"][0] // group, group)[:, image.input_element]


def spread(counts: NDArray[np.integer], channels: int, group: int) -> Counts:
    """Return the elements of groups that carry counts, int64 (samples, elements): ones, the first ones first.

    ``counts`` are (samples, ...) of so many channels or features; a group of 1 is its count.
    """
    flat = counts.reshape(len(counts), -1).astype(np.int64)
    if group == 1:
        return flat
    each = flat.reshape(len(flat), channels, 1, -1)
    return np.asarray((each > np.arange(group)[:, None]).reshape(len(flat), -1).astype(np.int64))


def outputs_of(image: SystemImage, result: RunResult, samples: int) -> dict[str, Counts]:
    """Return the counts that left by the gateway, by layer, each int64 (samples, output shape).

    Raises
    ------
    ValueError
        If the run is not that of so many samples.
    MappingError
        If a packet came at a step or with an axon at which no layer sends, or twice: the image is damaged.
    """
    _check_steps(image, result, samples)
    step, axon, payload = result.outputs.T
    taken = np.zeros(len(step), np.bool_)
    counts = {}
    for output in image.meta["outputs"]:
        low = output["offset"]
        sample, whole = _samples_at(image, step - output["step"])
        own = (axon >= low) & (axon < low + output["elements"]) & whole
        taken |= own & ((sample < 0) | (sample >= samples))  # before the first sample, or behind the last
        own &= (sample >= 0) & (sample < samples)
        place = sample[own] * output["elements"] + axon[own] - low
        taken[own] = np.bincount(place, minlength=1)[place] == 1
        flat = np.zeros(samples * output["elements"], np.int64)
        flat[place] = payload[own]
        counts[output["name"]] = summed(flat, samples, output["shape"], output.get("group", 1))
    if not taken.all():
        first = int(np.flatnonzero(~taken)[0])
        raise MappingError(
            f"Gateway axon {axon[first]} sent payload {payload[first]} in step {step[first]}, "
            "where the image expects no packet or only one: compile the model again."
        )
    return counts


def counts_of(image: SystemImage, result: RunResult, samples: int) -> dict[str, Counts]:
    """Return the counts of every neuron on the chip, by layer, each int64 (samples, output shape).

    Raises
    ------
    ValueError
        If the run is not that of so many samples.
    """
    _check_steps(image, result, samples)
    cores = image.spec.cores
    order, element, core, neuron = image.attachments[PLACED].astype(np.int64).T
    most = int(neuron.max()) + 1
    lookup = np.full((2, cores * most), -1, np.int64)
    lookup[:, core * most + neuron] = order, element
    step, at, fired, count = result.spikes.T
    layer_of, element_of = lookup[:, at * most + fired]
    counts = {}
    for index, layer in enumerate(image.meta["layers"]):
        sample, whole = _samples_at(image, step - layer["depth"])
        own = (layer_of == index) & whole & (sample >= 0) & (sample < samples)
        values = np.zeros((samples, math.prod(layer["shape"])), np.int64)
        values[sample[own], element_of[own]] = count[own]
        counts[layer["name"]] = summed(values, samples, layer["shape"], layer.get("group", 1))
    return counts


def summed(counts: Counts, samples: int, shape: Sequence[int], group: int) -> Counts:
    """Return the counts of a layer, whose elements have a shape, those of a group added up."""
    first, *rest = shape
    return np.asarray(counts.reshape(samples, first // group, group, *rest).sum(axis=2))


def _samples_at(image: SystemImage, begin: Counts) -> tuple[Counts, NDArray[np.bool_]]:
    """Return the sample that entered in each step, and whether one may enter there.

    A pipeline that fills has waves before the first sample, one that empties behind the last.
    """
    sample, rest = np.divmod(begin, interval_of(image))
    return sample, rest == 0


def _check_steps(image: SystemImage, result: RunResult, samples: int) -> None:
    wanted = steps_of(image, samples)
    if result.steps != wanted:
        raise ValueError(
            f"samples must be such that the run has {wanted} steps for {samples}, not {result.steps}"
        )
