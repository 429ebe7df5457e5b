# SPDX-License-Identifier: Apache-2.0
"""How files of members are written: equal data give equal bytes, and a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from emu.image import ImageError

__all__ = ["npy_bytes", "replaced", "write_member"]

_LEVEL = 1
"""Of compression: cells take a fifth more than at level 6, in a tenth of the time."""
_TIME = (1980, 1, 1, 0, 0, 0)


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return an array as an npy file, little-endian and in C order, so that equal arrays give equal bytes."""
    if array.dtype.kind not in "biufSU":
        raise ImageError(
            f"An array of an image must hold plain numbers or text, not {array.dtype}; convert it first."
        )
    plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return _npy_header(plain.dtype.str, plain.shape) + plain.tobytes()


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
    info.external_attr = 0o644 << 16
    info.create_system = 3
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
