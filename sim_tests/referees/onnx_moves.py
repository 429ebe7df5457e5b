# SPDX-License-Identifier: Apache-2.0
"""Operators that only move elements, written from the ONNX operator specifications without `mapping`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOVES", "axes_of"]

Values = NDArray[Any]
Attributes = dict[str, Any]


def _resize(attributes: Attributes, inputs: list[Any]) -> Values:
    scales = inputs[1] if len(inputs) == 2 else inputs[2]
    sizes = zip(inputs[0].shape, scales, strict=True)
    at = [np.floor(np.arange(int(n * f)) / f).astype(int) for n, f in sizes]
    return np.asarray(inputs[0][np.ix_(*at)])


def _flatten(attributes: Attributes, inputs: list[Any]) -> Values:
    return np.asarray(inputs[0].reshape(len(inputs[0]), -1))


def _reshape(attributes: Attributes, inputs: list[Any]) -> Values:
    sizes = [inputs[0].shape[i] if n == 0 else int(n) for i, n in enumerate(inputs[1])]
    if sizes[0] == 1 and inputs[0].ndim > 1:
        sizes[0] = len(inputs[0])  # a batch of one that the exporter wrote down
    return np.asarray(inputs[0].reshape(sizes))


def _transpose(attributes: Attributes, inputs: list[Any]) -> Values:
    return np.asarray(inputs[0].transpose(attributes.get("perm")))


def _pad(attributes: Attributes, inputs: list[Any]) -> Values:
    pads = [int(p) for p in (inputs[1] if len(inputs) > 1 else attributes["pads"])]
    half = len(pads) // 2
    value = attributes.get("value", 0.0) if len(inputs) < 3 or inputs[2] is None else float(inputs[2])
    return np.pad(inputs[0], list(zip(pads[:half], pads[half:], strict=True)), constant_values=value)


def _concat(attributes: Attributes, inputs: list[Any]) -> Values:
    return np.concatenate(inputs, axis=attributes["axis"])


def axes_of(inputs: list[Any], attributes: Attributes) -> tuple[int, ...]:
    """Return the axes that are an input or an attribute."""
    return tuple(int(a) for a in (inputs[1] if len(inputs) > 1 else attributes["axes"]))


MOVES: dict[str, Callable[[Attributes, list[Any]], Values]] = {
    "Concat": _concat,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Squeeze": lambda at, x: x[0].squeeze(axes_of(x, at)),
    "Transpose": _transpose,
    "Unsqueeze": lambda at, x: np.expand_dims(x[0], axes_of(x, at)),
    "Upsample": _resize,
}
"""Such operators, from attributes and inputs."""
