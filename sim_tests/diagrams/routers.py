# SPDX-License-Identifier: Apache-2.0
"""A router alone: arbitration, fork, and the token of a step (`docs/reference/network.md`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emu.spec import SystemSpec, preset
from emu.words import Kind
from rtl.router import Router
from sim_tests.bench.block_player import flit
from sim_tests.diagrams.lanes import Lane, clock, diagram
from sim_tests.diagrams.streams import listen, stream_lanes

__all__ = ["arbitration", "fork", "token"]

PORTS = "NESWL"
SPEC = SystemSpec(core=preset("tiny"), width=3, height=3)
SOUTH, LOCAL, FORK = (1, 1, 2, 2), (1, 1, 1, 1), (1, 2, 1, 2)

Ports = Mapping[str, Sequence[tuple[int, int]]]


def arbitration() -> dict[str, Any]:
    """Two inputs request one output, which is full for two cycles."""
    offers = {
        "E": [(cycle, _spike(SOUTH, letter)) for cycle, letter in enumerate("abc", 1)],
        "L": [(cycle, _spike(SOUTH, letter)) for cycle, letter in enumerate("xyz", 1)],
    }
    lanes = _play(offers, hears="S", stalls={"S": (4, 5)}, cycles=11)
    return diagram(lanes, first=0, title="Two inputs of a router request output S")


def fork() -> dict[str, Any]:
    """A packet for three outputs, one of them full, and a packet behind it."""
    offers = {"W": [(1, _spike(FORK, "a")), (2, _spike(LOCAL, "b"))]}
    lanes = _play(offers, hears="ESL", stalls={"E": (2, 3)}, cycles=8)
    return diagram(lanes, first=0, title="a forks to E, S and L; b goes to L")


def token() -> dict[str, Any]:
    """The tokens of three inputs, a packet of this step (a) and one of the next (b)."""
    word = flit(SPEC, kind=Kind.TOKEN)
    offers = {
        "W": [(1, word), (2, _spike(LOCAL, "b"))],
        "L": [(3, word)],
        "E": [(2, _spike(LOCAL, "a")), (5, word)],
    }
    lanes = _play(offers, hears="ESL", stalls={}, cycles=10, ready=False)
    return diagram(lanes, first=0, title="The tokens of W, L and E; b belongs to the next step")


def _spike(rectangle: tuple[int, int, int, int], letter: str) -> int:
    place = dict(zip(("x0", "x1", "y0", "y1"), rectangle, strict=True))
    return flit(SPEC, kind=Kind.SPIKE, data=ord(letter) - ord("a"), **place)


def _play(
    offers: Ports, *, hears: str, stalls: Mapping[str, Sequence[int]], cycles: int, ready: bool = True
) -> list[Lane]:
    """Return the lanes of router (1, 1) whose present ports are those that are named."""
    inputs = {f"i.{PORTS.index(port)}": flits for port, flits in offers.items()}
    outputs = {port: f"o.{PORTS.index(port)}" for port in hears}
    hold = {"x": 1, "y": 1, "present_in": _mask("".join(offers)), "present_out": _mask(hears)}
    seen = listen(
        Router(SPEC),
        inputs,
        cycles=cycles,
        hears=list(outputs.values()),
        stalls={outputs[port]: when for port, when in stalls.items()},
        hold=hold,
    )

    def group(title: str, ports: str, letter: str, which: str) -> Lane:
        shown: list[Lane] = []
        for port in ports:
            path = f"{letter}.{PORTS.index(port)}"
            shown += stream_lanes(SPEC, seen, path, port, ready=ready and port in which, letters=True)
        return [title, *shown]

    full = "".join(port for port in hears if stalls.get(port))
    return [clock(cycles), group("in", "".join(offers), "i", "".join(offers)), group("out", hears, "o", full)]


def _mask(ports: str) -> int:
    return sum(1 << PORTS.index(port) for port in ports)
