# SPDX-License-Identifier: Apache-2.0
"""What placements cost by the packets that they send over each link (`docs/reference/mapping.md`)."""

import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh
from mapping.layout.place.changes import Aims, Rank, dear, excess
from mapping.layout.traffic import Loads, Traffic

__all__ = ["Price", "Rank"]

Integers = NDArray[np.int64]

_LOWER = (0.6, 0.95)
"""Share of the cycles of the best placement that the next one is to take, for what cores send and for all."""


@dataclass(slots=True, kw_only=True, eq=False)
class Price:
    """Prices of placements; keeps the best of those that are by no number worse than a given one.

    Loads are int64 (2, 4, height, width): of what cores send, and of what the host feeds.

    Parameters
    ----------
    loads : Loads
        Count them.
    step : int
        Cycles of the longest step of a core.
    limit, rank : Rank
        Of the given placement, and of the best one.
    best : int64 (cores, 2)
        The best one.
    """

    loads: Loads
    step: int
    limit: Rank
    rank: Rank
    best: Integers

    @classmethod
    def against(cls, traffic: Traffic, mesh: Mesh, position: Integers, step: int) -> "Price":
        """Return prices that compare with a placement."""
        none = Rank(0, 0, 0, 0)
        price = cls(loads=Loads(traffic=traffic, mesh=mesh), step=step, limit=none, rank=none, best=position)
        price.limit = price.rank = price.ranked(price.loads.parts(position))
        return price

    @property
    def aims(self) -> Aims:
        """One over the cycles that no link shall take more of, and over the hops that are allowed.

        Cores are first to send within their longest step; then all packets are to be faster than before.
        """
        if self.rank.sent > self.step:
            sent, whole = max(self.step, _LOWER[0] * self.rank.sent), float(self.limit.whole)
        else:
            sent, whole = min(self.step, self.limit.sent), _LOWER[1] * self.rank.whole
        return Aims(sent=1 / max(sent, 1), whole=1 / max(whole, 1), hops=1 / max(self.limit.hops, 1))

    def ranked(self, load: Integers) -> Rank:
        """Return the rank of a placement with these loads."""
        own, fed = self.loads.mesh.busy(load)
        sent, whole = int(own.max(initial=0)), int((own + fed).max(initial=0))
        return Rank(max(sent, self.step), whole, sent, int(load[0].sum()))

    def cost(self, load: Integers, hop: float) -> float:
        """Return what a placement costs: what its links are busy beyond `aims`, and its hops at a price."""
        own, fed = self.loads.mesh.busy(load)
        return float(excess(own, fed, self.aims).sum()) + hop * dear(int(load[0].sum()), self.aims)

    def keep(self, load: Integers, position: Integers) -> bool:
        """Remember a placement with these loads if it is the best; tell whether it is."""
        return self.take(self.ranked(load), position)

    def take(self, rank: Rank, position: Integers) -> bool:
        """Remember a placement of this rank if it is the best; tell whether it is."""
        if rank >= self.rank or any(map(operator.gt, rank, self.limit)):
            return False
        self.rank, self.best = rank, position.copy()
        return True
