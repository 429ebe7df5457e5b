# SPDX-License-Identifier: Apache-2.0
"""What a network says of every sample, as a file: outputs, class and label (`docs/reference/results.md`)."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.labels import Names, named_labels
from mapping.datasets.load import classes
from mapping.errors import MappingError
from spikeloom.files import write_arrays, write_text

__all__ = ["SUFFIXES", "check_suffix", "write_predictions"]

SUFFIXES = (".npz", ".csv")
"""Kinds of file that predictions are written to."""


def check_suffix(path: Path | None) -> None:
    """Refuse a file of another kind.

    Raises
    ------
    MappingError
        If the name ends in none of `SUFFIXES`.
    """
    if path is not None and path.suffix not in SUFFIXES:
        raise MappingError(
            f"Predictions are written to a file that ends in {' or '.join(SUFFIXES)}, not {str(path)!r}."
        )


def write_predictions(
    path: Path, outputs: NDArray[np.float64], labels: NDArray[np.generic] | None, names: Names = ()
) -> None:
    """Write predictions to an .npz or .csv file, whole or not at all; equal ones give equal bytes.

    Parameters
    ----------
    outputs : float64 (samples, ...)
        What the decoder on the host made of the chip's spikes.
    labels : integers or texts (samples,) or None
        Labels of the data.
    names : tuple of int or str
        What the network calls its classes; empty where it numbers them from 0.
    """
    columns = {"class": named_labels(classes(outputs), names), "label": labels}
    given = {name: values for name, values in columns.items() if values is not None}
    if path.suffix == ".npz":
        write_arrays(path, {"outputs": outputs, **given})
    else:
        write_text(path, _csv(outputs.reshape(len(outputs), -1), given))


def _csv(outputs: NDArray[np.float64], columns: dict[str, NDArray[np.generic]]) -> str:
    """Return one line a sample; an output is the shortest text that gives the same number when read."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sample", *(f"output_{i}" for i in range(outputs.shape[1])), *columns])
    given = [values.tolist() for values in columns.values()]
    for sample, (values, *row) in enumerate(zip(outputs.tolist(), *given, strict=True)):
        table.writerow([sample, *map(repr, values), *row])
    return text.getvalue()
