# SPDX-License-Identifier: Apache-2.0
"""Read what the memories hold of a neuron: its word, its state and its profile."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec, bits_for
from emu.words import Section
from rtl.component import Component
from rtl.layouts import section_struct
from rtl.visit import record

__all__ = ["Fetch"]


class Fetch(Component):
    """Two stages: the word and the state come, then they stand in registers while the profile comes.

    Members
    -------
    begins, neuron, tail : In, the words of a neuron are asked for in this cycle; the last of its block.
    word, state : In, what its memories show in the next cycle.
    read_enable, read_address : Out, to the profile memory.
    fetched : Out, two cycles after ``begins``: the profile memory shows its profile.
    its_word, its_state, its_neuron, its_tail : Out, valid with ``fetched``.
    """

    def __init__(self, spec: SystemSpec) -> None:
        word, state = section_struct(spec, Section.NEURON), section_struct(spec, Section.STATE)
        tag = {"neuron": bits_for(spec.core.columns), "tail": 1}
        self._tag = data.StructLayout(tag)
        self._all = data.StructLayout({"tag": self._tag, "word": word, "state": state})
        super().__init__(
            {
                "begins": In(1),
                **{name: In(bits) for name, bits in tag.items()},
                "word": In(word),
                "state": In(state),
                "read_enable": Out(1),
                "read_address": Out(word.members["profile"]),
                "fetched": Out(1),
                "its_word": Out(word),
                "its_state": Out(state),
                **{f"its_{name}": Out(bits) for name, bits in tag.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """One register while the words come, one for all."""
        m = Module()
        coming, here = record(self._tag, "coming"), record(self._all, "here")
        comes, fetched = Signal(name="comes"), Signal(name="is_fetched")
        m.d.sync += [comes.eq(self.begins), fetched.eq(comes)]
        with m.If(self.begins):
            m.d.sync += [coming.neuron.eq(self.neuron), coming.tail.eq(self.tail)]
        with m.If(comes):
            m.d.sync += [here.tag.eq(coming), here.word.eq(self.word), here.state.eq(self.state)]
        m.d.comb += [
            self.read_enable.eq(comes),
            self.read_address.eq(self.word.profile),
            self.fetched.eq(fetched),
            self.its_word.eq(here.word),
            self.its_state.eq(here.state),
            self.its_neuron.eq(here.tag.neuron),
            self.its_tail.eq(here.tag.tail),
        ]
        return m
