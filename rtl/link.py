# SPDX-License-Identifier: Apache-2.0
"""A link between chips: flits cross a few wires beat by beat, and credits come back (links.md)."""

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.component import Component
from rtl.fifo import Fifo

__all__ = ["Link", "LinkReceiver", "LinkSender", "LinkWay", "LinkWires", "beats"]


LEAST = 2
"""Latency of a link without a register on its wires: a beat and a credit leave and come by registers."""


def beats(shape: ShapeLike, wires: int) -> int:
    """Return how many cycles a word of a shape takes on ``wires`` wires."""
    return -(-Shape.cast(shape).width // wires)


class LinkWires(wiring.Signature):
    """The pins of a link, seen from its sender; both directions are registered at either end.

    Members
    -------
    beat : Out(wires)
        Bits of a flit, lowest first.
    strobe : Out(1)
        ``beat`` has a meaning in this cycle.
    credit : In(1)
        The receiver has passed a flit on: there is room for another.
    """

    def __init__(self, wires: int) -> None:
        super().__init__({"beat": Out(wires), "strobe": Out(1), "credit": In(1)})


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


class LinkReceiver(Component):
    """Put beats together to flits, hold them, and give a credit back for each that is passed on.

    Parameters
    ----------
    shape, wires, depth
        As the sender's.

    Members
    -------
    link : In(LinkWires)
        The pins.
    o : Out(stream)
        Flits in the order in which they were sent; it never waits for `ready`.
    """

    def __init__(self, shape: ShapeLike, wires: int, depth: int) -> None:
        self._wires, self._beats = wires, beats(shape, wires)
        super().__init__({"link": In(LinkWires(wires)), "o": Out(stream.Signature(shape))})
        self._fifo = Fifo(shape, depth)

    def elaborate(self, platform: object) -> Module:
        """Keep all beats but the last: it goes straight into the FIFO, which has room by the room."""
        m = Module()
        m.submodules.fifo = fifo = self._fifo
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        kept = Signal((self._beats - 1) * self._wires, reset_less=True)
        beat = Signal(range(self._beats))
        last = self.link.strobe & (beat == self._beats - 1)
        m.d.comb += [fifo.i.valid.eq(last), Value.cast(fifo.i.payload).eq(Cat(kept, self.link.beat))]
        m.d.sync += self.link.credit.eq(self.o.valid & self.o.ready)
        with m.If(self.link.strobe):
            m.d.sync += [
                kept.eq(Cat(kept, self.link.beat) >> self._wires),
                beat.eq(Mux(last, 0, beat + 1)),
            ]
        return m


class LinkWay(Component):
    """What lies between the pins of two chips: registers for the latency that the ends do not take.

    Parameters
    ----------
    wires : int
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

    def __init__(self, wires: int, latency: int) -> None:
        self._registers = latency - LEAST
        super().__init__({"i": In(LinkWires(wires)), "o": Out(LinkWires(wires))})

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
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        wiring.connect(m, sender.link, way.i)
        wiring.connect(m, way.o, receiver.link)
        return m
