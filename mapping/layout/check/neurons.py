# SPDX-License-Identifier: Apache-2.0
"""Compare the neurons of a core, their thresholds and their schedule with what the layer demands."""

from collections.abc import Iterator

import numpy as np

from emu.spec import THRESHOLDS_A_WORD, CoreSpec
from emu.words import TABLES, Reset, Section
from mapping.layout.check.frame import Frame
from mapping.layout.check.layers import Block
from mapping.layout.check.tables import Placed
from mapping.layout.check.violation import Violation
from mapping.spiking.network import SpikingLayer
from mapping.spiking.quantisers import Ladders, Lists

__all__ = ["neuron_violations"]

_FLAGS = ("init", "integrate", "update", "fire")
"""Flags of the steps of a schedule."""

_PROFILE = tuple(c.name for c in TABLES[Section.PROFILE])
"""Fields of a profile; all zero is a neuron that is cleared in each step and sends its count."""


def neuron_violations(frame: Frame, placed: Placed, block: Block, spec: CoreSpec) -> Iterator[Violation]:
    """Compare settings, quantisers and schedule of one core.

    Parameters
    ----------
    frame, placed, block
        The network, the core, and the potentials that its neurons can reach.
    spec : CoreSpec
        Which thresholds mean "always" and "never".
    """
    layer = frame.spiking.layers[placed.layer]
    several = len(frame.arrivals(layer)) > 1
    yield from _settings(placed, layer, block, several=several)
    yield from _quantisers(placed, layer, block, spec)
    yield from _schedule(frame, placed, layer)


def _settings(placed: Placed, layer: SpikingLayer, block: Block, *, several: bool) -> Iterator[Violation]:
    """Demand the strengths of the layer, and neurons that begin with their bias and send their count.

    They are stateless, or keep what came until they fire if it comes in ``several`` steps: then a bias that
    every update adds would count more than once.
    """
    core = placed.core
    if core.strengths.tolist() != list(layer.strengths):
        message = f"the strengths must be {list(layer.strengths)}, not {core.strengths.tolist()}"
        yield Violation(kind="neuron-settings", message=message, core=placed.index)
    bias = (core.v0, core.bias) if several else (core.bias, core.v0)
    wrong = (bias[0] != block.bias) | (bias[1] != 0)
    for array in (core.potential, core.current, core.refractory):
        wrong |= array != 0
    wanted = dict.fromkeys(_PROFILE, 0) | {"signed": int(layer.low < 0)}
    if several:
        wanted["reset"] = int(Reset.ZERO)
    for name, value in wanted.items():
        wrong |= core.of_profile(name) != value
    how = "keep what came until it fires" if several else "be stateless"
    message = f"it must {how}, with the bias of its layer, and send its count"
    for neuron in np.flatnonzero(wrong).tolist():
        yield Violation(kind="neuron-settings", message=message, core=placed.index, neuron=neuron)


def _quantisers(placed: Placed, layer: SpikingLayer, block: Block, spec: CoreSpec) -> Iterator[Violation]:
    """Demand the lists or ladders of the rows of a core, which are of one kind."""
    quantiser = layer.quantiser
    if isinstance(quantiser, Lists):
        yield from _lists(placed, layer, quantiser, block, spec)
    elif isinstance(quantiser, Ladders):
        yield from _ladders(placed, quantiser, block, spec)
    elif (kinds := set(quantiser.listed[block.rows].tolist())) == {True}:
        thresholds = np.zeros((quantiser.rows, layer.levels), np.int64)
        thresholds[quantiser.listed] = quantiser.lists.thresholds
        yield from _lists(placed, layer, Lists(thresholds=thresholds), block, spec)
    elif kinds == {False}:
        words = np.zeros((quantiser.rows, quantiser.ladders.words.shape[1]), np.int64)
        words[~quantiser.listed] = quantiser.ladders.words
        bits = quantiser.ladders.payload_bits
        yield from _ladders(placed, Ladders(words=words, payload_bits=bits), block, spec)
    else:
        message = "its rows have ladders and lists, and a core has one kind"
        yield Violation(kind="thresholds", message=message, core=placed.index)


def _lists(
    placed: Placed, layer: SpikingLayer, lists: Lists, block: Block, spec: CoreSpec
) -> Iterator[Violation]:
    """Demand thresholds that part every reachable potential as the network's do."""
    core, low, high = placed.core, block.low[:, None], block.high[:, None]
    wanted = np.clip(lists.thresholds[block.rows], low, high + 1)
    memory = np.append(core.thresholds, 0)
    place = core.threshold_base[:, None].astype(np.int64) + np.arange(layer.levels)
    beyond = (place >= len(core.thresholds)) | core.is_ladder
    stored = memory[np.minimum(place, len(core.thresholds))]
    got = np.where(stored <= spec.always, low, np.where(stored >= spec.never, high + 1, stored))
    got = np.clip(got, low, high + 1)
    for neuron in np.flatnonzero(((got != wanted) | beyond).any(axis=1)).tolist():
        message = (
            f"its thresholds act like {got[neuron].tolist()} and must act like {wanted[neuron].tolist()}"
        )
        yield Violation(kind="thresholds", message=message, core=placed.index, neuron=neuron)


def _ladders(placed: Placed, ladders: Ladders, block: Block, spec: CoreSpec) -> Iterator[Violation]:
    """Demand the ladder of its row at every neuron, on a core whose ladders have as many bits."""
    core, wanted = placed.core, ladders.words[block.rows]
    words = np.append(core.ladders, np.full((1, wanted.shape[1]), -1), axis=0)
    stored = words[np.minimum(core.threshold_base // THRESHOLDS_A_WORD, len(core.ladders))]
    wrong = (stored != wanted).any(axis=1) | (ladders.payload_bits != spec.payload_bits)
    for neuron in np.flatnonzero(wrong).tolist():
        message = f"its ladder is {stored[neuron].tolist()} and must be {wanted[neuron].tolist()}"
        yield Violation(kind="thresholds", message=message, core=placed.index, neuron=neuron)


def _schedule(frame: Frame, placed: Placed, layer: SpikingLayer) -> Iterator[Violation]:
    """Demand that the core works in the steps in which something arrives, and rests in all others."""
    steps, entry = frame.arrivals(layer), placed.core.columns(Section.SCHEDULE)
    flags = np.repeat(np.stack([entry[name] for name in _FLAGS], axis=1), entry["repeat"], axis=0)
    within = [step % frame.interval for step in steps]
    wanted = np.zeros((frame.interval, len(_FLAGS)), np.int32)
    wanted[within, 1:3] = 1
    wanted[within[-1], 3] = 1
    wanted[within[0], 0] = len(steps) > 1
    fires = entry["fire"] != 0
    window = entry["threshold_first"][fires].tolist(), entry["threshold_count"][fires].tolist()
    apart = len(set(within)) == len(steps)
    if not apart or not np.array_equal(flags, wanted) or window != ([-layer.low], [layer.levels]):
        shown = ", ".join(map(str, within))
        message = f"it must work in step {shown} of {frame.interval} only, with {layer.levels} thresholds"
        yield Violation(kind="schedule", message=message, core=placed.index)
