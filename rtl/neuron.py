# SPDX-License-Identifier: Apache-2.0
"""The walk over the neurons of a block (rules 5 to 8 of `docs/reference/machine.md`)."""

from amaranth.hdl import Cat, EnableInserter, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import STRENGTH_BITS, SystemSpec
from emu.words import COUNT_BITS, CROSSED_BITS, Section
from rtl.component import Component
from rtl.drive import Drive
from rtl.emission import Emitter
from rtl.fetch import Fetch
from rtl.firing import Firing
from rtl.issue import Issue
from rtl.layouts import InspectSignature, ProgramSignature, flit_stream, section_struct
from rtl.membrane import Membrane
from rtl.memory import join_sections, section_memory
from rtl.quantiser import Quantiser
from rtl.visit import register

__all__ = ["Walk"]

_MEMORIES = (Section.NEURON, Section.PROFILE, Section.THRESHOLD, Section.STATE)


class Walk(Component):
    """A rigid pipeline that visits the neurons of a block, one in every II cycles.

    All its stages stand still while a sender meets a busy emitter (`docs/reference/cycles.md`), and each of
    them while it has nothing to do.

    Members
    -------
    program : In
        Writes into the neuron, profile, threshold, fan-out and state memories.
    inspect : In
        Reads these memories while the walk is idle.
    start : In
        The last cycle before the walk over a block.
    first, count : In
        The block's first neuron and how many it has, at least one; valid with ``start``.
    strengths, strength, ladder : In
        Control registers: k, the table of strengths, compare with ladders.
    entry : In
        The schedule entry of this step.
    sums : In
        The column sums of the block, from the cycle after ``start`` to ``done``.
    begun : Out
        The first cycle of the walk over the block.
    done : Out
        The last cycle of the walk over the block.
    o : Out(stream)
        Spike packets.
    stalled : Out
        A packet is refused in this cycle.
    stored, neuron, state, crossed : Out
        A neuron is stored in this cycle, and what was found.
    spikes, clipped, compared, visited : Out
        What the counters of this cycle grow by.
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
                "start": In(1),
                "first": In(range(core.columns)),
                "count": In(range(core.lanes + 1)),
                "strengths": In(range(core.strengths + 1)),
                "strength": In(signed(STRENGTH_BITS)).array(core.strengths),
                "ladder": In(1),
                "entry": In(section_struct(spec, Section.SCHEDULE)),
                "sums": In(signed(core.sum_bits)).array(core.lanes),
                "begun": Out(1),
                "done": Out(1),
                "o": Out(flit_stream(spec)),
                "stalled": Out(1),
                "stored": Out(1),
                "neuron": Out(bits_for(core.columns)),
                "state": Out(section_struct(spec, Section.STATE)),
                "crossed": Out(signed(CROSSED_BITS)),
                "spikes": Out(range((1 << COUNT_BITS) + 1)),
                "clipped": Out(2),
                "compared": Out(COUNT_BITS + 1),
                "visited": Out(1),
                "accessed": Out(1),
            }
        )
        self._memories = {s: section_memory(spec, s, dual=s == Section.STATE) for s in _MEMORIES}
        self._issue, self._drive, self._fetch = Issue(spec), Drive(spec), Fetch(spec)
        self._membrane, self._quantiser, self._firing = Membrane(spec), Quantiser(spec), Firing(spec)
        self._emitter = Emitter(spec)

    def elaborate(self, platform: object) -> Module:
        """Attach the stages, which stand still together, and the emitter, which never does."""
        m = Module()
        moves = Signal(name="moves")
        for name in ("issue", "drive", "fetch", "membrane", "quantiser", "firing"):
            stage = getattr(self, f"_{name}")
            m.submodules[name] = EnableInserter(moves & stage.awake)(stage)
        m.submodules.emitter = self._emitter
        m.d.comb += moves.eq(~(self._firing.ready & self._firing.sender & self._emitter.busy))
        parts = [*self._memories.values(), self._emitter]
        join_sections(m, self.program, self.inspect, parts)
        m.d.comb += self.accessed.eq(Cat(part.accessed for part in parts).any())
        self._enter(m)
        self._read(m, moves)
        self._flow(m)
        self._emit(m)
        self._finish(m, moves)
        return m

    def _attach(self, m: Module, section: Section, enable: Value, address: Value) -> data.View:
        """Attach a memory that the stages read; return the word it shows."""
        memory = self._memories[section]
        m.submodules[f"{section.name.lower()}_memory"] = memory
        m.d.comb += [memory.read.enable.eq(enable), memory.read.address.eq(address)]
        return data.View(section_struct(self._spec, section), memory.read.data)

    def _enter(self, m: Module) -> None:
        """Issue the neurons, and their columns to the drive."""
        issue, drive = self._issue, self._drive
        for name in ("start", "first", "count", "strengths", "ladder", "entry"):
            m.d.comb += getattr(issue, name).eq(getattr(self, name))
        for name in ("begins", "ends", "live", "lane", "digit"):
            m.d.comb += getattr(drive, name).eq(getattr(issue, name))
        m.d.comb += drive.integrates.eq(self.entry.integrate)
        m.d.comb += [mine.eq(given) for mine, given in zip(drive.sums, self.sums, strict=True)]
        m.d.comb += [mine.eq(given) for mine, given in zip(drive.strength, self.strength, strict=True)]

    def _read(self, m: Module, moves: Signal) -> None:
        """Let the stages read their memories."""
        issue, fetch, quantiser = self._issue, self._fetch, self._quantiser
        asks = moves & issue.begins
        word = self._attach(m, Section.NEURON, asks, issue.neuron)
        state = self._attach(m, Section.STATE, asks, issue.neuron)
        profile = self._attach(m, Section.PROFILE, moves & fetch.read_enable, fetch.read_address)
        thresholds = self._attach(m, Section.THRESHOLD, moves & quantiser.read_enable, quantiser.read_address)
        m.d.comb += [
            fetch.begins.eq(issue.begins),
            fetch.word.eq(word),
            fetch.state.eq(state),
            self._membrane.profile.eq(profile),
            quantiser.read_data.eq(thresholds),
        ]

    def _flow(self, m: Module) -> None:
        """Connect each stage to the next."""
        fetch, membrane, quantiser, firing = self._fetch, self._membrane, self._quantiser, self._firing
        m.d.comb += [
            *(getattr(membrane, name).eq(self.entry[name]) for name in ("init", "update", "fire")),
            membrane.word.eq(fetch.its_word),
            membrane.state.eq(fetch.its_state),
            membrane.fetched.eq(fetch.fetched),
            membrane.ready.eq(self._drive.whole),
            membrane.drive.eq(self._drive.drive),
            quantiser.ask.eq(self._drive.whole),
            quantiser.silent.eq(membrane.silent),
            quantiser.base.eq(membrane.threshold_base),
            quantiser.visit.eq(membrane.visit),
            quantiser.entry.eq(self.entry),
            quantiser.ladder.eq(self.ladder),
            firing.entry.eq(self.entry),
            *(
                getattr(firing, name).eq(getattr(quantiser, name))
                for name in ("valid", "found", "crossed", "left")
            ),
        ]

    def _emit(self, m: Module) -> None:
        """Give senders to the emitter."""
        firing, emitter = self._firing, self._emitter
        wiring.connect(m, wiring.flipped(self.o), emitter.o)
        m.d.comb += [
            emitter.coming.eq(firing.sends),
            emitter.coming_base.eq(firing.found.fanout_base),
            emitter.sender.eq(firing.ready & firing.sender),
            emitter.base.eq(firing.visit.fanout_base),
            *(getattr(emitter, name).eq(getattr(firing, name)) for name in ("count", "payload", "unary")),
            self.stalled.eq(self.o.valid & ~self.o.ready),
        ]

    def _finish(self, m: Module, moves: Signal) -> None:
        """Store the neuron that is at the emitter, count it, and see the end of the walk."""
        firing, visit, states = self._firing, self._firing.visit, self._memories[Section.STATE]
        neuron, left = register(len(self.neuron), "leaving"), register(len(self.count), "left")
        over, last, begun = register(1, "over"), Signal(name="last"), register(1, "has_begun")
        m.d.sync += begun.eq(self.start)
        listed = ~self.ladder if self._core.ladder else 1
        compared = Mux(listed, self.entry.threshold_count, 1)
        m.d.comb += [
            self.begun.eq(begun),
            self.stored.eq(firing.ready & moves),
            self.visited.eq(self.stored),
            self.neuron.eq(neuron),
            self.crossed.eq(firing.count),
            *(self.state[name].eq(visit[name]) for name in self.state.shape().members),
            states.store.enable.eq(self.stored),
            states.store.address.eq(neuron),
            states.store.data.eq(self.state.as_value()),
            last.eq(over | (self.stored & (left == 1))),
            self.done.eq(last & self._emitter.free),
        ]
        with m.If(self.stored):
            m.d.comb += [self.spikes.eq(abs(firing.count)), self.clipped.eq(visit.clipped)]
            m.d.comb += self.compared.eq(Mux(self.entry.fire, compared, 0))
            m.d.sync += [neuron.eq(neuron + 1), left.eq(left - 1)]
        with m.If(self.begun):
            m.d.sync += [neuron.eq(self._issue.neuron), left.eq(self._issue.left)]
        m.d.sync += over.eq(last & ~self.done)
