# SPDX-License-Identifier: Apache-2.0
"""The routers of a mesh, one cycle at a time (network.md, "One cycle of a router")."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.jit import njit
from emu.kernels.state import X0, X1, Y0, Y1, Ints

__all__ = [
    "TOKEN",
    "Mesh",
    "first_port",
    "has_room",
    "make_mesh",
    "offer",
    "pack_flit",
    "remove",
    "route",
    "unpack_flit",
    "unpack_place",
    "wake",
]

NORTH, EAST, SOUTH, WEST, LOCAL = 0, 1, 2, 3, 4
PORTS = 5
TO_GATEWAY = -1
TO_CORE = -2

# A flit in one integer: four coordinates, axon, payload, token, pause, each in its greatest width (emu.spec).
PLACE_BITS, AXON_BITS, PAYLOAD_BITS = 6, 24, 9
X1_SHIFT, Y0_SHIFT, Y1_SHIFT, AXON_SHIFT = (PLACE_BITS * i for i in range(1, 5))
PAYLOAD_SHIFT = AXON_SHIFT + AXON_BITS
PAYLOAD_BIAS = 1 << PAYLOAD_BITS - 1
TOKEN = 1 << PAYLOAD_SHIFT + PAYLOAD_BITS
PAUSE = TOKEN << 1
STRAY = TOKEN << 2  # a control packet at a time at which it is an error

# FEEDS[i]: outputs that input i can reach under x-then-y routing; FED_BY[o]: the transpose.
FEEDS = np.array([0b10100, 0b11101, 0b10001, 0b10111, 0b11111], np.int64)
FED_BY = np.array([sum(1 << i for i in range(PORTS) if FEEDS[i] >> o & 1) for o in range(PORTS)], np.int64)

# The port of a set of one port.
PORT_OF = np.zeros(1 << PORTS, np.int64)
PORT_OF[[1 << port for port in range(PORTS)]] = range(PORTS)

# A set of ports with five bits between any two.
SPREAD = np.array([sum((s >> o & 1) << PORTS * o for o in range(PORTS)) for s in range(1 << PORTS)], np.int64)

# Places in Mesh.clock: the cycle, and how many routers are awake in even and in odd cycles.
NOW, AWAKE = 0, 1


class Mesh(NamedTuple):
    """All routers. R routers; port p of router r is FIFO (as an input) or output ``5 r + p``.

    Changes within a cycle are made at once; ``arrived`` and ``freed`` keep from the routers of the same cycle
    what they may only see in the next one.
    """

    front: Ints  # (5 R,) flit at the head
    behind: Ints  # (5 R,) flit after it
    held: Ints  # (5 R,) flits
    freed: Ints  # (5 R,) cycle in which a FIFO was full and gave a flit away
    served: Ints  # (5 R,) outputs that the head has reached
    taken: Ints  # (5 R,) inputs whose token an output has taken
    gone: Ints  # (5 R,) outputs that have taken an input's token: the transpose of ``taken``
    pause: Ints  # (5 R,) or of the pause flags of those
    pointer: Ints  # (5 R,) round robin
    need: Ints  # (5 R,) present inputs that feed an output
    target: Ints  # (5 R,) FIFO behind an output, TO_GATEWAY or TO_CORE
    upstream: Ints  # (5 R,) router that fills a FIFO, or -1 - injector
    outs: Ints  # (R,) present outputs
    x: Ints  # (R,)
    y: Ints  # (R,)
    heads: Ints  # (R,) inputs with a flit since an earlier cycle
    arrived: Ints  # (2, R) inputs that got a flit in the cycle before an even or odd one
    complete: Ints  # (R,) outputs that have taken the token of every input that feeds them
    awake: Ints  # (2, R) routers to visit in an even or odd cycle
    marked: Ints  # (R,) the latest cycle for which a router is in ``awake``
    want: Ints  # (5,) scratch: outputs that each head requests
    clock: Ints  # (3,)


@cache
def _neighbours(width: int, height: int) -> tuple[Ints, Ints, Ints]:
    """Return (target, upstream, present inputs) of every port; injector R is the host. To be read only."""
    routers = width * height
    target = np.full(PORTS * routers, -3, np.int64)
    upstream = np.full(PORTS * routers, -3, np.int64)
    inputs = np.full(routers, 1 << LOCAL, np.int64)
    opposite = {NORTH: SOUTH, SOUTH: NORTH, EAST: WEST, WEST: EAST}
    for router in range(routers):
        x, y = router % width, router // width
        target[PORTS * router + LOCAL] = TO_CORE
        upstream[PORTS * router + LOCAL] = -1 - router
        for port, (dx, dy) in {NORTH: (0, -1), EAST: (1, 0), SOUTH: (0, 1), WEST: (-1, 0)}.items():
            if 0 <= x + dx < width and 0 <= y + dy < height:
                other = (y + dy) * width + x + dx
                target[PORTS * router + port] = PORTS * other + opposite[port]
                upstream[PORTS * other + opposite[port]] = router
                inputs[router] |= 1 << port
    target[PORTS * (routers - width) + SOUTH] = TO_GATEWAY
    upstream[WEST] = -1 - routers
    inputs[0] |= 1 << WEST
    return target, upstream, inputs


def make_mesh(width: int, height: int) -> Mesh:
    """Return an empty mesh with its gateway."""
    routers = width * height
    target, upstream, inputs = _neighbours(width, height)
    ports = PORTS * routers

    def zeros(count: int) -> NDArray[np.int64]:
        return np.zeros(count, np.int64)

    return Mesh(
        front=zeros(ports),
        behind=zeros(ports),
        held=zeros(ports),
        freed=zeros(ports) - 1,
        served=zeros(ports),
        taken=zeros(ports),
        gone=zeros(ports),
        pause=zeros(ports),
        pointer=zeros(ports),
        need=(FED_BY[None, :] & inputs[:, None]).reshape(-1),
        target=target,
        upstream=upstream,
        outs=((target.reshape(routers, PORTS) != -3) << np.arange(PORTS)).sum(axis=1),
        x=np.arange(routers) % width,
        y=np.arange(routers) // width,
        heads=zeros(routers),
        arrived=np.zeros((2, routers), np.int64),
        complete=zeros(routers),
        awake=np.zeros((2, routers), np.int64),
        marked=zeros(routers) - 1,
        want=zeros(PORTS),
        clock=zeros(3),
    )


@njit
def pack_flit(packet: Ints, axon: int, payload: int) -> int:
    """Return a spike packet as one integer; ``packet`` has the rectangle."""
    place = packet[X0] | packet[X1] << X1_SHIFT | packet[Y0] << Y0_SHIFT | packet[Y1] << Y1_SHIFT
    return place | axon << AXON_SHIFT | (payload + PAYLOAD_BIAS) << PAYLOAD_SHIFT  # type: ignore[no-any-return]


@njit
def unpack_place(flit: int) -> tuple[int, int, int, int]:
    """Return the rectangle (x0, x1, y0, y1) of a flit."""
    mask = (1 << PLACE_BITS) - 1
    return flit & mask, flit >> X1_SHIFT & mask, flit >> Y0_SHIFT & mask, flit >> Y1_SHIFT & mask


@njit
def unpack_flit(flit: int) -> tuple[int, int]:
    """Return axon and payload of a spike packet."""
    axon = flit >> AXON_SHIFT & (1 << AXON_BITS) - 1
    return axon, (flit >> PAYLOAD_SHIFT & (1 << PAYLOAD_BITS) - 1) - PAYLOAD_BIAS


@njit
def route(port: int, x: int, y: int, flit: int) -> int:
    """Return the outputs that a packet from ``port`` requests (network.md, "Ports and routes")."""
    x0, x1, y0, y1 = unpack_place(flit)
    across = (x1 > x) << EAST | (x0 < x) << WEST
    turns = (x0 <= x) & (x <= x1) | (port == NORTH) | (port == SOUTH)
    down = (y1 > y) << SOUTH | (y0 < y) << NORTH | ((y0 <= y) & (y <= y1)) << LOCAL
    return (across | (down if turns else 0)) & FEEDS[port]  # type: ignore[no-any-return]


@njit
def first_port(ports: int) -> int:
    """Return the first port of a set that is not empty; the mask spares the compiler negative indices."""
    return PORT_OF[ports & -ports & (1 << PORTS) - 1] & 7  # type: ignore[no-any-return]


@njit
def has_room(mesh: Mesh, fifo: int) -> bool:
    """Return whether a FIFO held fewer than two flits at the start of the cycle; ask before offering."""
    return mesh.held[fifo] < 2 and mesh.freed[fifo] != mesh.clock[NOW]  # type: ignore[no-any-return]


@njit
def wake(mesh: Mesh, router: int) -> None:
    """Visit a router in the next cycle."""
    soon = mesh.clock[NOW] + 1
    if mesh.marked[router] != soon:
        mesh.marked[router] = soon
        mesh.awake[soon & 1, mesh.clock[AWAKE + (soon & 1)]] = router
        mesh.clock[AWAKE + (soon & 1)] += 1


@njit
def offer(mesh: Mesh, fifo: int, flit: int) -> None:
    """Write a flit into a FIFO that has room; it is there from the next cycle on."""
    if mesh.held[fifo]:
        mesh.behind[fifo] = flit
    else:
        mesh.front[fifo] = flit
    mesh.held[fifo] += 1
    router = fifo // PORTS
    mesh.arrived[mesh.clock[NOW] + 1 & 1, router] |= 1 << (fifo - PORTS * router)
    wake(mesh, router)


@njit
def remove(mesh: Mesh, fifo: int) -> bool:
    """Take the head off a FIFO; return whether it was full: whoever fills it may go on in the next cycle.

    A router acts on its own state and on the room behind its outputs. One that could not move anything sleeps
    until a flit arrives or a full FIFO behind it has room again.
    """
    full = mesh.held[fifo] == 2
    if full:
        mesh.freed[fifo] = mesh.clock[NOW]
        if mesh.upstream[fifo] >= 0:
            wake(mesh, mesh.upstream[fifo])
    mesh.front[fifo] = mesh.behind[fifo]
    mesh.held[fifo] -= 1
    return full  # type: ignore[no-any-return]
