# SPDX-License-Identifier: Apache-2.0
"""How many cores a layer would save if one size of the core were twice as large."""

from collections.abc import Mapping
from types import MappingProxyType

from emu.sizes import SpecError
from emu.spec import CoreSpec
from mapping.layout.capacity import limits_of
from mapping.layout.cut import cores_of
from mapping.spiking.network import SpikingLayer

__all__ = ["SIZES", "saved"]

SIZES: Mapping[str, str] = MappingProxyType(
    {"axons": "axons", "columns": "columns", "thresholds": "thresholds", "entries": "fanouts"}
)
"""The sizes of a core that a layer may run out of, and the field of the spec that holds each."""


def saved(
    layer: SpikingLayer, spec: CoreSpec, *, cores: int, entries: int, most: int
) -> dict[str, int | None]:
    """Return by size how many cores a layer would save if cores had twice as much of it.

    None where no core can have as much. ``cores`` is how many the layer takes, ``entries`` the most fan-out
    entries of a neuron, ``most`` the most neurons on one of its cores.
    """
    cap = most if _count(layer, spec, entries, None) < cores else None
    found: dict[str, int | None] = {}
    for name, field in SIZES.items():
        larger = _doubled(spec, field)
        own = None if name == "entries" else cap
        found[name] = None if larger is None else max(0, cores - _count(layer, larger, entries, own))
    return found


def _count(layer: SpikingLayer, spec: CoreSpec, entries: int, cap: int | None) -> int:
    return cores_of(layer, limits_of(layer, spec, entries=entries, cap=cap))


def _doubled(spec: CoreSpec, field: str) -> CoreSpec | None:
    try:
        return spec.resized(**{field: 2 * getattr(spec, field)})
    except SpecError:
        return None
