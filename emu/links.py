# SPDX-License-Identifier: Apache-2.0
"""Sizes of the links between chips (`docs/reference/links.md`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from emu.sizes import require, require_integers, require_truths

__all__ = ["LinkSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """How a system is cut into chips, and the links between them.

    Parameters
    ----------
    width, height : int
        Columns and rows of cores of a chip.
    wires : int
        Bits of a beat, from 1 to the bits of a flit.
    latency : int
        Cycles that a flit is under way beside its beats, 2..64.
    depth : int
        Flits that the receiving end holds, of each lane, 1..64.
    shared : bool
        One link a side of a chip, with a lane for each of its routers, instead of one a router.
    """

    width: int
    height: int
    wires: int
    latency: int = 2
    depth: int = 4
    shared: bool = False

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("width", "height", "wires", "latency", "depth")}
        require_integers(**sizes)
        require_truths(shared=self.shared)
        for name in ("width", "height", "wires"):
            require(sizes[name] >= 1, f"link {name}", "at least 1", sizes[name])
        require(2 <= self.latency <= 64, "link latency", "2..64", self.latency)
        require(1 <= self.depth <= 64, "link depth", "1..64", self.depth)

    @classmethod
    def between(
        cls, chips: tuple[int, int], mesh: tuple[int, int], flit_bits: int, *, shared: bool = False
    ) -> LinkSpec:
        """Return the links of a mesh cut into ``chips`` (across, down), with wires for a quarter of a flit.

        >>> LinkSpec.between((2, 1), (4, 3), 38)
        LinkSpec(width=2, height=3, wires=10, latency=2, depth=4, shared=False)
        """
        for name, number, whole in zip(("across", "down"), chips, mesh, strict=True):
            require(number >= 1 and whole % number == 0, f"chips {name}", f"a divisor of {whole}", number)
        links = cls(width=mesh[0] // chips[0], height=mesh[1] // chips[1], wires=1, shared=shared)
        return replace(links, wires=-(-links.word_bits(flit_bits) // 4))

    def chips(self, width: int, height: int) -> tuple[int, int]:
        """Return how many chips a mesh is cut into, across and down."""
        return width // self.width, height // self.height

    def check(self, width: int, height: int, flit_bits: int) -> None:
        """Refuse sizes that do not cut a mesh into equal chips, or wires that no flit needs."""
        for name, whole, part in (("width", width, self.width), ("height", height, self.height)):
            require(whole % part == 0, f"link {name}", f"a divisor of {whole}", part)
        bits = self.word_bits(flit_bits)
        require(self.wires <= bits, "link wires", f"1..{bits}", self.wires)

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as plain data; that links are not shared goes without saying."""
        return {name: value for name, value in asdict(self).items() if name != "shared" or value}

    @property
    def lanes(self) -> int:
        """Lanes of the longest side of a chip: 1 where every border router has a link of its own."""
        return max(self.width, self.height) if self.shared else 1

    @property
    def lane_bits(self) -> int:
        """Bits that tell a lane, the same for all sides.

        >>> [LinkSpec(width=w, height=2, wires=8, shared=True).lane_bits for w in (1, 2, 3, 8)]
        [1, 1, 2, 3]
        """
        return (self.lanes - 1).bit_length()

    def word_bits(self, flit_bits: int) -> int:
        """Return the bits that cross with a flit: its own and those of its lane."""
        return flit_bits + self.lane_bits

    def beats(self, flit_bits: int) -> int:
        """Return the cycles that a flit takes on the wires.

        >>> LinkSpec(width=1, height=1, wires=12).beats(38)
        4
        """
        return -(-self.word_bits(flit_bits) // self.wires)

    def round_trip(self, flit_bits: int) -> int:
        """Return the cycles from a flit's departure to the use of its credit by another, if nobody waits."""
        return self.beats(flit_bits) + 2 * self.latency - 1

    def spell(self, flit_bits: int) -> int:
        """Return the cycles after which one packet may surely follow another, a copy of each in every lane.

        >>> [LinkSpec(width=8, height=8, wires=12, shared=way).spell(38) for way in (False, True)]
        [7, 35]
        """
        return self.round_trip(flit_bits) + (self.lanes - 1) * self.beats(flit_bits)

    def crossing(self, flit_bits: int) -> int:
        """Return the cycles from a flit's departure until it is a head, after one of each other lane."""
        return self.lanes * self.beats(flit_bits) + self.latency + self.shared

    def pace(self, flit_bits: int, lanes: int = 1) -> float:
        """Return the cycles from one flit to the next, in the mean, of a link whose lanes never rest.

        >>> LinkSpec(width=1, height=1, wires=12, latency=2, depth=1).pace(38)
        7.0
        >>> LinkSpec(width=2, height=2, wires=12, latency=2, depth=1, shared=True).pace(38, lanes=2)
        4
        """
        again = max(self.round_trip(flit_bits) / self.depth, 1 + self.shared)
        return max(self.beats(flit_bits), again / lanes)

    def size(self, flit_bits: int) -> tuple[int, int, int]:
        """Return beats, latency and depth."""
        return self.beats(flit_bits), self.latency, self.depth
