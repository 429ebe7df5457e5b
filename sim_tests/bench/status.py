# SPDX-License-Identifier: Apache-2.0
"""The status section of every core after a run: what it must tell, as the image and the emulator have it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.tables import columns_of
from emu.topology import entries_of, meets_dead
from emu.trace import RunResult, Stimulus
from emu.words import RECTANGLE, ErrorCause, Kind, Section, Status

__all__ = ["WORDS", "expected_status", "status_fault"]

Ints = NDArray[np.int64]

WORDS = len(Status)
"""Chunks of the section: first cause of the core, of its router, schedule entry, repetition."""


def _causes(image: SystemImage, stimulus: Stimulus, expected: RunResult, core: int) -> int:
    """Return which first causes a core may tell, a bit for each: several errors come in any order."""
    x, y = core % image.spec.width, core // image.spec.width
    x0, x1, y0, y1 = stimulus.packet[stimulus.strays].T[: len(RECTANGLE)]
    here = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
    start = entries_of(image.spec)[stimulus.inlet[stimulus.strays]]
    here &= ~meets_dead(image.spec, start, np.tile((x, x, y, y), (len(here), 1)))
    kinds = stimulus.kind[stimulus.strays][here]
    found = {ErrorCause.RUNNING if kind <= Kind.READ else ErrorCause.KIND for kind in kinds.tolist()}
    if int(expected.counters["errors"][core]) > len(kinds):
        found.add(ErrorCause.AXON)
    return sum(1 << cause for cause in found or {ErrorCause.NONE})


def _repeats(program: CoreImage) -> list[int]:
    repeats: list[int] = columns_of(Section.SCHEDULE, program.schedule)["repeat"].tolist()
    return repeats


def _position(repeats: Sequence[int], steps: int) -> tuple[int, int]:
    """Return entry and repetition of a schedule after a number of steps."""
    step = steps % sum(repeats)
    for entry, repeat in enumerate(repeats):
        if step < repeat:
            return entry, step
        step -= repeat
    raise AssertionError("A schedule begins again after its last entry.")


def expected_status(image: SystemImage, stimulus: Stimulus, expected: RunResult) -> Ints:
    """Return the causes a core may tell, those of its router, entry and repetition; int64 (cores, 4).

    The first two are a bit for each cause; entry and repetition of a disabled core are -1: any.
    """
    rows = []
    for core, program in enumerate(image.cores):
        lost = int(expected.counters["router_errors"][core]) > 0
        router = 1 << (ErrorCause.DESTINATION if lost else ErrorCause.NONE)
        position = (-1, -1) if program is None else _position(_repeats(program), stimulus.steps)
        rows.append((_causes(image, stimulus, expected, core), router, *position))
    return np.array(rows, np.int64)


def status_fault(core: int, expected: Sequence[int], told: Sequence[int]) -> str | None:
    """Return how the status that a core told differs from the expected one, None if it does not."""
    for name, causes, cause in zip(("core", "router"), expected[:2], told[:2], strict=True):
        if not causes >> cause & 1:
            names = " or ".join(c.name.lower() for c in ErrorCause if causes >> c & 1)
            return f"{name} {core} tells the first cause {cause}, expected {names}"
    if expected[2] >= 0 and list(expected[2:]) != list(told[2:]):
        return f"core {core} is at schedule entry and repetition {list(told[2:])}, not {list(expected[2:])}"
    return None
