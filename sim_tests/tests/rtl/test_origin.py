# SPDX-License-Identifier: Apache-2.0
"""A small chip far from the origin of a large mesh: its straps, and nothing else, tell it where it is."""

from collections.abc import Iterator, Sequence

import numpy as np

from emu.host import core_flits, read_request, spike_data
from emu.links import LinkSpec
from emu.spec import SystemSpec
from emu.topology import Port
from emu.words import RECTANGLE, Kind, Section
from rtl.chip import Chip
from sim_tests.bench.block_player import Bench, Row, flit, parse
from sim_tests.generators.pool import LEAST
from sim_tests.generators.systems import make_core

ACROSS, X, Y = 512, 500, 508
SIDES = (Port.N, Port.E, Port.S, Port.W)
WORD = SystemSpec(core=LEAST, width=ACROSS, height=ACROSS).flit_bits
FAR = SystemSpec(
    core=LEAST, width=ACROSS, height=ACROSS, links=LinkSpec(width=2, height=2, wires=WORD, depth=64)
)
"""Chips of 2 x 2 cores that send a flit in one beat; so many credits that none need come back."""

Entry = tuple[Port, int, int]
"""A side, the number of its link, and a flit."""


def spike(x0: int, x1: int, y0: int, y1: int, axon: int = 0) -> int:
    place = dict(zip(RECTANGLE, (x0, x1, y0, y1), strict=True))
    data = spike_data(FAR, np.array([axon]), np.array([1])).item()
    return flit(FAR, kind=Kind.SPIKE, data=data, **place)


def play(offers: Sequence[Entry], *, cycles: int = 60) -> list[tuple[Port, int, dict[str, int]]]:
    """Send flits into the chip at (500, 508) by its links, one a cycle; return what leaves, in order."""
    ends = [(side, number) for side in SIDES for number in range(2)]
    watch = [f"link_{side.name}_o.{number}.{pin}" for side, number in ends for pin in ("strobe", "beat")]
    bench = Bench(Chip(FAR, instances=False), watch, hold={"x": X, "y": Y, "joined": 0b1111})

    def rows() -> Iterator[Row]:
        for side, number, word in offers:
            pins = f"link_{side.name}_i.{number}"
            yield {f"{pins}.strobe": 1, f"{pins}.beat": word}
        yield from [{}] * cycles

    return [
        (side, number, parse(FAR, seen[f"link_{side.name}_o.{number}.beat"]))
        for seen in bench.run(rows())
        for side, number in ends
        if seen[f"link_{side.name}_o.{number}.strobe"]
    ]


def test_core_far_from_the_origin_tells_its_whole_place() -> None:
    """One core of each row; what they tell leaves by their own row, towards column 0."""
    asked: list[Entry] = []
    for x, y in ((X, Y), (X + 1, Y + 1)):
        request, chunks = read_request(FAR, y * ACROSS + x, Section.IDENTITY, 17)
        asked += [(Port.W, y - Y, word) for word in request.tolist()]
    told = play(asked, cycles=6 * chunks)
    for row in range(2):
        replies = [f for side, number, f in told if (side, number) == (Port.W, row)]
        assert [reply["data"] for reply in replies][-2:] == [X + row, Y + row]
        assert {(f["x0"], f["x1"], f["y0"], f["y1"]) for f in replies} == {(0, 0, ACROSS, ACROSS)}
    assert len(told) == 2 * chunks


def test_packets_pass_a_chip_by_coordinates_of_the_whole_mesh() -> None:
    """Low bits of these coordinates lie on the other side of the chip, or on it."""
    offers = [
        (Port.W, 0, spike(X + 6, X + 6, 0, 0)),  # 506: eastwards
        (Port.W, 1, spike(X, X, 255, 255)),  # up the first column
        (Port.W, 1, spike(X + 1, X + 1, ACROSS, ACROSS)),  # down the second, to the row of the gateway
        (Port.E, 0, spike(255, 255, Y, Y)),  # westwards
        (Port.E, 1, spike(X - 256, X - 256, Y + 1, Y + 1)),  # as far as the low bits of the first column
        (Port.N, 0, spike(0, ACROSS - 1, Y + 2, Y + 2)),  # it has turned already
        (Port.S, 1, spike(0, 0, Y - 1, Y - 1)),
    ]
    left = [(side, number, (f["x0"], f["y0"])) for side, number, f in play(offers)]
    assert sorted(left) == sorted([
        (Port.E, 0, (X + 6, 0)),
        (Port.N, 0, (X, 255)),
        (Port.S, 1, (X + 1, ACROSS)),
        (Port.W, 0, (255, Y)),
        (Port.W, 1, (X - 256, Y + 1)),
        (Port.S, 0, (0, Y + 2)),
        (Port.N, 1, (0, Y - 1)),
    ])  # fmt: skip


def test_step_of_a_chip_far_from_the_origin() -> None:
    """A core fires: across its row to both sides, and to its three neighbours, which send on to a corner."""
    row, block = [0, ACROSS - 1, Y + 1, Y + 1, 1, False], [X, X + 1, Y, Y + 1, 0, True]
    first = make_core([[0]], bias=[1], fanout=[row, block])
    rest = make_core([[1]], fanout=[[ACROSS - 1, ACROSS - 1, 0, 0, 1, True]])
    places = [((X + 1, X + 1, Y + 1, Y + 1), first), ((X, X, Y + 1, Y + 1), rest), ((X, X + 1, Y, Y), rest)]
    load = [
        (Port.W, place[2] - Y, word)
        for place, core in places
        for part in core_flits(FAR, place, core)
        for word in part.tolist()
    ]
    tokens = [(side, number, flit(FAR, kind=Kind.TOKEN)) for side in SIDES for number in range(2)]
    told = play([*load, *tokens, *tokens], cycles=200)
    left = [(side, number, f["x0"], f["y0"]) for side, number, f in told if f["kind"] == Kind.SPIKE]
    both = [(Port.E, 1, 0, Y + 1), (Port.W, 1, 0, Y + 1)]
    corner = [(Port.E, number, ACROSS - 1, 0) for number in (0, 0, 1)]
    assert sorted(left) == sorted([*both, *both, *corner])
