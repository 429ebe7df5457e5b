# SPDX-License-Identifier: Apache-2.0
"""The neuron datapath: one walk over the neurons of a core (rules 5 to 7 of `docs/reference/machine.md`)."""

from amaranth.hdl import Array, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from emu.spec import CHUNK_BITS, STRENGTH_BITS, SystemSpec
from emu.words import COUNT_BITS, Reset, Section, section_chunks
from rtl.component import Component
from rtl.emission import Emitter
from rtl.layouts import ProgramSignature, flit_stream, section_struct
from rtl.memory import ChunkMemory, ReadPort, section_memory, write_chunks

__all__ = ["Walk"]


def _register(shape: ShapeLike) -> Signal:
    """Return a register that the walk writes before it reads it: reset leaves it."""
    return Signal(shape, reset_less=True)


class Walk(Component):
    """Visit neurons 0 .. neurons - 1: drive, membrane, thresholds, reset, emission.

    A neuron takes strengths + thresholds + 3 cycles and one more for every packet and every cycle in which a
    packet is refused.

    Members
    -------
    program : In
        Writes into the neuron, threshold, fan-out and state memories.
    start : In
        Begin in the next cycle.
    done : Out
        This is the last cycle.
    neurons, strengths, strength : In
        Control registers: n, k, and the table of strengths.
    entry : In
        The schedule entry of this step.
    look, column, sum
        The crossbar's column sums, read one cycle ahead.
    o : Out(stream)
        Spike packets.
    inspect : In(ReadPort)
        Reads state words while the walk is idle.
    stored, neuron, state, count : Out
        A neuron is stored in this cycle: its index, its state word, and the thresholds it crossed.
    clipped : Out
        A value was clipped in this cycle.
    emitting : Out
        A packet is offered in this cycle.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        core = spec.core
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "start": In(1),
                "done": Out(1),
                "neurons": In(range(core.columns + 1)),
                "strengths": In(range(core.strengths + 1)),
                "strength": In(signed(STRENGTH_BITS)).array(core.strengths),
                "entry": In(section_struct(spec, Section.SCHEDULE)),
                "look": Out(1),
                "column": Out(range(core.columns)),
                "sum": In(signed(core.sum_bits)),
                "o": Out(flit_stream(spec)),
                "inspect": In(ReadPort(core.columns, CHUNK_BITS * section_chunks(spec, Section.STATE))),
                "stored": Out(1),
                "neuron": Out(range(core.columns)),
                "state": Out(section_struct(spec, Section.STATE)),
                "count": Out(COUNT_BITS),
                "clipped": Out(1),
                "emitting": Out(1),
            }
        )
        self._neurons = section_memory(spec, Section.NEURON)
        self._thresholds = section_memory(spec, Section.THRESHOLD)
        self._states = section_memory(spec, Section.STATE)
        self._emitter = Emitter(spec)

    def _attach(self, m: Module, memory: ChunkMemory, section: Section) -> data.View:
        """Attach a memory that is written through its section; return the word it shows."""
        layout = section_struct(self._spec, section)
        m.submodules[f"{section.name.lower()}_memory"] = memory
        write_chunks(m, memory, self.program, section)
        return data.View(layout, memory.read.data[: layout.size])

    def elaborate(self, platform: object) -> Module:
        """Attach memories and emitter; build the arithmetic and the walk's state machine."""
        m = Module()
        core, neurons = self._core, self._neurons
        word = self._attach(m, neurons, Section.NEURON)
        self._emission(m, word)
        fetch = Signal()
        before = self._state_memory(m, fetch)
        drive, v = _register(signed(core.drive_bits)), _register(signed(core.potential_bits))
        column, neuron = _register(range(core.columns)), _register(range(core.columns))
        m.d.comb += [self.neuron.eq(neuron), self.column.eq(column)]
        m.d.comb += [neurons.read.enable.eq(fetch), neurons.read.address.eq(self.neuron)]
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [neuron.eq(0), column.eq(0)]
                m.next = "FETCH"
            self._drive(m, fetch, column, drive)
            last = self._compare(m, word, before, drive, v)
            with m.State("STORE"):
                self._reset(m, word, v, last)
                m.d.comb += [self.stored.eq(1), self._emitter.look.eq(1)]
                with m.If((self.count != 0) & word.connected):
                    m.next = "EMIT"
                with m.Else():
                    self._advance(m, neuron)
            with m.State("EMIT"):
                m.d.comb += [self.emitting.eq(1), self._emitter.active.eq(1)]
                with m.If(self._emitter.done):
                    self._advance(m, neuron)
        return m

    def _drive(self, m: Module, fetch: Signal, column: Signal, drive: Signal) -> None:
        """Fetch the words of a neuron, then add one column sum times its strength a cycle (rule 6)."""
        at = _register(range(self._core.strengths))
        with m.State("FETCH"):
            m.d.comb += [fetch.eq(1), self.look.eq(1)]
            m.d.sync += [column.eq(column + 1), at.eq(0), drive.eq(0)]
            m.next = "DRIVE"
        with m.State("DRIVE"):
            m.d.sync += [drive.eq(drive + self.sum * Array(self.strength)[at]), at.eq(at + 1)]
            with m.If(at + 1 == self.strengths):
                m.next = "MEMBRANE"
            with m.Else():
                m.d.comb += self.look.eq(1)
                m.d.sync += column.eq(column + 1)

    def _compare(self, m: Module, word: data.View, before: data.View, drive: Signal, v: Signal) -> Signal:
        """Compute V, then compare it with one threshold a cycle (rule 7); return the last one crossed."""
        thresholds = self._thresholds
        theta = self._attach(m, thresholds, Section.THRESHOLD)
        last = _register(signed(self._core.threshold_bits))
        threshold = Signal.like(thresholds.read.address, reset_less=True)
        index, count = _register(COUNT_BITS), _register(COUNT_BITS)
        m.d.comb += self.count.eq(count)
        with m.State("MEMBRANE"):
            self._membrane(m, word, before, drive, v)
            m.d.comb += thresholds.read.enable.eq(1)
            m.d.comb += thresholds.read.address.eq(word.threshold_base + self.entry.threshold_first)
            m.d.sync += [index.eq(0), count.eq(0), threshold.eq(thresholds.read.address + 1)]
            m.next = "STORE"
            with m.If(self.entry.fire & (self.entry.threshold_count != 0)):
                m.next = "COMPARE"
        with m.State("COMPARE"):
            m.d.comb += [thresholds.read.enable.eq(1), thresholds.read.address.eq(threshold)]
            m.d.sync += [index.eq(index + 1), threshold.eq(threshold + 1)]
            with m.If(v >= theta.threshold):
                m.d.sync += [count.eq(count + 1), last.eq(theta.threshold)]
            with m.If(index + 1 == self.entry.threshold_count):
                m.next = "STORE"
        return last

    def _emission(self, m: Module, word: data.View) -> None:
        """Tell the emitter of the neuron that the walk is at."""
        m.submodules.emitter = emitter = self._emitter
        wiring.connect(m, wiring.flipped(self.program), emitter.program)
        wiring.connect(m, wiring.flipped(self.o), emitter.o)
        m.d.comb += [
            emitter.base.eq(word.fanout_base),
            emitter.count.eq(self.count),
            emitter.count_emission.eq(word.count_emission),
        ]

    def _state_memory(self, m: Module, fetch: Signal) -> data.View:
        """Return the word read; state is written and read by the walk, and by packets while it is idle."""
        memory = self._states
        word = self._attach(m, memory, Section.STATE)
        m.d.comb += [
            memory.store.enable.eq(self.stored),
            memory.store.address.eq(self.neuron),
            memory.store.data.eq(self.state.as_value()),
            memory.read.enable.eq(fetch | self.inspect.enable),
            memory.read.address.eq(Mux(fetch, self.neuron, self.inspect.address)),
            self.inspect.data.eq(memory.read.data),
        ]
        return word

    def _membrane(self, m: Module, word: data.View, before: data.View, drive: Signal, v: Signal) -> None:
        """Apply rule 6: base, drive and bias, saturated."""
        core = self._core
        base, total = (
            Signal(signed(core.potential_bits)),
            Signal(signed(max(core.drive_bits, core.potential_bits) + 2)),
        )
        with m.If(self.entry.init):
            m.d.comb += base.eq(word.v0)
        with m.Elif(word.reset != Reset.CLEAR):
            m.d.comb += base.eq(before.potential)
        m.d.comb += total.eq(base)
        with m.If(self.entry.update):
            m.d.comb += total.eq(base + word.bias + drive)
        m.d.sync += v.eq(self._saturate(m, total))

    def _saturate(self, m: Module, total: Value) -> Value:
        """Clip to the range of a potential and report it."""
        core = self._core
        clipped = Signal(signed(core.potential_bits))
        m.d.comb += clipped.eq(total)
        with m.If(total > core.potential_max):
            m.d.comb += [clipped.eq(core.potential_max), self.clipped.eq(1)]
        with m.Elif(total < core.potential_min):
            m.d.comb += [clipped.eq(core.potential_min), self.clipped.eq(1)]
        return clipped

    def _reset(self, m: Module, word: data.View, v: Signal, last: Signal) -> None:
        """Apply rule 7: what a neuron that fired keeps."""
        m.d.comb += self.state.potential.eq(v)
        with m.If((self.count != 0) & (word.reset == Reset.ZERO)):
            m.d.comb += self.state.potential.eq(0)
        with m.Elif((self.count != 0) & (word.reset == Reset.SUBTRACT)):
            m.d.comb += self.state.potential.eq(self._saturate(m, v - last))

    def _advance(self, m: Module, neuron: Signal) -> None:
        """Go to the next neuron, or finish."""
        m.next = "FETCH"
        m.d.sync += neuron.eq(neuron + 1)
        with m.If(neuron + 1 == self.neurons):
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"
