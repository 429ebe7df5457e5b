# SPDX-License-Identifier: Apache-2.0
"""An event scheduler alone: packets arrive, the banks swap, two blocks of neurons get the events."""

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
    """Four packets for two axons, and the events that they leave, handed out twice."""
    packets = [(9, 1), (3, 2), (3, 5), (9, -1)]
    rows: list[Row] = [{}]
    rows += [{"arrive": 1, "axon": axon, "payload": payload} for axon, payload in packets]
    rows += [{"swap": 1}, *[{"begin": 1}, *[{}] * 7] * 2]
    outputs = ["valid", "event", "value", "over", "delivered", "merged"]
    seen = play(EventScheduler(SPEC), rows, [*outputs, "arrive", "swap", "begin"], hold={"limit": 32})

    def lane(name: str) -> Lane:
        return bits(name, [cycle[name] for cycle in seen])

    arrived = [(f"{row['axon']}:{row['payload']}", SPIKE) if row.get("arrive") else None for row in rows]
    axons: list[Box | None] = [(str(c["event"]), PLAIN) if c["valid"] else None for c in seen]
    shown = [False, *(cycle["valid"] == 1 for cycle in seen)]
    values = [(str(c["value"]), PLAIN) if was else None for c, was in zip(seen, shown, strict=False)]
    lanes = [
        clock(len(rows)),
        ["packets", boxes("axon:payload", arrived, [True] * len(rows)), lane("delivered"), lane("merged")],
        lane("swap"),
        ["events", lane("begin"), lane("valid"), boxes("event", axons), boxes("value", values), lane("over")],
    ]
    return diagram(lanes, first=0, title="Four packets become two events, for each of two blocks")
