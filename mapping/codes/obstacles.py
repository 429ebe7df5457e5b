# SPDX-License-Identifier: Apache-2.0
"""Why a layer cannot run on the chip, and what would let it."""

from collections.abc import Callable
from dataclasses import dataclass

from mapping.spiking.network import SpikingLayer

__all__ = ["OUTSIDE", "Fits", "Obstacle", "anything_fits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What keeps a layer on the host.

    ``reason`` completes "because", ``remedy`` is a command that removes this very obstacle.
    """

    reason: str
    remedy: str


OUTSIDE = Obstacle(
    reason="it lies outside the run of layers that leaves the least to the host",
    remedy="let no layer between it and the layers on the chip need the host",
)
"""What keeps a layer on the host that could run on the chip by itself."""

Fits = Callable[[SpikingLayer], Obstacle | None]
"""A chip, as conversion sees it: what keeps it from taking a layer, or None."""


def anything_fits(_: SpikingLayer) -> None:
    """Be a chip without limits."""
