# SPDX-License-Identifier: Apache-2.0
"""The routers of a mesh, one cycle at a time (network.md, "One cycle of a router")."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.jit import njit
from emu.kernels.state import Ints

__all__ = [
    "TOKEN",
    "Mesh",
    "commit",
    "has_room",
    "make_mesh",
    "offer",
    "pack_flit",
    "route",
    "touch",
    "wake",
]

NORTH, EAST, SOUTH, WEST, LOCAL = 0, 1, 2, 3, 4
PORTS = 5
TO_GATEWAY = -1
TO_CORE = -2

# A flit in one integer: six bits a coordinate, axon, payload, token, pause.
AXON_SHIFT, PAYLOAD_SHIFT = 24, 40
PAYLOAD_BIAS = 512
TOKEN = 1 << 50
PAUSE = 1 << 51

# FEEDS[i]: outputs that input i can reach under x-then-y routing; FED_BY[o]: the transpose.
FEEDS = np.array([0b10100, 0b11101, 0b10001, 0b10111, 0b11111], np.int64)
FED_BY = np.array([sum(1 << i for i in range(PORTS) if FEEDS[i] >> o & 1) for o in range(PORTS)], np.int64)

# Places in Mesh.clock.
NOW, AWAKE, SOON, TOUCHED = range(4)


class Mesh(NamedTuple):
    """All routers. R routers; port p of router r is FIFO (as an input) or output ``5 r + p``."""

    width: int
    slot: Ints  # (5 R, 2) flits
    head: Ints  # (5 R,) which slot is the oldest
    held: Ints  # (5 R,) flits at the start of the cycle
    moved: Ints  # (5 R,) in this cycle: 1 removed, 2 added
    touched: Ints  # (5 R,) FIFOs with something moved
    served: Ints  # (5 R,) outputs that the head has reached
    taken: Ints  # (5 R,) inputs whose token an output has taken
    gone: Ints  # (5 R,) outputs that have taken an input's token: the transpose of ``taken``
    pause: Ints  # (5 R,) or of the pause flags of those
    pointer: Ints  # (5 R,) round robin
    need: Ints  # (5 R,) present inputs that feed an output
    target: Ints  # (5 R,) FIFO behind an output, TO_GATEWAY or TO_CORE
    upstream: Ints  # (5 R,) router that fills a FIFO, or -1 - injector
    outs: Ints  # (R,) present outputs
    awake: Ints  # (R,) routers to visit in this cycle
    soon: Ints  # (R,) and in the next
    marked: Ints  # (R,) 1 if in ``soon``
    ask: Ints  # (5,) scratch: outputs requested by each head
    want: Ints  # (5,) scratch: outputs wanted by each head
    clock: Ints  # (4,)


def _neighbours(width: int, height: int) -> tuple[Ints, Ints, Ints]:
    """Return (target, upstream, present inputs) of every port; injector R is the host."""
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
        width=width,
        slot=np.zeros((ports, 2), np.int64),
        head=zeros(ports),
        held=zeros(ports),
        moved=zeros(ports),
        touched=zeros(ports),
        served=zeros(ports),
        taken=zeros(ports),
        gone=zeros(ports),
        pause=zeros(ports),
        pointer=zeros(ports),
        need=(FED_BY[None, :] & inputs[:, None]).reshape(-1),
        target=target,
        upstream=upstream,
        outs=((target.reshape(routers, PORTS) != -3) << np.arange(PORTS)).sum(axis=1),
        awake=zeros(routers),
        soon=zeros(routers),
        marked=zeros(routers),
        ask=zeros(PORTS),
        want=zeros(PORTS),
        clock=zeros(4),
    )


@njit
def pack_flit(x0: int, x1: int, y0: int, y1: int, axon: int, payload: int) -> int:
    """Return a spike packet as one integer."""
    place = x0 | x1 << 6 | y0 << 12 | y1 << 18
    return place | axon << AXON_SHIFT | (payload + PAYLOAD_BIAS) << PAYLOAD_SHIFT


@njit
def route(port: int, x: int, y: int, flit: int) -> int:
    """Return the outputs wanted by a packet that came in by ``port`` (network.md, "Ports and routes")."""
    x0, x1 = flit & 63, flit >> 6 & 63
    y0, y1 = flit >> 12 & 63, flit >> 18 & 63
    local = (1 << LOCAL) if y0 <= y <= y1 else 0
    south = (1 << SOUTH) if y1 > y else 0
    north = (1 << NORTH) if y0 < y else 0
    if port == NORTH:
        return south | local
    if port == SOUTH:
        return north | local
    want = 0
    if port != EAST and x1 > x:
        want |= 1 << EAST
    if port != WEST and x0 < x:
        want |= 1 << WEST
    if x0 <= x <= x1:
        want |= south | north | local
    return want


@njit
def has_room(mesh: Mesh, fifo: int) -> bool:
    """Return whether a FIFO held fewer than two flits at the start of the cycle."""
    return mesh.held[fifo] < 2  # type: ignore[no-any-return]


@njit
def touch(mesh: Mesh, fifo: int, what: int) -> None:
    """Note that a flit is removed from a FIFO (1) or added to it (2) at the end of the cycle."""
    if mesh.moved[fifo] == 0:
        mesh.touched[mesh.clock[TOUCHED]] = fifo
        mesh.clock[TOUCHED] += 1
    mesh.moved[fifo] |= what


@njit
def offer(mesh: Mesh, fifo: int, flit: int) -> None:
    """Write a flit into a FIFO that has room; it is there from the next cycle on."""
    mesh.slot[fifo, (mesh.head[fifo] + mesh.held[fifo]) & 1] = flit
    touch(mesh, fifo, 2)


@njit
def wake(mesh: Mesh, router: int) -> None:
    """Visit a router in the next cycle."""
    if mesh.marked[router] == 0:
        mesh.marked[router] = 1
        mesh.soon[mesh.clock[SOON]] = router
        mesh.clock[SOON] += 1


@njit
def commit(mesh: Mesh) -> None:
    """End the cycle: FIFOs change; whoever may act differently now is awake in the next one.

    A router acts on its own state and on the room behind its outputs. One that could not move anything sleeps
    until a flit arrives or a full FIFO behind it has room again.
    """
    for i in range(mesh.clock[TOUCHED]):
        fifo = mesh.touched[i]
        if mesh.moved[fifo] & 1:
            if mesh.held[fifo] == 2 and mesh.upstream[fifo] >= 0:
                wake(mesh, mesh.upstream[fifo])
            mesh.head[fifo] ^= 1
            mesh.held[fifo] -= 1
        if mesh.moved[fifo] & 2:
            mesh.held[fifo] += 1
        if mesh.held[fifo] > 0:
            wake(mesh, fifo // PORTS)
