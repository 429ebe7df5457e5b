# SPDX-License-Identifier: Apache-2.0
"""What travels with a neuron through the stages of the walk."""

from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib import data

from emu.spec import SystemSpec
from emu.words import Section
from rtl.layouts import section_struct

__all__ = ["load", "record", "register", "visit_struct"]

_OF_WORD = ("connected", "fanout_base")
_OF_PROFILE = ("reset", "emission", "signed", "refractory_period")


def register(shape: ShapeLike, name: str) -> Signal:
    """Return a register that the walk writes before it reads it: reset leaves it."""
    return Signal(shape, name=name, reset_less=True)


def record(layout: data.StructLayout, name: str) -> data.View:
    """Return a `register` with fields."""
    return data.View(layout, register(layout.size, name))


def visit_struct(spec: SystemSpec) -> data.StructLayout:
    """Return a neuron from its membrane to the emitter.

    Its state as it will be stored, but for the reset; what its word and its profile say of reset and
    emission; whether it is silent, for it does not fire or is refractory; and how many values were clipped so
    far. Fields of options that are left out are absent. Neurons leave in order: none carries its index.
    """
    word, profile = section_struct(spec, Section.NEURON), section_struct(spec, Section.PROFILE)
    members: dict[str, ShapeLike] = dict(section_struct(spec, Section.STATE).members)
    members |= {name: word.members[name] for name in _OF_WORD}
    members |= {name: profile.members[name] for name in _OF_PROFILE if name in profile.members}
    return data.StructLayout(members | {"silent": 1, "clipped": 2})


def load(m: Module, into: data.View, *sources: data.View) -> None:
    """Load every field of a register that a source has by the same name."""
    for source in sources:
        for name in into.shape().members:
            if name in source.shape().members:
                m.d.sync += Value.cast(into[name]).eq(Value.cast(source[name]))
