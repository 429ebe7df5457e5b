# SPDX-License-Identifier: Apache-2.0
"""The inlets and outlets of a system, and which of them each packet takes (`docs/reference/mapping.md`)."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.errors import clause
from emu.gates import GateSpec, inlets_of, outlets_of
from emu.spec import SpecError, SystemSpec
from emu.topology import entries_of, meets_dead
from mapping.errors import MappingError

__all__ = [
    "FAR",
    "ONE_OF_EACH",
    "Gates",
    "dealt",
    "fed_by",
    "hops_of",
    "inlets_for",
    "outlets_for",
    "taken_by",
]

Integers = NDArray[np.int64]

FAR = np.iinfo(np.int64).max // 2
"""Stands for the length of a way that is dead."""

_INLETS = re.compile(r"[0-9]{1,9}[WE](,[0-9]{1,9}[WE])*")
_OUTLETS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})+")
_NUMBER = re.compile(r"0*[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The inlets and outlets that are asked for, each as a text, or not: then there is one.

    Parameters
    ----------
    inlets : str, optional
        Rows and sides such as ``0W,3W,2E``, or how many there are to be, spread evenly.
    outlets : str, optional
        Columns such as ``0,4``, or how many.

    Raises
    ------
    MappingError
        If a text is neither.

    Examples
    --------
    >>> Gates(inlets="3", outlets="0,2").on(4, 4)
    GateSpec(inlets=((2, 'W'), (2, 'E')), outlets=(2,))
    """

    inlets: str | None = None
    outlets: str | None = None

    def __post_init__(self) -> None:
        for name, text, listed, example in (
            ("Inlets", self.inlets, _INLETS, "rows and sides, for example 0W,3W,2E"),
            ("Outlets", self.outlets, _OUTLETS, "several columns, for example 0,4"),
        ):
            if not (text is None or listed.fullmatch(text) or _NUMBER.fullmatch(text)):
                raise MappingError(f"{name} must be how many, 1 or more, or {example}, not {text[:100]!r}.")

    def or_else(self, other: "Gates") -> "Gates":
        """Return these, and the inlets or outlets of another where nothing is said of them.

        >>> Gates(outlets="1").or_else(Gates(inlets="2", outlets="3"))
        Gates(inlets='2', outlets='1')
        """
        return Gates(inlets=self.inlets or other.inlets, outlets=self.outlets or other.outlets)

    def on(self, width: int, height: int) -> GateSpec | None:
        """Return those of a mesh beside the first ones, which are always there; None if there are no others.

        Raises
        ------
        MappingError
            If the mesh has not so many, or not these.
        """
        inlets = _inlets(self.inlets or "1", width, height)
        outlets = _outlets(self.outlets or "1", width)
        if not inlets and not outlets:
            return None
        gates = GateSpec(inlets=tuple(sorted(inlets)), outlets=tuple(sorted(outlets)))
        try:
            gates.check(width, height)
        except SpecError as error:
            told = f"A mesh of {width}x{height} cores has not these gates: {clause(error)}"
            raise MappingError(f"{told}; name others, or how many.") from error
        return gates


def _inlets(asked: str, width: int, height: int) -> set[tuple[int, str]]:
    """Return row and side of every further inlet: of a number, west and east by turns."""
    if asked[-1] in "WE":
        return {(int(gate[:-1]), gate[-1]) for gate in asked.split(",")} - {(0, "W")}
    number = _number("Inlets", asked, (width, height), 2 * height)
    west, east = number - number // 2, number // 2
    rows = {(row * height // west, "W") for row in range(west)}
    return (rows | {((2 * row + 1) * height // (2 * east), "E") for row in range(east)}) - {(0, "W")}


def _outlets(asked: str, width: int) -> set[int]:
    """Return the column of every further outlet."""
    if "," in asked:
        return {int(column) for column in asked.split(",")} - {0}
    number = _number("Outlets", asked, (width, None), width)
    return {column * width // number for column in range(number)} - {0}


ONE_OF_EACH = Gates()
"""The gates of a system of which nothing else is said."""


def _number(name: str, text: str, mesh: tuple[int, int | None], most: int) -> int:
    """Return how many gates are asked for, and refuse more than there can be."""
    if int(text) > most:
        places = f"{mesh[1]} rows" if mesh[1] is not None else f"{mesh[0]} columns"
        raise MappingError(f"{name} must be at most {most} on a mesh of {places}, not {text}.")
    return int(text)


def inlets_for(system: SystemSpec, rectangles: Integers) -> NDArray[np.int32]:
    """Return the inlet of each of the host's packets: every inlet has as many, and they have short ways.

    Parameters
    ----------
    system : SystemSpec
        The system; no packet takes a way that is dead in it.
    rectangles : int64 (packets, 4)
        x0, x1, y0, y1, in the order of the host's table.
    """
    if len(inlets_of(system.gates)) == 1 or not len(rectangles):
        return np.zeros(len(rectangles), np.int32)
    places, of = np.unique(rectangles, axis=0, return_inverse=True)
    shares, lengths = fed_by(system, places, np.bincount(of.reshape(-1)))
    return _members(of.reshape(-1), shares, lengths)


def fed_by(system: SystemSpec, places: Integers, packets: Integers) -> tuple[Integers, Integers]:
    """Return how many of the host's packets each inlet takes, and their ways, int64 (places, inlets) each.

    Parameters
    ----------
    places : int64 (places, 4)
        Rectangles, all different and in ascending order.
    packets : int64 (places,)
        How many packets go to each.
    """
    entries = entries_of(system)
    lengths = np.stack([_hops(system, np.tile(entry, (len(places), 1)), places) for entry in entries], axis=1)
    return dealt(packets, lengths, int(packets.sum())), lengths


def outlets_for(system: SystemSpec, sender: Integers, position: Integers) -> NDArray[np.int32]:
    """Return the column by which each packet of some cores leaves.

    Ways are short, and no outlet has more than its share, or than one core sends, which is a packet a cycle
    as well.

    Parameters
    ----------
    system : SystemSpec
        The system; no packet takes a way that is dead in it.
    sender : int64 (packets,)
        The core that sends each.
    position : int64 (cores, 2)
        x and y of the cores.
    """
    columns = np.array(outlets_of(system.gates), np.int32)
    if len(columns) == 1 or not len(sender):
        return np.zeros(len(sender), np.int32)
    cores, of, sent = np.unique(sender, return_inverse=True, return_counts=True)
    shares, lengths = taken_by(system, position[cores], sent)
    return columns[_members(of.reshape(-1), shares, lengths)]


def taken_by(system: SystemSpec, start: Integers, sent: Integers) -> tuple[Integers, Integers]:
    """Return how many of some cores' packets each outlet takes, and their ways, int64 (cores, outlets) each.

    Parameters
    ----------
    start : int64 (cores, 2)
        x and y of every core that sends to the host, in ascending order of the parts.
    sent : int64 (cores,)
        How many packets each sends.
    """
    row = np.full(len(start), system.height)
    ends = [
        np.stack((np.full_like(row, x), np.full_like(row, x), row, row), 1) for x in outlets_of(system.gates)
    ]
    lengths = np.stack([_hops(system, start, end) for end in ends], axis=1)
    return dealt(sent, lengths, int(sent.sum()), most=int(sent.max(initial=0))), lengths


def hops_of(start: Integers, rectangles: Integers) -> Integers:
    """Return how many hops each packet takes from router to router, int64 (...,).

    Parameters
    ----------
    start, rectangles : int64 (..., 2) and (..., 4)
        x, y where it enters, and x0, x1, y0, y1.
    """
    (x, y), (x0, x1, y0, y1) = np.moveaxis(start, -1, 0), np.moveaxis(rectangles, -1, 0)
    along = np.maximum(x, x1) - np.minimum(x, x0)
    down = np.maximum(y, y1) - np.minimum(y, y0)
    return np.asarray(along + (x1 - x0 + 1) * down)


def _hops(system: SystemSpec, start: Integers, rectangles: Integers) -> Integers:
    """Return how many hops each packet takes, `FAR` where its way is dead."""
    return np.where(meets_dead(system, start, rectangles), FAR, hops_of(start, rectangles))


def dealt(packets: Integers, lengths: Integers, whole: int, *, most: int = 0) -> Integers:
    """Return how many packets of some groups each gate takes, int64 (groups, gates).

    The groups for which another gate would be furthest about choose first.

    Parameters
    ----------
    packets : int64 (groups,)
        The packets of each group.
    lengths : int64 (groups, gates)
        The way of a packet of each group by each gate, `FAR` where it is dead.
    whole : int
        Packets of all groups: a gate takes at most its share of them, where that can be.
    most : int
        Or at most so many, if those are more.
    """
    gates = lengths.shape[1]
    if gates == 1:
        return packets[:, None]
    best, left = np.sort(lengths, axis=1), [max(-(-whole // gates), most)] * gates
    order = np.argsort(lengths, axis=1, kind="stable").tolist()
    result = np.zeros((len(packets), gates), np.int64)
    for one in np.argsort(best[:, 0] - best[:, 1], kind="stable").tolist():
        possible = [gate for gate in order[one] if lengths[one, gate] < FAR] or [0]
        rest = int(packets[one])
        for gate in possible:
            share = min(rest, max(left[gate], 0))
            result[one, gate] = share
            rest -= share
        if rest:  # only what other gates cannot reach goes beyond the room
            at = max(
                range(len(possible)), key=lambda at: (left[possible[at]] - result[one, possible[at]], -at)
            )
            result[one, possible[at]] += rest
        for gate in possible:
            left[gate] -= int(result[one, gate])
    return result


def _members(group: Integers, shares: Integers, lengths: Integers) -> NDArray[np.int32]:
    """Return a gate for each member of some groups; one that takes several has them by turns."""
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    result = np.zeros(len(group), np.int32)
    for own, share, way in zip(members, shares, lengths, strict=True):
        gates = np.argsort(way, kind="stable")
        result[own] = np.repeat(gates, share[gates])[_by_turns(share[gates].tolist())]
    return result


def _by_turns(shares: list[int]) -> Integers:
    """Return an order in which the members of several runs of these lengths follow each other evenly.

    >>> _by_turns([2, 4]).tolist()
    [2, 0, 3, 4, 1, 5]
    """
    places = [(np.arange(share) + 0.5) / max(share, 1) for share in shares]
    return np.argsort(np.concatenate(places), kind="stable")
