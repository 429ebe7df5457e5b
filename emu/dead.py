# SPDX-License-Identifier: Apache-2.0
"""Parts of a system that do not work, and what they cut off from the host (`docs/reference/dead.md`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.gates import GateSpec, inlets_of, outlets_of
from emu.sizes import SpecError, require

__all__ = ["DeadSpec"]

_SIDES = ("N", "E", "S", "W")

_NAMED_BY = {"W": (-1, 0, "E"), "N": (0, -1, "S")}
"""A way is told once: by the port E or S at its western or northern end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadSpec:
    """Dead cores, and dead ways between neighbours: wires on a chip or links between two.

    Parameters
    ----------
    cores : tuple of (x, y)
        Cores that are dead; their routers work.
    ports : tuple of (x, y, side)
        A router and one of its sides N, E, S and W: nothing passes there, either way. A way is kept once, by
        the port of its western or northern end.

    Raises
    ------
    SpecError
        If an entry has another form.

    Examples
    --------
    >>> DeadSpec(cores=[[1, 0]], ports=[[2, 1, "W"], [1, 1, "E"]])
    DeadSpec(cores=((1, 0),), ports=((1, 1, 'E'),))
    """

    cores: tuple[tuple[int, int], ...] = ()
    ports: tuple[tuple[int, int, str], ...] = ()

    def __post_init__(self) -> None:
        for core in self.cores:
            require(_is_place(core, 2), "dead core", "[x, y]", core)
        for port in self.ports:
            known = _is_place(port, 3) and port[2] in _SIDES
            require(known, "dead port", "[x, y, side] with a side N, E, S or W", port)
        ways = ((*_NAMED_BY.get(side, (0, 0, side)), x, y) for x, y, side in self.ports)
        told = {(x + dx, y + dy, side) for dx, dy, side, x, y in ways}
        object.__setattr__(self, "cores", tuple(sorted({(x, y) for x, y in self.cores})))
        object.__setattr__(self, "ports", tuple(sorted(told)))

    def check(self, width: int, height: int, gates: GateSpec | None = None) -> None:
        """Refuse parts that a mesh has not, and those without which the host reaches no core or no outlet."""
        for x, y in self.cores:
            inside = 0 <= x < width and 0 <= y < height
            require(inside, "dead core", f"one of {width} x {height} cores", [x, y])
        for x, y, side in self.ports:
            last = width - 1 if side == "E" else height - 1
            inside = 0 <= x < width and 0 <= y < height and (x if side == "E" else y) < last
            require(inside, "dead port", f"between two of {width} x {height} cores", [x, y, side])
            way_out = x == 0 and side == "S"
            require(not way_out, "dead port", "none between cores of column 0, which leads out", [x, y, side])
        if not self.alive(width, height).any():
            raise SpecError(
                f"The host must reach a core, and reaches none past {len(self.cores)} dead cores and "
                f"{len(self.ports)} dead ports on a mesh of {width}x{height}."
            )
        led = self._led_out(width, height, gates)
        for x in outlets_of(gates)[1:]:
            reached = f"such that tokens of the host reach the outlet of column {x}"
            require(bool(led[x]), "dead ports", reached, [list(port) for port in self.ports])

    def ways(self, side: str, width: int, height: int) -> NDArray[np.bool_]:
        """Return which outputs E or S of a mesh are dead, bool (height, width)."""
        return _marked([(x, y) for x, y, name in self.ports if name == side], width, height)

    def alive(self, width: int, height: int) -> NDArray[np.bool_]:
        """Return which cores of a mesh are neither dead nor cut off from the host, bool (height, width).

        >>> DeadSpec(cores=((0, 0),), ports=((1, 1, "E"),)).alive(3, 2).astype(int).tolist()
        [[0, 1, 1], [1, 1, 0]]
        """
        row = _before(self.ways("E", width, height), 1) == 0
        column = _before(self.ways("S", width, height), 0) == 0
        return np.asarray(row[:1] & column & row & ~_marked(self.cores, width, height))

    def _led_out(self, width: int, height: int, gates: GateSpec | None) -> NDArray[np.bool_]:
        """Return by which columns something that entered by an inlet comes to the last row, bool (width,)."""
        row, column = self.ways("E", width, height), self.ways("S", width, height)
        ends = _marked([("WE".index(side), y) for y, side in inlets_of(gates)], 2, height)
        east = ends[:, :1] & (_before(row, 1) == 0)
        west = ends[:, 1:] & (_before(row, 1) == row.sum(1, keepdims=True))
        south = _before(column, 0) == column.sum(0)
        return np.asarray(((east | west) & south).any(axis=0))


def _is_place(entry: object, length: int) -> bool:
    """Return whether an entry begins with x and y and has a length."""
    whole = isinstance(entry, (list, tuple)) and len(entry) == length
    return whole and all(type(part) is int for part in entry[:2])  # type: ignore[index]


def _marked(cells: Iterable[tuple[int, int]], width: int, height: int) -> NDArray[np.bool_]:
    """Return a mesh in which some cells are true."""
    marked = np.zeros((height, width), np.bool_)
    for x, y in cells:
        marked[y, x] = True
    return marked


def _before(ways: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Return how many marked cells come before each along an axis."""
    return np.asarray(ways.cumsum(axis) - ways, np.int64)
