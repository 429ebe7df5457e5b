# SPDX-License-Identifier: Apache-2.0
"""The neurocore: its parts, joined, and the phases of a step."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from emu.spec import CHUNK_BITS, STRENGTH_BITS, SystemSpec, bits_for
from emu.words import CONTROL_STRENGTHS, RECTANGLE, Activity, Control, ErrorCause, Kind, Section, Status
from rtl.component import Component
from rtl.counters import CounterFile, StickyCause
from rtl.crossbar import Crossbar
from rtl.events import EventScheduler
from rtl.layouts import ObserveSignature, ProgramSignature, flit_stream, spike_struct, token_struct
from rtl.neuron import Walk
from rtl.program import Programmer
from rtl.schedule import Schedule

__all__ = ["ControlRegisters", "Neurocore"]


class ControlRegisters(Component):
    """The registers of `Section.CONTROL`; reset disables the core and refuses all axons.

    The other registers keep what they hold: whoever enables the core writes them first.

    Members
    -------
    program : In
        Writes into the registers.
    enable, axons, neurons, strengths, schedule, words, strength : Out
        The registers.
    """

    def __init__(self, spec: SystemSpec) -> None:
        core = spec.core
        self._strengths = core.strengths
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "enable": Out(1),
                "axons": Out(range(core.axons + 1)),
                "neurons": Out(range(core.columns + 1)),
                "strengths": Out(range(core.strengths + 1)),
                "schedule": Out(range(core.schedule + 1)),
                "words": Out(range(core.words + 1)),
                "strength": Out(signed(STRENGTH_BITS)).array(core.strengths),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build one register per address."""
        m = Module()
        registers: dict[int, Signal] = {}
        outputs = {
            Control.ENABLE: self.enable,
            Control.AXONS: self.axons,
            Control.NEURONS: self.neurons,
            Control.STRENGTHS: self.strengths,
            Control.SCHEDULE: self.schedule,
            Control.WORDS: self.words,
        } | {CONTROL_STRENGTHS + i: self.strength[i] for i in range(self._strengths)}
        for address, output in outputs.items():
            kept = address not in (Control.ENABLE, Control.AXONS)
            registers[address] = Signal.like(output, name=f"{output.name}_register", reset_less=kept)
            m.d.comb += output.eq(registers[address])
        with (
            m.If(self.program.strobe & (self.program.section == Section.CONTROL)),
            m.Switch(self.program.address),
        ):
            for address, register in registers.items():
                with m.Case(address):
                    m.d.sync += register.eq(self.program.chunk)
        return m


class Neurocore(Component):
    """Receive spikes, tokens and control packets, and run a step per token: one core.

    The rules are those of `docs/reference/machine.md`.

    Members
    -------
    i, o
        Streams, from and to the router; ``i`` is always ready.
    hops, token_hops, router_errors : In
        Events of the core's router, counted here.
    observe : Out
        What a bench sees.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        super().__init__(
            {
                "i": In(flit_stream(spec)),
                "o": Out(flit_stream(spec)),
                "hops": In(3),
                "token_hops": In(3),
                "router_errors": In(4),
                "observe": Out(ObserveSignature(spec)),
            }
        )
        self._control = ControlRegisters(spec)
        self._schedule = Schedule(spec)
        self._events = EventScheduler(spec)
        self._crossbar = Crossbar(spec)
        self._walk = Walk(spec)
        self._programmer = Programmer()
        self._counters = CounterFile(spec)
        self._cause, self._router_cause = StickyCause(), StickyCause()
        self._go = Signal(name="go")
        self._paused = Signal(init=1, name="paused")
        self._pausing = Signal(reset_less=True, name="pausing")

    def elaborate(self, platform: object) -> Module:
        """Attach the parts, connect program and spikes, and let the phases drive them."""
        m = Module()
        m.submodules.control = self._control
        m.submodules.sequence = self._schedule
        m.submodules.events = self._events
        m.submodules.crossbar = self._crossbar
        m.submodules.walk = self._walk
        m.submodules.programmer = self._programmer
        m.submodules.counters = self._counters
        m.submodules.core_cause = self._cause
        m.submodules.router_cause = self._router_cause
        self._receive(m)
        self._wire(m)
        self._phases(m)
        self._inspection(m)
        self._observation(m)
        return m

    def _receive(self, m: Module) -> None:
        """Sort what comes: spikes to the scheduler, tokens to the phases, the rest to the programmer."""
        flit, events, programmer = self.i.payload, self._events, self._programmer
        spike = data.View(spike_struct(self._spec), flit.data)
        pause = data.View(token_struct(), flit.data[: token_struct().size]).pause
        token = self.i.valid & (flit.kind == Kind.TOKEN)
        m.d.comb += [
            self.i.ready.eq(1),
            events.arrive.eq(self.i.valid & (flit.kind == Kind.SPIKE)),
            events.axon.eq(spike.axon),
            events.payload.eq(spike.payload),
            events.swap.eq(token & ~pause),
            programmer.arrive.eq(self.i.valid & (flit.kind > Kind.TOKEN)),
            programmer.kind.eq(flit.kind),
            programmer.data.eq(flit.data),
            programmer.accepting.eq(Mux(self._go, self._pausing, self._paused)),
        ]
        with m.If(token):
            m.d.sync += [self._go.eq(1), self._pausing.eq(pause)]

    def _wire(self, m: Module) -> None:
        """Connect the parts to each other."""
        control, walk, crossbar = self._control, self._walk, self._crossbar
        for part in (control, self._schedule, crossbar, walk):
            wiring.connect(m, self._programmer.program, part.program)
        m.d.comb += [
            self._schedule.length.eq(control.schedule),
            self._events.limit.eq(control.axons),
            walk.neurons.eq(control.neurons),
            walk.strengths.eq(control.strengths),
            walk.entry.eq(self._schedule.entry),
            *(walk.strength[i].eq(control.strength[i]) for i in range(len(control.strength))),
            crossbar.look.eq(walk.look),
            crossbar.column.eq(walk.column),
            walk.sum.eq(crossbar.sum),
            crossbar.row.eq(self._events.event),
            crossbar.value.eq(self._events.value),
        ]

    def _phases(self, m: Module) -> None:
        """Build the phases of a step: WAIT, INTEGRATE, WALK, TOKEN (`docs/reference/cycles.md`)."""
        entry, walk, programmer = self._schedule.entry, self._walk, self._programmer
        activity = self.observe.activity
        walks = Signal()
        m.d.comb += walks.eq((entry.init | entry.update | entry.fire) & (self._control.neurons != 0))
        with m.FSM(init="TOKEN"):
            with m.State("WAIT"):
                m.d.comb += [
                    activity.eq(Mux(self._paused, Activity.PAUSED, Activity.TOKEN_WAIT)),
                    programmer.may_reply.eq(1),
                ]
                self._send_reply(m)
                with m.If(self._go & ~programmer.reading):
                    m.d.sync += [self._go.eq(0), self._paused.eq(self._pausing)]
                    m.next = "TOKEN"
                    with m.If(~self._pausing):
                        self._begin(m, walks)
            with m.State("INTEGRATE"):
                m.d.comb += activity.eq(Activity.INTEGRATE)
                self._integrate(m, walks)
            with m.State("WALK"):
                wiring_out, stalled = walk.o, walk.emitting & ~self.o.ready
                m.d.comb += [
                    activity.eq(Mux(stalled, Activity.SEND_STALL, Activity.UPDATE)),
                    self.o.valid.eq(wiring_out.valid),
                    self.o.payload.eq(wiring_out.payload),
                    wiring_out.ready.eq(self.o.ready),
                ]
                with m.If(walk.done):
                    m.next = "TOKEN"
            with m.State("TOKEN"):
                self._send_token(m)

    def _send_token(self, m: Module) -> None:
        """Offer the token until the router takes it; then the step is over."""
        waiting = Mux(self.o.ready, Activity.TOKEN_WAIT, Activity.SEND_STALL)
        m.d.comb += [
            self.observe.activity.eq(Mux(self._paused, Activity.PAUSED, waiting)),
            self.o.valid.eq(1),
            self.o.payload.kind.eq(Kind.TOKEN),
        ]
        with m.If(self.o.ready):
            m.d.comb += self.observe.finished.eq(1)
            m.d.comb += self._schedule.advance.eq(self._control.enable & ~self._paused)
            m.next = "WAIT"

    def _begin(self, m: Module, walks: Signal) -> None:
        """Begin the step of a token: clear the sums, keep or discard the events, choose the first phase."""
        entry, enable = self._schedule.entry, self._control.enable
        m.d.comb += self._crossbar.clear.eq(1)
        with m.If(enable & entry.integrate):
            m.next = "INTEGRATE"
        with m.Else():
            m.d.comb += self._events.discard.eq(1)
            with m.If(enable & walks):
                m.d.comb += self._walk.start.eq(1)
                m.next = "WALK"

    def _integrate(self, m: Module, walks: Signal) -> None:
        """Issue one word of one present row in every cycle; the cycle without an event drains the last."""
        events, words = self._events, self._control.words
        word = Signal.like(self._crossbar.word)
        m.d.comb += [self._crossbar.word.eq(word), events.take.eq(events.any)]
        with m.If(events.any):
            m.d.comb += self._crossbar.issue.eq(words != 0)
            m.d.sync += word.eq(word + 1)
            with m.If(word + 1 >= words):
                m.d.comb += events.done.eq(1)
                m.d.sync += word.eq(0)
        with m.Elif(walks):
            m.d.comb += self._walk.start.eq(1)
            m.next = "WALK"
        with m.Else():
            m.next = "TOKEN"

    def _send_reply(self, m: Module) -> None:
        """Give the output to replies, which go to the gateway, while the core waits."""
        reply, flit = self._programmer.reply, self.o.payload
        x, y = self._spec.gateway
        place = dict(zip(RECTANGLE, (x, x, y, y), strict=True))
        m.d.comb += [
            self.o.valid.eq(reply.valid),
            reply.ready.eq(self.o.ready),
            flit.kind.eq(Kind.REPLY),
            flit.data.eq(reply.payload),
            *(getattr(flit, name).eq(value) for name, value in place.items()),
        ]

    def _inspection(self, m: Module) -> None:
        """Answer reads of state words, counters and status."""
        program, walk = self._programmer.program, self._walk
        section = Signal.like(program.section, reset_less=True)
        address = Signal.like(program.address, reset_less=True)
        chunks = len(walk.inspect.data) // CHUNK_BITS
        low = chunks.bit_length() - 1
        status = {
            Status.CORE_CAUSE: self._cause.first,
            Status.ROUTER_CAUSE: self._router_cause.first,
            Status.ENTRY: self._schedule.position,
            Status.REPETITION: self._schedule.repetition,
        }
        write = program.strobe & (program.section == Section.COUNTER)
        forget = program.strobe & (program.section == Section.STATUS)
        m.d.sync += [section.eq(program.section), address.eq(program.address)]
        m.d.comb += [
            walk.inspect.enable.eq(self._programmer.fetch),
            walk.inspect.address.eq(program.address[low:]),
            self._counters.address.eq(program.address),
            self._counters.clear.eq(write),
            self._cause.clear.eq(forget),
            self._router_cause.clear.eq(forget),
        ]
        with m.Switch(section):
            with m.Case(Section.STATE):
                chunk = walk.inspect.data.word_select(address[:low], CHUNK_BITS) if low else walk.inspect.data
                m.d.comb += self._programmer.chunk.eq(chunk)
            with m.Case(Section.COUNTER):
                m.d.comb += self._programmer.chunk.eq(self._counters.chunk)
            with m.Case(Section.STATUS), m.Switch(address[: bits_for(len(Status))]):
                for place, register in status.items():
                    with m.Case(place):
                        m.d.comb += self._programmer.chunk.eq(register)

    def _observation(self, m: Module) -> None:
        """Feed the counters, the error registers and the observe port."""
        walk, events, programmer, meter = self._walk, self._events, self._programmer, self._counters.meter
        errors = [(events.refused, ErrorCause.AXON), (programmer.unknown, ErrorCause.KIND)]
        errors += [(programmer.running, ErrorCause.RUNNING), (programmer.section, ErrorCause.SECTION)]
        for strobe, cause in errors:
            with m.If(strobe):
                m.d.comb += [self._cause.strobe.eq(1), self._cause.cause.eq(cause), meter.errors.eq(1)]
        spike_leaves = self.o.valid & self.o.ready & (self.o.payload.kind == Kind.SPIKE)
        m.d.comb += [
            self._router_cause.strobe.eq(self.router_errors != 0),
            self._router_cause.cause.eq(ErrorCause.DESTINATION),
            meter.spikes.eq(Mux(walk.stored, walk.count, 0)),
            meter.packets.eq(spike_leaves),
            meter.deliveries.eq(events.delivered),
            meter.merges.eq(events.merged),
            meter.synaptic_operations.eq(self._crossbar.operations),
            meter.neuron_updates.eq(walk.stored),
            meter.saturations.eq(walk.clipped),
            meter.hops.eq(self.hops),
            meter.token_hops.eq(self.token_hops),
            meter.router_errors.eq(self.router_errors),
            *(getattr(meter, a.name.lower()).eq(self.observe.activity == a) for a in Activity),
            self.observe.valid.eq(walk.stored),
            self.observe.neuron.eq(walk.neuron),
            *(getattr(self.observe, name).eq(walk.state[name]) for name in walk.state.shape().members),
            self.observe.count.eq(walk.count),
        ]
