# SPDX-License-Identifier: Apache-2.0
"""Packets arrive where their rectangle says, and where the oracle's routers take them."""

import itertools

import numpy as np
import pytest

from mapping.layout.packet_path import GATEWAY, follow
from sim_tests.oracle.rules import E, L, N, S, W, wanted

Rectangle = tuple[int, int, int, int]

STEPS = {N: (0, -1, S), E: (1, 0, W), S: (0, 1, N), W: (-1, 0, E)}


def one(width: int, height: int, start: int, rectangle: Rectangle) -> tuple[list[int], int]:
    """Return where one packet arrives, sorted, and how many of its copies are sunk."""
    paths = follow(width, height, np.array([start]), np.array([rectangle]))
    assert not paths.packet.any()
    return paths.core.tolist(), int(paths.sunk[0])


def by_oracle(width: int, height: int, start: int, rectangle: Rectangle) -> tuple[list[int], int]:
    """Return the same, a flit at a time, by the oracle's rule for the outputs."""
    pending = [(W, 0, 0)] if start == GATEWAY else [(L, start % width, start // width)]
    arrivals: list[int] = []
    sunk = 0
    while pending:
        port, x, y = pending.pop()
        outputs = wanted(port, x, y, rectangle)
        sunk += not outputs
        for output in outputs:
            if output == L:
                arrivals.append(y * width + x)
                continue
            across, down, entry = STEPS[output]
            if output == S and (x, y) == (0, height - 1):
                arrivals.append(GATEWAY)
            elif 0 <= x + across < width and 0 <= y + down < height:
                pending.append((entry, x + across, y + down))
            else:
                sunk += 1
    return sorted(arrivals), sunk


@pytest.mark.parametrize("start", [GATEWAY, *range(12)])
def test_packet_reaches_the_cores_of_its_rectangle_once(start: int) -> None:
    width, height = 4, 3
    for x0, x1 in ((a, b) for a in range(width) for b in range(a, width)):
        for y0, y1 in ((a, b) for a in range(height) for b in range(a, height)):
            cores = [y * width + x for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)]
            assert one(width, height, start, (x0, x1, y0, y1)) == (cores, 0)


@pytest.mark.parametrize("start", range(12))
def test_packet_reaches_the_gateway(start: int) -> None:
    assert one(4, 3, start, (0, 0, 3, 3)) == ([GATEWAY], 0)


def test_packet_that_leaves_the_mesh_is_sunk() -> None:
    assert one(2, 2, 0, (1, 1, 0, 2)) == ([1, 3], 1)
    assert one(2, 2, GATEWAY, (1, 0, 0, 0)) == ([], 1)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (2, 4)])
def test_every_packet_ends_where_the_routers_of_the_oracle_take_it(width: int, height: int) -> None:
    spans = itertools.product(range(width), range(width), range(height + 1), range(height + 1))
    packets = [(start, span) for span in spans for start in range(GATEWAY, width * height)]
    starts, rectangles = np.array([start for start, _ in packets]), np.array([span for _, span in packets])
    paths = follow(width, height, starts, rectangles)
    ends = np.split(paths.core, np.searchsorted(paths.packet, np.arange(1, len(packets))))
    got = [(end.tolist(), int(sunk)) for end, sunk in zip(ends, paths.sunk, strict=True)]
    assert got == [by_oracle(width, height, *packet) for packet in packets]
    assert any(sunk for _, sunk in got)
