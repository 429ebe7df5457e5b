# SPDX-License-Identifier: Apache-2.0
"""The ways to scale pixels, by name."""

import math

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.events import THREE_SIGMA
from mapping.errors import MappingError

__all__ = ["channel_axis", "check_scale", "mean_and_deviation", "normalised"]

Values = NDArray[np.float64]


def check_scale(how: object) -> str:
    """Return a way to scale pixels if it is one.

    Raises
    ------
    MappingError
        If it is not.
    """
    text = how if isinstance(how, str) else repr(how)  # an image may hold anything
    if text not in {"auto", "raw", "unit", THREE_SIGMA}:
        mean_and_deviation(text)
    return text


def mean_and_deviation(how: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return means and deviations of ``MEAN,STD``, or of one of each a channel, the means first.

    >>> mean_and_deviation("0.1307,0.3081"), mean_and_deviation("1,2,3,4,5,6")
    (((0.1307,), (0.3081,)), ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))

    Raises
    ------
    MappingError
        If it is no such text.
    """
    try:
        values = tuple(map(float, how.split(",")))
    except ValueError:
        values = ()
    half = len(values) // 2
    means, deviations = values[:half], values[half:]
    if not half or len(values) % 2 or not all(map(math.isfinite, values)) or min(deviations) <= 0:
        raise MappingError(
            "Input must be auto, raw, unit, 3sigma or MEAN,STD with a STD above zero, for example "
            f"0.1307,0.3081, not {how[:100]!r}."
        )
    return means, deviations


def normalised(x: Values, how: str) -> Values:
    """Return samples less ``MEAN``, divided by ``STD``; several of them belong to the channels.

    Channels are the first axis of a sample, or the last if only that has as many elements as there are means.

    >>> normalised(np.ones((1, 2, 1, 1)), "0,1,1,0.5").ravel().tolist()
    [1.0, 0.0]

    Raises
    ------
    MappingError
        If ``how`` is no such text, or samples have not so many channels.
    """
    means, deviations = mean_and_deviation(how)
    if len(means) == 1:
        return (x - means[0]) / deviations[0]
    axis = channel_axis(x.shape[1:], len(means))
    if axis is None:
        raise MappingError(
            f"Input {how[:100]!r} has {len(means)} means, and samples of shape {x.shape[1:]} have not "
            "so many channels; give one MEAN,STD for all of them, or one of each a channel, the means first."
        )
    shape = [1] * x.ndim
    shape[axis + 1] = len(means)
    mean, deviation = (np.array(values, np.float64).reshape(shape) for values in (means, deviations))
    return (x - mean) / deviation


def channel_axis(shape: tuple[int, ...], channels: int) -> int | None:
    """Return the axis of a map that has so many channels: the first, else the last, else None.

    >>> channel_axis((3, 8, 8), 3), channel_axis((8, 8, 3), 3), channel_axis((8, 8, 3), 4)
    (0, 2, None)
    """
    if len(shape) < 2:
        return None
    return next((axis for axis in (0, len(shape) - 1) if shape[axis] == channels), None)
