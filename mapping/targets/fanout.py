# SPDX-License-Identifier: Apache-2.0
"""How many cores read an element of a map, from the patches of the layer that reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mapping.targets.patches import LayerShape, PatchMapping

__all__ = ["most_readers"]


def most_readers(shape: LayerShape, cut: PatchMapping, pools: Sequence[LayerShape] = ()) -> int:
    """Return how many inputs of cores the most wanted element of a layer's source is.

    A core that reads an element through several windows of overlapping pools counts once for each of them.

    Parameters
    ----------
    shape : LayerShape
        The layer that reads.
    cut : PatchMapping
        Its patches, one core each.
    pools : sequence of LayerShape
        Max-pools between the source and the layer that merge what meets on an input.

    Examples
    --------
    Patches of 2 x 2 points of a 3 x 3 window share their borders: four of them read the point in the middle.

    >>> from mapping.targets.patches import CoreLimits, best_patch
    >>> layer = LayerShape(name="c", kind="conv", input=(6, 6, 1), output=(4, 4, 1), kernel=3)
    >>> cut = best_patch(layer, CoreLimits(axons=16, columns=4, point_columns=1))
    >>> cut.patches, most_readers(layer, cut)
    ((2, 2, 1), 4)
    """
    parts = math.ceil(shape.output[2] // shape.groups / cut.patch_out[2])
    return parts * math.prod(max(_readers(shape, cut, pools, axis)) for axis in (0, 1))


def _readers(shape: LayerShape, cut: PatchMapping, pools: Sequence[LayerShape], axis: int) -> list[int]:
    """Return how many patches of a row or column of them read each element of the source, along one axis."""
    if shape.kind == "fc":
        counts = [1] * (pools[-1].output[axis] if pools else shape.input[axis])
    else:
        counts = [0] * shape.input[axis]
        side, points = cut.patch_out[1 - axis], shape.output[axis]
        for begin in range(0, points, side):
            outputs = range(begin, min(begin + side, points))
            seen = {at for output in outputs for at in _window(shape, output, axis)}
            for at in seen:
                counts[at] += 1
    for pool in reversed(pools):
        counts = _before(pool, counts, axis)
    return counts


def _before(pool: LayerShape, counts: Sequence[int], axis: int) -> list[int]:
    """Return the readers of each element before a pool, from those behind it."""
    before = [0] * pool.input[axis]
    for output, count in enumerate(counts):
        for at in _window(pool, output, axis):
            before[at] += count
    return before


def _window(shape: LayerShape, output: int, axis: int) -> list[int]:
    """Return the elements inside the map that an output reads, along one axis."""
    pad = 0 if shape.pads is None else shape.pads[axis]
    first = output * shape.steps[axis] - pad
    places = (first + tap * shape.gaps[axis] for tap in range(shape.taps[axis]))
    return [at for at in places if 0 <= at < shape.input[axis]]
