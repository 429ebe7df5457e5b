# SPDX-License-Identifier: Apache-2.0
"""Words as runs of bits: fields, packing and unpacking, and the chunks in which a memory is written.

Which words there are, `emu.words` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import CHUNK_BITS

__all__ = [
    "CELLS_A_BYTE",
    "Field",
    "Layout",
    "chunks_for",
    "chunks_of",
    "layout_bits",
    "limits",
    "pack",
    "packed_cells",
    "places",
    "reader",
    "unpack",
    "unpacked_cells",
    "used_cells",
    "words_of",
]


def chunks_for(bits: int) -> int:
    """Return how many 16-bit chunks a word of ``bits`` takes, rounded up to a power of two.

    >>> [chunks_for(b) for b in (1, 16, 17, 33)]
    [1, 1, 2, 4]
    """
    chunks = -(-bits // CHUNK_BITS)
    return 1 << (chunks - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Field:
    """A run of bits in a word: its name, width and whether it is two's complement."""

    name: str
    bits: int
    signed: bool = False


Layout = tuple[Field, ...]
"""The fields of a word, lowest bit first."""


def layout_bits(layout: Layout) -> int:
    """Return the width of a word."""
    return sum(field.bits for field in layout)


def places(layout: Layout) -> dict[str, int]:
    """Return the lowest bit of every field.

    >>> places((Field("a", 3), Field("b", 4)))
    {'a': 0, 'b': 3}
    """
    return {field.name: sum(f.bits for f in layout[:at]) for at, field in enumerate(layout)}


def limits(field: Field) -> tuple[int, int]:
    """Return the least and the greatest value that fit a field.

    >>> limits(Field("a", 3)), limits(Field("b", 4, True))
    ((0, 7), (-8, 7))
    """
    half = 1 << field.bits >> 1
    return (-half, half - 1) if field.signed else (0, (1 << field.bits) - 1)


def _misfit(field: Field, value: object) -> ValueError:
    low, high = limits(field)
    return ValueError(f"{field.name} must be {low}..{high} to fit {field.bits} bits, not {value}.")


def pack(layout: Layout, values: Mapping[str, int]) -> int:
    """Return the word with the given field values.

    >>> pack((Field("a", 3), Field("b", 4, True)), {"a": 5, "b": -1})
    125

    Raises
    ------
    ValueError
        If a value does not fit its field.
    """
    word = shift = 0
    for field in layout:
        value = int(values[field.name])
        low, high = limits(field)
        if not low <= value <= high:
            raise _misfit(field, value)
        word |= (value & ((1 << field.bits) - 1)) << shift
        shift += field.bits
    return word


def unpack(layout: Layout, word: int) -> dict[str, int]:
    """Return the field values of a word; the inverse of `pack`."""
    values = {}
    for field in layout:
        value = word & ((1 << field.bits) - 1)
        if field.signed and value >> (field.bits - 1):
            value -= 1 << field.bits
        values[field.name] = value
        word >>= field.bits
    return values


def reader(layout: Layout, names: Sequence[str]) -> Callable[[int], list[int]]:
    """Return a function from a word to the named fields: a fast `unpack`; a field that is absent reads 0.

    >>> reader((Field("a", 3), Field("b", 4, True)), ("b", "c", "a"))(125)
    [-1, 0, 5]
    """
    at, fields = places(layout), {field.name: field for field in layout}
    parts = [
        (at[name], (1 << fields[name].bits) - 1, (1 << fields[name].bits >> 1) if fields[name].signed else 0)
        if name in fields
        else (0, 0, 0)
        for name in names
    ]
    return lambda word: [(word >> shift & mask ^ sign) - sign for shift, mask, sign in parts]


def chunks_of(
    layout: Layout, rows: Mapping[str, NDArray[np.int64]], width: int | None = None
) -> NDArray[np.uint16]:
    """Return memory words as chunks, low chunk first, each word padded to a power of two of chunks.

    Parameters
    ----------
    layout : Layout
        The word.
    rows : Mapping[str, ndarray of int64]
        Field name -> values, shape (words,), integer.
    width : int or None
        Bits of a word of the memory if they are more than the layout's.

    Returns
    -------
    uint16, shape (words * chunks,)
    """
    words = len(next(iter(rows.values())))
    chunks = chunks_for(layout_bits(layout) if width is None else width)
    out = np.zeros((words, -(-chunks * CHUNK_BITS // _LIMB)), "<u8")
    shift = 0
    for field in layout:
        values = np.asarray(rows[field.name], np.int64)
        low, high = limits(field)
        if words and not low <= values.min() <= values.max() <= high:
            raise _misfit(field, values[(values < low) | (values > high)][0])
        part = values.astype(np.uint64) & np.uint64((1 << field.bits) - 1)
        limb, at = divmod(shift, _LIMB)
        out[:, limb] |= part << np.uint64(at)
        if at + field.bits > _LIMB:
            out[:, limb + 1] |= part >> np.uint64(_LIMB - at)
        shift += field.bits
    return out.view("<u2")[:, :chunks].reshape(-1)


CELLS_A_BYTE = 4
"""Cells that `packed_cells` puts into a byte."""


def packed_cells(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes of two bits, four to a byte, the first in the lowest bits; there are 4 for each byte.

    Two bytes are a chunk, the first in its lowest bits.

    >>> packed_cells(np.array([1, 3, 0, 0, 0, 0, 0, 2], np.uint8)).tolist() == [0b00_00_11_01, 0b10_00_00_00]
    True
    """
    four = np.ascontiguousarray(codes).reshape(-1).view("<u4")
    return np.asarray(four | four >> 6 | four >> 12 | four >> 18, np.uint8)


def unpacked_cells(data: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the cells whose codes `packed_cells` packed, int8 (4 x bytes,), read-only.

    Code 2 gives -2, which is no cell.

    >>> unpacked_cells(np.array([0b00_00_11_01, 0b10_00_00_00], np.uint8)).tolist()
    [1, -1, 0, 0, 0, 0, 0, -2]
    """
    cells = _CELLS.take(data)
    cells.flags.writeable = False
    return cells.view(np.int8)


def used_cells(crossbar: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return how many cells of each column are not zero, counted in bytes as many rows at a time as fit.

    >>> used_cells(np.ones((300, 2), np.int8)).tolist()
    [300, 300]
    """
    used, count = (crossbar != 0).view(np.uint8), np.zeros(crossbar.shape[1], np.int64)
    for at in range(0, len(used), _ROWS):
        count += np.add.reduce(used[at : at + _ROWS], axis=0, dtype=np.uint8)
    return count


_ROWS = 255
"""Rows of which a byte can count the cells."""

_CELLS = (
    (((np.arange(256)[:, None] >> np.arange(0, 8, 2) & 3) ^ 2) - 2).astype(np.int8).view("<u4").reshape(-1)
)
"""The four cells of each byte."""

_LIMB = 64
"""Bits of a word that are put together at once."""


def words_of(layout: Layout, chunks: Sequence[int]) -> list[dict[str, int]]:
    """Return the fields of each of the words that come back as chunks; the inverse of `chunks_of`."""
    size = chunks_for(layout_bits(layout))
    return [
        unpack(layout, sum(chunk << CHUNK_BITS * part for part, chunk in enumerate(chunks[at : at + size])))
        for at in range(0, len(chunks), size)
    ]
