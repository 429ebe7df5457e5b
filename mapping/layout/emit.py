# SPDX-License-Identifier: Apache-2.0
"""Write a partitioned, placed and routed network as a `SystemImage` (`docs/reference/mapping.md`)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.dead import DeadSpec
from emu.image import CoreImage, SystemImage
from emu.links import LinkSpec
from emu.spec import THRESHOLDS_A_WORD, CoreSpec, SystemSpec
from emu.tables import table_of
from emu.words import RECTANGLE, Emission, Reset, Section
from mapping.layout.capacity import clamped_thresholds
from mapping.layout.crossbar import Crossbar
from mapping.layout.cut import CorePart
from mapping.layout.delivery import ranges
from mapping.layout.partition import Partition, arrivals, depths
from mapping.layout.place import Placement
from mapping.layout.route import Entries, Routes
from mapping.spiking.digits import digits_of
from mapping.spiking.matrices import pool_matrix
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Ladders, of_rows

__all__ = ["PLACED", "emit"]

PLACED = "placed"
"""Attachment, int32 (neurons, 4), sorted: layer (index in the metadata), output element, core, neuron."""

_ENTRY = (*RECTANGLE, "axon", "last")
"""Fields of a fan-out entry, in the order of `mapping.layout.route.Entry`, and its end."""

Integers = NDArray[np.int64]


def emit(
    spiking: SpikingNetwork,
    partition: Partition,
    placement: Placement,
    routes: Routes,
    *,
    name: str,
    chips: tuple[int, int] = (1, 1),
    dead: DeadSpec | None = None,
    facts: Mapping[str, Any] = MappingProxyType({}),
    carried: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> SystemImage:
    """Return the image of a network; equal arguments give an equal image, byte for byte.

    Parameters
    ----------
    spiking, partition, placement, routes
        The network and what `partition`, `place` and `route` made of it.
    name : str
        Name of the model in the metadata.
    chips : (across, down)
        Equal chips that the mesh is cut into; their links are those of `emu.links.LinkSpec.between`.
    dead : DeadSpec, optional
        Parts of the mesh that do not work (`docs/reference/dead.md`).
    facts, carried : mapping
        More metadata and more attachments.

    Raises
    ------
    InfeasibleError
        If a threshold does not fit the potential.
    ImageError
        If the image breaks a limit of the machine.
    """
    spec = replace(_system(partition.spec, (placement.width, placement.height), chips), dead=dead)
    cores: list[CoreImage | None] = [None] * spec.cores
    placed: list[NDArray[np.int64]] = []
    for order, layer in enumerate(partition.layers):
        parts, entries = partition.of(layer), routes.entries[layer.name]
        images = _layer_cores(spiking.layer(layer.name), parts, partition, entries)
        for index, (part, image) in enumerate(zip(parts, images, strict=True), layer.first):
            core = placement.index(index)
            cores[core] = image
            neurons = np.arange(len(part.outputs))
            placed.append(
                np.stack((np.full_like(neurons, order), part.outputs, np.full_like(neurons, core), neurons))
            )
    packets, places = routes.entries[INPUT], np.concatenate(placed, axis=1)
    total = sum(math.prod(spiking.shape(output)) for output in routes.outputs)
    return SystemImage(
        spec=spec,
        cores=tuple(cores),
        input_element=np.repeat(np.arange(len(packets), dtype=np.int32), packets.sizes),
        input_packet=packets.table,
        output_element=np.arange(total, dtype=np.int32),
        meta={**_meta(spiking, partition, routes, name), **facts},
        attachments={PLACED: places.T[np.lexsort(places[1::-1])].astype(np.int32), **carried},
    )


def _system(core: CoreSpec, mesh: tuple[int, int], chips: tuple[int, int]) -> SystemSpec:
    """Return the sizes of a mesh of such cores, cut into chips."""
    spec = SystemSpec(core=core, width=mesh[0], height=mesh[1])
    if chips == (1, 1):
        return spec
    return replace(spec, links=LinkSpec.between(chips, mesh, spec.flit_bits))


def _meta(spiking: SpikingNetwork, partition: Partition, routes: Routes, name: str) -> dict[str, Any]:
    """Return what the host needs to feed and read the image, as JSON data."""
    by_name = {layer.name: layer for layer in partition.layers}
    return {
        "name": name,
        "period": partition.period,
        "input": {
            "tensor": spiking.encoder_output,
            "shape": list(spiking.shape(INPUT)),
            "low": spiking.input_low,
            "levels": spiking.input_levels,
            "scale": spiking.input_scale,
            **_group(spiking.input_group),
        },
        "code": spiking.code,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "depth": by_name[layer.name].depth,
                "cores": by_name[layer.name].cores,
                "shape": list(layer.output_shape),
                "levels": layer.levels,
                **_group(layer.group),
            }
            for layer in spiking.layers
        ],
        "outputs": [
            _read(spiking.layer(output), offset=offset, step=by_name[output].depth)
            for output, offset in routes.outputs.items()
        ],
        "host_layers": list(spiking.host_layers),
    }


def _read(layer: SpikingLayer, *, offset: int, step: int) -> dict[str, Any]:
    """Return what the decoder needs of a layer that it reads."""
    return {
        "name": layer.name,
        "step": step,
        "offset": offset,
        "elements": layer.neurons,
        "shape": list(layer.output_shape),
        "low": layer.low,
        "levels": layer.levels,
        "scale": layer.scale,
        **_group(layer.group),
    }


def _group(rows: int) -> dict[str, int]:
    """Return how many rows stand for one count, if it is not each one."""
    return {} if rows == 1 else {"group": rows}


def _layer_cores(
    layer: SpikingLayer,
    parts: Sequence[CorePart],
    partition: Partition,
    entries: Entries,
) -> Iterator[CoreImage]:
    """Yield the program of each core of one layer."""
    cells = _Cells(layer.strengths)
    pooled = np.concatenate([np.diff(pool_matrix(source).indptr) > 1 for source in layer.sources])
    shift = np.concatenate([np.full(source.inputs, source.shift, np.uint8) for source in layer.sources])
    steps = arrivals(layer, depths(partition.spiking))
    schedule, several = _schedule(steps, partition.period, layer), len(steps) > 1
    lists = entries.lists()
    for part in parts:
        yield _core(
            part,
            layer,
            cells=cells.of(part),
            pooled=_of_axons(part, pooled),
            shifts=_of_rows(part, _of_axons(part, shift)),
            several=several,
            schedule=schedule,
            quantiser=_quantiser(layer, part.outputs, partition.spec),
            fanout=_fanout(entries, lists, part.outputs),
        )


class _Cells:
    """The cells of the cores of a layer: digits are found once a crossbar."""

    def __init__(self, strengths: Sequence[int]) -> None:
        self._strengths = strengths
        self._known: dict[Crossbar, NDArray[np.int8]] = {}

    def of(self, part: CorePart) -> dict[str, NDArray[Any]]:
        """Return the crossbar of a part, which equal parts share, and the line that each axon reads."""
        if part.crossbar not in self._known:
            digits = digits_of(part.crossbar.weights(), self._strengths)
            columns = len(part.outputs) * len(self._strengths)
            cells = np.array(digits.reshape(len(part.inputs), columns), np.int8)
            cells.flags.writeable = False
            self._known[part.crossbar] = cells
        lines = np.full(part.axons, -1, np.int32)
        lines[part.axon] = np.arange(len(part.inputs))
        return {"crossbar": self._known[part.crossbar], "lines": lines}


def _of_axons(part: CorePart, values: NDArray[Any]) -> NDArray[Any]:
    """Return for every axon the value of the input that it carries, 0 if it carries none."""
    result = np.zeros(part.axons, values.dtype)
    result[part.axon] = values[part.inputs]
    return result


def _of_rows(part: CorePart, values: NDArray[Any]) -> NDArray[Any]:
    """Return for every crossbar row the value of its axons, all of which have the same or 0."""
    rows = -(-part.axons // part.extension)
    padded = np.zeros(rows * part.extension, values.dtype)
    padded[: part.axons] = values
    return np.asarray(padded.reshape(rows, part.extension).max(axis=1))


def _core(
    part: CorePart,
    layer: SpikingLayer,
    *,
    cells: dict[str, NDArray[Any]],
    pooled: NDArray[np.bool_],
    shifts: NDArray[np.uint8],
    several: bool,
    schedule: NDArray[np.int32],
    quantiser: dict[str, NDArray[Any]],
    fanout: dict[str, NDArray[Any]],
) -> CoreImage:
    """Return the program of a core.

    Neurons are stateless, but those whose inputs arrive in ``several`` steps: they begin a sample with their
    bias and keep what came until they fire.
    """
    bias = layer.biases()[part.outputs]
    profile: dict[str, list[int]] = {
        "reset": [Reset.ZERO if several else Reset.CLEAR],
        "emission": [Emission.COUNT],
        "signed": [int(layer.low < 0)],
    }
    return CoreImage(
        strengths=np.array(layer.strengths, np.int16),
        bias=np.zeros_like(bias) if several else bias,
        v0=bias if several else np.zeros_like(bias),
        profiles=table_of(Section.PROFILE, profile),
        schedule=schedule,
        pooled=pooled,
        extension=np.array(part.extension, np.int32),
        shifts=shifts,
        **cells,
        **quantiser,
        **fanout,
    )


def _fanout(entries: Entries, lists: Integers, outputs: Integers) -> dict[str, NDArray[Any]]:
    """Return the fan-out memory of a core and the place of every neuron in it; equal lists are stored once.

    ``lists`` has a number for each element, see `Entries.lists`.
    """
    _, first, own = np.unique(lists[outputs], return_index=True, return_inverse=True)
    order = np.argsort(first)
    size = entries.sizes[outputs[first]]
    begin = np.zeros(len(first), np.int64)
    begin[order] = np.cumsum(size[order]) - size[order]
    rows = entries.table[ranges(entries.begin[outputs[first[order]]], size[order])]
    last = np.zeros(len(rows), np.int32)
    last[(begin + size - 1)[size > 0]] = 1
    connected = size[own] > 0
    fields = dict(zip(_ENTRY, (*rows.T, last), strict=True))
    return {
        "connected": connected,
        "fanout_base": np.where(connected, begin[own], 0).astype(np.int32),
        "fanout": table_of(Section.FANOUT, fields),
    }


def _quantiser(layer: SpikingLayer, outputs: Integers, spec: CoreSpec) -> dict[str, NDArray[Any]]:
    """Return the threshold memory of a core and the place of every neuron in it."""
    row = outputs // (layer.neurons // layer.rows)
    own = of_rows(layer.quantiser, row)
    if isinstance(own, Ladders):
        words, at = np.unique(own.words, axis=0, return_inverse=True)
        base = THRESHOLDS_A_WORD * at.reshape(-1)
        return {
            "thresholds": np.zeros(0, np.int64),
            "ladders": words,
            "threshold_base": base.astype(np.int32),
        }
    lists = [tuple(steps) for steps in clamped_thresholds(layer, spec)[row].tolist()]
    thresholds, begin = _windows(lists)
    return {"thresholds": np.array(thresholds, np.int64), "threshold_base": np.array(begin, np.int32)}


def _windows(lists: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Return all lists, equal ones once, each within a word or from the begin of one, and where each begins.

    >>> _windows([(1, 2, 3), (4, 5)])
    ([1, 2, 3, 0, 4, 5], [0, 4])
    """
    memory: list[int] = []
    begins: dict[tuple[int, ...], int] = {}
    for window in lists:
        if window not in begins:
            if len(memory) % THRESHOLDS_A_WORD + len(window) > THRESHOLDS_A_WORD:
                memory += [0] * (-len(memory) % THRESHOLDS_A_WORD)
            begins[window] = len(memory)
            memory += window
    return memory, [begins[window] for window in lists]


def _schedule(steps: Sequence[int], period: int, layer: SpikingLayer) -> NDArray[np.int32]:
    """Return the table of a layer that works in some steps of a sample and fires in the last of them."""
    rows: list[tuple[int, int, int, int]] = []
    for before, step in pairwise((-1, *steps, period)):
        if step - before > 1:
            rows.append((step - before - 1, 0, 0, 0))
        if step < period:
            rows.append((1, int(len(steps) > 1 and step == steps[0]), 1, int(step == steps[-1])))
    repeat, init, works, fire = np.array(rows).T
    return table_of(
        Section.SCHEDULE,
        {
            "repeat": repeat,
            "init": init,
            "integrate": works,
            "update": works,
            "fire": fire,
            "threshold_first": -layer.low * fire,
            "threshold_count": layer.levels * fire,
        },
    )
