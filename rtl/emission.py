# SPDX-License-Identifier: Apache-2.0
"""What a neuron that fired sends (rule 8 of `docs/reference/machine.md`)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import COUNT_BITS, RECTANGLE, Kind, Section
from rtl.component import Component
from rtl.layouts import ProgramSignature, flit_stream, section_struct, spike_struct
from rtl.memory import section_memory, write_chunks

__all__ = ["Emitter"]


class Emitter(Component):
    """Walk over the fan-out entries of one neuron: a packet a cycle, and no cycle between two.

    Members
    -------
    program : In
        Writes into the fan-out memory.
    look, base : In
        Read the entry at ``base``; packets may start in the next cycle.
    active : In
        Offer a packet in this cycle.
    count, count_emission : In
        Crossed thresholds, at least one; whether one packet carries them all.
    o : Out(stream)
        Spike packets.
    done : Out
        The last packet is taken in this cycle.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "look": In(1),
                "base": In(range(spec.core.fanouts)),
                "active": In(1),
                "count": In(COUNT_BITS),
                "count_emission": In(1),
                "o": Out(flit_stream(spec)),
                "done": Out(1),
            }
        )
        self._memory = section_memory(spec, Section.FANOUT)

    def elaborate(self, platform: object) -> Module:
        """Attach the fan-out memory; build the copy counter and the packet."""
        m = Module()
        layout = section_struct(self._spec, Section.FANOUT)
        m.submodules.memory = memory = self._memory
        target = data.View(layout, memory.read.data[: layout.size])
        entry = Signal.like(memory.read.address, reset_less=True)
        copy, final = Signal(COUNT_BITS, reset_less=True), Signal()
        write_chunks(m, memory, self.program, Section.FANOUT)
        m.d.comb += final.eq(self.count_emission | (copy + 1 == self.count))
        with m.If(self.look):
            m.d.comb += [memory.read.enable.eq(1), memory.read.address.eq(self.base)]
            m.d.sync += [entry.eq(self.base + 1), copy.eq(0)]
        with m.Elif(self.active & self.o.ready):
            m.d.sync += copy.eq(Mux(final, 0, copy + 1))
            with m.If(final & target.last):
                m.d.comb += self.done.eq(1)
            with m.Elif(final):
                m.d.comb += [memory.read.enable.eq(1), memory.read.address.eq(entry)]
                m.d.sync += entry.eq(entry + 1)
        self._packet(m, target, copy)
        return m

    def _packet(self, m: Module, target: data.View, copy: Signal) -> None:
        """Build the packet: one with the count, or one for each crossed threshold."""
        flit = self.o.payload
        spike = data.View(spike_struct(self._spec), flit.data)
        with m.If(self.active):
            m.d.comb += [self.o.valid.eq(1), flit.kind.eq(Kind.SPIKE)]
            m.d.comb += [getattr(flit, name).eq(getattr(target, name)) for name in RECTANGLE]
            with m.If(self.count_emission):
                m.d.comb += [spike.axon.eq(target.axon), spike.payload.eq(self.count)]
            with m.Else():
                m.d.comb += [spike.axon.eq(target.axon + copy), spike.payload.eq(1)]
