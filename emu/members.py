# SPDX-License-Identifier: Apache-2.0
"""An image as members of a file: of each field what all cores have, one after the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of
from emu.image import FIELDS, CoreImage, ImageError, SystemImage
from emu.spec import SystemSpec

__all__ = ["CORE_FIELDS", "LISTS", "Member", "members_of", "tables_of"]

_TABLES = {
    "inputs/element": "input_element",
    "inputs/packet": "input_packet",
    "outputs/element": "output_element",
}
"""Members of the tables between chip and host, and what they are of an image."""

_INLET = {"inputs/inlet": "input_inlet"}
"""The one more that an image of a system of several inlets has."""

CORE_FIELDS = tuple(name for name in FIELDS if name != "crossbar")
"""Fields of a core that are members of their own."""

LISTS = tuple(sorted(name for name in CORE_FIELDS if FIELDS[name][1]))
"""Fields of which a core has any number of rows; of the others it has one value."""

Array = NDArray[Any]
Member = tuple[str, Sequence[Array], tuple[int, ...]]
"""A name without its ending, the arrays that are in the member one after the other, and its shape."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_NO_CELLS = np.zeros(0, np.int8)


def _crossbars(cores: Sequence[CoreImage]) -> tuple[NDArray[np.int32], list[Array]]:
    """Return which crossbar every core has, and the crossbars in the order of their first cores."""
    known: dict[int, int] = {}
    equal: dict[tuple[tuple[int, ...], bytes], int] = {}
    crossbars: list[Array] = []
    for core in cores:
        cells = core.crossbar
        if id(cells) not in known:
            key = cells.shape, hashlib.sha256(cells.tobytes()).digest()
            known[id(cells)] = number = equal.setdefault(key, len(crossbars))
            crossbars += [cells] if number == len(crossbars) else []
    return np.array([known[id(core.crossbar)] for core in cores], np.int32), crossbars


def _core_members(image: SystemImage) -> Iterator[Member]:
    """Yield the members that the programs of all cores are: of a field what all have, one after the other."""
    cores = [core for core in image.cores if core is not None]
    at = [index for index, core in enumerate(image.cores) if core is not None]
    numbers, crossbars = _crossbars(cores)
    rows = np.array([[len(getattr(core, name)) for name in LISTS] for core in cores], np.int32)
    yield "core/at", [np.array(at, np.int32)], (len(at),)
    yield "core/crossbar", [numbers], numbers.shape
    yield "core/rows", [rows.reshape(len(cores), len(LISTS))], (len(cores), len(LISTS))
    yield "crossbar/shape", [np.array([cells.shape for cells in crossbars], np.int32)], (len(crossbars), 2)
    sizes = sum(cells.size for cells in crossbars)
    yield "crossbar/cells", [_NO_CELLS, *(cells.reshape(-1) for cells in crossbars)], (sizes,)
    for name in CORE_FIELDS:
        dtype, dimensions = FIELDS[name]
        none = np.zeros((0,) * max(dimensions, 1), dtype)
        arrays = [np.atleast_1d(getattr(core, name)) for core in cores] or [none]
        yield f"core/{name}", arrays, (sum(map(len, arrays)), *arrays[0].shape[1:])


def tables_of(spec: SystemSpec) -> dict[str, str]:
    """Return the members of the tables between a system and its host, and what they are of an image."""
    return _TABLES | (_INLET if len(inlets_of(spec.gates)) > 1 else {})


def members_of(image: SystemImage) -> Iterator[Member]:
    """Yield every member of an image but its metadata.

    Raises
    ------
    ImageError
        If an attachment has no name for a member.
    """
    yield from _core_members(image)
    arrays = {member: getattr(image, attribute) for member, attribute in tables_of(image.spec).items()}
    for name, array in image.attachments.items():
        if not _NAME.fullmatch(name):
            raise ImageError(
                f"An attachment name must be letters, digits and . _ - /, not {name!r}; rename it."
            )
        arrays[f"attachment/{name}"] = np.asarray(array)
    for name, array in arrays.items():
        yield name, [array], array.shape
