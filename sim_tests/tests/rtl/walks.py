# SPDX-License-Identifier: Apache-2.0
"""Walks over the neurons of a program: what the oracle says of them, when, and what the hardware does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emu.bits import unpack, words_of
from emu.image import CoreImage
from emu.spec import SystemSpec, preset
from emu.words import RECTANGLE, STATE_FIELDS, Kind, Section, section_chunks, section_layout, spike_layout
from rtl.neuron import Walk
from sim_tests.bench.block_player import Bench, parse, program_rows
from sim_tests.generators.systems import make_core
from sim_tests.oracle.rules import Core

__all__ = [
    "FANOUT",
    "FILL",
    "HERE",
    "HIGH",
    "LADDER",
    "LOW",
    "NEVER",
    "PROGRAM",
    "SPEC",
    "Ready",
    "Seen",
    "Step",
    "always",
    "cycles",
    "entry",
    "one",
    "play",
    "predict",
    "states",
    "stored",
    "walk",
]

AFTER = 40
"""Cycles that are watched after the last walk: nothing may happen any more."""

SPEC = SystemSpec(core=preset("tiny"), width=2, height=2)
HIGH, LOW, NEVER = SPEC.core.potential_max, SPEC.core.potential_min, SPEC.core.never
FILL = SPEC.core.walk_fill
HERE = [0, 0, 0, 0, 0, True]
FANOUT = [[1, 1, 0, 0, 30, True], [0, 1, 0, 1, 4, False], [0, 0, 2, 2, 9, True], [1, 0, 1, 0, 40, True]]
LADDER = [0, 10 << SPEC.core.fraction_bits, 0, 0]
"""Thresholds at all multiples of ten."""

PROGRAM = (Section.NEURON, Section.PROFILE, Section.THRESHOLD, Section.FANOUT, Section.STATE)
COUNTED = ("spikes", "clipped", "compared", "visited")
WATCH = ["done", "stored", "neuron", "crossed", "stalled", "o.valid", "o.payload", *COUNTED]
Ready = Callable[[int], bool]


def always(_: int) -> bool:
    """Say that the router takes a packet in every cycle."""
    return True


@dataclass(frozen=True)
class Step:
    """What a step brings: the sums of each block's columns in use, and the cycles before each block.

    ``gaps`` are the cycles from the end of one walk to the last cycle before the next; 0 is none. In a step
    that does not integrate the sums may be any: they count as zero.
    """

    sums: Sequence[Sequence[int]]
    gaps: Sequence[int]


@dataclass
class Seen:
    """What happened, cycle by cycle; cycle 0 is the first after loading."""

    starts: list[tuple[int, int]] = field(default_factory=list)
    """Cycle e_b and block of every walk."""
    stored: list[tuple[int, int, int, tuple[int, ...]]] = field(default_factory=list)
    """Cycle, neuron, count and state of every visit."""
    packets: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Cycle in which a packet is taken; rectangle, axon, payload."""
    refused: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    state: list[tuple[int, ...]] = field(default_factory=list)
    """State of every neuron at the end."""


def pace(core: Core) -> tuple[int, int]:
    """Return K and G of a step (`docs/reference/cycles.md`)."""
    now = core.now()
    words = 0 if not now["fire"] else 1 if core.p["ladders"] else -(-now["threshold_count"] // 4)
    return core.k, max(words, 1)


def predict(program: CoreImage, spec: SystemSpec, steps: Sequence[Step], ready: Ready) -> Seen:
    """Return what the contract says of the walks of these steps."""
    core, seen, cycle = Core(0, program, spec.core), Seen(), 0
    for step in steps:
        core.step += 1
        core.sums = [s if core.now()["integrate"] else 0 for block in step.sums for s in block]
        for block in range(core.blocks if core.walks() else 0):
            cycle += step.gaps[block]
            seen.starts.append((cycle, block))
            cycle = _walk(core, seen, ready, block, cycle)
            seen.done.append(cycle)
        core.advance()
    names = ("spikes", "saturations", "thresholds", "neuron_updates")
    seen.counts = {name: core.counts[counter] for name, counter in zip(COUNTED, names, strict=True)}
    seen.state = list(zip(*(core.state[name] for name in STATE_FIELDS), strict=True))
    return seen


def _walk(core: Core, seen: Seen, ready: Ready, block: int, begin: int) -> int:
    """Walk over a block whose integration ends in cycle ``begin``; return the last cycle."""
    K, G = pace(core)
    at, taken = begin + core.spec.walk_fill + K + G - 2, -1
    first = block * core.block
    for i in range(first, min(first + core.block, core.neurons)):
        flits = core.visit(i)
        at += max(K, G) if i > first else 0
        cycle = at = max(at, taken + 1) if flits else at
        fired = core.spikes[-1:] if core.spikes and core.spikes[-1][:3] == (core.step - 1, 0, i) else []
        seen.stored.append((at, i, fired[0][3] if fired else 0, tuple(core.visits[-1][3:])))
        for flit in flits:
            while not ready(cycle):
                seen.refused.append(cycle)
                cycle += 1
            seen.packets.append((cycle, (*flit.rectangle, flit.axon, flit.payload)))
            taken, cycle = cycle, cycle + 1
    return max(at, taken)


def rows_of(program: CoreImage, spec: SystemSpec, steps: Sequence[Step], said: Seen) -> list[dict[str, int]]:
    """Return the inputs of every cycle: what a walk may read is there only while it may read it."""
    core = Core(0, program, spec.core)
    rows: list[dict[str, int]] = [{} for _ in range(max(said.done, default=0) + AFTER)]
    walks = iter(zip(said.starts, said.done, strict=True))
    for step in steps:
        entry = {f"entry.{f.name}": core.now()[f.name] for f in section_layout(spec, Section.SCHEDULE)}
        for _ in range(core.blocks if core.walks() else 0):
            (begin, block), end = next(walks)
            first = block * core.block
            size = min(core.block, core.neurons - first)
            rows[begin] |= {**entry, "start": 1, "first": first, "count": size}
            for cycle in range(begin + 1, end + 1):
                rows[cycle] |= entry | {f"sums.{lane}": s for lane, s in enumerate(step.sums[block])}
        core.advance()
    return rows


def play(program: CoreImage, spec: SystemSpec, steps: Sequence[Step], ready: Ready = always) -> Seen:
    """Return what the hardware does when it is started as `predict` says."""
    said = predict(program, spec, steps, ready)
    rows = rows_of(program, spec, steps, said)
    strengths = {f"strength.{d}": int(s) for d, s in enumerate(program.strengths)}
    hold = {"strengths": len(program.strengths), "ladder": int(program.is_ladder), **strengths}
    state = [f"state.{f.name}" for f in section_layout(spec, Section.STATE)]
    bench = Bench(Walk(spec), [*WATCH, *state, "inspect.chunk"], hold=hold)
    load = program_rows(program, spec, *PROGRAM)
    chunks = range(program.neurons * section_chunks(spec, Section.STATE))
    reads = [{"inspect.enable": 1, "inspect.section": Section.STATE, "inspect.address": a} for a in chunks]
    timed = [row | {"o.ready": int(ready(cycle))} for cycle, row in enumerate(rows)]
    trace = bench.run([*load, *timed, *reads, {}])
    seen = _seen(spec, trace[len(load) : len(load) + len(timed)], ready)
    shown = [cycle["inspect.chunk"] for cycle in trace[-len(reads) :]] if reads else []
    read = words_of(section_layout(spec, Section.STATE), shown)
    seen.state = [tuple(word.get(name, 0) for name in STATE_FIELDS) for word in read]
    seen.starts = said.starts
    quiet = [*trace[: len(load)], *trace[len(load) + len(timed) :]]
    assert not any(cycle["stored"] or cycle["o.valid"] or cycle["done"] for cycle in quiet)
    return seen


def _seen(spec: SystemSpec, trace: Sequence[dict[str, int]], ready: Ready) -> Seen:
    """Return what the signals of a walk say."""
    seen = Seen()
    for now, cycle in enumerate(trace):
        assert cycle["visited"] == cycle["stored"]
        assert cycle["stalled"] == (cycle["o.valid"] and not ready(now))
        for name in COUNTED:
            seen.counts[name] += cycle[name]
        if cycle["stored"]:
            state = tuple(cycle.get(f"state.{name}", 0) for name in STATE_FIELDS)
            seen.stored.append((now, cycle["neuron"], cycle["crossed"], state))
        if cycle["stalled"]:
            seen.refused.append(now)
        elif cycle["o.valid"]:
            seen.packets.append((now, _packet(spec, cycle["o.payload"])))
        if cycle["done"]:
            seen.done.append(now)
    return seen


def _packet(spec: SystemSpec, word: int) -> tuple[int, ...]:
    """Return rectangle, axon and payload of a spike."""
    fields = parse(spec, word)
    spike = unpack(spike_layout(spec), fields["data"])
    assert fields["kind"] == Kind.SPIKE
    return (*(fields[name] for name in RECTANGLE), spike["axon"], spike["payload"])


def walk(
    core: CoreImage, sums: Sequence[int] = (), ready: Ready = always, *, spec: SystemSpec = SPEC
) -> Seen:
    """Walk over the neurons once for each schedule entry, with the same sums of all columns in use."""
    k, size = len(core.strengths), core.neurons_per_block(spec) * len(core.strengths)
    columns = [*sums, *([0] * (core.neurons * k - len(sums)))]
    blocks = [columns[at : at + size] for at in range(0, len(columns), size)]
    steps = [Step(blocks, [1] * len(blocks)) for _ in range(len(core.schedule))]
    return play(core, spec, steps, ready)


def one(sums: Sequence[int] = (), **fields: Any) -> Seen:
    """Walk over one neuron of as many columns as strengths."""
    return walk(make_core([[0] * len(fields.get("strengths", [1]))], **fields), sums)


def entry(
    *,
    init: int = 0,
    update: int = 1,
    fire: int = 1,
    first: int = 0,
    count: int = 1,
    value: int = 0,
    emit: int = 1,
) -> list[list[int]]:
    """Return a schedule of one entry that integrates if it updates."""
    return [[1, init, update, update, fire, first, count, value, emit]]


def stored(seen: Seen) -> list[tuple[int, int]]:
    """Return potential and count of every visit."""
    return [(state[0], count) for _, _, count, state in seen.stored]


def states(seen: Seen) -> list[tuple[int, ...]]:
    """Return potential, current and refractory count of every visit."""
    return [state for *_, state in seen.stored]


def cycles(seen: Seen) -> list[int]:
    """Return the cycles in which neurons are stored, counted from the one in which the walk was started."""
    return [cycle - seen.starts[0][0] for cycle, *_ in seen.stored]
