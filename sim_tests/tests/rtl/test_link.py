# SPDX-License-Identifier: Apache-2.0
"""The link: every flit once, in order, in the cycle that links.md tells, whatever the neighbours do."""

import numpy as np
import pytest

from emu.links import LinkSpec
from rtl import link as hardware
from rtl.link import beats
from sim_tests.bench.block_player import play
from sim_tests.oracle.links import Link, SharedLink

BITS = 12
"""Bits of a flit of these tests."""

ENDS = (("i", "ready"), ("o", "valid"), ("o", "payload"))

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


SHARED = [
    # wires, depth, latency, lanes, lane bits
    (1, 1, 2, 2, 1),
    (3, 2, 4, 3, 2),
    (5, 1, 2, 5, 3),
    (13, 3, 2, 2, 1),
    (14, 1, 3, 1, 2),
    (12, 2, 2, 1, 0),
    (15, 8, 5, 8, 3),
]


@pytest.mark.parametrize(("wires", "depth", "latency", "lanes", "bits"), SHARED)
@pytest.mark.parametrize("busy", [(1.0, 1.0), (0.3, 1.0), (1.0, 0.2), (0.5, 0.4)])
def test_shared_link_keeps_to_the_page(  # noqa: PLR0917 - sizes of one link
    wires: int, depth: int, latency: int, lanes: int, bits: int, busy: tuple[float, float], seed: int
) -> None:
    rng, (offers, takes) = np.random.default_rng(seed), busy
    rows = [
        {f"i.{lane}.valid": int(rng.random() < offers) for lane in range(lanes)}
        | {f"i.{lane}.payload": int(rng.integers(1 << BITS)) for lane in range(lanes)}
        | {f"o.{lane}.ready": int(rng.random() < takes) for lane in range(lanes)}
        for _ in range(400)
    ]
    watch = [f"{name}.{lane}.{end}" for lane in range(lanes) for name, end in ENDS]
    link = hardware.SharedLink(BITS, wires, depth, latency, lanes=lanes, lane_bits=bits)
    page: SharedLink[int] = SharedLink(lanes, beats(BITS, wires, bits), latency, depth)
    passed = [0] * lanes
    for now, (row, seen) in enumerate(zip(rows, play(link, rows, watch), strict=True)):
        for number, lane in enumerate(page.lanes):
            offered = lane.offered(now)
            shown = seen[f"i.{number}.ready"], seen[f"o.{number}.valid"]
            assert shown == (lane.ready(now), offered is not None), (now, number)
            if offered is not None:
                assert seen[f"o.{number}.payload"] == offered
                if row[f"o.{number}.ready"]:
                    passed[number] += lane.pass_on(now) == offered
            if row[f"i.{number}.valid"] and shown[0]:
                lane.send(now, row[f"i.{number}.payload"])
        page.grant(now)
    assert min(passed) > 1


@pytest.mark.parametrize(
    ("lanes", "wires", "depth"), [(1, 13, 4), (2, 13, 1), (2, 5, 1), (4, 5, 2), (4, 1, 1)]
)
def test_bandwidth_of_a_shared_link_is_its_pace(lanes: int, wires: int, depth: int) -> None:
    """In the long run a link whose lanes never rest sends a flit every `LinkSpec.pace` cycles."""
    spec = LinkSpec(width=lanes, height=1, wires=wires, depth=depth, shared=True)
    link = hardware.SharedLink(BITS, wires, depth, spec.latency, lanes=lanes, lane_bits=spec.lane_bits)
    busy = {f"i.{lane}.valid": 1 for lane in range(lanes)} | {f"o.{lane}.ready": 1 for lane in range(lanes)}
    seen = play(link, [busy] * 640, [f"i.{lane}.ready" for lane in range(lanes)])
    taken = sum(sum(cycle.values()) for cycle in seen[160:])
    assert abs(taken * spec.pace(BITS, lanes) - 480) <= 2 * lanes * spec.beats(BITS)
