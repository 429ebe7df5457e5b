# SPDX-License-Identifier: Apache-2.0
"""Control packets: the chunk pointer, writes into a core's memories, and replies."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from emu.spec import CHUNK_BITS
from emu.words import KIND_BITS, READABLE, Kind, Section
from rtl.component import Component
from rtl.layouts import ProgramSignature, pointer_struct

__all__ = ["Programmer"]


class Programmer(Component):
    """Turn control packets into program writes, and reads into a stream of chunks.

    A write takes effect in the cycle in which its packet comes; a reply takes one cycle to read and at least
    one to leave.

    Members
    -------
    arrive, kind, data : In
        A packet that is neither spike nor token arrives in this cycle.
    accepting : In
        The core is paused and may be programmed.
    may_reply : In
        Nothing else uses the core's output.
    program : Out
        The write.
    fetch : Out
        The chunk at ``program.section``, ``program.address`` is to be read; it must show on ``chunk`` one
        cycle later.
    chunk : In
        The chunk read.
    reply : Out(stream)
        Chunks for the gateway.
    reading : Out
        A read is under way.
    unknown, running, section : Out
        Errors of this cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "arrive": In(1),
                "kind": In(KIND_BITS),
                "data": In(CHUNK_BITS),
                "accepting": In(1),
                "may_reply": In(1),
                "program": Out(ProgramSignature()),
                "fetch": Out(1),
                "chunk": In(CHUNK_BITS),
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
        left = Signal(CHUNK_BITS, name="left")
        shown = Signal(name="shown")
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
            self.reading.eq(left != 0),
            self.reply.payload.eq(self.chunk),
            self.reply.valid.eq(shown),
            self.fetch.eq(self.reading & self.may_reply & ~shown),
        ]
        writable, readable = self.program.section.matches(*Section), self.program.section.matches(*READABLE)
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
        with m.If(self.fetch):
            m.d.sync += shown.eq(1)
        with m.If(shown & self.reply.ready):
            m.d.sync += [shown.eq(0), left.eq(left - 1), pointer.eq(pointer + 1)]
        return m
