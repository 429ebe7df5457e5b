# SPDX-License-Identifier: Apache-2.0
"""Samples on which the scales of a network are chosen, without their labels."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.idx import IDX
from mapping.datasets.load import CALIBRATION, Dataset, load_data

__all__ = ["calibration_data", "calibration_size"]

_TRAINED = ("digits", *IDX)
"""Data of which a part is for training."""


def calibration_data(source: str, samples: int | None = None, seed: int = 0) -> Dataset:
    """Return some samples of the part of data that is for training, or of the data themselves.

    Parameters
    ----------
    source : str
        As of `mapping.datasets.load.load_data`. Of digits, ``mnist:DIR`` and the like the training part is
        taken.
    samples : int, optional
        How many, at most; by default `mapping.datasets.load.CALIBRATION`.
    seed : int
        Decides which; equal arguments give equal samples.

    Raises
    ------
    MappingError
        As `mapping.datasets.load.load_data`.
    """

    def take(there: int) -> NDArray[np.int64]:
        count = min(samples or CALIBRATION, there)
        return np.sort(np.random.default_rng(seed).choice(there, count, replace=False))

    return replace(load_data(_training(source), take), y=None)


def calibration_size(source: str) -> int:
    """Return how many samples `calibration_data` can take of data, at most.

    Raises
    ------
    MappingError
        As `mapping.datasets.load.load_data`.
    """
    return len(load_data(_training(source)).x)


def _training(source: str) -> str:
    """Return the training part of data.

    >>> _training("mnist:DIR:test"), _training("digits"), _training("a.npz")
    ('mnist:DIR:train', 'digits:train', 'a.npz')
    """
    name = source.split(":", 1)[0]
    if name not in _TRAINED or source.endswith((":train", ":all")):
        return source
    return f"{source.removesuffix(':test')}:train"
