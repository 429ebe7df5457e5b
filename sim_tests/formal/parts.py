# SPDX-License-Identifier: Apache-2.0
"""What must hold of the arbiter, the FIFO and the two ports of a router, as components to be proved.

Each harness holds one part, leaves its inputs free but for what its neighbours promise, and keeps its own
books. `InputPort` and `OutputPort` are proved each under what is proved of the other: an output grants only
what is requested; an input takes a token in only where its last one has left.
"""

# mypy: disable-error-code="call-arg, valid-type, attr-defined"
# The stubs ask for a message that Assert, Assume and Cover do without.

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Cover, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, connect, flipped

from emu.spec import SystemSpec
from emu.words import Kind
from rtl.arbiter import RoundRobin
from rtl.component import Component
from rtl.fifo import Fifo
from rtl.layouts import flit_stream, flit_struct
from rtl.router import FED_BY, InputPort, OutputPort

__all__ = ["FairArbiter", "HonestInput", "LosslessFifo", "TokenBarrier", "at_most_one", "keep"]

N, E, S, W, L = range(5)


def at_most_one(bits: Value) -> Value:
    """Return whether no two bits are set."""
    return (bits & (bits - 1)) == 0


def keep(m: Module, *straps: Value) -> None:
    """Assume that straps change in reset only."""
    now = Cat(*straps)
    last, running = Signal(len(now), reset_less=True), Signal()
    m.d.sync += [last.eq(now), running.eq(1)]
    m.d.comb += Assume(~running | (now == last))


class FairArbiter(Component):
    """A grant goes to one requester that asks; one that keeps asking waits for ``count`` - 1 others at most.

    Members
    -------
    requests, advance, restart : In, free.
    watched : In, whose patience is tried; keeps its value.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__(
            {"requests": In(count), "advance": In(1), "restart": In(1), "watched": In(range(count))}
        )
        self._dut = RoundRobin(count)

    def elaborate(self, _: object) -> Module:
        """Count the grants that others get while the watched one asks and nobody restarts the round."""
        m = Module()
        m.submodules.dut = dut = self._dut
        count, watched = self._count, self.watched
        m.d.comb += [
            dut.requests.eq(self.requests),
            dut.advance.eq(self.advance),
            dut.restart.eq(self.restart),
            Assume(watched < count),
        ]
        keep(m, watched)
        asks, used = self.requests.bit_select(watched, 1), self.advance & (dut.grant != 0)
        others = Signal(range(2 * count))
        m.d.sync += others.eq(Mux(~asks | self.restart | dut.grant.bit_select(watched, 1), 0, others + used))
        distance = Mux(watched >= dut.turn, watched - dut.turn, watched + count - dut.turn)
        m.d.comb += [
            Assert(at_most_one(dut.grant)),
            Assert((dut.grant & ~self.requests) == 0),
            Assert((dut.grant != 0) == (self.requests != 0)),
            Assert(dut.turn < count),
            Assert(others + distance < count),  # the nearer its turn, the fewer may go before it
            Cover((others == count - 1) & asks),
        ]
        return m


class LosslessFifo(Component):
    """What goes in comes out once and in order; the handshakes are functions of how many words are held.

    Members
    -------
    valid, payload, ready : In, the two neighbours, free.
    follow : In, begin to follow the word that goes in in this cycle.
    """

    def __init__(self, bits: int, depth: int) -> None:
        self._bits, self._depth = bits, depth
        super().__init__({"valid": In(1), "payload": In(bits), "ready": In(1), "follow": In(1)})
        self._dut = Fifo(bits, depth)

    def elaborate(self, _: object) -> Module:
        """Count words, and follow any one of them from its entry to its departure."""
        m = Module()
        m.submodules.dut = dut = self._dut
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(self.payload),
            dut.o.ready.eq(self.ready),
        ]
        push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        depth = self._depth
        held, ahead = Signal(range(depth + 1)), Signal(range(depth + 1))
        following, word = Signal(), Signal(self._bits)
        m.d.sync += held.eq(held + push - pop)
        with m.If(following):
            m.d.sync += [ahead.eq(ahead - pop), following.eq(~pop | (ahead != 0))]
        with m.Elif(push & self.follow):
            m.d.sync += [following.eq(1), ahead.eq(held - pop), word.eq(self.payload)]
        m.d.comb += [
            Assert(dut.i.ready == (held != depth)),
            Assert(dut.o.valid == (held != 0)),
            Assert(held <= depth),
            Assert(held == dut._level),
            Assert(~following | (ahead < held)),
            Assert(~following | (word == Array(dut._words)[ahead])),
            Assert(dut.o.payload == dut._words[0]),
            Cover(following & (ahead == depth - 1)),
            Cover((held == depth) & pop),
        ]
        return m


class TokenBarrier(Component):
    """A token leaves an output when every present input that feeds it has given one, and not before.

    A refused offer is repeated: a link's output makes none, and the gateway's outlet repeats a token, never
    withdraws an offer, and changes a packet only for a request or a token that has come since.

    Members
    -------
    present, eager, present_in : In, straps.
    heads, requests, intake : In, as `InputPort` promises them.
    ready : In, the neighbour, free.
    """

    def __init__(self, spec: SystemSpec, port: int) -> None:
        self._spec, self._feeders = spec, FED_BY[port]
        super().__init__(
            {
                "present": In(1),
                "eager": In(1),
                "present_in": In(5),
                "heads": In(flit_struct(spec)).array(5),
                "requests": In(5),
                "intake": In(5),
                "ready": In(1),
            }
        )
        self._dut = OutputPort(spec, port)

    def elaborate(self, _: object) -> Module:
        """Keep a ledger of the tokens given since the last one left, and of their pause flags."""
        m = Module()
        m.submodules.dut = dut = self._dut
        feeders = Const(sum(1 << i for i in self._feeders), 5)
        self._promises(m, feeders)
        given, paused = Signal(5), Signal()
        giving = self.intake & feeders & self.present.replicate(5)
        complete = self.present & ((given | ~feeders | ~self.present_in) == 0b11111)
        token = dut.o.valid & (dut.o.payload.kind == Kind.TOKEN)
        wants = complete | (self.requests != 0)
        pausing = Cat(giving[i] & self.heads[i].data[0] for i in range(5)).any()
        with m.If(token & self.ready):
            m.d.sync += [given.eq(0), paused.eq(0)]
        with m.Else():
            m.d.sync += [given.eq(given | giving), paused.eq(paused | pausing)]
        m.d.comb += [
            Assert(token == (complete & (self.eager | self.ready))),
            Assert(~token | (dut.o.payload.data == paused)),
            Assert(dut.taken == given),
            Assert((given & ~feeders) == 0),
            Assert(dut._pause == paused),
            Assert(dut._turns.turn < 5),
            Assert(at_most_one(dut.granted)),
            Assert((dut.granted & ~self.requests) == 0),
            Assert((dut.granted == 0) | (self.ready & ~token)),
            Assert(dut.o.valid == (wants & (self.eager | self.ready))),
            Assert(~self.ready | token | ((dut.granted != 0) == (self.requests != 0))),
            *(Assert(~dut.granted[i] | (dut.o.payload == self.heads[i])) for i in range(5)),
            Cover(token & paused),
            Cover((dut.granted != 0) & (given != 0)),
        ]
        self._repeats(m, complete)
        return m

    def _repeats(self, m: Module, complete: Value) -> None:
        """Compare the offer with the one refused in the cycle before."""
        o = self._dut.o
        refused, was, token, asked = Signal(), Signal.like(o.payload), Signal(), Signal(5)
        m.d.sync += [refused.eq(o.valid & ~self.ready), was.eq(o.payload), token.eq(complete)]
        m.d.sync += asked.eq(self.requests)
        new = (self.requests & ~asked).any() | (complete & ~token)
        kept = (asked & ~self.requests) == 0
        held = Cat(~asked[i] | (self.heads[i] == last) for i, last in enumerate(self._last(m))).all()
        same = o.payload == was
        m.d.comb += [
            Assume(~refused | token | (kept & held)),  # an input keeps a head until it is taken
            Assert(~refused | self.eager),
            Assert(~refused | o.valid),
            Assert(~refused | same | (new & ~token)),
            Cover(refused & ~same),
            Cover(refused & token),
        ]

    def _last(self, m: Module) -> list[Signal]:
        """Return the heads of the cycle before."""
        last = [Signal.like(self.heads[i], name=f"last_{i}") for i in range(5)]
        m.d.sync += [was.eq(self.heads[i]) for i, was in enumerate(last)]
        return last

    def _promises(self, m: Module, feeders: Value) -> None:
        """Drive the part; assume of its neighbours what is proved of them."""
        dut = self._dut
        m.d.comb += [
            dut.present.eq(self.present),
            dut.eager.eq(self.eager),
            dut.present_in.eq(self.present_in),
            *(dut.heads[i].eq(self.heads[i]) for i in range(5)),
            dut.requests.eq(self.requests),
            dut.intake.eq(self.intake),
            dut.o.ready.eq(self.ready),
            Assume((self.requests & ~(feeders & self.present.replicate(5))) == 0),
            Assume((self.intake & ~self.present_in) == 0),
            Assume(~self.present | ((self.intake & feeders & dut.taken) == 0)),
            *(Assume(~self.requests[i] | (self.heads[i].kind != Kind.TOKEN)) for i in range(5)),
        ]
        keep(m, self.present, self.eager, self.present_in)


class HonestInput(Component):
    """A packet reaches every present output on its way once; nothing but a reply passes its input's token.

    The outputs held beside a flit are those of its way, for the head and for the flit behind it.

    Members
    -------
    x, y, present_out : In, straps.
    i : In(stream), free.
    taken : In(5), free.
    grants : In(5), what outputs would grant if they were asked, free.
    """

    def __init__(self, spec: SystemSpec, port: int) -> None:
        self._port = port
        super().__init__(
            {
                "x": In(spec.x_bits),
                "y": In(spec.y_bits),
                "present_out": In(5),
                "i": In(flit_stream(spec)),
                "taken": In(5),
                "grants": In(5),
            }
        )
        self._dut = InputPort(spec, port)

    def _way(self, flit: "data.View[data.StructLayout]") -> Value:
        """Return the outputs of a flit's rectangle: x first, then y, never back."""
        x, y, port = self.x, self.y, self._port
        here = (flit.x0 <= x) & (x <= flit.x1) | (port in (N, S))
        turns = {
            N: here & (flit.y0 < y) & (port != N),
            S: here & (y < flit.y1) & (port != S),
            E: (x < flit.x1) & (port in (W, L)),
            W: (flit.x0 < x) & (port in (E, L)),
            L: here & (flit.y0 <= y) & (y <= flit.y1),
        }
        return Cat(turns[o] for o in range(5))

    def _honest_requests(self, m: Module, wanted: Value, copied: Value) -> None:
        """Requests are of a packet, for outputs on its way that it can reach and has not reached yet."""
        dut, head, flit = self._dut, self._dut._fifo.o, self._dut.head
        fed = Const(sum(1 << o for o in range(5) if self._port in FED_BY[o]), 5)
        m.d.comb += [
            Assert((dut.requests & ~wanted) == 0),
            Assert((dut.requests & copied) == 0),
            Assert((dut.requests & ~fed) == 0),
            Assert((dut.requests == 0) | (head.valid & (flit.kind != Kind.TOKEN))),
            Assert(((dut.requests & self.taken) == 0) | (flit.kind == Kind.REPLY)),
        ]

    def elaborate(self, _: object) -> Module:
        """Note which copies have left since the head came."""
        m = Module()
        m.submodules.dut = dut = self._dut
        connect(m, flipped(self.i), dut.i)
        granted = self.grants & dut.requests
        m.d.comb += [
            dut.x.eq(self.x),
            dut.y.eq(self.y),
            dut.present_out.eq(self.present_out),
            dut.taken.eq(self.taken),
            dut.granted.eq(granted),
        ]
        keep(m, self.x, self.y, self.present_out)
        head, flit, second = dut._fifo.o, dut.head, dut._fifo._words[1]
        leaves, token = head.valid & head.ready, flit.kind == Kind.TOKEN
        copied, wanted = Signal(5), self._way(flit) & self.present_out
        asked, was = Signal(5), Signal.like(flit)  # a request stays, with its flit, until it is granted
        reply = (flit.kind == Kind.REPLY).replicate(5)
        m.d.sync += [asked.eq(dut.requests & ~granted), was.eq(flit)]
        m.d.sync += copied.eq(Mux(leaves, 0, copied | granted))
        self._honest_requests(m, wanted, copied)
        m.d.comb += [
            Assert(~leaves | token | ((copied | granted) == wanted)),
            Assert(~(leaves & token) | dut.intake),
            Assert(~dut.intake | (leaves & token & ((self.taken & self.present_out) == 0))),
            Assert((copied == 0) | (head.valid & ~token & ((copied & ~wanted) == 0))),
            Cover(leaves & ~token & (copied != 0)),
            Cover(dut.intake),
            Assert((dut._served & self.present_out) == copied),
            Assert(dut._fifo._level <= 2),
            Assert((head.valid & ~token) | (dut._served == 0)),
            Assert((dut._served & ~self._way(flit)) == 0),
            Assert((asked & ~dut.requests & (~self.taken | reply)) == 0),
            Assert((asked == 0) | (flit == was)),
            Assert(~head.valid | (head.payload.want == self._way(flit))),
            Assert((dut._fifo._level != 2) | (second.want == self._way(second.flit))),
        ]
        return m
