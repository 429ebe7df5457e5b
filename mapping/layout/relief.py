# SPDX-License-Identifier: Apache-2.0
"""How many cores each layer would save if one size of the core were twice as large."""

from collections.abc import Mapping
from types import MappingProxyType

from emu.sizes import SpecError
from emu.spec import CoreSpec
from mapping.errors import MappingError
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.spiking.network import SpikingNetwork

__all__ = ["SIZES", "cores_with_twice"]

SIZES: Mapping[str, str] = MappingProxyType(
    {"axons": "axons", "columns": "columns", "thresholds": "thresholds", "entries": "fanouts"}
)
"""The sizes of a core that a layer may run out of, and the field of the spec that holds each."""


def cores_with_twice(
    size: str, spiking: SpikingNetwork, spec: CoreSpec, site: Site
) -> Mapping[str, int] | None:
    """Return the cores of each layer if cores had twice as much of a size, all else as it is.

    The network is laid out again as `mapping.layout.route.fit` does it, so what one layer gains by a larger
    core, another may lose. None where no core can have as much, or the site has no room for what comes out.

    Parameters
    ----------
    size : str
        One of `SIZES`.
    spiking : SpikingNetwork
        The network.
    spec : CoreSpec
        Sizes of a core.
    site : Site
        Where it is laid out.
    """
    field = SIZES[size]
    try:
        larger = spec.resized(**{field: 2 * getattr(spec, field)})
        parts, *_ = fit(spiking, larger, site)
    except (SpecError, MappingError):
        return None
    return {part.name: part.cores for part in parts.layers}
