# SPDX-License-Identifier: Apache-2.0
"""The handwritten digits that install with scikit-learn."""

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError

__all__ = ["DIGITS_TEST", "digits_part"]

DIGITS_TEST = 1437
"""First of the digits that no training has seen; they were written by other people than the ones before."""


def digits_part(part: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images (n, 8, 8) of 0..16 and labels of a part of the digits.

    Raises
    ------
    MappingError
        If the part is none of test, train and all.
    """
    from sklearn.datasets import load_digits

    slices = {"test": slice(DIGITS_TEST, None), "train": slice(DIGITS_TEST), "all": slice(None)}
    if part not in slices:
        raise MappingError(f"Part of the digits must be test, train or all, not {part!r}.")
    bunch, chosen = load_digits(), slices[part]
    return bunch.images[chosen].astype(np.float64), bunch.target[chosen].astype(np.int64)
