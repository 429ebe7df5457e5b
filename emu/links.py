# SPDX-License-Identifier: Apache-2.0
"""Sizes of the links between chips (`docs/reference/links.md`)."""

from __future__ import annotations

from dataclasses import dataclass

from emu.sizes import require, require_integers

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
        Flits that the receiving end holds, 1..64.
    """

    width: int
    height: int
    wires: int
    latency: int = 2
    depth: int = 4

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("width", "height", "wires", "latency", "depth")}
        require_integers(**sizes)
        for name in ("width", "height", "wires"):
            require(sizes[name] >= 1, f"link {name}", "at least 1", sizes[name])
        require(2 <= self.latency <= 64, "link latency", "2..64", self.latency)
        require(1 <= self.depth <= 64, "link depth", "1..64", self.depth)

    @classmethod
    def between(cls, chips: tuple[int, int], mesh: tuple[int, int], flit_bits: int) -> LinkSpec:
        """Return the links of a mesh cut into ``chips`` (across, down): a quarter of a flit wide.

        >>> LinkSpec.between((2, 1), (4, 3), 38)
        LinkSpec(width=2, height=3, wires=10, latency=2, depth=4)
        """
        for name, number, whole in zip(("across", "down"), chips, mesh, strict=True):
            require(number >= 1 and whole % number == 0, f"chips {name}", f"a divisor of {whole}", number)
        return cls(width=mesh[0] // chips[0], height=mesh[1] // chips[1], wires=-(-flit_bits // 4))

    def chips(self, width: int, height: int) -> tuple[int, int]:
        """Return how many chips a mesh is cut into, across and down."""
        return width // self.width, height // self.height

    def check(self, width: int, height: int, flit_bits: int) -> None:
        """Refuse sizes that do not cut a mesh into equal chips, or wires that no flit needs."""
        for name, whole, part in (("width", width, self.width), ("height", height, self.height)):
            require(whole % part == 0, f"link {name}", f"a divisor of {whole}", part)
        require(self.wires <= flit_bits, "link wires", f"1..{flit_bits}", self.wires)

    def beats(self, flit_bits: int) -> int:
        """Return the cycles that a flit takes on the wires.

        >>> LinkSpec(width=1, height=1, wires=12).beats(38)
        4
        """
        return -(-flit_bits // self.wires)

    def round_trip(self, flit_bits: int) -> int:
        """Return the cycles from a flit's departure to the use of its credit by another, if nobody waits."""
        return self.beats(flit_bits) + 2 * self.latency - 1

    def pace(self, flit_bits: int) -> float:
        """Return the cycles from one flit to the next, in the mean, of a link that never rests.

        >>> LinkSpec(width=1, height=1, wires=12, latency=2, depth=1).pace(38)
        7.0
        """
        return max(self.beats(flit_bits), self.round_trip(flit_bits) / self.depth)

    def size(self, flit_bits: int) -> tuple[int, int, int]:
        """Return beats, latency and depth."""
        return self.beats(flit_bits), self.latency, self.depth
