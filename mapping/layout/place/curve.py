# SPDX-License-Identifier: Apache-2.0
"""Lay cores along a curve that fills the mesh."""

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition
from mapping.layout.place.placement import Placement, require_room

__all__ = ["curve", "hilbert"]

Integers = NDArray[np.int64]


def curve(partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
    """Place the cores in their order along Hilbert's curve from (0, 0), past what is excluded.

    The curve is that of the smallest square of 2^k x 2^k cores around the mesh. It draws nothing from
    ``seed``.

    Raises
    ------
    InfeasibleError
        If the mesh has fewer cores than the partition.
    """
    del seed
    require_room(partition, mesh)
    y, x = np.nonzero(mesh.free())
    order = np.argsort(hilbert(x, y, side=max(mesh.width, mesh.height)))[: len(partition.cores)]
    position = np.stack((x[order], y[order]), axis=1)
    return Placement(width=mesh.width, height=mesh.height, position=position)


def hilbert(x: Integers, y: Integers, *, side: int) -> Integers:
    """Return how far along the curve of a square (Hilbert, 1891, Math. Ann. 38) the cells lie.

    >>> hilbert(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), side=2).tolist()
    [0, 1, 2, 3]
    """
    x, y, along = x.astype(np.int64), y.astype(np.int64), np.zeros(len(x), np.int64)
    for half in (1 << bit for bit in reversed(range((side - 1).bit_length()))):
        right, low = x & half > 0, y & half > 0
        along += half * half * np.where(right, np.where(low, 2, 3), np.where(low, 1, 0))
        x, y = x & half - 1, y & half - 1
        x, y = (
            np.where(low, x, np.where(right, half - 1 - y, y)),
            np.where(low, y, np.where(right, half - 1 - x, x)),
        )
    return along
