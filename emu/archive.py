# SPDX-License-Identifier: Apache-2.0
"""How files of members are written: equal data give equal bytes, and a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from emu.image import ImageError

__all__ = ["Member", "packed", "replaced", "write_array", "write_member"]

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


class Member(NamedTuple):
    """An array of a file: its name without the ending, dtype, shape, and its parts, one after the other."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Sequence[NDArray[Any]]

    @property
    def file(self) -> str:
        """Name of the member."""
        return f"{self.name}.npy"

    @property
    def header(self) -> bytes:
        """How its npy file begins: it is little-endian and in C order, so that equal arrays give equal bytes.

        Raises
        ------
        ImageError
            If the array holds neither numbers nor text.
        """
        if self.dtype.kind not in "biufSU":
            raise ImageError(
                f"An array of an image must hold plain numbers or text, not {self.dtype}; convert it first."
            )
        return _npy_header(self.dtype.newbyteorder("<").str, self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the member, not compressed."""
        return len(self.header) + math.prod(self.shape) * self.dtype.itemsize


def write_array(archive: zipfile.ZipFile, member: Member) -> str:
    """Write an array, and return the digest of its member."""
    sha = hashlib.sha256()
    with archive.open(member.file, "w", force_zip64=member.bytes > _LARGE) as stream:
        for piece in chain([member.header], _pieces(member)):
            sha.update(piece)
            stream.write(piece)
    info = archive.getinfo(member.file)
    info.external_attr, info.create_system = _MODE, _UNIX
    return sha.hexdigest()


def _pieces(member: Member) -> Iterator[bytes]:
    """Yield the values of an array, some parts at a time."""
    dtype = member.dtype.newbyteorder("<")
    for at in range(0, len(member.parts), _TOGETHER):
        some = member.parts[at : at + _TOGETHER]
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
