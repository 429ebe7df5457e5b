# SPDX-License-Identifier: Apache-2.0
"""Operators for ONNX's reference evaluator that it has wrong, or not at all.

Release 1.23 takes as many neighbours in an ``LRN`` as the batch has samples, flattens no ``Hardmax`` of the
operator sets before 13, lacks ``GlobalLpPool``, evaluates both normalisations of samples below in float32
only, and takes the statistics of the sample for a ``BatchNormalization`` of the sets before 14.

>>> hardmax(np.array([[3.0, 5.0], [7.0, 7.0]]), 1).tolist()
[[0.0, 1.0], [1.0, 0.0]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

from mapping.model.importers.onnx_transposed import ConvTranspose

__all__ = ["OWN", "SAME_SHAPE", "hardmax"]

Reals = NDArray[np.floating]

SAME_SHAPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Operators that ONNX's inference knows no shape of: that of their first input."""

_ALONG_ONE_AXIS = 13
"""Operator set from which a ``Hardmax`` works along one axis, not along all from that axis on."""

_LEAST_DEVIATION = 1e-9
"""What a ``MeanVarianceNormalization`` adds to the deviation that it divides by."""


def hardmax(values: Reals, axis: int) -> Reals:
    """Return 1 at the first of the largest values along an axis, 0 elsewhere."""
    chosen = np.expand_dims(values.argmax(axis), axis)
    result = np.zeros_like(values)
    np.put_along_axis(result, chosen, 1, axis)
    return result


class Hardmax(OpRun):
    """The operator of that name, of the version that the model's operator set has."""

    op_domain = ""

    def _run(self, values: Reals, **_: Any) -> tuple[Reals]:
        given = {attribute.name: attribute.i for attribute in self.onnx_node.attribute}
        if self.run_params["opsets"][""] >= _ALONG_ONE_AXIS:
            return (hardmax(values, int(given.get("axis", -1))),)
        axis = int(given.get("axis", 1)) % values.ndim
        rows = values.reshape(math.prod(values.shape[:axis]), -1)
        return (hardmax(rows, 1).reshape(values.shape),)


class LRN(OpRun):
    """x / (bias + alpha / size * sum of the squares of ``size`` neighbouring channels) ** beta."""

    op_domain = ""

    def _run(self, values: Reals, **given: Any) -> tuple[Reals]:
        size, channels = int(given["size"]), values.shape[1]
        before, behind = (size - 1) // 2, size // 2
        sums = np.zeros_like(values)
        for channel in range(channels):
            near = values[:, max(0, channel - before) : channel + behind + 1]
            sums[:, channel] = (near * near).sum(axis=1)
        scale = given["bias"] + given["alpha"] / size * sums
        return (np.asarray(values / scale ** given["beta"], values.dtype),)


class BatchNormalization(OpRun):
    """scale (x - mean) / sqrt(variance + epsilon) + bias, with the statistics of a sample while it trains."""

    op_domain = ""

    def _run(self, values: Reals, *given: Reals, **attributes: Any) -> tuple[Reals]:
        ones = (1,) * (values.ndim - 2)
        scale, bias, mean, variance = (part.reshape(*part.shape, *ones[part.ndim - 1 :]) for part in given)
        if attributes.get("training_mode"):
            over = tuple(axis for axis in range(values.ndim) if axis != 1)
            mean, variance = (part(axis=over, keepdims=True)[0] for part in (values.mean, values.var))
        normal = (values - mean) / np.sqrt(variance + attributes["epsilon"])
        return (np.asarray(scale * normal + bias, values.dtype),)


class GlobalLpPool(OpRun):
    """The p-norm of every channel."""

    op_domain = ""

    def _run(self, values: Reals, **given: Any) -> tuple[Reals]:
        power, axes = int(given["p"]), tuple(range(2, values.ndim))
        sums = (np.abs(values) ** power).sum(axis=axes, keepdims=True)
        return (np.asarray(sums ** (1.0 / power), values.dtype),)


class MeanVarianceNormalization(OpRun):
    """(x - mean) / (deviation + 1e-9) over some axes, which may have that of the batch."""

    op_domain = ""

    def _run(self, values: Reals, axes: Sequence[int] | None = None) -> tuple[Reals]:
        over = tuple(int(axis) for axis in (0, 2, 3)) if axes is None else tuple(axes)
        centred = values - values.mean(axis=over, keepdims=True)
        variance = (centred * centred).mean(axis=over, keepdims=True)
        return (np.asarray(centred / (np.sqrt(variance) + _LEAST_DEVIATION), values.dtype),)


class GroupNormalization(OpRun):
    """Normalise groups of channels; factors and offsets are one a channel, or before set 21 one a group."""

    op_domain = ""

    def _run(self, values: Reals, scale: Reals, bias: Reals, **given: Any) -> tuple[Reals]:
        groups, channels = int(given["num_groups"]), values.shape[1]
        rows = values.reshape(len(values), groups, -1)
        centred = rows - rows.mean(axis=2, keepdims=True)
        variance = (centred * centred).mean(axis=2, keepdims=True)
        normal = (centred / np.sqrt(variance + given["epsilon"])).reshape(values.shape)
        ones = (1,) * (values.ndim - 2)
        factor, offset = (part.repeat(channels // len(part)).reshape(-1, *ones) for part in (scale, bias))
        return (np.asarray(normal * factor + offset, values.dtype),)


OWN: list[type[OpRun]] = [
    BatchNormalization,
    ConvTranspose,
    GlobalLpPool,
    GroupNormalization,
    Hardmax,
    LRN,
    MeanVarianceNormalization,
]
"""What the evaluator uses in place of its own."""
