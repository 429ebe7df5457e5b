# SPDX-License-Identifier: Apache-2.0
"""Prove that an image computes a network: every packet is walked, every synapse, threshold and step compared.

Nothing here is shared with partition, placer, router or emitter: the walk follows `docs/reference/network.md`,
the expectation is the network's own matrices.
"""

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from mapping.errors import MappingError
from mapping.operations import layer_matrix, pool_members
from mapping.spiking import INPUT, SpikingLayer, SpikingNetwork

__all__ = ["Violation", "Walk", "check", "require", "walk"]

Source = tuple[str, int]
Arrivals = dict[tuple[int, int], list[Source]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which an image differs from its network.

    ``kind`` is one of the names in `docs/reference/mapping.md`; core, neuron and axon are None where they do not apply.
    """

    kind: str
    message: str
    core: int | None = None
    neuron: int | None = None
    axon: int | None = None

    def __str__(self) -> str:
        places = [
            f"{noun} {value}"
            for noun in ("core", "neuron", "axon")
            if (value := getattr(self, noun)) is not None
        ]
        return f"{self.kind}: {', '.join(places)}{': ' if places else ''}{self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Where a packet arrives: core indices, -1 for the gateway, once per copy; links crossed; copies sunk by routers."""

    arrivals: tuple[int, ...]
    hops: int
    sunk: int


@functools.lru_cache(maxsize=65536)
def walk(width: int, height: int, start: int, rectangle: tuple[int, int, int, int]) -> Walk:
    """Follow one packet through the routers by the rules of "Ports and routes" in `docs/reference/network.md`.

    Parameters
    ----------
    width, height : int
        The mesh.
    start : int
        Index of the sending core, -1 for the gateway.
    rectangle : (x0, x1, y0, y1)
        The packet's destination.
    """
    x0, x1, y0, y1 = rectangle
    pending = [(0, 0, "W")] if start < 0 else [(start % width, start // width, "L")]
    arrivals: list[int] = []
    hops = sunk = 0
    while pending:
        x, y, port = pending.pop()
        wanted = set()
        if port in "LW" and x1 > x:
            wanted.add("E")
        if port in "LE" and x0 < x:
            wanted.add("W")
        turns = port in "LWE" and x0 <= x <= x1
        if y1 > y and (turns or port == "N"):
            wanted.add("S")
        if y0 < y and (turns or port == "S"):
            wanted.add("N")
        if y0 <= y <= y1 and (turns or port in "NS"):
            wanted.add("L")
        sunk += not wanted
        for output in sorted(wanted):
            if output == "L":
                arrivals.append(y * width + x)
            elif output == "S" and (x, y) == (0, height - 1):
                arrivals.append(-1)
                hops += 1
            else:
                nx, ny, entry = {
                    "N": (x, y - 1, "S"),
                    "E": (x + 1, y, "W"),
                    "S": (x, y + 1, "N"),
                    "W": (x - 1, y, "E"),
                }[output]
                if 0 <= nx < width and 0 <= ny < height:
                    pending.append((nx, ny, entry))
                    hops += 1
                else:
                    sunk += 1
    return Walk(arrivals=tuple(sorted(arrivals)), hops=hops, sunk=sunk)


def check(image: SystemImage, spiking: SpikingNetwork) -> list[Violation]:
    """Return every way in which an image differs from its network, in a fixed order; an empty list is a proof.

    Parameters
    ----------
    image : SystemImage
        An image made by `mapping.emit.emit`.
    spiking : SpikingNetwork
        The network it must compute.
    """
    return list(_Checker(image, spiking).violations())


def require(image: SystemImage, spiking: SpikingNetwork) -> None:
    """Do nothing if `check` finds nothing.

    Raises
    ------
    MappingError
        With the first violation and their number.
    """
    found = check(image, spiking)
    if found:
        raise MappingError(
            f"The image differs from its network in {len(found)} places, first {found[0]}; compile the model again."
        )


class _Checker:
    """The tables of one check."""

    def __init__(self, image: SystemImage, spiking: SpikingNetwork) -> None:
        self.image, self.spiking = image, spiking
        self.width, self.height = image.spec.width, image.spec.height
        self.depth = {INPUT: -1}
        for layer in spiking.layers:
            self.depth[layer.name] = self.depth[layer.source] + 1
        self.period = max(self.depth.values()) + 1
        self.arrivals: Arrivals = defaultdict(list)
        self.gateway: dict[int, list[Source]] = defaultdict(list)
        self.elements: dict[int, NDArray[np.int64]] = {}
        self.layer_of: dict[int, SpikingLayer] = {}

    def violations(self) -> Iterator[Violation]:
        table = list(self._table())
        yield from table
        if table:
            return
        yield from self._packets()
        yield from self._outputs()
        for layer in self.spiking.layers:
            cores = [core for core in sorted(self.layer_of) if self.layer_of[core] is layer]
            matrix = layer_matrix(layer)
            members: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for element, sources in enumerate(pool_members(layer)):
                members[tuple(sorted(sources.tolist()))].append(element)
            for index in cores:
                core = self.image.cores[index]
                assert core is not None
                expected = matrix[self.elements[index]].toarray()
                yield from _Synapses(layer, index, core, expected, members, self.arrivals).violations()
                yield from self._neurons(index, core, layer, expected)
                yield from self._schedule(index, core, layer)

    def _table(self) -> Iterator[Violation]:
        """Demand that the table of placed neurons names every neuron of the network and of the image once."""
        names = [layer.name for layer in self.spiking.layers]
        if [entry["name"] for entry in self.image.meta["layers"]] != names or self.image.meta[
            "period"
        ] != self.period:
            yield Violation(
                kind="metadata", message=f"layers must be {', '.join(names)} with period {self.period}"
            )
            return
        rows = [tuple(row) for row in self.image.attachments["placed"].tolist()]
        wanted = [
            (i, e)
            for i, layer in enumerate(self.spiking.layers)
            for e in range(math.prod(layer.output_shape))
        ]
        if [row[:2] for row in rows] != wanted:
            yield Violation(
                kind="placed-table",
                message=f"it must name each of the {len(wanted)} neurons of the network once",
            )
            return
        there = [
            (i, n) for i, core in enumerate(self.image.cores) if core is not None for n in range(core.neurons)
        ]
        if sorted(row[2:] for row in rows) != there:
            yield Violation(
                kind="placed-table",
                message=f"it must name each of the {len(there)} neurons of the cores once",
            )
            return
        for order, element, index, neuron in rows:
            core, layer = self.image.cores[index], self.spiking.layers[order]
            assert core is not None
            if self.layer_of.setdefault(index, layer) is not layer:
                yield Violation(
                    kind="placed-table", message="the core holds neurons of two layers", core=index
                )
            self.elements.setdefault(index, np.full(core.neurons, -1, np.int64))[neuron] = element

    def _packets(self) -> Iterator[Violation]:
        """Walk every packet and note where it arrives."""
        for element, packet in zip(
            self.image.input_element.tolist(), self.image.input_packet.tolist(), strict=True
        ):
            yield from self._packet((INPUT, element), -1, None, packet)
        for index, core in enumerate(self.image.cores):
            if core is None:
                continue
            bases = set(core.fanout_base[core.connected].tolist())
            for neuron in range(core.neurons):
                entries = list(core.fanout_of(neuron))
                base = int(core.fanout_base[neuron])
                passed = bases & set(range(base + 1, base + len(entries)))
                if passed:
                    message = "its list of entries runs on into another neuron's"
                    yield Violation(kind="unterminated-list", message=message, core=index, neuron=neuron)
                source = (self.layer_of[index].name, int(self.elements[index][neuron]))
                for entry in entries:
                    yield from self._packet(source, index, neuron, entry)

    def _packet(
        self, source: Source, start: int, neuron: int | None, packet: Iterable[int]
    ) -> Iterator[Violation]:
        x0, x1, y0, y1, axon = packet
        path = walk(self.width, self.height, start, (x0, x1, y0, y1))
        sender = None if start < 0 else start
        if path.sunk or not path.arrivals:
            message = f"the rectangle x {x0}..{x1}, y {y0}..{y1} of {source[0]} {source[1]} leaves the mesh"
            yield Violation(kind="outside-mesh", message=message, core=sender, neuron=neuron, axon=axon)
        for index in path.arrivals:
            if index < 0:
                self.gateway[axon].append(source)
                continue
            core = self.image.cores[index]
            if core is None:
                message = f"a packet of {source[0]} {source[1]} reaches this disabled core"
                yield Violation(kind="disabled-destination", message=message, core=index, axon=axon)
            elif axon >= core.axons:
                message = f"a packet of {source[0]} {source[1]} names an axon beyond the {core.axons} in use"
                yield Violation(kind="axon-out-of-range", message=message, core=index, axon=axon)
            else:
                self.arrivals[index, axon].append(source)

    def _outputs(self) -> Iterator[Violation]:
        """Demand that each element the decoder reads reaches the gateway once, under its own axon, and nothing else does."""
        expected: dict[int, Source] = {}
        for name in self.spiking.outputs:
            for element in range(math.prod(self.spiking.shape(name))):
                expected[len(expected)] = (name, element)
        offset = 0
        for name, entry in zip(self.spiking.outputs, self.image.meta["outputs"], strict=False):
            place = (entry["name"], entry["offset"], entry["step"])
            if place != (name, offset, self.depth[name]):
                yield Violation(
                    kind="metadata", message=f"output must be {(name, offset, self.depth[name])}, not {place}"
                )
            offset += math.prod(self.spiking.shape(name))
        sizes = (len(self.image.meta["outputs"]), self.image.output_element.tolist())
        if sizes != (len(self.spiking.outputs), list(range(len(expected)))):
            yield Violation(
                kind="metadata",
                message=f"there must be {len(self.spiking.outputs)} outputs of {len(expected)} elements",
            )
        for axon in sorted(expected.keys() | self.gateway.keys()):
            got, wanted = self.gateway.get(axon, []), expected.get(axon)
            if wanted is not None and wanted not in got:
                yield Violation(
                    kind="output-missing",
                    message=f"{wanted[0]} {wanted[1]} does not reach the gateway",
                    axon=axon,
                )
            extra = list(got)
            if wanted in extra:
                extra.remove(wanted)
            for source in extra:
                kind = "output-duplicate" if source == wanted else "output-extra"
                yield Violation(
                    kind=kind, message=f"{source[0]} {source[1]} reaches the gateway too", axon=axon
                )

    def _neurons(
        self, index: int, core: CoreImage, layer: SpikingLayer, expected: NDArray[np.int8]
    ) -> Iterator[Violation]:
        """Demand stateless counting neurons whose thresholds part every reachable sum as the network's do."""
        settings = (
            (core.bias, 0),
            (core.v0, 0),
            (core.reset, 0),
            (core.potential, 0),
            (core.count_emission, True),
        )
        wrong = np.any([array != value for array, value in settings], axis=0)
        if core.strengths.tolist() != [1]:
            wrong[:] = True
        for neuron in np.flatnonzero(wrong).tolist():
            message = "it must be stateless, without bias, with strength 1, and send its count"
            yield Violation(kind="neuron-settings", message=message, core=index, neuron=neuron)
        weights = expected.astype(np.int64)
        low = (np.minimum(weights, 0).sum(axis=1) * layer.source_levels)[:, None]
        high = (np.maximum(weights, 0).sum(axis=1) * layer.source_levels)[:, None]
        per_row = math.prod(layer.output_shape) // len(layer.thresholds)
        wanted = layer.thresholds[self.elements[index] // per_row]
        base = core.threshold_base[:, None] + np.arange(layer.levels)
        inside = base < len(core.thresholds)
        got = np.where(inside, core.thresholds[np.where(inside, base, 0)], 0)
        got = np.where(got <= self.image.spec.core.always, low, got)
        got = np.where(got >= self.image.spec.core.never, high + 1, got)
        differ = (np.clip(got, low, high + 1) != np.clip(wanted, low, high + 1)) | ~inside
        for neuron in np.flatnonzero(differ.any(axis=1)).tolist():
            message = f"it has {got[neuron].tolist()} and must have {wanted[neuron].tolist()}"
            yield Violation(kind="thresholds", message=message, core=index, neuron=neuron)

    def _schedule(self, index: int, core: CoreImage, layer: SpikingLayer) -> Iterator[Violation]:
        """Demand that the core works in the step of its depth and rests in all others."""
        steps = [tuple(row[1:]) for row in core.schedule.tolist() for _ in range(row[0])]
        idle = [(0, 0, 0, 0)] * self.period
        idle[self.depth[layer.name]] = (0, 1, 1, 1)
        flags = [step[:4] for step in steps]
        counted = {step[4:] for step in steps if step[3]}
        if flags != idle or counted != {(0, layer.levels)}:
            message = f"it must work in step {self.depth[layer.name]} of {self.period} with {layer.levels} thresholds"
            yield Violation(kind="schedule", message=message, core=index)


@dataclasses.dataclass
class _Synapses:
    """One core's synapses against the matrix of its layer.

    ``expected`` (neurons, inputs) holds the weights; ``members`` names the inputs by their source elements.
    """

    layer: SpikingLayer
    index: int
    core: CoreImage
    expected: NDArray[np.int8]
    members: dict[tuple[int, ...], list[int]]
    arrivals: Arrivals

    def violations(self) -> Iterator[Violation]:
        found: dict[int, int] = {}
        for axon in range(self.core.axons):
            sources = self.arrivals.get((self.index, axon), [])
            yield from self._axon(axon, sources, found)
        for element in np.flatnonzero(self.expected.any(axis=0)).tolist():
            if element not in found:
                message = f"no axon joins input {element} of {self.layer.name} to it"
                yield Violation(kind="missing-connection", message=message, core=self.index)

    def _axon(self, axon: int, sources: list[Source], found: dict[int, int]) -> Iterator[Violation]:
        """Find the input that an axon carries, note it in ``found``, and compare its synapses."""
        row = self.core.crossbar[axon]
        distinct = sorted(set(sources))
        if not sources:
            if row.any():
                yield self._violation("unfed-axon", axon, "it has synapses and no source")
            return
        if len(distinct) < len(sources):
            yield self._violation("duplicate-delivery", axon, "a source sends to it more than once")
        if len(distinct) > 1 and not self.core.pooled[axon]:
            yield self._violation(
                "unpooled-merge", axon, f"{len(distinct)} sources meet on it and it is not pooled"
            )
        foreign = [source for source in distinct if source[0] != self.layer.source]
        key = tuple(element for _, element in distinct)
        candidates = [] if foreign else self.members.get(key, [])
        if not candidates:
            text = ", ".join(f"{name} {element}" for name, element in distinct[:4])
            yield self._violation(
                "extra-connection", axon, f"no input of {self.layer.name} is made of {text}"
            )
            return
        free = [element for element in candidates if element not in found] or candidates
        same = [element for element in free if np.array_equal(row, self.expected[:, element])]
        element = (same or free)[0]
        if element in found:
            yield self._violation(
                "duplicate-connection", axon, f"axon {found[element]} carries input {element} too"
            )
            return
        found[element] = axon
        for neuron in np.flatnonzero(row != self.expected[:, element]).tolist():
            message = (
                f"the weight of input {element} is {row[neuron]} and must be {self.expected[neuron, element]}"
            )
            yield Violation(kind="wrong-weight", message=message, core=self.index, neuron=neuron, axon=axon)
        if not row.any() and not self.expected[:, element].any():
            yield self._violation("extra-delivery", axon, f"input {element} has no weight on this core")

    def _violation(self, kind: str, axon: int, message: str) -> Violation:
        return Violation(kind=kind, message=message, core=self.index, axon=axon)
