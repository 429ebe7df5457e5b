# SPDX-License-Identifier: Apache-2.0
"""Labels of samples: read from arrays, and brought to the outputs of a network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError

__all__ = ["Names", "named_labels", "numbered", "read_labels"]

Names = tuple[int | str, ...]
"""What a network calls its classes, in the order of its outputs; empty where it numbers them from 0."""

Labels = NDArray[np.int64]


def read_labels(source: str, name: str, y: NDArray[np.generic], count: int) -> tuple[Labels, tuple[str, ...]]:
    """Return labels as numbers, and the texts that they number if they are texts.

    >>> codes, texts = read_labels("d.npz", "y", np.array(["no", "yes", "no"]), 3)
    >>> codes.tolist(), texts
    ([0, 1, 0], ('no', 'yes'))

    Whole numbers may be stored as floats, as a loss for two classes takes them.

    Raises
    ------
    MappingError
        If they are neither whole numbers nor texts, not one a sample, or too large for an int64.
    """
    whole = y.dtype.kind in "biu" or (y.dtype.kind == "f" and bool((y == np.rint(y)).all()))
    if not (whole or y.dtype.kind == "U") or y.shape != (count,):
        way_out = _way(name, y, count)
        raise MappingError(
            f"Array {name} of {source} must hold {count} integer labels, not {y.dtype} {y.shape}{way_out}."
        )
    if y.dtype.kind == "U":
        texts, codes = np.unique(y, return_inverse=True)
        return codes.reshape(count).astype(np.int64), tuple(map(str, texts))
    with np.errstate(invalid="ignore"):  # huge floats, which are refused below
        labels = y.astype(np.int64)
    wrong = np.flatnonzero(labels != y)
    if len(wrong):
        raise MappingError(
            f"Labels in array {name} of {source} must not be huge, and sample {wrong[0]} has "
            f"{y[wrong[0]]}; number the classes from 0."
        )
    return labels, ()


def _way(name: str, y: NDArray[np.generic], count: int) -> str:
    """Return how labels become integers, one a sample."""
    if y.ndim == 2 and len(y) == count and y.dtype.kind in "biuf":
        return f"; give one class a sample, as {name}{'[:, 0]' if y.shape[1] == 1 else '.argmax(1)'} does"
    if y.dtype.kind == "f" and y.shape == (count,):
        return "; leave them out where there are no classes"
    return f"; give one integer a sample, or leave {name} out"


def numbered(
    data: str, labels: Labels | None, texts: Sequence[str], names: Names, outputs: int
) -> Labels | None:
    """Return labels as numbers of a network's outputs.

    Parameters
    ----------
    data : str
        What a sentence calls the data.
    labels, texts
        As of `read_labels`.
    names : tuple of int or str
        What the network calls its classes. Integers that are no names of classes which are texts number
        them from 0.
    outputs : int
        Of the network.

    >>> numbered("d", np.array([2, 12]), (), (2, 7, 12), 3).tolist()
    [0, 2]

    Raises
    ------
    MappingError
        If one of them is no class of the network.
    """
    if labels is None:
        return None
    if texts and not names:
        raise MappingError(
            f"Data {data} have labels that are text, as {texts[0]!r}, and the network has outputs "
            f"0..{outputs - 1}; give the numbers of the outputs as y, or leave y out."
        )
    if not names or (not texts and not _named(labels, names)):
        return _within(data, labels, outputs)
    places = {str(name): place for place, name in enumerate(names)}
    known = np.array([places.get(text, -1) for text in texts or map(str, labels)], np.int64)
    found = known[labels] if texts else known
    wrong = np.flatnonzero(found < 0)
    if len(wrong):
        shown = texts[labels[wrong[0]]] if texts else labels[wrong[0]]
        raise MappingError(
            f"Data {data} have the label {shown!s} at sample {wrong[0]}, and the network's classes are "
            f"{', '.join(map(str, names[:10]))}{', ...' if len(names) > 10 else ''}; correct it, or leave y "
            "out."
        )
    return found


def _named(labels: Labels, names: Names) -> bool:
    """Tell whether numbers are names of classes, as all are where names are numbers."""
    known = {str(name) for name in names}
    return any(isinstance(name, int) for name in names) or any(str(label) in known for label in labels)


def _within(data: str, labels: Labels, outputs: int) -> Labels:
    wrong = np.flatnonzero((labels < 0) | (labels >= outputs))
    if len(wrong):
        raise MappingError(
            f"Data {data} have the label {labels[wrong[0]]} at sample {wrong[0]}, "
            f"the network has outputs 0..{outputs - 1}; number the classes from 0 in the order of the "
            "outputs, or leave y out."
        )
    return labels


def named_labels(labels: Labels | None, names: Names) -> NDArray[np.generic] | None:
    """Return numbers of outputs as what the network calls its classes.

    >>> named_labels(np.array([0, 2]), ("no", "maybe", "yes")).tolist()
    ['no', 'yes']
    """
    return labels if labels is None or not names else np.array(names)[labels]
