# SPDX-License-Identifier: Apache-2.0
"""Cover cells of a mesh by rectangles: one packet reaches all cores of one (`docs/reference/mapping.md`)."""

import math
from collections.abc import Iterable, Sequence

__all__ = ["Cell", "Rectangle", "cover"]

Cell = tuple[int, int]
Rectangle = tuple[int, int, int, int]


def cover(cells: Iterable[Sequence[int]]) -> tuple[Rectangle, ...]:
    """Return rectangles (x0, x1, y0, y1) that hold exactly the given cells (x, y), each once; largest first.

    The greedy choice is not always the smallest cover, and always an exact one.

    >>> cover([(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)])
    ((0, 1, 0, 1), (2, 2, 1, 1))
    """
    left = {(x, y) for x, y in cells}
    x, y = {x for x, _ in left}, {y for _, y in left}
    if left and (max(x) - min(x) + 1) * (max(y) - min(y) + 1) == len(left):
        return ((min(x), max(x), min(y), max(y)),)
    rectangles = []
    while left:
        x0, x1, y0, y1 = max(
            (_largest_at(corner, left) for corner in sorted(left)),
            key=lambda r: (r[1] - r[0] + 1) * (r[3] - r[2] + 1),
        )
        rectangles.append((x0, x1, y0, y1))
        left -= {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}
    return tuple(rectangles)


def _largest_at(corner: Cell, cells: set[Cell]) -> Rectangle:
    """Return the largest full rectangle with this north-west corner."""
    x0, y0 = corner
    best, area, limit, y = (x0, x0, y0, y0), 0, math.inf, y0
    while (x0, y) in cells:
        x = x0
        while (x + 1, y) in cells and x + 1 <= limit:
            x += 1
        limit = x
        if (x - x0 + 1) * (y - y0 + 1) > area:
            best, area = (x0, x, y0, y), (x - x0 + 1) * (y - y0 + 1)
        y += 1
    return best
