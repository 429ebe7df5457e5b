# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: its options, a row of the table, how a time is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REPEATS", "Options", "Row", "best"]

REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller of the benchmarks gave.

    Parameters
    ----------
    lenet : a trained LeNet in ONNX, or None for random weights of the same shape.
    float_lenet : the same network as trained in float, for the graded code, or None.
    data : folder of MNIST's idx files, or None for random pictures.
    samples : how many are emulated.
    model, on : any model, and data to run it on, as on the command line of spikeloom.
    networks : names of the large networks that are mapped.
    peers : Python interpreter in which the peers are installed, or None.
    clock : of measurements on one thread: elapsed time, or processor time where others work too.
    """

    lenet: Path | None = None
    float_lenet: Path | None = None
    data: Path | None = None
    samples: int = 256
    model: str | None = None
    on: str | None = None
    networks: tuple[str, ...] = ("resnet8", "vgg")
    peers: Path | None = None
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of the printed table.

    Parameters
    ----------
    name : what was measured.
    value : the figure with its unit.
    ratio : the figure divided by that of ``of``, empty if it stands alone.
    of : what the ratio is to.
    """

    name: str
    value: str
    ratio: str = ""
    of: str = ""


def best(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the shortest of some runs in seconds, after one that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)
