# SPDX-License-Identifier: Apache-2.0
"""The link: every flit once, in order, in the cycle that links.md tells, whatever the neighbours do."""

import numpy as np
import pytest

from emu.links import LinkSpec
from rtl import link as hardware
from rtl.link import beats
from sim_tests.bench.block_player import play
from sim_tests.oracle.links import Link

BITS = 12
"""Bits of a flit of these tests."""

SIZES = [(1, 1, 2), (1, 2, 3), (3, 1, 4), (5, 2, 2), (5, 4, 6), (12, 1, 2), (12, 3, 2), (12, 8, 5), (4, 3, 2)]


@pytest.mark.parametrize(("wires", "depth", "latency"), SIZES)
@pytest.mark.parametrize("busy", [(1.0, 1.0), (0.4, 1.0), (1.0, 0.3), (0.6, 0.5)])
def test_link_keeps_to_the_page(
    wires: int, depth: int, latency: int, busy: tuple[float, float], seed: int
) -> None:
    rng, (offers, takes) = np.random.default_rng(seed), busy
    rows = [
        {"i.valid": int(v), "i.payload": int(p), "o.ready": int(r)}
        for v, p, r in zip(
            rng.random(600) < offers, rng.integers(0, 1 << BITS, 600), rng.random(600) < takes, strict=True
        )
    ]
    trace = play(hardware.Link(BITS, wires, depth, latency), rows, ["i.ready", "o.valid", "o.payload"])
    page: Link[int] = Link(beats(BITS, wires), latency, depth)
    passed = 0
    for now, (row, seen) in enumerate(zip(rows, trace, strict=True)):
        offered = page.offered(now)
        assert (seen["i.ready"], seen["o.valid"]) == (page.ready(now), offered is not None), now
        if offered is not None:
            assert seen["o.payload"] == offered
            if row["o.ready"]:
                assert page.pass_on(now) == seen["o.payload"]
                passed += 1
        if row["i.valid"] and seen["i.ready"]:
            page.send(now, row["i.payload"])
    assert passed > 10


@pytest.mark.parametrize(("wires", "latency"), [(12, 2), (12, 5), (3, 2), (3, 6), (1, 4)])
def test_full_rate_needs_the_round_trip(wires: int, latency: int) -> None:
    cycles = beats(BITS, wires)
    depth = -(-LinkSpec(width=1, height=1, wires=wires, latency=latency).round_trip(BITS) // cycles)
    rows = [{"i.valid": 1, "o.ready": 1}] * (40 * cycles)
    taken = [
        sum(seen["i.ready"] for seen in play(hardware.Link(BITS, wires, d, latency), rows, ["i.ready"]))
        for d in (depth, depth - 1)
    ]
    assert taken[0] == 40
    assert taken[1] < 40 or depth == 1
