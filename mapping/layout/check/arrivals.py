# SPDX-License-Identifier: Apache-2.0
"""Follow every packet of an image and note whose packets arrive where."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of
from emu.image import CoreImage, SystemImage
from emu.tables import column
from emu.words import RECTANGLE, Section
from mapping.layout.check.frame import Frame
from mapping.layout.check.tables import Placed
from mapping.layout.check.violation import Violation
from mapping.layout.packet_path import GATEWAY, Paths, follow

__all__ = ["Arrivals", "Deliveries", "Packets", "deliveries_of", "list_violations", "output_violations"]

Integers = NDArray[np.int64]

_TARGET = [column(Section.FANOUT, name) for name in (*RECTANGLE, "axon")]
"""Columns of a fan-out entry that say where a packet goes; the host's packets have only these."""

_Table = tuple[NDArray[np.int32], Integers, Integers]

_DISABLED = -1
"""Stands for the number of axons of a disabled core."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packets:
    """Every packet that the host or a layer can send: source, sending core, rectangle and axon.

    ``source``, ``start`` and ``axon`` are int64 (packets,), ``rectangle`` is int64 (packets, 4); ``start``
    is `GATEWAY` - i for those that the host feeds by its inlet i.
    """

    source: Integers
    start: Integers
    rectangle: Integers
    axon: Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrivals:
    """Whose packets arrive, by axon.

    Parameters
    ----------
    core, axon : int64 (axons,)
        Every axon at which something arrives, sorted; the core may be `GATEWAY`.
    begin : int64 (axons + 1,)
        Where in ``source`` those of each axon begin.
    source, times : int64 (n,)
        The different sources of each axon, ascending, and how many packets each one sends to it.
    """

    core: Integers
    axon: Integers
    begin: Integers
    source: Integers
    times: Integers

    def part(self, low: int, high: int) -> "Arrivals":
        """Return the axons from row ``low`` up to ``high``."""
        first, last = self.begin[[low, high]].tolist()
        return Arrivals(
            core=self.core[low:high],
            axon=self.axon[low:high],
            begin=self.begin[low : high + 1] - first,
            source=self.source[first:last],
            times=self.times[first:last],
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Deliveries:
    """Where packets arrive, by the layer of the core; sorted when a layer is asked for.

    Parameters
    ----------
    layer : int64 (cores + 1,)
        The layer of core i in place i + 1, -1 for one that computes nothing; the gateway, in place 0, has
        the number after the last layer.
    axons, sources : int
        Bounds of an axon and of a source.
    """

    layer: Integers
    axons: int
    sources: int
    _keys: dict[int, list[Integers]] = field(default_factory=lambda: defaultdict(list))

    def add(self, core: Integers, axon: Integers, source: Integers) -> None:
        """Note packets; a delivery is one number, which sorts by core, axon and source."""
        key = ((core - GATEWAY) * self.axons + axon) * self.sources + source
        layer = self.layer[core - GATEWAY]
        for one in np.unique(layer[layer >= 0]).tolist():
            self._keys[one].append(key[layer == one])

    def take(self, layer: int) -> Arrivals:
        """Return what arrives at the cores of a layer, and forget it."""
        keys = np.sort(np.concatenate([np.zeros(0, np.int64), *self._keys.pop(layer, [])]))
        place, source = np.divmod(keys, self.sources)
        return _gathered(place, self.axons, source)


def _ranges(begin: Integers, size: Integers) -> Integers:
    """Return begin, begin + 1, ... of every range, one after the other.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(size) - size
    result: Integers = np.arange(int(size.sum())) + np.repeat(begin - before, size)
    return result


def _lists(core: CoreImage) -> tuple[Integers, Integers, Integers]:
    """Return the connected neurons of a core, and where the list of each one begins and how long it is."""
    neurons = np.flatnonzero(core.connected)
    begin = core.fanout_base[neurons].astype(np.int64)
    last = np.flatnonzero(core.columns(Section.FANOUT)["last"])
    return neurons, begin, last[np.searchsorted(last, begin)] - begin + 1


def _packets_of(image: SystemImage, frame: Frame, cores: Sequence[Placed]) -> Iterator[Packets]:
    """Yield the packets of the host, then those of the connected neurons of each layer."""
    elements, inlets = (array.astype(np.int64) for array in (image.input_element, image.input_inlet))
    yield _packets([(image.input_packet, elements, GATEWAY - inlets)])
    for order in range(len(frame.spiking.layers)):
        every: list[_Table] = []
        for placed in cores:
            if placed.layer == order:
                neurons, begin, size = _lists(placed.core)
                rows = placed.core.fanout[_ranges(begin, size)][:, _TARGET]
                source = np.repeat(frame.first[order + 1] + placed.elements[neurons], size)
                every.append((rows, source, np.full(len(rows), placed.index)))
        if every:
            yield _packets(every)


def _packets(tables: Sequence[_Table]) -> Packets:
    """Return packets by rows of rectangle and axon, their sources, and where they start."""
    rows, sources, starts = zip(*tables, strict=True)
    table = np.concatenate(rows).astype(np.int64)
    return Packets(
        source=np.concatenate(sources),
        start=np.concatenate(starts),
        rectangle=table[:, :-1],
        axon=table[:, -1],
    )


def list_violations(cores: Sequence[Placed]) -> Iterator[Violation]:
    """Demand that no neuron's list of entries runs on into another one's."""
    message = "its list of entries runs on into another neuron's"
    for placed in cores:
        neurons, begin, size = _lists(placed.core)
        others = np.append(np.unique(begin), np.iinfo(np.int64).max)
        after = others[np.searchsorted(others, begin, side="right")]
        for neuron in neurons[after < begin + size].tolist():
            yield Violation(kind="unterminated-list", message=message, core=placed.index, neuron=neuron)


def _paths(image: SystemImage, packets: Packets) -> tuple[Paths, Integers]:
    """Follow every different packet once; return the paths and the path of each packet."""
    width, height, gates = image.spec.width, image.spec.height, image.spec.gates
    inlets = len(inlets_of(gates))
    sizes = (image.spec.cores + inlets, width, width, height + 1, height + 1)
    places = np.column_stack((packets.start + inlets, packets.rectangle))
    key = np.ravel_multi_index(tuple(places.T), sizes)
    _, one, path = np.unique(key, return_index=True, return_inverse=True)
    return follow(width, height, packets.start[one], packets.rectangle[one], gates), path


def deliveries_of(
    image: SystemImage, frame: Frame, cores: Sequence[Placed]
) -> tuple[Deliveries, list[Violation]]:
    """Follow all packets; return what arrives, and a violation for each that arrives nowhere in use."""
    used = np.array([_DISABLED if program is None else program.axons for program in image.cores])
    layer = np.full(image.spec.cores + 1, -1)
    layer[0] = len(frame.spiking.layers)
    layer[[core.index + 1 for core in cores]] = [core.layer for core in cores]
    entries = [core.core.fanout[:, _TARGET[-1]] for core in cores]
    axons = 1 + max(int(axon.max(initial=0)) for axon in (image.input_packet[:, -1], *entries))
    found = Deliveries(layer=layer, axons=axons, sources=int(frame.first[-1]))
    lost: list[Violation] = []
    refused: list[Violation] = []
    for packets in _packets_of(image, frame, cores):
        paths, path = _paths(image, packets)
        copies = np.bincount(paths.packet, minlength=len(paths.sunk))
        astray = ((paths.sunk > 0) | (copies == 0))[path]
        packet = np.repeat(np.arange(len(path)), copies[path])
        core = paths.core[_ranges((np.cumsum(copies) - copies)[path], copies[path])]
        axon = packets.axon[packet]
        sound = (core == GATEWAY) | (axon < used[core])
        lost += _lost(frame, packets, np.flatnonzero(astray))
        refused += _refused(frame, packets, packet[~sound], core[~sound], used)
        found.add(core[sound], axon[sound], packets.source[packet[sound]])
    return found, lost + refused


def _gathered(place: Integers, axons: int, source: Integers) -> Arrivals:
    """Return deliveries to places ``(core - GATEWAY) * axons + axon``, sorted by both, by axon."""
    core, axon = np.divmod(place, axons)
    core += GATEWAY
    fresh = np.ones(len(core), np.bool_)
    fresh[1:] = place[1:] != place[:-1]
    other = fresh.copy()
    other[1:] |= source[1:] != source[:-1]
    different = np.flatnonzero(other)
    return Arrivals(
        core=core[fresh],
        axon=axon[fresh],
        begin=np.append(np.flatnonzero(fresh[different]), len(different)),
        source=source[different],
        times=np.diff(np.append(different, len(source))),
    )


def _lost(frame: Frame, packets: Packets, rows: Integers) -> Iterator[Violation]:
    """Name the packets that leave the mesh or arrive nowhere."""
    for row in rows.tolist():
        x0, x1, y0, y1 = packets.rectangle[row].tolist()
        text, start = frame.text(int(packets.source[row])), int(packets.start[row])
        yield Violation(
            kind="outside-mesh",
            message=f"the rectangle x {x0}..{x1}, y {y0}..{y1} of {text} leaves the mesh",
            core=None if start <= GATEWAY else start,
            axon=int(packets.axon[row]),
        )


def _refused(
    frame: Frame, packets: Packets, packet: Integers, core: Integers, used: Integers
) -> Iterator[Violation]:
    """Name the packets that reach a core that is disabled, or does not use their axon."""
    for row, index in zip(packet.tolist(), core.tolist(), strict=True):
        text, axon = frame.text(int(packets.source[row])), int(packets.axon[row])
        if used[index] == _DISABLED:
            message = f"a packet of {text} reaches this disabled core"
            yield Violation(kind="disabled-destination", message=message, core=index, axon=axon)
        else:
            message = f"a packet of {text} names an axon beyond the {used[index]} in use"
            yield Violation(kind="axon-out-of-range", message=message, core=index, axon=axon)


def output_violations(frame: Frame, gateway: Arrivals) -> Iterator[Violation]:
    """Demand that what the decoder reads reaches the gateway, each element once under its own axon."""
    axon = np.repeat(gateway.axon, np.diff(gateway.begin))
    known = axon < len(frame.outputs)
    right = np.zeros(len(axon), np.bool_)
    right[known] = frame.outputs[axon[known]] == gateway.source[known]
    for absent in np.setdiff1d(np.arange(len(frame.outputs)), axon[right]).tolist():
        message = f"{frame.text(int(frame.outputs[absent]))} does not reach the gateway"
        yield Violation(kind="output-missing", message=message, axon=absent)
    for row in np.flatnonzero(~right | (gateway.times > 1)).tolist():
        message = f"{frame.text(int(gateway.source[row]))} reaches the gateway too"
        if right[row]:
            yield Violation(kind="output-duplicate", message=message, axon=int(axon[row]))
        else:
            yield Violation(kind="output-extra", message=message, axon=int(axon[row]))
