# SPDX-License-Identifier: Apache-2.0
"""What elementwise operations do to numbers, and every way of rounding."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.model.network import Node

__all__ = ["apply_elementwise", "round_by"]

Reals = NDArray[Any]
"""Values in float64 or float32."""


def round_by(rounding: str, values: Reals) -> Reals:
    """Return values rounded to integers in one of the ways of `mapping.model.network.ROUNDINGS`.

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


def _along(value: Reals, ndim: int, axis: int) -> Reals:
    return value if value.ndim == 0 else value.reshape((-1,) + (1,) * (ndim - 1 - axis))


def apply_elementwise(node: Node, values: Reals, *, axis: int) -> Reals:
    """Apply an elementwise node to an array whose channels lie along ``axis``, in the array's precision.

    Every operation is a chain of correctly rounded operations, each of them monotone in ``values``.
    ``BatchNormalization`` is (values - mean) / sqrt(variance + epsilon) * scale + bias, and ``Quantise`` is
    (round(clip(values / scale + zero_point)) - zero_point) * scale, in this order.
    """
    constants = {
        key: _along(value.astype(values.dtype), values.ndim, axis) for key, value in node.constants.items()
    }
    if node.op in _RULES:
        return np.asarray(_RULES[node.op](values, constants.get("value")))
    if node.op == "BatchNormalization":
        deviation = np.sqrt(constants["variance"] + node.number("epsilon"))
        return (values - constants["mean"]) / deviation * constants["scale"] + constants["bias"]
    if node.op == "Clip":
        return np.minimum(np.maximum(values, node.number("low")), node.number("high"))
    scale, zero_point = constants["scale"], constants["zero_point"]
    inside = np.minimum(np.maximum(values / scale + zero_point, node.number("low")), node.number("high"))
    return (round_by(node.text("rounding"), inside) - zero_point) * scale


_RULES: Mapping[str, Callable[[Reals, Any], Reals]] = {
    "Add": lambda values, value: values + value,
    "Div": lambda values, value: values / value,
    "Floor": lambda values, _: np.floor(values),
    "Mul": lambda values, value: values * value,
    "Relu": lambda values, _: np.maximum(values, 0.0),
    "Round": lambda values, _: np.rint(values),
}
