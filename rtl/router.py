# SPDX-License-Identifier: Apache-2.0
"""The router: rectangle multicast without tables, round-robin arbitration, and the tokens of the barrier.

The rules that the docstrings name are those of one cycle in `docs/reference/network.md`.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import Kind
from rtl.arbiter import RoundRobin
from rtl.component import Component
from rtl.fifo import Fifo
from rtl.layouts import flit_stream, flit_struct

__all__ = ["FED_BY", "PORTS", "InputPort", "OutputPort", "Router"]

PORTS = ("N", "E", "S", "W", "L")
"""Port order: y - 1, x + 1, y + 1, x - 1, the core."""

N, E, S, W, L = range(5)

FED_BY: dict[int, tuple[int, ...]] = {
    N: (E, S, W, L),
    E: (W, L),
    S: (N, E, W, L),
    W: (E, L),
    L: (N, E, S, W, L),
}
"""Output -> the inputs that can feed it under x-then-y routing."""


class InputPort(Component):
    """Hold the flits of one input and offer the first to the outputs that it requests.

    A flit's way is worked out as it comes and held beside it: between the FIFO and the arbiters of the
    outputs lies no comparison of coordinates.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the chip.
    port : int
        Which of `PORTS`.

    Members
    -------
    x, y : In
        The router's coordinates (straps).
    present_out : In(5)
        Outputs with something attached (straps).
    i : In(stream)
        Flits from outside; two are held.
    head : Out(flit)
        The first flit held; it has a meaning while `requests` or `intake` is not zero.
    taken : In(5)
        Outputs that hold this input's token of the step.
    requests : Out(5)
        Outputs that the head asks for in this cycle.
    granted : In(5)
        Outputs by which a copy leaves in this cycle; only requested ones.
    intake : Out
        The head is a token and goes to all present outputs that this input feeds.
    errors : Out(3)
        Copies sunk in this cycle because nothing is attached to the output they request.
    """

    def __init__(self, spec: SystemSpec, port: int) -> None:
        self._port = port
        super().__init__(
            {
                "x": In(spec.x_bits),
                "y": In(spec.y_bits),
                "present_out": In(5),
                "i": In(flit_stream(spec)),
                "head": Out(flit_struct(spec)),
                "taken": In(5),
                "requests": Out(5),
                "granted": In(5),
                "intake": Out(1),
                "errors": Out(3),
            }
        )
        self._fifo = Fifo(data.StructLayout({"flit": flit_struct(spec), "want": 5}))
        self._served = Signal(5, name="served")

    def _route(self) -> Value:
        """Return the outputs (5 bits) that the coming flit requests; only such as this input feeds."""
        x, y, flit, port = self.x, self.y, self.i.payload, self._port
        column = (flit.x0 <= x) & (x <= flit.x1) if port in (E, W, L) else Const(1)
        row = (flit.y0 <= y) & (y <= flit.y1)
        north = column & (flit.y0 < y) if port != N else Const(0)
        south = column & (flit.y1 > y) if port != S else Const(0)
        east = flit.x1 > x if port in (W, L) else Const(0)
        west = flit.x0 < x if port in (E, L) else Const(0)
        return Cat(north, east, south, west, column & row)

    def elaborate(self, platform: object) -> Module:
        """Apply rules 2, 4 and 6: all outputs take a token at once; a packet leaves with its last copy."""
        m = Module()
        m.submodules.fifo = fifo = self._fifo
        first, want, served = fifo.o, fifo.o.payload.want, self._served
        token, reply = self.head.kind == Kind.TOKEN, self.head.kind == Kind.REPLY
        packet = first.valid & ~token
        waits, absent = want & ~served & self.present_out, want & ~self.present_out
        gone = packet & ~(waits & ~self.granted).any()
        m.d.comb += [
            fifo.i.valid.eq(self.i.valid),
            fifo.i.payload.flit.eq(self.i.payload),
            fifo.i.payload.want.eq(self._route()),
            self.i.ready.eq(fifo.i.ready),
            self.head.eq(first.payload.flit),
            self.requests.eq(Mux(packet, waits & Mux(reply, ~0, ~self.taken), 0)),
            self.intake.eq(first.valid & token & ~(self.taken & self.present_out).any()),
            first.ready.eq(self.intake | gone),
        ]
        with m.If(packet):
            m.d.sync += served.eq(Mux(gone, 0, served | self.granted | absent))
            m.d.comb += self.errors.eq(sum(absent & ~served, want == 0))
        return m


class OutputPort(Component):
    """Let one flit a cycle leave by one output: a token when it is complete, a requesting head otherwise.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the chip.
    port : int
        Which of `PORTS`.

    Members
    -------
    present : In
        Something is attached (strap).
    eager : In
        Offer also what is not taken (strap): the gateway's outlet, whose host may wait for an offer. Any
        other output offers only what is taken in the same cycle, so no link sees an offer change.
    present_in : In(5)
        Inputs with something attached (straps).
    heads
        In(flit) of the five inputs.
    requests : In(5)
        Inputs whose head asks for this output.
    intake : In(5)
        Inputs whose head is a token that is taken in this cycle.
    granted : Out(5)
        The input whose head leaves in this cycle.
    taken : Out(5)
        Inputs whose token of this step is held.
    o : Out(stream)
        Flits to outside.
    """

    def __init__(self, spec: SystemSpec, port: int) -> None:
        self._feeders = FED_BY[port]
        super().__init__(
            {
                "present": In(1),
                "eager": In(1),
                "present_in": In(5),
                "heads": In(flit_struct(spec)).array(5),
                "requests": In(5),
                "intake": In(5),
                "granted": Out(5),
                "taken": Out(5),
                "o": Out(flit_stream(spec)),
            }
        )
        self._pause = Signal(name="pause")
        self._turns = RoundRobin(5)

    def elaborate(self, platform: object) -> Module:
        """Apply rules 2, 3 and 5: collect tokens; send the step's token or the head whose turn it is."""
        m = Module()
        m.submodules.turns = turns = self._turns
        taken, pause, complete = Signal(5, name="taken_register"), self._pause, Signal()
        offer = self.eager | self.o.ready
        feeders = Const(sum(1 << i for i in self._feeders), 5)
        taking = self.intake & feeders
        pausing = Cat(taking[i] & self.heads[i].data[0] for i in self._feeders).any()
        m.d.comb += [
            self.taken.eq(taken),
            complete.eq(self.present & (taken | ~self.present_in | ~feeders).all()),
            turns.requests.eq(self.requests),
        ]
        with m.If(complete):
            m.d.comb += [
                self.o.valid.eq(offer),
                self.o.payload.kind.eq(Kind.TOKEN),
                self.o.payload.data.eq(pause),
                turns.restart.eq(self.o.ready),
            ]
            with m.If(self.o.ready):
                m.d.sync += [taken.eq(0), pause.eq(0)]
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(self.requests.any() & offer),
                self.granted.eq(Mux(self.o.ready, turns.grant, 0)),
                turns.advance.eq(self.o.ready),
            ]
            for i in self._feeders:
                with m.If(turns.grant[i]):
                    m.d.comb += self.o.payload.eq(self.heads[i])
            with m.If(self.present):
                m.d.sync += [taken.eq(taken | taking), pause.eq(pause | pausing)]
        return m


class Router(Component):
    """One router of the mesh; a packet hop takes one cycle, a token hop two.

    Members
    -------
    x, y : In
        Own coordinates (straps).
    present_in, present_out : In(5)
        Which ports have something attached (straps); what comes by an absent input is not heard.
    outlet : In
        The south port leads to the gateway (strap).
    i, o
        Five streams in and out, in `PORTS` order.
    hops, token_hops, errors : Out
        Events of this cycle for the counters.
    """

    def __init__(self, spec: SystemSpec) -> None:
        super().__init__(
            {
                "x": In(spec.x_bits),
                "y": In(spec.y_bits),
                "present_in": In(5),
                "present_out": In(5),
                "outlet": In(1),
                "i": In(flit_stream(spec)).array(5),
                "o": Out(flit_stream(spec)).array(5),
                "hops": Out(3),
                "token_hops": Out(3),
                "errors": Out(4),
            }
        )
        self._inputs = [InputPort(spec, port) for port in range(5)]
        self._outputs = [OutputPort(spec, port) for port in range(5)]

    def elaborate(self, platform: object) -> Module:
        """Join each of the five inputs with each of the five outputs."""
        m = Module()
        for port, name in enumerate(PORTS):
            m.submodules[f"input_{name}"] = source = self._inputs[port]
            m.submodules[f"output_{name}"] = sink = self._outputs[port]
            wiring.connect(m, sink.o, wiring.flipped(self.o[port]))
            m.d.comb += [
                source.i.payload.eq(self.i[port].payload),
                source.i.valid.eq(self.i[port].valid & self.present_in[port]),
                self.i[port].ready.eq(source.i.ready & self.present_in[port]),
                source.x.eq(self.x),
                source.y.eq(self.y),
                source.present_out.eq(self.present_out),
                source.taken.eq(Cat(output.taken[port] for output in self._outputs)),
                source.granted.eq(Cat(output.granted[port] for output in self._outputs)),
                sink.present.eq(self.present_out[port]),
                sink.eager.eq(self.outlet if port == S else 0),
                sink.present_in.eq(self.present_in),
                sink.requests.eq(Cat(head.requests[port] for head in self._inputs)),
                sink.intake.eq(Cat(head.intake for head in self._inputs)),
                *(sink.heads[i].eq(self._inputs[i].head) for i in FED_BY[port]),
            ]
        m.d.comb += self.errors.eq(sum((source.errors for source in self._inputs), Const(0)))
        self._count(m)
        return m

    def _count(self, m: Module) -> None:
        """Count what leaves towards neighbours and the gateway."""
        for counter, kind in ((self.hops, Kind.SPIKE), (self.token_hops, Kind.TOKEN)):
            leaves = (o.valid & o.ready & (o.payload.kind == kind) for o in self.o[:L])
            m.d.comb += counter.eq(sum(leaves, Const(0)))
