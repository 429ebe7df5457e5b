# SPDX-License-Identifier: Apache-2.0
"""The packets of a network, and the links that they take from a placement (`docs/reference/mapping.md`).

Placers compare placements by it. Routes, emission and check do not use it: what an image really sends is
counted from the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from emu.gates import outlets_of
from emu.spec import SystemSpec
from mapping.layout.cover import cover
from mapping.layout.gates import fed_by, taken_by
from mapping.layout.mesh import EAST, NORTH, SOUTH, WEST, Mesh
from mapping.layout.partition import Partition
from mapping.spiking.network import INPUT

__all__ = ["INLET", "OUTLET", "Loads", "Traffic", "Ways", "traffic_of"]

Integers = NDArray[np.int64]

_MOST_COVERS = 100_000

INLET, OUTLET = -1, -1
"""Stand for the host: as a source, and as the set of readers of a flow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """Flows: how many elements of one core go to one set of cores, if every neuron fires once.

    Parameters
    ----------
    cores : int
        Cores of the partition.
    source, packets, readers : int64 (flows,)
        The sending core or `INLET`, the elements, and the set of cores that read them or `OUTLET`.
    members : int64 (sets, most)
        The cores of each set, filled up with its first.
    size : int64 (sets,)
        How many they are.
    """

    cores: int
    source: Integers
    packets: Integers
    readers: Integers
    members: Integers
    size: Integers

    def pairs(self) -> sparse.csr_array:
        """Return how many elements of a core each core reads, int64 (cores, cores)."""
        flow, core = self._reading()
        inner = self.source[flow] >= 0
        flow, core = flow[inner], core[inner]
        return sparse.csr_array(
            (self.packets[flow], (self.source[flow], core)), shape=(self.cores, self.cores)
        )

    def host(self) -> tuple[Integers, Integers]:
        """Return how many elements of the stimulus each core reads, and how many it sends to the host."""
        flow, core = self._reading()
        first = self.source[flow] == INLET
        fed = np.zeros(self.cores, np.int64)
        np.add.at(fed, core[first], self.packets[flow[first]])
        sent = np.zeros(self.cores, np.int64)
        out = self.readers == OUTLET
        np.add.at(sent, self.source[out], self.packets[out])
        return fed, sent

    def _reading(self) -> tuple[Integers, Integers]:
        """Return flow and core of every reading."""
        flow = np.flatnonzero(self.readers != OUTLET)
        sizes = self.size[self.readers[flow]]
        rows = np.repeat(self.readers[flow], sizes)
        column = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.repeat(flow, sizes), self.members[rows, column]


def traffic_of(partition: Partition) -> Traffic:
    """Return the flows of a partition; those that differ in the axon alone are one."""
    sets: dict[bytes, int] = {}
    names = (INPUT, *(layer.name for layer in partition.layers))
    flows = [np.zeros((3, 0), np.int64), *(_flows(partition, name, sets) for name in names)]
    for layer in partition.layers:
        if layer.name in partition.spiking.outputs:
            sent = [len(part.outputs) for part in partition.of(layer)]
            flows.append(np.stack((layer.first + np.arange(len(sent)), np.full(len(sent), OUTLET), sent)))
    source, readers, packets = np.concatenate(flows, axis=1)
    groups = [np.frombuffer(key, np.int64) for key in sets]
    size = np.array([len(group) for group in groups], np.int64)
    members = np.zeros((len(groups), int(size.max(initial=0))), np.int64)
    for row, group in zip(members, groups, strict=True):
        row[:] = group[0]
        row[: len(group)] = group
    return Traffic(
        cores=len(partition.cores),
        source=source,
        readers=readers,
        packets=packets,
        members=members,
        size=size,
    )


def _flows(partition: Partition, name: str, sets: dict[bytes, int]) -> Integers:
    """Return who sends an activation, the set of cores that read it on one axon, and the packets: (3, flows).

    In the order in which sender and set meet first, by element and axon. ``sets`` has the number of every
    set of readers that was met before, and gets the others.
    """
    read = partition.readings(name)
    if not len(read.element):
        return np.zeros((3, 0), np.int64)
    known = np.array([sets.setdefault(cores.tobytes(), len(sets)) for cores in read.members])
    sender = np.full(len(read.element), INLET) if name == INPUT else partition.home(name)[0][read.element]
    keys = sender * len(sets) + known[read.group]
    _, at, packets = np.unique(keys, return_index=True, return_counts=True)
    order = np.argsort(at)
    at = at[order]
    return np.stack((sender[at], known[read.group[at]], packets[order]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ways:
    """Where packets go.

    Parameters
    ----------
    flow, packets, inlet : int64 (n,)
        The flow, how many of its packets go this way, and the inlet that feeds them, -1 if a core sends them.
    start, box : int64 (n, 2) and (n, 4)
        x and y of their first router; x0, x1, y0, y1 of their rectangle.
    """

    flow: Integers
    packets: Integers
    inlet: Integers
    start: Integers
    box: Integers

    def take(self, index: Integers | slice, **changed: Integers) -> "Ways":
        """Return some of them, with other values."""
        own = {one.name: getattr(self, one.name)[index] for one in fields(self)}
        return Ways(**(own | changed))

    @classmethod
    def of(cls, *parts: "Ways") -> "Ways":
        """Return all packets of some ways."""
        return cls(**{one.name: np.concatenate([getattr(p, one.name) for p in parts]) for one in fields(cls)})


@dataclass(slots=True, kw_only=True, eq=False)
class Loads:
    """Count the packets over every link of a mesh, and by every inlet, for one traffic and any placement.

    A packet goes along its row to the columns of its rectangle and from there up and down them; a set of
    readers that is no rectangle takes several packets. Where there are several inlets or outlets, packets
    take those that they are dealt to in an image (`mapping.layout.gates`).
    """

    traffic: Traffic
    mesh: Mesh
    _covers: dict[bytes, Integers] = field(default_factory=dict)

    def __call__(self, position: Integers, flows: Integers | None = None) -> Integers:
        """Return packets by output and router, int64 (4, height, width), of all flows or of some.

        At the ports of inlets (`Mesh.entrances`), by which nothing leaves, there are those that enter.
        ``position`` is that of `Placement`.
        """
        return np.asarray(self.parts(position, flows).sum(axis=0))

    def parts(self, position: Integers, flows: Integers | None = None) -> Integers:
        """Return the same of what cores send, and of what the host feeds: int64 (2, 4, height, width)."""
        return self._count(self.ways(position, flows))

    def _count(self, ways: Ways) -> Integers:
        """Return the packets over every link, of cores and of the host."""
        height, width = self.mesh.height, self.mesh.width
        steps = np.zeros((2, 4, height + 2, width + 2), np.int64)
        np.add.at(steps.reshape(-1), *_turns(ways, height + 2, width + 2))
        steps = np.cumsum(steps, axis=3)
        for port in (NORTH, SOUTH):
            steps[:, port] = np.cumsum(steps[:, port], axis=1)
        for inlet, place in enumerate(self.mesh.entrances):
            steps[1][place] = ways.packets[ways.inlet == inlet].sum()
        return steps[:, :, :height, :width]

    def ways(self, position: Integers, flows: Integers | None = None) -> Ways:
        """Return the ways of all packets of all flows or of some."""
        flows = np.arange(len(self.traffic.source)) if flows is None else flows
        traffic, mesh = self.traffic, self.mesh
        flow, box = self.packets_of(position, flows)
        source = traffic.source[flow]
        fed, out = source == INLET, traffic.readers[flow] == OUTLET
        start = np.where(fed[:, None], 0, position[np.maximum(source, 0)])
        inlet = np.where(fed, 0, -1)
        ways = Ways(flow=flow, packets=traffic.packets[flow], inlet=inlet, start=start, box=box)
        if mesh.gated is None:
            return ways
        own, entering, leaving = (ways.take(np.flatnonzero(of)) for of in (~fed & ~out, fed, out))
        if len(mesh.entrances) > 1:
            entering = _by_inlets(mesh.gated, entering, mesh.entrances)
        return Ways.of(own, entering, _by_outlets(mesh.gated, leaving))

    def packets_of(self, position: Integers, flows: Integers) -> tuple[Integers, Integers]:
        """Return the flow and the rectangle of every packet."""
        sets, which = np.unique(self.traffic.readers[flows], return_inverse=True)
        cells = position[self.traffic.members[sets]]
        low, high = cells.min(axis=1), cells.max(axis=1)
        boxes = np.column_stack((low[:, 0], high[:, 0], low[:, 1], high[:, 1]))
        out = sets == OUTLET
        boxes[out] = (0, 0, self.mesh.height, self.mesh.height)
        uneven = np.flatnonzero((np.prod(high - low + 1, axis=1) != self.traffic.size[sets]) & ~out)
        if not len(uneven):
            return flows, boxes[which]
        covers = [self._cover(one) for one in _squeezed(cells[uneven])]
        count = np.ones(len(sets), np.int64)
        count[uneven] = [len(one) for one in covers]
        table, begin = np.repeat(boxes, count, axis=0), np.cumsum(count) - count
        of, ends = np.repeat(uneven, count[uneven])[:, None], np.concatenate(covers)
        table[np.repeat(count, count) > 1] = cells[of, ends, [0, 0, 1, 1]]
        each = count[which]
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        return np.repeat(flows, each), table[np.repeat(begin[which], each) + within]

    def _cover(self, cells: Integers) -> Integers:
        """Return which cells give x0, x1, y0, y1 of rectangles that hold exactly these; most are known."""
        key = cells.tobytes()
        if key not in self._covers:
            if len(self._covers) >= _MOST_COVERS:
                self._covers.clear()
            (x, y), boxes = cells.T.tolist(), cover(cells.tolist())
            ends = [(x.index(x0), x.index(x1), y.index(y0), y.index(y1)) for x0, x1, y0, y1 in boxes]
            self._covers[key] = np.array(ends, np.int64)
        return self._covers[key]


def _squeezed(cells: Integers) -> Integers:
    """Return sets of cells, (sets, most, 2), with all empty columns and rows between cells as one.

    A cover is the same for either.
    """
    order = np.argsort(cells, axis=1)
    gaps = np.diff(np.take_along_axis(cells, order, axis=1), axis=1, prepend=-1)
    gaps[:, 0] = 0
    result = np.empty_like(cells)
    np.put_along_axis(result, order, np.cumsum(np.minimum(gaps, 2), axis=1), axis=1)
    return result


def _by_inlets(system: SystemSpec, ways: Ways, entrances: Sequence[tuple[int, int, int]]) -> Ways:
    """Return what the host feeds by the inlets of a system, packets with the same rectangle together."""
    if not len(ways.flow):
        return ways
    places, first, of = np.unique(ways.box, axis=0, return_index=True, return_inverse=True)
    packets = np.zeros(len(places), np.int64)
    np.add.at(packets, of.reshape(-1), ways.packets)
    shares = fed_by(system, places, packets)[0]
    place, inlet = np.nonzero(shares)
    entries = np.array(entrances)[inlet][:, [2, 1]]
    return ways.take(first[place], packets=shares[place, inlet], inlet=inlet, start=entries)


def _by_outlets(system: SystemSpec, ways: Ways) -> Ways:
    """Return what cores send to the host by the outlets of a system."""
    if not len(ways.flow):
        return ways
    shares = taken_by(system, ways.start, ways.packets)[0]
    core, outlet = np.nonzero(shares)
    x = np.array(outlets_of(system.gates))[outlet]
    y = np.full(len(x), system.height)
    return ways.take(core, packets=shares[core, outlet], box=np.column_stack((x, x, y, y)))


def _turns(ways: Ways, height: int, width: int) -> tuple[Integers, Integers]:
    """Return where loads change from router to router and by how much, int64 (changes,) each.

    Where: in a flat array (2, 4, height, width). Along its row for east and west, and over the columns of the
    rectangle for south and north.
    """
    (x, y), (x0, x1, y0, y1), packets = ways.start.T, ways.box.T, ways.packets
    east, west = packets * (x1 > x), packets * (x0 < x)
    south, north = packets * (y1 > y), packets * (y0 < y)
    top, below, left, right, after = np.minimum(y0, y) + 1, y + 1, np.minimum(x0, x) + 1, x + 1, x1 + 1
    columns = np.array([x, x1, left, right, x0, x0, after, after, x0, x0, after, after])
    rows = np.array([y, y, y, y, y, y1, y, y1, top, below, top, below])
    sent = np.array([east, -east, west, -west, south, -south, -south, south, north, -north, -north, north])
    ports = np.repeat((EAST, WEST, SOUTH, NORTH), (2, 2, 4, 4))[:, None] + 4 * (ways.inlet >= 0)
    return ((ports * height + rows) * width + columns).reshape(-1), sent.reshape(-1)
