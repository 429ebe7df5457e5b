# SPDX-License-Identifier: Apache-2.0
"""From the seed chip to a better one, a change at a time: images of one network, emulated on one core.

Every way is a real image on the core of the seed chip's size (preset ``article``, with ladders where they are
used), checked, and run in cycle mode on the same samples; their outputs are equal. So what differs is what
the change saves. Joules are those of our own event table, for that core: none is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec, preset
from mapping.chip import Chip
from mapping.codes.convert import convert
from mapping.codes.ladders import find_ladder_between
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.errors import MappingError
from mapping.layout.capacity import fits
from mapping.layout.check import require
from mapping.layout.emit import emit
from mapping.layout.route import fit
from mapping.model.load import load_network
from mapping.report.activity import RunTotals
from mapping.report.timeline import timeline_of
from mapping.spiking.network import TERNARY, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists, Mixed
from mapping.spiking.unary import unary
from mapping.targets.energy import estimate_energy
from mapping.targets.files import load_target
from mapping.targets.loom import energy_table

__all__ = ["WAYS", "BetterChip", "better_chips"]

_CORE, _ARRAY = "article", 64


def _ternary(spiking: SpikingNetwork) -> SpikingNetwork:
    return unary(spiking, strengths=TERNARY)


def _pooled(spiking: SpikingNetwork) -> SpikingNetwork:
    return unary(spiking, strengths=TERNARY, pool_layers=False)


def _counts(spiking: SpikingNetwork) -> SpikingNetwork:
    return spiking


def _ladders(spiking: SpikingNetwork) -> SpikingNetwork:
    bits = preset(_CORE).payload_bits
    return replace(spiking, layers=tuple(_laddered(layer, bits) for layer in spiking.layers))


def _laddered(layer: SpikingLayer, payload_bits: int) -> SpikingLayer:
    """Return a layer whose rows count by a ladder if there is one with their thresholds.

    A threshold that no sum reaches may be any such one, and one that every sum reaches too.
    """
    edges, (low, high) = layer.edges, (end[:, None] for end in layer.reach())
    far = 4 * int(np.abs([low, high]).max()) + 4
    least = np.where(edges <= low, -far, np.minimum(edges, high + 1))
    most = np.where(edges > high, far, np.maximum(edges, low))
    found = [find_ladder_between(*row, 0, payload_bits) for row in zip(least, most, strict=True)]
    listed = np.array([ladder is None for ladder in found])
    if listed.all():
        return layer
    words = [(one.first, one.step, one.offset, one.ties) for one in found if one is not None]
    ladders = Ladders(words=np.array(words, np.int64), payload_bits=payload_bits)
    if not listed.any():
        return replace(layer, quantiser=ladders)
    lists = Lists(thresholds=edges[listed])
    return replace(layer, quantiser=Mixed(listed=listed, lists=lists, ladders=ladders))


WAYS: dict[str, Callable[[SpikingNetwork], SpikingNetwork]] = {
    "the article's": unary,
    "ternary cells": _ternary,
    "pooled axons": _pooled,
    "shared columns, count packets": _counts,
    "ladders": _ladders,
}
"""Ways to lay out a network by name, each with the change of those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BetterChip:
    """What one way takes; events are means per inference.

    Parameters
    ----------
    way : str
        Key of `WAYS`.
    cores, columns : int
        Cores in use, and crossbar columns that their neurons take.
    passes : int
        Steps of an inference on 64 cores that run layer after layer, the sum over layers of
        ceil(cores / 64).
    operations, packets : float
        Cells that are not zero and that an event hit; packets injected.
    latency_s : float
        Of one input alone, all layers side by side, at the clock of the target ``loom``.
    energy_j, low_j, high_j : float
        By the event table of ``loom``, for this core.
    """

    way: str
    cores: int
    columns: int
    passes: int
    operations: float
    packets: float
    latency_s: float
    energy_j: float
    low_j: float
    high_j: float


def better_chips(model: str, data: str, samples: int | None = None) -> tuple[BetterChip, ...]:
    """Return what each of `WAYS` takes for a network of ternary weights.

    Parameters
    ----------
    model, data : str
        As of `mapping.model.load.load_network` and `mapping.datasets.load.load_data`.
    samples : int, optional
        Only the first of the data.

    Raises
    ------
    MappingError
        If the outputs of two ways differ, or one cannot be laid out.
    """
    network, spec = load_network(model), preset(_CORE)
    spiking = convert(network, fits(spec, unary=True))
    given = scaled(load_data(data).first(samples), "auto", network)[0]
    found: list[BetterChip] = []
    first: NDArray[np.float64] | None = None
    for name, way in WAYS.items():
        one, logits = _measured(name, way(spiking), spiking, spec, given)
        first = logits if first is None else first
        if not np.array_equal(logits, first):
            raise MappingError(f"Outputs of {model} with {name} differ from the article's: report this bug.")
        found.append(one)
    return tuple(found)


def _measured(
    name: str, laid_out: SpikingNetwork, spiking: SpikingNetwork, spec: CoreSpec, data: Dataset
) -> tuple[BetterChip, NDArray[np.float64]]:
    """Return what one way takes on data, and its outputs."""
    if any(not isinstance(layer.quantiser, Lists) for layer in laid_out.layers):
        spec = replace(spec, ladder=True)
    image = emit(laid_out, *fit(laid_out, spec), name=spiking.name)
    require(image, laid_out)
    chip, totals, logits = Chip(image=image, spiking=spiking), RunTotals(), []
    for part, inference in chip.runs(data, cycles=True):
        totals.add(chip, part, inference)
        logits.append(inference.logits)
    target = load_target("loom")
    means = {event: totals.total(event) / totals.samples for event in totals.counters}
    elapsed = (totals.elapsed or 0) / totals.samples
    table = energy_table(target, spec)
    events = {event: means[event] for event in table if event in means}
    events["core_cycles"] = image.spec.cores * elapsed
    energy = estimate_energy(events, elapsed / target.clock_hz, image.spec.cores, table)
    return BetterChip(
        way=name,
        cores=sum(core is not None for core in image.cores),
        columns=chip.columns,
        passes=_passes([layer["cores"] for layer in image.meta["layers"]]),
        operations=means["synaptic_operations"],
        packets=means["packets"],
        latency_s=timeline_of(chip, data, target.clock_hz)[-1]["end_s"],
        energy_j=energy.total_j,
        low_j=energy.low_j,
        high_j=energy.high_j,
    ), np.concatenate(logits)


def _passes(cores: Sequence[int]) -> int:
    return sum(-(-layer // _ARRAY) for layer in cores)
