# SPDX-License-Identifier: Apache-2.0
"""Whether the elements of samples have the order that a network was trained for: try others and compare."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.load import Dataset, largest, scaled
from mapping.model.evaluate import run_single
from mapping.model.network import Network

__all__ = ["InputOrder", "OrderCandidate", "check_input_order"]

SAMPLES = 256
"""Samples that are tried."""

_FEWEST = 5
_DEVIATIONS = 3.0

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCandidate:
    """An order, the NumPy expression that makes it of the array ``x``, and the float network's accuracy."""

    name: str
    expression: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOrder:
    """The accuracy with the order that is given, all others, and the one that is better if there is one."""

    samples: int
    accuracy: float
    candidates: tuple[OrderCandidate, ...]
    better: OrderCandidate | None


def check_input_order(
    network: Network, data: Dataset, how: str, asked: str | None = None
) -> InputOrder | None:
    """Evaluate a float network on the first samples with their elements in other orders.

    Parameters
    ----------
    network : Network
        The float network; it is evaluated in float32.
    data : Dataset
        Samples as they were loaded.
    how : str
        How they are scaled, as `mapping.datasets.load.scaled` chose it.
    asked : str, optional
        How the user wants them scaled. By default, and with ``auto``, pixels in another order are scaled in
        the better of two ways, because that choice may be another one than with the given order.

    Returns
    -------
    InputOrder or None
        None without labels, for events, and where no other order is to be tried.
    """
    shape = network.shapes[network.input]
    sample = data.first(SAMPLES)
    orders = list(_orders(sample.shaped(shape).x[:1], sample, shape))
    if data.events or not orders:
        return None
    own = _right(network, sample, (how,))
    if own is None:
        return None
    ways = ("raw", "unit") if data.pixels and asked in {None, "auto"} else (how,)
    candidates, better, most = [], None, 0.0
    for name, expression, reorder in orders:
        values = np.ascontiguousarray(reorder(sample.shaped(shape).x))
        right = _right(network, replace(sample, x=values), ways)
        if right is None:
            continue
        found = OrderCandidate(name=name, expression=expression, accuracy=float(right.mean()))
        candidates.append(found)
        gained, lost = int((right & ~own).sum()), int((own & ~right).sum())
        clear = gained - lost >= max(_FEWEST, _DEVIATIONS * math.sqrt(gained + lost))
        if clear and found.accuracy > most:
            better, most = found, found.accuracy
    return InputOrder(
        samples=len(sample.x), accuracy=float(own.mean()), candidates=tuple(candidates), better=better
    )


def _right(network: Network, data: Dataset, ways: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return which samples the network names rightly with the best scale; None without labels or classes."""
    found: list[NDArray[np.bool_]] = []
    for how in ways:
        given = scaled(data, how, network)[0]
        if given.y is None:
            return None
        outputs = run_single(network, given.x, [network.output])[network.output]
        found.append(np.asarray(largest(np.asarray(outputs, np.float64)) == given.y))
    return max(found, key=lambda right: int(right.sum()))


def _orders(
    one: Values, data: Dataset, shape: tuple[int, ...]
) -> Iterator[tuple[str, str, Callable[[Values], Values]]]:
    """Yield name, expression and function of other orders of samples in the shape of the network."""
    if len(shape) != 3 or one.shape[1:] != shape:
        return
    base = _base(data, shape)
    last = not 1 < shape[0] <= 4 and 1 < shape[2] <= 4
    if last:
        height, width, channels = shape
        if channels > 1:
            yield "channels-reversed", f"{base}[..., ::-1]", lambda x: x[..., ::-1]
            stored = (-1, channels, height, width)
            told = f"{base}.reshape{stored}.transpose(0, 2, 3, 1)"
            yield "other-layout", told, lambda x: x.reshape(stored).transpose(0, 2, 3, 1)
        if height == width:
            yield "rows-and-columns", f"{base}.swapaxes(1, 2)", lambda x: x.swapaxes(1, 2)
        return
    channels, height, width = shape
    if 1 < channels <= 4:
        yield "channels-reversed", f"{base}[:, ::-1]", lambda x: x[:, ::-1]
    if channels > 1:
        stored = (-1, height, width, channels)
        told = f"{base}.reshape{stored}.transpose(0, 3, 1, 2)"
        yield "other-layout", told, lambda x: x.reshape(stored).transpose(0, 3, 1, 2)
    if height == width:
        yield "rows-and-columns", f"{base}.swapaxes(2, 3)", lambda x: x.swapaxes(2, 3)


def _base(data: Dataset, shape: tuple[int, ...]) -> str:
    """Return the NumPy expression that gives samples the shape of the network, as `Dataset.shaped` does."""
    own = data.x.shape[1:]
    if own == shape:
        return "x"
    if len(own) == 3 and (own[2], own[0], own[1]) == shape:
        return "np.moveaxis(x, 3, 1)"
    if len(own) == 3 and (own[1], own[2], own[0]) == shape:
        return "np.moveaxis(x, 1, 3)"
    return f"x.reshape{(-1, *shape)}"
