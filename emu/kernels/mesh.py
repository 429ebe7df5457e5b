# SPDX-License-Identifier: Apache-2.0
"""The routers of a mesh, one cycle at a time (network.md, "One cycle of a router")."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emu.jit import njit, popcount
from emu.kernels.state import AXON, ROUTER_ERRORS, X0, X1, Y0, Y1, Ints, Program, State
from emu.spec import KIND_BITS, MOST_FLIT_BITS
from emu.topology import CORE, HOST, PLACES, Port, Topology

__all__ = [
    "TOKEN",
    "Mesh",
    "flit_shifts",
    "inputs_of",
    "make_mesh",
    "offer",
    "outputs_of",
    "pack_flit",
    "remove",
    "route",
    "tell",
    "turn_to_load",
    "unpack_flit",
    "unpack_place",
]

NORTH, EAST, SOUTH, WEST, LOCAL = map(int, Port)
PORTS = len(Port)
TO_HOST, TO_CORE = HOST, CORE
TO_LINK = -4
"""Minus a link: where an output leads that has one."""

# Columns of Mesh.links, and where its three rings of the depth's length begin: from when on a credit may be
# used, flits, and from when on they are offered.
LINK_OUTPUT, LINK_INPUT, LINK_BEATS, LINK_LATENCY, LINK_DEPTH = range(5)
LINK_FREE, LINK_CREDITS, LINK_CREDIT_AT, LINK_HELD, LINK_HELD_AT = range(5, 10)
# The shared link of a lane, or -1; whether a flit waits in its place, and which one.
LINK_SHARED, LINK_WAITS, LINK_FLIT, LINK_RINGS = range(10, 14)
# Columns of Mesh.shared: from when on the wires are free, whose turn it is, the link that each lane is.
SHARED_FREE, SHARED_TURN, SHARED_LANES = range(3)

# A flit in one integer: from bit 0 on its payload, which is made positive, axon and rectangle, as wide as the
# flit's own fields (`Mesh.shifts`); then what it is, in the two highest bits that are no sign.
TOKEN = 1 << MOST_FLIT_BITS - KIND_BITS
PAUSE = TOKEN << 1  # of a token
STRAY = TOKEN << 1  # of a packet: a control packet at a time at which it is an error

# FEEDS[i]: outputs that input i can reach under x-then-y routing.
FEEDS = np.array([0b10100, 0b11101, 0b10001, 0b10111, 0b11111], np.int64)

# A word of a router has a byte for each input i, from bit 8 i on. The lowest bits of all bytes:
INPUTS = 0x0101010101
ALL_PORTS = (1 << PORTS) - 1
# A byte of Mesh.asked is a set of outputs, and one bit more if the head is a token.
ASKS_INTAKE = PORTS
# Above the bytes of Mesh.status and Mesh.news are outputs with room behind them, and a visit without news.
OPEN_AT = 40
AGAIN = 1 << OPEN_AT + PORTS
STATUS = AGAIN - 1

# Places in Mesh.clock: the cycle, and how many routers are awake in even and in odd cycles.
NOW, AWAKE = 0, 1


class Mesh(NamedTuple):
    """All routers. R routers; port p of router r is FIFO (an input) or output ``8 r + p`` (`emu.topology`).

    Changes within a cycle are made at once; ``news`` keeps from the routers of the same cycle what they may
    only see in the next one, and says whom to visit then.
    """

    front: Ints  # (8 R,) flit at the head
    behind: Ints  # (8 R,) flit after it
    held: Ints  # (8 R,) flits
    pointer: Ints  # (8 R,) round robin
    target: Ints  # (8 R,) FIFO behind an output, TO_HOST, TO_CORE or TO_LINK - link
    upstream: Ints  # (8 R,) output that fills a FIFO, or -1 - injector
    status: Ints  # (R,) inputs with a flit since an earlier cycle, outputs with room behind them
    news: Ints  # (2 R,) of router r in an even or odd cycle: what came into the status in the one before
    asked: Ints  # (R,) outputs that the head of each input has still to reach
    awaited: Ints  # (R,) outputs that have still to take the token of each input
    need: Ints  # (R,) all that an input feeds: ``awaited`` before the first token
    outs: Ints  # (R,) present outputs
    pauses: Ints  # (R,) outputs that have taken a token with the pause flag
    x: Ints  # (R,)
    y: Ints  # (R,)
    awake: Ints  # (2 R + 2,) routers to visit in an even or odd cycle, alternating
    clock: Ints  # (3,)
    links: Ints  # (L, 14 + 3 D), see `LINK_OUTPUT` and the others
    shared: Ints  # (H, 2 + lanes), see `SHARED_FREE` and the others
    shifts: Ints  # (5,) the bit at which x0, x1, y0, y1 and the axon begin in a flit, see `flit_shifts`


def _empty_links(topology: Topology, size: tuple[int, int, int]) -> Ints:
    """Return links after reset, all credits at their outputs."""
    depth = size[2]
    links = np.zeros((len(topology.links), LINK_RINGS + 3 * depth), np.int64)
    links[:, LINK_OUTPUT], links[:, LINK_INPUT] = topology.links, topology.behind[topology.links]
    links[:, LINK_BEATS : LINK_DEPTH + 1] = size
    links[:, LINK_CREDITS] = depth
    links[:, LINK_SHARED] = -1
    side, lane = np.nonzero(topology.lanes >= 0)
    links[topology.lanes[side, lane], LINK_SHARED] = side
    return links


def _empty_shared(topology: Topology) -> Ints:
    """Return shared links after reset."""
    return np.pad(topology.lanes, ((0, 0), (SHARED_LANES, 0)))


def flit_shifts(program: Program) -> Ints:
    """Return where the fields of a flit begin, in the order of columns of a packet."""
    x_bits, y_bits = program.across.bit_length() - 1, program.down.bit_length() - 1
    x0 = program.payload_bits + program.axon_bits
    y0 = x0 + 2 * x_bits
    return np.array([x0, x0 + x_bits, y0, y0 + y_bits, program.payload_bits], np.int64)


def make_mesh(topology: Topology, program: Program, link_size: tuple[int, int, int] = (1, 2, 1)) -> Mesh:
    """Return the empty routers of the mesh of a program.

    Injector R is the first inlet; the receiving ends of all links follow, what opens their outputs, and the
    other inlets.
    ``link_size`` is the beats of a flit, latency and depth of every link.
    """
    outs, inputs = topology.outputs, topology.inputs
    routers = len(outs)
    at = np.arange(routers, dtype=np.int64)
    upstream = topology.before.copy()
    upstream[LOCAL::PLACES] = -1 - at
    inlet = np.arange(len(topology.inlets))
    upstream[topology.inlets] = -1 - routers - np.where(inlet, 2 * len(topology.links) + inlet, 0)
    target, link = topology.behind.copy(), np.arange(len(topology.links), dtype=np.int64)
    upstream[target[topology.links]] = -2 - routers - link
    target[topology.links] = TO_LINK - link
    need = sum((inputs >> i & 1) * (FEEDS[i] & outs) << PLACES * i for i in range(PORTS))
    leads_on = outs.copy()
    leads_on[topology.outlets // PLACES] &= ~(1 << Port.S)  # the host is asked in each cycle

    def zeros(count: int) -> Ints:
        return np.zeros(count, np.int64)

    return Mesh(
        front=zeros(8 * routers),
        behind=zeros(8 * routers),
        held=zeros(8 * routers),
        pointer=zeros(8 * routers),
        target=target,
        upstream=upstream,
        status=leads_on << OPEN_AT,
        news=zeros(2 * routers),
        asked=zeros(routers),
        awaited=np.array(need, np.int64),
        need=np.array(need, np.int64),
        outs=outs,
        pauses=zeros(routers),
        x=at % program.width,
        y=at // program.width,
        awake=zeros(2 * routers + 2),
        clock=zeros(3),
        links=_empty_links(topology, link_size),
        shared=_empty_shared(topology),
        shifts=flit_shifts(program),
    )


def turn_to_load(mesh: Mesh, width: int, places: Ints) -> None:
    """Leave pointers and turns as a load does, whose last packets go to some rectangles of cores in turn.

    Each output that they use is behind the input by which they came, and each side that has one link behind
    the lane by which the last one crossed.

    Parameters
    ----------
    mesh : Mesh
        After reset.
    width : int
        Columns of cores.
    places : int64 (packets, 4)
        x0, x1, y0, y1.
    """
    height = len(mesh.outs) // width
    reached, pointer = np.zeros((height, width), np.bool_), mesh.pointer.reshape(height, width, PLACES)
    for x0, x1, y0, y1 in places:
        reached[y0 : y1 + 1, x0 : x1 + 1] = True
        if len(mesh.shared):
            _turn_sides(mesh, x0, x1, y1)
    below = np.logical_or.accumulate(reached[::-1], axis=0)[::-1]
    behind = np.logical_or.accumulate(below[0, ::-1])[::-1]
    from_west, from_north = (WEST + 1) % PORTS, (NORTH + 1) % PORTS
    pointer[0, :-1, EAST][behind[1:]] = from_west
    pointer[:-1, :, SOUTH][below[1:]] = from_north
    pointer[..., LOCAL][reached] = from_north
    pointer[0, :, [SOUTH, LOCAL]] = np.where(pointer[0, :, [SOUTH, LOCAL]], from_west, 0)


def _turn_sides(mesh: Mesh, x0: int, x1: int, y1: int) -> None:
    """Give the turn to the lane after the last one by which a packet of the first inlet crosses a side."""
    router, port = np.divmod(mesh.links[:, LINK_OUTPUT], PLACES)
    x, y = mesh.x[router], mesh.y[router]
    east = (port == EAST) & (y == 0) & (x < x1)
    south = (port == SOUTH) & (x0 <= x) & (x <= x1) & (y < y1)
    lanes = mesh.shared[:, SHARED_LANES:]
    crossed = (east | south)[np.maximum(lanes, 0)] & (lanes >= 0)
    used = crossed.any(axis=1)
    mesh.shared[used, SHARED_TURN] = crossed.shape[1] - crossed[used, ::-1].argmax(axis=1)


@njit
def pack_flit(shifts: Ints, packet: Ints, payload: int) -> int:
    """Return a spike packet as one integer, its payload made positive."""
    flit = payload
    for field in range(AXON + 1):
        flit |= packet[field] << shifts[field]
    return flit


@njit
def unpack_place(shifts: Ints, flit: int) -> tuple[int, int, int, int]:
    """Return the rectangle (x0, x1, y0, y1) of a flit."""
    across = (1 << shifts[X1] - shifts[X0]) - 1
    down = (1 << shifts[Y1] - shifts[Y0]) - 1
    x0, x1 = flit >> shifts[X0] & across, flit >> shifts[X1] & across
    return x0, x1, flit >> shifts[Y0] & down, flit >> shifts[Y1] & down


@njit
def unpack_flit(shifts: Ints, flit: int) -> tuple[int, int]:
    """Return axon and payload of a spike packet."""
    axon = (flit & (1 << shifts[X0]) - 1) >> shifts[AXON]
    return axon, (flit & (1 << shifts[AXON]) - 1) - (1 << shifts[AXON] - 1)


@njit
def route(shifts: Ints, port: int, x: int, y: int, flit: int) -> int:
    """Return the outputs that a packet from ``port`` requests (network.md, "Ports and routes")."""
    x0, x1, y0, y1 = unpack_place(shifts, flit)
    across = (x1 > x) << EAST | (x0 < x) << WEST
    turns = (x0 <= x) & (x <= x1) | (port == NORTH) | (port == SOUTH)
    down = (y1 > y) << SOUTH | (y0 < y) << NORTH | ((y0 <= y) & (y <= y1)) << LOCAL
    return (across | (down if turns else 0)) & FEEDS[port]  # type: ignore[no-any-return]


@njit
def outputs_of(word: int) -> int:
    """Return the outputs that are in a byte of a word."""
    word |= word >> 32
    word |= word >> 16
    return (word | word >> 8) & ALL_PORTS


@njit
def inputs_of(word: int) -> int:
    """Return the inputs whose byte of a word, of PORTS + 1 bits, is not zero: the lowest bits of bytes."""
    return (word + INPUTS * ((1 << PORTS + 1) - 1)) >> PORTS + 1 & INPUTS


@njit
def tell(mesh: Mesh, router: int, what: int) -> None:
    """Let a router find something new in the next cycle, and visit it then."""
    soon = mesh.clock[NOW] + 1 & 1
    count, before = mesh.clock[AWAKE + soon], mesh.news[2 * router + soon]
    mesh.news[2 * router + soon] = before | what
    mesh.awake[2 * count + soon] = router  # a router that is awake already is written over
    mesh.clock[AWAKE + soon] = count + (before == 0)


@njit
def place(state: State, mesh: Mesh, fifo: int, flit: int) -> None:
    """Put a flit at the head of a FIFO; copies for absent outputs are sunk here (rule 4)."""
    router, port = fifo >> 3, fifo & 7
    mesh.front[fifo] = flit
    asked = 1 << ASKS_INTAKE
    if not flit & TOKEN:
        want = route(mesh.shifts, port, mesh.x[router], mesh.y[router], flit)
        asked = want & mesh.outs[router]
        if want != asked or want == 0:
            errors = popcount(want & ~mesh.outs[router]) if want else 1
            state.counters[ROUTER_ERRORS, router] += errors
    mesh.asked[router] |= asked << 8 * port


@njit
def offer(state: State, mesh: Mesh, fifo: int, flit: int) -> bool:
    """Write a flit into a FIFO that has room, for the next cycle; return whether it is full now."""
    full = mesh.held[fifo] != 0
    if full:
        mesh.behind[fifo] = flit
    else:
        place(state, mesh, fifo, flit)
    mesh.held[fifo] += 1
    tell(mesh, fifo >> 3, 1 << 8 * (fifo & 7))
    return full  # type: ignore[no-any-return]


@njit
def remove(state: State, mesh: Mesh, fifo: int) -> bool:
    """Take the head off a FIFO; return whether it was full: whoever fills it may go on in the next cycle.

    A router acts on its own state and on the room behind its outputs. One that could not move anything sleeps
    until a flit arrives or a full FIFO behind it has room again.
    """
    full = mesh.held[fifo] == 2
    mesh.held[fifo] -= 1
    if full:
        place(state, mesh, fifo, mesh.behind[fifo])
        output = mesh.upstream[fifo]
        if output >= 0:
            tell(mesh, output >> 3, 1 << OPEN_AT + (output & 7))
    return full  # type: ignore[no-any-return]
