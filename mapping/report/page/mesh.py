# SPDX-License-Identifier: Apache-2.0
"""The picture of a mesh, in the units of its drawing: where cores and links lie, and how thick and full."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Box", "Line", "Picture", "hue", "picture"]

CELL, GAP = 40.0, 28.0
"""Side of a core, and the space between two of them."""
THICK = 9.0
"""Width of the line of the busiest link."""

_ENDS = {
    "north": (0.62, 0.0, 0.0, -1.0),
    "east": (1.0, 0.38, 1.0, 0.0),
    "south": (0.38, 1.0, 0.0, 1.0),
    "west": (0.0, 0.62, -1.0, 0.0),
}
"""By port: where its link begins, in sides of a core, and which way it goes."""


class Box(NamedTuple):
    """A core: its corner, and the part of its crossbar that is in use, columns across and rows down."""

    x: float
    y: float
    width: float
    height: float
    hue: int


class Line(NamedTuple):
    """A link, from the router that sends."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float


class Picture(NamedTuple):
    """A mesh: its size, corners of all cores, and the cores and links in use in the order of the report.

    Each of several chips has a frame around its cores: x, y, width and height.
    """

    width: float
    height: float
    places: list[tuple[float, float]]
    boxes: list[Box]
    lines: list[Line]
    frames: list[tuple[float, float, float, float]]


def hue(order: int) -> int:
    """Return the hue of a layer, in degrees: any number of them, neighbours far apart.

    >>> [hue(order) for order in range(4)]
    [205, 342, 120, 257]
    """
    return int(205 + 137.508 * order) % 360


def picture(mesh: Mapping[str, Any], layers: list[str], chips: Mapping[str, Any] | None = None) -> Picture:
    """Return the picture of the ``breakdown.mesh`` of a report.

    Parameters
    ----------
    mesh : mapping
        The mesh.
    layers : list of str
        The names of its layers in order.
    chips : mapping, optional
        The ``breakdown.chips``: how many chips the mesh is cut into.
    """
    pitch, hues = CELL + GAP, {name: hue(order) for order, name in enumerate(layers)}

    def corner(place: Mapping[str, Any]) -> tuple[float, float]:
        return GAP + place["x"] * pitch, GAP + place["y"] * pitch

    most = max((link["cycles"] for link in mesh["links"]), default=1.0)
    boxes = [
        Box(
            *corner(core),
            CELL * core["columns"] / mesh["columns"],
            CELL * core["rows"] / mesh["rows"],
            hues[core["layer"]],
        )
        for core in mesh["cores"]
    ]
    lines = []
    for link in mesh["links"]:
        (x, y), (right, down, across, along) = corner(link), _ENDS[link["port"]]
        x, y = x + CELL * right, y + CELL * down
        thick = THICK * link["cycles"] / most
        lines.append(Line(x, y, x + GAP * across, y + GAP * along, max(0.3, thick)))
    places = [(GAP + x * pitch, GAP + y * pitch) for y in range(mesh["height"]) for x in range(mesh["width"])]
    size = GAP + mesh["width"] * pitch, GAP + mesh["height"] * pitch
    return Picture(*size, places, boxes, lines, [] if chips is None else _frames(mesh, chips))


def _frames(mesh: Mapping[str, Any], chips: Mapping[str, Any]) -> list[tuple[float, float, float, float]]:
    """Return the frames of chips, a third of a gap away from their cores."""
    pitch, away = CELL + GAP, GAP / 3
    across, down = mesh["width"] // chips["across"], mesh["height"] // chips["down"]
    size = across * pitch - GAP + 2 * away, down * pitch - GAP + 2 * away
    corners = ((x * across, y * down) for y in range(chips["down"]) for x in range(chips["across"]))
    return [(GAP + x * pitch - away, GAP + y * pitch - away, *size) for x, y in corners]
