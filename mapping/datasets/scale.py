# SPDX-License-Identifier: Apache-2.0
"""The ways to scale pixels, by name."""

import math

from mapping.datasets.events import THREE_SIGMA
from mapping.errors import MappingError

__all__ = ["check_scale", "mean_and_deviation"]


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


def mean_and_deviation(how: str) -> tuple[float, float]:
    """Return the numbers of ``MEAN,STD``.

    Raises
    ------
    MappingError
        If it is no such text.
    """
    try:
        mean, deviation = map(float, how.split(","))
    except ValueError:
        mean, deviation = math.nan, 0.0
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
        raise MappingError(
            "Input must be auto, raw, unit, 3sigma or MEAN,STD with a STD above zero, for example "
            f"0.1307,0.3081, not {how[:100]!r}."
        )
    return mean, deviation
