# SPDX-License-Identifier: Apache-2.0
"""The cost of a part: counted cells, the clock, and what must not pass for a figure."""

from __future__ import annotations

import json

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from rtl.component import Component
from sim_tests.cost.__main__ import PARTS, main
from sim_tests.cost.ecp5 import CostError, counted, fastest, measure


class Sum(Component):
    """Two registered operands and their registered sum."""

    def __init__(self, bits: int) -> None:
        super().__init__({"a": In(bits), "b": In(bits), "o": Out(bits)})

    def elaborate(self, _: object) -> Module:
        """Add."""
        m = Module()
        a, b = Signal.like(self.a), Signal.like(self.b)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.o.eq(a + b)]
        return m


def test_a_registered_sum_takes_its_registers_and_half_as_many_carries() -> None:
    """Three registers a bit, a carry cell for two bits, no memory, no multiplier, and a clock."""
    cost = measure(Sum(16))
    assert (cost.registers, cost.carry, cost.block_ram, cost.multipliers) == (48, 8, 0, 0)
    assert cost.megahertz is not None
    assert cost.megahertz > 50


def test_a_wider_sum_costs_more() -> None:
    """The figures follow the design."""
    assert measure(Sum(24), route=False).registers == 72


def _netlist(*kinds: str, module: str = "top") -> str:
    return json.dumps({"modules": {module: {"cells": {str(i): {"type": k} for i, k in enumerate(kinds)}}}})


def test_cells_are_counted_by_kind() -> None:
    """Every column counts its cells; others are none of them."""
    cells = counted(_netlist("LUT4", "LUT4", "CCU2C", "TRELLIS_FF", "DP16KD", "PFUMX", "$scopeinfo"))
    assert cells == {
        "lut4": 2,
        "carry": 1,
        "registers": 1,
        "block_ram": 1,
        "small_ram": 0,
        "multipliers": 0,
    }


@pytest.mark.parametrize(
    ("netlist", "sentence"),
    [
        (_netlist("LUT4", "$add"), r"cells that are not mapped: \$add"),
        (_netlist("LUT4", module="other"), "no module 'top'"),
    ],
)
def test_a_netlist_that_is_not_mapped_is_no_figure(netlist: str, sentence: str) -> None:
    """An operator that is left over would be counted as nothing."""
    with pytest.raises(CostError, match=sentence):
        counted(netlist)


@pytest.mark.parametrize("clocks", [{}, {"a": {"achieved": 1}, "b": {"achieved": 2}}])
def test_a_report_tells_of_one_clock(clocks: dict[str, object]) -> None:
    """No clock, or two, is no figure."""
    with pytest.raises(CostError, match="one clock"):
        fastest(json.dumps({"fmax": clocks}))


def test_a_tool_that_breaks_down_is_an_error() -> None:
    """A speed grade that does not exist."""
    with pytest.raises(CostError, match=r"A tool failed \(.+\)"):
        measure(Sum(8), grade=5)


def test_an_unknown_part_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["roter"])
    assert end.value.code == 2
    assert f"part must be one of {', '.join(PARTS)}, not 'roter'" in capsys.readouterr().err
