# SPDX-License-Identifier: Apache-2.0
"""Control packets: the chunk pointer, writes into a core's sections, reads of them, and replies."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import CHUNK_BITS, KIND_BITS, SystemSpec
from emu.words import WRITABLE, Kind, Section, sections_of
from rtl.component import Component
from rtl.layouts import InspectSignature, ProgramSignature, pointer_struct

__all__ = ["Programmer", "Registers"]

_READS = 2
"""Groups of parts that answer a read."""


class Registers(Component):
    """Show the chunks of a section that is no memory.

    Members
    -------
    inspect : In
        Reads.
    register : In(16)
        What is at each chunk address.
    """

    def __init__(self, section: Section, count: int) -> None:
        self._section = section
        super().__init__({"inspect": In(InspectSignature()), "register": In(CHUNK_BITS).array(count)})

    def elaborate(self, platform: object) -> Module:
        """Register what is asked for, or zero."""
        m = Module()
        count, asked = len(self.register), self.inspect.address
        chunk = Signal(CHUNK_BITS, reset_less=True)
        m.d.comb += self.inspect.chunk.eq(chunk)
        inside = (self.inspect.section == self._section) & (asked < count)
        with m.If(self.inspect.enable):
            shown = Array(list(self.register))[asked[: bits_for(count)]]
            m.d.sync += chunk.eq(Mux(inside, shown, 0))
        return m


class Programmer(Component):
    """Turn control packets into program writes, and reads into a stream of chunks.

    A write takes effect in the cycle in which its packet comes. A reply takes a cycle to read, one to come
    here, and at least one to leave.

    Members
    -------
    arrive, kind, data : In
        A packet that is neither spike nor token comes in this cycle.
    accepting : In
        The core is paused and may be programmed.
    may_reply : In
        Nothing else wants the core's output.
    program : Out
        The write.
    inspect : Out
        The read, as given to two groups of parts; their chunks must show one cycle later, zero for a section
        that is not there. Each group's chunk is kept by itself: words of memories come late.
    reply
        Out stream, chunks for the gateway.
    reading : Out
        A read is under way.
    unknown, running, section : Out
        Errors of this cycle.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._readable = sections_of(spec)
        self._writable = [section for section in self._readable if section in WRITABLE]
        super().__init__(
            {
                "arrive": In(1),
                "kind": In(KIND_BITS),
                "data": In(CHUNK_BITS),
                "accepting": In(1),
                "may_reply": In(1),
                "program": Out(ProgramSignature()),
                "inspect": Out(InspectSignature()).array(_READS),
                "reply": Out(stream.Signature(CHUNK_BITS)),
                "reading": Out(1),
                "unknown": Out(1),
                "running": Out(1),
                "section": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Decode, point, and walk through the chunks of a read."""
        m = Module()
        pointer = Signal(2 * CHUNK_BITS, reset_less=True)
        left = Signal(CHUNK_BITS, reset_less=True, name="left")
        place = data.View(pointer_struct(), pointer)
        legal, known = Signal(), Signal()
        m.d.comb += [
            known.eq((self.kind >= Kind.POINTER_HIGH) & (self.kind <= Kind.READ)),
            self.unknown.eq(self.arrive & ~known),
            self.running.eq(self.arrive & known & (~self.accepting | self.reading)),
            legal.eq(self.arrive & known & self.accepting & ~self.reading),
            self.program.section.eq(place.section),
            self.program.address.eq(place.address),
            self.program.chunk.eq(self.data),
        ]
        for inspect in self.inspect:
            m.d.comb += [inspect.section.eq(place.section), inspect.address.eq(place.address)]
        writable = self.program.section.matches(*self._writable)
        readable = self.program.section.matches(*self._readable)
        with m.If(legal), m.Switch(self.kind):
            with m.Case(Kind.POINTER_HIGH):
                m.d.sync += pointer[CHUNK_BITS:].eq(self.data)
            with m.Case(Kind.POINTER_LOW):
                m.d.sync += pointer[:CHUNK_BITS].eq(self.data)
            with m.Case(Kind.WRITE):
                m.d.comb += [self.program.strobe.eq(writable), self.section.eq(~writable)]
                m.d.sync += pointer.eq(pointer + 1)
            with m.Case(Kind.READ):
                m.d.comb += self.section.eq(~readable)
                m.d.sync += left.eq(self.data)
        self._reply(m, begins=legal & (self.kind == Kind.READ) & (self.data != 0), last=left == 1)
        with m.If(self.reply.valid & self.reply.ready):
            m.d.sync += [left.eq(left - 1), pointer.eq(pointer + 1)]
        return m

    def _reply(self, m: Module, *, begins: Value, last: Value) -> None:
        """Ask for a chunk, keep it as it comes, offer it until it is taken; then the next."""
        chunks = [Signal(CHUNK_BITS, reset_less=True, name=f"chunk_{i}") for i in range(_READS)]
        m.d.comb += [self.reading.eq(1), self.reply.payload.eq(reduce(or_, chunks))]
        with m.FSM(name="reply_phase"):
            with m.State("IDLE"):
                m.d.comb += self.reading.eq(0)
                with m.If(begins):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [inspect.enable.eq(self.may_reply) for inspect in self.inspect]
                with m.If(self.may_reply):
                    m.next = "COME"
            with m.State("COME"):
                m.d.sync += [kept.eq(read.chunk) for kept, read in zip(chunks, self.inspect, strict=True)]
                m.next = "SHOW"
            with m.State("SHOW"):
                m.d.comb += self.reply.valid.eq(1)
                with m.If(self.reply.ready):
                    m.next = "ASK"
                    with m.If(last):
                        m.next = "IDLE"
