# SPDX-License-Identifier: Apache-2.0
"""Play streams of flits into a hardware block, and read its streams as boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emu.spec import SystemSpec
from emu.words import Kind
from rtl.component import Component
from sim_tests.bench.block_player import Bench, Row, parse
from sim_tests.diagrams.lanes import COLOURS, Box, Lane, bits, boxes

__all__ = ["Offers", "Seen", "flit_box", "letter_box", "listen", "stream_lanes"]

Offers = Mapping[str, Sequence[tuple[int, int]]]
"""Stream -> its flits in order, each with the earliest cycle in which it is offered."""

Seen = list[dict[str, int]]
"""The watched signals of every cycle."""


def listen(
    component: Component,
    offers: Offers,
    *,
    cycles: int,
    hears: Sequence[str],
    watch: Sequence[str] = (),
    stalls: Mapping[str, Sequence[int]] | None = None,
    hold: Row | None = None,
) -> Seen:
    """Offer flits to a block, each until it is taken; return every cycle.

    Parameters
    ----------
    component : a block.
    offers : what its inputs are offered.
    cycles : how long.
    hears : its output streams, ready but for ``stalls``.
    watch : other signals to write down.
    stalls : output stream -> cycles in which it is not ready.
    hold : inputs that keep a value.
    """
    streams = [*offers, *hears]
    pins = [f"{stream}.{pin}" for stream in streams for pin in ("valid", "ready", "payload")]
    bench = Bench(component, [*pins, *watch], hold=hold)

    def rows() -> Iterator[Row]:
        waiting = {stream: list(flits) for stream, flits in offers.items()}
        for cycle in range(cycles):
            row = {f"{s}.ready": int(cycle not in (stalls or {}).get(s, ())) for s in hears}
            offered = [s for s, flits in waiting.items() if flits and flits[0][0] <= cycle]
            for stream in offered:
                row |= {f"{stream}.valid": 1, f"{stream}.payload": waiting[stream][0][1]}
            yield row
            for stream in offered:
                if bench.trace[cycle][f"{stream}.ready"]:
                    waiting[stream].pop(0)

    return bench.run(rows())


def flit_box(spec: SystemSpec, word: int) -> Box:
    """Return what a flit shows: ``axon:payload`` of a spike, else its kind.

    >>> from emu.spec import preset
    >>> flit_box(SystemSpec(core=preset("tiny"), width=1, height=1), 1)
    ('token', '5')
    """
    fields: dict[str, Any] = parse(spec, word)
    kind, data, axon_bits = fields["kind"], fields["data"], spec.core.flit_axon_bits
    if kind == Kind.SPIKE:
        return f"{data & (1 << axon_bits) - 1}:{data >> axon_bits}", COLOURS["spike"]
    if kind == Kind.TOKEN:
        return ("pause", COLOURS["pause"]) if data & 1 else ("token", COLOURS["token"])
    if kind == Kind.REPLY:
        return f"={data}", COLOURS["reply"]
    texts = {Kind.POINTER_HIGH: "high", Kind.POINTER_LOW: "low", Kind.WRITE: "write", Kind.READ: "read"}
    return texts[kind], COLOURS["control"]


def letter_box(spec: SystemSpec, word: int) -> Box:
    """Return what a flit shows where only its identity matters: a letter for its data, or its kind."""
    fields = parse(spec, word)
    letter = chr(ord("a") + fields["data"])
    return (letter, COLOURS["spike"]) if fields["kind"] == Kind.SPIKE else flit_box(spec, word)


def stream_lanes(
    spec: SystemSpec, seen: Seen, stream: str, name: str, *, ready: bool = True, letters: bool = False
) -> list[Lane]:
    """Return a stream as a lane of its flits, one box from offer to transfer, and a lane of ``ready``."""
    show = letter_box if letters else flit_box
    shown = [show(spec, c[f"{stream}.payload"]) if c[f"{stream}.valid"] else None for c in seen]
    lanes: list[Lane] = [boxes(name, shown, [c[f"{stream}.ready"] == 1 for c in seen])]
    if ready:
        lanes.append(bits(f"{name} ready", [c[f"{stream}.ready"] for c in seen]))
    return lanes
