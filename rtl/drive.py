# SPDX-License-Identifier: Apache-2.0
"""The drive of a neuron: its column sums times the strengths, one column a cycle (rule 6)."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import STRENGTH_BITS, SystemSpec
from rtl.component import Component
from rtl.visit import register

__all__ = ["Drive"]


class Drive(Component):
    """Select a column sum in two stages, multiply it by its strength, add: a column a cycle.

    A column given in cycle t is in the drive from t + 4 on; from t + 5 on where the base takes as long.

    Members
    -------
    integrates : In
        The step integrates; else all column sums count as zero.
    live, begins, ends : In
        A column is given; it is a neuron's first, and its last.
    lane, digit : In
        Which column of the block, and which strength.
    sums : In
        The column sums of the block.
    strength : In
        The table of strengths.
    drive : Out
        The sum of products since the first column.
    whole : Out
        The last column is in the drive since this cycle.
    awake : Out
        A column is on its way.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._core = core = spec.core
        super().__init__(
            {
                "integrates": In(1),
                "live": In(1),
                "begins": In(1),
                "ends": In(1),
                "lane": In(range(core.lanes)),
                "digit": In(range(core.strengths)),
                "sums": In(signed(core.sum_bits)).array(core.lanes),
                "strength": In(signed(STRENGTH_BITS)).array(core.strengths),
                "whole": Out(1),
                "drive": Out(signed(core.drive_bits)),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wait for the base if it takes a product; three stages to the product of the column; add it."""
        m = Module()
        live, begins, ends = [self.live], [self.begins], [self.ends]
        lane, digit = self.lane, self.digit
        for stage in range(3 + self._core.multiplies):
            live.append(Signal(name=f"live{stage}"))
            begins.append(register(1, f"begins{stage}"))
            ends.append(register(1, f"ends{stage}"))
            m.d.sync += [row[-1].eq(row[-2]) for row in (live, begins, ends)]
        if self._core.multiplies:
            lane, digit = register(len(self.lane), "lane_waits"), register(len(self.digit), "digit_waits")
            with m.If(self.live):
                m.d.sync += [lane.eq(self.lane), digit.eq(self.digit)]
        product = self._product(m, live[-4:], lane, digit)
        drive = register(signed(self._core.drive_bits), "accumulator")
        whole = Signal(name="is_whole")
        m.d.comb += [self.drive.eq(drive), self.whole.eq(whole), self.awake.eq(Cat(live, whole).any())]
        m.d.sync += whole.eq(live[-1] & ends[-1])
        with m.If(live[-1]):
            m.d.sync += drive.eq(Mux(begins[-1], 0, drive) + product)
        return m

    def _product(self, m: Module, live: list[Signal], lane: Value, digit: Value) -> Signal:
        """Pick a lane of every group, then a group, then multiply."""
        core, bits = self._core, bits_for(self._core.lanes)
        low = (bits + 1) // 2
        group, its_digit = register(bits - low, "group"), register(len(digit), "digit_of_picked")
        picked = [register(signed(core.sum_bits), f"picked{i}") for i in range(core.lanes >> low)]
        sum_, strength = register(signed(core.sum_bits), "sum"), register(signed(STRENGTH_BITS), "factor")
        product = register(signed(core.sum_bits + STRENGTH_BITS), "product")
        with m.If(live[0]):
            m.d.sync += [group.eq(lane[low:]), its_digit.eq(digit)]
            for index, one in enumerate(picked):
                among: Value = Array(self.sums[index << low : (index + 1) << low])[lane[:low]]
                m.d.sync += one.eq(among)
        with m.If(live[1]):
            m.d.sync += sum_.eq(Mux(self.integrates, Array(picked)[group], 0))
            m.d.sync += strength.eq(Array(self.strength)[its_digit])
        with m.If(live[2]):
            m.d.sync += product.eq(sum_ * strength)
        return product
