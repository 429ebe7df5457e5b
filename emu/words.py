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
from functools import cache

from emu.bits import Field, Layout, chunks_for, layout_bits
from emu.sizes import bits_for
from emu.spec import CHUNK_BITS, COUNTER_BITS, DELTA_BITS, KIND_BITS, THRESHOLDS_A_WORD, SystemSpec

__all__ = [
    "ACTIVITY_BITS",
    "CONTROL_STRENGTHS",
    "COUNTERS",
    "COUNT_BITS",
    "CROSSED_BITS",
    "LADDER",
    "PACKET",
    "POINTER",
    "RECTANGLE",
    "SHIFT_BITS",
    "STATE_FIELDS",
    "TABLES",
    "TOKEN",
    "WRITABLE",
    "Activity",
    "Column",
    "Control",
    "Emission",
    "ErrorCause",
    "Kind",
    "Reset",
    "Section",
    "Status",
    "beat_layout",
    "counters_of",
    "flit_layout",
    "ladder_layout",
    "section_chunks",
    "section_layout",
    "section_words",
    "sections_of",
    "spike_layout",
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
    PROFILE = 9
    SHIFT = 10
    IDENTITY = 11


class Control(enum.IntEnum):
    """Chunk addresses in `Section.CONTROL`; strengths follow at `CONTROL_STRENGTHS`."""

    ENABLE = 0
    AXONS_LOW = 1
    AXONS_HIGH = 2
    NEURONS = 3
    STRENGTHS = 4
    SCHEDULE = 5
    BLOCKS = 6
    PER_BLOCK = 7
    EXTENSION = 8
    LADDER = 9


CONTROL_STRENGTHS = 16
"""Address of strength 0 in `Section.CONTROL`."""


class Status(enum.IntEnum):
    """Chunk addresses in `Section.STATUS`."""

    CORE_CAUSE = 0
    ROUTER_CAUSE = 1
    ENTRY = 2
    REPETITION = 3


WRITABLE = tuple(section for section in Section if section != Section.IDENTITY)
"""Sections that can be written; every section can be read back."""


class Reset(enum.IntEnum):
    """What a neuron keeps of V once it fired; with CLEAR it never keeps anything (stateless).

    ZERO: 0. SUBTRACT: V less the last threshold crossed. VALUE: the schedule's ``reset_value``.
    SUBTRACT_VALUE: V less ``reset_value`` times the sign of the count.
    """

    CLEAR = 0
    ZERO = 1
    SUBTRACT = 2
    VALUE = 3
    SUBTRACT_VALUE = 4


class Emission(enum.IntEnum):
    """What a neuron that fired sends to each target.

    COUNT: one packet that carries the count. UNARY: a packet of payload 1 for each crossed threshold, to
    consecutive axons. CONSTANT: one packet with the schedule's ``emit`` times the sign of the count.
    """

    COUNT = 0
    UNARY = 1
    CONSTANT = 2


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
    "crossbar_words",
    "synaptic_operations",
    "neuron_updates",
    "thresholds",
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
    "crossings",
)
"""Counter names in the order of their words in `Section.COUNTER`; see `counters_of`."""

ACTIVITY_BITS = bits_for(len(Activity))
"""Bits of an activity."""

COUNT_BITS = 8
"""Bits of a number of thresholds of one step."""

CROSSED_BITS = COUNT_BITS + 1
"""Bits of a signed count of crossed thresholds."""

SHIFT_BITS = 3
"""Bits of an axon shift."""

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


def _current_bits(spec: SystemSpec) -> int:
    return spec.core.potential_bits if spec.core.synaptic_current else 0


def _threshold_bits(spec: SystemSpec) -> int:
    return spec.core.threshold_bits


LADDER: tuple[Column, ...] = (
    Column("first", _threshold_bits, signed=True, dtype="int64"),
    Column("step", lambda spec: spec.core.threshold_bits + spec.core.fraction_bits, dtype="int64"),
    Column("offset", lambda spec: spec.core.fraction_bits, dtype="int64"),
    Column("ties", 1, dtype="int64"),
)
"""The fields of a word of the threshold memory in a core with ladders: theta_0, a, b and ties."""


TABLES: Mapping[Section, tuple[Column, ...]] = {
    Section.SCHEDULE: (
        Column("repeat", 12),
        Column("init", 1),
        Column("integrate", 1),
        Column("update", 1),
        Column("fire", 1),
        Column("threshold_first", COUNT_BITS),
        Column("threshold_count", COUNT_BITS),
        Column("reset_value", _potential_bits, signed=True),
        Column("emit", lambda spec: spec.core.payload_bits, signed=True),
    ),
    Section.PROFILE: (
        Column("reset", bits_for(len(Reset))),
        Column("emission", bits_for(len(Emission))),
        Column("signed", lambda spec: int(spec.core.signed_ladder)),
        Column("refractory_period", lambda spec: spec.core.refractory_bits),
        Column("potential_decay", lambda spec: DELTA_BITS if spec.core.decay else 0),
        Column("current_kept", lambda spec: DELTA_BITS if spec.core.synaptic_current else 0),
    ),
    Section.NEURON: (
        Column("bias", _potential_bits, signed=True, dtype="int64"),
        Column("v0", _potential_bits, signed=True, dtype="int64"),
        Column("profile", lambda spec: bits_for(spec.core.profiles), dtype="int32"),
        Column("connected", 1, dtype="bool"),
        Column("threshold_base", lambda spec: bits_for(spec.core.thresholds)),
        Column("fanout_base", lambda spec: bits_for(spec.core.fanouts)),
    ),
    Section.THRESHOLD: tuple(
        Column(f"threshold{i}", _threshold_bits, signed=True, dtype="int64") for i in range(THRESHOLDS_A_WORD)
    ),
    Section.FANOUT: (
        Column("x0", lambda spec: spec.x_bits),
        Column("x1", lambda spec: spec.x_bits),
        Column("y0", lambda spec: spec.y_bits),
        Column("y1", lambda spec: spec.y_bits),
        Column("axon", lambda spec: spec.core.flit_axon_bits),
        Column("last", 1),
    ),
    Section.STATE: (
        Column("potential", _potential_bits, signed=True, dtype="int64"),
        Column("current", _current_bits, signed=True, dtype="int64"),
        Column("refractory", lambda spec: spec.core.refractory_bits, dtype="int64"),
    ),
    Section.SHIFT: (Column("shift", lambda spec: SHIFT_BITS if spec.core.axon_shifts else 0, dtype="uint8"),),
}
"""The fields of the words of every memory but the crossbar, lowest bit first."""


STATE_FIELDS = tuple(c.name for c in TABLES[Section.STATE])
"""What a neuron keeps from step to step: the fields of a state word."""


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


@cache
def section_layout(spec: SystemSpec, section: Section) -> Layout:
    """Return the fields of one word of a section, lowest bit first."""
    if section == Section.CROSSBAR:
        return _cells(spec.core.lanes)
    fields = _WHOLE[section] if section in _WHOLE else (c.field(spec) for c in TABLES[section])
    return tuple(field for field in fields if field.bits)


_WHOLE = {
    Section.CONTROL: (Field("register", CHUNK_BITS),),
    Section.COUNTER: (Field("count", COUNTER_BITS),),
    Section.STATUS: (Field("status", CHUNK_BITS),),
    Section.IDENTITY: (Field("identity", CHUNK_BITS),),
}
"""Sections whose words are one field of every spec."""


@cache
def _cells(lanes: int) -> Layout:
    """Return the fields of a word of the crossbar."""
    return tuple(Field(f"cell{lane}", 2) for lane in range(lanes))


def beat_layout(spec: SystemSpec) -> Layout:
    """Return what is observed of a neuron that is stored: which, its state, the thresholds it crossed."""
    neuron = Field("neuron", bits_for(spec.core.columns))
    return (neuron, *section_layout(spec, Section.STATE), Field("count", CROSSED_BITS, signed=True))


def ladder_layout(spec: SystemSpec) -> Layout:
    """Return the fields of a word of the threshold memory in a core with ladders, lowest bit first."""
    return tuple(column.field(spec) for column in LADDER)


def counters_of(spec: SystemSpec) -> tuple[str, ...]:
    """Return the counters that a core has: only among several chips it counts link crossings."""
    return COUNTERS if spec.chips != (1, 1) else COUNTERS[:-1]


def sections_of(spec: SystemSpec) -> tuple[Section, ...]:
    """Return the sections that a core has: one whose words have no bits is absent."""
    return tuple(section for section in Section if section_layout(spec, section))


def section_words(spec: SystemSpec, section: Section) -> int:
    """Return how many words a section of a core has."""
    core = spec.core
    return {
        Section.CONTROL: CONTROL_STRENGTHS + core.strengths,
        Section.SCHEDULE: core.schedule,
        Section.CROSSBAR: core.axons * core.words,
        Section.NEURON: core.columns,
        Section.THRESHOLD: core.thresholds // THRESHOLDS_A_WORD,
        Section.FANOUT: core.fanouts,
        Section.STATE: core.columns,
        Section.COUNTER: len(counters_of(spec)),
        Section.STATUS: len(Status),
        Section.PROFILE: core.profiles,
        Section.IDENTITY: 17,
        Section.SHIFT: core.axons if core.axon_shifts else 0,
    }[section]


def section_chunks(spec: SystemSpec, section: Section) -> int:
    """Return how many chunk addresses a word of a section has: low chunk first, a power of two."""
    return chunks_for(layout_bits(section_layout(spec, section)))
