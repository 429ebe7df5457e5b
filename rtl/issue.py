# SPDX-License-Identifier: Apache-2.0
"""The front of the walk: which neuron and which of its columns enters in a cycle."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import THRESHOLDS_A_WORD, SystemSpec
from emu.words import COUNT_BITS, Section
from rtl.component import Component
from rtl.layouts import section_struct
from rtl.visit import register

__all__ = ["Issue"]

_PHASE_BITS = bits_for((1 << COUNT_BITS) // THRESHOLDS_A_WORD)
"""Bits of the cycles of a neuron: a long window of thresholds takes most."""


class Issue(Component):
    """Let a neuron of a block in every II cycles: max(K, G) of `docs/reference/cycles.md`.

    Members
    -------
    start : In
        The first neuron enters in the next cycle.
    first, count : In
        The block's first neuron and how many it has; valid with ``start``.
    strengths, entry, ladder : In
        What sets the pace; valid from ``start`` on.
    neuron, left : Out
        The neuron that is let in, and how many the block has from it on.
    begins, ends : Out
        Its first column enters in this cycle; its last one does.
    live, lane, digit : Out
        A column enters; its lane and its place among the columns of the neuron.
    awake : Out
        Neurons are let in, or will be from the next cycle on.
    """

    def __init__(self, spec: SystemSpec) -> None:
        core = spec.core
        self._ladder = core.ladder
        super().__init__(
            {
                "start": In(1),
                "first": In(range(core.columns)),
                "count": In(range(core.lanes + 1)),
                "strengths": In(range(core.strengths + 1)),
                "entry": In(section_struct(spec, Section.SCHEDULE)),
                "ladder": In(1),
                "neuron": Out(range(core.columns)),
                "left": Out(range(core.lanes + 1)),
                "begins": Out(1),
                "ends": Out(1),
                "live": Out(1),
                "lane": Out(range(core.lanes)),
                "digit": Out(range(core.strengths)),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count neurons, the cycles of one, and columns; between walks all is ready for the next."""
        m = Module()
        busy, left = Signal(name="busy"), register(len(self.count), "left")
        neuron, lane = register(len(self.neuron), "index"), register(len(self.lane), "column")
        phase, most = register(_PHASE_BITS, "phase"), register(_PHASE_BITS, "most")
        last_phase, least = Signal(name="last_phase"), Signal(COUNT_BITS, name="least")
        lists = self.entry.fire & (~self.ladder if self._ladder else 1)
        m.d.comb += [
            least.eq(Mux(lists, (self.entry.threshold_count + THRESHOLDS_A_WORD - 1) >> 2, 0)),
            last_phase.eq(phase == most),
            self.neuron.eq(neuron),
            self.left.eq(left),
            self.begins.eq(busy & (phase == 0)),
            self.live.eq(busy & (phase < self.strengths)),
            self.ends.eq(busy & (phase + 1 == self.strengths)),
            self.lane.eq(lane),
            self.digit.eq(phase),
        ]
        m.d.comb += self.awake.eq(self.start | busy)
        m.d.sync += lane.eq(lane + self.live)
        with m.If(busy):
            m.d.sync += phase.eq(Mux(last_phase, 0, phase + 1))
            with m.If(last_phase):
                m.d.sync += [neuron.eq(neuron + 1), left.eq(left - 1), busy.eq(left != 1)]
        with m.If(self.start):
            m.d.sync += busy.eq(1)
        with m.If(~busy):
            m.d.sync += [phase.eq(0), lane.eq(0), neuron.eq(self.first), left.eq(self.count)]
            m.d.sync += most.eq(Mux(self.strengths > least, self.strengths, least) - 1)
        return m
