# SPDX-License-Identifier: Apache-2.0
"""Exchange the contents of two cells while that is better, priced with packets dealt to their gates."""

import numpy as np

from mapping.layout.place.price import Price

__all__ = ["exchange_pairs"]

_TRIES, _FLOWS = 2000, 2_000_000
"""Most exchanges that are priced, and the flows of all of them."""


def exchange_pairs(price: Price, random: np.random.Generator) -> None:
    """Improve the best placement until no exchange of two cells does, for some thousand tries at most.

    Where packets are dealt to several gates, one move may deal many anew, which `Search` sees only now and
    then: what it leaves is often one exchange away from the best placement.
    """
    cells = np.argwhere(price.loads.mesh.free())[:, ::-1]
    pairs = np.stack(np.triu_indices(len(cells), 1), axis=1)
    left, improved = min(_TRIES, _FLOWS // max(len(price.loads.traffic.source), 1)), True
    while improved and left > 0:
        improved = False
        for one, other in cells[random.permutation(pairs)[:left]]:
            left -= 1
            here, there = (price.best == one).all(axis=1), (price.best == other).all(axis=1)
            if here.any() or there.any():
                position = price.best.copy()
                position[here], position[there] = other, one
                improved |= price.keep(price.loads.parts(position), position)
