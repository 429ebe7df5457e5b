# SPDX-License-Identifier: Apache-2.0
"""What limits each layer: how full its cores are, what a larger one would save, and what its time goes by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage
from emu.spec import THRESHOLDS_A_WORD, CoreSpec
from mapping.chip import Chip
from mapping.layout.relief import SIZES, cores_with_twice
from mapping.report.busy import cycles_by_layer
from mapping.report.carried import Carried
from mapping.report.mesh import core_layers
from mapping.spiking.digits import digits_of
from mapping.spiking.network import SpikingLayer

__all__ = ["in_pass", "limits_by_layer"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def limits_by_layer(chip: Chip, carried: Carried, fed: Integers, work: Floats) -> list[dict[str, Any]]:
    """Return what limits the layers of a chip, in their order, as plain data.

    ``used`` is the mean share of each size that the layer's cores use, ``copies`` how often they hold an
    input and a weight, ``saves`` how many cores the layer would save if cores had twice as much of a size,
    and ``limit`` the size that saves most. ``cycles`` are those of `mapping.report.busy.cycles_by_layer`,
    and ``bound`` is the part that has most of them.

    Parameters
    ----------
    carried : Carried
        What the links of ``chip`` carried.
    fed : int64 (packets,)
        How often the host fed each packet of its table in the same runs.
    work : float64 (cores,)
        Cycles of an inference in which each core computes.
    """
    image, spec = chip.image, chip.image.spec.core
    names = [layer.name for layer in chip.on_chip.layers]
    of, cores = core_layers(image), dict[str, list[CoreImage]]()
    for index, core in enumerate(image.cores):
        if core is not None:
            cores.setdefault(names[of[index]], []).append(core)
    saves = _saves(chip, {name: len(own) for name, own in cores.items()})
    busy = cycles_by_layer(image, carried, fed, work)
    return [
        {
            "name": layer.name,
            "cores": len(cores[layer.name]),
            "used": _used(cores[layer.name], spec),
            "copies": {
                "inputs": sum(np.count_nonzero(core.lines >= 0) for core in cores[layer.name]) / layer.inputs,
                "weights": _copies(layer, cores[layer.name]),
            },
            "limit": _most(saves[layer.name]),
            "saves": saves[layer.name],
            "cycles": cycles,
            "bound": max(cycles, key=lambda kind: cycles[kind] or 0),
        }
        for layer, cycles in zip(chip.on_chip.layers, busy, strict=True)
    ]


def in_pass(rows: Sequence[Mapping[str, Any]], parts: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return what limits the layers of a pass under the names of the parts that it has of them.

    Parameters
    ----------
    rows : sequence of mapping
        As of `limits_by_layer`.
    parts : sequence
        Layer, first row and the one after the last of every part, and of a band of its map the same of its
        lines, as `mapping.passes.passes_meta` tells them.
    """
    names = {
        name: f"{name}[:, {band[0]}:{band[1]}]" if band else f"{name}[{begin}:{end}]"
        for name, begin, end, *band in parts
    }
    return [{**row, "name": names[row["name"]]} for row in rows]


def _most(values: Mapping[str, float | None]) -> str | None:
    """Return the first name of the largest value, None if none is above 0."""
    best = max(values, key=lambda name: values[name] or 0)
    return best if (values[best] or 0) > 0 else None


def _saves(chip: Chip, cores: Mapping[str, int]) -> dict[str, dict[str, int | None]]:
    """Return by layer and size the cores that twice as much of the size would save."""
    found: dict[str, dict[str, int | None]] = {name: dict.fromkeys(SIZES) for name in cores}
    if chip.site is None:
        return found
    for size in SIZES:
        after = cores_with_twice(size, chip.on_chip, chip.image.spec.core, chip.site)
        if after is not None:
            for name, now in cores.items():
                found[name][size] = now - after[name]
    return found


def _used(cores: Sequence[CoreImage], spec: CoreSpec) -> dict[str, float]:
    """Return by size the mean share of it that cores use."""
    used = np.sum([_sizes(core) for core in cores], axis=0) / len(cores)
    have = [getattr(spec, field) for field in SIZES.values()]
    return {size: float(share) for size, share in zip(SIZES, used / have, strict=True)}


def _sizes(core: CoreImage) -> tuple[int, int, int, int]:
    """Return rows and columns of the crossbar, thresholds and fan-out entries, in the order of `SIZES`."""
    extension = int(core.extension)
    return (
        -(-core.axons // extension),
        core.crossbar.shape[1] * extension,
        len(core.thresholds) + THRESHOLDS_A_WORD * len(core.ladders),
        len(core.fanout),
    )


def _copies(layer: SpikingLayer, cores: Sequence[CoreImage]) -> float | None:
    """Return how often a cell that is not zero is stored, on average; None for a layer without weights."""
    own = sum(
        np.count_nonzero(digits_of(source.weight.reshape(len(source.weight), -1), layer.strengths))
        for source in layer.sources
    )
    by_line = {id(core.crossbar): np.count_nonzero(core.crossbar, axis=1) for core in cores}
    stored = sum(int(by_line[id(core.crossbar)][core.lines[core.lines >= 0]].sum()) for core in cores)
    return stored / int(own) if own else None
