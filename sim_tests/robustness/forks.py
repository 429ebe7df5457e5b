# SPDX-License-Identifier: Apache-2.0
"""Runs of pytest that share one start of Python: a server imports what others wrote, and forks for each run.

The server never imports a module of ours, so each run imports them as they are then on disk.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

__all__ = ["Done", "Forks"]

_SHARED = (
    "pytest",
    "_pytest.assertion.rewrite",
    "_pytest.doctest",
    "_pytest.junitxml",
    "_pytest.legacypath",
    "_pytest.logging",
    "_pytest.pastebin",
    "pytest_timeout",
    "numpy.random",
    "numba",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "sklearn.datasets",
    "amaranth.back.verilog",
    "amaranth.sim",
    "onnx",
    "typer",
    "rich.console",
    "rich.table",
    "rich.progress",
    "jinja2",
    "threadpoolctl",
    "hypothesis",
    "cocotb_tools.runner",
    "playwright.sync_api",
)
"""What tests import of others; one that is missing here is imported, or missed, by the tests.

ONNX Runtime is not among them: at its end it waits for a thread, which a fork lacks.
"""


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a run of pytest ended, and what it printed."""

    code: int
    out: str


class Forks:
    """A server that runs tests in a folder, each run in a process of its own.

    Parameters
    ----------
    folder : where the runs happen; their modules are imported from there.
    environment : of the server, and so of each run.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._asked = 0
        # -P: or the folder of this file would come before the one of the tests.
        self._server = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**environment, "PYTHONPATH": str(folder)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def run(self, arguments: Sequence[str], *, seconds: float) -> Done:
        """Run pytest with these arguments; what takes longer is killed, with all that it started.

        Raises
        ------
        RuntimeError : the server is gone.
        """
        self._ask(arguments, seconds)
        number, code, text = 0, 0, ""
        while number != self._asked:  # whoever asked before may have been interrupted
            assert self._server.stdout is not None
            answer = self._server.stdout.readline()
            if not answer:
                raise RuntimeError(f"The server of forks ended with code {self._server.wait()}.")
            number, code, text = json.loads(answer)
        return Done(code=code, out=text)

    def _ask(self, arguments: Sequence[str], seconds: float) -> None:
        """Send a request with a number of its own, which the answer to it has too."""
        self._asked += 1
        assert self._server.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.write(json.dumps([self._asked, list(arguments), seconds]) + "\n")
            self._server.stdin.flush()


def _serve(requests: IO[str], answers: IO[str]) -> list[str] | None:
    """Answer requests until there are no more; in a fork, return the arguments of its run instead."""
    for name in _SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] in {p.name for p in Path().iterdir()}]
    assert not ours, f"{ours} would not be imported again"
    gc.freeze()
    while line := requests.readline():
        number, arguments, seconds = json.loads(line)
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
            process = os.fork()
            if not process:
                _begin(printed)
                return [str(argument) for argument in arguments]
            code = _wait(process, seconds)
            printed.seek(0)
            print(json.dumps([number, code, printed.read()]), file=answers, flush=True)
    return None


def _begin(printed: IO[str]) -> None:
    """Make a fork look like a program that was just started, in a session of its own."""
    os.setsid()
    with open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(nothing.fileno(), 0)
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)


def _wait(process: int, seconds: float) -> int:
    """Return the code with which a fork ended, -9 if it had to be killed; end what it left running."""
    limit = threading.Timer(seconds, os.killpg, (process, signal.SIGKILL))
    limit.start()
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        limit.cancel()
        limit.join()  # a fork of a program with threads is not safe
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
    return code


def _main() -> None:
    arguments = _serve(sys.stdin, sys.stdout)
    if arguments is not None:
        import pytest

        sys.exit(pytest.main(arguments))


if __name__ == "__main__":
    _main()
