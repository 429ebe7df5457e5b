# SPDX-License-Identifier: Apache-2.0
"""A chip whose registers are not reset must not pass, whichever register it is and whatever it began with."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from emu.spec import SystemSpec
from rtl.export import chip_verilog, write_verilog
from rtl.start_values import without_start_values
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.exported import read_design
from sim_tests.bench.prelude import Phase, draw_resets
from sim_tests.bench.systems import System, judge, seeded_system
from sim_tests.conftest import require_engine
from sim_tests.generators.pool import TINY

pytestmark = pytest.mark.cosim

SPEC = SystemSpec(core=TINY, width=2, height=2)
"""Two by two cores: every router has a neighbour in each direction, or is one."""

RESET = re.compile(r"    if \(rst\) begin\n      (?P<next>\S+) *= [^\n]+;\n    end\n")
"""The end of the block that computes a register's next value."""

ALONE = ("walk", "events", "crossbar", "programmer")
"""Parts of the core whose resets `test_reset` looks at one by one: no session meets all of their states."""

UNSEEN = (
    "router.output_N.turns turn",
    "router.output_W.turns turn",
)
"""Registers whose reset no session shows, but a test of their block.

In this mesh too few packets meet at two of the outputs.
"""

DESIGN = chip_verilog(SPEC)
SEEDS = (5, 6)


def registers(text: str) -> list[tuple[str, re.Match[str]]]:
    """Return every register of a file that is reset, as module and name, with the place of its reset."""
    found = []
    for module in re.finditer(r"^module (.*?) ?\(.*?^endmodule", text, re.MULTILINE | re.DOTALL):
        for match in RESET.finditer(text, module.start(), module.end()):
            clocked = re.search(rf"posedge clk\)\n +(\S+) +<= {re.escape(match['next'])} ?;", module[0])
            assert clocked is not None
            found.append((f"{module[1].removeprefix(chr(92))} {clocked[1]}", match))
    return found


@pytest.fixture(scope="module")
def systems() -> list[System]:
    return [seeded_system(seed, SPEC) for seed in SEEDS]


def failures(design: Mapping[str, str], systems: list[System], engine: str) -> list[str | None]:
    results = run_jobs(design, [system.job() for system in systems], engine=engine)
    return [judge(system, result).failure for system, result in zip(systems, results, strict=True)]


def unreset(name: str) -> dict[str, str]:
    """Return the design without the reset of one register of one module."""
    for file, text in DESIGN.items():
        for register, place in registers(text):
            if register == name:
                return {**DESIGN, file: text[: place.start()] + text[place.end() :]}
    raise AssertionError(f"no register {name}; those are reset: {names()}")


def names() -> list[str]:
    """Return the registers of the design that are reset."""
    return [name for text in DESIGN.values() for name, _ in registers(text)]


def test_every_reset_of_the_design_is_found() -> None:
    assert len(names()) == sum(len(re.findall(r"if \(rst\) begin\n", text)) for text in DESIGN.values()) > 30
    assert set(UNSEEN) < set(names())


SAMPLE = (
    "neurocore fsm_state",
    "neurocore.walk.emitter is_busy",
    "neurocore.control enable",
    "neurocore.events collecting",
)
"""Registers that the short suite looks at; `pytest -m long` looks at all. The others have tests of blocks."""


def chosen() -> list[str]:
    """Return the registers whose resets are looked at one by one in a whole chip, but for the sample."""
    core = tuple(f"neurocore.{part}" for part in ALONE)
    return [name for name in names() if name not in (*UNSEEN, *SAMPLE) and not name.startswith(core)]


@pytest.mark.parametrize("name", SAMPLE)
def test_design_without_one_reset_fails(systems: list[System], name: str) -> None:
    require_engine("icarus")
    assert any(failures(unreset(name), systems, "icarus"))


@pytest.mark.long
@pytest.mark.parametrize("name", chosen())
def test_design_without_any_one_reset_fails(systems: list[System], name: str) -> None:
    require_engine("icarus")
    assert any(failures(unreset(name), systems, "icarus"))


def test_design_whose_arbiter_begins_anywhere_fails(systems: list[System]) -> None:
    """Only a start value that is no turn at all shows it: a foreign run leaves a legal one behind."""
    require_engine("icarus")
    assert any(failures(unreset("router.output_L.turns turn"), systems, "icarus"))


@pytest.mark.parametrize("engine", ["icarus", "verilator"])
@pytest.mark.parametrize("start", ["", " = 32'h0"])
def test_register_that_nobody_writes_is_not_zero(systems: list[System], engine: str, start: str) -> None:
    require_engine(engine)
    core, found = re.subn(r"    enable <= (\S+) ;", r"    enable <= \1 ^ (|never);", DESIGN["neurocore.v"])
    core = core.replace("\n  reg enable", f"\n  reg [31:0] never{start};\n  reg enable", 1)
    assert (found, core.count("never")) == (1, 2)
    assert any(failures({**DESIGN, "neurocore.v": core}, systems, engine))


@pytest.mark.parametrize("engine", ["icarus", "verilator"])
def test_design_exported_without_start_values_passes(
    systems: list[System], engine: str, tmp_path: Path
) -> None:
    """Icarus begins with unknown values, Verilator with random ones."""
    require_engine(engine)
    write_verilog(SPEC, tmp_path, initial=False)
    spec, design = read_design(tmp_path)
    assert spec == SPEC
    assert failures(design, systems, engine) == [None] * len(SEEDS)


@pytest.mark.parametrize("engine", ["icarus", "verilator"])
def test_design_without_resets_fails(systems: list[System], engine: str) -> None:
    require_engine(engine)
    nothing = {file: text.replace("if (rst)", "if (1'b0)") for file, text in DESIGN.items()}
    assert nothing != DESIGN
    assert all(failures(nothing, systems, engine))


def test_every_phase_is_drawn_and_work_comes_last() -> None:
    drawn = [draw_resets(seed, 2) for seed in range(30)]
    assert {phase for pair in drawn for phase, _ in pair} == set(Phase)
    assert all(pair[-1][0] <= Phase.TOKEN_WAIT and pair[0][0] != pair[1][0] for pair in drawn)
    assert {phase for phase, _ in draw_resets(0)} == set(Phase)
    assert draw_resets(7, 2) == draw_resets(7, 2)
    with pytest.raises(ValueError, match=r"^phases must be 2\.\.7, not 1\.$"):
        draw_resets(0, 1)


def test_start_values_are_taken_from_registers_only() -> None:
    for text in DESIGN.values():
        bare = without_start_values(text)
        assert re.search(r"^ *reg [^;]*'", bare, re.MULTILINE) is None
        assert bare.count("\n") == text.count("\n")
        assert bare.count("reg ") == text.count("reg ")
