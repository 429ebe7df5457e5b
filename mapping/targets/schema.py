# SPDX-License-Identifier: Apache-2.0
"""What a target file may hold (`docs/reference/targets.md`): units, and the numbers of each model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CLOSED_FORM", "CYCLE_EXACT", "KINDS", "OLD_KINDS", "SCHEMAS", "UNITS", "Sections"]

Sections = Mapping[str, Mapping[str, str]]
"""Section -> key -> what it measures: a key of `UNITS`, ``mesh``, or the name of several keys.

``core`` stands for ``preset`` and ``core``, ``assembly`` for ``chips``, ``links``, ``inlets``, ``outlets``.
"""

CYCLE_EXACT, CLOSED_FORM = "cycle-exact", "closed-form"

UNITS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "energy": {"fJ": 1e-15, "pJ": 1e-12, "nJ": 1e-9, "uJ": 1e-6, "mJ": 1e-3, "J": 1.0},
        "power": {"nW": 1e-9, "uW": 1e-6, "mW": 1e-3, "W": 1.0},
        "frequency": {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
        "time": {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0},
        "area": {"mm2": 1.0},
        "cycles": {"cycle": 1.0},
        "count": {"1": 1.0},
    }
)
"""What a number measures -> its units -> their size in J, W, Hz, s, mm2, cycles or 1."""


def _each(measure: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), measure)


SCHEMAS: Mapping[str, Sections] = MappingProxyType(
    {
        "loom": {
            "geometry": {"core": "core", "mesh": "mesh", "assembly": "assembly"},
            "timing": {"clock_hz": "frequency"},
            "energy": {
                **_each("energy", "crossbar_words synaptic_operations deliveries neuron_updates thresholds"),
                **_each("energy", "packets hops token_hops link_bits program_flits core_cycles"),
                "leakage": "power",
            },
        },
        "kuang2021": {
            "geometry": {
                "core": "core",
                **_each("count", "axons columns max_extension weight_columns cores_per_chip chips_x chips_y"),
            },
            "timing": {"clock_hz": "frequency", "cycles_per_step": "cycles"},
            "energy": {
                **_each("energy", "synaptic_operations_dense headline_synaptic_operation program_bits"),
                "leakage": "power",
            },
        },
        "truenorth": {
            "geometry": {
                **_each("count", "axons neurons axons_per_input cores_per_chip"),
                "chip_area": "area",
            },
            "timing": {"tick": "time"},
            "energy": {
                **_each("energy", "synaptic_events headline_synaptic_event"),
                "leakage": "power",
            },
        },
        "loihi": {
            "geometry": {
                **_each("count", "axons_in axons_out neurons synapses cores_per_chip"),
                "chip_area": "area",
            },
            "timing": _each("time", "synaptic_operation neuron_active neuron_inactive barrier"),
            "energy": {
                **_each("energy", "synaptic_operations neurons_active neurons_inactive messages"),
                "leakage": "power",
            },
        },
    }
)
"""Model -> what its files hold."""

KINDS: Mapping[str, str] = MappingProxyType({**dict.fromkeys(SCHEMAS, CLOSED_FORM), "loom": CYCLE_EXACT})
"""Model -> where time and counts come from: the emulator, or a formula."""

OLD_KINDS: Mapping[str, str] = MappingProxyType({CYCLE_EXACT: "loom", CLOSED_FORM: "kuang2021"})
"""What stood in place of the model in files of version 1 -> the model."""
