# SPDX-License-Identifier: Apache-2.0
"""What a neuron that fired sends (rule 8 of `docs/reference/machine.md`)."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import COUNT_BITS, RECTANGLE, Kind, Section
from rtl.component import Component
from rtl.layouts import InspectSignature, ProgramSignature, flit_stream, section_struct, spike_struct
from rtl.memory import join_sections, section_memory
from rtl.visit import record

__all__ = ["Emitter"]


class Emitter(Component):
    """Walk over the fan-out entries of one neuron: a packet a cycle, and no cycle between two.

    The first entry is read while the neuron is one stage in front: when it arrives, its first packet leaves.
    A neuron that finds the emitter busy waits, and its entry is read in the cycle in which the last packet of
    the one before is taken.

    Members
    -------
    program, inspect : In
        Write and read the fan-out memory while nothing is sent.
    coming, coming_base : In
        A sender arrives in the next cycle unless one waits here; its first entry.
    sender, base : In
        A sender is here, until it is taken; its first entry.
    count, payload, unary : In
        What it sends: so many packets for each entry if unary, else one.
    o : Out(stream)
        Spike packets.
    busy : Out
        Packets of an earlier sender are left: no sender can be taken.
    free : Out
        Nothing is left to send after this cycle.
    awake : Out
        Something is sent; the registers are not clocked otherwise.
    accessed : Out
        The fan-out memory is accessed.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        base = section_struct(spec, Section.NEURON).members["fanout_base"]
        self._sending = data.StructLayout(
            {"count": COUNT_BITS, "payload": signed(spec.core.payload_bits), "unary": 1}
        )
        self._order = data.StructLayout({"what": self._sending, "copy": COUNT_BITS, "following": base})
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "inspect": In(InspectSignature()),
                "coming": In(1),
                "coming_base": In(base),
                "sender": In(1),
                "base": In(base),
                **{name: In(shape) for name, shape in self._sending.members.items()},
                "o": Out(flit_stream(spec)),
                "busy": Out(1),
                "free": Out(1),
                "awake": Out(1),
                "accessed": Out(1),
            }
        )
        self._memory = section_memory(spec, Section.FANOUT)

    def elaborate(self, platform: object) -> Module:
        """Attach the fan-out memory; go on with the sender at work, or begin with the one that is here."""
        m = Module()
        m.submodules.memory = memory = self._memory
        join_sections(m, self.program, self.inspect, [memory])
        target = data.View(section_struct(self._spec, Section.FANOUT), memory.read.data)
        busy, kept = Signal(name="is_busy"), record(self._order, "kept")
        now = data.View(self._order, Signal(self._order.size, name="now"))
        active, final, done = Signal(name="active"), Signal(name="final"), Signal(name="done")
        m.d.comb += [
            active.eq(busy | self.sender),
            final.eq(~now.what.unary | (now.copy + 1 == now.what.count)),
            done.eq(self.o.ready & final & target.last),
            self.busy.eq(busy),
            self.free.eq(~active | done),
            self.awake.eq(active),
            self.accessed.eq(memory.accessed),
        ]
        self._begin_or_go_on(m, busy, kept, now)
        with m.If(active):
            m.d.sync += [busy.eq(~done), kept.eq(now)]
            with m.If(self.o.ready):
                m.d.sync += kept.copy.eq(Mux(final, 0, now.copy + 1))
                with m.If(final):
                    m.d.sync += kept.following.eq(now.following + 1)
        self._read(m, active, busy, now.following, ends=target.last, taken=self.o.ready & final)
        self._packet(m, active, target, now)
        return m

    def _begin_or_go_on(self, m: Module, busy: Signal, kept: data.View, now: data.View) -> None:
        """Choose what is sent in this cycle."""
        m.d.comb += [now.what[name].eq(getattr(self, name)) for name in self._sending.members]
        m.d.comb += [now.copy.eq(0), now.following.eq(self.base + 1)]
        with m.If(busy):
            m.d.comb += now.eq(kept)

    def _read(
        self, m: Module, active: Signal, busy: Signal, following: Signal, *, ends: Value, taken: Value
    ) -> None:
        """Read the next entry of this sender, or the first one of the next sender.

        The word of a memory comes late: as little as can be lies between its end and the next read.
        """
        read, waits, next_sends = self._memory.read, self.sender & busy, Signal(name="next_sends")
        m.d.comb += [
            next_sends.eq(waits | self.coming),
            read.enable.eq(Mux(active, taken & (~ends | next_sends), self.coming)),
            read.address.eq(Mux(waits, self.base, self.coming_base)),
        ]
        with m.If(active & ~ends):
            m.d.comb += read.address.eq(following)

    def _packet(self, m: Module, active: Signal, target: data.View, now: data.View) -> None:
        """One packet with its payload, or one for each crossed threshold."""
        flit = self.o.payload
        spike = data.View(spike_struct(self._spec), flit.data)
        with m.If(active):
            m.d.comb += [
                self.o.valid.eq(1),
                flit.kind.eq(Kind.SPIKE),
                *(getattr(flit, name).eq(getattr(target, name)) for name in RECTANGLE),
                spike.axon.eq(target.axon + now.copy),
                spike.payload.eq(now.what.payload),
            ]
