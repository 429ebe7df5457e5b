# SPDX-License-Identifier: Apache-2.0
"""What a pass is fed, and all ways to cut layers into groups (`docs/reference/passes.md`)."""

import math
from collections.abc import Callable, Iterator, Sequence

from mapping.spiking.network import SpikingNetwork

__all__ = ["elements_fed", "groupings"]

Part = tuple[str, int, int]
"""Layer, and its rows begin .. end - 1."""


def elements_fed(spiking: SpikingNetwork, parts: Sequence[Part]) -> list[tuple[str, int]]:
    """Return name and element of everything that a pass is fed, in the order of its stimulus."""
    here = {name for name, _, _ in parts}
    needed: dict[str, list[int]] = {}
    for name, begin, end in parts:
        layer = spiking.layer(name)
        for source in layer.sources:
            if source.name in here:
                continue
            channels, pixels = source.shape[0], math.prod(source.shape[1:])
            if source.groups > 1:
                rows_a_group, of_group = layer.rows // source.groups, channels // source.groups
                groups = {row // rows_a_group for row in range(begin, end)}
                read = [c for c in range(channels) if c // of_group in groups]
            else:
                read = list(range(channels))
            needed.setdefault(source.name, []).extend(c * pixels + p for c in read for p in range(pixels))
    return [
        (name, element)
        for name, elements in needed.items()
        for element in range(min(elements), max(elements) + 1)
    ]


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
