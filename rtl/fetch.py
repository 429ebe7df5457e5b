# SPDX-License-Identifier: Apache-2.0
"""Read what the memories hold of a neuron: its word, its state and its profile."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import Section
from rtl.component import Component
from rtl.layouts import section_struct
from rtl.visit import record, register

__all__ = ["Fetch"]


class Fetch(Component):
    """Two stages: the word and the state come, then they stand in registers while the profile comes.

    What reset leaves in the second stage goes no further than to the drive, which it empties; the first one
    would read the profile memory.

    Members
    -------
    begins : In
        The words of a neuron are asked for in this cycle.
    word, state : In
        What their memories show in the next cycle.
    read_enable, read_address : Out
        To the profile memory.
    fetched : Out
        Two cycles after ``begins``: the profile memory shows the neuron's profile.
    its_word, its_state : Out
        Valid with ``fetched``.
    awake : Out
        A neuron is asked for or on its way.
    """

    def __init__(self, spec: SystemSpec) -> None:
        word, state = section_struct(spec, Section.NEURON), section_struct(spec, Section.STATE)
        self._words = data.StructLayout({"word": word, "state": state})
        super().__init__(
            {
                "begins": In(1),
                "word": In(word),
                "state": In(state),
                "read_enable": Out(1),
                "read_address": Out(word.members["profile"]),
                "fetched": Out(1),
                "its_word": Out(word),
                "its_state": Out(state),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register the words in the cycle in which they come."""
        m = Module()
        here = record(self._words, "here")
        comes, fetched = Signal(name="comes"), register(1, "is_fetched")
        m.d.sync += [comes.eq(self.begins), fetched.eq(comes)]
        with m.If(comes):
            m.d.sync += [here.word.eq(self.word), here.state.eq(self.state)]
        m.d.comb += [
            self.read_enable.eq(comes),
            self.read_address.eq(self.word.profile),
            self.fetched.eq(fetched),
            self.awake.eq(self.begins | comes | fetched),
            self.its_word.eq(here.word),
            self.its_state.eq(here.state),
        ]
        return m
