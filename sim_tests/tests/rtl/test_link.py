# SPDX-License-Identifier: Apache-2.0
"""The link: every flit once, in order, in the cycle that links.md tells, whatever the neighbours do."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.component import Component
from rtl.link import LinkReceiver, LinkSender, beats
from sim_tests.bench.block_player import play

BITS = 12
"""Bits of a flit of these tests."""

LEAST = 2
"""Latency of a link without a register on its wires."""


class Link(Component):
    """A sender and a receiver, with registers on the wires between them."""

    def __init__(self, wires: int, depth: int, latency: int) -> None:
        self._latency = latency
        super().__init__({"i": In(stream.Signature(BITS)), "o": Out(stream.Signature(BITS))})
        self.sender, self.receiver = LinkSender(BITS, wires, depth), LinkReceiver(BITS, wires, depth)

    def elaborate(self, _: object) -> Module:
        m = Module()
        m.submodules.sender, m.submodules.receiver = self.sender, self.receiver
        wiring.connect(m, wiring.flipped(self.i), self.sender.i)
        wiring.connect(m, self.receiver.o, wiring.flipped(self.o))
        out, into = self.sender.link, self.receiver.link
        for name, source, sink in (("beat", out, into), ("strobe", out, into), ("credit", into, out)):
            signal = getattr(source, name)
            for place in range(self._latency - LEAST):
                later = type(signal).like(signal, name=f"{name}_{place}")
                m.d.sync += later.eq(signal)
                signal = later
            m.d.comb += getattr(sink, name).eq(signal)
        return m


@dataclass
class Reading:
    """The link as links.md reads: cycles only."""

    cycles: int
    depth: int
    latency: int
    free: int = 0
    credits: deque[int] = field(default_factory=deque)
    queue: deque[tuple[int, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.credits = deque([0] * self.depth)

    def ready(self, now: int) -> bool:
        """Rule 1."""
        return bool(self.credits) and self.credits[0] <= now and self.free <= now

    def take(self, now: int, flit: int) -> None:
        """Rules 2 and 3."""
        self.credits.popleft()
        self.free = now + self.cycles
        self.queue.append((now + self.cycles + self.latency - 1, flit))

    def offered(self, now: int) -> int | None:
        """Rule 3."""
        return self.queue[0][1] if self.queue and self.queue[0][0] <= now else None

    def passed(self, now: int) -> None:
        """Rule 4."""
        self.queue.popleft()
        self.credits.append(now + self.latency)


SIZES = [(1, 1, 2), (1, 2, 3), (3, 1, 4), (5, 2, 2), (5, 4, 6), (12, 1, 2), (12, 3, 2), (12, 8, 5), (4, 3, 2)]


@pytest.mark.parametrize(("wires", "depth", "latency"), SIZES)
@pytest.mark.parametrize(("offers", "takes"), [(1.0, 1.0), (0.4, 1.0), (1.0, 0.3), (0.6, 0.5)])
def test_link_keeps_to_the_page(
    wires: int, depth: int, latency: int, offers: float, takes: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        {"i.valid": int(v), "i.payload": int(p), "o.ready": int(r)}
        for v, p, r in zip(
            rng.random(600) < offers, rng.integers(0, 1 << BITS, 600), rng.random(600) < takes, strict=True
        )
    ]
    trace = play(Link(wires, depth, latency), rows, ["i.ready", "o.valid", "o.payload"])
    page, passed = Reading(beats(BITS, wires), depth, latency), 0
    for now, (row, seen) in enumerate(zip(rows, trace, strict=True)):
        offered = page.offered(now)
        assert (seen["i.ready"], seen["o.valid"]) == (page.ready(now), offered is not None), now
        if offered is not None:
            assert seen["o.payload"] == offered
            if row["o.ready"]:
                page.passed(now)
                passed += 1
        if row["i.valid"] and seen["i.ready"]:
            page.take(now, row["i.payload"])
    assert passed > 10


@pytest.mark.parametrize(("wires", "latency"), [(12, 2), (12, 5), (3, 2), (3, 6), (1, 4)])
def test_full_rate_needs_the_round_trip(wires: int, latency: int) -> None:
    cycles = beats(BITS, wires)
    depth = -(-(cycles + 2 * latency - 1) // cycles)
    rows = [{"i.valid": 1, "o.ready": 1}] * (40 * cycles)
    taken = [
        sum(seen["i.ready"] for seen in play(Link(wires, d, latency), rows, ["i.ready"]))
        for d in (depth, depth - 1)
    ]
    assert taken[0] == 40
    assert taken[1] < 40 or depth == 1
