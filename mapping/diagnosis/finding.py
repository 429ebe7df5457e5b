# SPDX-License-Identifier: Apache-2.0
"""A finding: one sentence with a level."""

from dataclasses import dataclass

__all__ = ["DIFFERENCE", "NOTE", "WARNING", "Finding", "percent"]

DIFFERENCE = "difference"
"""Level: the image does not compute its network."""

WARNING = "warning"
"""Level: probably not what the user wants."""

NOTE = "note"
"""Level: good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence: its ``level``, ``kind``, and the layer and neuron it is about, if it is about one.

    ``neuron`` is the flat index in the layer's output.
    """

    level: str
    kind: str
    text: str
    layer: str | None = None
    neuron: int | None = None


def percent(value: float) -> str:
    """Return a fraction as a percentage.

    >>> percent(0.25)
    '25.00 %'
    """
    return f"{100 * value:.2f} %"
