# SPDX-License-Identifier: Apache-2.0
"""The host's packets, taken apart as a core would: every section is loaded, and the core enabled last."""

from collections import defaultdict

import numpy as np
import pytest

from emu.bits import layout_bits, unpack
from emu.chunks import core_chunks
from emu.host import load_flits, read_request
from emu.image import SystemImage
from emu.spec import SystemSpec
from emu.words import (
    CONTROL_STRENGTHS,
    POINTER,
    WRITABLE,
    Control,
    Kind,
    Section,
    counters_of,
    flit_layout,
    section_chunks,
    section_layout,
    sections_of,
)
from sim_tests.generators.systems import POOL, full_system, make_core, make_system, random_system

Write = tuple[Section, int, int]


def writes_of(image: SystemImage) -> dict[int, list[Write]]:
    """Return what every core gets written, in order: section, chunk address and chunk."""
    spec, pointers = image.spec, defaultdict[int, int](int)
    layout = flit_layout(spec)
    found: dict[int, list[Write]] = {core: [] for core in range(spec.cores)}
    for word in load_flits(image).tolist():
        flit = unpack(layout, word)
        for core, written in found.items():
            x, y = core % spec.width, core // spec.width
            if not (flit["x0"] <= x <= flit["x1"] and flit["y0"] <= y <= flit["y1"]):
                continue
            if flit["kind"] == Kind.POINTER_HIGH:
                pointers[core] = flit["data"] << 16 | pointers[core] & 0xFFFF
            elif flit["kind"] == Kind.POINTER_LOW:
                pointers[core] = pointers[core] >> 16 << 16 | flit["data"]
            else:
                assert flit["kind"] == Kind.WRITE
                place = unpack(POINTER, pointers[core])
                written.append((Section(place["section"]), place["address"], flit["data"]))
                pointers[core] += 1
    return found


def memories_of(writes: list[Write]) -> dict[Section, dict[int, int]]:
    """Return what the memories of a core hold afterwards."""
    held: dict[Section, dict[int, int]] = defaultdict(dict)
    for section, address, chunk in writes:
        held[section][address] = chunk
    return held


@pytest.mark.parametrize("number", range(len(POOL)))
def test_every_section_of_a_core_is_loaded(number: int, seed: int) -> None:
    spec = POOL[number]
    image, _ = random_system(seed + number, spec=spec)
    for index, writes in writes_of(image).items():
        core, held = image.cores[index], memories_of(writes)
        assert [section for section, _, _ in writes[-2:]] == [Section.STATUS, Section.COUNTER]
        if core is None:
            assert len(writes) == 2
            continue
        assert writes[-3] == (Section.CONTROL, Control.ENABLE, 1)
        assert set(held) <= set(WRITABLE) & set(sections_of(spec))
        for section, chunks in core_chunks(core, spec).items():
            expected = chunks.tolist()
            if section == Section.CONTROL:
                expected[Control.ENABLE] = 1
            assert [held[section][at] for at in range(len(held[section]))] == expected


def test_full_core_gets_a_word_in_every_section(seed: int) -> None:
    image, _ = full_system(seed, POOL[0], 4)
    held = memories_of(writes_of(image)[0])
    assert set(held) == set(WRITABLE)
    for section, size in ((Section.STATE, 32), (Section.PROFILE, 1), (Section.SHIFT, 32)):
        least = size * section_chunks(POOL[0], section) // (4 if section == Section.STATE else 1)
        assert len(held[section]) >= least


def test_core_is_disabled_until_everything_is_there() -> None:
    image = make_system(POOL[0], make_core([[1, -1]], strengths=[3, -4]))
    enables = [
        (at, chunk)
        for at, (section, address, chunk) in enumerate(writes_of(image)[0])
        if (section, address) == (Section.CONTROL, Control.ENABLE)
    ]
    assert enables == [(0, 0), (len(writes_of(image)[0]) - 3, 1)]
    held = memories_of(writes_of(image)[0])[Section.CONTROL]
    assert [held[CONTROL_STRENGTHS + i] for i in range(4)] == [3, 0xFFFC, 0, 0]
    names = (Control.AXONS_LOW, Control.NEURONS, Control.STRENGTHS, Control.SCHEDULE, Control.BLOCKS)
    assert [held[name] for name in names] == [1, 1, 2, 1, 1]
    assert [held[name] for name in (Control.PER_BLOCK, Control.EXTENSION, Control.LADDER)] == [4, 0, 0]


def test_registers_of_ladders_and_extension() -> None:
    spec = next(spec for spec in POOL if spec.core.max_extension == 8)
    core = make_core(np.ones((12, 6)), extension=4, ladders=[[0, 1 << 12, 0, 0]], strengths=[1, 2, 3])
    image = make_system(spec, core, None)
    held = memories_of(writes_of(image)[0])[Section.CONTROL]
    names = (Control.AXONS_LOW, Control.AXONS_HIGH, Control.EXTENSION, Control.LADDER, Control.PER_BLOCK)
    assert [held[name] for name in names] == [12, 0, 2, 1, 2]
    cells = memories_of(writes_of(image)[0])[Section.CROSSBAR]
    # A row of 64 columns holds four axons of 16: chunk 2 e holds the first 8 columns of axon e.
    assert [cells[2 * e] for e in range(12)] == [0b010101010101] * 12
    assert [cells[2 * e + 1] for e in range(12)] == [0] * 12
    assert len(cells) == 3 * 8


@pytest.mark.parametrize("section", Section)
def test_a_read_asks_for_whole_words_of_one_core(section: Section) -> None:
    spec = SystemSpec(core=POOL[0].core, width=2, height=2)
    words = len(counters_of(spec)) if section == Section.COUNTER else 3
    request, chunks = read_request(spec, 3, section, words)
    high, low, read = (unpack(flit_layout(spec), word) for word in request.tolist())
    assert [flit["kind"] for flit in (high, low, read)] == [Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.READ]
    assert all((flit["x0"], flit["x1"], flit["y0"], flit["y1"]) == (1, 1, 1, 1) for flit in (high, low, read))
    assert (high["data"], low["data"]) == (section << 12, 0)
    assert read["data"] == chunks >= words * layout_bits(section_layout(spec, section)) / 16
