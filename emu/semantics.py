# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the timestep as small pure functions: the rules of `docs/reference/machine.md`."""

from __future__ import annotations

from collections.abc import Sequence

from emu.words import Reset

__all__ = ["base_potential", "crossed", "emission", "reset_potential", "saturate"]


def saturate(value: int, low: int, high: int) -> tuple[int, int]:
    """Return ``value`` clipped to low..high, and 1 if it was clipped (rule 6).

    >>> saturate(9, -8, 7), saturate(-3, -8, 7)
    ((7, 1), (-3, 0))
    """
    clipped = min(max(value, low), high)
    return clipped, int(clipped != value)


def base_potential(potential: int, v0: int, *, init: bool, reset: Reset) -> int:
    """Return what the drive is added to (rule 6).

    >>> base_potential(5, 3, init=False, reset=Reset.CLEAR)
    0
    >>> base_potential(5, 3, init=True, reset=Reset.CLEAR)
    3
    """
    if init:
        return v0
    return 0 if reset == Reset.CLEAR else potential


def crossed(potential: int, thresholds: Sequence[int]) -> tuple[int, int]:
    """Return how many thresholds are crossed and the last crossed one, 0 if none (rule 7).

    >>> crossed(5, [1, 5, 6])
    (2, 5)
    """
    hit = [theta for theta in thresholds if potential >= theta]
    return len(hit), hit[-1] if hit else 0


def reset_potential(potential: int, last: int, reset: Reset, low: int, high: int) -> tuple[int, int]:
    """Return the potential after a neuron fired, and 1 if it was clipped (rule 7).

    >>> reset_potential(9, 4, Reset.SUBTRACT, -16, 15), reset_potential(9, 4, Reset.ZERO, -16, 15)
    ((5, 0), (0, 0))
    """
    if reset == Reset.SUBTRACT:
        return saturate(potential - last, low, high)
    return (0 if reset == Reset.ZERO else potential), 0


def emission(count: int, axon: int, *, count_emission: bool) -> list[tuple[int, int]]:
    """Return the (axon, payload) pairs that one fan-out entry sends (rule 8).

    >>> emission(2, 7, count_emission=True), emission(2, 7, count_emission=False)
    ([(7, 2)], [(7, 1), (8, 1)])
    """
    if count_emission:
        return [(axon, count)]
    return [(axon + copy, 1) for copy in range(count)]
