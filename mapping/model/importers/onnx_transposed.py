# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions for ONNX's reference evaluator, whose own visit every element one by one.

>>> halves([3, -1], upper=False)
((2, 0), (1, -1))
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

__all__ = ["ConvTranspose", "ends_of", "halves"]

Reals = NDArray[np.floating]
Ends = tuple[tuple[int, ...], tuple[int, ...]]


class ConvTranspose(OpRun):
    """The operator of that name, in all its forms: every tap of the kernel adds a map of products."""

    op_domain = ""

    def _run(
        self,
        values: Reals,
        weight: Reals,
        bias: Reals | None = None,
        **given: Any,
    ) -> tuple[Reals]:
        size, kernel, ones = values.shape[2:], weight.shape[2:], (1,) * (values.ndim - 2)
        stride, dilation = given["strides"] or ones, given["dilations"] or ones
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        whole = [s * (n - 1) + e for s, n, e in zip(stride, size, extent, strict=True)]
        more = given["output_padding"] or (0,) * len(size)
        begin, end = ends_of(given, size, stride, [w + m for w, m in zip(whole, more, strict=True)])
        sums = _spread(values, weight, (int(given["group"] or 1), stride, dilation), whole)
        for axis, (first, last, extra) in enumerate(zip(begin, end, more, strict=True), start=2):
            sums = _cut(sums, axis, first, last - extra)
        if bias is not None:
            sums = sums + bias.reshape(-1, *ones)
        return (np.ascontiguousarray(sums, values.dtype),)


def ends_of(
    given: Mapping[str, Any], size: Sequence[int], stride: Sequence[int], whole: Sequence[int]
) -> Ends:
    """Return what is cut off the sums before the first and behind the last place along each axis."""
    auto, shape = given.get("auto_pad") or "NOTSET", given.get("output_shape")
    if shape is None and auto.startswith("SAME"):
        shape = [n * s for n, s in zip(size, stride, strict=True)]
    if shape is not None:
        total = [w - int(wanted) for w, wanted in zip(whole, shape[-len(size) :], strict=True)]
        return halves(total, upper=auto == "SAME_UPPER")
    pads = given["pads"] if auto == "NOTSET" and given.get("pads") else (0,) * (2 * len(size))
    return tuple(pads[: len(size)]), tuple(pads[len(size) :])


def halves(total: Sequence[int], *, upper: bool) -> Ends:
    """Return the two halves of whole numbers; the second ones are the larger if ``upper``, else the first."""
    small, large = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    return (small, large) if upper else (large, small)


def _spread(
    values: Reals, weight: Reals, form: tuple[int, Sequence[int], Sequence[int]], whole: Sequence[int]
) -> Reals:
    """Return the sums (N, channels, whole) of what every value adds around its place.

    ``form`` are groups, strides and dilations.
    """
    groups, stride, dilation = form
    count, size, kernel = len(values), values.shape[2:], weight.shape[2:]
    grouped = values.reshape(count, groups, len(weight) // groups, -1)
    matrices: NDArray[Any] = weight.reshape(groups, -1, weight.shape[1], *kernel).swapaxes(1, 2)
    sums: NDArray[Any] = np.zeros((count, groups, weight.shape[1], *whole), values.dtype)
    for tap in itertools.product(*map(range, kernel)):
        spots = zip(tap, dilation, stride, size, strict=True)
        at = tuple(slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in spots)
        of_tap: tuple[Any, ...] = (..., *tap)
        reached: tuple[Any, ...] = (..., *at)
        each = matrices[of_tap] @ grouped
        sums[reached] += each.reshape(*sums.shape[:3], *size)
    return sums.reshape(count, -1, *whole)


def _cut(sums: Reals, axis: int, first: int, last: int) -> Reals:
    """Return sums without some places at both ends of an axis; less than none are zeros more."""
    around = [(0, 0)] * sums.ndim
    around[axis] = (max(0, -first), max(0, -last))
    part = [slice(None)] * sums.ndim
    part[axis] = slice(max(0, first), sums.shape[axis] - max(0, last))
    return np.pad(sums[tuple(part)], around)
