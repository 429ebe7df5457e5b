# SPDX-License-Identifier: Apache-2.0
"""The load of an image: what several cores hold is sent once, to a rectangle (`docs/reference/image.md`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.bits import pack
from emu.chunks import Packer
from emu.image import SystemImage
from emu.rectangles import Cell, Place, area, bounds, cells_of, strips
from emu.spec import CHUNK_BITS, SystemSpec
from emu.topology import alive
from emu.words import POINTER, Control, Kind, Section, section_chunks

__all__ = ["Burst", "LoadTotals", "all_cores", "load_bursts", "load_totals", "pointer_bursts", "write_bursts"]

Chunks = NDArray[np.uint16]
Ints = NDArray[np.int64]

_FURTHEST = 1 << next(part.bits for part in POINTER if part.name == "address")
"""Chunk addresses of a section."""


_REST = Section.COUNTER, 0
"""Where a pointer rests: a write there clears the counters, as the end of a load does anyway."""


class Burst(NamedTuple):
    """Packets of one kind to one rectangle, one for each chunk."""

    place: Place
    kind: Kind
    data: Chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTotals:
    """What loading an image takes.

    Parameters
    ----------
    flits : int
        Packets that the host sends.
    one_by_one : int
        Packets that it would send if it loaded each core by itself.
    arrivals : int
        Packets that cores take, one for every core of a packet's rectangle.
    hops : int
        Packets that leave a router for a neighbour.
    cycles : int
        From the offer of the first packet until a core has taken the last, at the pace of the slowest wire.
    chunks : int
        What the cores hold afterwards, but that they are enabled.
    packets : mapping of Place to int
        Packets that go to each rectangle of cores.
    """

    flits: int
    one_by_one: int
    arrivals: int
    hops: int
    cycles: int
    chunks: int
    packets: Mapping[Place, int] = field(repr=False)


class _Jump(NamedTuple):
    """The two packets that set the chunk pointer of the cores of a rectangle."""

    place: Place
    section: int
    address: int


_Step = Burst | _Jump


def pointer_bursts(place: Place, section: int, address: int) -> list[Burst]:
    """Return the packets that set the chunk pointer of the cores of a rectangle."""
    high, low = _pointer(section, address)
    return [Burst(place, Kind.POINTER_HIGH, high), Burst(place, Kind.POINTER_LOW, low)]


@lru_cache(maxsize=1 << 14)
def _pointer(section: int, address: int) -> tuple[Chunks, Chunks]:
    """Return the chunks of a pointer, read-only."""
    parts = divmod(pack(POINTER, {"section": section, "address": address}), 1 << CHUNK_BITS)
    high, low = (np.array([part], np.uint16) for part in parts)
    high.flags.writeable = low.flags.writeable = False
    return high, low


@lru_cache(maxsize=1 << 14)
def _strips(cells: tuple[Cell, ...]) -> tuple[Place, ...]:
    """Return the `strips` of cores: the same ones jump together again and again."""
    return tuple(strips(cells))


def write_bursts(place: Place, section: int, chunks: Chunks, address: int = 0) -> list[Burst]:
    """Return the packets that write chunks from an address on, none if there is no chunk."""
    return [*pointer_bursts(place, section, address), Burst(place, Kind.WRITE, chunks)] if len(chunks) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """Rows of chunks that several cores hold, each core in places of its own.

    Parameters
    ----------
    section : Section
        Where.
    rows : uint16 (r, chunks of a row)
        In the order in which they are sent.
    at : dict
        Of each core (x, y), where it holds each of them, -1 where it does not: int64 (r,).
    """

    section: Section
    rows: Chunks
    at: dict[Cell, Ints] = field(default_factory=dict)

    def write(self, place: Place, members: Sequence[Cell]) -> list[_Step]:
        """Return what writes the rows in some cores, the only ones of a rectangle whose pointer may not rest.

        The pointer of a core is set anew wherever its next row is not the one behind the row before, and
        rests while it does not hold a row.
        """
        at = np.stack([self.at[cell] for cell in members], axis=1)
        jumps = np.ones(at.shape, bool)
        jumps[1:] = at[1:] != np.where(at[:-1] < 0, -1, at[:-1] + 1)
        sent, member = np.nonzero(jumps)
        targets: dict[int, dict[int, list[Cell]]] = {}
        for row, place_of, number in zip(sent.tolist(), at[jumps].tolist(), member.tolist(), strict=True):
            targets.setdefault(row, {}).setdefault(place_of, []).append(members[number])
        found: list[_Step] = []
        for (begin, groups), end in zip(targets.items(), [*targets, len(self.rows)][1:], strict=True):
            for row, cells in groups.items():
                found += [self._point(strip, row) for strip in _strips(tuple(cells))]
            found.append(Burst(place, Kind.WRITE, self.rows[begin:end].reshape(-1)))
        return found

    def _point(self, place: Place, row: int) -> _Jump:
        """Return what sets the pointers of the cores of a rectangle to a row, or to rest."""
        if row < 0:
            return _Jump(place, *_REST)
        return _Jump(place, self.section, row * self.rows.shape[1])

    def least(self, members: Sequence[Cell]) -> int:
        """Return the packets that `write_apart` takes at least."""
        places = {self.at[cell].tobytes(): self.at[cell] for cell in members}
        held = (int(np.count_nonzero(at >= 0)) for at in places.values())
        return sum(held) * int(self.rows.shape[1])

    def write_apart(self, members: Sequence[Cell]) -> Iterator[_Step]:
        """Yield what writes the rows in some cores, by rectangles of those with the same places alone."""
        places: dict[bytes, list[Cell]] = defaultdict(list)
        for cell in members:
            places[self.at[cell].tobytes()].append(cell)
        for cells in places.values():
            at = self.at[cells[0]]
            order = np.argsort(at)[np.count_nonzero(at < 0) :]
            for run in np.split(order, np.flatnonzero(np.diff(at[order]) != 1) + 1):
                for strip in strips(cells):
                    yield self._point(strip, int(at[run[0]]))
                    yield Burst(strip, Kind.WRITE, self.rows[run].reshape(-1))


class _Loader:
    """Where the pointers of the cores rest, while parts of their memories are written.

    A pointer rests in the counters: any write there clears them, which the end of the load does anyway. So a
    packet may go to a rectangle that holds enabled cores of other programs: they rest.
    """

    def __init__(self, enabled: Iterable[Cell]) -> None:
        self._parts = strips(enabled)
        cells = [(cell, part) for part, place in enumerate(self._parts) for cell in cells_of(place)]
        self._order = {cell: (part, at) for at, (cell, part) in enumerate(cells)}
        self._resting: set[Cell] = set()
        self._sent = 0

    def send(self, shared: _Shared) -> Iterator[_Step]:
        """Yield what writes rows in all cores that hold them."""
        held = sorted(shared.at, key=self._order.__getitem__)
        for _, members in groupby(held, lambda cell: self._order[cell][0]):
            yield from self._to(shared, list(members))

    def _to(self, shared: _Shared, members: list[Cell]) -> list[_Step]:
        """Return what writes rows in some cores of a full rectangle: together, or apart if shorter."""
        place, size = bounds(members), shared.rows.size
        if self._sent + size >= _FURTHEST:
            self._resting, self._sent = set(), 0
        self._sent += size
        others = set(cells_of(place)) - set(members) - self._resting
        rest = [_Jump(strip, *_REST) for strip in strips(others)]
        sent = [*rest, *shared.write(place, members)]
        length = sum(map(_packets, sent))
        apart = list(shared.write_apart(members)) if shared.least(members) < length else None
        if apart is not None and sum(map(_packets, apart)) <= length:
            sent = apart
        else:
            self._resting |= others
        self._resting -= set(members)
        return sent


def _packets(step: _Step) -> int:
    """Return how many packets a step is."""
    return 2 if isinstance(step, _Jump) else len(step.data)


def _row_chunks(spec: SystemSpec, section: Section, chunks: Chunks) -> int:
    """Return the chunks that stay together: a row of the crossbar, all of another section."""
    return spec.core.words * section_chunks(spec, section) if section == Section.CROSSBAR else len(chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Class:
    """Cores that hold the same rows in a section, each in an order of its own.

    Parameters
    ----------
    rows : uint16 (r, chunks of a row)
        The rows, as the first core holds them.
    keys : int64 (r,)
        The number of each row among all of its section; a row that a core holds twice has two.
    at : dict
        Of each core (x, y), where it holds each row: int64 (r,).
    left : set of int
        Places of the rows that are still to be sent.
    """

    rows: Chunks
    keys: Ints
    at: dict[Cell, Ints]
    left: set[int]


class _Contents:
    """Numbers of what rows hold: equal rows of a section have equal ones."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._lines: dict[int, tuple[Chunks, Ints]] = {}
        self._places: dict[tuple[int, int], int] = {}

    def of(self, rows: Chunks) -> Ints:
        """Return the number of what each row holds."""
        return np.array([self._known.setdefault(row.tobytes(), len(self._known)) for row in rows], np.int64)

    def of_lines(self, lines: Chunks, at: Ints) -> Ints:
        """Return the number of what each row holds, of ``lines`` that several cores share by their places."""
        if id(lines) not in self._lines:
            self._lines[id(lines)] = lines, self.of(lines)  # what is held keeps its id
        return self._lines[id(lines)][1][at]

    def keys(self, contents: Ints) -> Ints:
        """Return a number of each row of a memory: equal rows have equal ones, but not in the same memory."""
        seen, found = Counter[int](), []
        for content in contents.tolist():
            found.append(self._places.setdefault((content, seen[content]), len(self._places)))
            seen[content] += 1
        return np.array(found, np.int64)


def _classes(image: SystemImage) -> dict[Section, list[_Class]]:
    """Return the memories of all enabled cores by section, those with the same rows as one."""
    known: dict[tuple[object, ...], tuple[_Class, Ints]] = {}
    found: dict[Section, list[_Class]] = defaultdict(list)
    contents, packer = defaultdict[Section, _Contents](_Contents), Packer(image.spec)
    for index, core in enumerate(image.cores):
        if core is None:
            continue
        cell = index % image.spec.width, index // image.spec.width
        for section, chunks in packer.several([core])[0].items():
            if not len(chunks):
                continue
            rows = chunks.reshape(-1, _row_chunks(image.spec, section, chunks))
            if section == Section.CROSSBAR and core.extension == 1:
                held = contents[section].of_lines(*packer.lines(core))
            else:
                held = contents[section].of(rows)
            order = np.argsort(held, kind="stable")
            key = section, held[order].tobytes()
            if key not in known:
                keys = contents[section].keys(held)
                known[key] = _Class(rows=rows, keys=keys, at={}, left=set(range(len(rows)))), order
                found[section].append(known[key][0])
            shared, first = known[key]
            at = np.empty(len(rows), np.int64)
            at[first] = order
            shared.at[cell] = at
    return found


def _together(section: Section, classes: Sequence[_Class]) -> Iterator[_Shared]:
    """Yield the rows of every class once, with those cores of later classes that hold many of them too."""
    holders: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, one in enumerate(classes):
        for place, key in enumerate(one.keys.tolist()):
            holders[key].append((number, place))
    for number, one in enumerate(classes):
        sent = sorted(one.left)
        if not sent:
            continue
        shared = _Shared(section=section, rows=one.rows[sent])
        shared.at.update({cell: at[sent] for cell, at in one.at.items()})
        common: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, place in enumerate(sent):
            for other, there in holders[int(one.keys[place])]:
                if other > number and there in classes[other].left:
                    common[other].append((row, there))
        for other, pairs in common.items():
            _join(shared, classes[other], np.array(pairs))
        yield shared


def _join(shared: _Shared, other: _Class, pairs: Ints) -> None:
    """Let the cores of another class take the rows that they hold too, (row, place there), if that pays."""
    taken = {}
    for cell, at in other.at.items():
        taken[cell] = np.full(len(shared.rows), -1, np.int64)
        taken[cell][pairs[:, 0]] = at[pairs[:, 1]]
    places = np.stack(list(taken.values()))
    turns = np.count_nonzero(places[:, 1:] != np.where(places[:, :-1] < 0, -1, places[:, :-1] + 1))
    pointers = 4 * (turns + 2 * len(taken))
    if pointers < len(pairs) * shared.rows.shape[1]:
        shared.at.update(taken)
        other.left.difference_update(pairs[:, 1].tolist())


def load_bursts(image: SystemImage) -> Iterator[Burst]:
    """Yield the packets that load an image into a chip after reset and clear its counters."""
    for step in _steps(image, _classes(image)):
        if isinstance(step, _Jump):
            yield from pointer_bursts(*step)
        else:
            yield step


def _steps(image: SystemImage, memories: dict[Section, list[_Class]]) -> Iterator[_Step]:
    """Yield the steps of a load, of which nothing is sent yet."""
    spec, one = image.spec, np.ones(1, np.uint16)
    enabled = [(i % spec.width, i // spec.width) for i, core in enumerate(image.cores) if core is not None]
    loader = _Loader(enabled)
    for section in sorted(memories):
        for shared in _together(section, memories[section]):
            yield from loader.send(shared)
    for place in strips(enabled):
        yield from write_bursts(place, Section.CONTROL, one, Control.ENABLE)
    for section in (Section.STATUS, Section.COUNTER):
        for place in all_cores(spec):
            yield from write_bursts(place, section, np.zeros(1, np.uint16))


def all_cores(spec: SystemSpec) -> list[Place]:
    """Return rectangles that hold all cores but the dead ones and those that are cut off."""
    y, x = np.nonzero(alive(spec))
    return strips(zip(x.tolist(), y.tolist(), strict=True))


def load_totals(image: SystemImage) -> LoadTotals:
    """Return what loading an image takes."""
    memories = _classes(image)
    classes = [one for section in memories.values() for one in section]
    chunks = sum(len(one.at) * one.rows.size for one in classes)
    pointers = 2 * sum(len(one.at) for one in classes)
    enabled = sum(core is not None for core in image.cores)
    packets = Counter[Place]()
    for step in _steps(image, memories):
        packets[step.place] += _packets(step)
    flits = packets.total()
    return LoadTotals(
        flits=flits,
        one_by_one=pointers + chunks + 3 * (enabled + 2 * len(all_cores(image.spec))),
        arrivals=sum(count * area(place) for place, count in packets.items()),
        hops=sum(count * (x1 + (x1 - x0 + 1) * y1) for (x0, x1, _, y1), count in packets.items()),
        cycles=(flits - 1) * image.spec.slowest_hop + _way(image.spec) + 1,
        chunks=chunks,
        packets=packets,
    )


def _way(spec: SystemSpec) -> int:
    """Return the cycles after which the core furthest from the inlet takes a packet, behind its copies."""
    hops = spec.width + spec.height - 1
    if spec.links is None:
        return hops
    crossings = sum(spec.chips) - 2
    return hops + crossings * (spec.links.crossing(spec.flit_bits) - 1)
