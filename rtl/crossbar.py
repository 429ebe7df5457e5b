# SPDX-License-Identifier: Apache-2.0
"""The crossbar: ternary cells, and the lanes that add the events of a step into the sums of one block."""

from amaranth.hdl import Cat, EnableInserter, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import SHIFT_BITS, Section
from rtl.component import Component
from rtl.layouts import InspectSignature, ProgramSignature, section_struct
from rtl.memory import join_sections, section_memory

__all__ = ["Crossbar"]


class Crossbar(Component):
    """Add one word (``lanes`` cells) of one axon into the sums of a block every cycle, without bubbles.

    An event takes three cycles: its word of cells and its shift are read; its value, which shows then, is
    shifted; the lanes add.

    Members
    -------
    program, inspect : In
        Chunks of the cells and the shifts.
    extension, block : In
        Log2 of the axons of a row, and the block whose columns are added.
    begin : In
        All sums are zero from two cycles later on, before the first event is added.
    valid, event : In
        An axon is read in this cycle.
    value : In
        Its payload, one cycle later.
    over : In
        No further event follows.
    sum : Out
        The column sums.
    done : Out
        The last event is added in this cycle: one cycle after ``over``.
    operations : Out
        Non-zero cells hit, two cycles after the event was added.
    awake : Out
        The lanes have something to do; their registers are not clocked otherwise.
    accessed : Out
        A memory is accessed.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        core = spec.core
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "inspect": In(InspectSignature()),
                "extension": In(range(max(2, core.max_extension.bit_length()))),
                "block": In(range(max(2, core.words))),
                "begin": In(1),
                "valid": In(1),
                "event": In(range(core.extended_axons)),
                "value": In(signed(core.payload_bits)),
                "over": In(1),
                "sum": Out(signed(core.sum_bits)).array(core.lanes),
                "done": Out(1),
                "operations": Out(range(core.lanes + 1)),
                "awake": Out(1),
                "accessed": Out(1),
            }
        )
        self._cells = section_memory(spec, Section.CROSSBAR)
        self._memories = [self._cells]
        if core.axon_shifts:
            self._shifts = section_memory(spec, Section.SHIFT)
            self._memories.append(self._shifts)

    def elaborate(self, platform: object) -> Module:
        """Read, shift, add."""
        m = Module()
        core, cells = self._core, self._cells
        m.submodules.cells = cells
        join_sections(m, self.program, self.inspect, self._memories)
        m.d.comb += self.accessed.eq(Cat(memory.accessed for memory in self._memories).any())
        m.submodules.lanes = EnableInserter(self.awake)(lanes := Module())
        shown, adding = Signal(name="shown"), Signal(name="adding")
        row, done = Signal(2 * core.lanes, name="row", reset_less=True), Signal(name="is_done")
        value = self._shift(m, lanes, shown)
        lanes.d.sync += [shown.eq(self.valid), adding.eq(shown)]
        m.d.sync += done.eq(self.over)
        m.d.comb += [cells.read.enable.eq(self.valid), self.done.eq(done)]
        self._address(m)
        with lanes.If(shown):
            lanes.d.sync += row.eq(cells.read.data)
        counting = self._add(lanes, row, value, adding)
        m.d.comb += self.awake.eq(self.begin | self.valid | shown | adding | counting)
        return m

    def _address(self, m: Module) -> None:
        """Axon e and block b are word e (words / X) + b: with X axons a row, b has log2 X bits fewer."""
        bits, address = (self._core.words - 1).bit_length(), self._cells.read.address
        with m.Switch(self.extension):
            for extension in range(self._core.max_extension.bit_length()):
                with m.Case(extension):
                    m.d.comb += address.eq(Cat(self.block[: bits - extension], self.event))

    def _shift(self, m: Module, lanes: Module, shown: Signal) -> Signal:
        """Return the register with the value of the event, shifted by what its row says."""
        core = self._core
        if not core.axon_shifts:
            value = Signal(signed(core.payload_bits), name="shifted", reset_less=True)
            with lanes.If(shown):
                lanes.d.sync += value.eq(self.value)
            return value
        m.submodules.shifts = shifts = self._shifts
        layout = section_struct(self._spec, Section.SHIFT)
        word = data.View(layout, shifts.read.data)
        value = Signal(signed(core.payload_bits + (1 << SHIFT_BITS) - 1), name="shifted", reset_less=True)
        m.d.comb += [
            shifts.read.enable.eq(self.valid),
            shifts.read.address.eq(self.event >> self.extension if core.max_extension > 1 else self.event),
        ]
        with lanes.If(shown):
            lanes.d.sync += value.eq(self.value << word.shift)
        return value

    def _add(self, m: Module, row: Value, value: Signal, adding: Signal) -> Value:
        """Add plus or minus the value in every lane whose cell is not zero; a cell is (not zero, negative).

        A negative cell adds the complement and one, which comes in below the lowest bit. Return whether sums
        are about to be cleared or cells still being counted.
        """
        hits, clear = [], Signal(name="clear", reset_less=True)
        m.d.sync += clear.eq(self.begin)
        for lane, shown in enumerate(self.sum):
            total = Signal.like(shown, name=f"sum{lane}", reset_less=True)
            m.d.comb += shown.eq(total)
            hit, negative = row[2 * lane], row[2 * lane + 1]
            term = Cat(negative, value.as_unsigned() ^ negative.replicate(len(value))).as_signed()
            with m.If(clear):
                m.d.sync += total.eq(0)
            with m.Elif(adding & hit):
                m.d.sync += total.eq((Cat(negative, total).as_signed() + term) >> 1)
            hits.append(hit)
        return clear | self._count(m, hits, adding)

    def _count(self, m: Module, hits: list[Value], adding: Signal) -> Value:
        """Count the cells that were not zero, behind a register on either side; return whether it goes on."""
        hit, fresh, counted = (
            Signal(len(hits), reset_less=True),
            Signal(name="fresh"),
            Signal(name="counted", reset_less=True),
        )
        count = Signal.like(self.operations)
        totals: list[Value] = list(hit)
        while len(totals) > 1:
            totals = [a + b for a, b in zip(totals[::2], totals[1::2], strict=True)]
        with m.If(adding):
            m.d.sync += hit.eq(Cat(hits))
        with m.If(fresh):
            m.d.comb += count.eq(totals[0])
        m.d.sync += [fresh.eq(adding), counted.eq(fresh), self.operations.eq(count)]
        return fresh | counted
