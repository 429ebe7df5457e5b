# SPDX-License-Identifier: Apache-2.0
"""Changes of a placement that keep the arrangement of whole windows of cores."""

import numpy as np
from numpy.typing import NDArray

from mapping.layout.mesh import Mesh

__all__ = ["drawn", "exchanged", "rolled", "turned"]

Integers = NDArray[np.int64]

_WINDOW = 6
"""Most columns and rows of cores that are exchanged or turned at once."""

_ALONE = 0.5
"""Share of exchanges that move single cores."""

_NEAR = 0.7
"""Share of exchanges with a window at most `_WINDOW` columns and rows away."""

_SHARES = (0.1, 0.05)
"""Share of changes that turn a window, and of those that roll one; the others exchange two."""


def drawn(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return a placement after a change of a drawn kind that moves ``core`` or what is beside it.

    Returns None if nothing moves, or if an excluded core were in its way.
    """
    kind = random.random()
    if kind < _SHARES[0]:
        return turned(mesh, position, random, core)
    return (rolled if kind < sum(_SHARES) else exchanged)(mesh, position, random, core)


def exchanged(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return the placement with two windows of cores exchanged, drawn by ``random``; one holds ``core``.

    Returns None if the windows overlap, hold nothing or hold an excluded core.
    """
    sizes = np.ones(2, np.int64)
    whole = np.array([mesh.width, mesh.height])
    if random.random() >= _ALONE:
        sizes = random.integers(1, 1 + np.clip(whole // 2, 1, _WINDOW))
    room = whole - sizes + 1
    here, there = random.integers(0, room), random.integers(0, room)
    if core is not None:
        here = np.clip(position[core] - random.integers(0, sizes), 0, room - 1)
    if random.random() < _NEAR:
        there = np.clip(here + random.integers(-_WINDOW, _WINDOW + 1, 2), 0, room - 1)
    if (np.abs(here - there) < sizes).all():
        return None
    first, second = (_inside(position, corner, sizes) for corner in (here, there))
    if not (first | second).any() or _excluded(mesh, sizes, here, there):
        return None
    moved = position.copy()
    moved[first] += there - here
    moved[second] += here - there
    return moved


def turned(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return the placement with a window of cores mirrored, drawn by ``random``; it holds ``core``.

    Returns None if nothing moves, or if the window holds an excluded core.
    """
    whole, axis = np.array([mesh.width, mesh.height]), int(random.integers(2))
    sizes = random.integers(1, 1 + np.minimum(whole, _WINDOW))
    corner = _corner(whole, sizes, position, random, core)
    inside = _inside(position, corner, sizes)
    moved = position.copy()
    moved[inside, axis] = 2 * corner[axis] + sizes[axis] - 1 - moved[inside, axis]
    return None if (moved == position).all() or _excluded(mesh, sizes, corner) else moved


def rolled(
    mesh: Mesh, position: Integers, random: np.random.Generator, core: int | None = None
) -> Integers | None:
    """Return the placement with a window shifted by a column or row, what leaves it at the other end.

    The window may be as large as the mesh; it holds ``core``. Returns None if nothing moves, or if the window
    holds an excluded core.
    """
    whole, axis = np.array([mesh.width, mesh.height]), int(random.integers(2))
    sizes = random.integers(1, 1 + whole)
    corner = _corner(whole, sizes, position, random, core)
    inside, by = _inside(position, corner, sizes), 1 - 2 * int(random.integers(2))
    moved = position.copy()
    moved[inside, axis] = corner[axis] + (moved[inside, axis] - corner[axis] + by) % sizes[axis]
    return None if (moved == position).all() or _excluded(mesh, sizes, corner) else moved


def _corner(
    whole: Integers, sizes: Integers, position: Integers, random: np.random.Generator, core: int | None
) -> Integers:
    """Return x and y where a window of some size begins, drawn; it holds ``core``."""
    corner = random.integers(0, whole - sizes + 1)
    if core is None:
        return np.asarray(corner)
    return np.asarray(np.clip(position[core] - random.integers(sizes), 0, whole - sizes))


def _inside(position: Integers, corner: Integers, sizes: Integers) -> NDArray[np.bool_]:
    """Return which cores a window holds."""
    return np.asarray(((position >= corner) & (position < corner + sizes)).all(axis=1))


def _excluded(mesh: Mesh, sizes: Integers, *corners: Integers) -> bool:
    """Tell whether a window holds an excluded core."""
    if not mesh.excluded:
        return False
    cells = np.array(sorted(mesh.excluded))
    return any(bool(_inside(cells, corner, sizes).any()) for corner in corners)
