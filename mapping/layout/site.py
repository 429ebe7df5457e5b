# SPDX-License-Identifier: Apache-2.0
"""Where a network is laid out: the cores that it may have and who places it on them."""

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emu.links import LinkSpec
from emu.spec import SystemSpec
from mapping.errors import MappingError
from mapping.layout.mesh import Mesh
from mapping.layout.objective import OBJECTIVES, check_objective
from mapping.layout.partition import Partition
from mapping.layout.place import PLACERS, Placement, Placer, place, smallest_mesh

__all__ = ["Site", "excluded_cores", "site_for"]

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
    excluded : frozenset of (x, y)
        Cores of ``mesh`` that nothing is placed on.
    placer : Placer
        The placer.
    slack : int
        Columns of the default mesh beyond the smallest.
    seed : int
        Seed of the placer.
    objective : str
        What cores beyond the fewest are for, one of `mapping.layout.objective.OBJECTIVES`.
    """

    mesh: tuple[int, int] | None = None
    chips: tuple[int, int] = (1, 1)
    excluded: frozenset[tuple[int, int]] = frozenset()
    placer: Placer = place
    slack: int = 0
    seed: int = 0
    objective: str = "cores"

    def __post_init__(self) -> None:
        check_objective(self.objective)
        if self.excluded and self.mesh is None:
            raise MappingError("Cores are excluded from a mesh of a given size only: add --mesh WxH.")
        for x, y in sorted(self.excluded):
            width, height = self.mesh or (0, 0)
            if not (0 <= x < width and 0 <= y < height):
                raise MappingError(
                    f"Excluded core ({x}, {y}) is outside the mesh of {width}x{height} cores: "
                    "exclude cores with x below the width and y below the height, counted from 0."
                )

    @property
    def facts(self) -> dict[str, Any]:
        """What an image says of its site: what is ``excluded``, and an ``objective`` but the default."""
        facts: dict[str, Any] = {"excluded": sorted(map(list, self.excluded))} if self.excluded else {}
        return facts | ({} if self.objective == OBJECTIVES[0] else {"objective": self.objective})

    @property
    def cores(self) -> int | None:
        """Cores that parts may be placed on; None where the mesh is as large as they need."""
        return None if self.mesh is None else math.prod(self.mesh) - len(self.excluded)

    def placement(self, partition: Partition) -> Placement:
        """Return where the parts of a partition sit.

        Raises
        ------
        InfeasibleError
            If there are fewer cores than parts.
        """
        width, height = self.mesh or self._smallest(partition)
        chip = beats = None
        if self.chips != (1, 1):
            flit = SystemSpec(core=partition.spec, width=width, height=height).flit_bits
            links = LinkSpec.between(self.chips, (width, height), flit)
            chip, beats = (links.width, links.height), links.beats(flit)
        mesh = Mesh(width=width, height=height, excluded=self.excluded, chip=chip, beats=beats or 1)
        return self.placer(partition, mesh, seed=self.seed)

    def _smallest(self, partition: Partition) -> tuple[int, int]:
        """Return the smallest mesh with the slack, rounded up to equal chips."""
        width, height = smallest_mesh(partition)
        across, down = self.chips
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


def excluded_cores(path: Path) -> frozenset[tuple[int, int]]:
    """Read a TOML file that lists ``cores = [[x, y], ...]``.

    Raises
    ------
    MappingError
        If the file cannot be read or lists anything else.
    """
    remedy = "write cores = [[x, y], ...]"
    try:
        data = path.read_bytes()
        if len(data) > _MOST_BYTES:
            raise MappingError(f"{path} has {len(data)} bytes and may have {_MOST_BYTES}: {remedy}.")
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise MappingError(f"{path} cannot be read: {error.strerror}; {remedy} to a file.") from error
    except ValueError as error:
        raise MappingError(f"{path} is no TOML file: {error}; {remedy}.") from error
    cores = document.pop("cores", None)
    if document or not isinstance(cores, list):
        wrong = next(iter(document), "cores")
        raise MappingError(f"{path} must list cores and nothing else, see {wrong[:100]!r}: {remedy}.")
    return frozenset(_cells(path, cores, remedy))


def _cells(path: Path, cores: list[object], remedy: str) -> Iterable[tuple[int, int]]:
    for core in cores:
        if not (isinstance(core, list) and len(core) == 2 and all(type(part) is int for part in core)):
            raise MappingError(f"{path} lists the core {str(core)[:100]}, which is not [x, y]: {remedy}.")
        yield core[0], core[1]
