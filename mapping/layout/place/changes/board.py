# SPDX-License-Identifier: Apache-2.0
"""What compiled changes of placements read and write, as arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCKED",
    "CHANGE",
    "CONCERNED",
    "DONE",
    "FLOWS",
    "FREE",
    "HOPS",
    "MOVED",
    "NONE",
    "OVER",
    "PLACES",
    "TOUCHED",
    "USED",
    "WHERE",
    "Board",
    "Ints",
    "State",
]

Ints = NDArray[np.int64]

FREE, NONE = -1, -2
"""What a cell holds if nothing is placed there, and if nothing may be."""

DONE, HOPS, CHANGE, TOUCHED, MOVED, CONCERNED, FLOWS, OVER, USED, BLOCKED, WHERE, PLACES = range(12)
"""Places in `State.at`: work done, hops of cores' packets, number of the change, lengths of lists (touched
parts, moved cores, concerned sets and flows, flows over a busy part), draws used, parts that are too busy for
a best placement, and the part that `State.over` is for. The last is how many there are."""


class Board(NamedTuple):
    """What no change alters; lists by number are a table of beginnings (``..._at``) and one of all.

    Sources are cores, then inlets; sets of readers are those of the traffic, then one for each outlet. Parts
    are what packets occupy: a link, or the links of a side that share one.
    """

    width: int
    height: int
    cores: int
    source: Ints
    packets: Ints
    readers: Ints
    member_at: Ints
    member: Ints
    box_at: Ints
    sets_at: Ints
    sets: Ints
    sent_at: Ints
    sent: Ints
    read_at: Ints
    read: Ints
    part: Ints
    cycles: Ints
    link_at: Ints
    link: Ints
    entrance: Ints


class State(NamedTuple):
    """A placement, what its packets occupy, and room for a change.

    ``position`` (of cores, then inlets), ``boxes`` and ``boxes_of`` (rectangles of the sets) are those at
    hand and those after the change: (2, ...). ``busy`` has the cycles of cores' packets and of the host's:
    (2, parts).
    """

    position: Ints
    boxes: Ints
    boxes_of: Ints
    kept: Ints
    cell: Ints
    busy: Ints
    at: Ints
    touched: Ints
    part_stamp: Ints
    set_stamp: Ints
    flow_stamp: Ints
    moved: Ints
    concerned: Ints
    flows: Ints
    over: Ints
    run: Ints
    corner: Ints
