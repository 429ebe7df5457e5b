# SPDX-License-Identifier: Apache-2.0
"""Samples in memory: arrays, tensors of PyTorch, and whatever gives batches of them, as its `DataLoader`."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.errors import clause
from mapping.datasets.load import Dataset, checked, load_data
from mapping.errors import MappingError

__all__ = ["array_of", "as_data", "gather"]

Array = NDArray[Any]

_LABELS = re.compile(r"label|target|class|^y$", re.IGNORECASE)

_PAIRS = "; hand over pairs, for example ((b[0], b[1]) for b in loader)"

_LOADER = "torch.utils.data.DataLoader(dataset, batch_size=100)"

MAX_BYTES = 8 * 2**30
"""Most that is gathered: a loader may never end."""


def array_of(value: object) -> Array:
    """Return numbers as an array; a tensor of PyTorch comes from its device, whatever its precision.

    Raises
    ------
    ValueError
        If the value is no array of numbers.
    """
    given: Any = value
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.double().numpy() if given.is_floating_point() else given.numpy()
    try:
        array = np.asarray(given)
    except (ValueError, TypeError):
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"it must be an array of numbers, not {type(value).__name__}")
    return array


def as_data(source: object, samples: int | None = None) -> Dataset:
    """Return data of any kind: loaded, named as for `load_data`, or in memory as for `gather`.

    Samples in memory are called by the name of their type.

    >>> data = as_data([(np.zeros((2, 3)), np.array([0, 1])), (np.ones((1, 3)), np.array([1]))])
    >>> data.name, data.x.shape, data.y.tolist()
    ('list', (3, 3), [0, 1, 1])

    Raises
    ------
    MappingError
        If the data cannot be used.
    """
    if isinstance(source, Dataset):
        return source.first(samples)
    if isinstance(source, str | os.PathLike):
        return load_data(os.fspath(source)).first(samples)
    return checked(_name(source), *gather(source, samples))


def gather(source: object, samples: int | None = None) -> tuple[Array, Array | None]:
    """Return samples and, if there are any, labels.

    Parameters
    ----------
    source : array, (x, y), or iterable of batches
        A batch is an array of samples or a pair (x, y), each an array or a tensor; or a mapping with one
        array of samples, which has more than one axis, and at most one of labels, which is called so
        (label, target, class or y). Labels may be None, and texts. One mapping is one batch.
        Samples of all batches have one shape.
    samples : int, optional
        Stop when there are so many; by default take all.

    Raises
    ------
    MappingError
        If there is no sample, or a batch is none or does not fit the ones before.
    """
    xs: list[Array] = []
    ys: list[Array | None] = []
    count = size = 0
    for index, batch in enumerate(_batches(source)):
        try:
            x, y = _pair(batch)
            _require_alike(x, y, xs, ys)
        except ValueError as error:
            raise MappingError(f"Batch {index} of {_name(source)} is unusable: {clause(error)}.") from None
        count, size = count + len(x), size + x.nbytes
        if size > MAX_BYTES:
            raise MappingError(
                f"Data {_name(source)} have more than {MAX_BYTES} bytes; give fewer batches, for example "
                "a part of them by itertools.islice."
            )
        xs.append(x)
        ys.append(y)
        if samples is not None and count >= samples:
            break
    if not count:
        raise MappingError(f"Data {_name(source)} hold no samples; {_refilled(source)}.")
    kept = [y for y in ys if y is not None]
    return np.concatenate(xs)[:samples], np.concatenate(kept)[:samples] if kept else None


def _name(source: object) -> str:
    return type(source).__name__


def _refilled(source: object) -> str:
    """Return what gives samples where there are none."""
    if isinstance(source, Iterator):
        return "it gives its batches once, so make a new one each time"
    return "give at least one, an array of shape (1, input shape)"


def _batches(source: Any) -> Iterable[object]:
    """Return the batches of what was given; a single one is an array, or a pair of them."""
    if hasattr(source, "shape") or isinstance(source, Mapping) or _is_pair(source):
        return (source,)
    if isinstance(source, Iterable) and not isinstance(source, str | bytes):
        return source
    way_out = ""
    if hasattr(source, "__getitem__") and not isinstance(source, str | bytes):
        way_out = f"; hand over {_LOADER}"
    raise MappingError(
        "Data must be an array of samples, a pair (x, y), or give batches of them as a DataLoader does, not "
        f"{_name(source)}{way_out}."
    )


def _is_pair(source: Any) -> bool:
    """Return whether these are the arrays of one batch, and not two batches.

    A loader gives its batches as lists: one axis is that of labels, and no batch of samples.
    """
    if not isinstance(source, tuple | list) or len(source) != 2:
        return False
    if not all(hasattr(part, "shape") for part in source):
        return False
    return isinstance(source, tuple) or len(source[1].shape) == 1


def _pair(batch: Any) -> tuple[Array, Array | None]:
    if hasattr(batch, "shape"):
        return array_of(batch), None
    if isinstance(batch, Mapping):
        return _named(batch)
    if not isinstance(batch, tuple | list) or len(batch) not in (1, 2):
        raise ValueError(
            f"it must be an array of samples or a pair (x, y), not {_name(batch)}"
            + (f" of {len(batch)}{_PAIRS}" if isinstance(batch, tuple | list) and len(batch) > 2 else "")
        )
    if isinstance(batch[0], tuple | list) and len(batch) == 2 and len(batch[0]) != len(batch[1]):
        raise ValueError(
            f"it has {len(batch[0])} arrays of samples, and a module takes one; put them into one array, "
            "which a module around yours splits"
        )
    return array_of(batch[0]), _labels_of(batch[1]) if len(batch) == 2 else None


def _labels_of(value: object) -> Array | None:
    """Return labels as an array of numbers or texts, None where there are none."""
    if value is None:
        return None
    try:
        if isinstance(value, tuple | list | np.ndarray) and np.asarray(value).dtype.kind == "U":
            return np.asarray(value)
        return array_of(value)
    except ValueError:
        raise ValueError(
            f"its labels must be numbers or texts, one a sample, not {_name(value)}; correct them, or leave "
            "them out"
        ) from None


def _named(batch: Mapping[Any, Any]) -> tuple[Array, Array | None]:
    """Return samples and labels of a batch that names its parts, where only one of each is possible."""
    parts = {name: array_of(part) for name, part in batch.items() if hasattr(part, "shape")}
    xs = {name: part for name, part in parts.items() if part.ndim > 1}
    ys = {name: part for name, part in parts.items() if _LABELS.search(str(name)) and part.ndim == 1}
    if len(xs) != 1 or len(ys) > 1:
        raise ValueError(
            f"which of {', '.join(map(repr, batch)) or 'no parts'} are the samples, and which the labels, is "
            "not clear; hand over pairs, for example ((b['image'], b['label']) for b in loader)"
        )
    return next(iter(xs.values())), next(iter(ys.values()), None)


def _require_alike(x: Array, y: Array | None, xs: list[Array], ys: list[Array | None]) -> None:
    if y is not None and y.ndim == 0:
        raise ValueError(f"it is one sample with its label; hand over {_LOADER}, which gives batches")
    if x.ndim < 2:
        way_out = "; hand over pairs with the samples first" if y is not None and y.ndim > 1 else ""
        raise ValueError(f"its samples must be one a row, not of shape {x.shape}{way_out}")
    if xs and x.shape[1:] != xs[0].shape[1:]:
        raise ValueError(
            f"its samples have the shape {x.shape[1:]}, those before {xs[0].shape[1:]}; bring all to one"
        )
    if ys and (y is None) != (ys[0] is None):
        what = "no labels" if y is None else "labels"
        raise ValueError(f"it has {what}, unlike those before; give labels with all batches or with none")
    if y is not None and y.shape != (len(x),):
        way_out = "; give one label a sample"
        if y.shape[:-1] == (len(x),):
            way_out = f"; give one class a sample, as y{'[:, 0]' if y.shape[1] == 1 else '.argmax(1)'} does"
        raise ValueError(f"it has {len(x)} samples but labels of shape {y.shape}{way_out}")
