# SPDX-License-Identifier: Apache-2.0
"""Measure everything in one run and print a table; ratios compare within this run only."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sim_tests.benchmarks import (
    chain,
    cycle,
    functional,
    lenet,
    mapping,
    objectives,
    peers,
    placement,
    profile,
)
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.large_networks import LARGE

__all__ = ["SECTIONS", "main"]

SECTIONS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "functional": functional.rows,
    "lenet": lenet.rows,
    "chain": chain.rows,
    "mapping": mapping.rows,
    "objectives": objectives.rows,
    "placement": placement.rows,
    "cycle": cycle.rows,
    "profile": profile.rows,
    "peers": peers.rows,
}
"""Name on the command line -> what measures; in the order of the table."""


def _options(arguments: Sequence[str] | None) -> tuple[list[str], Options]:
    parser = argparse.ArgumentParser(prog="python -m sim_tests.benchmarks", description=__doc__)
    parser.add_argument("section", nargs="*", help=f"of {', '.join(SECTIONS)}; all without one")
    parser.add_argument("--lenet", type=Path, metavar="MODEL", help="trained LeNet (.onnx)")
    parser.add_argument("--float-lenet", type=Path, metavar="MODEL", help="float LeNet for the graded code")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of MNIST's idx files")
    parser.add_argument("--samples", type=int, default=256, help="samples to emulate (%(default)s)")
    parser.add_argument("--model", metavar="MODEL", help="any model of spikeloom estimate")
    parser.add_argument("--on", metavar="DATA", help="data for it, as for spikeloom estimate --data")
    text = f"large network to map, may be repeated ({', '.join(Options().networks)})"
    parser.add_argument("--network", choices=[*LARGE, mapping.KUANG], action="append", help=text)
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="interpreter that has the peers")
    text = "processor time on one thread, for a machine that does other work; threads stay elapsed time"
    parser.add_argument("--cpu", action="store_true", help=text)
    given = parser.parse_args(arguments)
    for name in given.section:
        if name not in SECTIONS:
            parser.error(f"section must be one of {', '.join(SECTIONS)}, not {name!r}")
    clock = time.process_time if given.cpu else time.perf_counter
    options = Options(
        lenet=given.lenet,
        float_lenet=given.float_lenet,
        data=given.data,
        samples=given.samples,
        model=given.model,
        on=given.on,
        networks=tuple(given.network or Options().networks),
        peers=given.peers,
        clock=clock,
    )
    return given.section or list(SECTIONS), options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen sections and print one table."""
    sections, options = _options(arguments)
    table = Table(
        "measurement", "value", "ratio", "to", title="best of several, one thread unless it says more"
    )
    for section in sections:
        for row in SECTIONS[section](options):
            table.add_row(row.name, row.value, row.ratio, row.of)
    Console().print(table)


if __name__ == "__main__":
    main()
