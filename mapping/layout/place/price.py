# SPDX-License-Identifier: Apache-2.0
"""What placements cost by the packets that they send over each link (`docs/reference/mapping.md`)."""

import operator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh
from mapping.layout.traffic import Loads, Traffic

__all__ = ["ALONE", "BEYOND", "Price", "Rank"]

Integers = NDArray[np.int64]

_LOWER = (0.6, 0.95)
"""Share of the cycles of the best placement that the next one is to take, for what cores send and for all."""

ALONE = 20
"""A link that all packets keep busy for too long counts as so many that what cores send does: it is alone."""

BEYOND = 30
"""A hop more than the greedy placement has costs so many times what another does."""


class Rank(NamedTuple):
    """What placements are compared by, in this order; the less, the better.

    ``step`` are the cycles of the busiest link with what cores send, or the longest step of a core if that is
    more; ``whole`` those of the busiest link, inlet or outlet with all packets; ``sent`` those of the busiest
    link with what cores send, and ``hops`` the hops of these.
    """

    step: int
    whole: int
    sent: int
    hops: int


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
        price.limit = price.rank = price.ranked(price.busy(load := price.loads.parts(position)), load)
        return price

    @property
    def aims(self) -> tuple[float, float]:
        """Cycles that no link shall take more of: with what cores send, and with all packets."""
        if self.rank.sent > self.step:
            return max(self.step, _LOWER[0] * self.rank.sent), self.limit.whole
        return min(self.step, self.limit.sent), _LOWER[1] * self.rank.whole

    def busy(self, load: Integers) -> tuple[Integers, Integers]:
        """Return the cycles in which links are busy with what cores send, and in all, (4, height, width)."""
        sent, fed = self.loads.mesh.busy(load)
        return sent, sent + fed

    def ranked(self, busy: tuple[Integers, Integers], load: Integers) -> Rank:
        """Return the rank of a placement with these loads, which keep links as `busy`."""
        sent, whole = (int(cycles.max(initial=0)) for cycles in busy)
        return Rank(max(sent, self.step), whole, sent, int(load[0].sum()))

    def excess(self, busy: tuple[Integers, Integers]) -> NDArray[np.float64]:
        """Return by which share each link is busy for longer than `aims`, (4, height, width)."""
        own, every = (
            np.maximum(cycles / max(aim, 1) - 1, 0) for cycles, aim in zip(busy, self.aims, strict=True)
        )
        return np.asarray(own + ALONE * every)

    def hops(self, load: Integers) -> float:
        """Return the hops as a share of those of the given placement; more than all are dear."""
        share = int(load[0].sum()) / max(self.limit.hops, 1)
        return share + BEYOND * max(0.0, share - 1)

    def keep(self, busy: tuple[Integers, Integers], load: Integers, position: Integers) -> bool:
        """Remember a placement with these loads if it is the best; tell whether it is."""
        return self.take(self.ranked(busy, load), position)

    def take(self, rank: Rank, position: Integers) -> bool:
        """Remember a placement of this rank if it is the best; tell whether it is."""
        if rank >= self.rank or any(map(operator.gt, rank, self.limit)):
            return False
        self.rank, self.best = rank, position.copy()
        return True
