# SPDX-License-Identifier: Apache-2.0
"""The cores that a network may be placed on, and what a packet costs on the way between them."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of
from emu.spec import SystemSpec

__all__ = ["EAST", "NORTH", "SOUTH", "WEST", "Mesh"]

NORTH, EAST, SOUTH, WEST = range(4)
"""Outputs of a router that lead to a neighbour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A mesh as placers see it.

    Parameters
    ----------
    width, height : int
        Columns and rows of cores.
    excluded : frozenset of (x, y)
        Cores that nothing may be placed on; their routers pass packets on.
    chip : (width, height), optional
        Cores of one of the equal chips that the mesh is cut into; by default it is one chip.
    beats : int
        Cycles that a packet takes on a link between two chips.
    shared : bool
        The outputs of a side of a chip share one link.
    gated : SystemSpec, optional
        The system, if the host meets it at more than the first inlet and the first outlet.
    """

    width: int
    height: int
    excluded: frozenset[tuple[int, int]] = frozenset()
    chip: tuple[int, int] | None = None
    beats: int = 1
    shared: bool = False
    gated: SystemSpec | None = None

    @classmethod
    def of(cls, spec: SystemSpec) -> "Mesh":
        """Return the mesh of a system, with its links and gates."""
        links, gated = spec.links, spec if spec.gates is not None else None
        own = cls(width=spec.width, height=spec.height, gated=gated)
        if links is None:
            return own
        beats, chip = links.beats(spec.flit_bits), (links.width, links.height)
        return replace(own, chip=chip, beats=beats, shared=links.shared)

    @property
    def entrances(self) -> tuple[tuple[int, int, int], ...]:
        """Port, y and x of every inlet: the ports by which packets enter, and none leaves.

        >>> Mesh(width=2, height=1).entrances == ((WEST, 0, 0),)
        True
        """
        inlets = inlets_of(None if self.gated is None else self.gated.gates)
        last = self.width - 1
        return tuple((WEST, row, 0) if side == "W" else (EAST, row, last) for row, side in inlets)

    @property
    def cores(self) -> int:
        """Cores that something may be placed on.

        >>> Mesh(width=3, height=2, excluded=frozenset({(0, 0)})).cores
        5
        """
        return self.width * self.height - len(self.excluded)

    def free(self) -> NDArray[np.bool_]:
        """Return which cores something may be placed on, bool (height, width)."""
        free = np.ones((self.height, self.width), np.bool_)
        for x, y in self.excluded:
            free[y, x] = False
        return free

    def cycles(self) -> NDArray[np.int64]:
        """Return the cycles that a packet takes on each link, int64 (4, height, width).

        By output (`NORTH`, `EAST`, `SOUTH`, `WEST`) and by the router that it belongs to: 1 on a wire
        within a chip, ``beats`` on a link to another chip.

        >>> Mesh(width=2, height=1, chip=(1, 1), beats=4).cycles()[EAST].tolist()
        [[4, 1]]
        """
        return np.where(self.between_chips(), self.beats, 1)

    def busy(self, packets: NDArray[Any]) -> NDArray[Any]:
        """Return the cycles in which packets occupy each wire or link, (..., 4, height, width) as given.

        Outputs that share a link all have the cycles of all.

        >>> mesh = Mesh(width=2, height=2, chip=(1, 2), beats=4, shared=True)
        >>> mesh.busy(np.ones((4, 2, 2), np.int64))[EAST].tolist()
        [[8, 1], [8, 1]]
        """
        cycles = packets * _cycles(self)
        if not self.shared or self.chip is None:
            return cycles
        between, (across, down) = _between_chips(self), self.chip
        rows, columns, before = self.height // down, self.width // across, packets.shape[:-3]
        chips = (cycles * between).reshape(*before, 4, rows, down, columns, across)
        along = np.where(np.isin(np.arange(4), (NORTH, SOUTH))[:, None, None, None, None], 1, 0)
        sides = np.where(along, chips.sum(-1, keepdims=True), chips.sum(-3, keepdims=True))
        return np.where(between, np.broadcast_to(sides, chips.shape).reshape(cycles.shape), cycles)

    def hops(self, packets: NDArray[np.int64]) -> int:
        """Return the hops of packets as `busy` takes them: all but those that enter by an inlet."""
        return int(packets.sum() - packets[tuple(np.array(self.entrances).T)].sum())

    def between_chips(self) -> NDArray[np.bool_]:
        """Return which outputs lead to another chip, bool (4, height, width)."""
        links = np.zeros((4, self.height, self.width), np.bool_)
        if self.chip is not None:
            x, y = np.arange(self.width), np.arange(self.height)[:, None]
            across, down = self.chip
            borders = {
                NORTH: y % down == 0,
                EAST: (x + 1) % across == 0,
                SOUTH: (y + 1) % down == 0,
                WEST: x % across == 0,
            }
            for port, border in borders.items():
                links[port] = border & self._inside(port)
        return links

    def _inside(self, port: int) -> NDArray[np.bool_]:
        """Return which outputs lead to another core, bool (height, width)."""
        inside = np.ones((self.height, self.width), np.bool_)
        lanes = inside if port in {NORTH, SOUTH} else inside.T
        lanes[0 if port in {NORTH, WEST} else -1] = False
        return inside


@lru_cache(maxsize=4)
def _cycles(mesh: Mesh) -> NDArray[np.int64]:
    """Return what `Mesh.cycles` does: a placer asks for it thousands of times."""
    return mesh.cycles()


@lru_cache(maxsize=4)
def _between_chips(mesh: Mesh) -> NDArray[np.bool_]:
    return mesh.between_chips()
