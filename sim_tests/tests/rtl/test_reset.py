# SPDX-License-Identifier: Apache-2.0
"""Reset in mid-run: whatever a block did before, afterwards it does what a new one does.

Registers without reset keep what they hold, so these tests also show that nobody sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal

from emu.host import load_flits
from emu.spec import SystemSpec, preset
from emu.words import Emission, Kind, Section
from rtl.arbiter import RoundRobin
from rtl.component import Component
from rtl.control import ControlRegisters
from rtl.core import Neurocore
from rtl.crossbar import Crossbar
from rtl.events import EventScheduler
from rtl.fifo import Fifo
from rtl.gateway import Gateway
from rtl.link import Link
from rtl.neuron import Walk
from rtl.program import Programmer
from rtl.router import PORTS, Router
from sim_tests.bench.block_player import Bench, Row, flit, program_rows
from sim_tests.bench.core_player import point, spike
from sim_tests.generators.systems import make_core, make_system
from sim_tests.tests.rtl.walks import PROGRAM

SPEC = SystemSpec(core=preset("tiny"), width=3, height=3)
ROUNDS = 30
Rng = np.random.Generator

WALK_ENTRY = {"init": 1, "update": 1, "fire": 1, "threshold_first": 0, "threshold_count": 6}
WALKED = make_core(
    [[1] * 5],
    bias=[5, 6, 7, 8, 9],
    thresholds=[1, 2, 3, 4, 5, 6, 7, 30],
    emission=Emission.COUNT,
    fanout=[[0, 0, 0, 0, 5, False], [0, 0, 1, 1, 6, True]],
    schedule=[[1, 1, 1, 1, 1, 0, 6]],
)
"""Five neurons that all fire and send two packets each."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """How to drive a block and what to look at.

    Parameters
    ----------
    build : makes the block.
    draw : one random row of inputs.
    watch : outputs, each with the output that says whether it has a meaning, or with nothing.
    opening : rows after reset that write what reset leaves.
    setup : rows at the very beginning: memories survive a reset.
    script : an episode of rows, if not as many drawn ones as ``after``.
    """

    build: Callable[[], Component]
    draw: Callable[[Rng], Row] = lambda _: {}
    watch: dict[str, str]
    opening: list[Row] = field(default_factory=list)
    after: int = 12
    setup: list[Row] = field(default_factory=list)
    hold: dict[str, int] = field(default_factory=dict)
    script: Callable[[Rng], list[Row]] | None = None

    def episode(self, rng: Rng) -> list[Row]:
        return self.script(rng) if self.script else [self.draw(rng) for _ in range(self.after)]


def chance(rng: Rng, share: float) -> int:
    return int(rng.random() < share)


def fifo_row(rng: Rng) -> Row:
    return {"i.valid": chance(rng, 0.6), "i.payload": int(rng.integers(256)), "o.ready": chance(rng, 0.4)}


def arbiter_row(rng: Rng) -> Row:
    return {"requests": int(rng.integers(32)), "advance": chance(rng, 0.6)}


def random_flit(rng: Rng) -> int:
    kind = rng.choice([Kind.SPIKE, Kind.TOKEN, Kind.REPLY], p=[0.5, 0.4, 0.1])
    (x0, x1), (y0, y1) = (sorted(rng.integers(0, 3, 2).tolist()) for _ in "xy")
    return flit(SPEC, kind=int(kind), x0=x0, x1=x1, y0=y0, y1=y1, data=int(rng.integers(1 << 16)))


def router_row(rng: Rng) -> Row:
    row: dict[str, int] = {"x": 1, "y": 1, "present_in": 31, "present_out": 31}
    for port in range(5):
        row |= {f"i.{port}.valid": chance(rng, 0.7), f"i.{port}.payload": random_flit(rng)}
        row |= {f"o.{port}.ready": chance(rng, 0.7)}
    return row


def at_all(kind: Kind) -> Row:
    """Offer a flit for everybody at every input; what a packet carries says where it came in."""
    ends = {"x1": SPEC.width - 1, "y1": SPEC.height - 1}
    flits = [flit(SPEC, kind=kind, data=port if kind == Kind.SPIKE else 0, **ends) for port in range(5)]
    return {f"i.{port}.valid": 1 for port in range(5)} | {
        f"i.{port}.payload": flits[port] for port in range(5)
    }


def router_script(rng: Rng) -> list[Row]:
    """Packets at all inputs show turns and what was served, step tokens what pauses; then anything."""
    opening = [at_all(Kind.SPIKE), at_all(Kind.TOKEN), {}, {}, {}, {}, {}]
    anything = [router_row(rng) for _ in range(30)]
    quiet = {path: 0 for path in anything[0] if path.startswith("i.")}
    return [{**anything[0], **quiet, **row} for row in opening] + anything


def gateway_row(rng: Rng) -> Row:
    row: dict[str, int] = {}
    for source, sink in (("host_i", "mesh_o"), ("mesh_i", "host_o")):
        row |= {f"{source}.valid": chance(rng, 0.7), f"{source}.payload": random_flit(rng)}
        row |= {f"{sink}.ready": chance(rng, 0.7)}
    return row


MANY = SystemSpec(core=replace(preset("tiny"), axons=256), width=1, height=1)
"""Axons for four presence words: the summary has several bits."""


def arrivals(rng: Rng, cycles: int) -> list[dict[str, int]]:
    """A packet in every other cycle, for few axons in different words, some beyond the limit."""
    axons = rng.choice([0, 1, 2, 70, 71, 130, 200, 201], cycles).tolist()
    payloads = rng.integers(-8, 8, cycles).tolist()
    return [
        {"limit": 201, "arrive": chance(rng, 0.6), "axon": axon, "payload": payload}
        for axon, payload in zip(axons, payloads, strict=True)
    ]


def events_script(rng: Rng) -> list[Row]:
    """Packets, a token, a scan that meets the packets of the next step: as a core has it, twice."""
    rows: list[Row] = []
    for _ in range(2):
        scan = arrivals(rng, 24)
        rows += [*arrivals(rng, int(rng.integers(1, 8))), {"swap": 1}, {**scan[0], "begin": 1}, *scan[1:]]
    return rows


def crossbar_script(rng: Rng) -> list[Row]:
    """Two blocks of events, the second one before the cells of the first are counted."""
    rows: list[Row] = []
    for count in rng.integers(1, 5, 2).tolist():
        rows += [
            {"begin": 1},
            *({"valid": 1, "event": e, "value": 3} for e in rng.integers(0, 4, count).tolist()),
        ]
        rows += [{"over": 1, "value": 3}, {}]
    return rows


def walk_script(rng: Rng) -> list[Row]:
    """A walk over all neurons against a router that often refuses, until it is over."""
    entry = {f"entry.{name}": value for name, value in WALK_ENTRY.items()}
    return [
        {
            **entry,
            **{f"sums.{lane}": int(lane) + 20 for lane in range(8)},
            "start": at == 3,
            "count": WALKED.neurons,
            "o.ready": int(at > 40) or chance(rng, 0.5),
        }
        for at in range(60)
    ]


def programmer_row(rng: Rng) -> Row:
    kind = int(rng.choice([Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.WRITE, Kind.READ]))
    row = {"arrive": chance(rng, 0.5), "kind": kind, "data": int(rng.integers(1, 4)) << 12 * (kind == 2)}
    return row | {"accepting": 1, "may_reply": chance(rng, 0.5), "reply.ready": chance(rng, 0.5)}


def control_row(rng: Rng) -> Row:
    place = {"program.section": Section.CONTROL, "program.address": int(rng.integers(2))}
    return place | {"program.strobe": chance(rng, 0.3), "program.chunk": int(rng.integers(1, 33))}


def arrives(**fields: int) -> Row:
    return {"arrive": 1, "accepting": 1, **fields}


def port_watch() -> dict[str, str]:
    watch = {f"o.{port}.valid": "" for port in range(5)} | {f"i.{port}.ready": "" for port in range(5)}
    return watch | {f"o.{port}.payload": f"o.{port}.valid" for port in range(5)} | {"errors": ""}


CASES = {
    "fifo": Case(
        build=lambda: Fifo(8),
        draw=fifo_row,
        watch={"i.ready": "", "o.valid": "", "o.payload": "o.valid"},
    ),
    "link": Case(
        build=lambda: Link(8, wires=3, depth=2, latency=3),
        draw=fifo_row,
        watch={"i.ready": "", "o.valid": "", "o.payload": "o.valid"},
    ),
    "arbiter": Case(build=lambda: RoundRobin(5), draw=arbiter_row, watch={"grant": "", "turn": ""}),
    "router": Case(build=lambda: Router(SPEC), script=router_script, watch=port_watch()),
    "gateway": Case(build=lambda: Gateway(SPEC), draw=gateway_row, watch={"stimulus": "", "outputs": ""}),
    "events": Case(
        build=lambda: EventScheduler(MANY),
        script=events_script,
        watch={
            **dict.fromkeys(("delivered", "merged", "refused", "valid", "over", "scans"), ""),
            "_scan.ports.0.enable": "",  # no memory is read when nobody asks
            "event": "valid",
        },
    ),
    "crossbar": Case(
        build=lambda: Crossbar(SPEC),
        setup=[
            {"program.strobe": 1, "program.section": Section.CROSSBAR, "program.address": 4 * axon, **cells}
            for axon, cells in enumerate([{"program.chunk": 0x5555}, {"program.chunk": 0xDDDD}] * 2)
        ],
        script=crossbar_script,
        watch={**{f"sum.{lane}": "done" for lane in range(8)}, "operations": "", "done": ""},
    ),
    "walk": Case(
        build=lambda: Walk(SPEC),
        setup=program_rows(WALKED, SPEC, *PROGRAM),
        hold={"strengths": 1, "strength.0": 1},
        script=walk_script,
        watch={
            **dict.fromkeys(("stored", "o.valid", "stalled", "spikes", "accessed"), ""),
            **dict.fromkeys(("neuron", "crossed", "state.potential"), "stored"),
            "o.payload": "o.valid",
        },
    ),
    "programmer": Case(
        build=lambda: Programmer(SPEC),
        draw=programmer_row,
        watch=dict.fromkeys(("reading", "inspect.0.enable", "reply.valid", "program.strobe", "section"), ""),
        opening=[arrives(kind=packet["kind"], data=packet["data"]) for packet in point(Section.STATE, 0)],
    ),
    "control": Case(
        build=lambda: ControlRegisters(SPEC), draw=control_row, watch={"enable": "", "axons": ""}
    ),
}


def seen(case: Case, trace: list[dict[str, int]]) -> list[dict[str, int]]:
    """Return what has a meaning in every cycle."""
    return [{path: c[path] for path, valid in case.watch.items() if not valid or c[valid]} for c in trace]


class Forgetful(ResetInserter):
    """Give all registers of a block a reset but one, and write their names down."""

    def __init__(self, reset: Signal, forgotten: int, names: list[str]) -> None:
        super().__init__(reset)
        self._forgotten, self._names = forgotten, names

    def _insert_control(self, fragment: Any, domain: Any, lhs_masks: Any) -> None:
        kept = SimpleNamespace(chunks=lambda: [c for c in lhs_masks.chunks() if self._resets(c[0])])
        super()._insert_control(fragment, domain, kept)  # type: ignore[misc]

    def _resets(self, register: Signal) -> bool:
        if not register.reset_less:
            self._names.append(register.name)
        return register.reset_less or len(self._names) != self._forgotten + 1


def play(
    case: Case, rows: list[Row], inserter: Callable[[Signal], Any] = ResetInserter
) -> list[dict[str, int]]:
    rows = [*case.setup, *rows]
    trace = Bench(case.build(), list(case.watch), hold=case.hold, inserter=inserter).run(rows)
    return seen(case, trace[len(case.setup) :])


def differs(
    case: Case, seed: int, fresh: list[dict[str, int]], inserter: Callable[[Signal], Any] = ResetInserter
) -> bool:
    """Whether a block that is reset in mid-run does something else than a new one."""
    rng = np.random.default_rng(seed)
    work, rows, ends = [*case.opening, *case.episode(rng)], [], []
    for place in range(max(ROUNDS, len(work))):
        dirt = case.episode(rng)
        cut = place % len(dirt)
        rows += [*dirt[:cut], {**dirt[cut], "rst": 1}, *work]
        ends.append(len(rows))
    dirty = play(case, rows, inserter)
    return any(dirty[end - len(work) : end] != fresh for end in ends)


def as_new(case: Case, seed: int) -> list[dict[str, int]]:
    """Return what a new block does in the episode that `differs` looks at."""
    return play(case, [*case.opening, *case.episode(np.random.default_rng(seed))])


@pytest.mark.parametrize("name", CASES)
def test_block_is_as_new_after_reset(name: str, seed: int) -> None:
    fresh = as_new(CASES[name], seed)
    assert len({str(cycle) for cycle in fresh}) > 2
    assert not differs(CASES[name], seed, fresh)


def unneeded(name: str, seed: int, step: int = 1) -> list[str]:
    """Return the registers of a block whose reset nothing shows; look at every ``step``-th one."""
    case, registers = CASES[name], list[str]()
    fresh = as_new(case, seed)
    play(case, [{}], lambda reset: Forgetful(reset, -1, registers))
    assert registers
    return [
        registers[number]
        for number in range(0, len(registers), step)
        if not differs(case, seed, fresh, partial(Forgetful, forgotten=number, names=[]))
    ]


LARGE = ("router", "events", "walk")
"""Blocks whose every register takes more than a minute together; the others take a second."""


@pytest.mark.parametrize("name", CASES)
def test_register_of_a_block_needs_its_reset(name: str, seed: int) -> None:
    """Without it a block that is reset in mid-run is not as new."""
    assert unneeded(name, seed, step=9 if name in LARGE else 1) == []


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_every_register_of_a_large_block_needs_its_reset(name: str, seed: int) -> None:
    assert unneeded(name, seed) == []


CORE = make_core(
    [[1, -1, 1] * 4, [1, 1, 1] * 4, [0, 1, 1] * 4, [1, 1, 0] * 4],
    strengths=[1],
    bias=1,
    thresholds=[1, 2],
    fanout=[[0, 0, 0, 0, 5, False], [0, 0, 1, 1, 6, True]],
    schedule=[[2, 0, 1, 1, 1, 0, 2], [1, 1, 1, 1, 1, 0, 1]],
)
CORE_SPEC = SystemSpec(core=preset("tiny"), width=1, height=2)
CORE_WATCH = {
    "o.valid": "",
    "o.payload": "o.valid",
    "observe.valid": "",
    "observe.activity": "",
    "observe.finished": "",
    **{f"observe.{name}": "observe.valid" for name in ("neuron", "potential", "count")},
}


def offer(**fields: int) -> Row:
    return {"i.valid": 1, "i.payload": flit(CORE_SPEC, **fields), "o.ready": 1}


def session(rng: Rng) -> list[Row]:
    """Spikes before the load, which are refused; load; three steps of spikes; pause; read counters."""
    ready: Row = {"o.ready": 1}
    load = load_flits(make_system(CORE_SPEC, CORE, None)).tolist()
    rows: list[Row] = [ready, ready, *(offer(**spike(axon, 3)) for axon in range(4)), ready]
    rows += [{"i.valid": 1, "i.payload": word, "o.ready": 1} for word in load]
    rows += [offer(**packet) for packet in (*point(Section.STATUS, 0), {"kind": Kind.READ, "data": 1})]
    rows += [ready] * 5
    for _ in range(3):
        rows += [offer(**spike(int(axon), int(rng.integers(1, 8)))) for axon in rng.integers(0, 4, 6)]
        rows += [offer(kind=1), *({"o.ready": chance(rng, 0.6)} for _ in range(150))]
    rows += [offer(kind=1, data=1), *[ready] * 6]
    rows += [offer(**packet) for packet in (*point(Section.COUNTER, 0), {"kind": Kind.READ, "data": 40})]
    return [*rows, *[ready] * 140]


def test_core_is_as_new_after_reset_at_any_moment(seed: int) -> None:
    """A reset finds a core that gets a token, right behind it, or anywhere."""
    case = Case(build=lambda: Neurocore(CORE_SPEC), draw=lambda _: {}, watch=CORE_WATCH)
    rng = np.random.default_rng(seed)
    work = session(rng)
    fresh = play(case, work)
    assert sum(cycle["observe.finished"] for cycle in fresh) == 5, "token after reset, three steps, pause"
    tokens = [at for at, row in enumerate(work) if row == offer(kind=Kind.TOKEN)]
    cuts = [at + later for at in tokens for later in (0, 1, 4)] + rng.integers(1, len(work), 9).tolist()
    for some in np.array_split(cuts, 3):
        rows = [row for cut in some for row in (*work[:cut], {**work[cut], "rst": 1}, *work)]
        dirty = play(case, rows)
        for end in np.cumsum(some + 1 + len(work)):
            assert dirty[end - len(work) : end] == fresh


def test_every_port_is_looked_at() -> None:
    assert all(f"o.{port}.payload" in CASES["router"].watch for port in range(len(PORTS)))
