# SPDX-License-Identifier: Apache-2.0
"""What ``--debug`` tells of the stages of a command: their time and memory, on standard error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mapping.stages import STAGES, Record, recorded
from spikeloom.table import Table

__all__ = ["stage_table", "stages_told", "working"]


def stage_table(record: Record, seconds: float) -> Table:
    """Return the stages of a command that took some seconds in all, in the order of a compilation.

    What belongs to no stage, as reading data, is the difference to the whole.
    """
    stages = {name: record.stages[name] for name in STAGES if name in record.stages}
    rows = [[name, f"{stage.seconds:.2f}", _mib(stage.peak_mib)] for name, stage in stages.items()]
    peaks = [stage.peak_mib for stage in stages.values() if stage.peak_mib is not None]
    total = ["all", f"{seconds:.2f}", _mib(max(peaks, default=None))]
    return Table(columns=["stage", "seconds", "MiB peak"], rows=[*rows, total])


def _mib(peak: float | None) -> str:
    return "-" if peak is None else f"{peak:,.0f}"


@contextmanager
def stages_told(*, asked: bool) -> Iterator[None]:
    """Tell at the end, or at an error, what the stages within took.

    Parameters
    ----------
    asked : bool
        Whether the command was given ``--debug``; the program may have been too. If neither was, do nothing.
    """
    if asked:
        os.environ["SPIKELOOM_DEBUG"] = "1"
    if not os.environ.get("SPIKELOOM_DEBUG"):
        yield
        return
    from spikeloom.terminal import errors

    start = time.perf_counter()
    with recorded() as record:
        try:
            yield
        finally:
            errors.print(stage_table(record, time.perf_counter() - start))


@contextmanager
def working(text: str, *, asked: bool) -> Iterator[Callable[[str], None]]:
    """Show what a command is doing, at first ``text``, and tell its stages as `stages_told` does."""
    from spikeloom.terminal import status

    with stages_told(asked=asked), status(text) as say:
        yield say
