# SPDX-License-Identifier: Apache-2.0
"""Find for each layer the fewest digits with which the network's error stays within a tolerance.

Errors of rounding in different layers hardly depend on each other, so their squares add at the output. Each
layer is therefore rounded to fewer digits alone; what that adds to the squared error is its price, and the
columns that it frees are what is bought. The whole is converted and measured in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

from emu.spec import CoreSpec
from mapping.codes.graded.calibration import Calibration
from mapping.codes.graded.walk import Point
from mapping.codes.obstacles import Fits, anything_fits
from mapping.spiking.digits import MOST_DIGITS
from mapping.spiking.network import SpikingLayer

__all__ = ["DigitSearch"]

_ATTEMPTS, _MOST_ATTEMPTS = 3, 8
"""Conversions of the whole network, each with a better budget, and as long as none is allowed."""

_STEPS = 24
"""Budgets that are tried; many buy what was converted before."""

_GROWTH = 1.25
"""Times that a budget grows at least if it was not too large."""


@dataclass(frozen=True, slots=True, eq=False)
class DigitSearch:
    """Look for the fewest digits of each layer, 1 .. 7 or what a core has.

    Parameters
    ----------
    calibration : Calibration
        The network on samples.
    tensors : collection of str
        The activations whose error counts: those that leave the chip.
    tolerance : float
        Points by which their error (`Calibration.error`) may be larger than with the most digits.
    spec : CoreSpec
        The core.
    fits : callable
        Why a layer does not fit, or None. One that only fits with fewer digits begins with these.
    say : callable
        Told what is being done.
    """

    calibration: Calibration
    tensors: Collection[str]
    tolerance: float
    _: KW_ONLY
    spec: CoreSpec
    fits: Fits = anything_fits
    say: Callable[[str], None] = lambda _: None

    def found(self) -> tuple[int, ...]:
        """Return the digits of each layer, of which the calibration then holds the network."""
        (start, layers), points = self._start(), self.calibration.points
        least = self.calibration.error(self.tensors)
        allowed = least + self.tolerance
        prices = [self._prices(*layer, least, allowed) for layer in zip(points, start, strict=True)]
        neurons = [layer.neurons * layer.parts for layer in layers]
        errors = {tuple(start): least}
        self._try_equal(start, allowed, errors)
        known = len(errors) - 1
        whole = budget = allowed**2 - least**2
        low, high = 0.0, math.inf
        for _ in range(_STEPS):
            digits = _bought(start, prices, neurons, budget)
            if digits not in errors:
                if len(errors) - known > (_ATTEMPTS if low > 0 else _MOST_ATTEMPTS):
                    break
                self.calibration.layers(digits, anything_fits, self.say)
                errors[digits] = self.calibration.error(self.tensors)
            spent = sum(price[number - 1] for price, number in zip(prices, digits, strict=True))
            added = errors[digits] ** 2 - least**2
            guess = spent * whole / added if added > 0 else 0.0
            if errors[digits] <= allowed:
                low, guess = budget, max(guess, _GROWTH * budget)
            else:
                high = spent
            budget = guess if guess < high else (low + high) / 2
        kept = [digits for digits, error in errors.items() if error <= allowed]
        return min(kept, key=lambda digits: sum(map(math.prod, zip(digits, neurons, strict=True))))

    def _try_equal(self, start: Sequence[int], allowed: float, errors: dict[tuple[int, ...], float]) -> None:
        """Note errors with as many digits for every layer, up to those it starts with; halve the range."""
        low, high = 0, max(start)
        while high - low > 1:
            number = (low + high) // 2
            digits = tuple(min(number, most) for most in start)
            self.calibration.layers(digits, anything_fits, self.say)
            errors[digits] = self.calibration.error(self.tensors)
            low, high = (low, number) if errors[digits] <= allowed else (number, high)
        self.calibration.layers(start, anything_fits, self.say)

    def _start(self) -> tuple[list[int], list[SpikingLayer]]:
        """Return the most digits with which each layer fits, and the layers made with these."""
        most = min(MOST_DIGITS, self.spec.strengths, self.spec.lanes)
        points = self.calibration.points
        layers, _, _ = self.calibration.layers([most] * len(points), anything_fits, self.say)
        start = []
        for point, layer in zip(points, layers, strict=True):
            number, tried = most, layer
            while number > 1 and self.fits(tried) is not None:
                number -= 1
                tried = self.calibration.made(point, number).layer
            start.append(most if self.fits(tried) is not None else number)
        made, _, _ = self.calibration.layers(start, anything_fits, self.say)
        return start, made

    def _prices(self, point: Point, most: int, least: float, allowed: float) -> list[float]:
        """Return what 1, 2, ... ``most`` digits of one layer alone add to the squared error.

        It is infinite beyond what is allowed. Few layers need more than half of the digits: the search begins
        there, and more digits are taken to cost as much as fewer that were tried.
        """
        prices = [math.inf] * (most - 1) + [0.0]
        middle = (most + 1) // 2
        for number in range(middle, 0, -1):
            prices[number - 1] = self._price(point, number, least, allowed)
            if prices[number - 1] == math.inf:
                break
        for number in range(middle + 1, most):
            before = prices[number - 2]
            known = before < math.inf
            prices[number - 1] = before if known else self._price(point, number, least, allowed)
        return [max(prices[at:]) if price < math.inf else price for at, price in enumerate(prices)]

    def _price(self, point: Point, number: int, least: float, allowed: float) -> float:
        self.say(f"trying {point.name} with {number} digits")
        error = self.calibration.error(self.tensors, self.calibration.made(point, number))
        return max(0.0, error**2 - least**2) if error <= allowed else math.inf


def _bought(
    start: Sequence[int], prices: Sequence[Sequence[float]], neurons: Sequence[int], budget: float
) -> tuple[int, ...]:
    """Return the digits of each layer after buying, as long as the budget lasts, what is cheapest a column.

    >>> _bought([2, 2], [[4.0, 0.0], [3.0, 0.0]], [10, 30], 3.5)
    (2, 1)
    """
    digits, spent = list(start), 0.0
    while True:
        best = max(_offers(digits, prices, neurons, budget - spent), default=None)
        if best is None:
            return tuple(digits)
        at, number = -best[2], best[3]
        spent += prices[at][number - 1] - prices[at][digits[at] - 1]
        digits[at] = number


def _offers(
    digits: Sequence[int], prices: Sequence[Sequence[float]], neurons: Sequence[int], left: float
) -> Iterator[tuple[float, int, int, int]]:
    """Yield what can be paid: columns for a price, columns, minus the layer, and its new digits."""
    for at, now in enumerate(digits):
        for number in range(1, now):
            saved = neurons[at] * (now - number)
            price = prices[at][number - 1] - prices[at][now - 1]
            if price <= left:
                yield saved / price if price > 0 else math.inf, saved, -at, number
