# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the stages between a model and its report, measured while somebody records them.

>>> with recorded() as record:
...     with stage("convert"), stage("place"):
...         pass
>>> list(record.stages)
['convert', 'place']
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["STAGES", "Record", "Stage", "recorded", "stage"]

STAGES = (
    "read",
    "import",
    "data",
    "scale",
    "convert",
    "partition",
    "place",
    "route",
    "emit",
    "check",
    "save",
    "load",
    "observe",
    "cycles",
    "run",
    "report",
)
"""Names of the stages, in the order of a compilation and of a report."""

_MIB = 1 << 20


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a stage took: seconds of its own, and its peak of resident memory in MiB, None if not known."""

    seconds: float = 0.0
    peak_mib: float | None = None


@dataclass(slots=True, kw_only=True)
class Record:
    """The stages so far, by name in the order in which they began.

    A stage within another pauses it, so that no second counts twice. What happens twice adds up.
    """

    stages: dict[str, Stage] = field(default_factory=dict)
    clock: Callable[[], float] | None = None
    _open: list[Stage] = field(default_factory=list)
    _since: float = 0.0

    def begin(self, name: str) -> None:
        """Enter a stage."""
        self._charge()
        self._open.append(self.stages.setdefault(name, Stage()))

    def end(self) -> None:
        """Leave the stage that was entered last."""
        self._charge()
        self._open.pop()

    def _charge(self) -> None:
        """Charge the stage that is open with what happened since the last call."""
        now, peak = (self.clock or time.perf_counter)(), _peak_mib()
        if self._open:
            current = self._open[-1]
            current.seconds += now - self._since
            current.peak_mib = max((m for m in (current.peak_mib, peak) if m is not None), default=None)
        self._since = now


_RECORD: ContextVar[Record | None] = ContextVar("record of stages", default=None)


@contextmanager
def recorded(clock: Callable[[], float] | None = None) -> Iterator[Record]:
    """Record the stages that are passed within, in seconds of a clock, by default of elapsed time."""
    record = Record(clock=clock)
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count what happens within as a stage, if stages are recorded, else do nothing.

    Parameters
    ----------
    name : str
        One of `STAGES`.
    """
    record = _RECORD.get()
    if record is None:
        yield
        return
    record.begin(name)
    try:
        yield
    finally:
        record.end()


def _peak_mib() -> float | None:
    """Return the peak of resident memory since the last call, or of the whole process where none is told."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        peak = next((line for line in lines if line.startswith("VmHWM:")), "")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return int(peak.split()[1]) * 1024 / _MIB
    with suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
    return None
