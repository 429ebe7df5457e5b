# SPDX-License-Identifier: Apache-2.0
"""The drive of a neuron: its column sums times the strengths, one column a cycle (rule 6)."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from emu.spec import STRENGTH_BITS, SystemSpec, bits_for
from rtl.component import Component
from rtl.visit import register

__all__ = ["Drive"]

_DELAY = 4
"""Cycles from a column to its product in the drive, the last stage not counted."""


class Drive(Component):
    """Select a column sum in two stages, multiply it by its strength, add: a column a cycle.

    A column given in cycle t is in the drive from t + 5 on.

    Members
    -------
    live, begins, ends : In, a column is given; it is a neuron's first, and its last.
    lane, digit : In, which column of the block, and which strength.
    sums : In, the column sums of the block.
    strength : In, the table of strengths.
    drive : Out, the sum of products since the first column.
    whole : Out, the last column came five cycles ago.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._core = core = spec.core
        super().__init__(
            {
                "live": In(1),
                "begins": In(1),
                "ends": In(1),
                "lane": In(range(core.lanes)),
                "digit": In(range(core.strengths)),
                "sums": In(signed(core.sum_bits)).array(core.lanes),
                "strength": In(signed(STRENGTH_BITS)).array(core.strengths),
                "whole": Out(1),
                "drive": Out(signed(core.drive_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Four stages to the product, and the accumulator."""
        m = Module()
        live, begins, ends = ([first] for first in (self.live, self.begins, self.ends))
        for stage in range(1, _DELAY + 1):
            live.append(Signal(name=f"live{stage}"))
            begins.append(register(1, f"begins{stage}"))
            ends.append(register(1, f"ends{stage}"))
            m.d.sync += [row[-1].eq(row[-2]) for row in (live, begins, ends)]
        product = self._product(m, live)
        drive = register(signed(self._core.drive_bits), "accumulator")
        whole = Signal(name="is_whole")
        m.d.comb += [self.drive.eq(drive), self.whole.eq(whole)]
        m.d.sync += whole.eq(live[_DELAY] & ends[_DELAY])
        with m.If(live[_DELAY]):
            m.d.sync += drive.eq(Mux(begins[_DELAY], 0, drive) + product)
        return m

    def _product(self, m: Module, live: list[Signal]) -> Signal:
        """Pick a lane of every group, then a group, then multiply."""
        core, bits = self._core, bits_for(self._core.lanes)
        low = (bits + 1) // 2
        lane, group = register(bits, "lane1"), register(bits - low, "group")
        digit, digit2 = register(range(core.strengths), "digit1"), register(range(core.strengths), "digit2")
        picked = [register(signed(core.sum_bits), f"picked{i}") for i in range(core.lanes >> low)]
        sum_, strength = register(signed(core.sum_bits), "sum"), register(signed(STRENGTH_BITS), "factor")
        product = register(signed(core.sum_bits + STRENGTH_BITS), "product")
        with m.If(live[0]):
            m.d.sync += [lane.eq(self.lane), digit.eq(self.digit)]
        with m.If(live[1]):
            m.d.sync += [group.eq(lane[low:]), digit2.eq(digit)]
            for index, one in enumerate(picked):
                among: Value = Array(self.sums[index << low : (index + 1) << low])[lane[:low]]
                m.d.sync += one.eq(among)
        with m.If(live[2]):
            m.d.sync += [sum_.eq(Array(picked)[group]), strength.eq(Array(self.strength)[digit2])]
        with m.If(live[3]):
            m.d.sync += product.eq(sum_ * strength)
        return product
