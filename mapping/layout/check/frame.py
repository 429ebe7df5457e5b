# SPDX-License-Identifier: Apache-2.0
"""What a network demands of every image of it: who sends, in which step, and what leaves the chip."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = ["Frame"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """The senders of a network and its timetable.

    A *source* is a number for one element that sends packets: the elements of the input come first, then
    those of every layer, in order.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    names : tuple of str
        `INPUT` and the layers.
    first : int64 (names + 1,)
        The first source of each name, and their number.
    depth : dict
        The step of a sample in which each name fires; -1 for the input.
    period : int
        Steps of one sample.
    interval : int
        Steps from one sample to the next: ``period``, or 1 where samples are pipelined.
    outputs : int64 (n,)
        The source that leaves by each gateway axon.
    """

    spiking: SpikingNetwork
    names: tuple[str, ...]
    first: Integers
    depth: dict[str, int]
    period: int
    interval: int
    outputs: Integers

    @classmethod
    def of(cls, spiking: SpikingNetwork, *, pipelined: bool = False) -> "Frame":
        """Return the frame of a network whose samples follow each other, or are pipelined."""
        names = (INPUT, *(layer.name for layer in spiking.layers))
        sizes = [math.prod(spiking.shape(name)) for name in names]
        first = np.cumsum([0, *sizes])
        depth = {INPUT: -1}
        for layer in spiking.layers:
            depth[layer.name] = 1 + max(depth[source.name] for source in layer.sources)
        ranges = [np.arange(first[at], first[at + 1]) for at in map(names.index, spiking.outputs)]
        period = max(depth.values()) + 1
        return cls(
            spiking=spiking,
            names=names,
            first=first,
            depth=depth,
            period=period,
            interval=1 if pipelined else period,
            outputs=np.concatenate([np.zeros(0, np.int64), *ranges]),
        )

    def source(self, name: str) -> slice:
        """Return the sources of one name."""
        at = self.names.index(name)
        return slice(int(self.first[at]), int(self.first[at + 1]))

    def arrivals(self, layer: SpikingLayer) -> tuple[int, ...]:
        """Return the steps of a sample in which something arrives for a layer, ascending."""
        return tuple(sorted({self.depth[source.name] + 1 for source in layer.sources}))

    def text(self, source: int) -> str:
        """Return name and element of a source, as sentences give it."""
        at = int(np.searchsorted(self.first, source, side="right")) - 1
        return f"{self.names[at]} {source - int(self.first[at])}"
