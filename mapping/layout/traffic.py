# SPDX-License-Identifier: Apache-2.0
"""The packets of a network, and the links that they take from a placement (`docs/reference/mapping.md`).

Placers compare placements by it. Routes, emission and check do not use it: what an image really sends is
counted from the image.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.layout.cover import Rectangle, cover
from mapping.layout.mesh import EAST, NORTH, SOUTH, WEST, Mesh
from mapping.layout.partition import Partition
from mapping.spiking.network import INPUT

__all__ = ["INLET", "OUTLET", "Loads", "Traffic", "traffic_of"]

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

    def by_core(self) -> tuple[Integers, ...]:
        """Return for each core the flows that it sends or reads, ascending."""
        flow, core = self._reading()
        own = np.flatnonzero(self.source >= 0)
        table = np.unique(np.stack((np.append(core, self.source[own]), np.append(flow, own))), axis=1)
        bounds = np.searchsorted(table[0], np.arange(1, self.cores))
        return tuple(np.split(table[1], bounds))

    def end(self, flows: Integers, random: np.random.Generator) -> int | None:
        """Return the core that sends one of some flows or one that reads it, drawn; None without flows."""
        if not len(flows):
            return None
        flow = int(flows[random.integers(len(flows))])
        readers = int(self.readers[flow])
        if readers == OUTLET or random.random() < 0.5:
            return int(self.source[flow])
        return int(self.members[readers, random.integers(self.size[readers])])

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


@dataclass(slots=True, kw_only=True, eq=False)
class Loads:
    """Count the packets over every link of a mesh, for one traffic and any placement.

    A packet goes along its row to the columns of its rectangle and from there up and down them; a set of
    readers that is no rectangle takes several packets.
    """

    traffic: Traffic
    mesh: Mesh
    _covers: dict[bytes, tuple[Rectangle, ...]] = field(default_factory=dict)

    def __call__(self, position: Integers, flows: Integers | None = None) -> Integers:
        """Return packets by output and router, int64 (4, height, width), of all flows or of some.

        ``position`` is that of `Placement`.
        """
        traffic, height, width = self.traffic, self.mesh.height, self.mesh.width
        flows = np.arange(len(traffic.source)) if flows is None else flows
        flows, rectangle = self._packets(position, flows)
        source, packets = traffic.source[flows], traffic.packets[flows]
        start = np.where(source[:, None] == INLET, 0, position[np.maximum(source, 0)])
        steps = np.zeros((4, height + 2, width + 2), np.int64)
        _along_rows(steps, start, rectangle, packets)
        _along_columns(steps, start, rectangle, packets)
        steps = np.cumsum(steps, axis=2)
        for port in (NORTH, SOUTH):
            steps[port] = np.cumsum(steps[port], axis=0)
        return np.asarray(steps[:, :height, :width])

    def over(self, position: Integers, flows: Integers, link: tuple[int, int, int]) -> Integers:
        """Return which of some flows of cores go over a link, once for each of their packets that does.

        ``link`` is an output and the x, y of its router.
        """
        port, x, y = link
        flows, rectangle = self._packets(position, flows)
        (sx, sy), (x0, x1, y0, y1) = position[self.traffic.source[flows]].T, rectangle.T
        column = (x0 <= x) & (x <= x1)
        over = {
            EAST: (sy == y) & (sx <= x) & (x < x1),
            WEST: (sy == y) & (x0 < x) & (x <= sx),
            SOUTH: column & (sy <= y) & (y < y1),
            NORTH: column & (y0 < y) & (y <= sy),
        }
        return np.asarray(flows[over[port]])

    def _packets(self, position: Integers, flows: Integers) -> tuple[Integers, Integers]:
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
        parts: list[tuple[Rectangle, ...]] = [((a, b, c, d),) for a, b, c, d in boxes.tolist()]
        for index in uneven.tolist():
            parts[index] = self._cover(cells[index, : self.traffic.size[sets[index]]])
        count = np.array([len(part) for part in parts], np.int64)
        table = np.array([box for part in parts for box in part], np.int64)
        begin, each = (np.cumsum(count) - count)[which], count[which]
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        return np.repeat(flows, each), table[np.repeat(begin, each) + within]

    def _cover(self, cells: Integers) -> tuple[Rectangle, ...]:
        """Return rectangles that hold exactly these cells; most are asked for again soon."""
        key = cells.tobytes()
        if key not in self._covers:
            if len(self._covers) >= _MOST_COVERS:
                self._covers.clear()
            self._covers[key] = cover(cells.tolist())
        return self._covers[key]


def _along_rows(steps: Integers, start: Integers, rectangle: Integers, packets: Integers) -> None:
    """Add where the load of eastward and westward links changes from router to router."""
    (x, y), (x0, x1) = start.T, rectangle.T[:2]
    east, west = packets * (x1 > x), packets * (x0 < x)
    np.add.at(steps[EAST], (np.append(y, y), np.append(x, x1)), np.append(east, -east))
    np.add.at(steps[WEST], (np.append(y, y), np.append(x0, x) + 1), np.append(west, -west))


def _along_columns(steps: Integers, start: Integers, rectangle: Integers, packets: Integers) -> None:
    """Add where the load of northward and southward links changes, over the columns of the rectangle."""
    (_, y), (x0, x1, y0, y1) = start.T, rectangle.T
    for port, first, last, sent in (
        (SOUTH, y, y1, packets * (y1 > y)),
        (NORTH, np.minimum(y0, y) + 1, y + 1, packets * (y0 < y)),
    ):
        rows = np.concatenate((first, last, first, last))
        columns = np.concatenate((x0, x0, x1 + 1, x1 + 1))
        np.add.at(steps[port], (rows, columns), np.concatenate((sent, -sent, -sent, sent)))
