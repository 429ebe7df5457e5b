# SPDX-License-Identifier: Apache-2.0
"""Images and labels in idx files, the format in which MNIST and Fashion-MNIST are published.

A file is a magic number (two zero bytes, the type of the values, the number of axes), the sizes of the axes
as big-endian 32-bit integers, and the values; gzip may be around it. The file is not trusted: no more is
unpacked than its header announces, and that is bounded.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError

__all__ = ["IDX", "MAX_BYTES", "check_folder", "idx_folder", "load_idx", "load_idx_pair"]

IDX = {"mnist": "MNIST", "fashion": "FashionMNIST", "kmnist": "KMNIST"}
"""Data sets that are published so, and the name that torchvision gives their folder."""


MAX_BYTES = 2**28
"""Most values read from one file: five times the 60 000 images of MNIST."""

_UINT8 = 8  # type code of unsigned bytes
_PREFIXES = {"train": "train", "test": "t10k"}
_STEMS = frozenset(f"{part}-{what}" for part in _PREFIXES.values() for what in ("images", "labels"))
_LABELS = 10


def idx_folder(folder: Path, name: str) -> Path:
    """Return where the files of a data set are: in ``folder``, or below it as torchvision keeps them.

    >>> idx_folder(Path("nowhere"), "mnist").name
    'nowhere'
    """
    raw = folder / IDX[name] / "raw"
    return raw if raw.is_dir() else folder


def check_folder(source: str) -> None:
    """Refuse a folder, or an idx file, that is named without the kind of its data.

    Raises
    ------
    MappingError
        If there is such a folder or file.
    """
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    idx = any(file.name.split("-idx")[0] in _STEMS for file in _files(folder))
    if path.is_dir():
        kept = [name for name in IDX if (path / IDX[name] / "raw").is_dir()]
        kind = kept[0] if kept else "mnist"
        what = "a folder of idx files" if idx or kept else "a folder"
        raise MappingError(
            f"Data {source!r} are {what}; write {kind}:{source} if they are those of {IDX[kind]}, or name a "
            "file ending in .npz."
        )
    if idx and path.is_file():
        raise MappingError(f"Data {source!r} are one of several idx files; write mnist:{folder}.")


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def load_idx_pair(
    directory: Path, part: Literal["train", "test"]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load the images and labels of one part of a data set laid out as MNIST is.

    Parameters
    ----------
    directory : Path
        Folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, each as it is or with ``.gz``; the one as it is goes first.
    part : {"train", "test"}
        Which two of them to read.

    Returns
    -------
    x : uint8 (n, height, width)
        Grey levels, 0..255.
    y : int64 (n,)
        Labels, 0..9.

    Raises
    ------
    ValueError
        If ``part`` is neither of the two.
    MappingError
        If a file is missing, cannot be read or is damaged, or the two do not belong together.
    """
    if part not in _PREFIXES:
        raise ValueError(f"part must be train or test, not {part!r}")
    images = _find(Path(directory), f"{_PREFIXES[part]}-images-idx3-ubyte")
    labels = _find(Path(directory), f"{_PREFIXES[part]}-labels-idx1-ubyte")
    x, y = load_idx(images, axes=3), load_idx(labels, axes=1)
    if len(x) != len(y):
        raise MappingError(
            f"Data files {images.name} and {labels.name} must have as many images as labels, "
            f"not {len(x)} and {len(y)}: download both again."
        )
    if y.max() >= _LABELS:
        raise MappingError(
            f"Data file {labels} has the label {y.max()} at index {int(y.argmax())}, above {_LABELS - 1}: "
            "download it again."
        )
    return x, y.astype(np.int64)


def load_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    """Load one idx file of unsigned bytes, unpacking it if its name ends in ``.gz``.

    Parameters
    ----------
    path : Path
        The file.
    axes : int
        How many axes it must have; every axis must have at least one element.

    Raises
    ------
    MappingError
        If the file cannot be read, is no such idx file, holds more than `MAX_BYTES` values, or fewer or more
        than its header says.
    """
    try:
        with _open(path) as file:
            return _read(file, path, axes)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise MappingError(
            f"Data file {path} is no complete gzip file or is damaged: download it again."
        ) from None
    except OSError as error:
        raise MappingError(f"Data file {path} cannot be read: {error.strerror or error}.") from None


def _find(directory: Path, name: str) -> Path:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    raise MappingError(
        f"Folder {directory} has neither {name} nor {name}.gz: name the folder with the four files of MNIST."
    )


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _read(file: BinaryIO, path: Path, axes: int) -> NDArray[np.uint8]:
    wanted = bytes((0, 0, _UINT8, axes))
    magic = file.read(4)
    if magic != wanted:
        raise MappingError(
            f"Data file {path} must begin with the bytes {wanted.hex(' ')}, an idx file of {axes} axes, "
            f"not {magic.hex(' ') or 'end at once'}: download it again."
        )
    header = file.read(4 * axes)
    if len(header) < 4 * axes:
        raise MappingError(f"Data file {path} ends within its header: download it again.")
    shape = struct.unpack(f">{axes}I", header)
    size = math.prod(shape)
    if not 0 < size <= MAX_BYTES:
        raise MappingError(
            f"Data file {path} announces {size} values {shape}, supported are 1 to {MAX_BYTES}: "
            "download it again."
        )
    data = file.read(size + 1)
    if len(data) != size:
        held = "more" if len(data) > size else str(len(data))
        raise MappingError(
            f"Data file {path} must hold {size} values as its header says, not {held}: download it again."
        )
    values = np.frombuffer(data, np.uint8).reshape(shape)
    values.flags.writeable = False
    return values
