# SPDX-License-Identifier: Apache-2.0
"""Follow every packet of an image and note whose packets arrive where."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from emu.gates import inlets_of
from emu.image import SystemImage
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

    @property
    def distinct(self) -> Integers:
        """How many different sources each axon has, int64 (axons,)."""
        return np.diff(self.begin)

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Flight:
    """Packets that were followed.

    Parameters
    ----------
    source, axon : int64 (packets,)
        Those of each packet.
    path : int64 (packets,)
        Which of the different paths each one takes.
    paths : Paths
        Where these end.
    """

    source: Integers
    axon: Integers
    path: Integers
    paths: Paths

    def arriving(self, wanted: NDArray[np.bool_]) -> tuple[Integers, Integers]:
        """Return packet and core, sorted, of what arrives at the wanted cores, by core - GATEWAY."""
        own = wanted[self.paths.core - GATEWAY]
        copies = np.bincount(self.paths.packet[own], minlength=len(self.paths.sunk))
        packet = np.repeat(np.arange(len(self.path)), copies[self.path])
        place = _ranges((np.cumsum(copies) - copies)[self.path], copies[self.path])
        return packet, self.paths.core[own][place]


@dataclass(slots=True, kw_only=True, eq=False)
class Deliveries:
    """Where packets arrive, by the layer of the core; sorted when a layer is asked for.

    Cores of a layer on which all paths end alike have the same deliveries. They are kept once, for the first
    of these cores, the head. A delivery is one number, that of its core - `GATEWAY`, its axon and its source,
    which sorts by them.

    Parameters
    ----------
    layer : int64 (cores + 1,)
        The layer of core i in place i + 1, -1 for one that computes nothing; the gateway, in place 0, has
        the number after the last layer.
    heads : int64 (cores + 1,)
        The head of each core, in the same places.
    axon_bits, source_bits : int
        Bits of an axon and of a source.
    """

    layer: Integers
    heads: Integers
    axon_bits: int
    source_bits: int
    _keys: dict[int, list[Integers]] = field(default_factory=lambda: defaultdict(list))

    def add(self, flight: _Flight, packet: Integers, core: Integers) -> None:
        """Note that packets of a flight arrive at cores that are heads."""
        key = (core - GATEWAY) << self.axon_bits + self.source_bits
        key |= (flight.axon << self.source_bits | flight.source)[packet]
        layer = self.layer[core - GATEWAY]
        for one in np.flatnonzero(np.bincount(layer + 1)[1:]).tolist():
            own = layer == one
            self._keys[one].append(key if own.all() else key[own])

    @property
    def is_head(self) -> NDArray[np.bool_]:
        """Whether each core is a head, bool (cores + 1,)."""
        return np.asarray(self.heads == np.arange(len(self.heads)) + GATEWAY)

    def head(self, core: int) -> int:
        """Return the core that has the deliveries of a core."""
        return int(self.heads[core - GATEWAY])

    def take(self, layer: int) -> Arrivals:
        """Return what arrives at the heads of a layer, and forget it."""
        keys = np.concatenate([np.zeros(0, np.int64), *self._keys.pop(layer, [])])
        number, axons = np.cumsum((self.layer == layer) & self.is_head) - 1, (1 << self.axon_bits) - 1
        place = number[keys >> self.axon_bits + self.source_bits] << self.axon_bits
        keys = _sorted(keys, place | keys >> self.source_bits & axons)
        place, source = keys >> self.source_bits, keys & (1 << self.source_bits) - 1
        fresh = np.ones(len(keys), np.bool_)
        np.not_equal(place[1:], place[:-1], out=fresh[1:])
        other = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=other[1:])
        different, place = np.flatnonzero(other), place[fresh]
        return Arrivals(
            core=(place >> self.axon_bits) + GATEWAY,
            axon=place & axons,
            begin=np.append(np.flatnonzero(fresh[different]), len(different)),
            source=source[different],
            times=np.diff(different, append=len(keys)),
        )


def _sorted(keys: Integers, place: Integers) -> Integers:
    """Return keys sorted, which is little work once those of a place are put together, in their order.

    >>> _sorted(np.array([13, 2, 12, 1]), np.array([3, 0, 3, 0])).tolist()
    [1, 2, 12, 13]
    """
    shape, ends = (1, int(place.max(initial=0)) + 1), np.array([0, len(keys)])
    together: Integers = sparse.csr_array((keys, place, ends), shape=shape).tocsc().data
    together.sort(kind="stable")
    return together


def _ranges(begin: Integers, size: Integers) -> Integers:
    """Return begin, begin + 1, ... of every range, one after the other.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(size) - size
    result: Integers = np.arange(int(size.sum())) + np.repeat(begin - before, size)
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lists:
    """The lists of entries of the connected neurons of some cores, whose fan-outs follow each other.

    Parameters
    ----------
    core, neuron : int64 (lists,)
        Which of the cores has it, and of which neuron it is.
    begin, size : int64 (lists,)
        Where in the fan-outs it begins, and how many entries it has.
    """

    core: Integers
    neuron: Integers
    begin: Integers
    size: Integers

    @classmethod
    def of(cls, cores: Sequence[Placed]) -> "_Lists":
        """Return those of some cores, at least one."""
        programs = [placed.core for placed in cores]
        entries = np.array([len(program.fanout) for program in programs])
        neurons = np.array([program.neurons for program in programs])
        at = np.flatnonzero(np.concatenate([program.connected for program in programs]))
        core = np.repeat(np.arange(len(cores)), neurons)[at]
        base = np.concatenate([program.fanout_base for program in programs])[at]
        begin = (np.cumsum(entries) - entries)[core] + base
        ends = np.concatenate([program.columns(Section.FANOUT)["last"] for program in programs]) != 0
        last = np.flatnonzero(ends)[(np.cumsum(ends) - ends)[begin]]
        neuron = at - (np.cumsum(neurons) - neurons)[core]
        return cls(core=core, neuron=neuron, begin=begin, size=last - begin + 1)

    def running_on(self) -> Integers:
        """Return the lists within which another one begins."""
        begins = np.zeros(int((self.begin + self.size).max(initial=0)), np.int64)
        begins[self.begin] = 1
        before = np.cumsum(begins)
        return np.flatnonzero(before[self.begin + self.size - 1] > before[self.begin])


def _packets_of(image: SystemImage, frame: Frame, cores: Sequence[Placed]) -> Iterator[Packets]:
    """Yield the packets of the host, then those of the connected neurons of each layer."""
    elements, inlets = (array.astype(np.int64) for array in (image.input_element, image.input_inlet))
    yield _packets(image.input_packet, elements, GATEWAY - inlets)
    for order in range(len(frame.spiking.layers)):
        own = [placed for placed in cores if placed.layer == order]
        if own:
            lists = _Lists.of(own)
            at = np.repeat(np.arange(len(lists.core)), lists.size)
            element = np.concatenate([placed.elements for placed in own])
            first = np.cumsum([0, *(placed.core.neurons for placed in own)])
            source = frame.first[order + 1] + element[first[lists.core] + lists.neuron]
            start = np.array([placed.index for placed in own])[lists.core]
            rows = np.concatenate([placed.core.fanout for placed in own])
            rows = rows[_ranges(lists.begin, lists.size)][:, _TARGET]
            yield _packets(rows, source[at], start[at])


def _packets(rows: NDArray[np.int32], source: Integers, start: Integers) -> Packets:
    """Return packets by rows of rectangle and axon, their sources, and where they start."""
    table = rows.astype(np.int64)
    return Packets(source=source, start=start, rectangle=table[:, :-1], axon=table[:, -1])


def list_violations(cores: Sequence[Placed]) -> Iterator[Violation]:
    """Demand that no neuron's list of entries runs on into another one's."""
    message = "its list of entries runs on into another neuron's"
    lists = _Lists.of(cores)
    for row in lists.running_on().tolist():
        core, neuron = cores[int(lists.core[row])].index, int(lists.neuron[row])
        yield Violation(kind="unterminated-list", message=message, core=core, neuron=neuron)


def _paths(image: SystemImage, packets: Packets) -> tuple[Paths, Integers]:
    """Follow every different packet once; return the paths and the path of each packet."""
    width, height, gates = image.spec.width, image.spec.height, image.spec.gates
    inlets = len(inlets_of(gates))
    sizes = (image.spec.cores + inlets, width, width, height + 1, height + 1)
    places = (packets.start + inlets, *packets.rectangle.T)
    key, path = np.unique(np.ravel_multi_index(places, sizes), return_inverse=True)
    start, *rectangle = np.unravel_index(key, sizes)
    return follow(width, height, start - inlets, np.stack(rectangle, axis=1), gates), path


def deliveries_of(
    image: SystemImage, frame: Frame, cores: Sequence[Placed]
) -> tuple[Deliveries, list[Violation]]:
    """Follow all packets; return what arrives, and a violation for each that arrives nowhere in use."""
    programs = [_DISABLED if program is None else program.axons for program in image.cores]
    used = np.array([np.iinfo(np.int64).max, *programs])  # by core - GATEWAY
    layer = np.full(image.spec.cores + 1, -1)
    layer[0] = len(frame.spiking.layers)
    layer[[core.index + 1 for core in cores]] = [core.layer for core in cores]
    lost: list[Violation] = []
    refused: list[Violation] = []
    flights: list[_Flight] = []
    for packets in _packets_of(image, frame, cores):
        paths, path = _paths(image, packets)
        copies = np.bincount(paths.packet, minlength=len(paths.sunk))
        astray = ((paths.sunk > 0) | (copies == 0))[path]
        if astray.any():
            lost += _lost(frame, packets, np.flatnonzero(astray))
        flights.append(_Flight(source=packets.source, axon=packets.axon, path=path, paths=paths))
    heads = _heads(flights, np.stack((layer, used)))
    most = max(int(flight.axon.max(initial=0)) for flight in flights)
    bits = most.bit_length(), int(frame.first[-1]).bit_length()
    found = Deliveries(layer=layer, heads=heads, axon_bits=bits[0], source_bits=bits[1])
    for flight in flights:
        packet, core = flight.arriving(found.is_head)
        sound = flight.axon[packet] < used[core - GATEWAY]
        if not sound.all():
            refused += _refused(frame, flight, used)
        found.add(flight, packet[sound], core[sound])
    return found, lost + refused


def _heads(flights: Sequence[_Flight], about: Integers) -> Integers:
    """Return for each core the first one that is alike, int64 (cores + 1,), by core - `GATEWAY`.

    Cores are alike where all paths end alike and what is told ``about`` them is the same, (facts, cores + 1).
    """
    first = np.cumsum([0, *(len(flight.paths.sunk) for flight in flights)])
    path = np.concatenate([flight.paths.packet + low for flight, low in zip(flights, first, strict=False)])
    core = np.concatenate([flight.paths.core for flight in flights]) - GATEWAY
    order = np.argsort(core, kind="stable")
    ended = np.split(path[order], np.cumsum(np.bincount(core, minlength=about.shape[1]))[:-1])
    known: dict[tuple[bytes, bytes], int] = {}
    keys = zip(about.T, ended, strict=True)
    heads = [known.setdefault((own.tobytes(), ends.tobytes()), at) for at, (own, ends) in enumerate(keys)]
    return np.array(heads) + GATEWAY


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


def _refused(frame: Frame, flight: _Flight, used: Integers) -> Iterator[Violation]:
    """Name the packets that reach a core that is disabled, or does not use their axon."""
    packet, core = flight.arriving(np.ones(len(used), np.bool_))
    wrong = flight.axon[packet] >= used[core - GATEWAY]
    for row, index in zip(packet[wrong].tolist(), core[wrong].tolist(), strict=True):
        text, axon = frame.text(int(flight.source[row])), int(flight.axon[row])
        limit = int(used[index - GATEWAY])
        if limit == _DISABLED:
            message = f"a packet of {text} reaches this disabled core"
            yield Violation(kind="disabled-destination", message=message, core=index, axon=axon)
        else:
            message = f"a packet of {text} names an axon beyond the {limit} in use"
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
