# SPDX-License-Identifier: Apache-2.0
"""Prove that an image computes a network: every packet is walked, every synapse, threshold and step compared.

Nothing here is shared with partition, placer, router or emitter: `mapping.layout.packet_path` follows
`docs/reference/network.md`, and the expectation is the network's own matrices.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.words import Section
from mapping.errors import MappingError
from mapping.layout.packet_path import GATEWAY, walk
from mapping.spiking.matrices import layer_matrix, pool_members
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = ["Violation", "check", "require"]

Source = tuple[str, int]
Weights = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which an image differs from its network.

    ``kind`` is one of the names in `docs/reference/mapping.md`; a place that does not apply is None.
    """

    kind: str
    message: str
    core: int | None = None
    neuron: int | None = None
    axon: int | None = None

    def __str__(self) -> str:
        places = {"core": self.core, "neuron": self.neuron, "axon": self.axon}
        where = ", ".join(f"{noun} {value}" for noun, value in places.items() if value is not None)
        return f"{self.kind}: {where}{': ' if where else ''}{self.message}"


def check(image: SystemImage, spiking: SpikingNetwork) -> list[Violation]:
    """Return every way in which an image differs from its network; an empty list is a proof.

    Parameters
    ----------
    image : SystemImage
        An image made by `mapping.layout.emit.emit`.
    spiking : SpikingNetwork
        The network it must compute.
    """
    checker = _Checker(image, spiking)
    table = list(checker.table())
    return table or list(checker.violations())


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
            f"The image differs from its network in {len(found)} places, the first is {found[0]}; "
            "compile the model again."
        )


def _picked(entries: object, wanted: Sequence[Mapping[str, object]]) -> list[dict[str, object]] | None:
    """Return of every entry only the keys that are wanted of it; None if these are no such entries."""
    if not isinstance(entries, list) or len(entries) != len(wanted):
        return None
    if not all(isinstance(entry, Mapping) for entry in entries):
        return None
    return [{key: entry.get(key) for key in keys} for entry, keys in zip(entries, wanted, strict=True)]


class _Checker:
    """The tables of one check."""

    def __init__(self, image: SystemImage, spiking: SpikingNetwork) -> None:
        self.image, self.spiking = image, spiking
        self.cores = {index: core for index, core in enumerate(image.cores) if core is not None}
        self.depth = {INPUT: -1}
        for layer in spiking.layers:
            self.depth[layer.name] = self.depth[layer.source] + 1
        self.period = max(self.depth.values()) + 1
        self.arrivals: dict[tuple[int, int], list[Source]] = defaultdict(list)
        self.gateway: dict[int, list[Source]] = defaultdict(list)
        self.elements: dict[int, NDArray[np.int64]] = {}
        self.layer_of: dict[int, SpikingLayer] = {}

    def table(self) -> Iterator[Violation]:
        """Demand that the table of placed neurons names every neuron of network and image once."""
        message = self._metadata()
        if message is not None:
            yield Violation(kind="metadata", message=message)
            return
        placed = self.image.attachments.get("placed")
        if placed is None or placed.ndim != 2 or placed.shape[1] != 4 or placed.dtype.kind not in "iu":
            message = "it must be there, with four columns of integers"
            yield Violation(kind="placed-table", message=message)
            return
        rows = [tuple(row) for row in placed.tolist()]
        sizes = [math.prod(layer.output_shape) for layer in self.spiking.layers]
        wanted = [(order, element) for order, size in enumerate(sizes) for element in range(size)]
        there = [(index, neuron) for index, core in self.cores.items() for neuron in range(core.neurons)]
        if [row[:2] for row in rows] != wanted or sorted(row[2:] for row in rows) != there:
            message = (
                f"it must name the network's {len(wanted)} neurons and the cores' {len(there)} once each"
            )
            yield Violation(kind="placed-table", message=message)
            return
        for order, element, index, neuron in rows:
            layer = self.spiking.layers[order]
            if self.layer_of.setdefault(index, layer) is not layer:
                yield Violation(kind="placed-table", message="it has neurons of two layers", core=index)
            elements = self.elements.setdefault(index, np.full(self.cores[index].neurons, -1, np.int64))
            elements[neuron] = element

    def _metadata(self) -> str | None:
        """Return what is wrong with the metadata that the host feeds and reads the chip by."""
        spiking, meta = self.spiking, self.image.meta
        names = [layer.name for layer in spiking.layers]
        layers = [
            {"name": layer.name, "depth": self.depth[layer.name], "shape": list(layer.output_shape)}
            for layer in spiking.layers
        ]
        outputs = [
            {"name": name, "elements": math.prod(spiking.shape(name)), "shape": list(spiking.shape(name))}
            for name in spiking.outputs
        ]
        source = {"shape": list(spiking.shape(INPUT)), "levels": spiking.input_levels}
        if _picked(meta.get("layers"), layers) != layers or meta.get("period") != self.period:
            shown = ", ".join(names)
            return f"the layers must be {shown} with their depths and shapes, and the period {self.period}"
        if _picked([meta.get("input")], [source]) != [source]:
            return f"the input must be {source}, not {meta.get('input')}"
        places = [{"offset": int, "step": int}] * len(outputs)
        found = _picked(meta.get("outputs"), places)
        typed = found is not None and all(type(value) is int for entry in found for value in entry.values())
        if not typed or _picked(meta.get("outputs"), outputs) != outputs:
            return f"the outputs must be {outputs} with an offset and a step each"
        return None

    def violations(self) -> Iterator[Violation]:
        """Compare everything else; the table must have been found sound."""
        yield from self._packets()
        yield from self._outputs()
        for layer in self.spiking.layers:
            matrix = layer_matrix(layer)
            members: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for element, sources in enumerate(pool_members(layer)):
                members[tuple(sorted(sources.tolist()))].append(element)
            for index in sorted(self.layer_of):
                if self.layer_of[index] is layer:
                    core, expected = self.cores[index], matrix[self.elements[index]].toarray()
                    sources_of = {axon: self.arrivals.get((index, axon), []) for axon in range(core.axons)}
                    synapses = _Synapses(
                        layer=layer, index=index, core=core, expected=expected, members=members
                    )
                    yield from synapses.violations(sources_of)
                    yield from self._settings(index, core)
                    yield from self._thresholds(index, core, layer, expected)
                    yield from self._schedule(index, core, layer)

    def _packets(self) -> Iterator[Violation]:
        """Walk every packet and note where it arrives."""
        packets = self.image.input_packet.tolist()
        for element, packet in zip(self.image.input_element.tolist(), packets, strict=True):
            yield from self._packet((INPUT, element), GATEWAY, packet)
        for index, core in self.cores.items():
            bases = set(core.fanout_base[core.connected].tolist())
            for neuron in range(core.neurons):
                entries = list(core.fanout_of(neuron))
                base = int(core.fanout_base[neuron])
                if bases & set(range(base + 1, base + len(entries))):
                    message = "its list of entries runs on into another neuron's"
                    yield Violation(kind="unterminated-list", message=message, core=index, neuron=neuron)
                source = (self.layer_of[index].name, int(self.elements[index][neuron]))
                for entry in entries:
                    yield from self._packet(source, index, entry)

    def _packet(self, source: Source, start: int, packet: Iterable[int]) -> Iterator[Violation]:
        x0, x1, y0, y1, axon = packet
        path = walk(self.image.spec.width, self.image.spec.height, start, (x0, x1, y0, y1))
        if path.sunk or not path.arrivals:
            message = f"the rectangle x {x0}..{x1}, y {y0}..{y1} of {source[0]} {source[1]} leaves the mesh"
            core = None if start == GATEWAY else start
            yield Violation(kind="outside-mesh", message=message, core=core, axon=axon)
        for index in path.arrivals:
            if index == GATEWAY:
                self.gateway[axon].append(source)
            elif index not in self.cores:
                message = f"a packet of {source[0]} {source[1]} reaches this disabled core"
                yield Violation(kind="disabled-destination", message=message, core=index, axon=axon)
            elif axon >= self.cores[index].axons:
                limit = self.cores[index].axons
                message = f"a packet of {source[0]} {source[1]} names an axon beyond the {limit} in use"
                yield Violation(kind="axon-out-of-range", message=message, core=index, axon=axon)
            else:
                self.arrivals[index, axon].append(source)

    def _outputs(self) -> Iterator[Violation]:
        """Demand that what the decoder reads reaches the gateway, each element once under its own axon."""
        expected: list[Source] = []
        table = []
        for name in self.spiking.outputs:
            table.append((name, len(expected), self.depth[name]))
            expected += [(name, element) for element in range(math.prod(self.spiking.shape(name)))]
        got = [(entry["name"], entry["offset"], entry["step"]) for entry in self.image.meta["outputs"]]
        if got != table or self.image.output_element.tolist() != list(range(len(expected))):
            message = (
                f"the outputs (name, offset, step) must be {table} with {len(expected)} elements, not {got}"
            )
            yield Violation(kind="metadata", message=message)
        for axon in sorted({*range(len(expected)), *self.gateway}):
            wanted = expected[axon] if axon < len(expected) else None
            arrived = list(self.gateway.get(axon, []))
            if wanted is not None and wanted not in arrived:
                message = f"{wanted[0]} {wanted[1]} does not reach the gateway"
                yield Violation(kind="output-missing", message=message, axon=axon)
            elif wanted is not None:
                arrived.remove(wanted)
            for source in arrived:
                kind = "output-duplicate" if source == wanted else "output-extra"
                message = f"{source[0]} {source[1]} reaches the gateway too"
                yield Violation(kind=kind, message=message, axon=axon)

    def _settings(self, index: int, core: CoreImage) -> Iterator[Violation]:
        """Demand stateless neurons with one column of strength 1 that send their count."""
        zero = (core.bias, core.v0, core.reset, core.potential)
        wrong = np.any([array != 0 for array in zero], axis=0) | ~core.count_emission
        if core.strengths.tolist() != [1]:
            message = f"the strengths must be [1], not {core.strengths.tolist()}"
            yield Violation(kind="neuron-settings", message=message, core=index)
        for neuron in np.flatnonzero(wrong).tolist():
            message = "it must be stateless, without bias, and send its count"
            yield Violation(kind="neuron-settings", message=message, core=index, neuron=neuron)

    def _thresholds(
        self, index: int, core: CoreImage, layer: SpikingLayer, expected: Weights
    ) -> Iterator[Violation]:
        """Demand thresholds that part every reachable sum as the network's do."""
        spec, weights = self.image.spec.core, expected.astype(np.int64)
        low = (np.minimum(weights, 0).sum(axis=1) * layer.source_levels)[:, None]
        high = (np.maximum(weights, 0).sum(axis=1) * layer.source_levels)[:, None]
        per_row = math.prod(layer.output_shape) // len(layer.thresholds)
        wanted = np.clip(layer.thresholds[self.elements[index] // per_row], low, high + 1)
        place = core.threshold_base[:, None] + np.arange(layer.levels)
        beyond = place >= len(core.thresholds)
        stored = core.thresholds[np.where(beyond, 0, place)]
        got = np.where(stored <= spec.always, low, np.where(stored >= spec.never, high + 1, stored))
        got = np.clip(got, low, high + 1)
        for neuron in np.flatnonzero(((got != wanted) | beyond).any(axis=1)).tolist():
            message = (
                f"its thresholds act like {got[neuron].tolist()} and must act like {wanted[neuron].tolist()}"
            )
            yield Violation(kind="thresholds", message=message, core=index, neuron=neuron)

    def _schedule(self, index: int, core: CoreImage, layer: SpikingLayer) -> Iterator[Violation]:
        """Demand that the core works in the step of its depth and rests in all others."""
        entry = {name: values.tolist() for name, values in core.columns(Section.SCHEDULE).items()}
        steps = [at for at, repeat in enumerate(entry["repeat"]) for _ in range(repeat)]
        flags = [[entry[name][at] for name in ("init", "integrate", "update", "fire")] for at in steps]
        wanted = [[0, 0, 0, 0]] * self.period
        wanted[self.depth[layer.name]] = [0, 1, 1, 1]
        runs = ("threshold_first", "threshold_count")
        compared = [[entry[name][at] for name in runs] for at in steps if entry["fire"][at]]
        if flags != wanted or compared != [[0, layer.levels]]:
            step = self.depth[layer.name]
            message = f"it must work in step {step} of {self.period} only, with {layer.levels} thresholds"
            yield Violation(kind="schedule", message=message, core=index)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Synapses:
    """One core's synapses against the matrix of its layer.

    ``expected`` (neurons, inputs) holds the weights; ``members`` names the inputs by their source elements.
    """

    layer: SpikingLayer
    index: int
    core: CoreImage
    expected: Weights
    members: Mapping[tuple[int, ...], list[int]]

    def violations(self, sources_of: Mapping[int, list[Source]]) -> Iterator[Violation]:
        """Compare, given the sources whose packets arrive at each axon."""
        carried: dict[int, int] = {}
        for axon, sources in sources_of.items():
            if sources:
                yield from self._meeting(axon, sources)
                yield from self._axon(axon, sorted(set(sources)), carried)
            elif self.core.crossbar[axon].any():
                yield self._at("unfed-axon", axon, "it has synapses and no source")
        for element in np.flatnonzero(self.expected.any(axis=0)).tolist():
            if element not in carried:
                message = f"no axon joins input {element} of {self.layer.name} to it"
                yield Violation(kind="missing-connection", message=message, core=self.index)

    def _meeting(self, axon: int, sources: list[Source]) -> Iterator[Violation]:
        """Demand that each source sends once, and that several meet on pooled axons only."""
        distinct = len(set(sources))
        if distinct < len(sources):
            yield self._at("duplicate-delivery", axon, "a source sends to it more than once")
        if distinct > 1 and not self.core.pooled[axon]:
            yield self._at("unpooled-merge", axon, f"{distinct} sources meet on it and it is not pooled")

    def _axon(self, axon: int, sources: list[Source], carried: dict[int, int]) -> Iterator[Violation]:
        """Find the input that an axon carries, note it in ``carried``, and compare its synapses."""
        row = self.core.crossbar[axon]
        foreign = any(name != self.layer.source for name, _ in sources)
        candidates = [] if foreign else self.members.get(tuple(element for _, element in sources), [])
        if not candidates:
            text = ", ".join(f"{name} {element}" for name, element in sources[:4])
            yield self._at("extra-connection", axon, f"no input of {self.layer.name} is made of {text}")
            return
        free = [element for element in candidates if element not in carried] or candidates
        same = [element for element in free if np.array_equal(row, self.expected[:, element])]
        element = (same or free)[0]
        if element in carried:
            yield self._at(
                "duplicate-connection", axon, f"axon {carried[element]} carries input {element} too"
            )
            return
        carried[element] = axon
        wanted = self.expected[:, element]
        for neuron in np.flatnonzero(row != wanted).tolist():
            message = f"the weight of input {element} is {row[neuron]} and must be {wanted[neuron]}"
            yield Violation(kind="wrong-weight", message=message, core=self.index, neuron=neuron, axon=axon)
        if not row.any() and not wanted.any():
            yield self._at("extra-delivery", axon, f"input {element} has no weight on this core")

    def _at(self, kind: str, axon: int, message: str) -> Violation:
        return Violation(kind=kind, message=message, core=self.index, axon=axon)
