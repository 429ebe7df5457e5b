# SPDX-License-Identifier: Apache-2.0
"""Few rectangles that hold given places of a mesh and no other, each once."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Cell", "Place", "area", "bounds", "cells_of", "strips"]

Cell = tuple[int, int]
"""A core's x, y."""

Place = tuple[int, int, int, int]
"""A rectangle: x0, x1, y0, y1."""


def area(place: Place) -> int:
    """Return how many cores a rectangle holds."""
    x0, x1, y0, y1 = place
    return (x1 - x0 + 1) * (y1 - y0 + 1)


def cells_of(place: Place) -> Iterable[Cell]:
    """Yield the cores of a rectangle."""
    x0, x1, y0, y1 = place
    return ((x, y) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1))


def bounds(cells: Iterable[Cell]) -> Place:
    """Return the smallest rectangle around some cores."""
    x, y = zip(*cells, strict=True)
    return min(x), max(x), min(y), max(y)


def strips(cells: Iterable[Cell]) -> list[Place]:
    """Return rectangles that hold exactly the given cores: runs along x, or along y if these are fewer.

    >>> strips([(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)])
    [(0, 1, 0, 0), (0, 2, 1, 1)]
    """
    given = set(cells)
    if len(given) == 1:
        return [bounds(given)]
    along_x = _runs(given)
    along_y = [(x0, x1, y0, y1) for y0, y1, x0, x1 in _runs({(y, x) for x, y in given})]
    return min(along_x, along_y, key=len)


def _runs(cells: set[Cell]) -> list[Place]:
    """Return the longest runs along x, equal ones of consecutive rows joined."""
    found: list[Place] = []
    above: dict[tuple[int, int], int] = {}
    for x, y in sorted(cells, key=lambda cell: (cell[1], cell[0])):
        if (x - 1, y) in cells:
            continue
        end = x
        while (end + 1, y) in cells:
            end += 1
        at = above.get((x, end), -1)
        if at >= 0 and found[at][3] == y - 1:
            found[at] = (*found[at][:3], y)
        else:
            above[x, end] = len(found)
            found.append((x, end, y, y))
    return found
