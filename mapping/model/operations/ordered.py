# SPDX-License-Identifier: Apache-2.0
"""Sums of products in a fixed order, compiled: the order of the terms, every product and sum rounded."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.jit import INTERPRETED, njit

__all__ = ["add_products"]

_TILE = 128
_BLOCK = 32
"""Columns and terms that are taken together: 32 KiB, they stay in the first cache."""

Floats = NDArray[np.float64]


def _plain(weight: Floats, columns: Floats, result: Floats) -> None:
    """Add the products where the interpreter runs kernels: a term of all sums at once."""
    for factors, values in zip(weight.T, columns, strict=True):
        result += factors[:, None] * values


def _compiled(weight: Floats, columns: Floats, result: Floats) -> None:
    """Add the products; four terms at once spare a sum three ways to memory and back."""
    terms, width = columns.shape
    for start in range(0, width, _TILE):
        for begin in range(0, terms, _BLOCK):
            end = min(begin + _BLOCK, terms)
            for m in range(len(weight)):
                total, k = result[m, start : start + _TILE], begin
                while k + 4 <= end:
                    a, b, c, d = weight[m, k], weight[m, k + 1], weight[m, k + 2], weight[m, k + 3]
                    v, w = columns[k, start : start + _TILE], columns[k + 1, start : start + _TILE]
                    x, y = columns[k + 2, start : start + _TILE], columns[k + 3, start : start + _TILE]
                    for i in range(len(total)):
                        total[i] = (((total[i] + a * v[i]) + b * w[i]) + c * x[i]) + d * y[i]
                    k += 4
                while k < end:
                    a, v = weight[m, k], columns[k, start : start + _TILE]
                    for i in range(len(total)):
                        total[i] += a * v[i]
                    k += 1


add_products: Callable[[Any, Any, Any], None] = _plain if INTERPRETED else njit(_compiled)
"""Add weight (M, K) times columns (K, P) to a result (M, P), all float64, term by term in the order of K."""
