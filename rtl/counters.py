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
    A chunk that is read takes pre-counter and sum on the way into account. Until the sweep has gone round
    once after the counters were cleared, words that it did not reach read as zero. Reset leaves the counters:
    the host clears them when it loads a program, and that sets the sweep going.

    Members
    -------
    meter : In(MeterSignature)
        Increments of this cycle.
    clear : In
        All counters return to zero.
    inspect : In
        A chunk is read: it tells what was counted up to the cycle of ``inspect.enable``, that cycle included.
        Asked for in every third cycle at most.
    awake : Out
        The sweep reads a word, or adds to it and writes it: low if nothing was counted for the word.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._increments = meter_bits(spec)
        super().__init__(
            {
                "meter": In(MeterSignature(spec)),
                "clear": In(1),
                "inspect": In(InspectSignature()),
                "awake": Out(1),
            }
        )
        self._words = DualPort(depth=len(self._increments), bits=COUNTER_BITS)
        self._phase = Signal(2, name="phase", reset_less=True)
        self._slot = Signal(range(len(self._increments)), name="slot", reset_less=True)
        self._around = Signal(name="around", reset_less=True)

    def elaborate(self, platform: object) -> Module:
        """Sweep, and let a read come between."""
        m = Module()
        m.submodules.words = words = self._words
        phase, slot, ask = self._phase, self._slot, Signal()
        place, few = Signal.like(slot), Signal(self._width("spikes"), reset_less=True)
        total, known = Signal(COUNTER_BITS, reset_less=True), Signal(reset_less=True)
        fresh, adds = Signal(name="fresh", reset_less=True), Signal(name="adds", reset_less=True)
        m.d.comb += [
            ask.eq(self.inspect.enable & (self.inspect.section == Section.COUNTER)),
            place.eq(Mux(ask, self.inspect.address[2:], slot)),
            words.read.enable.eq(ask | (phase == _READ)),
            words.read.address.eq(place),
            self.awake.eq((phase == _READ) | Mux(phase == _ADD, ~known | (few != 0), adds)),
            words.write.enable.eq((phase == _WRITE) & self.awake & ~self.clear),
            words.write.address.eq(slot),
            words.write.data.eq(total),
        ]
        counted = self._count(m, place, ~ask)
        with m.If(words.read.enable):
            m.d.sync += [few.eq(counted), known.eq(self._around | (place < slot))]
        m.d.sync += fresh.eq(ask & (phase != _READ) & self.awake & (place == slot))
        count = Mux(fresh, total, Mux(known, words.read.data, 0)) + few
        with m.If(phase == _ADD):
            m.d.sync += adds.eq(self.awake)
            with m.If(self.awake):
                m.d.sync += total.eq(count)
        self._answer(m, count, ask)
        self._sweep(m, ask)
        return m

    def _sweep(self, m: Module, ask: Signal) -> None:
        """Read a word, add, write, and go on to the next."""
        phase, slot = self._phase, self._slot
        with m.Switch(phase):
            with m.Case(_READ), m.If(~ask):
                m.d.sync += phase.eq(_ADD)
            with m.Case(_ADD):
                m.d.sync += phase.eq(_WRITE)
            with m.Case(_WRITE):
                m.d.sync += [phase.eq(_READ), slot.eq(slot + 1)]
                with m.If(slot == len(self._increments) - 1):
                    m.d.sync += [slot.eq(0), self._around.eq(1)]
        with m.If(self.clear):
            m.d.sync += [phase.eq(_READ), slot.eq(0), self._around.eq(0)]

    def _answer(self, m: Module, count: Value, ask: Signal) -> None:
        """Show the chunk that was asked for."""
        mine, part = Signal(name="mine", reset_less=True), Signal(2, reset_less=True)
        m.d.sync += [mine.eq(ask), part.eq(self.inspect.address)]
        with m.If(mine):
            chunks = [count[at : at + CHUNK_BITS] for at in range(0, COUNTER_BITS, CHUNK_BITS)]
            m.d.comb += self.inspect.chunk.eq(Array([*chunks, Const(0)])[part])

    def _width(self, name: str) -> int:
        """Return the width of a pre-counter: what comes in between two visits of the sweep."""
        return self._increments[name] + SWEEP.bit_length()

    def _count(self, m: Module, place: Signal, sweep: Value) -> Value:
        """Count in every cycle; return what was counted at a place, which begins anew for the sweep."""
        counted = []
        for index, name in enumerate(self._increments):
            counter = Signal(self._width(name), name=f"few_{name}", reset_less=True)
            more = Signal.like(counter, name=f"more_{name}")
            m.d.comb += more.eq(counter + getattr(self.meter, name))
            m.d.sync += counter.eq(more)
            taken = (self._phase == _READ) & sweep & (place == index)
            with m.If(taken | self.clear):
                m.d.sync += counter.eq(0)
            counted.append(more)
        return Array(counted)[place]


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
