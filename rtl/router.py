# SPDX-License-Identifier: Apache-2.0
"""The router: rectangle multicast without tables, round-robin arbitration, and the tokens of the barrier."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import Kind
from rtl.component import Component
from rtl.layouts import flit_stream, flit_struct

__all__ = ["FED_BY", "PORTS", "Fifo", "Router"]

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


class Fifo(Component):
    """Two flits of storage; both handshakes depend on registers only, one flit a cycle passes.

    Members
    -------
    i : In(stream), ready while fewer than two flits are held.
    o : Out(stream), valid while at least one flit is held; a flit shows one cycle after it came.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        super().__init__({"i": In(flit_stream(spec)), "o": Out(flit_stream(spec))})

    def elaborate(self, platform: object) -> Module:
        """Shift register of two flits: the head is always in the same place."""
        m = Module()
        head, second = (Signal(flit_struct(self._spec), name=name) for name in ("head", "second"))
        level = Signal(2)
        push, pop = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [self.i.ready.eq(level != 2), self.o.valid.eq(level != 0), self.o.payload.eq(head)]
        m.d.sync += level.eq(level + push - pop)
        with m.If(pop):
            m.d.sync += head.eq(second)
        with m.If(push):
            with m.If(level == pop):
                m.d.sync += head.eq(self.i.payload)
            with m.Else():
                m.d.sync += second.eq(self.i.payload)
        return m


class Router(Component):
    """One router of the mesh; a packet hop takes one cycle, a token hop two (`docs/reference/network.md`).

    Members
    -------
    x, y : In, own coordinates (straps).
    present_in, present_out : In(5), which ports have something attached (straps).
    i, o : five streams in and out, in `PORTS` order.
    hops, token_hops, errors : Out, events of this cycle for the counters.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        super().__init__(
            {
                "x": In(spec.x_bits),
                "y": In(spec.y_bits),
                "present_in": In(5),
                "present_out": In(5),
                "i": In(flit_stream(spec)).array(5),
                "o": Out(flit_stream(spec)).array(5),
                "hops": Out(3),
                "token_hops": Out(3),
                "errors": Out(4),
            }
        )

    def _route(self, m: Module, port: int, flit: data.View) -> Value:
        """Return the outputs (5 bits) that a flit from ``port`` wants."""
        x, y = self.x, self.y
        column = (flit.x0 <= x) & (x <= flit.x1) if port in (E, W, L) else Const(1)
        row = (flit.y0 <= y) & (y <= flit.y1)
        north = column & (flit.y0 < y) if port != N else Const(0)
        south = column & (flit.y1 > y) if port != S else Const(0)
        east = flit.x1 > x if port in (W, L) else Const(0)
        west = flit.x0 < x if port in (E, L) else Const(0)
        want = Signal(5, name=f"want_{PORTS[port]}")
        m.d.comb += want.eq(Cat(north, east, south, west, column & row))
        return want

    def elaborate(self, platform: object) -> Module:
        """Build five inputs, five outputs, and the rules that join them."""
        m = Module()
        heads, wants = [], []
        self._lost = [Signal(3, name=f"lost_{p}") for p in PORTS]
        for port in range(5):
            m.submodules[f"fifo_{PORTS[port]}"] = fifo = Fifo(self._spec)
            wiring.connect(m, wiring.flipped(self.i[port]), fifo.i)
            heads.append(fifo.o)
            wants.append(self._route(m, port, fifo.o.payload))
        m.d.comb += self.errors.eq(sum(self._lost, Const(0)))
        taken, requests, won = (
            [Signal(5, name=f"{noun}_{p}") for p in PORTS] for noun in ("taken", "requests", "won")
        )
        intake = [Signal(name=f"intake_{p}") for p in PORTS]
        for port in range(5):
            self._input(
                m,
                port,
                heads[port],
                wants[port],
                taken=taken,
                requests=requests,
                won=won,
                intake=intake[port],
            )
        for output in range(5):
            self._output(
                m,
                output,
                heads,
                taken=taken[output],
                requests=requests[output],
                won=won[output],
                intake=intake,
            )
        self._count(m)
        return m

    def _input(
        self,
        m: Module,
        port: int,
        head: stream.Interface,
        want: Value,
        *,
        taken: list[Signal],
        requests: list[Signal],
        won: list[Signal],
        intake: Signal,
    ) -> None:
        """Rules 2, 4, 6: a token is taken in by all outputs at once; a packet leaves when every copy has."""
        fed = [o for o in range(5) if port in FED_BY[o]]
        served, sent = Signal(5, name=f"served_{PORTS[port]}"), Signal(5, name=f"sent_{PORTS[port]}")
        clear = ~Cat(taken[o][port] & self.present_out[o] for o in fed).any()
        token, reply = head.payload.kind == Kind.TOKEN, head.payload.kind == Kind.REPLY
        packet, waits, absent = (
            head.valid & ~token,
            want & ~served & self.present_out,
            want & ~self.present_out,
        )
        gone = packet & ~(waits & ~sent).any()
        m.d.comb += [
            intake.eq(head.valid & token & clear),
            sent.eq(Cat(won[o][port] if o in fed else Const(0) for o in range(5))),
            head.ready.eq(intake | gone),
        ]
        for o in fed:
            m.d.comb += requests[o][port].eq(packet & waits[o] & (reply | ~taken[o][port]))
        with m.If(packet):
            m.d.sync += served.eq(Mux(gone, 0, served | sent | absent))
            lost = absent & ~served
            m.d.comb += self._lost[port].eq(sum((lost[o] for o in fed), want == 0))

    def _output(
        self,
        m: Module,
        output: int,
        heads: list[stream.Interface],
        *,
        taken: Signal,
        requests: Signal,
        won: Signal,
        intake: list[Signal],
    ) -> None:
        """Rules 3 and 5: a complete output sends its token; otherwise the round-robin winner leaves."""
        name, port = PORTS[output], self.o[output]
        feeders = sum(1 << i for i in FED_BY[output])
        pause, pointer = Signal(name=f"pause_{name}"), Signal(3, name=f"pointer_{name}")
        complete, grant = Signal(name=f"complete_{name}"), Signal(5, name=f"grant_{name}")
        everyone = taken | ~self.present_in | ~Const(feeders, 5)
        m.d.comb += complete.eq(self.present_out[output] & everyone.all())
        taking = Cat(intake[i] if i in FED_BY[output] else Const(0) for i in range(5))
        pausing = Cat(intake[i] & heads[i].payload.data[0] for i in FED_BY[output]).any()
        with m.If(complete):
            m.d.comb += [port.valid.eq(1), port.payload.kind.eq(Kind.TOKEN), port.payload.data.eq(pause)]
            with m.If(port.ready):
                m.d.sync += [taken.eq(0), pause.eq(0), pointer.eq(0)]
        with m.Else():
            with m.If(self.present_out[output]):
                m.d.sync += [taken.eq(taken | taking), pause.eq(pause | pausing)]
            m.d.comb += [port.valid.eq(requests.any()), won.eq(Mux(port.ready, grant, 0))]
            for i in FED_BY[output]:
                with m.If(grant[i]):
                    m.d.comb += port.payload.eq(heads[i].payload)
                    with m.If(port.ready):
                        m.d.sync += pointer.eq((i + 1) % 5)
        self._arbitrate(m, requests, pointer, grant)

    def _arbitrate(self, m: Module, requests: Signal, pointer: Signal, grant: Signal) -> None:
        """Grant the first request at or after the pointer, in the cyclic order of the ports."""
        with m.Switch(pointer):
            for first in range(5):
                with m.Case(first):
                    for i in [(first + place) % 5 for place in reversed(range(5))]:
                        with m.If(requests[i]):
                            m.d.comb += grant.eq(1 << i)

    def _count(self, m: Module) -> None:
        """Count what leaves towards neighbours and the gateway."""
        leaving = [self.o[o].valid & self.o[o].ready for o in (N, E, S, W)]
        spikes = [leaves & (self.o[o].payload.kind == Kind.SPIKE) for o, leaves in enumerate(leaving)]
        tokens = [leaves & (self.o[o].payload.kind == Kind.TOKEN) for o, leaves in enumerate(leaving)]
        m.d.comb += [self.hops.eq(sum(spikes, Const(0))), self.token_hops.eq(sum(tokens, Const(0)))]
