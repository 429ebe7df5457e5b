# SPDX-License-Identifier: Apache-2.0
"""Compare: how many thresholds a neuron crosses, by its list or by its ladder (rule 7)."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import CROSSED_BITS, Section
from rtl.component import Component
from rtl.ladder import Ladder
from rtl.layouts import ladder_struct, section_struct
from rtl.lists import ListQuantiser
from rtl.visit import record, visit_struct

__all__ = ["Quantiser"]


class Quantiser(Component):
    """The list quantiser and, in a spec with ladders, a ladder behind it: what a list finds passes through.

    Members
    -------
    entry : In
        The schedule entry.
    ladder : In
        The core compares with ladders.
    ask, silent, base : In
        A neuron asks for its first word of thresholds; see `ListQuantiser`.
    read_enable, read_address, read_data
        To the threshold memory.
    visit : In
        Two cycles after ``ask``, until the next.
    valid, found : Out
        The neuron leaves.
    crossed : Out
        The count of its thresholds.
    left : Out
        Its potential less the threshold that a reset subtracts.
    awake : Out
        A neuron asks for thresholds or is compared.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        self._lists = lists = ListQuantiser(spec)
        self._ladder = Ladder(spec) if spec.core.ladder else None
        members = {name: lists.signature.members[name] for name in ("ask", "silent", "base")}
        members |= {
            name: lists.signature.members[name] for name in ("read_enable", "read_address", "read_data")
        }
        super().__init__(
            {
                **members,
                "entry": In(section_struct(spec, Section.SCHEDULE)),
                "ladder": In(1),
                "visit": In(visit_struct(spec)),
                "valid": Out(1),
                "found": Out(visit_struct(spec)),
                "crossed": Out(signed(CROSSED_BITS)),
                "left": Out(signed(spec.core.threshold_bits + 1)),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect the list; then the ladder, or one stage."""
        m = Module()
        m.submodules.lists = lists = self._lists
        m.d.comb += [
            *(getattr(lists, name).eq(getattr(self, name)) for name in ("ask", "silent", "base")),
            lists.listed.eq(~self.ladder if self._ladder else 1),
            lists.first.eq(self.entry.threshold_first),
            lists.count.eq(Mux(self.entry.fire, self.entry.threshold_count, 0)),
            lists.potential.eq(self.visit.potential),
            Value.cast(lists.read_data).eq(Value.cast(self.read_data)),
            self.read_enable.eq(lists.read_enable),
            self.read_address.eq(lists.read_address),
        ]
        last = self._through_ladder(m, self._ladder) if self._ladder else self._one_stage(m)
        left = self.found.potential - last
        if self._ladder:
            left = Mux(self.ladder, self._ladder.left, left)
        m.d.comb += self.left.eq(left)
        return m

    def _one_stage(self, m: Module) -> Value:
        """Let the neuron go as soon as its list is counted; return the last threshold crossed."""
        found, valid = record(self.found.shape(), "compared"), Signal(name="compared_valid")
        m.d.sync += valid.eq(self._lists.meets)
        with m.If(self._lists.meets):
            m.d.sync += Value.cast(found).eq(Value.cast(self.visit))
        m.d.comb += [
            self.valid.eq(valid),
            self.awake.eq(self._lists.awake | valid),
            Value.cast(self.found).eq(Value.cast(found)),
            self.crossed.eq(self._lists.crossed),
        ]
        return Value.cast(self._lists.last)

    def _through_ladder(self, m: Module, ladder: Ladder) -> Value:
        """Let the neuron go through the stages of the ladder; return the last threshold of its list."""
        m.submodules.ladder = ladder
        word = data.View(ladder_struct(self._spec), Value.cast(self._lists.word)[: ladder.word.shape().size])
        m.d.comb += [
            ladder.enter.eq(self._lists.meets),
            Value.cast(ladder.visit).eq(Value.cast(self.visit)),
            Value.cast(ladder.word).eq(Value.cast(word)),
            ladder.listed.eq(self._lists.listed),
            ladder.count.eq(self._lists.crossed),
            ladder.last.eq(self._lists.last),
            ladder.low.eq(self.entry.threshold_first),
            ladder.high.eq(self.entry.threshold_count),
            self.valid.eq(ladder.valid),
            self.awake.eq(self._lists.awake | ladder.awake),
            Value.cast(self.found).eq(Value.cast(ladder.found)),
            self.crossed.eq(ladder.crossed),
        ]
        return Value.cast(ladder.listed_last)
