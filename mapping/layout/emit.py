# SPDX-License-Identifier: Apache-2.0
"""Write a partitioned, placed and routed network as a `SystemImage` (`docs/reference/mapping.md`)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.spec import THRESHOLDS_A_WORD, CoreSpec
from emu.tables import table_of
from emu.words import RECTANGLE, Emission, Reset, Section
from mapping.layout.capacity import clamped_thresholds
from mapping.layout.crossbar import Crossbar, Encoding
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
    facts, carried : mapping
        More metadata and more attachments.

    Raises
    ------
    InfeasibleError
        If a threshold does not fit the potential.
    ImageError
        If the image breaks a limit of the machine.
    """
    cores: list[CoreImage | None] = [None] * routes.system.cores
    placed: list[NDArray[np.int32]] = []
    for order, layer in enumerate(partition.layers):
        parts, entries = partition.of(layer), routes.entries[layer.name]
        images = _layer_cores(spiking.layer(layer.name), parts, partition, entries)
        own = np.array([placement.index(layer.first + index) for index in range(len(parts))])
        for core, image in zip(own.tolist(), images, strict=True):
            cores[core] = image
        placed.append(_placed(order, parts, own))
    packets = routes.entries[INPUT]
    total = sum(math.prod(spiking.shape(output)) for output in routes.outputs)
    return SystemImage(
        spec=routes.system,
        cores=tuple(cores),
        input_element=np.repeat(np.arange(len(packets), dtype=np.int32), packets.sizes),
        input_packet=packets.table,
        input_inlet=routes.inlet,
        output_element=np.arange(total, dtype=np.int32),
        meta={**_meta(spiking, partition, routes, name), **facts},
        attachments={PLACED: np.concatenate(placed), **carried},
    )


def _placed(order: int, parts: Sequence[CorePart], cores: Integers) -> NDArray[np.int32]:
    """Return the rows of `PLACED` of a layer, whose elements are each on one of these cores."""
    sizes = [len(part.outputs) for part in parts]
    table = np.full((sum(sizes), 4), order, np.int32)
    outputs = np.concatenate([part.outputs for part in parts])
    table[outputs, 1] = outputs
    table[outputs, 2] = np.repeat(cores, sizes)
    table[outputs, 3] = np.concatenate([np.arange(size) for size in sizes])
    return table


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
    """Yield the program of each core of one layer.

    A bias that every update adds would count more than once where inputs arrive in several steps: neurons
    begin such a sample with it.
    """
    inputs = _Inputs(layer, most=max(part.axons for part in parts))
    steps = arrivals(layer, depths(partition.spiking))
    schedule, several = _schedule(steps, partition.period, layer), len(steps) > 1
    bias, fanouts = layer.biases(), _fanouts(entries, [part.outputs for part in parts])
    shared = _shared(layer, schedule, several=several)
    cells, quantiser = _Cells(layer.strengths), _Quantiser(layer, partition.spec)
    for part, fanout in zip(parts, fanouts, strict=True):
        own: dict[str, NDArray[Any]] = {"bias": bias[part.outputs]}
        if several:
            own = {"bias": np.zeros_like(own["bias"]), "v0": own["bias"]}
        yield CoreImage(
            **own,
            extension=np.array(part.extension, np.int32),
            **shared,
            **inputs.of(part),
            **cells.of(part),
            **quantiser.of(part.outputs),
            **fanout,
        )


class _Inputs:
    """What the axons of the cores of a layer, ``most`` or fewer, are: pooled or not, and how they shift."""

    def __init__(self, layer: SpikingLayer, most: int) -> None:
        self._pooled = np.concatenate([np.diff(pool_matrix(source).indptr) > 1 for source in layer.sources])
        shift = [np.full(source.inputs, source.shift, np.uint8) for source in layer.sources]
        self._shift = np.concatenate(shift)
        self._some = bool(self._pooled.any()), bool(self._shift.any())
        self._none = _sealed(np.zeros(most, np.bool_))

    def of(self, part: CorePart) -> dict[str, NDArray[Any]]:
        """Return which axons of a part are pooled, and the shifts of its rows if there are some."""
        pooled = _of_axons(part, self._pooled) if self._some[0] else self._none[: part.axons]
        shifts = {"shifts": _of_rows(part, _of_axons(part, self._shift))} if self._some[1] else {}
        return {"pooled": pooled, **shifts}


class _Cells:
    """The cells of the cores of a layer: digits are found once a crossbar."""

    def __init__(self, strengths: Sequence[int]) -> None:
        self._digits = Encoding(partial(digits_of, strengths=strengths))
        self._known: dict[Crossbar, NDArray[np.int8]] = {}
        self._axon, self._lines = np.zeros(0, np.int64), np.zeros(0, np.int32)

    def of(self, part: CorePart) -> dict[str, NDArray[Any]]:
        """Return the crossbar of a part, which equal parts share, and the line that each axon reads."""
        if part.crossbar not in self._known:
            digits = part.crossbar.encoded(self._digits)
            cells = digits.reshape(len(part.inputs), len(part.outputs) * digits.shape[-1])
            self._known[part.crossbar] = _sealed(cells)
        if part.axon is not self._axon:
            lines = np.full(part.axons, -1, np.int32)
            lines[part.axon] = np.arange(len(part.inputs))
            self._axon, self._lines = part.axon, _sealed(lines)
        return {"crossbar": self._known[part.crossbar], "lines": self._lines}


def _sealed(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of which nobody keeps a part, read-only, and so all that it is a view of."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base.flags.writeable = False
        base = base.base
    return array


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


def _shared(layer: SpikingLayer, schedule: NDArray[np.int32], *, several: bool) -> dict[str, NDArray[Any]]:
    """Return the arrays that all cores of a layer share.

    Neurons are stateless, but those whose inputs arrive in ``several`` steps keep what came until they fire.
    """
    profile: dict[str, list[int]] = {
        "reset": [Reset.ZERO if several else Reset.CLEAR],
        "emission": [Emission.COUNT],
        "signed": [int(layer.low < 0)],
    }
    shared: dict[str, NDArray[Any]] = {
        "strengths": np.array(layer.strengths, np.int16),
        "profiles": table_of(Section.PROFILE, profile),
        "schedule": schedule,
    }
    for array in shared.values():
        array.flags.writeable = False
    return shared


def _fanouts(entries: Entries, outputs: Sequence[Integers]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the fan-out memory of each core and the place of every neuron in it; a core has equal lists once.

    ``outputs`` are those of each core.
    """
    lists, sizes, element = entries.lists, entries.sizes, np.concatenate(outputs)
    ends = np.cumsum([len(own) for own in outputs])
    core = np.repeat(np.arange(len(outputs)), np.diff(ends, prepend=0))
    _, first, own = np.unique(core * len(lists) + lists[element], return_index=True, return_inverse=True)
    order = np.argsort(first)  # by core, then in the order in which its neurons have them
    size = sizes[element[first]]
    begin = np.zeros(len(first), np.int64)
    begin[order] = np.cumsum(size[order]) - size[order]
    rows = entries.table[ranges(entries.begin[element[first[order]]], size[order])]
    last = np.zeros(len(rows), np.int32)
    last[(begin + size - 1)[size > 0]] = 1
    table = table_of(Section.FANOUT, dict(zip(_ENTRY, (*rows.T, last), strict=True)))
    held = np.cumsum(np.bincount(core[first], weights=size, minlength=len(outputs)).astype(np.int64))
    connected = size[own] > 0
    base = np.where(connected, begin[own] - np.append(0, held)[core], 0).astype(np.int32)
    columns = {"connected": (connected, ends), "fanout_base": (base, ends), "fanout": (table, held)}
    parts = [np.split(_sealed(array), at[:-1]) for array, at in columns.values()]
    for some in zip(*parts, strict=True):
        yield dict(zip(columns, some, strict=True))


class _Quantiser:
    """The threshold memories of the cores of a layer."""

    def __init__(self, layer: SpikingLayer, spec: CoreSpec) -> None:
        self._layer = layer
        self._spec = spec
        self._clamped: Integers | None = None
        self._known: dict[bytes, dict[str, NDArray[Any]]] = {}

    def _lists(self) -> Integers:
        if self._clamped is None:
            self._clamped = clamped_thresholds(self._layer, self._spec)
        return self._clamped

    def of(self, outputs: Integers) -> dict[str, NDArray[Any]]:
        """Return the threshold memory of a core and the place of every neuron in it; equal ones are one."""
        row = outputs // (self._layer.neurons // self._layer.rows)
        key = row.tobytes()
        if key not in self._known:
            self._known[key] = {name: _sealed(array) for name, array in self._of(row).items()}
        return self._known[key]

    def _of(self, row: Integers) -> dict[str, NDArray[Any]]:
        layer = self._layer
        rows, first, of_row = np.unique(row, return_index=True, return_inverse=True)
        own = of_rows(layer.quantiser, rows)
        if isinstance(own, Ladders):
            words, at = np.unique(own.words, axis=0, return_inverse=True)
            base = THRESHOLDS_A_WORD * at.reshape(-1)[of_row]
            return {
                "thresholds": np.zeros(0, np.int64),
                "ladders": words,
                "threshold_base": base.astype(np.int32),
            }
        order = np.argsort(first)
        thresholds, begins = _windows([tuple(steps) for steps in self._lists()[rows[order]].tolist()])
        begin = np.zeros(len(rows), np.int32)
        begin[order] = begins
        return {"thresholds": np.array(thresholds, np.int64), "threshold_base": begin[of_row]}


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
