# SPDX-License-Identifier: Apache-2.0
"""Play flits into a neurocore of its own and read what it did; `sim_tests.bench.block_player` underneath."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emu.bits import pack
from emu.host import load_flits
from emu.image import CoreImage
from emu.spec import CHUNK_BITS, SystemSpec, preset
from emu.words import CROSSED_BITS, POINTER, Activity, Kind, Section, counters_of
from rtl.core import Neurocore
from sim_tests.bench.block_player import Bench, Row, flit, parse
from sim_tests.generators.systems import make_core, make_system

__all__ = [
    "INTEGRATE",
    "PAUSE",
    "PAUSED",
    "SPEC",
    "STALL",
    "TOKEN",
    "UPDATE",
    "WAIT",
    "CoreBench",
    "activities",
    "beats",
    "control",
    "counters",
    "point",
    "read",
    "replies",
    "run",
    "spike",
    "taken",
    "two",
    "write",
]

SPEC = SystemSpec(core=preset("tiny"), width=1, height=2)
OBSERVED = [f"observe.{name}" for name in ("valid", "neuron", "potential", "count", "activity", "finished")]
WATCH = [*OBSERVED, "o.valid", "o.payload", "i.ready"]
INTEGRATE, UPDATE, STALL, WAIT, PAUSED = (int(a) for a in Activity)
TOKEN, PAUSE = {"kind": 1}, {"kind": 1, "data": 1}


def spike(axon: int, payload: int, spec: SystemSpec = SPEC) -> dict[str, int]:
    """Return a spike packet."""
    return {
        "kind": 0,
        "data": axon | (payload & ((1 << spec.core.payload_bits) - 1)) << spec.core.flit_axon_bits,
    }


def control(kind: Kind, data: int) -> dict[str, int]:
    """Return a control packet."""
    return {"kind": kind, "data": data}


def point(section: int, address: int) -> list[dict[str, int]]:
    """Return the packets that set the chunk pointer."""
    pointer = pack(POINTER, {"section": section, "address": address})
    low = (1 << CHUNK_BITS) - 1
    return [control(Kind.POINTER_HIGH, pointer >> CHUNK_BITS), control(Kind.POINTER_LOW, pointer & low)]


def read(section: int, address: int, chunks: int) -> list[dict[str, int]]:
    """Return the packets that read chunks."""
    return [*point(section, address), control(Kind.READ, chunks)]


def write(section: int, address: int, chunk: int) -> list[dict[str, int]]:
    """Return the packets that write one chunk."""
    return [*point(section, address), control(Kind.WRITE, chunk)]


class CoreBench:
    """A core with its program loaded; what it did since then."""

    def __init__(self, program: CoreImage | None = None, spec: SystemSpec = SPEC) -> None:
        self.spec = spec
        self.bench = Bench(Neurocore(spec), WATCH, hold={"o.ready": 1})
        image = make_system(spec, program, None)
        self.load = [*load_flits(image).tolist()] if program is not None else []

    def run(self, rows: Sequence[Row], idle: int = 40) -> list[dict[str, int]]:
        """Offer one row a cycle: fields of a flit, or ``o.ready`` and the like; then nothing for a while."""

        def play() -> Iterator[Row]:
            yield from [{}] * 3
            for word in self.load:
                yield {"i.valid": 1, "i.payload": word}
            yield {}
            for row in rows:
                pins = {name: value for name, value in row.items() if "." in name or name.endswith("s")}
                fields = {name: value for name, value in row.items() if name not in pins}
                yield pins | ({"i.valid": 1, "i.payload": flit(self.spec, **fields)} if fields else {})
            yield from [{}] * idle

        trace = self.bench.run(play())
        assert all(cycle["i.ready"] for cycle in trace)
        return trace[len(self.load) + 4 :]

    def sent(self, cycle: dict[str, int]) -> dict[str, int]:
        """Return the fields of the flit at the core's output."""
        return parse(self.spec, cycle["o.payload"])


def run(program: CoreImage | None, rows: Sequence[Row], spec: SystemSpec = SPEC) -> list[dict[str, int]]:
    """Return the cycles of a core with a program, from the first row on."""
    return CoreBench(program, spec).run(rows)


def activities(cycles: list[dict[str, int]]) -> list[int]:
    """Return what the core did from the cycle after the first token on, until its token was sent."""
    end = next((i for i, c in enumerate(cycles) if c["observe.finished"]), None)
    assert end is not None, "the step did not end"
    return [c["observe.activity"] for c in cycles[1 : end + 1]]


def replies(program: CoreImage | None, rows: Sequence[Row], spec: SystemSpec = SPEC) -> list[int]:
    """Return the chunks that a core replies."""
    cycles = [parse(spec, c["o.payload"]) for c in run(program, rows, spec) if c["o.valid"]]
    return [c["data"] for c in cycles if c["kind"] == Kind.REPLY]


def counters(program: CoreImage | None, rows: Sequence[Row]) -> dict[str, int]:
    """Return the counters after the rows, which begin with one cleared, and a while."""
    names = counters_of(SPEC)
    size = 4 * len(names)
    chunks = replies(program, [*rows, *[{}] * 60, *read(Section.COUNTER, 0, size), *[{}] * 3 * size])[-size:]
    return {name: sum(chunks[4 * i + p] << 16 * p for p in range(4)) for i, name in enumerate(names)}


def two(**fields: object) -> CoreImage:
    """Three axons, two neurons."""
    return make_core([[1, -1], [1, 1], [0, 1]], **fields)


def taken(cycles: Sequence[dict[str, int]], rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Return kind and data of every flit that left a core which had these inputs."""
    pins = [*rows, *[{}] * (len(cycles) - len(rows))]
    sent = [
        parse(SPEC, cycle["o.payload"])
        for cycle, row in zip(cycles, pins, strict=True)
        if cycle["o.valid"] and row.get("o.ready", 1)
    ]
    return [(flit["kind"], flit["data"]) for flit in sent]


def beats(cycles: list[dict[str, int]]) -> list[tuple[int, int, int]]:
    """Return neuron, potential and crossings of every neuron that was stored."""
    names = ("observe.neuron", "observe.potential", "observe.count")
    values = [tuple(c[name] for name in names) for c in cycles if c["observe.valid"]]
    return [(n, _signed(v, SPEC.core.potential_bits), _signed(c, CROSSED_BITS)) for n, v, c in values]


def _signed(value: int, bits: int) -> int:
    sign = 1 << (bits - 1)
    return (value ^ sign) - sign
