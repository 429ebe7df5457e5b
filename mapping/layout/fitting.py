# SPDX-License-Identifier: Apache-2.0
"""A chip of a given mesh, as conversion sees it: which layers it holds together, and how they lie there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from emu.spec import CoreSpec
from mapping.codes.obstacles import Obstacle
from mapping.errors import InfeasibleError
from mapping.layout.partition import Partition
from mapping.layout.place import Placement, TooManyCoresError
from mapping.layout.route import Routes, fit
from mapping.layout.site import Site
from mapping.spiking.network import SpikingNetwork

__all__ = ["Fitting", "Layout"]

Layout = tuple[Partition, Placement, Routes]
"""How a network lies on a chip."""


@dataclass(slots=True, kw_only=True)
class Fitting:
    """Lay out networks until one fits.

    Parameters
    ----------
    spec : CoreSpec
        Sizes of a core.
    site : Site
        The cores that a network may have.
    layout : (Partition, Placement, Routes), optional
        Of the last network that `holds` accepted.
    """

    spec: CoreSpec
    site: Site = field(default_factory=Site)
    layout: Layout | None = None
    _explained: set[str] = field(default_factory=set)

    def holds(self, spiking: SpikingNetwork) -> Mapping[str, Obstacle]:
        """Return why the chip cannot take these layers together, by name; nothing if it can.

        Layers that do not find room are told how many cores each of them needs. A network that cannot fit
        and has no layer that was not told so yet is not laid out.
        """
        names = {layer.name for layer in spiking.layers}
        least = sum(-(-layer.neurons // self.spec.columns) for layer in spiking.layers)
        if names <= self._explained and least > self._cores:
            return dict.fromkeys(names, Obstacle(reason=f"it needs more than {self._cores} cores", remedy=""))
        try:
            self.layout = fit(spiking, self.spec, self.site)
        except TooManyCoresError as error:
            self._explained |= names
            return _crowded(error)
        except InfeasibleError as error:
            return {error.layer: Obstacle(reason=error.reason, remedy=error.remedy)}
        return {}

    @property
    def _cores(self) -> int:
        return self.site.cores


def _crowded(error: TooManyCoresError) -> dict[str, Obstacle]:
    """Return for every layer its part in a demand for too many cores."""
    total = sum(error.cores.values())
    return {
        name: Obstacle(
            reason=f"it needs {cores} of the {total} cores that its run of layers needs but "
            f"{error.allowed} are allowed",
            remedy=error.remedy,
        )
        for name, cores in error.cores.items()
    }
