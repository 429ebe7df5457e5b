# SPDX-License-Identifier: Apache-2.0
"""Follow one packet through the mesh by the rules of `docs/reference/network.md`, router by router."""

import functools
from dataclasses import dataclass

__all__ = ["GATEWAY", "Walk", "walk"]

GATEWAY = -1
"""Stands for the gateway where otherwise the index of a core stands."""

_STEPS = {"N": (0, -1, "S"), "E": (1, 0, "W"), "S": (0, 1, "N"), "W": (-1, 0, "E")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What becomes of one packet.

    Parameters
    ----------
    arrivals : tuple of int
        Core indices, or `GATEWAY`, ascending, once per copy that arrives.
    hops : int
        Links crossed by all copies together, the one to the gateway included.
    sunk : int
        Copies that routers sink because they lead out of the mesh or nowhere.
    """

    arrivals: tuple[int, ...]
    hops: int
    sunk: int


def _wanted(x: int, y: int, port: str, rectangle: tuple[int, int, int, int]) -> list[str]:
    """Return the outputs that a flit wants at router (x, y) when it came in by ``port``."""
    x0, x1, y0, y1 = rectangle
    wanted = []
    if port in "LW" and x1 > x:
        wanted.append("E")
    if port in "LE" and x0 < x:
        wanted.append("W")
    turns = port in "LWE" and x0 <= x <= x1
    if y1 > y and (turns or port == "N"):
        wanted.append("S")
    if y0 < y and (turns or port == "S"):
        wanted.append("N")
    if y0 <= y <= y1 and (turns or port in "NS"):
        wanted.append("L")
    return wanted


@functools.lru_cache(maxsize=65536)
def walk(width: int, height: int, start: int, rectangle: tuple[int, int, int, int]) -> Walk:
    """Follow one packet, every fork included.

    Parameters
    ----------
    width, height : int
        The mesh.
    start : int
        Index of the sending core, or `GATEWAY`.
    rectangle : (x0, x1, y0, y1)
        The packet's destination.

    Examples
    --------
    >>> walk(3, 2, 0, (1, 2, 1, 1))
    Walk(arrivals=(4, 5), hops=4, sunk=0)
    """
    pending = [(0, 0, "W")] if start == GATEWAY else [(start % width, start // width, "L")]
    arrivals: list[int] = []
    hops = sunk = 0
    while pending:
        x, y, port = pending.pop()
        wanted = _wanted(x, y, port, rectangle)
        sunk += not wanted
        for output in wanted:
            if output == "L":
                arrivals.append(y * width + x)
                continue
            hops += 1
            across, down, entry = _STEPS[output]
            if output == "S" and (x, y) == (0, height - 1):
                arrivals.append(GATEWAY)
            elif 0 <= x + across < width and 0 <= y + down < height:
                pending.append((x + across, y + down, entry))
            else:
                hops, sunk = hops - 1, sunk + 1
    return Walk(arrivals=tuple(sorted(arrivals)), hops=hops, sunk=sunk)
