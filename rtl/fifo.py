# SPDX-License-Identifier: Apache-2.0
"""Storage between two streams that share no combinational path."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from rtl.component import Component

__all__ = ["Fifo"]


class Fifo(Component):
    """Hold two words in order; both handshakes depend on registers only, and one word passes a cycle.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a word.

    Members
    -------
    i : In(stream)
        Ready while fewer than two words are held.
    o : Out(stream)
        Valid while at least one word is held; a word shows one cycle after it came.
    """

    def __init__(self, shape: ShapeLike) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})
        self._second = Signal(shape, reset_less=True, name="second")
        self._level = Signal(2, name="level")

    def elaborate(self, platform: object) -> Module:
        """Build a shift register of two words: the head is always in the same place."""
        m = Module()
        second, level = self._second, self._level
        head = Signal(self._shape, reset_less=True)
        push, pop = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [self.i.ready.eq(level != 2), self.o.valid.eq(level != 0), self.o.payload.eq(head)]
        m.d.sync += level.eq(level + push - pop)
        with m.If(pop):
            m.d.sync += head.eq(second)
        with m.If(push):
            with m.If(level == pop):
                m.d.sync += head.eq(self.i.payload)
            with m.Else():
                m.d.sync += second.eq(self.i.payload)
        return m
