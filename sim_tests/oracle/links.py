# SPDX-License-Identifier: Apache-2.0
"""The naive oracle's link, as links.md reads."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Lane", "Link", "SharedLink"]

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


class SharedLink(Generic[Flit]):
    """A link with lanes, which take turns on its wires (links.md, "Links shared by a side").

    `grant` is said once a cycle, after all that is sent in it.
    """

    def __init__(self, lanes: int, beats: int, latency: int, depth: int) -> None:
        self.beats, self.latency, self.free, self.turn = beats, latency, 0, 0
        self.lanes: list[Lane[Flit]] = [Lane(self, depth) for _ in range(lanes)]

    def grant(self, now: int) -> None:
        """Rule 3: with no grant in the n - 1 cycles before, the first lane from the turn on that can go."""
        if self.free > now:
            return
        order = [(self.turn + place) % len(self.lanes) for place in range(len(self.lanes))]
        able = [number for number in order if self.lanes[number].can_go(now)]
        if able:
            self.lanes[able[0]].go(now)
            self.free, self.turn = now + self.beats, (able[0] + 1) % len(self.lanes)


class Lane(Generic[Flit]):
    """A lane of a shared link: a place for one flit, credits, and what is on its way."""

    def __init__(self, link: SharedLink[Flit], depth: int) -> None:
        self._link = link
        self._place: tuple[int, Flit] | None = None
        self._credits = deque([0] * depth)
        self._queue: deque[tuple[int, Flit]] = deque()

    def busy(self, now: int) -> bool:
        """Whether a flit or a credit is on its way."""
        moves = bool(self._queue) or self._place is not None or self._link.free > now
        return moves or any(credit > now for credit in self._credits)

    def ready(self, _: int) -> bool:
        """Rule 1: the place is empty at the start of the cycle."""
        return self._place is None

    def send(self, now: int, flit: Flit) -> None:
        """Rule 2: the flit is in the place from the next cycle on."""
        assert self.ready(now), "a flit must find its output ready"
        self._place = now, flit

    def can_go(self, now: int) -> bool:
        """Rule 3: the place holds a flit since an earlier cycle, and a credit is left."""
        held = self._place is not None and self._place[0] < now
        return held and bool(self._credits) and self._credits[0] <= now

    def go(self, now: int) -> None:
        """Rules 3 and 4: the flit takes a credit, and is offered when all its beats are over."""
        assert self._place is not None, "a flit must be there to go"
        self._credits.popleft()
        self._queue.append((now + self._link.beats + self._link.latency - 1, self._place[1]))
        self._place = None

    def offered(self, now: int) -> Flit | None:
        """Rule 4: the first flit, if its time has come."""
        return self._queue[0][1] if self._queue and self._queue[0][0] <= now else None

    def pass_on(self, now: int) -> Flit:
        """Rule 5: the remote input takes the first flit, whose credit goes back."""
        self._credits.append(now + self._link.latency)
        return self._queue.popleft()[1]
