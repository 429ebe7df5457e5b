# SPDX-License-Identifier: Apache-2.0
"""The picture of an exploration: what each choice of bits and digits reaches, against the joules it takes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Dot", "Spread", "spread"]


class Dot(NamedTuple):
    """A choice, by its index in the report: across 0..1 by energy, up 0..1 from the worst to the best."""

    choice: int
    across: float
    up: float


class Spread(NamedTuple):
    """The dots, the key that goes up, and the indices of the worst, the best and the costliest choice."""

    key: str
    dots: list[Dot]
    worst: int
    best: int
    costliest: int


def spread(choices: Sequence[Mapping[str, Any]]) -> Spread | None:
    """Return where the choices of an exploration lie; None if fewer than two can be compared.

    Accuracy goes up where samples have labels, agreement with the float network otherwise. A choice without
    either, or without energy, has no dot.
    """
    key = "accuracy" if any(choice["accuracy"] is not None for choice in choices) else "agreement"
    shown = [i for i, choice in enumerate(choices) if None not in (choice[key], choice["energy_j"])]
    if len(shown) < 2:
        return None
    worst, best = (pick(shown, key=lambda i: choices[i][key]) for pick in (min, max))
    costliest = max(shown, key=lambda i: choices[i]["energy_j"])
    height = choices[best][key] - choices[worst][key] or 1.0
    width = choices[costliest]["energy_j"] or 1.0
    dots = [
        Dot(i, choices[i]["energy_j"] / width, (choices[i][key] - choices[worst][key]) / height)
        for i in shown
    ]
    return Spread(key, dots, worst, best, costliest)
