# SPDX-License-Identifier: Apache-2.0
"""The ladder: thresholds of one step width, found bit by bit (`docs/reference/machine.md`, quantisers)."""

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import COUNT_BITS, CROSSED_BITS
from rtl.component import Component
from rtl.layouts import ladder_struct
from rtl.visit import record, visit_struct

__all__ = ["Ladder", "rungs"]


def rungs(spec: SystemSpec) -> int:
    """Return how many bits a ladder decides, one stage each."""
    return spec.core.payload_bits - (not spec.core.signed_ladder)


class Ladder(Component):
    """Decide the count of a neuron bit by bit, from the highest; a neuron a cycle.

    No stage knows a threshold. It holds the *rest* r = ((V - theta_0) << F) + (2^F - 1) - b - c a, and V
    crosses T_(c+n) exactly if r - n a is not negative: one subtraction a stage. In the end r >> F is V - T_c.
    Ties round up at odd counts only, so they widen the step of the last stage. A count below zero begins at
    -2^(P-1); the highest bit then is the sign of V - theta_0.

    Members
    -------
    enter : In
        A neuron comes: ``visit`` and its ``word`` of the threshold memory.
    visit, word : In
        Valid with ``enter``.
    listed : In
        The core compares with lists.
    count, last : In
        What a list found, one cycle after ``enter``: then the neuron passes as it is.
    low, high : In
        The least count of a signed ladder, negated, and the largest count; both fit the payload.
    valid, found : Out
        The neuron leaves, `rungs` + 1 cycles after ``enter``.
    crossed : Out
        Its count.
    left : Out
        V less the threshold that a reset subtracts, if the core compares with ladders.
    listed_last : Out
        The last threshold crossed, if it compares with lists.
    awake : Out
        A neuron comes or is in a stage.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        core = spec.core
        self._fraction = core.fraction_bits
        self._difference = core.threshold_bits + 1
        tall = core.payload_bits if core.signed_ladder else 1
        self._lowest = Signal(core.payload_bits, name="lowest")
        self._rest = core.threshold_bits + core.fraction_bits + tall
        super().__init__(
            {
                "enter": In(1),
                "visit": In(visit_struct(spec)),
                "word": In(ladder_struct(spec)),
                "listed": In(1),
                "count": In(COUNT_BITS),
                "last": In(signed(core.threshold_bits)),
                "low": In(COUNT_BITS),
                "high": In(COUNT_BITS),
                "valid": Out(1),
                "found": Out(visit_struct(spec)),
                "crossed": Out(signed(CROSSED_BITS)),
                "left": Out(signed(self._difference)),
                "listed_last": Out(signed(core.threshold_bits)),
                "awake": Out(1),
            }
        )

    def _stage(self, name: str) -> data.View:
        """Return the registers in front of a stage."""
        core = self._core
        members: dict[str, ShapeLike] = {
            "visit": visit_struct(self._spec),
            "count": signed(CROSSED_BITS),
            "rest": signed(self._rest),
            "step": core.threshold_bits + core.fraction_bits + 1,
            "ties": 1,
            "at_most": 1,
        }
        if core.signed_ladder:
            members |= {"above": signed(self._difference), "at_least": 1}
        return record(data.StructLayout(members), name)

    def elaborate(self, platform: object) -> Module:
        """One stage to begin, then one for each bit."""
        m = Module()
        m.d.comb += self._lowest.eq(-self.low)
        stage, valid = self._begin(m)
        busy = [self.enter, valid]
        for bit in reversed(range(rungs(self._spec))):
            following, arrived = self._stage(f"stage{bit}"), Signal(name=f"valid{bit}")
            m.d.sync += arrived.eq(valid)
            with m.If(valid):
                self._pass(m, bit, stage, following)
                self._rung(m, bit, stage, following)
            stage, valid = following, arrived
            busy.append(valid)
        rest = stage.rest[self._fraction :].as_signed()
        m.d.comb += [
            self.valid.eq(valid),
            self.awake.eq(Cat(busy).any()),
            self.found.eq(stage.visit),
            self.crossed.eq(stage.count),
            self.listed_last.eq(rest),
            self.left.eq(Mux(stage.count < 0, stage.above, rest) if self._core.signed_ladder else rest),
        ]
        return m

    def _begin(self, m: Module) -> tuple[data.View, Signal]:
        """Take the neuron in: V - theta_0 and the fraction, of a count of zero."""
        word, stage, valid = self.word, self._stage("begun"), Signal(name="valid_begun")
        m.d.sync += valid.eq(self.enter)
        with m.If(self.enter):
            m.d.sync += [
                Value.cast(stage.visit).eq(Value.cast(self.visit)),
                stage.rest.eq(Cat(~word.offset, self.visit.potential - word.first).as_signed()),
                stage.step.eq(word.step + self._widening(rungs(self._spec), word.ties)),
                stage.ties.eq(word.ties),
            ]
        seen = data.View(stage.shape(), Signal(stage.shape().size, name="seen"))
        m.d.comb += [
            Value.cast(seen).eq(Value.cast(stage)),
            seen.count.eq(Mux(self.listed, self.count, 0)),
        ]
        with m.If(self.listed):
            m.d.comb += seen.rest.eq(self.last << self._fraction)
        return seen, valid

    def _widening(self, bit: int, ties: Value) -> Value:
        """Return what the step grows by as it leaves the stage of a bit: ties before the last one."""
        return (ties << (self._fraction - self._core.payload_bits)) if bit == 1 else Const(0)

    def _pass(self, m: Module, bit: int, stage: data.View, following: data.View) -> None:
        """Load the next stage as if the bit were 0."""
        m.d.sync += [
            Value.cast(following).eq(Value.cast(stage)),
            following.step.eq(stage.step + self._widening(bit, stage.ties)),
        ]

    def _rung(self, m: Module, bit: int, stage: data.View, following: data.View) -> None:
        """Decide a bit: c + 2^bit is accepted if V crosses its threshold, within low .. high."""
        core, test = self._core, Value.cast(stage.rest)
        sign = core.signed_ladder and bit == core.payload_bits - 1
        if not sign:
            test = stage.rest - (stage.step << bit)
        climbs, accepted = Signal(name=f"climbs{bit}"), Signal(name=f"accepted{bit}")
        may, must = self._limits(m, bit, stage, following, accepted)
        m.d.comb += [
            climbs.eq(~self.listed & ~stage.visit.silent),
            accepted.eq(climbs & (must | may & (test >= 0))),
        ]
        if core.signed_ladder:
            m.d.sync += following.above.eq(test >> self._fraction)
        with m.If(accepted):
            m.d.sync += following.rest.eq(test)
            if not sign:
                m.d.sync += following.count.eq(stage.count | 1 << bit)
            if core.signed_ladder:
                m.d.sync += following.above.eq(stage.above)
        if sign:
            with m.Elif(climbs):
                m.d.sync += following.count.eq(core.payload_min)
                m.d.sync += following.rest.eq(stage.rest + (stage.step << bit))

    def _limits(
        self, m: Module, bit: int, stage: data.View, following: data.View, accepted: Signal
    ) -> tuple[Value, Value]:
        """Return whether a bit may be accepted, and whether it must be.

        A limit decides only while all higher bits, of which the first has none, are its own; the sign counts
        as 1 if the count is not negative. Other bits of the largest count are not compared: it fits the
        payload.
        """
        core, visit = self._core, stage.visit
        sign, first = core.signed_ladder and bit == core.payload_bits - 1, bit == rungs(self._spec) - 1
        most, at_most = Const(1) if sign else self.high[bit], Const(1) if first else stage.at_most
        m.d.sync += following.at_most.eq(at_most & (accepted == most))
        if not core.signed_ladder:
            return ~at_most | most, Const(0)
        least = visit.signed & self._lowest[bit]
        least = ~least if sign else least
        at_least = Const(1) if first else stage.at_least
        m.d.sync += following.at_least.eq(at_least & (accepted == least))
        return ~at_most | most, at_least & least
