# SPDX-License-Identifier: Apache-2.0
"""Samples of a network with several inputs: an npz file has an array for each, under its name."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.npz import array_names, read_arrays
from mapping.errors import MappingError
from mapping.model.network import Network

__all__ = ["Part", "in_order", "input_arrays"]

Part = tuple[str, tuple[int, ...]]
"""Name of an input, and shape of a sample of it."""

_MOST = 7
"""Most inputs whose order is looked for."""


def input_arrays(path: Path) -> tuple[NDArray[np.generic], tuple[Part, ...]] | None:
    """Return the arrays of a file beside each other (samples, numbers), and what they are.

    None if it has samples ``x``, or no two arrays beside its labels ``y`` with as many samples of one type.
    """
    names = [name for name in array_names(path) if name != "y"]
    if "x" in names or not 1 < len(names) <= _MOST:
        return None
    arrays = list(read_arrays(path, tuple(names)).values())
    alike = len({(array.dtype, array.shape[:1]) for array in arrays}) == 1
    if not alike or min(array.ndim for array in arrays) < 2 or not len(arrays[0]):
        return None
    flat = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
    return flat, tuple((name, array.shape[1:]) for name, array in zip(names, arrays, strict=True))


def in_order(
    source: str, x: NDArray[np.float64], parts: Sequence[Part], network: Network
) -> NDArray[np.float64]:
    """Return samples of several inputs as the one input that the network has for them.

    As when the model is read, channels follow each other, or elements if other axes differ.

    Parameters
    ----------
    source : str
        Name of the data.
    x : float64 (samples, numbers)
    parts : sequence of Part
        What the numbers of a sample are, in their order.
    network : Network

    Raises
    ------
    MappingError
        If the inputs of the network have other names.
    """
    orders = itertools.permutations(range(len(parts)))
    order = next((o for o in orders if "+".join(parts[i][0] for i in o) == network.input), None)
    if order is None:
        told = ", ".join(name for name, _ in parts)
        wanted = network.input.split("+")
        named = " and ".join(wanted) + " under these names" if len(wanted) > 1 else "the input as x"
        told = f"Data {source} have the arrays {told}, which no inputs are"
        raise MappingError(f"{told}; store samples of {named}.")
    ends = np.cumsum([0, *(math.prod(shape) for _, shape in parts)])
    arrays = [x[:, ends[i] : ends[i + 1]].reshape(len(x), *parts[i][1]) for i in order]
    if len({array.shape[2:] for array in arrays}) == 1:
        return np.concatenate(arrays, axis=1)
    return np.concatenate([array.reshape(len(x), -1) for array in arrays], axis=1)
