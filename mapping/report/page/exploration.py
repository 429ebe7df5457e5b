# SPDX-License-Identifier: Apache-2.0
"""The picture of an exploration: what each choice of bits and digits reaches, against the joules it takes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Dot", "Name", "Spread", "spread"]

LEFT, FOOT, WIDTH, HEIGHT = 90.0, 250.0, 400.0, 220.0
"""Where the axes meet in the picture, and how far along them the costliest and the best choice are."""

_WIDE, _LINE, _BESIDE = 100.0, 12.0, 9.0  # what a name takes, and how far from its dot it begins


class Name(NamedTuple):
    """Where the name of a dot is written, and which end of it is there: ``start`` or ``end``."""

    x: float
    y: float
    anchor: str


class Dot(NamedTuple):
    """A choice, by its index in the report: across 0..1 by energy, up 0..1 from the worst to the best.

    Those that no other choice beats have a ``name``.
    """

    choice: int
    across: float
    up: float
    name: Name | None


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
    dots: list[Dot] = []
    for i in shown:
        across, up = choices[i]["energy_j"] / width, (choices[i][key] - choices[worst][key]) / height
        name = _name(across, up, dots) if choices[i].get("pareto") else None
        dots.append(Dot(i, across, up, name))
    return Spread(key, dots, worst, best, costliest)


def _name(across: float, up: float, dots: Sequence[Dot]) -> Name:
    """Return the place of a name: before its dot where there is room, and below names that it would cover."""
    x, y = LEFT + WIDTH * across, min(FOOT - HEIGHT * up + 4, FOOT - 6)  # never on the axis
    before = x - _BESIDE - _WIDE > LEFT
    end = x - _BESIDE if before else x + _BESIDE + _WIDE
    names = [dot.name for dot in dots if dot.name is not None]
    ends = [(name.x if name.anchor == "end" else name.x + _WIDE, name.y) for name in names]
    while any(abs(end - other) < _WIDE and abs(y - height) < _LINE for other, height in ends):
        y += _LINE
    return Name(end if before else end - _WIDE, y, "end" if before else "start")
