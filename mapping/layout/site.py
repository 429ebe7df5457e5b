# SPDX-License-Identifier: Apache-2.0
"""Where a network is laid out: the cores that it may have and who places it on them."""

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emu.dead import DeadSpec
from emu.errors import clause
from emu.spec import CoreSpec, SpecError, SystemSpec
from mapping.errors import MappingError
from mapping.layout.assembly import QUARTER, Links, assembled
from mapping.layout.capacity import MAX_CORES
from mapping.layout.gates import ONE_OF_EACH, Gates
from mapping.layout.mesh import Mesh
from mapping.layout.objective import Caps, Cuts, check_objective, fastest
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, Placement, Placer, TooManyCoresError, mesh_of, place, smallest_mesh
from mapping.layout.thrift import Bill, Price, bill_of, thriftiest
from mapping.spiking.network import SpikingNetwork

__all__ = ["Site", "dead_parts", "site_for", "unused_cores"]

_SLACK = {"anneal": 2}
"""Columns that a placer finds useful beyond the smallest mesh: room to exchange cores with."""

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the cores of a network are, and who places its parts on them.

    Parameters
    ----------
    mesh : (width, height), optional
        All cores; by default the smallest mesh that fits, ``slack`` columns more, and what makes equal
        ``chips``.
    chips : (across, down)
        Equal chips that the mesh is cut into.
    links : Links
        The links between them.
    dead : DeadSpec
        Parts of ``mesh`` that do not work; nothing is placed on `unused_cores`.
    placer : Placer
        The placer.
    slack : int
        Columns of the default mesh beyond the smallest.
    seed : int
        Seed of the placer.
    gates : Gates
        Where the host feeds the mesh and takes what leaves it.
    objective : str
        What cores beyond the fewest are for, one of `mapping.layout.objective.OBJECTIVES`.
    price : Price, optional
        What the objective ``energy`` goes by.
    """

    mesh: tuple[int, int] | None = None
    chips: tuple[int, int] = (1, 1)
    links: Links = QUARTER
    dead: DeadSpec | None = None
    placer: Placer = place
    slack: int = 0
    seed: int = 0
    gates: Gates = ONE_OF_EACH
    objective: str = "cores"
    price: Price | None = None

    def __post_init__(self) -> None:
        check_objective(self.objective)
        if (self.price is None) == (self.objective == "energy"):
            raise ValueError("the objective energy, and no other, needs a price")
        if self.links.shared and self.chips == (1, 1):
            raise MappingError("Links are shared between several chips only: add --chips, for example 2x1.")
        if self.links.wires is not None and self.chips == (1, 1):
            raise MappingError(
                "Wires are those of links between several chips: add --chips, for example 2x1."
            )
        if self.dead is None:
            return
        if self.mesh is None:
            raise MappingError("Parts are excluded from a mesh of a given size only: add --mesh WxH.")
        try:
            self.dead.check(*self.mesh, self.gates.on(*self.mesh))
        except SpecError as error:
            raise MappingError(
                f"Nothing can be placed around what is excluded: {clause(error)}; list other parts, x and y "
                "counted from 0."
            ) from error

    @property
    def cores(self) -> int:
        """Cores that a network may have, as many as there can be if no mesh is given."""
        if self.mesh is None:
            return MAX_CORES
        return math.prod(self.mesh) - len(unused_cores(self.dead, *self.mesh))

    def clocked(self, cores: int) -> int:
        """Return the cores of the mesh for so many in use; each of them has a clock and leaks."""
        return math.prod(self.mesh or self._rounded(mesh_of(cores) or (cores, 1)))

    def caps(self, spiking: SpikingNetwork, spec: CoreSpec) -> Iterator[Caps]:
        """Yield most neurons of a core by layer, the best for the objective first, fewest cores last.

        Raises
        ------
        InfeasibleError
            If a layer fits no core.
        """
        if self.objective != "cores":
            cuts = Cuts(partition(spiking, spec))
            cores = None if self.mesh is None else self.cores
            if self.price is None:
                yield from fastest(cuts, cores)
            else:
                yield from thriftiest(cuts, cores, self.price, clocked=self.clocked, placed=self.bill)
        yield {}

    def bill(self, parts: Partition) -> Bill:
        """Return what a partition takes where it is placed.

        Raises
        ------
        InfeasibleError
            If there are fewer cores than parts.
        """
        return bill_of(parts, self.placement(parts), self.system(parts))

    def system(self, partition: Partition) -> SystemSpec:
        """Return the mesh that a partition is placed on, with its links, dead parts and gates.

        Raises
        ------
        MappingError
            If it cannot be built, or has not the gates.
        """
        mesh = self.mesh or self._rounded(smallest_mesh(partition))
        where: dict[str, Any] = {"chips": self.chips, "links": self.links}
        return assembled(partition.spec, mesh, **where, dead=self.dead, gates=self.gates)

    def placement(self, partition: Partition) -> Placement:
        """Return where the parts of a partition sit.

        Raises
        ------
        InfeasibleError
            If there are fewer cores than parts.
        """
        spec = self.system(partition)
        mesh = replace(Mesh.of(spec), excluded=unused_cores(self.dead, spec.width, spec.height))
        if self.dead is not None and mesh.cores < len(partition.cores):
            raise TooManyCoresError(partition, mesh.cores, excluded=self._lost(partition))
        return self.placer(partition, mesh, seed=self.seed)

    def _lost(self, partition: Partition) -> int:
        """Return how many cores the smallest mesh that would do has beyond those that a partition needs."""
        for spare in range(MAX_CORES - len(partition.cores)):
            size = smallest_mesh(partition, spare=spare)
            if math.prod(size) - len(unused_cores(self.dead, *size)) >= len(partition.cores):
                return spare
        return MAX_CORES

    def _rounded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest mesh with the slack, rounded up to equal chips."""
        (width, height), (across, down) = size, self.chips
        return -(-(width + self.slack) // across) * across, -(-height // down) * down


def site_for(placer: str, **where: Any) -> Site:
    """Return a site for a placer by its name, with the slack that it finds useful.

    ``where`` are the other parameters of `Site`.

    Raises
    ------
    MappingError
        If there is none of this name.
    """
    if placer not in PLACERS:
        raise MappingError(f"Placer must be one of {', '.join(PLACERS)}, not {placer[:100]!r}.")
    return Site(placer=PLACERS[placer], slack=_SLACK.get(placer, 0), **where)


def unused_cores(dead: DeadSpec | None, width: int, height: int) -> frozenset[tuple[int, int]]:
    """Return the cores of a mesh on which nothing is placed, so that each other core reaches each other one.

    They are those that are dead or cut off, and all of a column, or of a row but the first, of which a way is
    dead: the first row is cut off behind it.

    >>> sorted(unused_cores(DeadSpec(ports=((1, 1, "E"), (2, 1, "S"))), 3, 3))
    [(0, 1), (1, 1), (2, 0), (2, 1), (2, 2)]
    """
    if dead is None:
        return frozenset()
    rows, columns = dead.ways("E", width, height), dead.ways("S", width, height)
    rows[0] = False
    cut = np.any(rows, axis=1, keepdims=True) | np.any(columns, axis=0, keepdims=True)
    y, x = np.nonzero(cut | ~dead.alive(width, height))
    return frozenset(zip(x.tolist(), y.tolist(), strict=True))


_REMEDY = 'write cores = [[x, y], ...] and ports = [[x, y, "E"], ...], or one of them'


def dead_parts(path: Path) -> DeadSpec:
    """Read a TOML file that lists ``cores = [[x, y], ...]``, ``ports = [[x, y, side], ...]`` or both.

    Raises
    ------
    MappingError
        If the file cannot be read or lists anything else.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MOST_BYTES:
            raise MappingError(f"{path} has {len(data)} bytes and may have {_MOST_BYTES}: {_REMEDY}.")
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise MappingError(f"{path} cannot be read: {error.strerror}; {_REMEDY} to a file.") from error
    except ValueError as error:
        raise MappingError(f"{path} is no TOML file: {error}; {_REMEDY}.") from error
    lists = {name: document.pop(name) for name in ("cores", "ports") if name in document}
    wrong = [*document, *(name for name, parts in lists.items() if not isinstance(parts, list))]
    if wrong or not lists:
        shown = (wrong or ["cores"])[0][:100]
        raise MappingError(f"{path} must list cores and ports and nothing else, see {shown!r}: {_REMEDY}.")
    try:
        return DeadSpec(**lists)
    except SpecError as error:
        raise MappingError(f"{path} lists what is none: {clause(error)[:200]}; {_REMEDY}.") from error
