# SPDX-License-Identifier: Apache-2.0
"""Find the fan-out entries of every neuron and input element (`docs/reference/mapping.md`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from emu.spec import CoreSpec
from mapping.errors import InfeasibleError
from mapping.layout.capacity import with_gateway
from mapping.layout.cover import Rectangle, cover
from mapping.layout.cut import deliveries
from mapping.layout.mesh import Mesh
from mapping.layout.partition import FANOUT_LIMIT, LayerPart, Partition, overfull, partition
from mapping.layout.place import Placement, Placer, place, smallest_mesh
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.stages import stage

__all__ = ["Entry", "Routes", "fit", "route"]

Entry = tuple[int, int, int, int, int]
"""x0, x1, y0, y1, axon: one packet to all cores of a rectangle."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routes:
    """The packets of every element of every activation.

    Parameters
    ----------
    entries : mapping
        `mapping.spiking.network.INPUT` or the name of a layer -> entries of each element, in sending order.
    outputs : mapping
        Name of each layer read by the decoder -> gateway axon of its element 0; the others follow.
    """

    entries: Mapping[str, tuple[tuple[Entry, ...], ...]]
    outputs: Mapping[str, int]

    @property
    def packets(self) -> int:
        """Entries of all activations together, the input's included."""
        return sum(len(entries) for elements in self.entries.values() for entries in elements)


def route(partition: Partition, placement: Placement) -> Routes:
    """Return the entries of every source: per axon id, few rectangles that hold its readers and nobody else.

    Elements of layers that the decoder reads are sent to the gateway too.

    Raises
    ------
    InfeasibleError
        If a core needs more entries than its memory has.
    """
    spiking = partition.spiking
    outputs = _output_offsets(partition)
    gateway = (0, 0, placement.height, placement.height)
    entries: dict[str, tuple[tuple[Entry, ...], ...]] = {}
    covers: dict[tuple[int, ...], tuple[Rectangle, ...]] = {}
    for name in (INPUT, *(layer.name for layer in spiking.layers)):
        readers = _readers(partition, name)
        table: list[tuple[Entry, ...]] = []
        for element in range(math.prod(spiking.shape(name))):
            own: list[Entry] = []
            for axon, cores in sorted(readers.get(element, {}).items()):
                if cores not in covers:
                    covers[cores] = cover((int(x), int(y)) for x, y in placement.position[list(cores)])
                own += [(*rectangle, axon) for rectangle in covers[cores]]
            if name in outputs:
                own.append((*gateway, outputs[name] + element))
            table.append(tuple(own))
        entries[name] = tuple(table)
    for layer in partition.layers:
        _check_memory(partition, layer, entries[layer.name])
    return Routes(entries=MappingProxyType(entries), outputs=MappingProxyType(outputs))


def _output_offsets(partition: Partition) -> dict[str, int]:
    """Return the first gateway axon of each layer that the decoder reads."""
    outputs, total = {}, 0
    for name in partition.spiking.outputs:
        outputs[name] = total
        total += math.prod(partition.spiking.shape(name))
    return outputs


def _readers(partition: Partition, name: str) -> dict[int, dict[int, tuple[int, ...]]]:
    """Return source element -> axon id -> the cores that read it there."""
    found: dict[int, dict[int, list[int]]] = {}
    for layer in partition.layers:
        for index in [at for at, source in enumerate(layer.sources) if source == name]:
            table = deliveries(partition.spiking.layer(layer.name), index, partition.of(layer))
            for source, core, axon in zip(*(column.tolist() for column in table), strict=True):
                found.setdefault(source, {}).setdefault(axon, []).append(core + layer.first)
    return {
        source: {axon: tuple(sorted(cores)) for axon, cores in axons.items()}
        for source, axons in found.items()
    }


def _check_memory(partition: Partition, layer: LayerPart, table: tuple[tuple[Entry, ...], ...]) -> None:
    """Demand room for the entries of each core; equal lists are stored once."""
    for part in partition.of(layer):
        demand = sum(len(entries) for entries in {table[element] for element in part.outputs.tolist()})
        broken = overfull(layer.name, demand, partition.spec)
        if broken is not None:
            raise broken


def fit(
    spiking: SpikingNetwork,
    spec: CoreSpec,
    *,
    mesh: tuple[int, int] | None = None,
    seed: int = 0,
    placer: Placer = place,
) -> tuple[Partition, Placement, Routes]:
    """Partition, place and route, with flits as wide as the outputs need.

    When the fan-out memory of a core overflows, the layer gets fewer neurons a core and all is done again.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    spec : CoreSpec
        Sizes of a core.
    mesh : (width, height), optional
        The chip; by default the smallest that fits.
    seed : int
        Seed of the placer.
    placer : Placer
        The placer.

    Raises
    ------
    InfeasibleError
        If a layer breaks a limit of the core, or the network needs more cores than the mesh has.
    """
    caps: dict[str, int] = {}
    spec = with_gateway(spec, spiking)
    while True:
        with stage("partition"):
            parts = partition(spiking, spec, caps=caps)
        with stage("place"):
            width, height = mesh or smallest_mesh(parts)
            placement = placer(parts, Mesh(width=width, height=height), seed=seed)
        try:
            with stage("route"):
                return parts, placement, route(parts, placement)
        except InfeasibleError as error:
            layer = next((layer for layer in parts.layers if layer.name == error.layer), None)
            if error.limit != FANOUT_LIMIT or layer is None:
                raise
            largest = max(len(part.outputs) for part in parts.of(layer))
            if largest == 1:
                raise
            caps[layer.name] = max(1, min(largest * int(error.allowed) // int(error.demand), largest - 1))
