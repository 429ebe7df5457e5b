# SPDX-License-Identifier: Apache-2.0
"""Follow packets through the mesh by the rules of `docs/reference/network.md`, router by router.

The paths are the check's own: nothing that routes or emits packets imports them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.gates import GateSpec, inlets_of, outlets_of

__all__ = ["GATEWAY", "PORTS", "Paths", "crossings", "follow"]

GATEWAY = -1
"""Stands for the host where otherwise the index of a core stands: an outlet, or inlet 0; -2 for inlet 1."""

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

N, E, S, W, L = range(5)
PORTS = ("north", "east", "south", "west")
"""Names of the ports that lead out of a router, by number."""

_ACROSS = np.array([0, 1, 0, -1, 0])
_DOWN = np.array([-1, 0, 1, 0, 0])
_ENTRY = np.array([S, W, N, E, L])
"""By output port: what is added to x and y, and the port by which the next router takes the flit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Where packets end.

    Parameters
    ----------
    packet, core : int64 (arrivals,)
        One row for each copy that arrives, sorted: the index of the packet, and the core or `GATEWAY`.
    sunk : int64 (packets,)
        Copies of each packet that routers sink, as they lead out of the mesh or nowhere.
    """

    packet: Integers
    core: Integers
    sunk: Integers


def _requests(x: Integers, y: Integers, port: Integers, rectangle: Integers) -> Flags:
    """Return which outputs each flit requests, (flits, 5), at router (x, y), which it entered by ``port``."""
    x0, x1, y0, y1 = rectangle.T
    from_north, from_east, from_south, from_west, from_core = (port == side for side in (N, E, S, W, L))
    turns = (from_core | from_west | from_east) & (x0 <= x) & (x <= x1)
    return np.stack(
        (
            (turns | from_south) & (y0 < y),
            (from_core | from_west) & (x1 > x),
            (turns | from_north) & (y1 > y),
            (from_core | from_east) & (x0 < x),
            (turns | from_north | from_south) & (y0 <= y) & (y <= y1),
        ),
        axis=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Round:
    """What becomes of every copy at the router where it is: the output that it takes, and where that leads.

    ``to_host`` leave the mesh by the gateway, ``astray`` leave it anywhere else; ``stuck`` are the packets
    of the copies that no output takes.
    """

    packet: Integers
    router: Integers
    output: Integers
    to_host: Flags
    astray: Flags
    stuck: Integers


def _begin(width: int, start: Integers, gates: GateSpec | None) -> tuple[Integers, Integers, Integers]:
    """Return x and y of the router that each packet enters first, and by which port."""
    rows, sides = zip(*inlets_of(gates), strict=True)
    outside, inlet = start <= GATEWAY, np.maximum(GATEWAY - start, 0)
    east = np.array([side == "E" for side in sides])[inlet]
    x = np.where(outside, np.where(east, width - 1, 0), start % width)
    y = np.where(outside, np.array(rows)[inlet], start // width)
    return x, y, np.where(outside, np.where(east, E, W), L)


def _ahead(size: int, place: Integers, way: Integers, span: Integers) -> Integers:
    """Return along one axis where copies get that go on, ``way`` 1, or back, -1, as long as they only can.

    Before a rectangle, and behind it, the comparisons of `_requests` have one result: a router that a copy
    enters there takes it straight on. So it is moved at once to where they change, or to the border.
    """
    near, far = np.minimum(span.min(axis=1), size - 1), np.maximum(span.max(axis=1), 0)
    return np.where(way > 0, np.maximum(place, near), np.where(way < 0, np.minimum(place, far), place))


def _rounds(
    width: int, height: int, start: Integers, rectangle: Integers, gates: GateSpec | None, *, far: bool
) -> Iterator[_Round]:
    """Move every copy by one router a round, or ``far`` where nothing else can happen, until none is left."""
    packet = np.arange(len(start))
    x, y, port = _begin(width, start, gates)
    while len(packet):
        requests = _requests(x, y, port, rectangle[packet])
        stuck = packet[~requests.any(axis=1)]
        flit, output = np.nonzero(requests)
        packet, x, y = packet[flit], x[flit], y[flit]
        to_x, to_y = x + _ACROSS[output], y + _DOWN[output]
        to_host = (output == S) & np.isin(x, outlets_of(gates)) & (y == height - 1)
        inside = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
        yield _Round(
            packet=packet,
            router=y * width + x,
            output=output,
            to_host=to_host,
            astray=~inside & ~to_host,
            stuck=stuck,
        )
        on = inside & (output != L)
        packet, x, y, output = packet[on], to_x[on], to_y[on], output[on]
        port = _ENTRY[output]
        if far:
            x = _ahead(width, x, _ACROSS[output], rectangle[packet, :2])
            y = _ahead(height, y, _DOWN[output], rectangle[packet, 2:])


def follow(
    width: int, height: int, start: Integers, rectangle: Integers, gates: GateSpec | None = None
) -> Paths:
    """Follow packets, every fork included.

    Parameters
    ----------
    width, height : int
        The mesh.
    start : int64 (packets,)
        The sending core of each packet, or `GATEWAY` - i for inlet i of the host.
    rectangle : int64 (packets, 4)
        The destination x0, x1, y0, y1 of each packet.
    gates : GateSpec, optional
        The inlets and outlets beside the first ones.

    Examples
    --------
    >>> paths = follow(3, 2, np.array([0]), np.array([[1, 2, 1, 1]]))
    >>> paths.core.tolist(), paths.sunk.tolist()
    ([4, 5], [0])
    """
    arrivals, sunk = [np.zeros(0, np.int64)], np.zeros(len(start), np.int64)
    places = width * height - GATEWAY
    for now in _rounds(width, height, start, rectangle, gates, far=True):
        for lost in (now.stuck, now.packet[now.astray]):
            sunk += np.bincount(lost, minlength=len(sunk))
        arrived = (now.output == L) | now.to_host
        core = np.where(now.to_host, GATEWAY, now.router)
        arrivals.append(now.packet[arrived] * places + (core[arrived] - GATEWAY))
    packet, core = np.divmod(np.sort(np.concatenate(arrivals)), places)
    return Paths(packet=packet, core=core + GATEWAY, sunk=sunk)


def crossings(
    width: int, height: int, start: Integers, rectangle: Integers, gates: GateSpec | None = None
) -> Integers:
    """Return every link that packets take, int64 (crossings, 3): packet, router, output (index of `PORTS`).

    Parameters are those of `follow`. Links southwards from outlets lead to the host.

    Examples
    --------
    >>> crossings(3, 2, np.array([0]), np.array([[1, 2, 1, 1]])).tolist()
    [[0, 0, 1], [0, 1, 1], [0, 1, 2], [0, 2, 2]]
    """
    tables = [np.zeros((0, 3), np.int64)]
    for now in _rounds(width, height, start, rectangle, gates, far=False):
        taken = (now.output != L) & ~now.astray
        tables.append(np.column_stack((now.packet, now.router, now.output))[taken])
    return np.concatenate(tables)
