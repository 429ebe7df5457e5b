# SPDX-License-Identifier: Apache-2.0
"""A link between chips: flits cross a few wires beat by beat, and credits come back (links.md)."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.arbiter import RoundRobin
from rtl.component import Component
from rtl.fifo import Fifo

__all__ = [
    "Link",
    "LinkReceiver",
    "LinkSender",
    "LinkWay",
    "LinkWires",
    "SharedLink",
    "SharedSender",
    "beats",
]


LEAST = 2
"""Latency of a link without a register on its wires: a beat and a credit leave and come by registers."""


def beats(shape: ShapeLike, wires: int, lane_bits: int = 0) -> int:
    """Return how many cycles a word of a shape, and the number of its lane, take on ``wires`` wires."""
    return -(-(Shape.cast(shape).width + lane_bits) // wires)


class LinkWires(wiring.Signature):
    """The pins of a link, seen from its sender; both directions are registered at either end.

    Members
    -------
    beat : Out(wires)
        Bits of a flit, lowest first, and then of its lane.
    strobe : Out(1)
        ``beat`` has a meaning in this cycle.
    credit : In(lanes)
        The receiver has passed a flit of this lane on: there is room for another.
    """

    def __init__(self, wires: int, lanes: int = 1) -> None:
        super().__init__({"beat": Out(wires), "strobe": Out(1), "credit": In(lanes)})


class LinkSender(Component):
    """Take a flit when the receiver has room for it, and send it beat by beat.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a flit.
    wires : int
        Bits of a beat, 1 .. the width of a flit.
    depth : int
        Flits that the receiver holds: the credits after reset.

    Members
    -------
    i : In(stream)
        Ready while a credit is left and no beat but the last of another flit is to be sent.
    link : Out(LinkWires)
        The pins.
    """

    def __init__(self, shape: ShapeLike, wires: int, depth: int) -> None:
        self._wires, self._depth, self._beats = wires, depth, beats(shape, wires)
        super().__init__({"i": In(stream.Signature(shape)), "link": Out(LinkWires(wires))})

    def elaborate(self, platform: object) -> Module:
        """Shift a flit out, lowest bits first; ``room`` counts the credits."""
        m = Module()
        rest = Signal(self._beats * self._wires, reset_less=True)
        left = Signal(range(self._beats + 1))
        room = Signal(range(self._depth + 1), init=self._depth)

        takes = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq((room != 0) & (left <= 1)),
            self.link.beat.eq(rest[: self._wires]),
            self.link.strobe.eq(left != 0),
        ]
        m.d.sync += [room.eq(room + self.link.credit - takes)]
        with m.If(left != 0):
            m.d.sync += [rest.eq(rest[self._wires :]), left.eq(left - 1)]
        with m.If(takes):
            m.d.sync += [rest.eq(self.i.payload), left.eq(self._beats)]
        return m


class SharedSender(Component):
    """Keep a flit of each lane, and send one after the other, as lanes take turns and have credits.

    Parameters
    ----------
    shape, wires : ShapeLike, int
        As of `LinkSender`; ``wires`` at most the bits of a flit and of a lane's number.
    depth : int
        Flits that the receiver holds of each lane.
    lanes : int
        Number of lanes.
    lane_bits : int
        Bits that tell a lane, at least as many as that takes.

    Members
    -------
    i : In(stream), one a lane
        Ready while the lane's place is empty.
    link : Out(LinkWires)
        The pins.
    """

    def __init__(self, shape: ShapeLike, wires: int, depth: int, lanes: int, lane_bits: int) -> None:
        self._wires, self._depth, self._lane_bits = wires, depth, lane_bits
        self._beats = beats(shape, wires, lane_bits)
        self._places = [Fifo(shape, 1) for _ in range(lanes)]
        self._turns = RoundRobin(lanes)
        self._rooms = [Signal(range(depth + 1), init=depth, name=f"room_{lane}") for lane in range(lanes)]
        self._rest = Signal(self._beats * wires, reset_less=True, name="rest")
        self._left = Signal(range(self._beats + 1), name="left")
        streams = In(stream.Signature(shape)).array(lanes)
        super().__init__({"i": streams, "link": Out(LinkWires(wires, lanes))})

    def elaborate(self, platform: object) -> Module:
        """Grant the wires in the cycle of the last beat or later; then shift a flit and its lane out."""
        m = Module()
        m.submodules.turns = turns = self._turns
        rest, left = self._rest, self._left
        free = Signal()
        m.d.comb += [
            free.eq(left <= 1),
            turns.advance.eq(free),
            self.link.beat.eq(rest[: self._wires]),
            self.link.strobe.eq(left != 0),
        ]
        with m.If(left != 0):
            m.d.sync += [rest.eq(rest[self._wires :]), left.eq(left - 1)]
        for lane, (place, room) in enumerate(zip(self._places, self._rooms, strict=True)):
            m.submodules[f"place_{lane}"] = place
            wiring.connect(m, wiring.flipped(self.i[lane]), place.i)
            goes = free & turns.grant[lane]
            m.d.comb += [turns.requests[lane].eq(place.o.valid & (room != 0)), place.o.ready.eq(goes)]
            m.d.sync += room.eq(room + self.link.credit[lane] - goes)
            with m.If(goes):
                word = Cat(place.o.payload, Const(lane, self._lane_bits))
                m.d.sync += [rest.eq(word), left.eq(self._beats)]
        return m


class LinkReceiver(Component):
    """Put beats together to flits, hold them, and give a credit back for each that is passed on.

    Parameters
    ----------
    shape, wires, depth, lanes, lane_bits
        As the sender's; by default of one lane that no bits tell.

    Members
    -------
    link : In(LinkWires)
        The pins.
    o : Out(stream), one a lane
        Flits in the order in which they were sent; it never waits for `ready`.
    """

    def __init__(self, shape: ShapeLike, wires: int, depth: int, lanes: int = 1, lane_bits: int = 0) -> None:
        self._wires, self._beats = wires, beats(shape, wires, lane_bits)
        self._flit_bits, self._lane_bits = Shape.cast(shape).width, lane_bits
        streams = Out(stream.Signature(shape)).array(lanes)
        super().__init__({"link": In(LinkWires(wires, lanes)), "o": streams})
        self._fifos = [Fifo(shape, depth) for _ in range(lanes)]
        self._beat = Signal(range(self._beats), name="place")

    def elaborate(self, platform: object) -> Module:
        """Keep all beats but the last: it goes straight into a FIFO, which has room by the credits."""
        m = Module()
        kept = Signal((self._beats - 1) * self._wires, reset_less=True)
        beat = self._beat
        last = self.link.strobe & (beat == self._beats - 1)
        word = Cat(kept, self.link.beat)
        lane_of = word[self._flit_bits : self._flit_bits + self._lane_bits]
        for lane, fifo in enumerate(self._fifos):
            m.submodules[f"fifo_{lane}"] = fifo
            wiring.connect(m, fifo.o, wiring.flipped(self.o[lane]))
            m.d.comb += [
                fifo.i.valid.eq(last & (lane_of == lane)),
                Value.cast(fifo.i.payload).eq(word[: self._flit_bits]),
            ]
            m.d.sync += self.link.credit[lane].eq(fifo.o.valid & fifo.o.ready)
        with m.If(self.link.strobe):
            m.d.sync += [kept.eq(word >> self._wires), beat.eq(Mux(last, 0, beat + 1))]
        return m


class LinkWay(Component):
    """What lies between the pins of two chips: registers for the latency that the ends do not take.

    Parameters
    ----------
    wires, lanes : int
        As an end's.
    latency : int
        At least `LEAST`: what the ends take; any more are registers on the wires.

    Members
    -------
    i : In(LinkWires)
        The pins of the sender.
    o : Out(LinkWires)
        The pins of the receiver.
    """

    def __init__(self, wires: int, latency: int, lanes: int = 1) -> None:
        self._registers = latency - LEAST
        super().__init__({"i": In(LinkWires(wires, lanes)), "o": Out(LinkWires(wires, lanes))})

    def _delayed(self, m: Module, signal: Signal, *, reset_less: bool = False) -> Signal:
        for place in range(self._registers):
            later = Signal.like(signal, name=f"{signal.name}_{place}", reset_less=reset_less)
            m.d.sync += later.eq(signal)
            signal = later
        return signal

    def elaborate(self, platform: object) -> Module:
        """Delay both directions; what crosses with no strobe needs no reset."""
        m = Module()
        m.d.comb += [
            self.o.beat.eq(self._delayed(m, self.i.beat, reset_less=True)),
            self.o.strobe.eq(self._delayed(m, self.i.strobe)),
            self.i.credit.eq(self._delayed(m, self.o.credit)),
        ]
        return m


class Link(Component):
    """Both ends of a link and the way between them: a link alone, as it is tested and proven.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a flit.
    wires, depth, latency
        As of the ends and the way.

    Members
    -------
    i, o
        Streams of flits, in and out.
    """

    def __init__(self, shape: ShapeLike, wires: int, depth: int, latency: int) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})
        self._sender, self._receiver = LinkSender(shape, wires, depth), LinkReceiver(shape, wires, depth)
        self._way = LinkWay(wires, latency)

    def elaborate(self, platform: object) -> Module:
        """Join the ends by the way."""
        m = Module()
        m.submodules.sender, m.submodules.receiver = sender, receiver = self._sender, self._receiver
        m.submodules.way = way = self._way
        wiring.connect(m, wiring.flipped(self.i), sender.i)
        wiring.connect(m, receiver.o[0], wiring.flipped(self.o))
        wiring.connect(m, sender.link, way.i)
        wiring.connect(m, way.o, receiver.link)
        return m


class SharedLink(Component):
    """Both ends of a shared link and the way between them: a link alone, as it is tested.

    Parameters
    ----------
    shape, wires, depth, latency
        As of `Link`.
    lanes, lane_bits : int
        As of the ends.

    Members
    -------
    i, o
        Streams of flits, in and out, one a lane.
    """

    def __init__(
        self, shape: ShapeLike, wires: int, depth: int, latency: int, *, lanes: int, lane_bits: int
    ) -> None:
        streams = stream.Signature(shape)
        super().__init__({"i": In(streams).array(lanes), "o": Out(streams).array(lanes)})
        self._lanes = lanes
        self._sender = SharedSender(shape, wires, depth, lanes, lane_bits)
        self._receiver = LinkReceiver(shape, wires, depth, lanes, lane_bits)
        self._way = LinkWay(wires, latency, lanes)

    def elaborate(self, platform: object) -> Module:
        """Join the ends by the way."""
        m = Module()
        m.submodules.sender, m.submodules.receiver = sender, receiver = self._sender, self._receiver
        m.submodules.way = way = self._way
        for lane in range(self._lanes):
            wiring.connect(m, wiring.flipped(self.i[lane]), sender.i[lane])
            wiring.connect(m, receiver.o[lane], wiring.flipped(self.o[lane]))
        wiring.connect(m, sender.link, way.i)
        wiring.connect(m, way.o, receiver.link)
        return m
