# SPDX-License-Identifier: Apache-2.0
"""What must hold of a link that is shared by a side of a chip (links.md), as components to be proved.

The sender alone is honest and fair under what is proved of the whole link: that credits and flits of a lane
add up. The FIFOs of the lanes are proved in `sim_tests.formal.parts`.
"""

# mypy: disable-error-code="call-arg, valid-type, attr-defined"
# The stubs ask for a message that Assert, Assume and Cover do without.

from itertools import pairwise

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Mux, Signal
from amaranth.lib.wiring import In

from rtl.component import Component
from rtl.link import LEAST, SharedLink, SharedSender, beats
from sim_tests.formal.parts import at_most_one, keep

__all__ = ["HonestSender", "LosslessLink"]


class HonestSender(Component):
    """The lanes of a shared link take turns: what leaves is a flit of a lane with a credit, and its number.

    A lane that has a flit and a credit waits for one flit of each other lane at most, and the wires never
    rest while one has. It is assumed that a credit comes back for each flit at most once.

    Members
    -------
    valid, payload : In, the routers' side, free.
    credit : In(lanes), free but for what is assumed.
    watched : In, the lane whose patience is tried; keeps its value.
    """

    def __init__(self, bits: int, wires: int, depth: int, *, lanes: int, lane_bits: int) -> None:
        self._bits, self._wires, self._depth, self._lanes = bits, wires, depth, lanes
        self._lane_bits, self._beats = lane_bits, beats(bits, wires, lane_bits)
        free = {"valid": In(lanes), "payload": In(bits).array(lanes), "credit": In(lanes)}
        super().__init__(free | {"watched": In(range(lanes))})
        self._dut = SharedSender(bits, wires, depth, lanes, lane_bits)

    def elaborate(self, _: object) -> Module:
        """Keep each lane's flit and credits, the word on the wires, and how long the watched lane waits."""
        m = Module()
        m.submodules.dut = dut = self._dut
        lanes, n = self._lanes, self._beats
        goes, can = Signal(lanes), Signal(lanes)
        word, left, waited = Signal(n * self._wires), Signal(range(n + 1)), Signal(range(lanes * n + 1))
        m.d.sync += left.eq(Mux(goes.any(), n, Mux(left == 0, 0, left - 1)))
        self._keep_lanes(m, goes, can, word)
        patient = can.bit_select(self.watched, 1) & ~goes.bit_select(self.watched, 1)
        m.d.sync += waited.eq(Mux(patient, waited + 1, 0))
        turn = dut._turns.turn
        distance = Mux(self.watched >= turn, self.watched - turn, self.watched + lanes - turn)
        m.d.comb += [
            dut.link.credit.eq(self.credit),
            Assume(self.watched < lanes),
            Assert(at_most_one(goes)),
            Assert(goes.any() == (can.any() & (left <= 1))),  # the wires never rest while a lane can go
            Assert(waited + Mux(left == 0, 0, left - 1) + distance * n < lanes * n),
            Assert((turn < lanes) & (dut._left == left) & (dut.link.strobe == (left != 0))),
            *(
                Assert((left != rest) | (dut._rest[: rest * self._wires] == word[(n - rest) * self._wires :]))
                for rest in range(1, n + 1)
            ),
            Assert(dut.link.beat == dut._rest[: self._wires]),
            Cover((waited == (lanes - 1) * n) & goes.any()),
            Cover((left == 1) & goes.any()),
        ]
        keep(m, self.watched)
        return m

    def _keep_lanes(self, m: Module, goes: Signal, can: Signal, word: Signal) -> None:
        """Keep the flit and the credits of each lane, and note which lanes go, which can, and what goes."""
        dut = self._dut
        for lane in range(self._lanes):
            held = Signal(name=f"held_{lane}")
            place, room = Signal(self._bits), Signal(range(self._depth + 1), init=self._depth)
            m.d.comb += [
                dut.i[lane].valid.eq(self.valid[lane]),
                dut.i[lane].payload.eq(self.payload[lane]),
                goes[lane].eq(dut._places[lane].o.ready),
                can[lane].eq(held & (room != 0)),
                Assume(~self.credit[lane] | (room != self._depth)),
                Assert(dut.i[lane].ready == ~held),
                Assert((dut._rooms[lane] == room) & (room <= self._depth)),
                Assert(~goes[lane] | can[lane]),
                Assert(~held | (dut._places[lane].o.payload == place)),
            ]
            m.d.sync += room.eq(room + self.credit[lane] - goes[lane])
            with m.If(goes[lane]):
                m.d.sync += [word.eq(Cat(place, Const(lane, self._lane_bits))), held.eq(0)]
            with m.Elif(self.valid[lane] & ~held):
                m.d.sync += [place.eq(self.payload[lane]), held.eq(1)]


class LosslessLink(Component):
    """Credits, flits on the way and flits held of a lane add up to its depth; flits arrive as they were sent.

    Members
    -------
    valid, payload, ready : In, the routers at both ends, free.
    """

    def __init__(
        self, bits: int, wires: int, depth: int, latency: int, *, lanes: int, lane_bits: int
    ) -> None:
        self._depth, self._lanes, self._beats = depth, lanes, beats(bits, wires, lane_bits)
        self._bits, self._ways = bits, latency - LEAST
        super().__init__({"valid": In(lanes), "payload": In(bits).array(lanes), "ready": In(lanes)})
        self._dut = SharedLink(bits, wires, depth, latency, lanes=lanes, lane_bits=lane_bits)

    def elaborate(self, _: object) -> Module:
        """Follow the number of each lane's flits between the ends; the last beat of each is its arrival."""
        m = Module()
        m.submodules.dut = dut = self._dut
        sender, receiver, lanes = dut._sender, dut._receiver, range(self._lanes)
        granted, n = Signal(self._lanes), self._beats
        stages = [Signal.like(granted, name=f"granted_{age}") for age in range(n + self._ways)]
        m.d.comb += granted.eq(Cat(place.o.ready for place in sender._places))
        m.d.sync += [later.eq(now) for now, later in pairwise([granted, *stages])]
        words = [Signal(self._bits, name=f"word_{age}") for age in range(len(stages))]
        m.d.sync += [later.eq(now) for now, later in pairwise(words)]
        for lane in lanes:
            with m.If(granted[lane]):
                m.d.sync += words[0].eq(sender._places[lane].o.payload)
        comes = [sender.link.strobe, *(Signal(name=f"strobe_{age}") for age in range(self._ways))]
        m.d.sync += [later.eq(now) for now, later in pairwise(comes)]
        self._count(m, stages, words[-1])
        near = [stage.any() for stage in stages[:n]]
        m.d.comb += [
            Assert(at_most_one(Cat(near))),
            Assert(receiver.link.strobe == comes[-1]),
            *(Assert(~stages[self._ways + age].any() | (receiver._beat == age)) for age in range(n)),
            Assert(receiver.link.strobe | (receiver._beat == 0)),
            *(Assert(~near[age] | (sender._left == n - age)) for age in range(n)),
            Assert(Cat(near).any() == (sender._left != 0)),
            Cover((sender._rooms[0] == 0) & sender.i[0].valid & (stages[-1] == 1)),
        ]
        return m

    def _count(self, m: Module, stages: list[Signal], word: Signal) -> None:
        """Count what each lane has: credits at both ends and on the way, flits on the way and held."""
        dut = self._dut
        sender, receiver = dut._sender, dut._receiver
        for lane in range(self._lanes):
            fifo = receiver._fifos[lane]
            backs = [
                receiver.link.credit[lane],
                *(Signal(name=f"back_{lane}_{i}") for i in range(self._ways)),
            ]
            m.d.sync += [later.eq(now) for now, later in pairwise(backs)]
            flying = sum((stage[lane] for stage in stages), Const(0))
            m.d.comb += [
                dut.i[lane].valid.eq(self.valid[lane]),
                dut.i[lane].payload.eq(self.payload[lane]),
                dut.o[lane].ready.eq(self.ready[lane]),
                Assert(sender._rooms[lane] + flying + fifo._level + sum(backs, Const(0)) == self._depth),
                Assert(fifo.i.valid == stages[-1][lane]),  # with its last beat, in its own lane
                Assert(~fifo.i.valid | ((fifo._level != self._depth) & (fifo.i.payload == word))),
                Assert(sender.link.credit[lane] == backs[-1]),
            ]
