# SPDX-License-Identifier: Apache-2.0
"""Data to run a network on: the digits of scikit-learn, idx files as of MNIST, npz files, recorded events."""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.digits import digits_part
from mapping.datasets.events import (
    THREE_SIGMA,
    Options,
    Recordings,
    aedat4_recordings,
    frames,
    npz_recordings,
    three_sigma,
)
from mapping.datasets.idx import IDX, check_folder, idx_folder, load_idx_pair
from mapping.datasets.inputs import Part, in_order, input_arrays
from mapping.datasets.labels import numbered, read_labels
from mapping.datasets.named import Named, largest, named
from mapping.datasets.normalisation import best_way, candidates, name_of
from mapping.datasets.npz import read_arrays
from mapping.datasets.rows import Take, spread_rows
from mapping.datasets.scale import check_scale, normalised
from mapping.errors import MappingError
from mapping.model.analysis import analyse
from mapping.model.network import Network
from mapping.stages import stage
from mapping.threads import one_thread

__all__ = [
    "AUTO_SAMPLES",
    "BATCH",
    "CALIBRATION",
    "MORE_SAMPLES",
    "Dataset",
    "accuracy",
    "arranged",
    "batches",
    "checked",
    "classes",
    "correct",
    "load_data",
    "scale_text",
    "scaled",
]

AUTO_SAMPLES = 256
"""Labelled samples on which ``auto`` compares the scales of pixels."""

MORE_SAMPLES = 1024
"""Samples on which it compares those that these do not tell apart."""

CALIBRATION = 256
"""Samples on which scales of activations are chosen, if nothing else is said."""

BATCH = 500
"""Samples of one run of the chip."""

_FILE = re.compile(r"(?P<path>.+\.(?P<kind>npz|aedat4))(?::(?P<options>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Samples and labels.

    Parameters
    ----------
    name : str
        As given on the command line.
    x : float64 (samples, ...)
    y : int64 (samples,) or None
    pixels : bool
        Whether ``x`` are bytes 0..255 that no scale has been chosen for; see `scaled`.
    events : bool
        Whether ``x`` are counts of events, as read (samples, 2, rows, columns): decreasing brightness first.
    texts : tuple of str
        What the numbers in ``y`` stand for where labels are texts; `scaled` makes numbers of outputs of them.
    parts : tuple of Part
        What ``x`` (samples, numbers) holds of several inputs, see `arranged`; empty for one.
    whole : Dataset, optional
        What these are the first samples of: ``auto`` chooses a scale on it, see `scaled`.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.int64] | None
    pixels: bool = False
    events: bool = False
    texts: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    whole: "Dataset | None" = None

    def first(self, samples: int | None) -> "Dataset":
        """Return the first samples, all for None.

        Raises
        ------
        MappingError
            If the number is below one.
        """
        if samples is not None and samples < 1:
            raise MappingError(f"Samples must be at least 1, not {samples}.")
        return replace(self.part(0, samples), whole=self.whole or self)

    def part(self, start: int, stop: int | None) -> "Dataset":
        """Return the samples from ``start`` to before ``stop``, without copying."""
        return replace(self, x=self.x[start:stop], y=None if self.y is None else self.y[start:stop])

    def at(self, rows: NDArray[np.int64]) -> "Dataset":
        """Return the samples of some rows."""
        return replace(self, x=self.x[rows], y=None if self.y is None else self.y[rows])

    def shaped(self, shape: tuple[int, ...]) -> "Dataset":
        """Return the samples in the shape of a network's input.

        Maps may have their channels last where the network has them first, and the other way round; axes of
        length one may be added or dropped; a network with one axis takes any sample of its size, and flat
        samples are read in the order of the network. Where the network has one channel, both kinds of events
        are added. Nothing is resized.

        Raises
        ------
        MappingError
            If the sizes do not agree.
        """
        x = self._rectified(shape) if self.events else self.x
        own = x.shape[1:]
        if own != shape and len(own) == len(shape) == 3:
            if (own[2], own[0], own[1]) == shape:
                x = np.moveaxis(x, 3, 1)
            elif (own[1], own[2], own[0]) == shape:
                x = np.moveaxis(x, 1, 3)
        own = x.shape[1:]
        squeezed = tuple(n for n in own if n != 1) == tuple(n for n in shape if n != 1)
        flat = min(len(own), len(shape)) == 1 and math.prod(own) == math.prod(shape)
        if not squeezed and not flat:
            way_out = "sensor=WxH and size=WxH set the size of event frames"
            way_out = way_out if self.events else f"store samples of shape {shape} as x"
            raise MappingError(
                f"Data {self.name} have samples of shape {self.x.shape[1:]}, the network wants {shape}; "
                f"{way_out}."
            )
        return replace(self, x=np.ascontiguousarray(x).reshape(len(x), *shape))

    def _rectified(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return counts with both kinds of events added if the network has one channel of their size."""
        own = self.x.shape[1:]
        wanted = tuple(n for n in shape if n != 1)
        one_channel = (tuple(n for n in own[1:] if n != 1), (math.prod(own[1:]),))
        return self.x.sum(axis=1, keepdims=True) if own != shape and wanted in one_channel else self.x


def batches(data: Dataset, size: int | None = None) -> Iterator[Dataset]:
    """Return data in pieces of ``size`` samples (by default `BATCH`), the last one shorter."""
    size = size or BATCH
    for start in range(0, len(data.x), size):
        yield data.part(start, start + size)


def correct(logits: NDArray[np.float64], labels: NDArray[np.int64] | None) -> int | None:
    """Return of how many samples the `classes` are the labels; None without labels or classes."""
    found = classes(logits)
    return None if labels is None or found is None else int(np.count_nonzero(found == labels))


def classes(logits: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return the index of the largest output of each sample, the lowest on ties.

    None if the network has a single output: it gives a value, no class.

    Parameters
    ----------
    logits : float64 (samples, ...)
        Outputs of a network.
    """
    return None if math.prod(logits.shape[1:]) < 2 else largest(logits)


def accuracy(logits: NDArray[np.float64], labels: NDArray[np.int64] | None) -> float | None:
    """Return the share of samples that are `correct`; None without labels or classes."""
    right = correct(logits, labels)
    return None if right is None else right / len(logits)


def arranged(data: Dataset, network: Network) -> Dataset:
    """Return data whose samples are one array, as the network reads its inputs, see `in_order`."""
    if not data.parts:
        return data
    return replace(data, x=in_order(data.name, data.x, data.parts, network), parts=())


def scaled(data: Dataset, how: str, network: Network) -> tuple[Dataset, str]:
    """Return data as the input of a network, and how its pixels were scaled.

    Parameters
    ----------
    data : Dataset
        Samples in any shape that `Dataset.shaped` accepts.
    how : str
        ``raw`` leaves pixels 0..255, ``unit`` divides them by 255, ``MEAN,STD`` then subtracts a mean and
        divides by a deviation. Other data are only changed by ``MEAN,STD``, and counts of events by
        ``3sigma``, see `mapping.datasets.events.three_sigma`. ``auto`` takes what suits the network best on
        some samples at equal distances of all data, see `mapping.datasets.normalisation`; raw for a network
        that declares its input to hold integers.
    network : Network
        The network to evaluate, with its counts in float64 if it has some, else in float32. Where it has a
        single output, a value and no class, labels are dropped; others become numbers of its outputs, see
        `mapping.datasets.labels.numbered`.

    Raises
    ------
    MappingError
        If ``how`` is none of these, sizes do not agree, or a label is no output of the network.
    """
    shaped = arranged(data, network).shaped(network.shapes[network.input])
    outputs = math.prod(network.shapes[network.output])
    labels = shaped.y if outputs > 1 else None
    y = numbered(shaped.name, labels, shaped.texts, network.classes, outputs)
    shaped = replace(shaped, y=y, texts=())
    chosen = check_scale(how)
    if chosen == "auto" and data.whole is not None:
        with suppress(MappingError):  # labels of other samples may be none of this network's
            chosen = scaled(data.whole.at(spread_rows(MORE_SAMPLES)(len(data.whole.x))), "auto", network)[1]
    if chosen == "auto":
        chosen = _best_scale(shaped, network)
    return replace(shaped, x=_scale(shaped, chosen), pixels=False, whole=None), chosen


def scale_text(data: Dataset, how: str, asked: str | None = None) -> str:
    """Return ``how`` `scaled` chose to scale loaded data, and why if ``asked`` is ``auto``, the default."""
    if how in {"raw", "unit"} and not data.pixels:
        return f"{how} (values, no bytes of pixels: taken as they are)"
    if not data.pixels or asked not in {None, "auto"} or (how in {"raw", "unit"} and data.y is not None):
        return how
    if how in {"raw", "unit"}:
        assumed = "assumed: without labels raw and unit cannot be compared; --input says otherwise"
        return f"{how} ({'the model reads integers' if how == 'raw' else assumed})"
    why = f"chosen: clearly more accurate than raw and unit on {AUTO_SAMPLES} samples"
    return f"{how} ({why}; {name_of(how)})"


def _scale(data: Dataset, how: str) -> NDArray[np.float64]:
    if how == "raw":
        return data.x
    if how == THREE_SIGMA:
        if not data.events:
            raise MappingError(f"Input 3sigma is for counts of events, which data {data.name} are not.")
        return three_sigma(data.x)
    unit = data.x / 255.0 if data.pixels else data.x
    return unit if how == "unit" else normalised(unit, how)


def _best_scale(data: Dataset, network: Network) -> str:
    y, quantised = data.y, bool(analyse(network).counts)
    if y is None or not data.pixels or network.whole:
        return "raw" if data.pixels and network.whole else "unit"

    def told(how: str, rows: NDArray[np.int64]) -> Named:
        double = quantised and how in {"raw", "unit"}
        return named(network, _scale(data.at(rows), how), y[rows], double=double)

    few, more = (spread_rows(samples)(len(y)) for samples in (AUTO_SAMPLES, MORE_SAMPLES))
    normal = candidates(data.x[few], data.x.shape[1:], pixels=True)[2:]
    with one_thread():
        return best_way(normal, y, told, (few, more))


@stage("data")
def load_data(source: str, take: Take | None = None) -> Dataset:
    """Load data by name.

    Parameters
    ----------
    source : str
        ``digits`` or ``digits:test`` (the last 360, never trained on), ``digits:train``, ``digits:all``;
        ``mnist:DIR``, ``mnist:DIR:test`` or ``mnist:DIR:train``, the idx files in a folder, and ``fashion``
        likewise; the path of an ``.npz`` file with ``x`` and, if there are labels, ``y``; or that of an
        ``.npz`` or ``.aedat4`` file of events, with `mapping.datasets.events.Options` after a colon.
    take : callable, optional
        Told how many samples there are, returns the rows that are wanted; by default all.

    Raises
    ------
    MappingError
        If there is no such data or they are not usable.
    """
    name, colon, part = source.partition(":")
    if name in IDX and colon:
        return _idx(source, name, part, take)
    data = _loaded(source)
    return data if take is None else data.at(take(len(data.x)))


def _loaded(source: str) -> Dataset:
    """Load all of data that are not idx files."""
    name, _, part = source.partition(":")
    if name == "digits":
        x, y = digits_part(part or "test")
        return Dataset(name=source, x=x, y=y)
    file = _FILE.fullmatch(source)
    if file is not None:
        return (_npz if file["kind"] == "npz" else _aedat4)(source, Path(file["path"]), file["options"] or "")
    check_folder(source)
    raise MappingError(
        "Data must be digits, digits:train, digits:all, mnist:DIR, mnist:DIR:train, the same with "
        f"fashion or kmnist, or a file ending in .npz or .aedat4, not {source!r}."
    )


def _idx(source: str, name: str, rest: str, take: Take | None) -> Dataset:
    """Load bytes of pixels, and make numbers of eight times their size of those that are wanted alone."""
    folder, _, part = rest.rpartition(":")
    if not folder:
        folder, part = rest, "test"
    if part not in {"train", "test"} or not folder:
        raise MappingError(
            f"Data of {name} must be {name}:DIR, {name}:DIR:test or {name}:DIR:train, not {source!r}."
        )
    x, y = load_idx_pair(idx_folder(Path(folder), name), "train" if part == "train" else "test")
    rows = slice(None) if take is None else take(len(x))
    return Dataset(name=source, x=x[rows].astype(np.float64), y=y[rows], pixels=True)


def _npz(source: str, path: Path, options: str) -> Dataset:
    several = None if options else input_arrays(path)
    if several is not None:
        labels = read_arrays(path, (), optional=("y",)).get("y")
        return replace(checked(source, several[0], labels), parts=several[1])
    arrays = read_arrays(path, ("x",), optional=("y",))
    if arrays["x"].ndim == 1:
        arrays |= read_arrays(path, (), optional=("t", "p", "offsets", "labels"))
    if arrays.keys() >= {"t", "p"}:
        chosen = Options.parse(options)
        return _frames(source, npz_recordings(path, arrays, chosen), chosen, arrays.get("labels"))
    if options:
        raise MappingError(f"Data file {path} holds no events and takes no options, not {options!r}.")
    return checked(source, arrays["x"], arrays.get("y"))


def _aedat4(source: str, path: Path, options: str) -> Dataset:
    chosen = Options.parse(options)
    return _frames(source, aedat4_recordings(path, chosen), chosen, None)


def _frames(
    source: str, recordings: Recordings, options: Options, labels: NDArray[np.generic] | None
) -> Dataset:
    count = len(recordings.offsets) - 1
    kept, texts = (None, ()) if labels is None else read_labels(recordings.source, "labels", labels, count)
    x, recording = frames(recordings, options)
    y = None if kept is None else kept[recording]
    return Dataset(name=source, x=x, y=y, events=True, texts=texts)


def checked(source: str, x: NDArray[np.generic], y: NDArray[np.generic] | None) -> Dataset:
    """Return arrays as data: samples (n, ...), bytes of pixels if they are uint8, and labels (n,).

    Raises
    ------
    MappingError
        If they are no finite numbers, or the labels do not number classes.
    """
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not len(x):
        raise MappingError(
            f"Array x of {source} must hold numbers, one row per sample, not {x.dtype} {x.shape}."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite or NaN is refused below
        values = x.astype(np.float64)
    if not np.isfinite(values).all():
        raise MappingError(
            f"Array x of {source} must be finite; sample {np.argwhere(~np.isfinite(values))[0][0]} is not; "
            "leave such samples out."
        )
    labels, texts = (None, ()) if y is None else read_labels(source, "y", y, len(x))
    return Dataset(name=source, x=values, y=labels, pixels=x.dtype == np.uint8, texts=texts)
