# SPDX-License-Identifier: Apache-2.0
"""The neurocore: its parts, joined, and the phases of a step."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import RECTANGLE, Activity, ErrorCause, Kind, Section, Status, counters_of, section_words
from rtl.blocks import Blocks
from rtl.component import Component
from rtl.control import ControlRegisters, identity
from rtl.counters import CounterFile, StickyCause
from rtl.crossbar import Crossbar
from rtl.events import EventScheduler
from rtl.layouts import ObserveSignature, flit_stream, spike_struct, token_struct
from rtl.memory import join_sections
from rtl.neuron import Walk
from rtl.program import Programmer, Registers
from rtl.schedule import Schedule

__all__ = ["Neurocore"]


class Neurocore(Component):
    """Receive spikes, tokens and control packets, and run a step per token: one core.

    The rules are those of `docs/reference/machine.md`.

    Members
    -------
    x, y : In
        The core's place (straps).
    i, o
        Streams, from and to the router; ``i`` is always ready.
    hops, token_hops, router_errors : In
        Events of the core's router, counted here.
    crossings : In(3)
        Flits that leave the router over links in this cycle, if there are several chips.
    observe : Out
        What a bench sees.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        super().__init__(
            {
                "x": In(spec.x_bits),
                "y": In(spec.y_bits),
                "i": In(flit_stream(spec)),
                "o": Out(flit_stream(spec)),
                "hops": In(3),
                "token_hops": In(3),
                "router_errors": In(4),
                "observe": Out(ObserveSignature(spec)),
                **({"crossings": In(3)} if "crossings" in counters_of(spec) else {}),
            }
        )
        self._programmer, self._control = Programmer(spec), ControlRegisters(spec)
        self._schedule, self._events = Schedule(spec), EventScheduler(spec)
        self._blocks, self._crossbar, self._walk = Blocks(spec.core), Crossbar(spec), Walk(spec)
        self._counters = CounterFile(spec)
        self._status = Registers(Section.STATUS, len(Status))
        self._identity = Registers(Section.IDENTITY, section_words(spec, Section.IDENTITY))
        self._cause, self._router_cause = StickyCause(), StickyCause()
        self._go = Signal(name="go")
        self._paused = Signal(init=1, name="paused")
        self._pausing = Signal(init=1, name="pausing")

    def elaborate(self, platform: object) -> Module:
        """Attach the parts, connect program and spikes, and let the phases drive them."""
        m = Module()
        m.submodules.programmer = self._programmer
        m.submodules.control = self._control
        m.submodules.sequence = self._schedule
        m.submodules.events = self._events
        m.submodules.blocks = self._blocks
        m.submodules.crossbar = self._crossbar
        m.submodules.walk = self._walk
        m.submodules.counters = self._counters
        m.submodules.status = self._status
        m.submodules.identity = self._identity
        m.submodules.core_cause = self._cause
        m.submodules.router_cause = self._router_cause
        self._receive(m)
        self._wire(m)
        self._phases(m)
        self._tell(m)
        self._meter(m)
        self._observation(m)
        return m

    def _receive(self, m: Module) -> None:
        """Sort what comes: spikes to the scheduler, tokens to the phases, the rest to the programmer."""
        flit, events, programmer = self.i.payload, self._events, self._programmer
        spike = data.View(spike_struct(self._spec), flit.data)
        pause = data.View(token_struct(), flit.data[: token_struct().size]).pause
        token, moved = self.i.valid & (flit.kind == Kind.TOKEN), Signal()
        m.d.comb += [
            self.i.ready.eq(1),
            events.arrive.eq(self.i.valid & (flit.kind == Kind.SPIKE)),
            events.axon.eq(spike.axon),
            events.payload.eq(spike.payload),
            events.swap.eq(token & ~pause),
            programmer.arrive.eq(self.i.valid & (flit.kind > Kind.TOKEN)),
            programmer.kind.eq(flit.kind),
            programmer.data.eq(flit.data),
            programmer.accepting.eq(self._pausing),
            self._blocks.rewind.eq(token),
            moved.eq(programmer.reply.valid & programmer.reply.ready),
            self._schedule.look.eq(Mux(programmer.reading, (token | self._go) & moved, token)),
        ]
        with m.If(token):
            m.d.sync += [self._go.eq(1), self._pausing.eq(pause)]

    def _wire(self, m: Module) -> None:
        """Connect the parts to each other."""
        control, walk, crossbar, events = self._control, self._walk, self._crossbar, self._events
        blocks, entry = self._blocks, self._schedule.entry
        others: list[Component] = [control, self._schedule, crossbar]
        others += [self._counters, self._status, self._identity]
        program, (first, second) = self._programmer.program, self._programmer.inspect
        join_sections(m, program, first, [walk])
        join_sections(m, program, second, others)
        m.d.comb += [
            self._schedule.length.eq(control.schedule),
            events.limit.eq(control.axons),
            *(
                getattr(blocks, name).eq(getattr(control, name))
                for name in ("neurons", "blocks", "per_block")
            ),
            blocks.advance.eq(walk.begun),
            *(getattr(walk, name).eq(getattr(control, name)) for name in ("strengths", "ladder")),
            *(mine.eq(given) for mine, given in zip(walk.strength, control.strength, strict=True)),
            *(mine.eq(given) for mine, given in zip(walk.sums, crossbar.sum, strict=True)),
            *(getattr(walk, name).eq(getattr(blocks, name)) for name in ("first", "count")),
            walk.entry.eq(entry),
            crossbar.begin.eq(events.begin),
            crossbar.extension.eq(control.extension),
            crossbar.block.eq(blocks.block),
            *(
                getattr(crossbar, name).eq(getattr(events, name))
                for name in ("valid", "event", "value", "over")
            ),
        ]

    def _phases(self, m: Module) -> None:
        """The phases of a step: WAIT, INTEGRATE, WALK, TOKEN (`docs/reference/cycles.md`)."""
        walk, activity = self._walk, self.observe.activity
        with m.FSM(init="TOKEN"):
            with m.State("WAIT"):
                m.d.comb += activity.eq(Mux(self._paused, Activity.PAUSED, Activity.TOKEN_WAIT))
                self._wait(m)
            with m.State("INTEGRATE"):
                m.d.comb += activity.eq(Activity.INTEGRATE)
                with m.If(self._crossbar.done):
                    m.d.comb += walk.start.eq(1)
                    m.next = "WALK"
            with m.State("WALK"):
                m.d.comb += [
                    activity.eq(Mux(walk.stalled, Activity.SEND_STALL, Activity.UPDATE)),
                    self.o.valid.eq(walk.o.valid),
                    self.o.payload.eq(walk.o.payload),
                    walk.o.ready.eq(self.o.ready),
                ]
                with m.If(walk.done):
                    m.next = "TOKEN"
                    with m.If(~self._blocks.none):
                        self._begin(m)
            with m.State("TOKEN"):
                self._send_token(m)

    def _wait(self, m: Module) -> None:
        """Reply to reads until a token was seen and the last reply has left; a pause token begins no step."""
        entry, programmer, control = self._schedule.entry, self._programmer, self._control
        m.d.comb += programmer.may_reply.eq(1)
        self._send_reply(m)
        with m.If(self._go & ~programmer.reading):
            m.d.sync += [self._go.eq(0), self._paused.eq(self._pausing)]
            m.next = "TOKEN"
            walks = (entry.init | entry.update | entry.fire) & (control.neurons != 0)
            with m.If(~self._pausing & control.enable & walks):
                self._begin(m)

    def _begin(self, m: Module) -> None:
        """Begin the next block in the next cycle: integrate it, or walk over it at once."""
        with m.If(self._schedule.entry.integrate):
            m.d.comb += self._events.begin.eq(1)
            m.next = "INTEGRATE"
        with m.Else():
            m.d.comb += self._walk.start.eq(1)
            m.next = "WALK"

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

    def _tell(self, m: Module) -> None:
        """Show status and identity; keep the first cause of an error until it is forgotten."""
        program, events, programmer = self._programmer.program, self._events, self._programmer
        forget = program.strobe & (program.section == Section.STATUS)
        errors = [(events.refused, ErrorCause.AXON), (programmer.unknown, ErrorCause.KIND)]
        errors += [(programmer.running, ErrorCause.RUNNING), (programmer.section, ErrorCause.SECTION)]
        for strobe, cause in errors:
            with m.If(strobe):
                m.d.comb += [self._cause.strobe.eq(1), self._cause.cause.eq(cause)]
        status = {
            Status.CORE_CAUSE: self._cause.first,
            Status.ROUTER_CAUSE: self._router_cause.first,
            Status.ENTRY: self._schedule.position,
            Status.REPETITION: self._schedule.repetition,
        }
        told = [*identity(self._spec), self.x, self.y]
        m.d.comb += [
            *(self._status.register[address].eq(value) for address, value in status.items()),
            *(r.eq(v) for r, v in zip(self._identity.register, told, strict=True)),
            self._router_cause.strobe.eq(self.router_errors != 0),
            self._router_cause.cause.eq(ErrorCause.DESTINATION),
            self._cause.clear.eq(forget),
            self._router_cause.clear.eq(forget),
        ]

    def _meter(self, m: Module) -> None:
        """Feed the counters; what takes long to find out counts a cycle later, before it can be read."""
        walk, events, counters = self._walk, self._events, self._counters
        program, meter = self._programmer.program, counters.meter
        spike_leaves = self.o.valid & self.o.ready & (self.o.payload.kind == Kind.SPIKE)
        m.d.comb += [
            counters.clear.eq(program.strobe & (program.section == Section.COUNTER)),
            meter.spikes.eq(walk.spikes),
            meter.packets.eq(spike_leaves),
            meter.crossbar_words.eq(events.valid),
            meter.synaptic_operations.eq(self._crossbar.operations),
            meter.neuron_updates.eq(walk.visited),
            meter.thresholds.eq(walk.compared),
            meter.saturations.eq(walk.clipped),
            meter.hops.eq(self.hops),
            meter.token_hops.eq(self.token_hops),
            meter.router_errors.eq(self.router_errors),
            *(getattr(meter, a.name.lower()).eq(self.observe.activity == a) for a in Activity),
        ]
        if "crossings" in counters_of(self._spec):
            m.d.comb += meter.crossings.eq(self.crossings)
        late = {"deliveries": events.delivered, "merges": events.merged, "errors": self._cause.strobe}
        for name, event in late.items():
            counted = Signal(name=f"counted_{name}", reset_less=True)
            m.d.sync += counted.eq(event & ~counters.clear)
            m.d.comb += getattr(meter, name).eq(counted)

    def _observation(self, m: Module) -> None:
        """Show a bench what is stored, and an access to a memory for which there is no reason."""
        walk, observe, programmer = self._walk, self.observe, self._programmer
        served = programmer.program.strobe | programmer.inspect[0].enable
        adds = observe.activity == Activity.INTEGRATE
        walks = (observe.activity == Activity.UPDATE) | (observe.activity == Activity.SEND_STALL)
        m.d.comb += [
            observe.stray.eq((self._crossbar.accessed & ~adds | walk.accessed & ~walks) & ~served),
            observe.valid.eq(walk.stored),
            observe.neuron.eq(walk.neuron),
            *(getattr(observe, name).eq(walk.state[name]) for name in walk.state.shape().members),
            observe.count.eq(walk.crossed),
        ]
