# SPDX-License-Identifier: Apache-2.0
"""A neurocore alone: a step, a refused packet, and control packets (`docs/reference/cycles.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.bits import pack
from emu.host import load_flits, run_flits
from emu.image import CoreImage, SystemImage
from emu.spec import CHUNK_BITS, SystemSpec, preset
from emu.trace import Stimulus
from emu.words import POINTER, Activity, Kind, Section
from rtl.core import Neurocore
from sim_tests.bench.block_player import flit
from sim_tests.diagrams.lanes import COLOURS, Box, Lane, bits, boxes, clock, diagram, strip
from sim_tests.diagrams.recorder import record
from sim_tests.diagrams.streams import Seen, listen, stream_lanes
from sim_tests.generators.systems import make_core, make_stimulus, make_system

__all__ = ["agree", "control", "core_at_work", "refused", "step"]

SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)
OBSERVED = [f"observe.{name}" for name in ("valid", "potential", "activity", "finished")]
TOKEN, PAUSE = flit(SPEC, kind=Kind.TOKEN), flit(SPEC, kind=Kind.TOKEN, data=1)
PLAIN, BUSY = COLOURS["plain"], "9"
PHASE: dict[str, Box] = {"p": ("paused", PLAIN), "w": ("WAIT", PLAIN), "I": ("INTEGRATE", BUSY)}
PHASE |= {"W": ("WALK", "6"), "N": ("N", "6"), "E": ("E", "3"), "T": ("T", "5")}
ACTIVITY: dict[int, Box] = {
    Activity.INTEGRATE: ("integrate", BUSY),
    Activity.UPDATE: ("update", "6"),
    Activity.SEND_STALL: ("send-stall", "8"),
    Activity.TOKEN_WAIT: ("token-wait", PLAIN),
    Activity.PAUSED: ("paused", PLAIN),
}


def core_at_work() -> tuple[SystemImage, Stimulus]:
    """Return the core with which `docs/reference/machine.md` and `cycles.md` begin."""
    core = make_core([[1], [1]], thresholds=[4], fanout=[[0, 0, 1, 1, 7, True]])
    packets = [(0, 0, 0, 0, 0, 0, 3), (0, 0, 0, 0, 0, 1, 2), (2, 0, 0, 0, 0, 1, 7)]
    return make_system(SPEC, core), make_stimulus(3, packets)


def step() -> dict[str, Any]:
    """One step from token to token: phases of the oracle, everything else from the hardware."""
    image, stimulus = core_at_work()
    first, cycles, next_token = -2, 33, 27
    words, at = run_flits(SPEC, stimulus)
    spikes = [(first + 1 + place, int(words[place])) for place in range(at)]
    seen = _core(image.cores[0], [*spikes, (2, TOKEN), (next_token, TOKEN)], first=first, cycles=cycles)
    phases = "p" * -first + record(image, stimulus)[0]["core 0"][: cycles + first]
    agree(phases, [cycle["observe.activity"] for cycle in seen])
    lanes = [
        clock(cycles),
        ["in", *stream_lanes(SPEC, seen, "i", "i", ready=False)],
        strip("phase", phases, PHASE),
        ["observe", _activity(seen), *_stored(seen)],
        ["out", *stream_lanes(SPEC, seen, "o", "o")],
        bits("finished", [cycle["observe.finished"] for cycle in seen]),
    ]
    return diagram(lanes, first=first, title="One step of a core, from token to token")


def refused() -> dict[str, Any]:
    """A neuron sends four packets and the core its token; the router refuses two of the five flits."""
    core = make_core(
        [[0]], reset=0, thresholds=[0] * 4, schedule=[[1, 0, 0, 1, 1, 0, 4]], fanout=[[0, 0, 1, 1, 4, True]]
    )
    seen = _core(core, [(1, TOKEN)], first=0, cycles=28, stalls=(18, 19, 22, 23))
    lanes = [
        clock(28),
        ["in", *stream_lanes(SPEC, seen, "i", "i", ready=False)],
        ["observe", _activity(seen), *_stored(seen)],
        ["out", *stream_lanes(SPEC, seen, "o", "o")],
        bits("finished", [cycle["observe.finished"] for cycle in seen]),
    ]
    return diagram(lanes, first=0, title="The router refuses a packet and the token, for two cycles each")


def control() -> dict[str, Any]:
    """A pause token, a write of a state word, and its read-back while the output is refused once."""
    high = pack(POINTER, {"section": Section.STATE, "address": 0}) >> CHUNK_BITS
    kinds = [(Kind.POINTER_HIGH, high), (Kind.POINTER_LOW, 0), (Kind.WRITE, 5), (Kind.WRITE, 9)]
    kinds += [(Kind.POINTER_LOW, 0), (Kind.READ, 2)]
    words = [flit(SPEC, kind=kind, data=data) for kind, data in kinds]
    offers = [(1, PAUSE), *((3 + place, word) for place, word in enumerate(words))]
    seen = _core(None, offers, first=0, cycles=18, stalls=(14,), running=True)
    lanes = [
        clock(18),
        ["in", *stream_lanes(SPEC, seen, "i", "i", ready=False)],
        _activity(seen),
        ["out", *stream_lanes(SPEC, seen, "o", "o")],
    ]
    return diagram(lanes, first=0, title="Pause, write the two chunks of a state word, read them back")


def agree(phases: str, activities: Sequence[int]) -> None:
    """Check that the phases of the oracle are what the hardware does.

    Raises
    ------
    ValueError : naming the first cycle in which they are not.
    """
    letters = {Activity.INTEGRATE: "I", Activity.UPDATE: "WNE", Activity.TOKEN_WAIT: "wT"}
    letters |= {Activity.SEND_STALL: "ET", Activity.PAUSED: "p"}
    for cycle, (phase, activity) in enumerate(zip(phases, activities, strict=True)):
        if phase not in letters[Activity(activity)]:
            raise ValueError(f"Cycle {cycle} must be a cycle of phase {phase}, not of activity {activity}.")


def _core(
    core: CoreImage | None,
    offers: Sequence[tuple[int, int]],
    *,
    first: int,
    cycles: int,
    stalls: Sequence[int] = (),
    running: bool = False,
) -> Seen:
    """Load a core, end its pause with an empty step if asked, and return its cycles from ``first`` on."""
    load = load_flits(make_system(SPEC, core)).tolist()
    zero = len(load) + 20 - first
    before = [*enumerate(load), *([(len(load) + 5, TOKEN)] if running else [])]
    seen = listen(
        Neurocore(SPEC),
        {"i": [*before, *((zero + cycle, word) for cycle, word in offers)]},
        cycles=zero + first + cycles,
        hears=["o"],
        watch=OBSERVED,
        stalls={"o": [zero + cycle for cycle in stalls]},
    )
    return seen[zero + first :]


def _activity(seen: Seen) -> Lane:
    return boxes("activity", [ACTIVITY[cycle["observe.activity"]] for cycle in seen])


def _stored(seen: Seen) -> list[Lane]:
    """Return when a neuron is stored, and its potential."""
    valid = [cycle["observe.valid"] for cycle in seen]
    shown = [(f"V={c['observe.potential']}", PLAIN) if c["observe.valid"] else None for c in seen]
    return [bits("valid", valid), boxes("potential", shown)]
