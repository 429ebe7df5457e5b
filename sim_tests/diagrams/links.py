# SPDX-License-Identifier: Apache-2.0
"""A link alone: three flits cross it, and the third waits for a credit (`docs/reference/links.md`)."""

from __future__ import annotations

from typing import Any

from emu.links import LinkSpec
from emu.spec import SystemSpec, preset
from emu.words import Kind
from rtl.layouts import flit_struct
from rtl.link import Link
from sim_tests.bench.block_player import flit, parse
from sim_tests.diagrams.lanes import COLOURS, Box, Lane, bits, boxes, clock, diagram
from sim_tests.diagrams.streams import Seen, letter_box, listen, stream_lanes

__all__ = ["crossing"]

LINKS = LinkSpec(width=1, height=1, wires=8, latency=2, depth=2)
SPEC = SystemSpec(core=preset("tiny"), width=2, height=1, links=LINKS)
WORDS = [flit(SPEC, kind=Kind.SPIKE, x0=1, x1=1, data=number) for number in range(3)]
PINS = "_way.i"
"""Of the link's sender, which are those of its receiver: at the least latency nothing lies between them."""


def crossing() -> dict[str, Any]:
    """Three flits of three beats, two credits, and a remote input that is full for four cycles."""
    shape = flit_struct(SPEC)
    pins = [f"{PINS}.{name}" for name in ("beat", "strobe", "credit")]
    seen = listen(
        Link(shape, LINKS.wires, LINKS.depth, LINKS.latency),
        {"i": [(cycle, word) for cycle, word in enumerate(WORDS)]},
        cycles=18,
        hears=["o"],
        watch=pins,
        stalls={"o": range(4, 8)},
    )

    def lane(name: str) -> Lane:
        return bits(name, [cycle[f"{PINS}.{name}"] for cycle in seen])

    lanes = [
        clock(len(seen)),
        ["output", *stream_lanes(SPEC, seen, "i", "flit", letters=True)],
        ["pins", lane("strobe"), boxes("beat", _beats(seen)), lane("credit")],
        ["input", *stream_lanes(SPEC, seen, "o", "offered", letters=True)],
    ]
    return diagram(lanes, first=0, title="Three flits cross a link of depth 2; the third waits for a credit")


def _beats(seen: Seen) -> list[Box | None]:
    """Return the beat of each cycle, named by its flit and its place there; each must be bits of the flit.

    Raises
    ------
    ValueError : a beat is not the next one of the flits in their order.
    """
    count, mask = LINKS.beats(SPEC.flit_bits), (1 << LINKS.wires) - 1
    coming = [(word, place) for word in WORDS for place in range(count)]
    shown: list[Box | None] = []
    for cycle, pins in enumerate(seen):
        if not pins[f"{PINS}.strobe"]:
            shown.append(None)
            continue
        word, place = coming.pop(0)
        wanted = word >> place * LINKS.wires & mask
        if pins[f"{PINS}.beat"] != wanted:
            raise ValueError(f"Beat {place} of flit {parse(SPEC, word)} must be {wanted} in cycle {cycle}.")
        shown.append((f"{letter_box(SPEC, word)[0]}{place}", COLOURS["spike"]))
    return shown
