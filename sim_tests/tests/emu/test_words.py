# SPDX-License-Identifier: Apache-2.0
"""Bit positions: what is packed comes back, and nothing that does not fit is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.bits import Field, chunks_for, chunks_of, layout_bits, limits, pack, places, unpack, words_of
from emu.spec import PRESETS, SystemSpec
from emu.tables import columns_of, table_of
from emu.words import (
    COUNTERS,
    POINTER,
    TABLES,
    Column,
    Section,
    flit_layout,
    section_chunks,
    section_layout,
    section_words,
    spike_layout,
)

SPEC = SystemSpec(core=PRESETS["tiny"], width=3, height=2)
Layout = tuple[Field, ...]
LAYOUTS = [
    flit_layout(SPEC),
    spike_layout(SPEC),
    POINTER,
    *(section_layout(SPEC, section) for section in Section),
]


@settings(deadline=None)
@given(st.data(), st.sampled_from(LAYOUTS))
def test_pack_round_trip(data: st.DataObject, layout: Layout) -> None:
    values = {field.name: data.draw(st.integers(*limits(field)), field.name) for field in layout}
    word = pack(layout, values)
    assert 0 <= word < 1 << layout_bits(layout)
    assert unpack(layout, word) == values


@settings(deadline=None)
@given(st.data(), st.sampled_from(LAYOUTS))
def test_chunks_equal_pack(data: st.DataObject, layout: Layout) -> None:
    words = data.draw(st.integers(1, 3))
    values = [{f.name: data.draw(st.integers(*limits(f))) for f in layout} for _ in range(words)]
    rows = {f.name: np.array([value[f.name] for value in values], np.int64) for f in layout}
    size = chunks_for(layout_bits(layout))
    chunks = chunks_of(layout, rows).reshape(words, size)
    expected = [[pack(layout, value) >> 16 * i & 0xFFFF for i in range(size)] for value in values]
    assert chunks.tolist() == expected
    assert words_of(layout, chunks.reshape(-1).tolist()) == values


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (Field("a", 3), 8, "a must be 0..7 to fit 3 bits, not 8."),
        (Field("a", 3), -1, "a must be 0..7 to fit 3 bits, not -1."),
        (Field("b", 3, signed=True), 4, "b must be -4..3 to fit 3 bits, not 4."),
        (Field("b", 3, signed=True), -5, "b must be -4..3 to fit 3 bits, not -5."),
        (Field("c", 1), 2, "c must be 0..1 to fit 1 bits, not 2."),
    ],
)
def test_value_that_does_not_fit(field: Field, value: int, message: str) -> None:
    with pytest.raises(ValueError, match="to fit") as caught:
        pack((field,), {field.name: value})
    assert str(caught.value) == message
    with pytest.raises(ValueError, match="to fit") as caught:
        chunks_of((field,), {field.name: np.array([0, value])})
    assert str(caught.value) == message


def test_section_words_of_tiny() -> None:
    assert [section_words(SPEC, section) for section in Section] == [
        *(20, 8, 128, 32, 32, 64, 32, 18, 4, 8, 32, 17),
    ]
    assert [section_chunks(SPEC, section) for section in Section] == [1, 4, 1, 4, 4, 2, 2, 4, 1, 4, 1, 1]


def test_limits_of_a_field() -> None:
    assert (limits(Field("a", 1)), limits(Field("b", 3))) == ((0, 1), (0, 7))
    assert (limits(Field("c", 1, signed=True)), limits(Field("d", 12, signed=True))) == (
        (-1, 0),
        (-2048, 2047),
    )


def test_place_of_a_field_is_after_all_lower_ones() -> None:
    at = places(flit_layout(SPEC))
    assert (at["kind"], at["x0"], at["x1"], at["data"]) == (0, 3, 5, 3 + 2 + 2 + 2 + 2)
    assert pack(flit_layout(SPEC), dict.fromkeys(at, 0) | {"data": 5}) == 5 << at["data"]


def test_field_that_a_spec_omits_is_in_no_word() -> None:
    column = Column("extra", lambda spec: spec.core.schedule - 8)
    grown = {Section.FANOUT: (column, *TABLES[Section.FANOUT])}
    layout = section_layout.__wrapped__  # what is remembered is of the tables as they are
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emu.words.TABLES", {**TABLES, **grown})
        assert layout(SPEC, Section.FANOUT)[0].name == "x0"
        larger = SystemSpec(core=PRESETS["small"], width=3, height=2)
        assert layout(larger, Section.FANOUT)[0] == Field("extra", 24)


@pytest.mark.parametrize("section", TABLES)
def test_table_has_a_column_for_each_field(section: Section) -> None:
    names = [c.name for c in TABLES[section]]
    table = table_of(section, {name: [at, at + 9] for at, name in enumerate(names, 1)})
    assert {name: values.tolist() for name, values in columns_of(section, table).items()} == {
        name: [at, at + 9] for at, name in enumerate(names, 1)
    }
    assert table_of(section, {names[-1]: [5]}).tolist() == [[0] * (len(names) - 1) + [5]]


def test_field_names_are_unique() -> None:
    for layout in LAYOUTS:
        assert len({field.name for field in layout}) == len(layout)
    assert len(set(COUNTERS)) == len(COUNTERS) == 19


def test_crossbar_word_is_a_power_of_two_of_chunks() -> None:
    assert layout_bits(section_layout(SPEC, Section.CROSSBAR)) == 2 * SPEC.core.lanes
