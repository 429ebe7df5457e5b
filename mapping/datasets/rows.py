# SPDX-License-Identifier: Apache-2.0
"""Which samples of data are wanted, told before they are made numbers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Take", "spread_rows"]

Take = Callable[[int], NDArray[np.int64]]
"""Told how many samples there are, returns the rows that are wanted."""


def spread_rows(samples: int) -> Take:
    """Return how to take samples at equal distances, so that they show all classes of sorted data.

    >>> spread_rows(2)(5).tolist(), spread_rows(9)(3).tolist()
    ([0, 2], [0, 1, 2])
    """
    return lambda count: np.arange(min(samples, count)) * count // min(samples, count)
