# SPDX-License-Identifier: Apache-2.0
"""One operation of a network with its parameters; `mapping.model.operations` says what each of them means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_ELEMENTS", "Attribute", "Node", "Shape"]

MAX_ELEMENTS = 2**27
"""Largest tensor of one image, in elements: a bound against hostile files, far above any real layer."""

Shape = tuple[int, ...]
"""Sizes of the axes of a tensor, without the batch."""

Attribute = int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One operation between tensors.

    ``op`` is a key of `mapping.model.operations.OPERATIONS`, whose record lists the ``attributes`` and the
    float64 ``constants`` that the node has. `mapping.model.network.make_node` builds one.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute]
    constants: Mapping[str, NDArray[np.float64]]

    def number(self, key: str) -> float:
        """Return a scalar attribute as a float."""
        return float(cast("int | float", self.attributes[key]))

    def text(self, key: str) -> str:
        """Return an attribute that is a word."""
        return cast("str", self.attributes[key])

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a tuple attribute."""
        return cast("tuple[int, ...]", self.attributes[key])

    def pair(self, key: str) -> tuple[int, int]:
        """Return an attribute of two integers (y, x)."""
        first, second = self.integers(key)
        return first, second

    def pads(self) -> tuple[int, int, int, int]:
        """Return the padding as top, left, bottom, right."""
        top, left, bottom, right = self.integers("pads")
        return top, left, bottom, right
