# SPDX-License-Identifier: Apache-2.0
"""Bit positions: the flit, the memory words, the address map. The only place that knows them.

Every layout is a tuple of `Field`; hardware builds its structures from the same tuples.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import CHUNK_BITS, SystemSpec, bits_for, chunks_for

__all__ = [
    "CONTROL_STRENGTHS",
    "COUNTERS",
    "Activity",
    "Control",
    "ErrorCause",
    "Field",
    "Kind",
    "Reset",
    "Section",
    "chunks_of",
    "control_words",
    "flit_layout",
    "layout_bits",
    "pack",
    "section_layout",
    "section_words",
    "unpack",
]


class Kind(enum.IntEnum):
    """What a flit is (3 bits)."""

    SPIKE = 0
    TOKEN = 1
    POINTER_HIGH = 2
    POINTER_LOW = 3
    WRITE = 4
    READ = 5
    REPLY = 6


class Section(enum.IntEnum):
    """Upper four bits of a core's 32-bit chunk pointer: the memory that it points into."""

    CONTROL = 0
    SCHEDULE = 1
    CROSSBAR = 2
    NEURON = 3
    THRESHOLD = 4
    FANOUT = 5
    POTENTIAL = 6
    COUNTER = 7
    STATUS = 8


class Control(enum.IntEnum):
    """Chunk addresses in `Section.CONTROL`; strengths follow at `CONTROL_STRENGTHS`."""

    ENABLE = 0
    AXONS = 1
    NEURONS = 2
    STRENGTHS = 3
    SCHEDULE = 4
    WORDS = 5


CONTROL_STRENGTHS = 8
"""Address of strength 0 in `Section.CONTROL`."""


class Reset(enum.IntEnum):
    """What a neuron keeps: always-clear (stateless), reset to zero, reset by subtraction."""

    CLEAR = 0
    ZERO = 1
    SUBTRACT = 2


class ErrorCause(enum.IntEnum):
    """First cause kept in a sticky error register."""

    NONE = 0
    AXON = 1
    KIND = 2
    RUNNING = 3
    SECTION = 4
    DESTINATION = 5


class Activity(enum.IntEnum):
    """What a core does in a cycle; every cycle is exactly one of these."""

    INTEGRATE = 0
    UPDATE = 1
    SEND_STALL = 2
    TOKEN_WAIT = 3
    PAUSED = 4


COUNTERS: tuple[str, ...] = (
    "spikes",
    "packets",
    "deliveries",
    "merges",
    "synaptic_operations",
    "neuron_updates",
    "saturations",
    "errors",
    "integrate",
    "update",
    "send_stall",
    "token_wait",
    "paused",
    "hops",
    "token_hops",
    "router_errors",
)
"""Counter names in address order: counter i is chunks 4i..4i+2 of `Section.COUNTER`, low chunk first."""


@dataclass(frozen=True, slots=True)
class Field:
    """A run of bits in a word: its name, width and whether it is two's complement."""

    name: str
    bits: int
    signed: bool = False


Layout = tuple[Field, ...]


def flit_layout(spec: SystemSpec) -> Layout:
    """Return the fields of a flit, lowest bit first."""
    return (
        Field("kind", 3),
        Field("x0", spec.x_bits),
        Field("x1", spec.x_bits),
        Field("y0", spec.y_bits),
        Field("y1", spec.y_bits),
        Field("data", spec.core.data_bits),
    )


def section_layout(spec: SystemSpec, section: Section) -> Layout:
    """Return the fields of one word of a memory, lowest bit first."""
    core = spec.core
    v = core.potential_bits
    layouts: dict[Section, Layout] = {
        Section.SCHEDULE: (
            Field("repeat", 12),
            Field("init", 1),
            Field("integrate", 1),
            Field("update", 1),
            Field("fire", 1),
            Field("threshold_first", 8),
            Field("threshold_count", 8),
        ),
        Section.CROSSBAR: tuple(Field(f"cell{lane}", 2) for lane in range(core.lanes)),
        Section.NEURON: (
            Field("bias", v, True),
            Field("v0", v, True),
            Field("reset", 2),
            Field("count_emission", 1),
            Field("connected", 1),
            Field("threshold_base", bits_for(core.thresholds)),
            Field("fanout_base", bits_for(core.fanouts)),
        ),
        Section.THRESHOLD: (Field("threshold", core.threshold_bits, True),),
        Section.FANOUT: (
            Field("x0", spec.x_bits),
            Field("x1", spec.x_bits),
            Field("y0", spec.y_bits),
            Field("y1", spec.y_bits),
            Field("axon", core.flit_axon_bits),
            Field("last", 1),
        ),
        Section.POTENTIAL: (Field("potential", v, True),),
    }
    return layouts[section]


def section_words(spec: SystemSpec, section: Section) -> int:
    """Return how many words a core's memory has."""
    core = spec.core
    return {
        Section.SCHEDULE: core.schedule,
        Section.CROSSBAR: core.axons * core.words,
        Section.NEURON: core.columns,
        Section.THRESHOLD: core.thresholds,
        Section.FANOUT: core.fanouts,
        Section.POTENTIAL: core.columns,
    }[section]


def layout_bits(layout: Layout) -> int:
    """Return the width of a word."""
    return sum(field.bits for field in layout)


def pack(layout: Layout, values: Mapping[str, int]) -> int:
    """Return the word with the given field values.

    >>> pack((Field("a", 3), Field("b", 4, True)), {"a": 5, "b": -1})
    125

    Raises
    ------
    ValueError : a value does not fit its field.
    """
    word = shift = 0
    for field in layout:
        value = int(values[field.name])
        low, high = (
            (-(1 << field.bits >> 1), (1 << field.bits >> 1) - 1)
            if field.signed
            else (0, (1 << field.bits) - 1)
        )
        if not low <= value <= high:
            raise ValueError(f"{field.name} must be {low}..{high} to fit {field.bits} bits, not {value}")
        word |= (value & ((1 << field.bits) - 1)) << shift
        shift += field.bits
    return word


def unpack(layout: Layout, word: int) -> dict[str, int]:
    """Return the field values of a word; the inverse of `pack`."""
    values = {}
    for field in layout:
        value = word & ((1 << field.bits) - 1)
        if field.signed and value >> (field.bits - 1):
            value -= 1 << field.bits
        values[field.name] = value
        word >>= field.bits
    return values


def chunks_of(layout: Layout, rows: Mapping[str, NDArray[np.int64]]) -> NDArray[np.uint16]:
    """Return memory words as chunks, low chunk first, each word padded to a power of two of chunks.

    Parameters
    ----------
    layout : the word.
    rows : field name -> values, shape (words,), integer.

    Returns
    -------
    uint16, shape (words * chunks,)
    """
    words = len(next(iter(rows.values())))
    chunks = chunks_for(layout_bits(layout))
    out = np.zeros((words, chunks * CHUNK_BITS), np.uint8)
    shift = 0
    for field in layout:
        values = np.asarray(rows[field.name], np.int64)
        low, high = (
            (-(1 << field.bits >> 1), (1 << field.bits >> 1) - 1)
            if field.signed
            else (0, (1 << field.bits) - 1)
        )
        wrong = values[(values < low) | (values > high)]
        if wrong.size:
            raise ValueError(f"{field.name} must be {low}..{high} to fit {field.bits} bits, not {wrong[0]}")
        for bit in range(field.bits):
            out[:, shift + bit] = (values >> bit) & 1
        shift += field.bits
    return (
        np.packbits(out.reshape(words * chunks, CHUNK_BITS), axis=1, bitorder="little")
        .view("<u2")
        .reshape(-1)
    )


def control_words(spec: SystemSpec) -> int:
    """Return how many chunk addresses `Section.CONTROL` has."""
    return CONTROL_STRENGTHS + spec.core.strengths
