# SPDX-License-Identifier: Apache-2.0
"""How far values in float32 lie from those in float64 at most, operation by operation.

Of n products summed in any order, each rounding has a relative error of at most u. So the sum differs from
the exact one by at most n u / (1 - n u) times the sum of the magnitudes (Higham 2002, Accuracy and Stability
of Numerical Algorithms, (3.5)). A constant that is rounded to float32, an input that is, and the same in
float64 are a few more roundings, for which `_MORE` stands.
"""

import math
from collections.abc import Sequence

import numpy as np

from mapping.model.node import Node
from mapping.model.operations.operation import Reals

__all__ = ["added", "kept", "rounded", "weighed"]

_UNIT = 2.0**-24
"""Relative error of a rounding to float32, u."""

_MORE = 8

_TINY = 2.0**-126
"""Smallest normal float32: what a product below it may lose."""


def rounded(values: Reals) -> float:
    """Return how far some values in float64 lie from those nearest in float32 at most."""
    return _UNIT * _reach(values) + _TINY


def _reach(values: Reals) -> float:
    """Return the largest magnitude of some values; NaN if one of them is."""
    return float(np.abs(values).max(initial=0.0))


def kept(_node: Node, bounds: Sequence[float], _inputs: Sequence[Reals], _output: Reals) -> float:
    """Return the bound of an operation whose outputs lie no farther apart than its inputs."""
    return bounds[0]


def added(_node: Node, bounds: Sequence[float], inputs: Sequence[Reals], output: Reals) -> float:
    """Return the bound of a sum of two, of one and a constant, or of one that is cut at a constant."""
    apart = sum(bounds)
    if not math.isfinite(apart):
        return math.inf
    largest = _reach(output) + sum(map(_reach, inputs))  # no constant of a sum is larger
    return apart + _MORE * _UNIT * (largest + apart) + _TINY


def weighed(node: Node, bounds: Sequence[float], inputs: Sequence[Reals], _output: Reals) -> float:
    """Return the bound of a layer of weights."""
    (apart,) = bounds
    if not math.isfinite(apart):
        return math.inf
    rows = np.abs(node.constants["weight"])
    rows = rows.reshape(len(rows), -1)
    roundings = (rows.shape[1] + _MORE) * _UNIT
    relative = roundings / (1 - roundings) if roundings < 1 else math.inf
    largest = float(rows.sum(axis=1).max(initial=0.0))
    return largest * (apart + relative * (_reach(inputs[0]) + apart)) + rows.shape[1] * _TINY
