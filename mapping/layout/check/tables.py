# SPDX-License-Identifier: Apache-2.0
"""The tables by which the host feeds the chip, reads it and finds its neurons."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from mapping.layout.check.frame import Frame
from mapping.layout.check.violation import Violation
from mapping.spiking.network import INPUT

__all__ = ["Placed", "placed_cores", "table_violations"]

Integers = NDArray[np.int64]

_PLACED = "placed"
"""Attachment (neurons, 4): layer, output element, core, neuron."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """One core in use: its program, the index of its layer and the output element of each neuron."""

    index: int
    core: CoreImage
    layer: int
    elements: Integers


def table_violations(image: SystemImage, frame: Frame) -> Iterator[Violation]:
    """Demand the metadata of this network, and a table that places every neuron once.

    Everything else is told apart by these tables; it can only be checked when they are sound.
    """
    message = _metadata(image, frame)
    if message is not None:
        yield Violation(kind="metadata", message=message)
        return
    message = _placed_table(image, frame)
    if message is not None:
        yield Violation(kind="placed-table", message=message)
        return
    order, _, core = _by_neuron(image)
    mixed = (core[1:] == core[:-1]) & (order[1:] != order[:-1])
    for index in np.unique(core[1:][mixed]).tolist():
        yield Violation(kind="placed-table", message="it has neurons of two layers", core=index)


def _neurons(image: SystemImage) -> Integers:
    """Return how many neurons each core has, int64 (cores,)."""
    return np.array([0 if core is None else core.neurons for core in image.cores], np.int64)


def _by_neuron(image: SystemImage) -> tuple[Integers, Integers, Integers]:
    """Return layer, output element and core of each neuron, core after core, by a table found sound."""
    neurons = _neurons(image)
    layer, element, core, neuron = image.attachments[_PLACED].T
    at = (np.cumsum(neurons) - neurons)[core] + neuron
    places = np.zeros((2, len(at)), np.int64)
    places[0, at], places[1, at] = layer, element
    return places[0], places[1], np.repeat(np.arange(len(neurons)), neurons)


def placed_cores(image: SystemImage) -> list[Placed]:
    """Return the cores in use by a table that was found sound; a core without neurons computes nothing."""
    layer, element, _ = _by_neuron(image)
    ends = np.cumsum(_neurons(image)).tolist()
    found = []
    for index, (core, begin, end) in enumerate(zip(image.cores, [0, *ends], ends, strict=False)):
        if core is not None and end > begin:
            own = element[begin:end]
            found.append(Placed(index=index, core=core, layer=int(layer[begin]), elements=own))
    return found


def _placed_table(image: SystemImage, frame: Frame) -> str | None:
    """Return what is wrong with the table of placed neurons."""
    table = image.attachments.get(_PLACED)
    if table is None or table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iu":
        return "it must be there, with four columns of integers"
    sizes = [math.prod(layer.output_shape) for layer in frame.spiking.layers]
    neurons, (core, neuron) = _neurons(image), table.T[2:]
    if np.array_equal(table[:, :2], _pairs(sizes)) and len(table) == neurons.sum():
        known = (core >= 0) & (core < len(neurons)) & (neuron >= 0)
        if known.all() and (neuron < neurons[core]).all():
            at = (np.cumsum(neurons) - neurons)[core] + neuron
            if (np.bincount(at, minlength=len(at)) == 1).all():
                return None
    return f"it must name the network's {sum(sizes)} neurons and the cores' {neurons.sum()} once each"


def _pairs(sizes: Sequence[int]) -> Integers:
    """Return (group, index in it) of every member of groups of these sizes.

    >>> _pairs([2, 0, 1]).tolist()
    [[0, 0], [0, 1], [2, 0]]
    """
    members = [np.zeros(0, np.int64), *(np.arange(size) for size in sizes)]
    return np.column_stack((np.repeat(np.arange(len(sizes)), sizes), np.concatenate(members)))


def _picked(entries: object, wanted: Sequence[Mapping[str, object]]) -> list[dict[str, object]] | None:
    """Return of every entry only the keys that are wanted of it; None if these are no such entries."""
    if not isinstance(entries, list) or len(entries) != len(wanted):
        return None
    if not all(isinstance(entry, Mapping) for entry in entries):
        return None
    return [{key: entry.get(key) for key in keys} for entry, keys in zip(entries, wanted, strict=True)]


def _metadata(image: SystemImage, frame: Frame) -> str | None:
    """Return what is wrong with the data that the host feeds and reads the chip by."""
    spiking, meta = frame.spiking, image.meta
    layers = [
        {"name": layer.name, "depth": frame.depth[layer.name], "shape": list(layer.output_shape)}
        for layer in spiking.layers
    ]
    if _picked(meta.get("layers"), layers) != layers or meta.get("period") != frame.period:
        shown = ", ".join(layer.name for layer in spiking.layers)
        return f"the layers must be {shown} with their depths and shapes, and the period {frame.period}"
    if meta.get("interval", frame.interval) != frame.interval or type(meta.get("interval", 1)) is not int:
        return f"samples must be {frame.interval} steps apart, not {meta.get('interval')}"
    shape = list(spiking.shape(INPUT))
    source = {"shape": shape, "low": spiking.input_low, "levels": spiking.input_levels}
    if _picked([meta.get("input")], [source]) != [source]:
        return f"the input must be {source}, not {meta.get('input')}"
    elements = math.prod(spiking.shape(INPUT))
    foreign = image.input_element[(image.input_element < 0) | (image.input_element >= elements)]
    if len(foreign):
        return f"the packets of the input must carry its elements 0..{elements - 1}, not {foreign[0]}"
    return _outputs(image, frame) or _groups(image, frame)


def _groups(image: SystemImage, frame: Frame) -> str | None:
    """Return what is wrong with the numbers of rows that stand for one count; 1 is not told."""
    spiking, meta = frame.spiking, image.meta
    wanted = [spiking.input_group, *(layer.group for layer in spiking.layers)]
    wanted += [spiking.layer(name).group for name in spiking.outputs]
    told = [entry.get("group", 1) for entry in (meta["input"], *meta["layers"], *meta["outputs"])]
    if told != wanted:
        return f"the groups of input, layers and outputs must be {wanted}, not {told}"
    return None


def _outputs(image: SystemImage, frame: Frame) -> str | None:
    """Return what is wrong with the data by which the decoder finds its elements at the gateway."""
    spiking, offset = frame.spiking, 0
    wanted: list[dict[str, object]] = []
    for name in spiking.outputs:
        shape = spiking.shape(name)
        elements, step = math.prod(shape), frame.depth[name]
        entry = {"elements": elements, "shape": list(shape), "offset": offset, "step": step}
        wanted.append({"name": name, **entry})
        offset += elements
    found = _picked(image.meta.get("outputs"), wanted)
    typed = all(type(entry[key]) is int for entry in found or [] for key in ("offset", "step"))
    if found != wanted or not typed:
        return f"the outputs must be {wanted}, not {image.meta.get('outputs')}"
    if image.output_element.tolist() != list(range(offset)):
        return f"the gateway axons must carry the {offset} elements of the outputs in order"
    return None
