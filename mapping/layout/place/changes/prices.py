# SPDX-License-Identifier: Apache-2.0
"""What a placement costs, and which of two is better; compiled, and in NumPy for whole arrays."""

from typing import Any, NamedTuple

import numpy as np

from emu.jit import inner
from mapping.layout.place.changes.board import BLOCKED, HOPS, TOUCHED, State

__all__ = ["Aims", "Rank", "better", "blocked", "dear", "dear_of", "excess", "excess_of", "saved"]

_ALONE = 20
"""A link that all packets keep busy for too long counts as so many that what cores send does: it is alone."""

_BEYOND = 30
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


class Aims(NamedTuple):
    """One over what changes aim at: cycles with what cores send, cycles with all packets, hops."""

    sent: float
    whole: float
    hops: float


def excess(own: Any, fed: Any, aims: Aims) -> Any:
    """Return by which share links are busy for longer than what is aimed at.

    Parameters
    ----------
    own, fed : int or int64 (...,)
        Cycles of cores' packets and of the host's.
    aims : Aims
        What they are compared with.
    """
    sent, every = own * aims.sent - 1.0, (own + fed) * aims.whole - 1.0
    return np.maximum(sent, 0.0) + _ALONE * np.maximum(every, 0.0)


excess_of = inner(excess)
"""Compiled `excess` of one link."""


def dear(hops: int, aims: Aims) -> float:
    """Return hops as a share of those that are allowed; more than all are dear."""
    share = hops * aims.hops
    return share + _BEYOND * max(share - 1.0, 0.0)


dear_of = inner(dear)
"""Compiled `dear`."""


@inner
def blocked(own: int, fed: int, limit: Rank) -> int:
    """Return 1 if a part is busy for longer than in any placement that would be taken as the best."""
    return 1 if own > limit.sent or own + fed > limit.whole else 0


@inner
def better(state: State, limit: Rank, best: Rank, step: int) -> bool:
    """Tell whether the placement at hand has no number above ``limit`` and is before the best one."""
    if state.at[BLOCKED] > 0 or state.at[HOPS] > limit.hops:
        return False
    sent, whole = 0, 0
    for part in range(state.busy.shape[1]):
        own = state.busy[0, part]
        sent, whole = max(sent, own), max(whole, own + state.busy[1, part])
    return (max(sent, step), whole, sent, state.at[HOPS]) < (best.step, best.whole, best.sent, best.hops)


@inner
def saved(state: State, aims: Aims) -> float:
    """Return by how much a change lowers the excess of what it touches."""
    less = 0.0
    for i in range(state.at[TOUCHED]):
        part, own, fed = state.touched[i]
        less += excess_of(own, fed, aims)
        less -= excess_of(state.busy[0, part], state.busy[1, part], aims)
    return less
