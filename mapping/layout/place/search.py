# SPDX-License-Identifier: Apache-2.0
"""What compiled changes of placements work on, made from traffic and mesh (`mapping.layout.place.changes`)."""

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import EAST, WEST, Mesh
from mapping.layout.place.changes import BETTER, DONE, FREE, HOPS, NONE, Board, State, change
from mapping.layout.place.price import ALONE, BEYOND, Price, Rank
from mapping.layout.traffic import INLET, OUTLET, Loads, Traffic

__all__ = ["Search"]

Integers = NDArray[np.int64]

_DRAWS = 1 << 16


def board_of(traffic: Traffic, mesh: Mesh) -> Board:
    """Return flows and mesh as the compiled functions take them."""
    groups, cores = len(traffic.size), traffic.cores
    flows = np.arange(len(traffic.source))
    readers = np.where(traffic.readers == OUTLET, groups, traffic.readers)
    source = np.where(traffic.source == INLET, cores, traffic.source)
    held = np.arange(traffic.members.shape[1]) < traffic.size[:, None]
    member, member_at = traffic.members[held], _table(np.append(traffic.size, 0))
    sets_at, sets = _listed(member, np.repeat(np.arange(groups), traffic.size), cores)
    sent_at, sent = _listed(source, flows, cores + 1)
    read_at, read = _listed(readers, flows, groups + 1)
    part, link_at, link = parts_of(mesh)
    height, width = mesh.height, mesh.width
    return Board(
        width=width,
        height=height,
        cores=cores,
        source=source,
        packets=traffic.packets,
        readers=readers,
        member_at=member_at,
        member=member,
        box_at=member_at[:-1].copy(),
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
    mesh, traffic, groups = loads.mesh, loads.traffic, len(board.read_at) - 1
    links, parts = 4 * mesh.height * mesh.width, len(board.link_at) - 1
    cell = np.where(mesh.free(), FREE, NONE).reshape(-1).astype(np.int64)
    cell[position[:, 1] * mesh.width + position[:, 0]] = np.arange(len(position))
    boxes = np.zeros((int(board.box_at[-1]) + 1, 4), np.int64)
    count = np.zeros(groups, np.int64)
    _, first = np.unique(board.readers, return_index=True)
    flow, box = loads._packets(position, np.sort(first))
    group = board.readers[flow]
    count[: groups] = np.bincount(group, minlength=groups)
    order = np.argsort(group, kind="stable")
    within = np.arange(len(order)) - np.repeat(_table(count)[:-1], count)
    boxes[np.repeat(board.box_at, count) + within] = box[order]
    load = loads.parts(position)
    busy = np.ascontiguousarray(mesh.busy(load).reshape(2, links)[:, board.link[board.link_at[:-1]]])
    places = np.concatenate([position, [(x, y) for _, y, x in mesh.entrances]]).astype(np.int64)
    at = np.zeros(11, np.int64)
    at[HOPS] = load[0].sum()

    def zeros(*shape: int) -> Integers:
        return np.zeros(shape, np.int64)

    flows, cores = len(board.source), board.cores
    return State(
        position=places,
        cell=cell,
        boxes=boxes,
        count=count,
        busy=busy,
        at=at,
        new_position=places.copy(),
        new_boxes=boxes.copy(),
        new_count=count.copy(),
        touched=zeros(parts, 3),
        part_stamp=zeros(parts),
        set_stamp=zeros(groups),
        flow_stamp=zeros(flows),
        moved=zeros(cores),
        target=zeros(cores),
        changed_sets=zeros(groups),
        changed_flows=zeros(flows),
        over=zeros(flows + len(boxes) * 8),
        run=zeros(links // 4),
        corner=zeros(int(traffic.size.max(initial=1)), 5),
    )


class Search:
    """Compiled changes from a placement on."""

    def __init__(self, price: Price, position: Integers, random: np.random.Generator) -> None:
        self.price, self._random = price, random
        self._board = board_of(price.loads.traffic, price.loads.mesh)
        self.state = state_of(self._board, price.loads, position)

    def run(self, work: int, *, dear: float, warm: float) -> None:
        """Change windows of cores, ever less often for the worse, at ever cheaper hops."""
        price, state = self.price, self.state
        state.at[DONE] = 0
        scales = np.array([dear, warm, 1 / max(price.limit.hops, 1), BEYOND])
        while state.at[DONE] < work:
            found = change(
                self._board, state, self._random.random(_DRAWS), self._aims(), scales, self._bounds(), work
            )
            if found == BETTER:
                self._keep()

    def _aims(self) -> NDArray[np.float64]:
        own, every = self.price.aims
        return np.array([1 / max(own, 1), 1 / max(every, 1), ALONE])

    def _bounds(self) -> Integers:
        """Return what bounds a better placement, as `change` takes it."""
        price = self.price
        return np.array(
            [min(price.rank.step, price.limit.sent), price.limit.whole, price.limit.hops, price.step, *price.rank]
        )

    def _keep(self) -> None:
        state, price = self.state, self.price
        sent = int(state.busy[0].max(initial=0))
        whole = int(state.busy.sum(axis=0).max(initial=0))
        rank = Rank(max(sent, price.step), whole, sent, int(state.at[HOPS]))
        price.take(rank, state.position[: self._board.cores])
