# SPDX-License-Identifier: Apache-2.0
"""What compiled changes of placements work on: traffic and mesh as arrays."""

import numpy as np
from numpy.typing import NDArray

from emu.gates import outlets_of
from emu.spec import SystemSpec
from mapping.layout.gates import fed_by
from mapping.layout.mesh import EAST, WEST, Mesh
from mapping.layout.place.changes import DONE, FREE, HOPS, NONE, PLACES, Board, State, change
from mapping.layout.place.price import Price, Rank
from mapping.layout.traffic import INLET, OUTLET, Loads

__all__ = ["Search"]

Integers = NDArray[np.int64]

_DRAWS, _DEALT_DRAWS = 1 << 16, (1 << 8, 8)
"""Random numbers for a call; for one after which packets are dealt to gates anew, at least and for a core."""

_DEALING = 2000
"""Work that dealing takes, and once more for some flows."""


def board_of(loads: Loads, position: Integers) -> Board:
    """Return flows and mesh as the compiled functions take them; flows by several gates as they are dealt."""
    traffic, mesh = loads.traffic, loads.mesh
    groups, cores, outlets = len(traffic.size), traffic.cores, outlets_of_mesh(mesh)
    source, readers, packets = dealt_flows(loads, position)
    flows = np.arange(len(source))
    held = np.arange(traffic.members.shape[1]) < traffic.size[:, None]
    member, member_at = traffic.members[held], _table(np.append(traffic.size, [0] * len(outlets)))
    sets_at, sets = _listed(member, np.repeat(np.arange(groups), traffic.size), cores)
    sent_at, sent = _listed(source, flows, cores + len(mesh.entrances))
    read_at, read = _listed(readers, flows, groups + len(outlets))
    part, link_at, link = parts_of(mesh)
    height, width = mesh.height, mesh.width
    return Board(
        width=width,
        height=height,
        cores=cores,
        source=source,
        packets=packets,
        readers=readers,
        member_at=member_at,
        member=member,
        box_at=np.append(member_at[:groups], member_at[groups] + np.arange(len(outlets))),
        sets_at=sets_at,
        sets=sets,
        sent_at=sent_at,
        sent=sent,
        read_at=read_at,
        read=read,
        part=part,
        cycles=np.ascontiguousarray(mesh.cycles().reshape(-1)),
        link_at=link_at,
        link=link,
        entrance=np.array([np.ravel_multi_index(at, (4, height, width)) for at in mesh.entrances]),
    )


def outlets_of_mesh(mesh: Mesh) -> tuple[int, ...]:
    """Return the column of every outlet."""
    return outlets_of(None if mesh.gated is None else mesh.gated.gates)


def dealt_flows(loads: Loads, position: Integers) -> tuple[Integers, Integers, Integers]:
    """Return source, set of readers and packets of each flow, split by the gates of a placement.

    Sources beyond the cores are inlets, sets beyond those of the traffic are outlets. What of a flow enters
    by an inlet is a mean over its rectangles.
    """
    traffic, mesh = loads.traffic, loads.mesh
    groups, cores = len(traffic.size), traffic.cores
    source = np.where(traffic.source == INLET, cores, traffic.source)
    readers = np.where(traffic.readers == OUTLET, groups, traffic.readers)
    if mesh.gated is None:
        return source, readers, traffic.packets
    shares = np.zeros((len(source), max(len(mesh.entrances), len(outlets_of_mesh(mesh)))), np.int64)
    shares[:, 0] = traffic.packets
    fed, out = (np.flatnonzero(of) for of in (traffic.source == INLET, traffic.readers == OUTLET))
    if len(mesh.entrances) > 1 and len(fed):
        shares[fed, : len(mesh.entrances)] = _entering(loads, mesh.gated, position, fed)
    ways = loads.ways(position)
    if len(out):
        shares[out] = 0
        leaving = np.isin(ways.flow, out)
        column = np.searchsorted(outlets_of_mesh(mesh), ways.box[leaving, 0])
        np.add.at(shares, (ways.flow[leaving], column), ways.packets[leaving])
    flow, gate = np.nonzero(shares)
    source = source[flow] + np.where(traffic.source[flow] == INLET, gate, 0)
    return source, readers[flow] + np.where(traffic.readers[flow] == OUTLET, gate, 0), shares[flow, gate]


def _entering(loads: Loads, system: SystemSpec, position: Integers, fed: Integers) -> Integers:
    """Return how many packets of flows that the host feeds enter by each inlet, (flows, inlets)."""
    flow, box = loads.packets_of(position, fed)
    places, of = np.unique(box, axis=0, return_inverse=True)
    of = of.reshape(-1)
    packets = np.bincount(of, weights=loads.traffic.packets[flow]).astype(np.int64)
    share = fed_by(system, places, packets)[0] / packets[:, None]
    at = np.searchsorted(fed, flow)
    mean = np.stack([np.bincount(at, weights=one, minlength=len(fed)) for one in share[of].T], axis=1)
    each = np.bincount(at, minlength=len(fed))[:, None]
    ends = np.round(np.cumsum(mean / each, axis=1) * loads.traffic.packets[fed, None]).astype(np.int64)
    return np.diff(ends, axis=1, prepend=0)


def parts_of(mesh: Mesh) -> tuple[Integers, Integers, Integers]:
    """Return the part that each link is or shares, and the table and the list of the links of each part."""
    port, y, x = np.indices((4, mesh.height, mesh.width))
    if mesh.shared and mesh.chip is not None:
        across, down = mesh.chip
        between = mesh.between_chips()
        along = (port == EAST) | (port == WEST)
        y = np.where(between & along, y // down * down, y)
        x = np.where(between & ~along, x // across * across, x)
    key = ((port * mesh.height + y) * mesh.width + x).reshape(-1)
    _, part = np.unique(key, return_inverse=True)
    part = np.ascontiguousarray(part.reshape(-1), np.int64)
    return part, *_listed(part, np.arange(len(part)), int(part.max()) + 1)


def _table(sizes: Integers) -> Integers:
    """Return where lists of some sizes begin and end if they follow each other."""
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def _listed(key: Integers, value: Integers, keys: int) -> tuple[Integers, Integers]:
    """Return the table and the list of the values of each key, ascending."""
    return _table(np.bincount(key, minlength=keys)), value[np.argsort(key, kind="stable")].astype(np.int64)


def state_of(board: Board, loads: Loads, position: Integers) -> State:
    """Return a placement as the compiled functions take it."""
    mesh, links, parts = loads.mesh, len(board.part), len(board.link_at) - 1
    groups, flows, cores = len(board.read_at) - 1, len(board.source), board.cores
    cell = np.where(mesh.free(), FREE, NONE).reshape(-1).astype(np.int64)
    cell[position[:, 1] * mesh.width + position[:, 0]] = np.arange(len(position))
    boxes, boxes_of = _boxes(board, loads, position)
    load = loads.parts(position)
    places = np.concatenate([position, [(x, y) for _, y, x in mesh.entrances]]).astype(np.int64)
    at = np.zeros(PLACES, np.int64)
    at[HOPS] = load[0].sum()

    def zeros(*shape: int) -> Integers:
        return np.zeros(shape, np.int64)

    return State(
        position=_twice(places),
        boxes=_twice(boxes),
        boxes_of=_twice(boxes_of),
        kept=zeros(2, len(boxes)),
        cell=cell,
        busy=np.ascontiguousarray(mesh.busy(load).reshape(2, links)[:, board.link[board.link_at[:-1]]]),
        at=at,
        touched=zeros(parts, 3),
        part_stamp=zeros(parts),
        set_stamp=zeros(groups),
        flow_stamp=zeros(flows),
        moved=zeros(cores, 2),
        concerned=zeros(groups),
        flows=zeros(flows),
        over=zeros(int(np.diff(np.append(board.box_at, len(boxes)))[board.readers].sum())),
        run=zeros(links // 4),
        corner=zeros(int(loads.traffic.size.max(initial=1)), 5),
    )


def _twice(values: Integers) -> Integers:
    """Return values at hand, and those after a change."""
    return np.stack((values, values))


def _boxes(board: Board, loads: Loads, position: Integers) -> tuple[Integers, Integers]:
    """Return the rectangles of every set, from ``box_at`` on, and how many they are; outlets are below."""
    mesh, traffic, sets = loads.mesh, loads.traffic, len(loads.traffic.size)
    boxes = np.zeros((int(board.box_at[-1]) + 1, 4), np.int64)
    boxes[board.box_at[sets:]] = [(x, x, mesh.height, mesh.height) for x in outlets_of_mesh(mesh)]
    inner = np.flatnonzero(traffic.readers != OUTLET)
    _, first = np.unique(traffic.readers[inner], return_index=True)
    flow, box = loads.packets_of(position, inner[first])
    count = np.bincount(traffic.readers[flow], minlength=sets)
    within = np.arange(len(flow)) - np.repeat(_table(count)[:-1], count)
    boxes[np.repeat(board.box_at[:sets], count) + within] = box
    return boxes, np.append(count, np.ones(len(board.box_at) - sets, np.int64))


class Search:
    """Compiled changes from a placement on.

    Where packets are dealt to several gates, changes are priced as if each flow kept its gates; every few
    changes, and if it looks better than the best one, the placement is dealt and priced anew.
    """

    def __init__(self, price: Price, position: Integers, random: np.random.Generator) -> None:
        self.price, self._random = price, random
        self._deal(position)

    def run(self, work: int, *, hop: float, warm: float) -> None:
        """Change windows of cores, ever less often for the worse, at ever cheaper hops (`changes.change`)."""
        price, done = self.price, 0
        dealt = price.loads.mesh.gated is not None
        least, each = _DEALT_DRAWS
        count = max(least, each * self.board.cores) if dealt else _DRAWS
        while done < work:
            draws, self.state.at[DONE] = self._random.random(count), done
            limit = price.limit._replace(sent=min(price.rank.step, price.limit.sent))
            ranks = limit, price.rank, price.step
            better = change(self.board, self.state, draws, price.aims, hop, warm, *ranks, work)
            done = int(self.state.at[DONE])
            if better or dealt:
                done += self._keep()

    @property
    def position(self) -> Integers:
        """The placement at hand, int64 (cores, 2)."""
        return self.state.position[0, : self.board.cores]

    def _deal(self, position: Integers) -> None:
        self.board = board_of(self.price.loads, position)
        self.state = state_of(self.board, self.price.loads, position)

    def _keep(self) -> int:
        """Remember the placement at hand if it is the best; return the work that this took."""
        price, dealt = self.price, self.price.loads.mesh.gated is not None
        if dealt:
            self._deal(self.position.copy())
        sent = int(self.state.busy[0].max(initial=0))
        whole = int(self.state.busy.sum(axis=0).max(initial=0))
        price.take(Rank(max(sent, price.step), whole, sent, int(self.state.at[HOPS])), self.position)
        return _DEALING + 10 * len(self.board.source) if dealt else 0
