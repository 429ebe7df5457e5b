# SPDX-License-Identifier: Apache-2.0
"""The crossbar: ternary cells, the column sums of a step, and the lanes that add rows into them."""

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec, bits_for
from emu.words import Section
from rtl.component import Component
from rtl.layouts import ProgramSignature
from rtl.memory import Memory, section_memory, write_chunks

__all__ = ["Crossbar"]


class Crossbar(Component):
    """Add one word (``lanes`` cells) of one row into the column sums every cycle, without bubbles.

    A word issued in one cycle is accumulated in the next, when its event's value shows. A sum that was not
    touched in this step reads as zero, so clearing all sums takes no cycle.

    Members
    -------
    program : In
        Writes into the cells.
    clear : In
        All sums become zero.
    issue, row, word : In
        A word of a row is read in this cycle.
    value : In
        The event's payload, one cycle after ``issue``.
    operations : Out
        Non-zero cells hit in this cycle.
    look, column : In
        The sum of a column is read; not together with ``issue``.
    sum : Out
        That sum, one cycle later.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._core = core = spec.core
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "clear": In(1),
                "issue": In(1),
                "row": In(range(core.axons)),
                "word": In(range(max(2, core.words))),
                "value": In(signed(core.payload_bits)),
                "operations": Out(range(core.lanes + 1)),
                "look": In(1),
                "column": In(range(core.columns)),
                "sum": Out(signed(core.sum_bits)),
            }
        )
        self._cells = section_memory(spec, Section.CROSSBAR)
        self._sums = Memory(depth=core.words, bits=core.lanes * core.sum_bits, transparent=True)

    def elaborate(self, platform: object) -> Module:
        """Read cells and sums together, add, write back."""
        m = Module()
        core, lane_bits = self._core, bits_for(self._core.lanes)
        m.submodules.cells = cells = self._cells
        m.submodules.sums = sums = self._sums
        touched, busy = Signal(core.words, reset_less=True), Signal(reset_less=True)
        word, lane = Signal.like(self.word, reset_less=True), Signal(lane_bits, reset_less=True)
        looked = Signal.like(self.word)
        write_chunks(m, cells, self.program, Section.CROSSBAR)
        m.d.comb += [
            cells.read.enable.eq(self.issue),
            cells.read.address.eq(self.row * core.words + self.word),
            sums.read[0].enable.eq(self.issue | self.look),
            looked.eq(self.column[lane_bits:]),
        ]
        with m.If(self.issue):
            m.d.comb += sums.read[0].address.eq(self.word)
        with m.Else():
            m.d.comb += sums.read[0].address.eq(looked)
        m.d.sync += busy.eq(self.issue)
        with m.If(self.issue | self.look):
            m.d.sync += [word.eq(sums.read[0].address), lane.eq(self.column)]
        known = Signal()
        m.d.comb += known.eq(touched.bit_select(word, 1))
        old = [Signal(signed(core.sum_bits), name=f"old{i}") for i in range(core.lanes)]
        for i, signal in enumerate(old):
            with m.If(known):
                m.d.comb += signal.eq(sums.read[0].data[i * core.sum_bits : (i + 1) * core.sum_bits])
        self._accumulate(m, cells.read.data, old=old, word=word, busy=busy)
        with m.If(self.clear):
            m.d.sync += touched.eq(0)
        with m.Elif(busy):
            m.d.sync += touched.eq(touched | (Const(1, core.words) << word))
        m.d.comb += self.sum.eq(Array(old)[lane])
        return m

    def _accumulate(self, m: Module, row: Value, *, old: list[Signal], word: Signal, busy: Signal) -> None:
        """Add plus or minus the value, or nothing, in every lane; a cell is (not zero, negative)."""
        core, sums, new, hits = self._core, self._sums, [], []
        for i, before in enumerate(old):
            hit, negative = row[2 * i], row[2 * i + 1]
            after = Signal(signed(core.sum_bits), name=f"new{i}")
            m.d.comb += after.eq(before)
            with m.If(hit & negative):
                m.d.comb += after.eq(before - self.value)
            with m.Elif(hit):
                m.d.comb += after.eq(before + self.value)
            new.append(after)
            hits.append(hit)
        while len(hits) > 1:
            hits = [a + b for a, b in zip(hits[::2], hits[1::2], strict=True)]
        m.d.comb += [sums.write.enable.eq(busy), sums.write.address.eq(word), sums.write.data.eq(Cat(new))]
        with m.If(busy):
            m.d.comb += self.operations.eq(hits[0])
