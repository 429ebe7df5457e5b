# SPDX-License-Identifier: Apache-2.0
"""What a pass is fed and gives, and all ways to cut layers into groups (`docs/reference/passes.md`)."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mapping.spiking.network import Source, SpikingNetwork

__all__ = ["elements_fed", "elements_of", "groupings"]

Part = Sequence[Any]
"""Layer, and its rows begin .. end - 1; perhaps the rows top .. bottom - 1 of its map too."""


def elements_fed(spiking: SpikingNetwork, parts: Sequence[Part]) -> list[tuple[str, int]]:
    """Return name and element of everything that a pass is fed, in the order of its stimulus."""
    here = {part[0] for part in parts}
    blocks: list[tuple[str, list[int]]] = []
    for name, begin, end, *band in parts:
        layer = spiking.layer(name)
        for source in layer.sources:
            if source.name in here:
                continue
            channels, pixels = source.shape[0], math.prod(source.shape[1:])
            read = set(range(channels))
            if source.groups > 1:
                rows_a_group, of_group = layer.rows // source.groups, channels // source.groups
                groups = {row // rows_a_group for row in range(begin, end)}
                read = {c for c in range(channels) if c // of_group in groups}
            if band:
                width = source.shape[2]
                own = {row * width + x for row in _map_rows(source, *band) for x in range(width)}
            else:
                own = set(range(pixels))
            block = source.name, [c * pixels + p for c in sorted(read) for p in sorted(own)]
            blocks += [block] if block not in blocks else []
    return [(name, element) for name, elements in blocks for element in elements]


def elements_of(spiking: SpikingNetwork, part: Part) -> list[int]:
    """Return the elements of a layer that some rows, or a band of its map, are."""
    name, begin, end, *band = part
    shape = spiking.layer(name).output_shape
    height, width = shape[1:] if len(shape) == 3 else (1, 1)
    top, bottom = band or (0, height)
    return [
        (row * height + y) * width + x
        for row in range(begin, end)
        for y in range(top, bottom)
        for x in range(width)
    ]


def _map_rows(source: Source, top: int, bottom: int) -> list[int]:
    """Return the rows of a source's own map that the windows of some output rows span."""
    sizes = [source.shape[1]]
    for pool in source.pools:
        padded = sizes[-1] + pool.pads[0] + pool.pads[2]
        sizes.append((padded - pool.kernel[0]) // pool.stride[0] + 1)
    steps = [(pool.stride[0], pool.pads[0], pool.kernel[0]) for pool in source.pools]
    steps.append((source.stride[0], source.pads[0], (source.weight.shape[2] - 1) * source.dilation[0] + 1))
    rows = set(range(top, bottom))
    for (stride, before, span), size in zip(reversed(steps), reversed(sizes), strict=True):
        seen = {row * stride - before + at for row in rows for at in range(span)}
        rows = {row for row in seen if 0 <= row < size}
        rows = set(range(min(rows), max(rows) + 1))
    return sorted(rows)


def groupings(
    layers: int, fits: Callable[[int, int], int | None]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the passes and the groups of every way to cut layers into groups that follow each other.

    ``fits`` gives the passes of the layers from one index up to another, None if they do not fit.
    """
    for mask in range(1 << (layers - 1)):
        ends = [at + 1 for at in range(layers - 1) if mask >> at & 1] + [layers]
        groups = list(zip([0, *ends[:-1]], ends, strict=True))
        passes = [fits(begin, end) for begin, end in groups]
        if None not in passes:
            yield sum(number for number in passes if number is not None), groups
