# SPDX-License-Identifier: Apache-2.0
"""An image as members of a file: of each field what all cores have, one after the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.archive import Member
from emu.bits import CELLS_A_BYTE, packed_cells
from emu.gates import inlets_of
from emu.image import FIELDS, CoreImage, ImageError, SystemImage
from emu.spec import SystemSpec

__all__ = ["CELLS", "CORE_FIELDS", "LISTS", "OPTIONAL", "members_of", "packed_sizes", "tables_of"]

_TABLES = {
    "inputs/element": "input_element",
    "inputs/packet": "input_packet",
    "outputs/element": "output_element",
}
"""Members of the tables between chip and host, and what they are of an image."""

_INLET = {"inputs/inlet": "input_inlet"}
"""The one more that an image of a system of several inlets has."""

CELLS = "crossbar/cells"
"""The member of all cells, packed."""

CORE_FIELDS = tuple(name for name in FIELDS if name != "crossbar")
"""Fields of a core that are members of their own."""

OPTIONAL = frozenset(("v0", "potential", "current", "refractory", "profile", "shifts"))
"""Fields without a member where they are zero throughout, as they are in a core if they are not given."""

LISTS = tuple(sorted(name for name in CORE_FIELDS if FIELDS[name][1]))
"""Fields of which a core has any number of rows; of the others it has one value."""

Array = NDArray[Any]
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def _crossbars(cores: Sequence[CoreImage]) -> tuple[NDArray[np.int32], NDArray[np.int32], list[Array]]:
    """Return which crossbar every core has, and shapes and packed cells in the order of their first cores."""
    known: dict[int, int] = {}
    equal: dict[tuple[tuple[int, ...], bytes], int] = {}
    crossbars: list[Array] = []
    for core in cores:
        cells = core.crossbar
        if id(cells) not in known:
            data = _packed(cells)
            key = cells.shape, hashlib.sha256(data.tobytes()).digest()
            known[id(cells)] = number = equal.setdefault(key, len(crossbars))
            crossbars += [data] if number == len(crossbars) else []
    shapes = np.array([shape for shape, _ in equal], np.int32).reshape(-1, 2)
    return np.array([known[id(core.crossbar)] for core in cores], np.int32), shapes, crossbars


def _core_members(image: SystemImage) -> Iterator[Member]:
    """Yield the members that the programs of all cores are: of a field what all have, one after the other."""
    cores = [core for core in image.cores if core is not None]
    at = [index for index, core in enumerate(image.cores) if core is not None]
    numbers, shapes, crossbars = _crossbars(cores)
    fields = {name: [np.atleast_1d(getattr(core, name)) for core in cores] for name in CORE_FIELDS}
    absent = {name for name in OPTIONAL if not any(array.any() for array in fields[name])}
    rows = np.array([[0 if name in absent else len(one) for one in fields[name]] for name in LISTS], np.int32)
    yield _whole("core/at", np.array(at, np.int32))
    yield _whole("core/crossbar", numbers)
    yield _whole("core/rows", rows.T)
    yield _whole("crossbar/shape", shapes)
    yield Member(CELLS, np.dtype("uint8"), (sum(map(len, crossbars)),), crossbars)
    for name, arrays in fields.items():
        if name not in absent:
            dtype, dimensions = FIELDS[name]
            none = np.zeros((0,) * max(dimensions, 1), dtype)
            shape = sum(map(len, arrays)), *(arrays or [none])[0].shape[1:]
            yield Member(f"core/{name}", np.dtype(dtype), shape, arrays)


def packed_sizes(shapes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the bytes that crossbars of some shapes (n, 2) take in a file; each begins with a byte."""
    return np.asarray(-(-shapes.astype(np.int64).prod(axis=1) // CELLS_A_BYTE), np.int64)


def _packed(crossbar: Array) -> NDArray[np.uint8]:
    """Return a crossbar's cells as they are in a file, the last byte filled with zeros."""
    codes = np.zeros(-(-crossbar.size // CELLS_A_BYTE) * CELLS_A_BYTE, np.uint8)
    codes[: crossbar.size] = crossbar.reshape(-1).view(np.uint8) & 3
    return packed_cells(codes)


def _whole(name: str, array: Array) -> Member:
    """Return the member that one array is."""
    return Member(name, array.dtype, array.shape, [array])


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
    yield from map(_whole, arrays, arrays.values())
