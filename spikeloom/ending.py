# SPDX-License-Identifier: Apache-2.0
"""How a program ends: exit codes, interruption, closed pipes, full disks, and errors that nobody expected.

`run` is around the whole of ``spikeloom`` and of the verification program that it starts. This module imports
nothing heavy, so that an interruption during the imports is heard too.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_BUG",
    "EXIT_DIFFERENCE",
    "EXIT_INTERRUPTED",
    "REPORT_BUG",
    "complain",
    "deaf_child",
    "follow_parent",
    "named",
    "run",
    "shielded",
]

EXIT_DIFFERENCE = 1
"""A check found a difference."""

EXIT_BAD_INPUT = 2
"""Bad input or environment."""

EXIT_BUG = 70
"""An error that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

EXIT_INTERRUPTED = 130
"""Interrupted, as shells say it: 128 + SIGINT."""

REPORT_BUG = "This is a bug in spikeloom: please report it with the command and the text above."

ECHO_SECONDS = 1.0
"""A second signal within this time is the same Ctrl-C, told by the terminal and by the parent process."""

REPEAT_SECONDS = 5.0
"""An interruption that some library swallowed is raised again after this time."""

_HINTS = {
    errno.ENOSPC: "make room there or choose another place",
    errno.EDQUOT: "make room there or choose another place",
    errno.EFBIG: "the file would be larger than this process may write (ulimit -f)",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.EROFS: "choose a place that can be written",
    errno.ENOTDIR: "a part of the path is a file, choose another path",
    errno.EISDIR: "it is a folder, name a file in it",
    errno.ENOENT: "check the path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class _Interruption:
    """The handler of SIGINT and SIGTERM: raises `KeyboardInterrupt` once, and again if it was swallowed."""

    def __init__(self) -> None:
        self.heard = False
        self.owner = False
        self.shields = 0
        self._last = 0.0

    def __call__(self, *_: object) -> None:
        now = time.monotonic()
        if self.heard and now - self._last < ECHO_SECONDS:
            return
        self.heard, self._last = True, now
        if self.owner:
            warnings.simplefilter("ignore")  # of what is taken down half-built
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
        if not self.shields:
            raise KeyboardInterrupt


_interruption = _Interruption()


@contextmanager
def deaf_child() -> Iterator[None]:
    """Start a program that hears Ctrl-C only once it is ready for it (`spikeloom.first`).

    Until then Python would answer with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def shielded() -> Iterator[None]:
    """Let a few quick steps happen together or not at all: an interruption waits until their end."""
    _interruption.shields += 1
    try:
        yield
    finally:
        _interruption.shields -= 1
    if _interruption.heard and not _interruption.shields:
        raise KeyboardInterrupt


class _Pipe(io.FileIO):
    """A stream whose reader may leave: what is written then goes nowhere, and the work goes on."""

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            _discard(self.fileno())
            return len(data)
        except OSError as error:
            _discard(self.fileno())
            raise OSError(error.errno, error.strerror, "standard output") from error


def _discard(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _patient(stream: Any, descriptor: int) -> io.TextIOWrapper:
    """Return a text stream on a descriptor that outlives its reader."""
    if stream is None:  # closed by whoever started us
        nowhere = os.open(os.devnull, os.O_WRONLY)
        return io.TextIOWrapper(io.BufferedWriter(io.FileIO(nowhere, "w")), encoding="utf-8")
    raw = _Pipe(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",  # a terminal may lack a letter of a name, or the lines of a table
        line_buffering=raw.isatty() or descriptor == 2,
    )


def _say(line: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def complain(sentence: str) -> int:
    """Print one sentence, with the traceback if ``--debug`` asked for it; return `EXIT_BAD_INPUT`."""
    if os.environ.get("SPIKELOOM_DEBUG") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    _say(f"spikeloom: {sentence}")
    return EXIT_BAD_INPUT


def _system_error(error: OSError) -> str:
    """Return what the system refused, where, and the way out."""
    names = [str(name) for name in (error.filename, error.filename2) if name]
    where = f"{names[-1]}: " if names else ""
    hint = _HINTS.get(error.errno or 0)
    return f"{where}{error.strerror or error}{f'; {hint}' if hint else ''}."


def _ended(program: Callable[[], int]) -> int:
    """Run a program; return the exit code of whatever ended it."""
    try:
        code = program()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception as error:  # noqa: BLE001 - the last place where anything can be said
        sentence = _environment(error)
        if sentence is not None:
            return complain(sentence)
        if not _interruption.heard:
            traceback.print_exc()
            _say(REPORT_BUG)
        return EXIT_BUG
    return code


def _environment(error: Exception) -> str | None:
    """Return the sentence about an error that is the environment's, None if it is ours."""
    if isinstance(error, MemoryError):
        reason = f" ({error})" if str(error) else ""
        return f"There is not enough memory{reason}; use fewer samples or a smaller model."
    if isinstance(error, OSError):
        return _system_error(error)
    if isinstance(error, ImportError):
        return f"{str(error).rstrip('.')}; 'spikeloom doctor' tells what is missing."
    return None


def run(program: Callable[[], int], *, owner: bool = False, silent: bool = False) -> int:
    """Run a program and return its exit code, whatever ends it.

    Parameters
    ----------
    program : callable
        Returns an exit code. It may be interrupted (SIGINT or SIGTERM) at any moment by `KeyboardInterrupt`.
    owner : bool
        The process is ours and ends with the program: streams outlive their readers, and a signal that comes
        after the program's end changes nothing.
    silent : bool
        Do not say that the program was interrupted: its parent does.
    """
    _interruption.heard, _interruption.owner = False, owner
    if owner:
        sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)
        sys.unraisablehook = _unraisable
    ours = _listen() if threading.current_thread() is threading.main_thread() else {}
    try:
        code = _ended(program)
    except KeyboardInterrupt:  # while another error was told
        code = EXIT_INTERRUPTED
    finally:
        for number, handler in ours.items():
            signal.signal(number, signal.SIG_IGN if owner else handler)
        if ours and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    if _interruption.heard:
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED and not silent:
        _say(("\n" if sys.stderr.isatty() else "") + "interrupted")
    return code


def _listen() -> dict[int, Any]:
    """Hear signals; return the handlers before."""
    names = ("SIGINT", "SIGTERM", "SIGALRM")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {number: signal.signal(number, _interruption) for number in numbers}


def _unraisable(unraisable: Any) -> None:
    """Keep quiet about what an interruption left behind."""
    if not _interruption.heard:
        sys.__unraisablehook__(unraisable)


def follow_parent(parent: int) -> None:
    """End this process soon after the one that started it has ended, however that was."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def named(error: OSError, path: Path) -> OSError:
    """Return the error with the file that it is about."""
    return type(error)(error.errno, error.strerror, str(path)) if error.errno else error
