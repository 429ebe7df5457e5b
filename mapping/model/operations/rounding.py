# SPDX-License-Identifier: Apache-2.0
"""Every way of rounding to whole numbers."""

import numpy as np

from mapping.model.operations.operation import Reals

__all__ = ["ROUNDINGS", "round_by"]

ROUNDINGS = ("half_even", "half_up", "half_down", "ceil", "floor", "up", "down")
"""How a ``Quantise`` rounds. Up is away from zero and down is towards it, also for halves."""


def round_by(rounding: str, values: Reals) -> Reals:
    """Return values rounded to integers in one of the ways of `ROUNDINGS`.

    Every way is monotone and exact: a half is recognised by an exact subtraction, never by adding 1/2.

    >>> round_by("half_even", np.array([0.5, 1.5, -2.5])).tolist()
    [0.0, 2.0, -2.0]
    >>> round_by("half_up", np.array([0.5, 1.5, -2.5])).tolist()
    [1.0, 2.0, -3.0]
    """
    if rounding == "half_even":
        return np.asarray(np.rint(values))
    if rounding == "ceil":
        return np.asarray(np.ceil(values))
    if rounding == "floor":
        return np.asarray(np.floor(values))
    inner = np.trunc(values)
    if rounding == "down":
        return np.asarray(inner)
    rest = np.abs(values - inner)
    further = {"up": rest > 0, "half_up": rest >= 0.5, "half_down": rest > 0.5}[rounding]
    # a NaN compares false and stays one because its integral part is one
    return np.asarray(inner + np.copysign(further.astype(values.dtype), values))
