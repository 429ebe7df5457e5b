# SPDX-License-Identifier: Apache-2.0
"""One way in which an image differs from its network."""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["KINDS", "Violation", "ViolationKind"]

ViolationKind = Literal[
    "metadata",
    "placed-table",
    "outside-mesh",
    "disabled-destination",
    "axon-out-of-range",
    "unterminated-list",
    "duplicate-delivery",
    "unpooled-merge",
    "extra-connection",
    "duplicate-connection",
    "extra-delivery",
    "unfed-axon",
    "missing-connection",
    "wrong-weight",
    "thresholds",
    "neuron-settings",
    "schedule",
    "output-missing",
    "output-duplicate",
    "output-extra",
]

KINDS: tuple[ViolationKind, ...] = get_args(ViolationKind)
"""Every kind, in the order of the table in `docs/reference/mapping.md`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which an image differs from its network.

    ``kind`` is one of the names in `docs/reference/mapping.md`; a place that does not apply is None.
    """

    kind: ViolationKind
    message: str
    core: int | None = None
    neuron: int | None = None
    axon: int | None = None

    def __str__(self) -> str:
        places = {"core": self.core, "neuron": self.neuron, "axon": self.axon}
        where = ", ".join(f"{noun} {value}" for noun, value in places.items() if value is not None)
        return f"{self.kind}: {where}{': ' if where else ''}{self.message}"
