# SPDX-License-Identifier: Apache-2.0
"""Give every part of a partition a core of the mesh (`docs/reference/mapping.md`)."""

from collections.abc import Mapping
from types import MappingProxyType

from mapping.layout.place.anneal import anneal
from mapping.layout.place.curve import curve
from mapping.layout.place.greedy import place
from mapping.layout.place.placement import Placement, Placer, TooManyCoresError, mesh_of, smallest_mesh

__all__ = [
    "PLACERS",
    "Placement",
    "Placer",
    "TooManyCoresError",
    "anneal",
    "curve",
    "mesh_of",
    "place",
    "smallest_mesh",
]

PLACERS: Mapping[str, Placer] = MappingProxyType({"greedy": place, "curve": curve, "anneal": anneal})
"""Name -> placer."""
