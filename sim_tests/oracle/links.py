# SPDX-License-Identifier: Apache-2.0
"""The naive oracle's link, as links.md reads."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Link"]

Flit = TypeVar("Flit")


class Link(Generic[Flit]):
    """A link of ``depth`` credits whose flits take ``beats`` cycles on the wires.

    ``now`` is any count of cycles that goes on by one each cycle.
    """

    def __init__(self, beats: int, latency: int, depth: int) -> None:
        self._beats, self._latency = beats, latency
        self._free = 0
        self._credits = deque([0] * depth)
        self._queue: deque[tuple[int, Flit]] = deque()

    def busy(self, now: int) -> bool:
        """Whether a flit or a credit is on its way."""
        return bool(self._queue) or self._free > now or any(credit > now for credit in self._credits)

    def ready(self, now: int) -> bool:
        """Rule 1: a credit is left, and no flit left in the n - 1 cycles before."""
        return bool(self._credits) and self._credits[0] <= now and self._free <= now

    def send(self, now: int, flit: Flit) -> None:
        """Rules 2 and 3: the flit takes a credit, and is offered when all its beats are over."""
        assert self.ready(now), "a flit must find its output ready"
        self._credits.popleft()
        self._free = now + self._beats
        self._queue.append((now + self._beats + self._latency - 1, flit))

    def offered(self, now: int) -> Flit | None:
        """Rule 3: the first flit, if its time has come."""
        return self._queue[0][1] if self._queue and self._queue[0][0] <= now else None

    def pass_on(self, now: int) -> Flit:
        """Rule 4: the remote input takes the first flit, whose credit goes back."""
        self._credits.append(now + self._latency)
        return self._queue.popleft()[1]
