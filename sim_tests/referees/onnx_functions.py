# SPDX-License-Identifier: Apache-2.0
"""Operators of one activation in float64, written from the ONNX specifications without `mapping`."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FUNCTIONS", "softmax"]

Values = NDArray[Any]
Attributes = dict[str, Any]

_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Values) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def softmax(attributes: Attributes, inputs: list[Any], opset: int) -> Values:
    """Return the softmax over an axis; before operator set 13 over all axes from that one on."""
    x = inputs[0]
    if opset >= 13:
        powers = np.exp(x - x.max(attributes.get("axis", -1), keepdims=True))
        return np.asarray(powers / powers.sum(attributes.get("axis", -1), keepdims=True))
    flat = x.reshape(*x.shape[: attributes.get("axis", 1)], -1)
    powers = np.exp(flat - flat.max(-1, keepdims=True))
    return np.asarray((powers / powers.sum(-1, keepdims=True)).reshape(x.shape))


def _elu(x: Values, alpha: float) -> Values:
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def _gelu(at: Attributes, x: Values) -> Values:
    if at.get("approximate", b"none") == b"tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return np.asarray(x / 2 * (1 + np.tanh(inner)))
    return np.asarray(x / 2 * (1 + _ERF(x / math.sqrt(2))))


def _selu(at: Attributes, x: Values) -> Values:
    alpha, gamma = at.get("alpha", 1.6732631921768188), at.get("gamma", 1.0507010221481323)
    return np.asarray(gamma * np.where(x > 0, x, alpha * np.exp(x) - alpha))


def _hard_sigmoid(at: Attributes, x: Values) -> Values:
    alpha, beta = at.get("alpha", float(np.float32(0.2))), at.get("beta", 0.5)
    return np.asarray(np.clip(alpha * x + beta, 0.0, 1.0))


def _prelu(x: Values, slope: Values) -> Values:
    return np.where(x < 0, slope * x, x)


_LEAK = float(np.float32(0.01))

FUNCTIONS: dict[str, Callable[[Attributes, list[Any]], Values]] = {
    "Abs": lambda _, x: np.abs(x[0]),
    "Ceil": lambda _, x: np.ceil(x[0]),
    "Celu": lambda at, x: (
        np.maximum(x[0], 0) + np.minimum(_elu(x[0] / at.get("alpha", 1.0), 1.0), 0) * at.get("alpha", 1.0)
    ),
    "Elu": lambda at, x: _elu(x[0], at.get("alpha", 1.0)),
    "Erf": lambda _, x: np.asarray(_ERF(x[0])),
    "Exp": lambda _, x: np.exp(x[0]),
    "Gelu": lambda at, x: _gelu(at, x[0]),
    "HardSigmoid": lambda at, x: _hard_sigmoid(at, x[0]),
    "HardSwish": lambda _, x: x[0] * np.clip(x[0] / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda at, x: _prelu(x[0], np.asarray(at.get("alpha", _LEAK))),
    "Mish": lambda _, x: x[0] * np.tanh(np.log1p(np.exp(x[0]))),
    "PRelu": lambda _, x: _prelu(x[0], x[1]),
    "Pow": lambda _, x: np.asarray(x[0] ** x[1]),
    "Selu": lambda at, x: _selu(at, x[0]),
    "Sign": lambda _, x: np.sign(x[0]),
    "Softplus": lambda _, x: np.log1p(np.exp(x[0])),
    "Softsign": lambda _, x: x[0] / (1 + np.abs(x[0])),
    "Sqrt": lambda _, x: np.sqrt(x[0]),
    "Swish": lambda at, x: x[0] * _sigmoid(at.get("alpha", 1.0) * x[0]),
    "Tanh": lambda _, x: np.tanh(x[0]),
    "ThresholdedRelu": lambda at, x: np.where(x[0] > at.get("alpha", 1.0), x[0], 0.0),
}
"""Functions of every element alone, from attributes and inputs."""
