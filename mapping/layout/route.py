# SPDX-License-Identifier: Apache-2.0
"""Find the fan-out entries of every neuron and input element (`docs/reference/mapping.md`)."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import overload

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec, SystemSpec
from mapping.errors import InfeasibleError
from mapping.layout.capacity import with_gateway
from mapping.layout.cover import cover
from mapping.layout.delivery import numbered, ranges
from mapping.layout.gates import inlets_for, outlets_for
from mapping.layout.partition import FANOUT_LIMIT, LayerPart, Partition, overfull, partition
from mapping.layout.place import Placement, TooManyCoresError
from mapping.layout.site import Site
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.stages import stage

__all__ = ["Entries", "Entry", "Routes", "fit", "route"]

Integers = NDArray[np.int64]
Entry = tuple[int, int, int, int, int]
"""x0, x1, y0, y1, axon: one packet to all cores of a rectangle."""


@dataclass(frozen=True, eq=False)
class Entries(Sequence[tuple[Entry, ...]]):
    """The entries of every element of one activation, one element after the other; item i are those of i.

    Parameters
    ----------
    begin : int64 (elements + 1,)
        Where in ``table`` the entries of each element begin.
    table : int32 (n, 5)
        The entries, in sending order.
    """

    begin: Integers
    table: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.begin) - 1

    @overload
    def __getitem__(self, element: int) -> tuple[Entry, ...]: ...
    @overload
    def __getitem__(self, element: slice) -> Sequence[tuple[Entry, ...]]: ...
    def __getitem__(self, element: int | slice) -> tuple[Entry, ...] | Sequence[tuple[Entry, ...]]:
        if isinstance(element, slice):
            return [self[at] for at in range(len(self))[element]]
        at = range(len(self))[element]
        x0, x1, y0, y1, axon = self.table[self.begin[at] : self.begin[at + 1]].T.tolist()
        return tuple(zip(x0, x1, y0, y1, axon, strict=True))

    @property
    def sizes(self) -> Integers:
        """Entries of each element, int64 (elements,)."""
        return np.diff(self.begin)

    @cached_property
    def lists(self) -> Integers:
        """A number for each element, int64 (elements,), equal for equal lists of entries."""
        return numbered(self.begin, self.table)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routes:
    """The packets of every element of every activation.

    Parameters
    ----------
    entries : mapping
        `mapping.spiking.network.INPUT` or the name of a layer -> entries of each element, in sending order.
    outputs : mapping
        Name of each layer read by the decoder -> gateway axon of its element 0; the others follow.
    system : SystemSpec
        The system that they are routed on.
    inlet : int32 (n,)
        The inlet of each entry of the input.
    """

    entries: Mapping[str, Entries]
    outputs: Mapping[str, int]
    system: SystemSpec
    inlet: NDArray[np.int32]

    @property
    def packets(self) -> int:
        """Entries of all activations together, the input's included."""
        return sum(len(entries.table) for entries in self.entries.values())


def route(partition: Partition, placement: Placement, system: SystemSpec | None = None) -> Routes:
    """Return the entries of every source: per axon id, few rectangles that hold its readers and nobody else.

    Elements of layers that the decoder reads are sent to the host too, by the outlets of the ``system``; by
    default it is a mesh of one chip with one outlet. What the host feeds is dealt to its inlets.

    Raises
    ------
    InfeasibleError
        If a core needs more entries than its memory has.
    """
    spiking = partition.spiking
    if system is None:
        system = SystemSpec(core=partition.spec, width=placement.width, height=placement.height)
    outputs = _output_offsets(partition)
    columns = _outlets(partition, placement, system)
    entries: dict[str, Entries] = {}
    for name in (INPUT, *(layer.name for layer in spiking.layers)):
        own = _entries(partition, placement, name)
        if name in outputs:
            axon = outputs[name] + np.arange(len(own))
            x, y = columns[axon], np.full(len(own), placement.height)
            last = np.column_stack((x, x, y, y, axon))
            table = np.insert(own.table, own.begin[1:], last, axis=0)
            own = Entries(own.begin + np.arange(len(own.begin)), table)
        entries[name] = own
    for layer in partition.layers:
        _check_memory(partition, layer, entries[layer.name])
    inlet = inlets_for(system, entries[INPUT].table[:, :4].astype(np.int64))
    return Routes(
        entries=MappingProxyType(entries), outputs=MappingProxyType(outputs), system=system, inlet=inlet
    )


def _outlets(partition: Partition, placement: Placement, system: SystemSpec) -> NDArray[np.int32]:
    """Return the column of the outlet of each gateway axon."""
    senders = [partition.home(name)[0] for name in partition.spiking.outputs]
    sender = np.concatenate([np.zeros(0, np.int64), *senders])
    return outlets_for(system, sender, placement.position)


def _output_offsets(partition: Partition) -> dict[str, int]:
    """Return the first gateway axon of each layer that the decoder reads."""
    outputs, total = {}, 0
    for name in partition.spiking.outputs:
        outputs[name] = total
        total += math.prod(partition.spiking.shape(name))
    return outputs


def _entries(partition: Partition, placement: Placement, name: str) -> Entries:
    """Return the entries that reach the readers of every element: by axon, then by size of the rectangle."""
    elements, read = math.prod(partition.spiking.shape(name)), partition.readings(name)
    covers = [cover(placement.position[cores].tolist()) for cores in read.members]
    counts = np.array([len(one) for one in covers], np.int64)
    rectangles = np.array([rectangle for one in covers for rectangle in one], np.int64).reshape(-1, 4)
    sizes = counts[read.group]
    rows = rectangles[ranges((np.cumsum(counts) - counts)[read.group], sizes)]
    table = np.column_stack((rows, np.repeat(read.axon, sizes)))
    of_element = np.bincount(read.element, weights=sizes, minlength=elements).astype(np.int64)
    return Entries(np.append(0, np.cumsum(of_element)), table.astype(np.int32))


def _check_memory(partition: Partition, layer: LayerPart, entries: Entries) -> None:
    """Demand room for the entries of each core; equal lists are stored once."""
    parts = partition.of(layer)
    element = np.concatenate([part.outputs for part in parts])
    core = np.repeat(np.arange(len(parts)), [len(part.outputs) for part in parts])
    first = np.unique(core * len(entries) + entries.lists[element], return_index=True)[1]
    held = np.bincount(core[first], weights=entries.sizes[element[first]], minlength=len(parts))
    for own in held.astype(np.int64).tolist():
        broken = overfull(layer.name, own, partition.spec)
        if broken is not None:
            raise broken


def fit(
    spiking: SpikingNetwork,
    spec: CoreSpec,
    site: Site | None = None,
) -> tuple[Partition, Placement, Routes]:
    """Partition, place and route, with flits as wide as the outputs need.

    When the fan-out memory of a core overflows, the layer gets fewer neurons a core and all is done again. An
    objective that asks for more cores than the mesh has then is followed less far.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    spec : CoreSpec
        Sizes of a core.
    site : Site, optional
        Where; by default the smallest mesh that fits.

    Raises
    ------
    InfeasibleError
        If a layer breaks a limit of the core, or the network needs more cores than the mesh has.
    """
    site = site or Site()
    spec = with_gateway(spec, spiking)
    with stage("partition"):
        *finer, fewest = site.caps(spiking, spec)
    for caps in finer:
        with suppress(TooManyCoresError):
            return _fit(spiking, spec, site, dict(caps))
    return _fit(spiking, spec, site, dict(fewest))


def _fit(
    spiking: SpikingNetwork, spec: CoreSpec, site: Site, caps: dict[str, int]
) -> tuple[Partition, Placement, Routes]:
    """Do what `fit` does, with so many neurons of a core by layer at most."""
    while True:
        with stage("partition"):
            parts = partition(spiking, spec, caps=caps)
        with stage("place"):
            placement = site.placement(parts)
        try:
            with stage("route"):
                return parts, placement, route(parts, placement, site.system(parts))
        except InfeasibleError as error:
            layer = next((layer for layer in parts.layers if layer.name == error.layer), None)
            if error.limit != FANOUT_LIMIT or layer is None:
                raise
            largest = max(len(part.outputs) for part in parts.of(layer))
            if largest == 1:
                raise
            caps[layer.name] = max(1, min(largest * int(error.allowed) // int(error.demand), largest - 1))
