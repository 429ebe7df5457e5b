# SPDX-License-Identifier: Apache-2.0
"""Two computations of the same activations: how many differ, and which one is the first."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "First", "difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """The first activation that differs: its layer, image, flat neuron index, and both values."""

    layer: str
    image: int
    neuron: int
    expected: float
    got: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How many activations were compared, how many differ, and the first of the first layer that does."""

    compared: int = 0
    different: int = 0
    first: First | None = None

    def plus(self, other: "Difference") -> "Difference":
        """Return both together; the first one is this one's if it has any."""
        return Difference(
            compared=self.compared + other.compared,
            different=self.different + other.different,
            first=self.first or other.first,
        )


def difference(
    name: str, expected: NDArray[Any], got: NDArray[Any], *, start: int = 0, unit: float = 1.0
) -> Difference:
    """Compare two arrays (samples, ...) with ==.

    ``start`` is the number of their first sample; values are reported as multiples of ``unit``.

    >>> difference("fc", np.array([[1, 2]]), np.array([[1, 3]]), start=4).first
    First(layer='fc', image=4, neuron=1, expected=2.0, got=3.0)
    """
    expected, got = expected.reshape(len(expected), -1), got.reshape(len(got), -1)
    places = np.argwhere(expected != got)
    first = None
    if len(places):
        image, neuron = map(int, places[0])
        values = float(expected[image, neuron] / unit), float(got[image, neuron] / unit)
        first = First(layer=name, image=start + image, neuron=neuron, expected=values[0], got=values[1])
    return Difference(compared=expected.size, different=len(places), first=first)
