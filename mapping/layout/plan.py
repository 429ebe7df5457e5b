# SPDX-License-Identifier: Apache-2.0
"""What passes are: which rows of which layers run together, and what the host feeds them."""

from dataclasses import dataclass

from mapping.spiking.network import SpikingNetwork

__all__ = ["Pass", "Plan", "Reading", "Rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows ``begin`` .. ``end`` - 1 of a layer: output channels or features."""

    layer: str
    begin: int
    end: int


Plan = tuple[tuple[Rows, ...], ...]
"""What every pass computes, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The elements ``begin`` .. ``end`` - 1 of what the host keeps of `INPUT` or of a layer."""

    name: str
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """How many they are."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One pass: a network of its own, whose input is what the host has kept.

    Parameters
    ----------
    network : SpikingNetwork
        Its layers. Its input is ``reads``, one after the other, and its outputs are what later passes or the
        decoder read.
    rows : tuple of Rows
        What it computes of the layers of the whole network, in their order.
    reads : tuple of Reading
        What it is fed.
    """

    network: SpikingNetwork
    rows: tuple[Rows, ...]
    reads: tuple[Reading, ...]
