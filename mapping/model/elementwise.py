# SPDX-License-Identifier: Apache-2.0
"""What elementwise operations do to numbers, and every way of rounding."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from mapping.model.network import Node

__all__ = ["JOIN", "apply_elementwise", "by_channel", "rises", "round_by"]

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


def by_channel(node: Node) -> bool:
    """Tell whether a node has one input and no constant that differs within a channel."""
    return len(node.inputs) == 1 and all(value.ndim <= 1 for value in node.constants.values())


def rises(node: Node) -> bool:
    """Tell whether an elementwise node of one input never falls, in no channel and to the last bit.

    Functions that need an exponential are left out: libraries round them as they like.
    """
    if node.op in {"Div", "Mul"}:
        return bool((node.constants["value"] >= 0).all())
    if node.op == "BatchNormalization":
        return bool((node.constants["scale"] >= 0).all())
    if node.op == "PRelu":
        return bool((node.constants["slope"] >= 0).all())
    return node.op in {"Add", "Ceil", "Clip", "Floor", "Quantise", "Relu", "Round"}


def _along(value: Reals, ndim: int, axis: int) -> Reals:
    return value.reshape((-1,) + (1,) * (ndim - 1 - axis)) if value.ndim == 1 else value


def apply_elementwise(node: Node, values: Reals, *, axis: int) -> Reals:
    """Apply an elementwise node to an array whose channels lie along ``axis``, in the array's precision.

    All but the `FUNCTIONS` are chains of correctly rounded operations, each of them monotone in ``values``.
    ``BatchNormalization`` is (values - mean) / sqrt(variance + epsilon) * scale + bias, and ``Quantise`` is
    (round(clip(values / scale + zero_point)) - zero_point) * scale, in this order.
    """
    constants = {
        key: _along(value.astype(values.dtype), values.ndim, axis) for key, value in node.constants.items()
    }
    if node.op in _RULES:
        return np.asarray(_RULES[node.op](values, constants.get("value")))
    if node.op in _FUNCTIONS:
        return np.asarray(_FUNCTIONS[node.op](values, node), dtype=values.dtype)
    if node.op == "PRelu":
        return np.where(values < 0, values * constants["slope"], values)
    if node.op == "BatchNormalization":
        deviation = np.sqrt(constants["variance"] + node.number("epsilon"))
        return (values - constants["mean"]) / deviation * constants["scale"] + constants["bias"]
    if node.op == "Clip":
        return np.minimum(np.maximum(values, node.number("low")), node.number("high"))
    scale, zero_point = constants["scale"], constants["zero_point"]
    inside = np.minimum(np.maximum(values / scale + zero_point, node.number("low")), node.number("high"))
    return (round_by(node.text("rounding"), inside) - zero_point) * scale


JOIN: Mapping[str, Callable[[Reals, Reals], Reals]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
}
"""What a node of two inputs does to them."""

_RULES: Mapping[str, Callable[[Reals, Any], Reals]] = {
    "Add": lambda values, value: values + value,
    "Ceil": lambda values, _: np.ceil(values),
    "Div": lambda values, value: values / value,
    "Floor": lambda values, _: np.floor(values),
    "Mul": lambda values, value: values * value,
    "Relu": lambda values, _: np.maximum(values, 0.0),
    "Round": lambda values, _: np.rint(values),
}


def _sigmoid(x: Reals) -> Reals:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _softplus(x: Reals) -> Reals:
    return np.asarray(np.logaddexp(x, 0.0))


def _gelu(x: Reals, node: Node) -> Reals:
    if node.text("approximate") == "tanh":
        return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1.0 + erf(x / np.sqrt(2.0))))


def _celu(x: Reals, alpha: float) -> Reals:
    return np.maximum(x, 0.0) + np.minimum(alpha * (np.exp(np.minimum(x, 0.0) / alpha) - 1.0), 0.0)


def _elu(x: Reals, alpha: float) -> Reals:
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0.0)) - 1.0))


_FUNCTIONS: Mapping[str, Callable[[Reals, Node], Reals]] = {
    "Abs": lambda x, _: np.abs(x),
    "Celu": lambda x, node: _celu(x, node.number("alpha")),
    "Elu": lambda x, node: _elu(x, node.number("alpha")),
    "Erf": lambda x, _: np.asarray(erf(x)),
    "Exp": lambda x, _: np.exp(x),
    "Gelu": _gelu,
    "HardSwish": lambda x, _: x * np.minimum(np.maximum(x / 6.0 + 0.5, 0.0), 1.0),
    "Mish": lambda x, _: x * np.tanh(_softplus(x)),
    "Pow": lambda x, node: np.power(x, node.number("exponent")),
    "Selu": lambda x, node: node.number("gamma") * _elu(x, node.number("alpha")),
    "Sigmoid": lambda x, _: _sigmoid(x),
    "Sign": lambda x, _: np.sign(x),
    "Softplus": lambda x, _: _softplus(x),
    "Softsign": lambda x, _: x / (1.0 + np.abs(x)),
    "Sqrt": lambda x, _: np.sqrt(x),
    "Swish": lambda x, node: x * _sigmoid(node.number("alpha") * x),
    "Tanh": lambda x, _: np.tanh(x),
    "ThresholdedRelu": lambda x, node: np.where(x > node.number("alpha"), x, 0.0),
}
"""The formulas of the ONNX operator specifications, to the letter."""
