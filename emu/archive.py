# SPDX-License-Identifier: Apache-2.0
"""How files of members are written: equal data give equal bytes, and a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from emu.image import ImageError

__all__ = ["packed", "replaced", "write_array", "write_member"]

_LEVEL = 1
"""Of compression: cells take a fifth more than at level 6, in a tenth of the time."""
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_UNIX = 3
_LARGE = 1 << 30
"""Bytes from which a member is written so that it may become larger than 2 GiB."""
_TOGETHER = 32
"""Arrays that are copied at a time."""


def packed(stream: IO[bytes]) -> zipfile.ZipFile:
    """Return an archive whose arrays are compressed."""
    return zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)


def write_array(
    archive: zipfile.ZipFile, name: str, arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]
) -> str:
    """Write arrays, one after the other, as one npy member, and return its digest.

    It is little-endian and in C order, so that equal arrays give equal bytes.

    Parameters
    ----------
    archive : ZipFile
        Where to.
    name : str
        The member.
    arrays : sequence of arrays
        Of one dtype, at least one.
    shape : tuple of int
        Of the member.

    Raises
    ------
    ImageError
        If they hold neither numbers nor text.
    """
    dtype = arrays[0].dtype.newbyteorder("<")
    if dtype.kind not in "biufSU":
        raise ImageError(
            f"An array of an image must hold plain numbers or text, not {dtype}; convert it first."
        )
    header = _npy_header(dtype.str, shape)
    size = len(header) + sum(array.nbytes for array in arrays)
    sha = hashlib.sha256()
    with archive.open(name, "w", force_zip64=size > _LARGE) as member:
        for piece in chain([header], _pieces(arrays, dtype)):
            sha.update(piece)
            member.write(piece)
    info = archive.getinfo(name)
    info.external_attr, info.create_system = _MODE, _UNIX
    return sha.hexdigest()


def _pieces(arrays: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Yield the values of arrays, some arrays at a time."""
    for at in range(0, len(arrays), _TOGETHER):
        some = arrays[at : at + _TOGETHER]
        together = some[0] if len(some) == 1 else np.concatenate(some)
        yield np.asarray(together, dtype, order="C").tobytes()


@lru_cache(maxsize=4096)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return how an npy file of such an array begins."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def write_member(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    """Write a member so that equal data give equal bytes."""
    info = zipfile.ZipInfo(name, _TIME)
    info.compress_type = method
    info.external_attr, info.create_system = _MODE, _UNIX
    archive.writestr(info, data, compresslevel=_LEVEL)


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[IO[bytes]]:
    """Give a stream whose bytes become a file when all have been written, and else nothing.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w+b") as stream:
            yield stream
        temporary.replace(target)
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(target)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
