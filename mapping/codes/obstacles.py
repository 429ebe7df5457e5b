# SPDX-License-Identifier: Apache-2.0
"""Why a layer cannot run on the chip, and what would let it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mapping.spiking.network import SpikingLayer, SpikingNetwork

__all__ = ["OUTSIDE", "Fits", "Holds", "Obstacle", "anything_fits", "anything_holds"]


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
"""A core, as conversion sees it: what keeps it from taking a layer, or None."""

Holds = Callable[[SpikingNetwork], Mapping[str, Obstacle]]
"""A whole chip: why it cannot take these layers together, by the names of layers; nothing if it can."""


def anything_fits(_: SpikingLayer) -> None:
    """Be a core without limits."""


def anything_holds(_: SpikingNetwork) -> Mapping[str, Obstacle]:
    """Be a chip without limits."""
    return MappingProxyType({})
