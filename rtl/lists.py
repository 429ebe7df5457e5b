# SPDX-License-Identifier: Apache-2.0
"""Lists of thresholds: a window of one, compared a word of four a cycle (`docs/reference/machine.md`)."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import THRESHOLDS_A_WORD, SystemSpec
from emu.words import COUNT_BITS, Section, section_words
from rtl.component import Component
from rtl.layouts import section_struct
from rtl.visit import record, register

__all__ = ["ListQuantiser"]

_LOW = bits_for(THRESHOLDS_A_WORD)


class ListQuantiser(Component):
    """Read the words of a neuron's window, one a cycle, and count the thresholds that its potential crosses.

    A word asked for in cycle t comes in t + 1, meets the potential in t + 2 and is counted in t + 3. In a
    core with ladders each neuron reads one word, of which nothing is counted.

    Members
    -------
    ask : In
        A neuron asks for its first word; the next asks when this one has all its words.
    silent, base : In
        It compares nothing, in as many cycles; where its own list begins.
    first, count : In
        The window; a count of 0 in a step that does not fire.
    listed : In
        The core compares with lists.
    read_enable, read_address : Out
        To the threshold memory.
    read_data : In
        Its word, a cycle later.
    word : Out
        The word that meets the potential.
    potential : In
        In the cycle in which its words meet it.
    meets : Out
        The last word meets the potential in this cycle.
    crossed, last : Out
        A cycle later: how many are crossed, and the crossed one that is last in the list.
    awake : Out
        A word is asked for or on its way.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        core, word = spec.core, section_struct(spec, Section.THRESHOLD)
        super().__init__(
            {
                "ask": In(1),
                "silent": In(1),
                "base": In(bits_for(core.thresholds)),
                "first": In(COUNT_BITS),
                "count": In(COUNT_BITS),
                "listed": In(1),
                "read_enable": Out(1),
                "read_address": Out(bits_for(section_words(spec, Section.THRESHOLD))),
                "read_data": In(word),
                "word": Out(word),
                "potential": In(signed(core.potential_bits)),
                "meets": Out(1),
                "crossed": Out(COUNT_BITS),
                "last": Out(signed(core.threshold_bits)),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Two stages from the address to the word, one to count."""
        m = Module()
        layout = data.StructLayout({"mask": THRESHOLDS_A_WORD, "begins": 1, "ends": 1})
        asked, came, here = (
            data.View(layout, Signal(layout.size)),
            record(layout, "came"),
            record(layout, "here"),
        )
        now, came_valid, here_valid = Signal(name="now"), Signal(name="came_valid"), Signal(name="here_valid")
        word = register(self.word.shape().size, "here_word")
        self._window(m, now, asked)
        m.d.sync += [came_valid.eq(now), here_valid.eq(came_valid)]
        with m.If(now):
            m.d.sync += came.eq(asked)
        with m.If(came_valid):
            m.d.sync += [here.eq(came), word.eq(Value.cast(self.read_data))]
        m.d.comb += [
            Value.cast(self.word).eq(word),
            self.meets.eq(here_valid & here.ends),
            self.awake.eq(now | came_valid | here_valid),
        ]
        self._compare(m, here_valid, here)
        return m

    def _window(self, m: Module, valid: Signal, asked: data.View) -> None:
        """Ask for one word after the other: those of its thresholds that lie in the window count."""
        place, mute = Signal(len(self.base), name="place"), Signal(name="mute")
        skip, behind = Signal(_LOW, name="skip"), Signal(COUNT_BITS + 1, name="behind")
        rest, following = register(COUNT_BITS + 1, "rest"), register(len(self.read_address), "following")
        more, muted = Signal(name="more"), register(1, "muted")
        reads = ~self.listed | (self.count != 0)
        m.d.comb += [
            place.eq(self.base + Mux(self.listed, self.first, 0)),
            skip.eq(Mux(self.ask, place[:_LOW], 0)),
            behind.eq(Mux(self.ask, Mux(self.listed, place[:_LOW] + self.count, 0), rest)),
            mute.eq(Mux(self.ask, self.silent | ~reads, muted)),
            valid.eq(self.ask | more),
            self.read_enable.eq(valid & ~mute),
            self.read_address.eq(Mux(self.ask, place[_LOW:], following)),
            asked.begins.eq(self.ask),
            asked.ends.eq(behind <= THRESHOLDS_A_WORD),
            *(asked.mask[i].eq(~mute & (behind > i) & (skip <= i)) for i in range(THRESHOLDS_A_WORD)),
        ]
        with m.If(valid):
            m.d.sync += [
                more.eq(~asked.ends),
                muted.eq(mute),
                rest.eq(behind - THRESHOLDS_A_WORD),
                following.eq(self.read_address + 1),
            ]

    def _compare(self, m: Module, valid: Signal, here: data.View) -> None:
        """Count the crossed thresholds of the word; keep the last."""
        count, last = register(COUNT_BITS, "counted"), register(signed(len(self.last)), "kept")
        thetas = [self.word[f"threshold{lane}"] for lane in range(THRESHOLDS_A_WORD)]
        crossed = [here.mask[lane] & (self.potential >= theta) for lane, theta in enumerate(thetas)]
        m.d.comb += [self.crossed.eq(count), self.last.eq(last)]
        with m.If(valid):
            m.d.sync += count.eq(Mux(here.begins, 0, count) + sum(crossed))
            for theta, reached in zip(thetas, crossed, strict=True):
                with m.If(reached):
                    m.d.sync += last.eq(theta)
