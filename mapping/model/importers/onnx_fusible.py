# SPDX-License-Identifier: Apache-2.0
"""What tells whether a layer between quantisers is an operator on integers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Ints", "ends_of", "equal", "near", "never_cuts", "rows_of", "stepped", "ternary", "whole_windows"]


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


def rows_of(layer: onnx.NodeProto) -> int:
    """Return the axis of the output channels of weights."""
    turned = layer.op_type == "Gemm" and any(a.name == "transB" and a.i for a in layer.attribute)
    return 0 if layer.op_type == "Conv" or turned else 1


def whole_windows(layer: onnx.NodeProto) -> bool:
    """Tell whether every window of an average has the same number of elements."""
    given = {attribute.name: attribute for attribute in layer.attribute}
    padded = "pads" in given and any(given["pads"].ints)
    ceiled = "ceil_mode" in given and given["ceil_mode"].i != 0
    named = "auto_pad" in given and given["auto_pad"].s not in (b"NOTSET", b"VALID")
    return not (padded or ceiled or named or "dilations" in given)


def equal(first: Iterable[NDArray[np.generic] | None], second: Iterable[NDArray[np.generic] | None]) -> bool:
    """Tell whether constants are known and equal, in type too."""
    return all(
        a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a.ravel(), b.ravel())
        for a, b in zip(first, second, strict=True)
    )


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


def ends_of(
    cut: onnx.NodeProto, array: Callable[[str], NDArray[np.generic] | None]
) -> tuple[float, float] | None:
    """Return the ends of a ``Clip`` or ``Relu``, infinite where it has none; None if they are not known.

    Parameters
    ----------
    cut : NodeProto
        The operator.
    array : callable
        Gives a constant by its name, None if it is none.
    """
    if cut.op_type == "Relu":
        return 0.0, math.inf
    ends = {"min": -math.inf, "max": math.inf} | {
        a.name: a.f for a in cut.attribute if a.name in ("min", "max")
    }
    for index, key in enumerate(("min", "max"), start=1):
        if index < len(cut.input) and cut.input[index]:
            value = array(cut.input[index])
            if value is None or value.size != 1:
                return None
            ends[key] = float(np.asarray(value, np.float64).reshape(-1)[0])
    return None if any(map(math.isnan, ends.values())) else (ends["min"], ends["max"])


def never_cuts(
    cut: onnx.NodeProto, ends: tuple[float, float] | None, scale: np.float32, zero: NDArray[np.generic]
) -> bool:
    """Tell whether a quantiser saturates before a ``Clip`` or ``Relu`` of these ends does."""
    if ends is None:
        return False
    kind, number = np.iinfo(zero.dtype.name), int(zero.reshape(-1)[0])
    low, high = (float(np.float32(end - number) * scale) for end in (kind.min, kind.max))
    if cut.op_type == "Relu":
        return number == kind.min
    return ends[0] - low <= _EPSILON and high - ends[1] <= _EPSILON


_EPSILON = float(np.finfo(np.float32).eps)


def stepped(
    value: NDArray[np.generic], scale: NDArray[np.generic], zero: NDArray[np.generic], axis: int
) -> NDArray[np.generic] | None:
    """Return the integers of a byte that a quantiser makes of constants, None if it does not fit them."""
    shape = [1] * value.ndim
    if scale.size > 1:
        axis %= max(1, value.ndim)
        if value.shape[axis : axis + 1] != (scale.size,):
            return None
        shape[axis] = scale.size
    with np.errstate(all="ignore"):
        steps = np.rint(np.divide(value, scale.reshape(shape))) + zero.reshape(shape).astype(np.float32)
    if not np.isfinite(steps).all():
        return None  # what is damaged is refused where it is read
    low, high = (-128, 127) if zero.dtype == np.int8 else (0, 255)
    return np.asarray(np.clip(steps, low, high).astype(zero.dtype))
