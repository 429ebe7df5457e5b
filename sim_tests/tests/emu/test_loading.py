# SPDX-License-Identifier: Apache-2.0
"""Loading by rectangle: every memory holds what a load of each core by itself leaves, for fewer packets."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import emu.loading
from emu.chunks import core_chunks
from emu.host import load_flits
from emu.image import CoreImage, SystemImage
from emu.links import LinkSpec
from emu.loading import Burst, all_cores, load_bursts, load_totals, write_bursts
from emu.machine import Machine
from emu.rectangles import Place, area, cells_of, strips
from emu.spec import SystemSpec
from emu.words import Control, Kind, Section
from sim_tests.generators.pool import PLAIN, POOL, SEVERAL
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system

Memory = dict[tuple[int, int], int]
"""A core's chunks by section and address."""


def held_after(bursts: Iterator[Burst] | list[Burst], spec: SystemSpec) -> dict[int, Memory]:
    """Return what every core holds after packets were taken one by one; counters and status hold nothing."""
    pointers, held = defaultdict[int, int](int), {core: Memory() for core in range(spec.cores)}
    for place, kind, data in bursts:
        for x, y in cells_of(place):
            core = y * spec.width + x
            for chunk in data.tolist():
                if kind == Kind.POINTER_HIGH:
                    pointers[core] = chunk << 16 | pointers[core] & 0xFFFF
                elif kind == Kind.POINTER_LOW:
                    pointers[core] = pointers[core] >> 16 << 16 | chunk
                else:
                    section, address = divmod(pointers[core], 1 << 28)
                    if section not in (Section.COUNTER, Section.STATUS):
                        held[core][section, address] = chunk
                    pointers[core] += 1
    return held


def one_by_one(image: SystemImage) -> Iterator[Burst]:
    """Yield the packets that load each core by itself."""
    for index, core in enumerate(image.cores):
        if core is not None:
            x, y = index % image.spec.width, index // image.spec.width
            place = (x, x, y, y)
            for section, chunks in core_chunks(core, image.spec).items():
                yield from write_bursts(place, section, chunks)
            yield from write_bursts(place, Section.CONTROL, np.ones(1, np.uint16), Control.ENABLE)
    for section, place in product((Section.STATUS, Section.COUNTER), all_cores(image.spec)):
        yield from write_bursts(place, section, np.zeros(1, np.uint16))


def program(rows: int, seed: int = 0) -> CoreImage:
    """Return a core with that many different rows."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation([[n // 3**d % 3 - 1 for d in range(8)] for n in range(1, rows + 1)])
    return make_core(cells, thresholds=[3])


def turned(core: CoreImage, by: int) -> CoreImage:
    """Return a core with its axons turned."""
    return replace(core, lines=np.roll(core.lines, by))


def crossbar_writes(bursts: Iterator[Burst]) -> Iterator[tuple[Place, int]]:
    """Yield the rectangle and number of the packets that write rows of crossbars."""
    where = defaultdict[tuple[int, int], int](int)
    for place, kind, data in bursts:
        for cell in cells_of(place):
            if kind == Kind.POINTER_HIGH:
                where[cell] = int(data[0]) >> 12
        if kind == Kind.WRITE and any(where[cell] == Section.CROSSBAR for cell in cells_of(place)):
            yield place, len(data)


@pytest.mark.parametrize("spec", [*POOL, *SEVERAL], ids=repr)
def test_memories_are_those_of_a_load_core_by_core(spec: SystemSpec, seed: int) -> None:
    for number in range(seed, seed + 6):
        image, _ = random_system(number, spec=spec)
        assert held_after(load_bursts(image), spec) == held_after(one_by_one(image), spec)
        totals = load_totals(image)
        assert totals.flits == len(load_flits(image)) <= totals.one_by_one
        assert totals.one_by_one == sum(len(burst.data) for burst in one_by_one(image))
        assert totals.arrivals == sum(len(b.data) * area(b.place) for b in load_bursts(image))


def test_rows_go_once_to_all_cores_that_have_them_in_any_order() -> None:
    spec = SystemSpec(core=PLAIN, width=3, height=2)
    core = program(16)
    image = make_system(spec, *(turned(core, by) for by in (0, 3, 5, 0, 1, 15)))
    assert sum(count for _, count in crossbar_writes(load_bursts(image))) == 16
    assert {place for place, _ in crossbar_writes(load_bursts(image))} == {(0, 2, 0, 1)}
    assert held_after(load_bursts(image), spec) == held_after(one_by_one(image), spec)


def test_rows_of_a_core_with_fewer_of_them_are_sent_once_too() -> None:
    """As those of a patch at the border: it lacks rows of the others."""
    spec = SystemSpec(core=replace(PLAIN, axons=64, columns=128, lanes=128, sum_bits=0), width=2, height=2)
    cells = np.random.default_rng(0).integers(-1, 2, (40, 100))
    core = make_core(cells, thresholds=[3])
    border = make_core(np.delete(cells, [3, 4, 20, 39], axis=0), thresholds=[3])
    image = make_system(spec, core, border, turned(core, 7), core)
    assert sum(count for _, count in crossbar_writes(load_bursts(image))) == 40 * 128 * 2 // 16
    assert held_after(load_bursts(image), spec) == held_after(one_by_one(image), spec)


def test_a_core_of_another_program_rests_inside_the_rectangle() -> None:
    spec = SystemSpec(core=PLAIN, width=3, height=1)
    core, other = program(16), program(15, seed=1)
    image = make_system(spec, core, other, turned(core, 2))
    assert next(crossbar_writes(load_bursts(image)))[0] == (0, 2, 0, 0)
    assert held_after(load_bursts(image), spec) == held_after(one_by_one(image), spec)


def test_a_disabled_core_gets_nothing_but_the_last_packets() -> None:
    spec = SystemSpec(core=PLAIN, width=3, height=3)
    core = program(16)
    image = make_system(spec, *(None if index == 4 else core for index in range(9)))
    bursts = list(load_bursts(image))
    reached = [burst for burst in bursts if (1, 1) in cells_of(burst.place)]
    assert [(b.kind, area(b.place)) for b in reached] == [
        (kind, 9) for kind in (Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.WRITE)
    ] * 2
    assert held_after(bursts, spec)[4] == {}
    assert held_after(bursts, spec) == held_after(one_by_one(image), spec)


def test_a_rectangle_one_core_too_wide_is_seen() -> None:
    spec = SystemSpec(core=PLAIN, width=3, height=1)
    core = program(16)
    image = make_system(spec, program(16, seed=1), core, turned(core, 4))
    bursts = list(load_bursts(image))
    wide = [Burst((0, *place[1:]), kind, data) for place, kind, data in bursts]
    assert [burst.place for burst in wide] != [burst.place for burst in bursts]
    assert held_after(bursts, spec) == held_after(one_by_one(image), spec)
    assert held_after(wide, spec) != held_after(one_by_one(image), spec)


def test_a_resting_pointer_is_set_again_before_it_leaves_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SystemSpec(core=PLAIN, width=3, height=1)
    first = program(16)
    image = make_system(spec, first, program(3), turned(first, 2))
    usual = load_totals(image).flits
    monkeypatch.setattr(emu.loading, "_FURTHEST", 4)
    assert load_totals(image).flits >= usual
    assert held_after(load_bursts(image), spec) == held_after(one_by_one(image), spec)


@pytest.mark.parametrize(
    "spec",
    [
        SystemSpec(core=PLAIN, width=3, height=2),
        SystemSpec(core=PLAIN, width=1, height=4),
        SystemSpec(core=PLAIN, width=4, height=2, links=LinkSpec(width=2, height=1, wires=9)),
        SystemSpec(
            core=PLAIN, width=2, height=2, links=LinkSpec(width=1, height=1, wires=3, latency=5, depth=1)
        ),
        SystemSpec(
            core=PLAIN, width=4, height=2, links=LinkSpec(width=2, height=1, wires=9, depth=1, shared=True)
        ),
    ],
    ids=repr,
)
def test_hops_and_cycles_are_those_of_spikes_to_the_same_rectangles(spec: SystemSpec, seed: int) -> None:
    """The emulator carries a spike to the rectangle of each packet, in the same order."""
    image, _ = random_system(seed, spec=spec, steps=6)
    totals = load_totals(image)
    rows = [(1, *place, 0, 1) for place, _, data in load_bursts(image) for _ in range(len(data))]
    nobody = Machine(make_system(spec, *[None] * spec.cores))
    run, twice = (nobody.run(make_stimulus(2, packets), cycles=True) for packets in (rows, 2 * rows))
    assert run.total("errors") == totals.arrivals
    assert run.total("hops") == totals.hops
    taken = (twice.elapsed or 0) - (run.elapsed or 0)
    assert totals.flits <= taken <= totals.flits * spec.slowest_hop
    way = totals.cycles - (totals.flits - 1) * spec.slowest_hop
    assert way == 1 + _first_arrival(spec)


def _first_arrival(spec: SystemSpec) -> int:
    """Return the cycles from the offer of a packet until the core furthest from the inlet takes it.

    By a shared link it is the last of its copies, one a lane of the longest side, and waits in its place.
    """
    crossing, (columns, rows) = 0, (spec.width, spec.height)
    if (links := spec.links) is not None:
        columns, rows = links.width, links.height
        copies = max(columns, rows) if links.shared else 1
        crossing = copies * links.beats(spec.flit_bits) + links.latency + links.shared
    cycles = 1
    for places, chip in ((spec.width, columns), (spec.height, rows)):
        cycles += sum(crossing if place % chip == 0 else 1 for place in range(1, places))
    return cycles


def test_strips_hold_each_core_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for density in (0.2, 0.5, 0.9, 1.0):
        cells = [(x, y) for x in range(7) for y in range(6) if rng.random() < density]
        covered = [cell for strip in strips(cells) for cell in cells_of(strip)]
        assert sorted(covered) == sorted(cells)
    assert strips([]) == []
    assert strips(cells_of((0, 6, 0, 5))) == [(0, 6, 0, 5)]
