# SPDX-License-Identifier: Apache-2.0
"""The counters of a core and its router, and the sticky error registers."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from emu.spec import CHUNK_BITS, COUNTER_BITS, SystemSpec
from emu.words import COUNTERS, Section
from rtl.component import Component
from rtl.layouts import InspectSignature, MeterSignature, meter_bits
from rtl.memory import DualPort

__all__ = ["SWEEP", "CounterFile", "StickyCause"]

SWEEP = 4 * len(COUNTERS)
"""Most cycles between two visits to a pre-counter."""

_READ, _ADD, _WRITE = range(3)


class CounterFile(Component):
    """48-bit counters in one memory, read as chunks (four addresses each, the last reads zero).

    Small pre-counters count; a sweep goes round them, three cycles each, and adds what each has to its word.
    A chunk that is read takes pre-counter and sum on the way into account. A word that was not written since
    the counters were cleared reads as zero. Reset leaves the counters: the host clears them when it loads a
    program, and that sets the sweep going.

    Members
    -------
    meter : In(MeterSignature), increments of this cycle.
    clear : In, all counters return to zero.
    inspect : In, a chunk is read: it tells what was counted up to the cycle of ``inspect.enable``. Asked for
        in every third cycle at most.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._increments = meter_bits(spec)
        super().__init__(
            {"meter": In(MeterSignature(spec)), "clear": In(1), "inspect": In(InspectSignature())}
        )
        self._words = DualPort(depth=len(COUNTERS), bits=COUNTER_BITS)

    def elaborate(self, platform: object) -> Module:
        """Sweep, and let a read come between."""
        m = Module()
        m.submodules.words = words = self._words
        slot, phase = Signal(range(len(COUNTERS)), reset_less=True), Signal(2, reset_less=True)
        total, written = Signal(COUNTER_BITS, reset_less=True), Signal(len(COUNTERS), reset_less=True)
        ask, mine, place = Signal(), Signal(), Signal.like(slot)
        asked, flying = self._ask(m, ask, mine, slot, phase)
        counted = Array(self._count(m, slot, phase == _ADD))
        known = Mux(written.bit_select(place, 1), words.read.data, 0)
        count = Mux(flying, total, known) + counted[place]
        m.d.comb += [
            place.eq(Mux(mine, asked, slot)),
            words.read.enable.eq(ask | (phase == _READ)),
            words.read.address.eq(Mux(ask, self.inspect.address[2:], slot)),
            words.write.enable.eq((phase == _WRITE) & ~self.clear),
            words.write.address.eq(slot),
            words.write.data.eq(total),
        ]
        self._answer(m, count, mine)
        with m.Switch(phase):
            with m.Case(_READ), m.If(~ask):
                m.d.sync += phase.eq(_ADD)
            with m.Case(_ADD):
                m.d.sync += [total.eq(count), phase.eq(_WRITE)]
            with m.Case(_WRITE):
                m.d.sync += [phase.eq(_READ), written.eq(written | (Const(1) << slot))]
                m.d.sync += slot.eq(Mux(slot == len(COUNTERS) - 1, 0, slot + 1))
        with m.If(self.clear):
            m.d.sync += [phase.eq(_READ), slot.eq(0), written.eq(0)]
        return m

    def _ask(
        self, m: Module, ask: Signal, mine: Signal, slot: Signal, phase: Signal
    ) -> tuple[Signal, Signal]:
        """Begin to read: return which counter is asked for, and whether ``total`` is newer than its word."""
        asked, flying = Signal.like(slot, reset_less=True), Signal()
        m.d.comb += ask.eq(self.inspect.enable & (self.inspect.section == Section.COUNTER))
        m.d.sync += [mine.eq(ask), flying.eq(0)]
        with m.If(ask):
            m.d.sync += asked.eq(self.inspect.address[2:])
            m.d.sync += flying.eq((phase != _READ) & (slot == self.inspect.address[2 : 2 + len(slot)]))
        return asked, flying

    def _answer(self, m: Module, count: Value, mine: Signal) -> None:
        """Show the chunk asked for."""
        part = Signal(2, reset_less=True)
        m.d.sync += part.eq(self.inspect.address)
        with m.If(mine):
            chunks = [count[at : at + CHUNK_BITS] for at in range(0, COUNTER_BITS, CHUNK_BITS)]
            m.d.comb += self.inspect.chunk.eq(Array([*chunks, Const(0)])[part])

    def _count(self, m: Module, slot: Signal, sweep: Value) -> list[Signal]:
        """Count in every cycle; give what was counted to the sweep when it comes by."""
        counters = []
        for index, (name, bits) in enumerate(self._increments.items()):
            counter = Signal(bits + SWEEP.bit_length(), name=f"few_{name}", reset_less=True)
            kept = Mux(sweep & (slot == index), 0, counter)
            m.d.sync += counter.eq(kept + getattr(self.meter, name))
            with m.If(self.clear):
                m.d.sync += counter.eq(0)
            counters.append(counter)
        return counters


class StickyCause(Component):
    """Keep the first error cause until cleared; reset leaves it.

    Members
    -------
    strobe, cause : In, an error of this cycle.
    clear : In, forget it.
    first : Out, the first cause, 0 if none.
    """

    def __init__(self) -> None:
        super().__init__({"strobe": In(1), "cause": In(3), "clear": In(1), "first": Out(3)})

    def elaborate(self, platform: object) -> Module:
        """A register that is written once."""
        m = Module()
        first = Signal.like(self.first, reset_less=True)
        m.d.comb += self.first.eq(first)
        with m.If(self.clear):
            m.d.sync += first.eq(0)
        with m.Elif(self.strobe & (first == 0)):
            m.d.sync += first.eq(self.cause)
        return m
