# SPDX-License-Identifier: Apache-2.0
"""The blocks of a core: which neurons the next one holds, and which word of a crossbar row."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from emu.spec import CoreSpec
from rtl.component import Component

__all__ = ["Blocks"]


class Blocks(Component):
    """Count the blocks of a step.

    Members
    -------
    neurons, blocks, per_block : In
        Control registers: n, B and m.
    rewind : In
        A step begins: the next block is the first.
    advance : In
        The walk over a block begins: the next block is the one after it.
    block, first, count : Out
        The next block: its index, its first neuron, how many neurons it has.
    none : Out
        There is no next block.
    """

    def __init__(self, core: CoreSpec) -> None:
        super().__init__(
            {
                "neurons": In(range(core.columns + 1)),
                "blocks": In(range(core.words + 1)),
                "per_block": In(range(core.lanes + 1)),
                "rewind": In(1),
                "advance": In(1),
                "block": Out(range(core.words + 1)),
                "first": Out(range(core.columns)),
                "count": Out(range(core.lanes + 1)),
                "none": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count neurons up and down."""
        m = Module()
        left = Signal.like(self.neurons, reset_less=True)
        block, first = Signal.like(self.block, reset_less=True), Signal.like(self.first, reset_less=True)
        m.d.comb += [
            self.block.eq(block),
            self.first.eq(first),
            self.count.eq(Mux(left > self.per_block, self.per_block, left)),
            self.none.eq(block == self.blocks),
        ]
        with m.If(self.rewind):
            m.d.sync += [left.eq(self.neurons), block.eq(0), first.eq(0)]
        with m.Elif(self.advance):
            m.d.sync += [left.eq(left - self.count), block.eq(block + 1), first.eq(first + self.per_block)]
        return m
