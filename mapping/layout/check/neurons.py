# SPDX-License-Identifier: Apache-2.0
"""Compare the neurons of a core, their thresholds and their schedule with what the layer demands."""

from collections.abc import Iterator

import numpy as np

from emu.image import CoreImage
from emu.spec import CoreSpec
from emu.words import TABLES, Section
from mapping.layout.check.frame import Frame
from mapping.layout.check.layers import Block
from mapping.layout.check.tables import Placed
from mapping.layout.check.violation import Violation
from mapping.spiking.network import SpikingLayer

__all__ = ["neuron_violations"]

_FLAGS = {"init": 0, "integrate": 1, "update": 1, "fire": 1}
"""Flags of the one step in which a core works; in all others each of them is 0."""

_PROFILE = tuple(c.name for c in TABLES[Section.PROFILE])
"""Fields of a profile; all zero is a neuron that is cleared in each step and sends its count."""


def neuron_violations(frame: Frame, placed: Placed, block: Block, spec: CoreSpec) -> Iterator[Violation]:
    """Compare settings, thresholds and schedule of one core.

    Parameters
    ----------
    frame, placed, block
        The network, the core, and the sums that its neurons can reach.
    spec : CoreSpec
        Which thresholds mean "always" and "never".
    """
    layer = frame.spiking.layers[placed.layer]
    yield from _settings(placed.index, placed.core)
    yield from _thresholds(placed, layer, block, spec)
    yield from _schedule(frame, placed, layer)


def _settings(index: int, core: CoreImage) -> Iterator[Violation]:
    """Demand stateless neurons with one column of strength 1 that send their count."""
    if core.strengths.tolist() != [1]:
        message = f"the strengths must be [1], not {core.strengths.tolist()}"
        yield Violation(kind="neuron-settings", message=message, core=index)
    zero = np.stack((core.bias, core.v0, core.potential, core.current, core.refractory))
    profile = np.stack([core.of_profile(name) for name in _PROFILE])
    message = "it must be stateless, without bias, and send its count"
    for neuron in np.flatnonzero(zero.any(axis=0) | profile.any(axis=0)).tolist():
        yield Violation(kind="neuron-settings", message=message, core=index, neuron=neuron)


def _thresholds(placed: Placed, layer: SpikingLayer, block: Block, spec: CoreSpec) -> Iterator[Violation]:
    """Demand thresholds that part every reachable sum as the network's do."""
    core, low, high = placed.core, block.low[:, None], block.high[:, None]
    wanted = np.clip(block.thresholds, low, high + 1)
    memory = np.append(core.thresholds, 0)
    place = core.threshold_base[:, None].astype(np.int64) + np.arange(layer.levels)
    beyond = place >= len(core.thresholds)
    stored = memory[np.minimum(place, len(core.thresholds))]
    got = np.where(stored <= spec.always, low, np.where(stored >= spec.never, high + 1, stored))
    got = np.clip(got, low, high + 1)
    for neuron in np.flatnonzero(((got != wanted) | beyond).any(axis=1)).tolist():
        message = (
            f"its thresholds act like {got[neuron].tolist()} and must act like {wanted[neuron].tolist()}"
        )
        yield Violation(kind="thresholds", message=message, core=placed.index, neuron=neuron)


def _schedule(frame: Frame, placed: Placed, layer: SpikingLayer) -> Iterator[Violation]:
    """Demand that the core works in the step of its depth and rests in all others."""
    step, entry = frame.depth[layer.name], placed.core.columns(Section.SCHEDULE)
    flags = np.repeat(np.stack([entry[name] for name in _FLAGS], axis=1), entry["repeat"], axis=0)
    wanted = np.zeros((frame.period, len(_FLAGS)), np.int32)
    wanted[step] = list(_FLAGS.values())
    fires = entry["fire"] != 0
    first, count = entry["threshold_first"][fires], entry["threshold_count"][fires]
    if not np.array_equal(flags, wanted) or (first.tolist(), count.tolist()) != ([0], [layer.levels]):
        message = f"it must work in step {step} of {frame.period} only, with {layer.levels} thresholds"
        yield Violation(kind="schedule", message=message, core=placed.index)
