# SPDX-License-Identifier: Apache-2.0
"""The load of an image: what several cores hold is sent once, to a rectangle (`docs/reference/image.md`)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.bits import pack
from emu.image import SystemImage, core_chunks
from emu.rectangles import Cell, Place, area, bounds, cells_of, strips
from emu.spec import CHUNK_BITS, SystemSpec
from emu.words import POINTER, Control, Kind, Section, section_chunks

__all__ = ["Burst", "LoadTotals", "load_bursts", "load_totals", "pointer_bursts", "write_bursts"]

Chunks = NDArray[np.uint16]
Ints = NDArray[np.int64]

_FURTHEST = 1 << next(part.bits for part in POINTER if part.name == "address")
"""Chunk addresses of a section."""


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
    """

    flits: int
    one_by_one: int
    arrivals: int
    hops: int
    cycles: int


def pointer_bursts(place: Place, section: int, address: int) -> list[Burst]:
    """Return the packets that set the chunk pointer of the cores of a rectangle."""
    high, low = divmod(pack(POINTER, {"section": section, "address": address}), 1 << CHUNK_BITS)
    return [
        Burst(place, Kind.POINTER_HIGH, np.array([high], np.uint16)),
        Burst(place, Kind.POINTER_LOW, np.array([low], np.uint16)),
    ]


def write_bursts(place: Place, section: int, chunks: Chunks, address: int = 0) -> list[Burst]:
    """Return the packets that write chunks from an address on, none if there is no chunk."""
    return [*pointer_bursts(place, section, address), Burst(place, Kind.WRITE, chunks)] if len(chunks) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """Rows of chunks that several cores hold, each core in an order of its own.

    Parameters
    ----------
    section : Section
        Where.
    rows : uint16 (r, chunks of a row)
        In the order in which they are sent.
    at : dict
        Of each core (x, y), where it holds each of them: int64 (r,).
    """

    section: Section
    rows: Chunks
    at: dict[Cell, Ints] = field(default_factory=dict)

    def write(self, place: Place, members: Sequence[Cell]) -> Iterator[Burst]:
        """Yield what writes the rows in some cores, the only ones of a rectangle whose pointer does not rest.

        The pointer of a core is set anew wherever its next row is not the one behind the row before.
        """
        at = np.stack([self.at[cell] for cell in members])
        jumps = np.ones(at.shape, bool)
        jumps[:, 1:] = np.diff(at, axis=1) != 1
        begins = np.flatnonzero(jumps.any(axis=0)).tolist()
        for begin, end in zip(begins, [*begins[1:], len(self.rows)], strict=True):
            targets: dict[int, list[Cell]] = defaultdict(list)
            for member in np.flatnonzero(jumps[:, begin]).tolist():
                targets[int(at[member, begin])].append(members[member])
            for row, cells in targets.items():
                for strip in strips(cells):
                    yield from pointer_bursts(strip, self.section, row * self.rows.shape[1])
            yield Burst(place, Kind.WRITE, self.rows[begin:end].reshape(-1))

    def write_apart(self, members: Sequence[Cell]) -> Iterator[Burst]:
        """Yield what writes the rows in some cores, by rectangles of those with the same order alone."""
        orders: dict[bytes, list[Cell]] = defaultdict(list)
        for cell in members:
            orders[self.at[cell].tobytes()].append(cell)
        for cells in orders.values():
            order = np.argsort(self.at[cells[0]])
            for strip in strips(cells):
                yield from write_bursts(strip, self.section, self.rows[order].reshape(-1))


class _Loader:
    """Where the pointers of the cores rest, while parts of their memories are written.

    A pointer rests in the counters: any write there clears them, which the end of the load does anyway. So a
    packet may go to a rectangle that holds enabled cores of other programs: they rest.
    """

    def __init__(self, spec: SystemSpec, enabled: Iterable[Cell]) -> None:
        self._spec = spec
        self._parts = strips(enabled)
        self._resting: set[Cell] = set()
        self._sent = 0

    def send(self, shared: _Shared) -> Iterator[Burst]:
        """Yield what writes rows in all cores that hold them."""
        for part in self._parts:
            members = [cell for cell in cells_of(part) if cell in shared.at]
            if members:
                yield from self._to(shared, members)

    def _to(self, shared: _Shared, members: list[Cell]) -> Iterator[Burst]:
        """Yield what writes rows in some cores of a full rectangle: together, or apart if that is shorter."""
        place, size = bounds(members), shared.rows.size
        if self._sent + size >= _FURTHEST:
            self._resting, self._sent = set(), 0
        self._sent += size
        others = set(cells_of(place)) - set(members) - self._resting
        rest = [b for strip in strips(others) for b in pointer_bursts(strip, Section.COUNTER, 0)]
        together = [*rest, *shared.write(place, members)]
        apart = list(shared.write_apart(members))
        if _length(together) < _length(apart):
            self._resting |= others
            yield from together
        else:
            yield from apart
        self._resting -= set(members)


def _length(bursts: Iterable[Burst]) -> int:
    return sum(len(burst.data) for burst in bursts)


def _row_chunks(spec: SystemSpec, section: Section, chunks: Chunks) -> int:
    """Return the chunks that stay together: a row of the crossbar, all of another section."""
    return spec.core.words * section_chunks(spec, section) if section == Section.CROSSBAR else len(chunks)


def _shared(image: SystemImage) -> dict[Section, list[_Shared]]:
    """Return the memories of all enabled cores by section, equal ones once."""
    known: dict[tuple[object, ...], tuple[_Shared, Ints]] = {}
    found: dict[Section, list[_Shared]] = defaultdict(list)
    for index, core in enumerate(image.cores):
        if core is None:
            continue
        cell = index % image.spec.width, index // image.spec.width
        for section, chunks in core_chunks(core, image.spec).items():
            if not len(chunks):
                continue
            rows = chunks.reshape(-1, _row_chunks(image.spec, section, chunks))
            order = _order(rows)
            key = section, rows.shape, hashlib.sha256(rows[order].tobytes()).digest()
            if key not in known:
                known[key] = _Shared(section=section, rows=rows), order
                found[section].append(known[key][0])
            shared, first = known[key]
            at = np.empty(len(rows), np.int64)
            at[first] = order
            shared.at[cell] = at
    return found


def _order(rows: Chunks) -> Ints:
    """Return rows in an order that depends on what they hold alone; equal ones as they come."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).reshape(-1)
    return np.argsort(whole, kind="stable")


def load_bursts(image: SystemImage) -> Iterator[Burst]:
    """Yield the packets that load an image into a chip after reset and clear its counters."""
    spec, memories = image.spec, _shared(image)
    enabled = [(i % spec.width, i // spec.width) for i, core in enumerate(image.cores) if core is not None]
    loader, one = _Loader(spec, enabled), np.ones(1, np.uint16)
    for section in sorted(memories):
        for shared in memories[section]:
            yield from loader.send(shared)
    for place in strips(enabled):
        yield from write_bursts(place, Section.CONTROL, one, Control.ENABLE)
    everywhere = (0, spec.width - 1, 0, spec.height - 1)
    for section in (Section.STATUS, Section.COUNTER):
        yield from write_bursts(everywhere, section, np.zeros(1, np.uint16))


def load_totals(image: SystemImage) -> LoadTotals:
    """Return what loading an image takes."""
    spec, flits, arrivals, hops = image.spec, 0, 0, 0
    for (x0, x1, y0, y1), _, data in load_bursts(image):
        flits += len(data)
        arrivals += len(data) * area((x0, x1, y0, y1))
        hops += len(data) * (x1 + (x1 - x0 + 1) * y1)
    return LoadTotals(
        flits=flits,
        one_by_one=_one_by_one(image),
        arrivals=arrivals,
        hops=hops,
        cycles=(flits - 1) * spec.slowest_hop + _way(spec) + 1,
    )


def _one_by_one(image: SystemImage) -> int:
    """Return the packets of a load of each core by itself."""
    pointer, cleared, flits = 2, 2, 0
    for core in image.cores:
        if core is not None:
            sizes = [len(chunks) for chunks in core_chunks(core, image.spec).values() if len(chunks)]
            flits += sum(pointer + size for size in sizes) + pointer + 1
    return flits + cleared * (pointer + 1)


def _way(spec: SystemSpec) -> int:
    """Return the cycles after which the core furthest from the inlet takes a packet, if nobody waits."""
    hops = spec.width + spec.height - 1
    if spec.links is None:
        return hops
    beats, latency, _ = spec.links.size(spec.flit_bits)
    crossings = sum(spec.links.chips(spec.width, spec.height)) - 2
    return hops + crossings * (beats + latency - 1)
