# SPDX-License-Identifier: Apache-2.0
"""Where the cores of a network sit, and what every placer keeps to (`docs/reference/mapping.md`)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.errors import InfeasibleError
from mapping.layout.capacity import MAX_CORES, MAX_HEIGHT, MAX_WIDTH, misfit, preset_for
from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition
from mapping.layout.partition import partition as partition_of
from mapping.spiking.network import SpikingNetwork

__all__ = ["Placement", "Placer", "TooManyCoresError", "mesh_of", "require_room", "smallest_mesh"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Where the cores sit: ``position`` is int64 (cores, 2), x and y, one row per part of the partition."""

    width: int
    height: int
    position: Integers

    def __post_init__(self) -> None:
        self.position.flags.writeable = False

    def index(self, core: int) -> int:
        """Return the index ``y * width + x`` in the mesh of a part."""
        x, y = self.position[core].tolist()
        return int(y * self.width + x)


class Placer(Protocol):
    """What every placer is: a pure function of the partition, the mesh and a seed.

    Every part gets a core of its own inside the mesh that is not excluded. A mesh that is too small is an
    `InfeasibleError`.
    """

    def __call__(self, partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
        """Return where the parts of a partition sit."""
        ...


class TooManyCoresError(InfeasibleError):
    """A partition has more parts than the mesh has cores; names the first layer that finds no room.

    Attributes
    ----------
    cores : mapping
        Name of a layer -> its cores.
    """

    def __init__(self, partition: Partition, allowed: int, *, excluded: int = 0) -> None:
        self.cores = {layer.name: layer.cores for layer in partition.layers}
        layer = next(layer for layer in partition.layers if layer.first + layer.cores > allowed)
        super().__init__(
            layer=layer.name,
            limit="cores with the layers before it",
            demand=layer.first + layer.cores,
            allowed=allowed,
            remedy=_more_cores(partition, excluded),
        )


def _more_cores(partition: Partition, excluded: int) -> str:
    """Return what would let a partition fit that does not."""
    if len(partition.cores) + excluded <= MAX_CORES:
        width, height = smallest_mesh(partition, spare=excluded)
        return (
            f"choose the mesh {width}x{height}{'' if excluded else ', leave its size out'}, or add --passes"
        )
    remedy = preset_for(lambda spec: _cores_on(partition.spiking, spec) <= MAX_CORES)
    return remedy or f"let the layers need at most {MAX_CORES} cores"


def smallest_mesh(partition: Partition, *, spare: int = 0) -> tuple[int, int]:
    """Return width and height of the smallest single chip for a partition, at most twice as wide as high.

    It has ``spare`` cores more than the partition needs, or some beyond.

    Raises
    ------
    InfeasibleError
        If the partition needs more cores than the largest chip has.
    """
    size = mesh_of(len(partition.cores) + spare)
    if size is None:
        raise TooManyCoresError(partition, MAX_CORES)
    return size


def mesh_of(cores: int) -> tuple[int, int] | None:
    """Return width and height of the smallest mesh of so many cores, at most twice as wide as high, if any.

    >>> [mesh_of(cores) for cores in (1, 3, 314)]
    [(1, 1), (2, 2), (21, 15)]
    """
    widths = [(max(height, -(-cores // height)), height) for height in range(1, MAX_HEIGHT + 1)]
    sizes = [(w * h, w - h, w, h) for w, h in widths if w <= min(2 * h, MAX_WIDTH)]
    return min(sizes)[2:] if sizes else None


def require_room(partition: Partition, mesh: Mesh) -> None:
    """Demand a core of the mesh for every part.

    Raises
    ------
    InfeasibleError
        If there are fewer.
    """
    if mesh.cores < len(partition.cores):
        raise TooManyCoresError(partition, mesh.cores, excluded=len(mesh.excluded))


def _cores_on(spiking: SpikingNetwork, spec: CoreSpec) -> int:
    """Return how many cores of a size a network takes, more than a chip has if a layer does not fit."""
    if any(misfit(layer, spec) for layer in spiking.layers):
        return MAX_CORES + 1
    return len(partition_of(spiking, spec).cores)
