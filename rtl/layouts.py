# SPDX-License-Identifier: Apache-2.0
"""Hardware structures built from the layouts of `emu.words`, and the signatures that carry them."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from emu.bits import Layout
from emu.spec import CHUNK_BITS, SystemSpec
from emu.words import (
    ACTIVITY_BITS,
    COUNT_BITS,
    CROSSED_BITS,
    POINTER,
    TOKEN,
    Section,
    beat_layout,
    counters_of,
    flit_layout,
    ladder_layout,
    section_layout,
    spike_layout,
)

__all__ = [
    "InspectSignature",
    "MeterSignature",
    "ObserveSignature",
    "ProgramSignature",
    "flit_stream",
    "flit_struct",
    "ladder_struct",
    "meter_bits",
    "observed_bits",
    "pointer_struct",
    "section_struct",
    "spike_struct",
    "token_struct",
]


def _struct(layout: Layout) -> data.StructLayout:
    return data.StructLayout({f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in layout})


def flit_struct(spec: SystemSpec) -> data.StructLayout:
    """Return the flit as a hardware structure."""
    return _struct(flit_layout(spec))


def spike_struct(spec: SystemSpec) -> data.StructLayout:
    """Return the data of a spike flit: axon and signed payload."""
    return _struct(spike_layout(spec))


def token_struct() -> data.StructLayout:
    """Return the data of a token flit."""
    return _struct(TOKEN)


def pointer_struct() -> data.StructLayout:
    """Return the chunk pointer: section and address."""
    return _struct(POINTER)


def section_struct(spec: SystemSpec, section: Section) -> data.StructLayout:
    """Return one word of a memory as a hardware structure."""
    return _struct(section_layout(spec, section))


def ladder_struct(spec: SystemSpec) -> data.StructLayout:
    """Return one word of the threshold memory of a core with ladders."""
    return _struct(ladder_layout(spec))


def flit_stream(spec: SystemSpec) -> stream.Signature:
    """Return the valid/ready stream of flits; a flit moves in a cycle in which both are high."""
    return stream.Signature(flit_struct(spec))


class ProgramSignature(wiring.Signature):
    """A chunk that is written into a core while it is paused.

    Members
    -------
    strobe : Out(1)
        A chunk is written in this cycle.
    section, address : Out
        The memory (`emu.words.Section`) and the chunk address inside it.
    chunk : Out(16)
        The data.
    """

    def __init__(self) -> None:
        pointer = {field.name: Out(field.bits) for field in POINTER}
        super().__init__({"strobe": Out(1), **pointer, "chunk": Out(CHUNK_BITS)})


class InspectSignature(wiring.Signature):
    """One chunk read from a core while it is paused.

    Members
    -------
    enable : Out(1)
        A chunk is asked for in this cycle.
    section, address : Out
        The memory (`emu.words.Section`) and the chunk address inside it.
    chunk : In(16)
        The chunk, from the next cycle until another is asked for; zero from a part that does not have the
        section, so that the answers of several parts can be ored.
    """

    def __init__(self) -> None:
        pointer = {field.name: Out(field.bits) for field in POINTER}
        super().__init__({"enable": Out(1), **pointer, "chunk": In(CHUNK_BITS)})


def observed_bits(spec: SystemSpec) -> dict[str, int]:
    """Return the width of every observed field of one core."""
    beat = {field.name: field.bits for field in beat_layout(spec)}
    return {"valid": 1, **beat, "activity": ACTIVITY_BITS, "finished": 1, "stray": 1}


class ObserveSignature(wiring.Signature):
    """What a bench sees of a core: one beat per visited neuron, and the activity of every cycle.

    Members
    -------
    valid : Out(1)
        A neuron is stored in this cycle.
    neuron, potential, count : Out
        Its index, its state as stored (every field of it; two's complement if signed) and its crossed
        thresholds.
    activity : Out
        `emu.words.Activity` of this cycle.
    finished : Out(1)
        The core's token enters its router in this cycle.
    stray : Out(1)
        A memory of the crossbar or of the walk is accessed in this cycle, and nobody asked for it.
    """

    def __init__(self, spec: SystemSpec) -> None:
        super().__init__({name: Out(bits) for name, bits in observed_bits(spec).items()})


def meter_bits(spec: SystemSpec) -> dict[str, int]:
    """Return for every counter the width of its increment in one cycle."""
    wide = {
        "spikes": CROSSED_BITS,
        "synaptic_operations": spec.core.lanes.bit_length(),
        "thresholds": COUNT_BITS + 1,
        "saturations": 2,
        "errors": 2,
        "hops": 3,
        "token_hops": 3,
        "router_errors": 4,
        "crossings": 3,
    }
    return {name: wide.get(name, 1) for name in counters_of(spec)}


class MeterSignature(wiring.Signature):
    """Increments of all counters in this cycle, one member per counter name."""

    def __init__(self, spec: SystemSpec) -> None:
        super().__init__({name: Out(bits) for name, bits in meter_bits(spec).items()})
