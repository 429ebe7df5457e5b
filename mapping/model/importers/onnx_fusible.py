# SPDX-License-Identifier: Apache-2.0
"""What tells whether a layer between quantisers is an operator on integers."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Ints", "near", "ternary", "whole_windows"]


@dataclass(frozen=True, slots=True)
class Ints:
    """A tensor of integers with the names of its scale and zero point."""

    tensor: str
    scale: str
    zero: str

    @property
    def names(self) -> list[str]:
        """The inputs of an operator that stand for it."""
        return [self.tensor, self.scale, self.zero]


def whole_windows(layer: onnx.NodeProto) -> bool:
    """Tell whether every window of an average has the same number of elements."""
    given = {attribute.name: attribute for attribute in layer.attribute}
    padded = "pads" in given and any(given["pads"].ints)
    ceiled = "ceil_mode" in given and given["ceil_mode"].i != 0
    named = "auto_pad" in given and given["auto_pad"].s not in (b"NOTSET", b"VALID")
    return not (padded or ceiled or named or "dilations" in given)


def near(unit: NDArray[np.generic], product: NDArray[np.generic]) -> bool:
    """Tell whether the scale of a bias is the product of both others, but for its rounding."""
    if unit.size not in (1, product.size) or unit.dtype != np.float32:
        return False
    wide = unit.astype(np.float64), product.astype(np.float64)
    return bool((np.abs(wide[0] - wide[1]) <= 2.0**-22 * np.abs(wide[1])).all())


def ternary(array: NDArray[np.generic], zero: NDArray[np.generic] | None, axis: int) -> bool:
    """Tell whether every output channel has weights of one magnitude, or zero."""
    offset = np.zeros(1, np.int64) if zero is None else zero.astype(np.int64).reshape(-1)
    shifted = np.moveaxis(array.astype(np.int64), axis, 0).reshape(array.shape[axis], -1)
    if offset.size not in (1, len(shifted)):
        return False
    rows = np.abs(shifted - offset[:, None])
    return bool(((rows == 0) | (rows == rows.max(axis=1, keepdims=True, initial=0))).all())
