# SPDX-License-Identifier: Apache-2.0
"""What an image does at worst: every axon present and every neuron firing in every step that lets it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage
from emu.spec import THRESHOLDS_A_WORD, CoreSpec
from emu.tables import columns_of
from emu.words import Section
from mapping.chip import Chip
from mapping.report.carried import carried_of
from mapping.report.limits import limits_by_layer

__all__ = ["limits_at_worst", "work_at_worst"]

Integers = NDArray[np.int64]


def limits_at_worst(chip: Chip) -> list[dict[str, Any]]:
    """Return what `mapping.report.limits.limits_by_layer` tells of a sample that is the worst, not emulated.

    Its ``cycles`` are bounds: no sample occupies any part for longer.
    """
    image = chip.image
    fired = [np.zeros(0, np.int64) if core is None else _fired(core) for core in image.cores]
    fed = np.ones(len(image.input_packet), np.int64)
    work = [0 if core is None else work_at_worst(core, image.spec.core) for core in image.cores]
    return limits_by_layer(chip, carried_of(image, fired, fed, samples=1), fed, np.array(work, np.float64))


def _fired(core: CoreImage) -> Integers:
    """Return the steps of a sample in which each neuron may fire."""
    entries = columns_of(Section.SCHEDULE, core.schedule)
    steps = int((entries["repeat"] * (entries["fire"] != 0)).sum())
    return np.where(core.connected, steps, 0).astype(np.int64)


def work_at_worst(core: CoreImage, spec: CoreSpec) -> int:
    """Return the most cycles that a core computes for a sample: those of `docs/reference/cycles.md`.

    Every axon is present whenever it integrates; every connected neuron sends all of its packets, which no
    router refuses, whenever it fires.
    """
    entries, total = columns_of(Section.SCHEDULE, core.schedule), 0
    for at in range(len(core.schedule)):
        entry = {name: int(values[at]) for name, values in entries.items()}
        if entry["init"] or entry["update"] or entry["fire"]:
            total += entry["repeat"] * _step(core, spec, entry)
    return total


def _step(core: CoreImage, spec: CoreSpec, entry: dict[str, int]) -> int:
    """Return the cycles of the blocks of one step, each integrated, then walked."""
    digits = len(core.strengths)
    words = -(-entry["threshold_count"] // THRESHOLDS_A_WORD)
    groups = max(1 if len(core.ladders) else words, 1) if entry["fire"] else 1
    integrate = (core.axons + spec.integrate_fill) * bool(entry["integrate"])
    packets = _packets(core) * bool(entry["fire"])
    cycles, per_block = 0, spec.lanes // digits
    for first in range(0, core.neurons, per_block):
        own = packets[first : first + per_block]
        between = np.maximum(max(digits, groups), own[:-1]).sum()
        last = max(int(own[-1]), 1) - 1
        cycles += integrate + spec.walk_fill + digits + groups - 2 + int(between) + last
    return cycles


def _packets(core: CoreImage) -> Integers:
    """Return the packets of each neuron, those from its first fan-out entry to the one marked last."""
    if not len(core.fanout):
        return np.zeros(core.neurons, np.int64)
    last = np.flatnonzero(columns_of(Section.FANOUT, core.fanout)["last"])
    after = last[np.minimum(np.searchsorted(last, core.fanout_base), len(last) - 1)] + 1
    return np.where(core.connected, after - core.fanout_base, 0).astype(np.int64)
