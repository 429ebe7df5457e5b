# SPDX-License-Identifier: Apache-2.0
"""Sums of products, exact or else in a fixed order, and the windows they are taken over."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mapping.model.operations.operation import Reals

__all__ = ["lowest_bit", "product", "sums_are_exact", "windows"]

_SAMPLE = 1024


def lowest_bit(values: NDArray[np.float64], *, axis: int | None = None) -> NDArray[np.int64]:
    """Return, over ``axis``, the largest e with every value a multiple of 2**e (1023 if all are zero)."""
    mantissa, exponent = np.frexp(values)
    integers = np.ldexp(mantissa, 53).astype(np.int64)
    trailing = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    lowest = np.where(integers == 0, 1023, exponent - 53 + trailing)
    return np.asarray(lowest.min(axis=axis, initial=1023), dtype=np.int64)


def sums_are_exact(weight: Reals, values: Reals) -> bool:
    """Tell whether every partial sum of a row of weight (M, K) times K of the values is exact in float64.

    In float32 the question is not asked: there the sums are what the linear algebra library makes of them.
    """
    if values.dtype != np.float64:
        return True
    row_bits, row_sums = lowest_bit(weight, axis=1), np.abs(weight).sum(axis=1)
    flat = values.reshape(-1)
    for part in (flat[:_SAMPLE], flat):  # the sample rejects ordinary float data without looking at all of it
        bits = row_bits + lowest_bit(part)
        largest = row_sums * np.abs(part).max(initial=0.0)
        if (np.ldexp(largest, np.clip(-bits, -2000, 2000)) >= 2.0**53).any():
            return False
    return True


def product(weight: Reals, columns: Reals, *, exact: bool) -> Reals:
    """Return weight (M, K) times columns (K, P), in a fixed order unless every order is exact."""
    if exact:
        return np.asarray(weight @ columns)
    # Where every sum is exact nothing needs the compiler, which takes a while to be loaded.
    from mapping.model.operations.ordered import add_products

    result = np.zeros((weight.shape[0], columns.shape[1]))
    add_products(np.array(weight), np.ascontiguousarray(columns), result)
    return result


def windows(
    values: NDArray[np.generic],
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
) -> NDArray[np.generic]:
    """Return (N, C, out_y, out_x, kh, kw): every window of a zero-padded map (N, C, H, W).

    It is a view of the map, padded where there are pads, unless hardly any window reaches the map.
    """
    top, left, bottom, right = pads
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    sizes = values.shape[2:]
    if any(step > 1 and step >= size for step, size in zip(stride, sizes, strict=True)):
        rows, columns = (
            _places(sizes[axis], kernel[axis], stride[axis], pads[axis::2], dilation[axis]) for axis in (0, 1)
        )
        extended = np.pad(values, ((0, 0), (0, 0), (0, 1), (0, 1)))
        return np.asarray(extended[:, :, rows[:, None, :, None], columns[:, None, :]])
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(pads) else values
    view = sliding_window_view(padded, extent, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _places(size: int, kernel: int, stride: int, pads: tuple[int, ...], dilation: int) -> NDArray[np.int64]:
    """Return the places (windows, kernel) along one axis, ``size`` for what lies in the padding."""
    first = np.arange(0, size + sum(pads) - (kernel - 1) * dilation, stride) - pads[0]
    at = first[:, None] + np.arange(kernel) * dilation
    return np.where((at >= 0) & (at < size), at, size)
