# SPDX-License-Identifier: Apache-2.0
"""The counters of a core and its router, and the sticky error registers."""

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib.wiring import In, Out

from emu.spec import CHUNK_BITS, COUNTER_BITS, SystemSpec
from emu.words import COUNTERS
from rtl.component import Component
from rtl.layouts import MeterSignature

__all__ = ["CounterFile", "StickyCause"]


class CounterFile(Component):
    """Count events in 48 bits each; read by chunk (four addresses, the last reads zero), clear together.

    Reset leaves them: the host clears them when it loads a program.

    Members
    -------
    meter : In(MeterSignature)
        Increments of this cycle.
    clear : In
        All counters return to zero.
    address : In
        Chunk address; ``chunk`` shows it one cycle later.
    """

    def __init__(self, spec: SystemSpec) -> None:
        super().__init__(
            {
                "meter": In(MeterSignature(spec)),
                "clear": In(1),
                "address": In(range(4 * len(COUNTERS))),
                "chunk": Out(CHUNK_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build one register per counter and a registered read multiplexer."""
        m = Module()
        chunks = []
        for name in COUNTERS:
            counter = Signal(COUNTER_BITS, name=name, reset_less=True)
            m.d.sync += counter.eq(counter + getattr(self.meter, name))
            with m.If(self.clear):
                m.d.sync += counter.eq(0)
            chunks += [counter.word_select(i, CHUNK_BITS) for i in range(3)] + [Const(0, CHUNK_BITS)]
        chunk = Signal(CHUNK_BITS, reset_less=True)
        m.d.sync += chunk.eq(Array(chunks)[self.address])
        m.d.comb += self.chunk.eq(chunk)
        return m


class StickyCause(Component):
    """Keep the first error cause until cleared; reset leaves it.

    Members
    -------
    strobe, cause : In
        An error of this cycle.
    clear : In
        Forget it.
    first : Out
        The first cause, 0 if none.
    """

    def __init__(self) -> None:
        super().__init__({"strobe": In(1), "cause": In(3), "clear": In(1), "first": Out(3)})

    def elaborate(self, platform: object) -> Module:
        """Build a register that is written once."""
        m = Module()
        first = Signal.like(self.first, reset_less=True)
        m.d.comb += self.first.eq(first)
        with m.If(self.clear):
            m.d.sync += first.eq(0)
        with m.Elif(self.strobe & (first == 0)):
            m.d.sync += first.eq(self.cause)
        return m
