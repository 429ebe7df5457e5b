# SPDX-License-Identifier: Apache-2.0
"""Arrays from an npz file that may come from anywhere: bounded, and nothing in it is executed."""

import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mapping.errors import MappingError

__all__ = ["MAX_BYTES", "array_names", "read_arrays"]

MAX_BYTES = 2**31
"""Most bytes that the arrays of a file may hold together."""

_DAMAGE = (
    ValueError,
    TypeError,
    SyntaxError,
    TokenError,
    RecursionError,
    OverflowError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    Warning,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers of zip files and of array headers raise on damaged bytes."""


def read_arrays(path: Path, required: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the named arrays of an npz file; an optional one that is missing is left out.

    Parameters
    ----------
    path : Path
        A file as `numpy.savez` writes it, compressed or not.
    required, optional : tuple of str
        Names of arrays. Others are not read.

    Raises
    ------
    MappingError
        If the file cannot be read, is damaged or too large, holds objects, or lacks a required array.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise MappingError(f"Data file {path} cannot be read: {error.strerror or error}.") from None
    try:
        with stream, zipfile.ZipFile(stream) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            _check_names(path, sizes, required)
            wanted = [name for name in (*required, *optional) if f"{name}.npy" in sizes]
            return {name: _array(archive, f"{name}.npy", sizes) for name in wanted}
    except _DAMAGE as error:
        reason = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")[:200]
        raise MappingError(f"Data file {path} is no npz file of plain arrays: {reason}.") from None


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in a file, none if it is no npz file; `read_arrays` says why."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE:
        return []


def _check_names(path: Path, sizes: Mapping[str, int], required: tuple[str, ...]) -> None:
    if sum(sizes.values()) > MAX_BYTES:
        raise MappingError(f"Data file {path} unpacks to {sum(sizes.values())} bytes, above {MAX_BYTES}.")
    there = ", ".join(name.removesuffix(".npy") for name in sizes) or "nothing"
    for name in required:
        if f"{name}.npy" not in sizes:
            raise MappingError(
                f"Data file {path} has no array {name}, only {there[:200]}; store the samples under that "
                f"name, and labels as y, with numpy.savez('data.npz', {name}=samples, y=labels)."
            )


def _array(archive: zipfile.ZipFile, name: str, sizes: Mapping[str, int]) -> NDArray[Any]:
    """Return one array; its header is believed only where it agrees with the number of bytes."""
    with archive.open(name) as member:
        version = npy.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array {name} has the npy version {version}, supported are 1.0 and 2.0")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shape, fortran, dtype = header(member)
        if dtype.hasobject or dtype.kind not in "biufcSU":
            raise ValueError(f"array {name} holds {dtype}, not plain numbers")
        count = 1
        for size in shape:
            count *= int(size)
        if min(shape, default=0) < 0 or count * dtype.itemsize > sizes[name]:
            raise ValueError(f"array {name} claims the shape {shape} of {dtype} and has {sizes[name]} bytes")
        data = member.read()
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"array {name} must have {count * dtype.itemsize} bytes, not {len(data)}")
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
