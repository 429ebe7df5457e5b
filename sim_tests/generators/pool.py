# SPDX-License-Identifier: Apache-2.0
"""The systems that random programs are drawn for: few, because a hardware build of each is kept.

Every pair of options of a core is present, absent and mixed in some of them.
"""

from __future__ import annotations

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.spec import PRESETS, CoreSpec, SystemSpec

__all__ = ["BLOCK", "DEEP", "DIGITS", "LEAST", "LONG", "PLAIN", "POOL", "RATE", "SEVERAL", "TINY", "WIDE"]

TINY = PRESETS["tiny"]

PLAIN = CoreSpec(
    axons=16,
    columns=8,
    lanes=8,
    payload_bits=3,
    potential_bits=8,
    strengths=1,
    thresholds=32,
    fanouts=32,
    schedule=6,
    profiles=4,
)
"""No option, and one block of columns."""

LONG = CoreSpec(
    axons=50,
    columns=32,
    lanes=8,
    payload_bits=9,
    potential_bits=32,
    strengths=1,
    thresholds=300,
    fanouts=48,
    schedule=6,
    max_extension=2,
    axon_shifts=True,
    decay=True,
    refractory_bits=2,
)
"""Axon ids that fill the flit, potentials wider than any drive, and 255 thresholds a step."""

DIGITS = CoreSpec(
    axons=24,
    columns=64,
    lanes=16,
    payload_bits=5,
    potential_bits=16,
    strengths=5,
    thresholds=64,
    fanouts=48,
    schedule=6,
    max_extension=4,
    ladder=True,
    signed_ladder=True,
    synaptic_current=True,
)
"""Up to five digits, which divide the lanes only sometimes."""

BLOCK = CoreSpec(
    axons=20,
    columns=32,
    lanes=32,
    payload_bits=4,
    potential_bits=10,
    strengths=1,
    thresholds=64,
    fanouts=48,
    schedule=6,
    sum_bits=14,
    axon_shifts=True,
    ladder=True,
    signed_ladder=True,
    refractory_bits=4,
)
"""One block of 32 lanes, wide sums, signed ladders without state of their own."""

WIDE = CoreSpec(
    axons=40,
    columns=64,
    lanes=16,
    payload_bits=5,
    potential_bits=9,
    strengths=3,
    thresholds=64,
    fanouts=48,
    schedule=6,
    synaptic_current=True,
    decay=True,
    refractory_bits=3,
)
"""Axons that are no power of two, and potentials and currents that saturate soon."""

LEAST = CoreSpec(
    axons=2,
    columns=8,
    lanes=8,
    payload_bits=2,
    potential_bits=8,
    strengths=1,
    thresholds=8,
    fanouts=8,
    schedule=2,
)
"""The least of nearly every size: what a chip needs to be a chip; not in `POOL`."""

DEEP = CoreSpec(
    axons=9,
    columns=64,
    lanes=8,
    payload_bits=6,
    potential_bits=24,
    strengths=4,
    thresholds=64,
    fanouts=48,
    schedule=6,
    max_extension=8,
    sum_bits=16,
    axon_shifts=True,
    ladder=True,
    decay=True,
)
"""A row that holds up to eight axons of one block each."""

RATE = CoreSpec(
    axons=32,
    columns=32,
    lanes=8,
    payload_bits=2,
    potential_bits=8,
    strengths=1,
    thresholds=32,
    fanouts=48,
    schedule=6,
    ladder=True,
    synaptic_current=True,
    refractory_bits=2,
)
"""The narrowest payload."""

POOL: tuple[SystemSpec, ...] = (
    SystemSpec(core=TINY, width=1, height=1),
    SystemSpec(core=TINY, width=2, height=2),
    SystemSpec(core=TINY, width=3, height=2),
    SystemSpec(
        core=TINY,
        width=3,
        height=3,
        gates=GateSpec(inlets=((0, "E"), (1, "W"), (2, "E")), outlets=(1, 2)),
    ),
    SystemSpec(core=PLAIN, width=2, height=1),
    SystemSpec(core=LONG, width=1, height=2),
    SystemSpec(core=DIGITS, width=2, height=2),
    SystemSpec(core=BLOCK, width=1, height=1),
    SystemSpec(core=WIDE, width=2, height=2),
    SystemSpec(core=DEEP, width=2, height=1),
    SystemSpec(core=RATE, width=1, height=2),
)
"""The systems that `random_system` draws from."""

SEVERAL: tuple[SystemSpec, ...] = (
    SystemSpec(core=TINY, width=2, height=2, links=LinkSpec(width=1, height=1, wires=7, depth=1)),
    SystemSpec(core=LONG, width=1, height=2, links=LinkSpec(width=1, height=1, wires=1, latency=3, depth=2)),
    SystemSpec(
        core=PLAIN,
        width=4,
        height=4,
        links=LinkSpec(width=2, height=2, wires=29, latency=5, depth=9),
        gates=GateSpec(inlets=((1, "W"), (3, "E")), outlets=(1, 2)),
    ),
    SystemSpec(
        core=TINY, width=2, height=2, links=LinkSpec(width=1, height=1, wires=8, depth=1, shared=True)
    ),
    SystemSpec(
        core=PLAIN,
        width=4,
        height=4,
        links=LinkSpec(width=2, height=2, wires=11, latency=3, depth=1, shared=True),
    ),
    SystemSpec(
        core=RATE,
        width=4,
        height=3,
        links=LinkSpec(width=2, height=3, wires=11, depth=2),
        dead=DeadSpec(cores=((1, 0), (0, 1)), ports=((1, 1, "E"), (3, 1, "S"), (0, 2, "E"))),
        gates=GateSpec(inlets=((2, "E"),), outlets=(3,)),
    ),
)
"""Systems of several chips: four of one core with links of the least depth, two joined by a single wire, four
of four cores at full rate with several inlets and outlets, four of one core and four of four whose sides
share links of the least depth, and two with dead cores, wires and a dead link."""
