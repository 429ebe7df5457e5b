# SPDX-License-Identifier: Apache-2.0
"""Bit positions: what is packed comes back, and nothing that does not fit is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.spec import PRESETS, SystemSpec, chunks_for
from emu.words import (
    COUNTERS,
    Field,
    Section,
    chunks_of,
    control_words,
    flit_layout,
    layout_bits,
    pack,
    section_layout,
    section_words,
    unpack,
)

SPEC = SystemSpec(core=PRESETS["tiny"], width=3, height=2)
MEMORIES = [
    section for section in Section if section not in {Section.CONTROL, Section.COUNTER, Section.STATUS}
]
Layout = tuple[Field, ...]
LAYOUTS = [flit_layout(SPEC), *(section_layout(SPEC, section) for section in MEMORIES)]


def limits(field: Field) -> tuple[int, int]:
    half = 1 << (field.bits - 1)
    return (-half, half - 1) if field.signed else (0, 2 * half - 1)


@given(st.data(), st.sampled_from(LAYOUTS))
def test_pack_round_trip(data: st.DataObject, layout: Layout) -> None:
    values = {field.name: data.draw(st.integers(*limits(field)), field.name) for field in layout}
    word = pack(layout, values)
    assert 0 <= word < 1 << layout_bits(layout)
    assert unpack(layout, word) == values


@given(st.data(), st.sampled_from(LAYOUTS))
def test_chunks_equal_pack(data: st.DataObject, layout: Layout) -> None:
    words = data.draw(st.integers(1, 3))
    values = [{f.name: data.draw(st.integers(*limits(f))) for f in layout} for _ in range(words)]
    rows = {f.name: np.array([value[f.name] for value in values], np.int64) for f in layout}
    size = chunks_for(layout_bits(layout))
    chunks = chunks_of(layout, rows).reshape(words, size)
    expected = [[pack(layout, value) >> 16 * i & 0xFFFF for i in range(size)] for value in values]
    assert chunks.tolist() == expected


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (Field("a", 3), 8, "a must be 0..7 to fit 3 bits, not 8"),
        (Field("a", 3), -1, "a must be 0..7 to fit 3 bits, not -1"),
        (Field("b", 3, signed=True), 4, "b must be -4..3 to fit 3 bits, not 4"),
        (Field("b", 3, signed=True), -5, "b must be -4..3 to fit 3 bits, not -5"),
        (Field("c", 1), 2, "c must be 0..1 to fit 1 bits, not 2"),
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
    assert [section_words(SPEC, section) for section in MEMORIES] == [8, 128, 32, 128, 64, 32]
    assert control_words(SPEC) == 12


def test_field_names_are_unique() -> None:
    for layout in LAYOUTS:
        assert len({field.name for field in layout}) == len(layout)
    assert len(set(COUNTERS)) == len(COUNTERS) == 16


def test_crossbar_word_is_a_power_of_two_of_chunks() -> None:
    assert layout_bits(section_layout(SPEC, Section.CROSSBAR)) == 2 * SPEC.core.lanes
