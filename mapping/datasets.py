# SPDX-License-Identifier: Apache-2.0
"""Data to run a network on: the digits that install with scikit-learn, and npz files."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError

__all__ = ["Dataset", "load_data"]

DIGITS_TEST = 1437
"""First of the digits that no training has seen; they were written by other people than the ones before."""

MAX_BYTES = 2**31
"""Largest array read from a file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Samples and labels.

    Parameters
    ----------
    name : str
        As given on the command line.
    x : float64 (samples, ...)
    y : int64 (samples,) or None
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.int64] | None

    def first(self, samples: int | None) -> "Dataset":
        """Return the first samples, all for None.

        Raises
        ------
        MappingError
            If the number is below one.
        """
        if samples is not None and samples < 1:
            raise MappingError(f"Samples must be at least 1, not {samples}.")
        return Dataset(name=self.name, x=self.x[:samples], y=None if self.y is None else self.y[:samples])

    def shaped(self, shape: tuple[int, ...]) -> "Dataset":
        """Return the samples in the shape of a network's input.

        Axes of length one may be added or dropped, and a network with one axis takes any sample of its size;
        nothing else is changed.

        Raises
        ------
        MappingError
            If the sizes do not agree.
        """
        own = self.x.shape[1:]
        squeezed = tuple(n for n in own if n != 1) == tuple(n for n in shape if n != 1)
        if own != shape and not squeezed and not (len(shape) == 1 and np.prod(own) == shape[0]):
            raise MappingError(f"Data {self.name} have samples of shape {own}, the network wants {shape}.")
        return Dataset(name=self.name, x=self.x.reshape(len(self.x), *shape), y=self.y)


def load_data(source: str) -> Dataset:
    """Load data by name.

    Parameters
    ----------
    source : str
        ``digits`` or ``digits:test`` (the last 360, never trained on), ``digits:train``, ``digits:all``,
        or the path of an ``.npz`` file with ``x`` and, if there are labels, ``y``.

    Raises
    ------
    MappingError
        If there is no such data or they are not usable.
    """
    name, _, part = source.partition(":")
    if name == "digits":
        return _digits(source, part or "test")
    if source.endswith(".npz"):
        return _npz(source)
    raise MappingError(
        f"Data must be digits, digits:train, digits:all or a file ending in .npz, not {source!r}."
    )


def _digits(source: str, part: str) -> Dataset:
    from sklearn.datasets import load_digits

    slices = {"test": slice(DIGITS_TEST, None), "train": slice(DIGITS_TEST), "all": slice(None)}
    if part not in slices:
        raise MappingError(f"Part of the digits must be test, train or all, not {part!r}.")
    bunch = load_digits()
    chosen = slices[part]
    return Dataset(
        name=source, x=bunch.images[chosen].astype(np.float64), y=bunch.target[chosen].astype(np.int64)
    )


def _npz(source: str) -> Dataset:
    path = Path(source)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        if sum(sizes.values()) > MAX_BYTES:
            raise MappingError(
                f"Data file {source} unpacks to {sum(sizes.values())} bytes, above {MAX_BYTES}."
            )
        with np.load(path, allow_pickle=False) as data:
            if "x" not in data:
                raise MappingError(
                    f"Data file {source} has no array x, only {', '.join(data.files) or 'nothing'}."
                )
            x, y = data["x"], data.get("y")
    except OSError as error:
        raise MappingError(f"Data file {source} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise MappingError(f"Data file {source} is no npz file of plain arrays: {error}.") from None
    return _checked(source, x, y)


def _checked(source: str, x: NDArray[np.generic], y: NDArray[np.generic] | None) -> Dataset:
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not len(x):
        raise MappingError(
            f"Array x of {source} must hold numbers, one row per sample, not {x.dtype} {x.shape}."
        )
    values = x.astype(np.float64)
    if not np.isfinite(values).all():
        raise MappingError(
            f"Array x of {source} must be finite; sample {np.argwhere(~np.isfinite(values))[0][0]} is not."
        )
    if y is None:
        return Dataset(name=source, x=values, y=None)
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise MappingError(f"Array y of {source} must hold {len(x)} integer labels, not {y.dtype} {y.shape}.")
    return Dataset(name=source, x=values, y=y.astype(np.int64))
