# SPDX-License-Identifier: Apache-2.0
"""Storage between two streams that share no combinational path."""

from contextlib import AbstractContextManager
from itertools import pairwise

from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from emu.spec import FIFO_DEPTH
from rtl.component import Component

__all__ = ["Fifo"]


class Fifo(Component):
    """Hold some words in order; both handshakes depend on registers only, and one word passes a cycle.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a word.
    depth : int
        Words held at most; two sustain one word a cycle.

    Members
    -------
    i : In(stream)
        Ready while fewer than ``depth`` words are held.
    o : Out(stream)
        Valid while at least one word is held; a word shows one cycle after it came.
    """

    def __init__(self, shape: ShapeLike, depth: int = FIFO_DEPTH) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})
        self._words = [Signal(shape, reset_less=True, name=f"word_{place}") for place in range(depth)]
        self._level = Signal(range(depth + 1), name="level")

    def elaborate(self, platform: object) -> Module:
        """Build a shift register: the head is always in the same place."""
        m = Module()
        words, level = self._words, self._level
        push, pop = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(level != len(words)),
            self.o.valid.eq(level != 0),
            self.o.payload.eq(words[0]),
        ]
        m.d.sync += level.eq(level + push - pop)
        with m.If(pop):
            m.d.sync += [word.eq(behind) for word, behind in pairwise(words)]
        with m.If(push):
            for place, word in enumerate(words):
                with self._where(m, place, level == pop + place):
                    m.d.sync += word.eq(self.i.payload)
        return m

    def _where(self, m: Module, place: int, lands: Value) -> AbstractContextManager[None]:
        """Return the branch of the place in which a word lands: the last one where no other is."""
        if place == 0:
            return m.If(lands)
        return m.Else() if place == len(self._words) - 1 else m.Elif(lands)
