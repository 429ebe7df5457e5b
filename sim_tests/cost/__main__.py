# SPDX-License-Identifier: Apache-2.0
"""Print what the parts of a core cost on an ECP5, one row a part.

Examples
--------
    python -m sim_tests.cost                          core and router of the preset small
    python -m sim_tests.cost --preset reference events --no-route
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from emu.spec import PRESETS, SystemSpec, preset
from rtl.component import Component
from rtl.core import Neurocore
from rtl.counters import CounterFile
from rtl.crossbar import Crossbar
from rtl.events import EventScheduler
from rtl.neuron import Walk
from rtl.router import Router
from sim_tests.cost.ecp5 import Cost, CostError, measure

__all__ = ["PARTS", "main"]

PARTS: dict[str, Callable[[SystemSpec], Component]] = {
    "core": Neurocore,
    "router": Router,
    "events": EventScheduler,
    "crossbar": Crossbar,
    "walk": Walk,
    "counters": CounterFile,
}
"""Name on the command line -> what is built for a chip's sizes."""


def _table(title: str, costs: dict[str, Cost]) -> Table:
    columns = [field.name.replace("_", " ") for field in dataclasses.fields(Cost)]
    table = Table("part", *columns, title=title)
    for part, cost in costs.items():
        values = dataclasses.asdict(cost).values()
        table.add_row(
            part, *("-" if v is None else f"{v:.1f}" if isinstance(v, float) else str(v) for v in values)
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen parts and print one table; return the exit code."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m sim_tests.cost", description=__doc__, formatter_class=shown
    )
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)} (core router)")
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS), help="(%(default)s)")
    parser.add_argument("--grade", type=int, default=8, choices=(6, 7, 8), help="speed grade (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the placer (%(default)s)")
    parser.add_argument("--no-route", action="store_true", help="count cells only; no clock")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    given = parser.parse_args(arguments)
    chosen = given.part or ["core", "router"]
    for name in chosen:
        if name not in PARTS:
            parser.error(f"part must be one of {', '.join(PARTS)}, not {name!r}")
    spec = SystemSpec(core=preset(given.preset), width=4, height=3)
    try:
        costs = {
            name: measure(PARTS[name](spec), grade=given.grade, route=not given.no_route, seed=given.seed)
            for name in chosen
        }
    except CostError as error:
        Console(stderr=True).print(f"{error}", highlight=False)
        return 2
    Console().print(_table(f"{given.preset} on ECP5, speed grade {given.grade}", costs))
    if given.json:
        given.json.write_text(
            json.dumps({n: dataclasses.asdict(c) for n, c in costs.items()}, indent=2) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
