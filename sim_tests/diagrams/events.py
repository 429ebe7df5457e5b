# SPDX-License-Identifier: Apache-2.0
"""An event scheduler alone: packets arrive, the banks swap, events are taken in the order of their axons."""

from __future__ import annotations

from typing import Any

from emu.spec import SystemSpec, preset
from rtl.events import EventScheduler
from sim_tests.bench.block_player import Row, play
from sim_tests.diagrams.lanes import COLOURS, Box, Lane, bits, boxes, clock, diagram

__all__ = ["scan"]

SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)
SPIKE, PLAIN = COLOURS["spike"], COLOURS["plain"]


def scan() -> dict[str, Any]:
    """Four packets for two axons, and the events that they leave."""
    packets = [(9, 1), (3, 2), (3, 5), (9, -1)]
    rows: list[Row] = [{}]
    rows += [{"arrive": 1, "axon": axon, "payload": payload} for axon, payload in packets]
    rows += [{"swap": 1}, *[{"take": 1, "done": 1}] * 2, {}]
    outputs = ["any", "event", "value", "delivered", "merged"]
    seen = play(EventScheduler(SPEC), rows, [*outputs, "arrive", "swap", "take", "done"], hold={"limit": 32})

    def lane(name: str) -> Lane:
        return bits(name, [cycle[name] for cycle in seen])

    arrived = [(f"{row['axon']}:{row['payload']}", SPIKE) if row.get("arrive") else None for row in rows]
    axons: list[Box | None] = [(str(c["event"]), PLAIN) if c["any"] else None for c in seen]
    taken = [False, *(cycle["take"] == 1 for cycle in seen)]
    values = [(str(c["value"]), PLAIN) if was else None for c, was in zip(seen, taken, strict=False)]
    lanes = [
        clock(len(rows)),
        ["packets", boxes("axon:payload", arrived, [True] * len(rows)), lane("delivered"), lane("merged")],
        lane("swap"),
        ["events", lane("any"), boxes("event", axons), lane("take"), lane("done"), boxes("value", values)],
    ]
    return diagram(lanes, first=0, title="Four packets become two events")
