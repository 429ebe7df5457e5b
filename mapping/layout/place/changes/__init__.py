# SPDX-License-Identifier: Apache-2.0
"""The annealer's inner loop, compiled: changes of a placement and what they cost."""

from mapping.layout.place.changes.board import DONE, FREE, HOPS, NONE, PLACES, Board, State
from mapping.layout.place.changes.change import change
from mapping.layout.place.changes.prices import Aims, Rank, dear, excess

__all__ = [
    "DONE",
    "FREE",
    "HOPS",
    "NONE",
    "PLACES",
    "Aims",
    "Board",
    "Rank",
    "State",
    "change",
    "dear",
    "excess",
]
