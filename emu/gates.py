# SPDX-License-Identifier: Apache-2.0
"""Where the host meets a system: its inlets and outlets (`docs/reference/network.md`, "Gateways")."""

from __future__ import annotations

from dataclasses import dataclass

from emu.sizes import require

__all__ = ["GateSpec", "inlets_of", "outlets_of"]

_SIDES = ("W", "E")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """The inlets and outlets of a system beside the first ones, which every system has.

    Parameters
    ----------
    inlets : tuple of (row, side)
        Ports W or E at the ends of rows; kept in order of rows, W before E.
    outlets : tuple of int
        Columns whose last router leads to the host by its port S; kept in order.

    Raises
    ------
    SpecError
        If an entry has another form, is there twice or is the first inlet or outlet, or there is none.

    Examples
    --------
    >>> GateSpec(inlets=[[2, "E"], [1, "W"]], outlets=[3])
    GateSpec(inlets=((1, 'W'), (2, 'E')), outlets=(3,))
    """

    inlets: tuple[tuple[int, str], ...] = ()
    outlets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for gate in self.inlets:
            require(_is_inlet(gate), "inlet", "[row, side] with a side W or E", gate)
            require(tuple(gate) != (0, "W"), "inlet", "another than the first, which is there anyway", gate)
        for column in self.outlets:
            require(type(column) is int, "outlet", "a column", column)
            require(column != 0, "outlet", "another than the first, which is there anyway", column)
        inlets = sorted(
            {(row, side) for row, side in self.inlets}, key=lambda gate: (gate[0], gate[1] == "E")
        )
        outlets = sorted(set(self.outlets))
        for name, given, kept in (("inlets", self.inlets, inlets), ("outlets", self.outlets, outlets)):
            require(len(given) == len(kept), name, "all different", given)
        require(bool(inlets or outlets), "gates", "None where there is one inlet and one outlet", self)
        object.__setattr__(self, "inlets", tuple(inlets))
        object.__setattr__(self, "outlets", tuple(outlets))

    def check(self, width: int, height: int) -> None:
        """Refuse gates that a mesh has not."""
        for row, side in self.inlets:
            require(0 <= row < height, "inlet row", f"0..{height - 1}", [row, side])
        for column in self.outlets:
            require(0 < column < width, "outlet column", f"1..{width - 1}", column)

    def of_chip(self, width: int, height: int) -> GateSpec | None:
        """Return where the host can meet a chip of this size: the ports that are gates of some chip.

        >>> GateSpec(inlets=((3, "E"), (2, "W")), outlets=(3,)).of_chip(2, 2)
        GateSpec(inlets=((1, 'E'),), outlets=(1,))
        """
        inlets = {(row % height, side) for row, side in self.inlets} - {(0, "W")}
        outlets = {column % width for column in self.outlets} - {0}
        return GateSpec(inlets=tuple(inlets), outlets=tuple(outlets)) if inlets or outlets else None


def _is_inlet(entry: object) -> bool:
    """Return whether an entry is a row and a side."""
    pair = isinstance(entry, (list, tuple)) and len(entry) == 2
    return pair and type(entry[0]) is int and entry[1] in _SIDES  # type: ignore[index]


def inlets_of(gates: GateSpec | None) -> tuple[tuple[int, str], ...]:
    """Return row and side, W or E, of every inlet, the first one first.

    >>> inlets_of(GateSpec(inlets=((0, "E"),)))
    ((0, 'W'), (0, 'E'))
    """
    return ((0, "W"), *(gates.inlets if gates is not None else ()))


def outlets_of(gates: GateSpec | None) -> tuple[int, ...]:
    """Return the column of every outlet, in order."""
    return (0, *(gates.outlets if gates is not None else ()))
