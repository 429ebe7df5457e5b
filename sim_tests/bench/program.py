# SPDX-License-Identifier: Apache-2.0
"""What the program `sim_tests.verify` does: its options, its runs, and what it tells."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from rich.console import Console

from emu.errors import SpikeloomError
from emu.spec import SystemSpec
from mapping.flow import core_of
from mapping.targets.files import load_target
from mapping.targets.machines import machine_of
from rtl.export import chip_verilog
from sim_tests.bench.engines import ENGINES, choose, run_jobs
from sim_tests.bench.exported import export_bench, read_design
from sim_tests.bench.images import Share, image_systems
from sim_tests.bench.reports import geometry, json_report, junit_report, told, verdict, write_whole
from sim_tests.bench.systems import (
    COVERED_FROM,
    LIMIT_CORES,
    Outcome,
    System,
    VerifyError,
    judge,
    missed,
    random_batch,
    seeded_system,
)
from spikeloom.ending import complain
from spikeloom.first import PARENT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["verification"]

_EXPORTED_SYSTEMS, _EXPORTED_CELLS = 2, 4_000_000
"""Random systems that an exported bench comes with, unless the crossbars of its chip are larger than this."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise VerifyError(f"{message[:1].upper()}{message[1:]}.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sim_tests.verify", description="Compare hardware and emulator in lock step.")
    parser.add_argument("image", nargs="?", type=Path, help="an image file")
    parser.add_argument("--stimulus", type=Path, help="npz with steps, step, packet; random events if absent")
    parser.add_argument("--cores", type=int, metavar="N", help="verify N cores of the image, each alone")
    parser.add_argument("--random", type=int, metavar="N", help="verify N random systems instead of an image")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first random system")
    parser.add_argument("--target", metavar="T", help="random systems of this target's machine")
    parser.add_argument("--sim", default="auto", help=f"auto, {', '.join(ENGINES)}")
    parser.add_argument("--verilog", type=Path, metavar="DIR", help="verify the design in this folder")
    parser.add_argument("--waves", type=Path, help="write the waves of one system here (.vcd)")
    parser.add_argument("--junit", type=Path, help="write a JUnit XML report here")
    parser.add_argument("--json", type=Path, help="write a JSON report here")
    parser.add_argument("--export-bench", type=Path, metavar="DIR", help="write DIR/tb for the design in DIR")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


class _Teller:
    """Lines for the reader, and a spinner where there is a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False)

    def say(self, line: str) -> None:
        """Print one line."""
        self._console.print(line)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something takes its time."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(what):
            yield


def _check(options: argparse.Namespace) -> None:
    """Refuse combinations that mean nothing."""
    if options.export_bench is None and (options.image is None) == (options.random is None):
        raise VerifyError("Give either an image or --random N, not both and not neither.")
    if options.random is not None and options.random < 1:
        raise VerifyError(f"--random must be at least 1, not {options.random}.")
    if options.cores is not None and options.cores < 1:
        raise VerifyError(f"--cores must be at least 1, not {options.cores}.")
    if options.seed < 0:
        raise VerifyError(f"--seed must be at least 0, not {options.seed}.")
    if options.stimulus is not None and options.image is None:
        raise VerifyError("--stimulus needs an image that it feeds.")
    if options.cores is not None and options.image is None:
        raise VerifyError("--cores needs an image whose cores it verifies; give one, or leave it out.")
    if options.target is not None and (options.random is None or options.verilog is not None):
        raise VerifyError(
            "--target says of which machine random systems are: give --random N, and leave --verilog out."
        )
    if options.waves is not None and options.waves.suffix != ".vcd":
        raise VerifyError(f"--waves must name a .vcd file, not {options.waves}.")


def _machine(target: str) -> SystemSpec:
    """Return the machine that a target describes, if it can be simulated whole."""
    loaded = load_target(target)
    spec = machine_of(loaded, core_of(loaded, None)[1])
    if spec.cores > LIMIT_CORES:
        raise VerifyError(
            f"Target {loaded.name} has {spec.cores} cores, more than the {LIMIT_CORES} that are simulated "
            "whole; give its file a smaller mesh, or fewer chips."
        )
    return spec


def _systems(options: argparse.Namespace, spec: SystemSpec | None) -> tuple[list[System], Share | None]:
    """Return what to verify, of the given sizes if there are any, and the share of an image that it is."""
    if options.image is None:
        return random_batch(options.random, options.seed, spec), None
    systems, share = image_systems(options.image, options.stimulus, options.seed, options.cores)
    needed = systems[0].spec
    if spec is not None and needed != spec:
        whole, alone = "'spikeloom verilog IMAGE'", "'spikeloom verilog IMAGE --mesh 1x1'"
        raise VerifyError(
            f"{options.image} needs {geometry(needed)}, but {options.verilog} holds {geometry(spec)}; "
            f"export the Verilog with {whole if share is None else alone}."
        )
    return systems, share


def _groups(systems: Sequence[System]) -> list[list[System]]:
    """Return the systems by geometry: each is built and simulated once."""
    found: dict[str, list[System]] = {}
    for system in systems:
        found.setdefault(repr(system.spec), []).append(system)
    return list(found.values())


def _run_group(
    group: Sequence[System], design: Mapping[str, str] | None, engine: str, waves: Path | None = None
) -> list[Outcome]:
    """Simulate systems of one geometry and judge them."""
    verilog: Mapping[str, str] = {}
    if engine != "pysim":
        verilog = chip_verilog(group[0].spec) if design is None else design
    jobs = [system.job() for system in group]
    results = run_jobs(verilog, jobs, engine=engine, waves=waves)
    return [judge(system, result) for system, result in zip(group, results, strict=True)]


def _mean_coverage(systems: Sequence[System]) -> dict[str, float]:
    batch = [system.coverage() for system in systems]
    return {name: float(np.mean([shares[name] for shares in batch])) for name in batch[0]}


def _verify(options: argparse.Namespace, teller: _Teller) -> int:
    engine = choose(options.sim)
    spec, design = read_design(options.verilog) if options.verilog is not None else (None, None)
    spec = spec if options.target is None else _machine(options.target)
    if design is not None and engine == "pysim":
        raise VerifyError(
            "Simulator pysim reads no Verilog; use --sim verilator or --sim icarus with --verilog."
        )
    with teller.busy("emulating"):
        systems, share = _systems(options, spec)
    if share is not None:
        teller.say(told(share))
    outcomes: dict[str, Outcome] = {}
    for group in _groups(systems):
        what = f"{geometry(group[0].spec)}: {len(group)} system{'s' if len(group) > 1 else ''} on {engine}"
        with teller.busy(what):
            alone = len(systems) == 1
            found = _run_group(group, design, engine, options.waves if alone else None)
        wrong = sum(outcome.failure is not None for outcome in found)
        teller.say(f"{what}: {f'{wrong} differ' if wrong else 'equal'}")
        outcomes |= {outcome.name: outcome for outcome in found}
    ordered = [outcomes[system.name] for system in systems]
    if options.waves is not None and len(systems) > 1:
        with teller.busy("recording waves"):
            chosen = _record(systems, ordered, design, engine, options.waves)
        teller.say(f"{options.waves} has the waves of {chosen.name}")
    return _report(options, systems, ordered, engine, teller, spec=spec, share=share)


def _record(
    systems: Sequence[System],
    outcomes: Sequence[Outcome],
    design: Mapping[str, str] | None,
    engine: str,
    waves: Path,
) -> System:
    """Run the first system that differs, else the first one, again with waves."""
    chosen = next((s for s, outcome in zip(systems, outcomes, strict=True) if outcome.failure), systems[0])
    _run_group([chosen], design, engine, waves)
    return chosen


def _report(
    options: argparse.Namespace,
    systems: Sequence[System],
    outcomes: Sequence[Outcome],
    engine: str,
    teller: _Teller,
    *,
    spec: SystemSpec | None,
    share: Share | None,
) -> int:
    """Tell what was found, on the terminal and in files, and return the exit code."""
    shares = _mean_coverage(systems) if options.random is not None else None
    complaint = None
    if shares is not None:
        teller.say("mean shares: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
        if len(systems) >= COVERED_FROM and (corners := missed(systems, spec)):
            complaint = f"the systems must reach every corner, they missed: {', '.join(corners)}"
    if options.junit is not None:
        write_whole(options.junit, junit_report(outcomes, engine, complaint))
    if options.json is not None:
        write_whole(options.json, json_report(outcomes, engine, shares, complaint, share))
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    for outcome in failed[1:]:
        teller.say(f"{outcome.name}: {outcome.failure}")
    if failed and options.random is not None:
        again = failed[0].name.rsplit(" ", 1)[-1]
        teller.say(f"repeat the first with: --random 1 --seed {again}")
    teller.say(verdict(outcomes, engine, complaint))
    return int(bool(failed) or complaint is not None)


def _export(options: argparse.Namespace, teller: _Teller) -> int:
    """Write the bench of an exported design."""
    folder: Path = options.export_bench
    spec, _ = read_design(folder)
    if options.image is not None:
        options.verilog = folder
        systems, _ = _systems(options, spec)
    else:
        small = spec.cores * spec.core.axons * spec.core.columns <= _EXPORTED_CELLS
        count = options.random or _EXPORTED_SYSTEMS
        systems = [seeded_system(options.seed + i, spec) for i in range(count)] if small else []
    written = export_bench(folder, systems)
    if PARENT not in os.environ:
        teller.say(f"{folder / 'tb'}: {len(written)} files, {len(systems)} systems to run")
    return 0


def verification(arguments: Sequence[str] | None) -> int:
    """Run the program and return its exit code; what nobody foresaw is raised.

    Parameters
    ----------
    arguments : of the command line; those of the process if None.
    """
    try:
        options = _parser().parse_args(arguments)
        if options.debug:
            os.environ["SPIKELOOM_DEBUG"] = "1"
        _check(options)
        teller = _Teller()
        return _export(options, teller) if options.export_bench is not None else _verify(options, teller)
    except SpikeloomError as error:
        return complain(str(error))
