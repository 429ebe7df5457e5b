# SPDX-License-Identifier: Apache-2.0
"""Print a Markdown table of what the parts of a core cost on an ECP5, one row a part.

Without a part it measures the rows that have goals; exit code 1 tells that one is missed.

Examples
--------
    python -m sim_tests.cost                          the goals; some minutes
    python -m sim_tests.cost core --preset medium --seeds 1
    python -m sim_tests.cost events crossbar walk --preset reference --seeds 0
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from emu.spec import PRESETS, preset
from sim_tests.cost.ecp5 import Cost, CostError, measure
from sim_tests.cost.goals import GOALS, PARTS, Goal, build

__all__ = ["main"]

_COLUMNS = ["part", "LUT4", "carry cells", "LUT4 with carries", "registers", "block RAM", "small RAM"]
_COLUMNS += ["multipliers", "MHz, worst seed", "median", "best"]


def _cells(cost: Cost) -> list[str]:
    """Return a row of the table behind its name."""
    counts = (cost.lut4, cost.carry, cost.logic, cost.registers, cost.block_ram, cost.small_ram)
    clocks = [f"{of(cost.megahertz):.1f}" if cost.megahertz else "-" for of in (min, median, max)]
    return [*map(str, (*counts, cost.multipliers)), *clocks]


def _table(costs: dict[str, Cost]) -> str:
    """Return a Markdown table, as `docs/cost.md` has it."""
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *([name, *_cells(cost)] for name, cost in costs.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace(" --- ", "---")


def _seeds(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 to count cells only, not {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m sim_tests.cost", description=__doc__, formatter_class=shown
    )
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)} (the goals)")
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS), help="of a part (%(default)s)")
    parser.add_argument("--grade", type=int, default=8, choices=(6, 7, 8), help="speed grade (%(default)s)")
    parser.add_argument("--seeds", type=_seeds, default=5, help="seeds of the placer, 0: cells only (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    return parser


def _rows(parser: argparse.ArgumentParser, given: argparse.Namespace) -> dict[str, Goal]:
    """Return what is measured: the rows with goals, or the parts that are asked for."""
    for name in given.part:
        if name not in PARTS:
            parser.error(f"part must be one of {', '.join(PARTS)}, not {name!r}")
    core = preset(given.preset)
    return {f"{name} of {given.preset}": Goal(part=name, core=core) for name in given.part} or GOALS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen parts and print one table; return the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    rows, costs = _rows(parser, given), {}
    seeds = range(1, given.seeds + 1)
    try:
        for name, goal in rows.items():
            routed = seeds if given.part or goal.megahertz else ()
            costs[name] = measure(build(goal.part, goal.core), grade=given.grade, seeds=routed)
    except CostError as error:
        print(error, file=sys.stderr)
        return 2
    print(_table(costs))
    if given.json:
        told = {name: dataclasses.asdict(cost) | {"logic": cost.logic} for name, cost in costs.items()}
        given.json.write_text(json.dumps(told, indent=2) + "\n")
    missed = [f"The {name} {clause}." for name, cost in costs.items() for clause in rows[name].missed(cost)]
    for sentence in missed:
        print(sentence, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
