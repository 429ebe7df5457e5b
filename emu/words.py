# SPDX-License-Identifier: Apache-2.0
"""Bit positions: the flit, the memory words, the address map. The only place that knows them.

Every layout is a tuple of `emu.bits.Field`; hardware builds its structures from the same tuples. The fields
of a memory are declared once, in `TABLES`, for every spec: the arrays of an image, the columns of the
kernels and the bits of a word are derived from there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emu.bits import Field, Layout, layout_bits
from emu.spec import CHUNK_BITS, COUNTER_BITS, SystemSpec, bits_for, chunks_for

__all__ = [
    "ACTIVITY_BITS",
    "CONTROL_STRENGTHS",
    "COUNTERS",
    "COUNT_BITS",
    "KIND_BITS",
    "PACKET",
    "POINTER",
    "READABLE",
    "RECTANGLE",
    "STATE_FIELDS",
    "TABLES",
    "TOKEN",
    "Activity",
    "Column",
    "Control",
    "ErrorCause",
    "Kind",
    "Reset",
    "Section",
    "Status",
    "beat_layout",
    "column",
    "columns_of",
    "flit_layout",
    "section_chunks",
    "section_layout",
    "section_words",
    "spike_layout",
    "table_of",
]


class Kind(enum.IntEnum):
    """What a flit is."""

    SPIKE = 0
    TOKEN = 1
    POINTER_HIGH = 2
    POINTER_LOW = 3
    WRITE = 4
    READ = 5
    REPLY = 6


class Section(enum.IntEnum):
    """The memory of a core that its chunk pointer (`POINTER`) points into."""

    CONTROL = 0
    SCHEDULE = 1
    CROSSBAR = 2
    NEURON = 3
    THRESHOLD = 4
    FANOUT = 5
    STATE = 6
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


class Status(enum.IntEnum):
    """Chunk addresses in `Section.STATUS`."""

    CORE_CAUSE = 0
    ROUTER_CAUSE = 1
    ENTRY = 2
    REPETITION = 3


READABLE = (Section.STATE, Section.COUNTER, Section.STATUS)
"""Sections that can be read back; every section can be written."""


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
"""Counter names in the order of their words in `Section.COUNTER`."""

ACTIVITY_BITS = bits_for(len(Activity))
"""Bits of an activity."""

COUNT_BITS = 8
"""Bits of a number of thresholds of one step."""

KIND_BITS = bits_for(len(Kind))
"""Bits of a kind of flit."""

RECTANGLE = ("x0", "x1", "y0", "y1")
"""Fields of a rectangle of destinations, both ends included, in a flit and in a fan-out entry."""

PACKET = (*RECTANGLE, "axon", "payload")
"""Columns of a table of spike packets, such as a stimulus."""

TOKEN: Layout = (Field("pause", 1),)
"""The data of a token."""

POINTER: Layout = (Field("address", 28), Field("section", 4))
"""The chunk pointer: a chunk address inside a section. Two packets set its halves."""


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a memory's words in every spec.

    Parameters
    ----------
    name : str
        Name of the field, and of its array in an image.
    bits : int or Callable[[SystemSpec], int]
        Width, or a function from a spec to the width: 0 if the words of this spec omit the field.
    signed : bool
        Two's complement.
    dtype : str
        Dtype of its array in an image.
    """

    name: str
    bits: int | Callable[[SystemSpec], int]
    signed: bool = False
    dtype: str = "int32"

    def field(self, spec: SystemSpec) -> Field:
        """Return the field of a spec."""
        return Field(self.name, self.bits if isinstance(self.bits, int) else self.bits(spec), self.signed)


def _potential_bits(spec: SystemSpec) -> int:
    return spec.core.potential_bits


TABLES: Mapping[Section, tuple[Column, ...]] = {
    Section.SCHEDULE: (
        Column("repeat", 12),
        Column("init", 1),
        Column("integrate", 1),
        Column("update", 1),
        Column("fire", 1),
        Column("threshold_first", COUNT_BITS),
        Column("threshold_count", COUNT_BITS),
    ),
    Section.NEURON: (
        Column("bias", _potential_bits, signed=True, dtype="int64"),
        Column("v0", _potential_bits, signed=True, dtype="int64"),
        Column("reset", bits_for(len(Reset)), dtype="uint8"),
        Column("count_emission", 1, dtype="bool"),
        Column("connected", 1, dtype="bool"),
        Column("threshold_base", lambda spec: bits_for(spec.core.thresholds)),
        Column("fanout_base", lambda spec: bits_for(spec.core.fanouts)),
    ),
    Section.THRESHOLD: (
        Column("threshold", lambda spec: spec.core.threshold_bits, signed=True, dtype="int64"),
    ),
    Section.FANOUT: (
        Column("x0", lambda spec: spec.x_bits),
        Column("x1", lambda spec: spec.x_bits),
        Column("y0", lambda spec: spec.y_bits),
        Column("y1", lambda spec: spec.y_bits),
        Column("axon", lambda spec: spec.core.flit_axon_bits),
        Column("last", 1),
    ),
    Section.STATE: (Column("potential", _potential_bits, signed=True, dtype="int64"),),
}
"""The fields of the words of every memory but the crossbar, lowest bit first."""


STATE_FIELDS = tuple(c.name for c in TABLES[Section.STATE])
"""What a neuron keeps from step to step: the fields of a state word."""


def column(section: Section, name: str) -> int:
    """Return the column of a field in a section's table.

    >>> column(Section.FANOUT, "last")
    5
    """
    return [c.name for c in TABLES[section]].index(name)


def columns_of(section: Section, table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a section's table, shape (words, fields), by field name."""
    return {c.name: table[:, i] for i, c in enumerate(TABLES[section])}


def table_of(section: Section, columns: Mapping[str, ArrayLike]) -> NDArray[np.int32]:
    """Return the table of a section, shape (words, fields); a field that is not named is 0.

    >>> table_of(Section.FANOUT, {"x0": [1, 3], "axon": [7, 8]}).tolist()
    [[1, 0, 0, 0, 7, 0], [3, 0, 0, 0, 8, 0]]
    """
    words = len(np.asarray(next(iter(columns.values()))))
    table = np.zeros((words, len(TABLES[section])), np.int32)
    for name, values in columns.items():
        table[:, column(section, name)] = values
    return table


def flit_layout(spec: SystemSpec) -> Layout:
    """Return the fields of a flit, lowest bit first."""
    return (
        Field("kind", KIND_BITS),
        Field("x0", spec.x_bits),
        Field("x1", spec.x_bits),
        Field("y0", spec.y_bits),
        Field("y1", spec.y_bits),
        Field("data", spec.core.data_bits),
    )


def spike_layout(spec: SystemSpec) -> Layout:
    """Return the fields of a spike's data, lowest bit first."""
    return (Field("axon", spec.core.flit_axon_bits), Field("payload", spec.core.payload_bits, signed=True))


def section_layout(spec: SystemSpec, section: Section) -> Layout:
    """Return the fields of one word of a section, lowest bit first."""
    whole = {
        Section.CONTROL: (Field("register", CHUNK_BITS),),
        Section.CROSSBAR: tuple(Field(f"cell{lane}", 2) for lane in range(spec.core.lanes)),
        Section.COUNTER: (Field("count", COUNTER_BITS),),
        Section.STATUS: (Field("status", CHUNK_BITS),),
    }
    fields = whole[section] if section in whole else (c.field(spec) for c in TABLES[section])
    return tuple(field for field in fields if field.bits)


def beat_layout(spec: SystemSpec) -> Layout:
    """Return what is observed of a neuron that is stored: which, its state, the thresholds it crossed."""
    neuron = Field("neuron", bits_for(spec.core.columns))
    return (neuron, *section_layout(spec, Section.STATE), Field("count", COUNT_BITS))


def section_words(spec: SystemSpec, section: Section) -> int:
    """Return how many words a section of a core has."""
    core = spec.core
    return {
        Section.CONTROL: CONTROL_STRENGTHS + core.strengths,
        Section.SCHEDULE: core.schedule,
        Section.CROSSBAR: core.axons * core.words,
        Section.NEURON: core.columns,
        Section.THRESHOLD: core.thresholds,
        Section.FANOUT: core.fanouts,
        Section.STATE: core.columns,
        Section.COUNTER: len(COUNTERS),
        Section.STATUS: len(Status),
    }[section]


def section_chunks(spec: SystemSpec, section: Section) -> int:
    """Return how many chunk addresses a word of a section has: low chunk first, a power of two."""
    return chunks_for(layout_bits(section_layout(spec, section)))
