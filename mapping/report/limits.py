# SPDX-License-Identifier: Apache-2.0
"""What limits each layer: how full its cores are, what they hold twice, what a larger core would save."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emu.image import CoreImage
from emu.spec import THRESHOLDS_A_WORD, CoreSpec
from emu.tables import columns_of
from emu.words import Section
from mapping.chip import Chip
from mapping.layout.relief import SIZES, saved
from mapping.report.activity import RunTotals
from mapping.report.carried import Carried
from mapping.report.mesh import core_layers, occupied
from mapping.report.rate import work_of
from mapping.spiking.digits import digits_of
from mapping.spiking.network import SpikingLayer

__all__ = ["limits_by_layer"]


def limits_by_layer(chip: Chip, carried: Carried, timed: RunTotals) -> list[dict[str, Any]]:
    """Return what limits the layers of a chip, in their order, as plain data.

    ``used`` is the mean share of each size that the layer's cores use, ``copies`` how often they hold an
    input and a weight, ``saves`` how many cores the layer would save if cores had twice as much of a size,
    and ``limit`` the size that saves most. ``cycles`` are those of an inference in which its busiest core
    computes, and in which its packets occupy the busiest of their links.

    Parameters
    ----------
    carried : Carried
        What the links of ``chip`` carried.
    timed : RunTotals
        Of ``chip`` in cycle mode: how long its cores computed.
    """
    order, work, layers = core_layers(chip.image), work_of(timed), chip.on_chip.layers
    group = np.zeros(chip.image.spec.cores, np.int64)
    group[list(order)] = np.array(list(order.values())) + 1
    links = occupied(chip.image, carried.by(group, len(layers) + 1)).max(axis=(1, 2))
    found = []
    for index, layer in enumerate(layers):
        own = group == index + 1
        cores = [core for core, mine in zip(chip.image.cores, own, strict=True) if mine and core is not None]
        cycles = {"core": float(work[own].max()), "link": int(links[index + 1]) / carried.samples}
        found.append(_limits(layer, cores, chip.image.spec.core) | {"cycles": cycles})
    return found


def _limits(layer: SpikingLayer, cores: Sequence[CoreImage], spec: CoreSpec) -> dict[str, Any]:
    saves = saved(
        layer,
        spec,
        cores=len(cores),
        entries=max(_entries(core) for core in cores),
        most=max(core.neurons for core in cores),
    )
    best = max(saves, key=lambda size: saves[size] or 0)
    used = np.sum([_used(core) for core in cores], axis=0) / len(cores)
    have = [getattr(spec, field) for field in SIZES.values()]
    return {
        "name": layer.name,
        "cores": len(cores),
        "used": {size: float(share) for size, share in zip(SIZES, used / have, strict=True)},
        "copies": {
            "inputs": sum(core.axons for core in cores) / layer.inputs,
            "weights": _copies(layer, cores),
        },
        "limit": best if saves[best] else None,
        "saves": saves,
    }


def _used(core: CoreImage) -> tuple[int, int, int, int]:
    """Return rows and columns of the crossbar, thresholds and fan-out entries, in the order of `SIZES`."""
    extension = int(core.extension)
    return (
        -(-core.axons // extension),
        core.crossbar.shape[1] * extension,
        len(core.thresholds) + THRESHOLDS_A_WORD * len(core.ladders),
        len(core.fanout),
    )


def _entries(core: CoreImage) -> int:
    """Return the most fan-out entries of a neuron; the last one of a neuron is marked."""
    if not len(core.fanout):
        return 0
    last = np.flatnonzero(columns_of(Section.FANOUT, core.fanout)["last"])
    return int(np.diff(last, prepend=-1).max())


def _copies(layer: SpikingLayer, cores: Sequence[CoreImage]) -> float | None:
    """Return how often a cell that is not zero is stored, on average; None for a layer without weights."""
    own = sum(
        np.count_nonzero(digits_of(source.weight.reshape(len(source.weight), -1), layer.strengths))
        for source in layer.sources
    )
    by_line = {id(core.crossbar): np.count_nonzero(core.crossbar, axis=1) for core in cores}
    stored = sum(int(by_line[id(core.crossbar)][core.lines[core.lines >= 0]].sum()) for core in cores)
    return stored / int(own) if own else None
