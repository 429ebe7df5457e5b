# SPDX-License-Identifier: Apache-2.0
"""Write a partitioned, placed and routed network as a `SystemImage` (`docs/reference/mapping.md`)."""

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.spec import THRESHOLDS_A_WORD, SystemSpec
from emu.tables import table_of
from emu.words import RECTANGLE, Emission, Reset, Section
from mapping.layout.capacity import clamped_thresholds
from mapping.layout.cut import CorePart
from mapping.layout.partition import LayerPart, Partition
from mapping.layout.place import Placement
from mapping.layout.route import Entry, Routes
from mapping.spiking.matrices import layer_matrix, pool_matrix
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = ["PLACED", "emit"]

PLACED = "placed"
"""Attachment, int32 (neurons, 4), sorted: layer (index in the metadata), output element, core, neuron."""

_ENTRY = (*RECTANGLE, "axon", "last")
"""Fields of a fan-out entry, in the order of `mapping.layout.route.Entry` and its end."""

_Item = TypeVar("_Item", bound=Hashable)
Integers = NDArray[np.int64]


def emit(
    spiking: SpikingNetwork, partition: Partition, placement: Placement, routes: Routes, *, name: str
) -> SystemImage:
    """Return the image of a network; equal arguments give an equal image, byte for byte.

    Parameters
    ----------
    spiking, partition, placement, routes
        The network and what `partition`, `place` and `route` made of it.
    name : str
        Name of the model in the metadata.

    Raises
    ------
    InfeasibleError
        If a threshold does not fit the potential.
    ImageError
        If the image breaks a limit of the machine.
    """
    spec = SystemSpec(core=partition.spec, width=placement.width, height=placement.height)
    cores: list[CoreImage | None] = [None] * spec.cores
    placed: list[tuple[int, int, int, int]] = []
    for order, layer in enumerate(partition.layers):
        parts, entries = partition.of(layer), routes.entries[layer.name]
        images = _layer_cores(spiking.layer(layer.name), layer, parts, partition, entries)
        for index, (part, image) in enumerate(zip(parts, images, strict=True), layer.first):
            core = placement.index(index)
            cores[core] = image
            placed += [(order, element, core, neuron) for neuron, element in enumerate(part.outputs.tolist())]
    packets = [(element, *entry) for element, own in enumerate(routes.entries[INPUT]) for entry in own]
    rows = np.array(packets, np.int32).reshape(-1, 2 + len(RECTANGLE))
    total = sum(math.prod(spiking.shape(output)) for output in routes.outputs)
    return SystemImage(
        spec=spec,
        cores=tuple(cores),
        input_element=rows[:, 0],
        input_packet=rows[:, 1:],
        output_element=np.arange(total, dtype=np.int32),
        meta=_meta(spiking, partition, routes, name),
        attachments={PLACED: np.array(sorted(placed), np.int32)},
    )


def _meta(spiking: SpikingNetwork, partition: Partition, routes: Routes, name: str) -> dict[str, Any]:
    """Return what the host needs to feed and read the image, as JSON data."""
    by_name = {layer.name: layer for layer in partition.layers}
    return {
        "name": name,
        "period": partition.period,
        "input": {
            "tensor": spiking.encoder_output,
            "shape": list(spiking.shape(INPUT)),
            "levels": spiking.input_levels,
            "scale": spiking.input_scale,
        },
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "depth": by_name[layer.name].depth,
                "cores": by_name[layer.name].cores,
                "shape": list(layer.output_shape),
                "levels": layer.levels,
            }
            for layer in spiking.layers
        ],
        "outputs": [
            {
                "name": output,
                "step": by_name[output].depth,
                "offset": offset,
                "elements": math.prod(spiking.shape(output)),
                "shape": list(spiking.shape(output)),
                "levels": spiking.layer(output).levels,
                "scale": spiking.layer(output).scale,
            }
            for output, offset in routes.outputs.items()
        ],
        "host_layers": list(spiking.host_layers),
    }


def _layer_cores(
    layer: SpikingLayer,
    home: LayerPart,
    parts: Sequence[CorePart],
    partition: Partition,
    entries: Sequence[tuple[Entry, ...]],
) -> Iterator[CoreImage]:
    """Yield the program of each core of one layer."""
    matrix, pools = layer_matrix(layer), pool_matrix(layer)
    rows = [tuple(row) for row in clamped_thresholds(layer, partition.spec).tolist()]
    per_row = matrix.shape[0] // len(rows)
    schedule = _schedule(home.depth, partition.period, layer.levels)
    for part in parts:
        crossbar = np.zeros((part.axons, len(part.outputs)), np.int8)
        crossbar[part.axon] = matrix[part.outputs][:, part.inputs].toarray().T
        pooled = np.zeros(part.axons, np.bool_)
        pooled[part.axon] = np.diff(pools[part.inputs].indptr) > 1
        outputs = part.outputs.tolist()
        yield _core(
            crossbar, pooled, schedule, [rows[e // per_row] for e in outputs], [entries[e] for e in outputs]
        )


def _core(
    crossbar: NDArray[np.int8],
    pooled: NDArray[np.bool_],
    schedule: NDArray[np.int32],
    rows: Sequence[tuple[int, ...]],
    entries: Sequence[tuple[Entry, ...]],
) -> CoreImage:
    """Return the program of a core of stateless neurons, given the thresholds and entries of each."""
    thresholds, threshold_base = _windows(rows)
    fanout, fanout_base = _shared(
        [tuple((*entry, i == len(own)) for i, entry in enumerate(own, 1)) for own in entries]
    )
    targets = np.array(fanout, np.int32).reshape(-1, len(_ENTRY)).T
    connected = np.array([bool(own) for own in entries])
    return CoreImage(
        crossbar=crossbar,
        strengths=np.ones(1, np.int16),
        bias=np.zeros(len(rows), np.int64),
        profiles=table_of(Section.PROFILE, {"reset": [Reset.CLEAR], "emission": [Emission.COUNT]}),
        connected=connected,
        threshold_base=np.array(threshold_base, np.int32),
        fanout_base=np.where(connected, fanout_base, 0).astype(np.int32),
        thresholds=np.array(thresholds, np.int64),
        fanout=table_of(Section.FANOUT, dict(zip(_ENTRY, targets, strict=True))),
        schedule=schedule,
        pooled=pooled,
    )


def _shared(lists: Sequence[tuple[_Item, ...]]) -> tuple[list[_Item], list[int]]:
    """Return all lists one after the other, equal ones once, and where each begins.

    >>> _shared([(1, 2), (3,), (1, 2)])
    ([1, 2, 3], [0, 2, 0])
    """
    memory: list[_Item] = []
    begins: dict[tuple[_Item, ...], int] = {}
    for items in lists:
        if items not in begins:
            begins[items] = len(memory)
            memory += items
    return memory, [begins[items] for items in lists]


def _windows(lists: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Return lists of thresholds as `_shared` does, each within one word or from the begin of one.

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


def _schedule(depth: int, period: int, levels: int) -> NDArray[np.int32]:
    """Return idle, active, idle, as `emu.words.TABLES` has the fields.

    >>> _schedule(1, 3, 4).tolist()
    [[1, 0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 1, 0, 4, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0]]
    """
    repeat = np.array([depth, 1, period - 1 - depth])
    works = np.array([0, 1, 0])
    flags = dict.fromkeys(("integrate", "update", "fire"), works)
    table = table_of(Section.SCHEDULE, {"repeat": repeat, **flags, "threshold_count": levels * works})
    return table[repeat > 0]
