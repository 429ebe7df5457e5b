# SPDX-License-Identifier: Apache-2.0
"""Cut the layers of a spiking network into parts that fit a core (`docs/reference/mapping.md`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.errors import InfeasibleError
from mapping.layout.capacity import entries_of, limits_of, misfit, preset_for
from mapping.layout.cut import CorePart, cut_layer
from mapping.layout.delivery import arriving, numbered, ordered, readers
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = [
    "FANOUT_LIMIT",
    "MAX_REPEAT",
    "LayerPart",
    "Partition",
    "Readings",
    "arrivals",
    "depths",
    "overfull",
    "partition",
]

FANOUT_LIMIT = "fan-out entries on one core"
"""Name of the limit that depends on the placement too; `mapping.layout.route.fit` reacts to it."""

MAX_REPEAT = 4095
"""Most steps that one entry of a schedule lasts."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPart:
    """The cores ``first`` .. ``first + cores - 1`` of one layer.

    ``sources`` are the names of what it reads, ``depth`` counts the layers between the input and this one;
    ``grid`` is (patch rows, patch columns, channel blocks), and core
    ``first + (row * columns + column) * blocks + block`` holds that patch.
    """

    name: str
    sources: tuple[str, ...]
    depth: int
    first: int
    grid: tuple[int, int, int]

    @property
    def cores(self) -> int:
        """Number of cores."""
        return math.prod(self.grid)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """Where an activation is read.

    Parameters
    ----------
    element, axon, group : int64 (n,)
        Every element and an axon on which some cores read it, sorted, and which cores these are.
    members : tuple of int64 (m,)
        The cores of each group, ascending; groups are in the order in which they are met.
    """

    element: Integers
    axon: Integers
    group: Integers
    members: tuple[Integers, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Every layer of a network as parts of one core each, in the order of the layers.

    ``period`` is the number of timesteps of one sample.
    """

    spiking: SpikingNetwork
    spec: CoreSpec
    period: int
    layers: tuple[LayerPart, ...]
    cores: tuple[CorePart, ...]
    _readings: dict[str, Readings] = field(default_factory=dict, repr=False)

    def of(self, layer: LayerPart) -> tuple[CorePart, ...]:
        """Return the parts of one layer."""
        return self.cores[layer.first : layer.first + layer.cores]

    def readings(self, name: str) -> Readings:
        """Return where an activation is read."""
        if name not in self._readings:
            self._readings[name] = self._read(name)
        return self._readings[name]

    def _read(self, name: str) -> Readings:
        found = [(np.zeros(0, np.int64),) * 3]
        cores: list[Integers] = []
        for layer in self.layers:
            heads, reader = readers(self.of(layer))
            for index in [at for at, source in enumerate(layer.sources) if source == name]:
                element, own, axon = arriving(self.spiking.layer(layer.name), index, heads)
                found.append((element, axon, own + len(cores)))
            if name in layer.sources:
                cores += [layer.first + np.flatnonzero(reader == own) for own in range(len(heads))]
        element, axon, reader = ordered(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
        first = np.ones(len(reader), np.bool_)
        first[1:] = (element[1:] != element[:-1]) | (axon[1:] != axon[:-1])
        begin = np.append(np.flatnonzero(first), len(reader))
        group, met = numbered(begin, reader[:, None])
        bounds = zip(begin[met].tolist(), begin[met + 1].tolist(), strict=True)
        members = [
            np.sort(np.concatenate([cores[own] for own in reader[low:high].tolist()])) for low, high in bounds
        ]
        return Readings(element=element[first], axon=axon[first], group=group, members=tuple(members))

    def home(self, name: str) -> tuple[Integers, Integers]:
        """Return core and neuron index, each int64 (elements,), of every output element of a layer."""
        part = next(layer for layer in self.layers if layer.name == name)
        size = math.prod(self.spiking.layer(name).output_shape)
        core, neuron = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        for index, block in enumerate(self.of(part), part.first):
            core[block.outputs], neuron[block.outputs] = index, np.arange(len(block.outputs))
        return core, neuron


def depths(spiking: SpikingNetwork) -> dict[str, int]:
    """Return the step of a sample in which each layer fires: 0 for those that read the input alone."""
    depth = {INPUT: -1}
    for layer in spiking.layers:
        depth[layer.name] = max(depth[source.name] for source in layer.sources) + 1
    del depth[INPUT]
    return depth


def arrivals(layer: SpikingLayer, depth: Mapping[str, int]) -> tuple[int, ...]:
    """Return the steps of a sample in which what a layer reads arrives, ascending.

    In the last of them, its depth, it fires. ``depth`` is that of all layers, see `depths`.
    """
    return tuple(sorted({depth.get(source.name, -1) + 1 for source in layer.sources}))


def partition(spiking: SpikingNetwork, spec: CoreSpec, *, caps: Mapping[str, int] | None = None) -> Partition:
    """Cut every layer into parts that fit a core, as few as possible; a core holds neurons of one layer.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    spec : CoreSpec
        Sizes of a core.
    caps : mapping, optional
        Most neurons of a core by layer, below what the core could hold.

    Raises
    ------
    InfeasibleError
        If a layer breaks a limit however it is cut; names layer, limit, demand and remedy.
    """
    depth = depths(spiking)
    period = max(depth.values()) + 1
    blocks: dict[str, tuple[list[CorePart], tuple[int, int, int]]] = {}
    for layer in reversed(spiking.layers):
        broken = misfit(layer, spec) or _out_of_time(layer, spec, arrivals(layer, depth), period)
        broken = broken or _early_overflow(layer, spec, depth)
        entries = np.full(layer.neurons, int(layer.name in spiking.outputs))
        for reader in spiking.layers:
            for index, source in enumerate(reader.sources):
                if source.name == layer.name:
                    entries += entries_of(reader, index, blocks[reader.name][0])
        broken = broken or overfull(layer.name, int(entries.max()), spec)
        if broken is not None:
            raise broken
        limits = limits_of(layer, spec, entries=int(entries.max()), cap=(caps or {}).get(layer.name))
        blocks[layer.name] = cut_layer(layer, limits)
    layers: list[LayerPart] = []
    cores: list[CorePart] = []
    for layer in spiking.layers:
        parts, grid = blocks[layer.name]
        name, sources = layer.name, tuple(source.name for source in layer.sources)
        layers.append(LayerPart(name=name, sources=sources, depth=depth[name], first=len(cores), grid=grid))
        cores += parts
    return Partition(spiking=spiking, spec=spec, period=period, layers=tuple(layers), cores=tuple(cores))


def _out_of_time(
    layer: SpikingLayer, spec: CoreSpec, steps: tuple[int, ...], period: int
) -> InfeasibleError | None:
    """Return the limit that the schedule of a layer that works in these steps breaks, or None."""
    bounds = (-1, *steps, period)
    entries = len(steps) + sum(b - a > 1 for a, b in pairwise(bounds))
    if entries > spec.schedule:
        return InfeasibleError(
            layer=layer.name,
            limit="schedule entries",
            demand=entries,
            allowed=spec.schedule,
            remedy=preset_for(lambda other: entries <= other.schedule),
        )
    if period - 1 > MAX_REPEAT:
        return InfeasibleError(
            layer=layer.name,
            limit="timesteps between its steps",
            demand=period - 1,
            allowed=MAX_REPEAT,
            remedy=f"use a network of at most {MAX_REPEAT + 1} layers in a row",
        )
    return None


def _early_overflow(layer: SpikingLayer, spec: CoreSpec, depth: Mapping[str, int]) -> InfeasibleError | None:
    """Return the limit that breaks if what comes before the last step may saturate a potential, or None."""
    low = high = np.zeros(layer.rows, np.int64)
    if layer.bias is not None:
        bias = layer.bias.reshape(layer.rows, -1)
        low, high = bias.min(axis=1), bias.max(axis=1)  # what the first arrival is added to
    for source in layer.sources:
        if depth.get(source.name, -1) + 1 < depth[layer.name]:
            down, up = source.reach()
            low, high = low + np.minimum(down, 0), high + np.maximum(up, 0)
    most = max(int(-low.min()), int(high.max()))
    if most <= spec.potential_max:
        return None
    return InfeasibleError(
        layer=layer.name,
        limit="bits of a potential before its last step",
        demand=most.bit_length() + 1,
        allowed=spec.potential_bits,
        remedy=preset_for(lambda other: most <= other.potential_max) or "let its sources be equally deep",
    )


def overfull(layer: str, entries: int, spec: CoreSpec) -> InfeasibleError | None:
    """Return an error if a core of a layer needs more fan-out entries than it has."""
    if entries <= spec.fanouts:
        return None
    return InfeasibleError(
        layer=layer,
        limit=FANOUT_LIMIT,
        demand=entries,
        allowed=spec.fanouts,
        remedy=preset_for(lambda other: entries <= other.fanouts)
        or "let fewer layers, or layers of fewer inputs, read it",
    )
