# SPDX-License-Identifier: Apache-2.0
"""Follow packets through the mesh by the rules of `docs/reference/network.md`, router by router.

The paths are the check's own: nothing that routes or emits packets imports them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GATEWAY", "Paths", "follow"]

GATEWAY = -1
"""Stands for the gateway where otherwise the index of a core stands."""

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

N, E, S, W, L = range(5)
_ACROSS = np.array([0, 1, 0, -1])
_DOWN = np.array([-1, 0, 1, 0])
_ENTRY = np.array([S, W, N, E])
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


def follow(width: int, height: int, start: Integers, rectangle: Integers) -> Paths:
    """Follow packets, every fork included; each round moves every flit by one router.

    Parameters
    ----------
    width, height : int
        The mesh.
    start : int64 (packets,)
        The sending core of each packet, or `GATEWAY`.
    rectangle : int64 (packets, 4)
        The destination x0, x1, y0, y1 of each packet.

    Examples
    --------
    >>> paths = follow(3, 2, np.array([0]), np.array([[1, 2, 1, 1]]))
    >>> paths.core.tolist(), paths.sunk.tolist()
    ([4, 5], [0])
    """
    outside = start == GATEWAY
    packet = np.arange(len(start))
    x, y = np.where(outside, 0, start % width), np.where(outside, 0, start // width)
    port = np.where(outside, W, L)
    arrivals, sunk = [np.zeros((2, 0), np.int64)], np.zeros(len(start), np.int64)
    while len(packet):
        requests = _requests(x, y, port, rectangle[packet])
        sunk += np.bincount(packet[~requests.any(axis=1)], minlength=len(sunk))
        flit, output = np.nonzero(requests)
        packet, x, y = packet[flit], x[flit], y[flit]
        here = output == L
        leaves = (output == S) & (x == 0) & (y == height - 1)
        arrived = here | leaves
        core = np.where(here, y * width + x, GATEWAY)
        arrivals.append(np.stack((packet[arrived], core[arrived])))
        packet, x, y, output = (column[~arrived] for column in (packet, x, y, output))
        x, y, port = x + _ACROSS[output], y + _DOWN[output], _ENTRY[output]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        sunk += np.bincount(packet[~inside], minlength=len(sunk))
        packet, x, y, port = (column[inside] for column in (packet, x, y, port))
    table = np.concatenate(arrivals, axis=1)
    packet, core = table[:, np.lexsort(table[::-1])]
    return Paths(packet=packet, core=core, sunk=sunk)
