# SPDX-License-Identifier: Apache-2.0
"""Whether samples have the order and polarity that a network was trained for: try others and compare."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.load import Dataset, scaled
from mapping.datasets.named import named_rightly
from mapping.datasets.normalisation import bounds, candidates, clearly_better, with_chance
from mapping.datasets.rows import spread_rows
from mapping.diagnosis.input_trial import SAMPLES, InputTrial
from mapping.model.network import Network

__all__ = ["InputOrder", "OrderCandidate", "check_input_order"]

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCandidate:
    """An order, the NumPy expression that makes it of the array ``x``, and the float network's accuracy."""

    name: str
    expression: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOrder(InputTrial[OrderCandidate]):
    """Other orders of the input."""


def check_input_order(
    network: Network, data: Dataset, how: str, asked: str | None = None
) -> InputOrder | None:
    """Evaluate a float network on some samples with their elements in other orders.

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
    sample = data.at(spread_rows(SAMPLES)(len(data.x)))
    own = None if data.events else _right(network, sample, (how,))
    if own is None:
        return None
    ways = _ways(sample.shaped(shape), how, asked, hopeless=own.mean() < _enough(sample))
    found, better, most = [], None, _enough(sample)
    for name, expression, reorder in _orders(sample.shaped(shape).x[:1], sample, shape):
        values = np.ascontiguousarray(reorder(sample.shaped(shape).x))
        right = _right(network, replace(sample, x=values), ways)
        if right is None:
            continue
        order = OrderCandidate(name=name, expression=expression, accuracy=float(right.mean()))
        found.append(order)
        if clearly_better(own, right) and order.accuracy >= most:
            better, most = order, order.accuracy
    return InputOrder(
        samples=len(sample.x), accuracy=float(own.mean()), candidates=tuple(found), better=better
    )


def _enough(data: Dataset) -> float:
    """Return the accuracy from which on a network knows something."""
    return 0.0 if data.y is None else with_chance(data.y)


def _ways(data: Dataset, how: str, asked: str | None, *, hopeless: bool) -> list[str]:
    """Return how samples in another order are scaled: nobody chose, so the best of several ways counts."""
    if not data.pixels or asked not in {None, "auto"}:
        return [how]
    more = candidates(data.x, data.x.shape[1:], pixels=True) if hopeless else []
    return list(dict.fromkeys(["raw", "unit", how, *(candidate.how for candidate in more)]))


def _right(network: Network, data: Dataset, ways: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return which samples the network names rightly with the best scale; None without labels or classes."""
    found: list[NDArray[np.bool_]] = []
    for how in ways:
        given = scaled(data, how, network)[0]
        if given.y is None:
            return None
        found.append(named_rightly(network, given.x, given.y))
    return max(found, key=lambda right: int(right.sum()))


def _orders(
    one: Values, data: Dataset, shape: tuple[int, ...]
) -> Iterator[tuple[str, str, Callable[[Values], Values]]]:
    """Yield name, expression and function of other orders of samples in the shape of the network."""
    if one.shape[1:] != shape:
        return
    ends = 255.0 if data.pixels else sum(bounds(data.x))
    yield "inverted", f"{ends:.6g} - x", lambda x: ends - x
    if len(shape) != 3:
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
