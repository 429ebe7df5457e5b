# SPDX-License-Identifier: Apache-2.0
"""Reset in mid-run: whatever a block did before, afterwards it does what a new one does.

Registers without reset keep what they hold, so these tests also show that nobody sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from emu.host import load_flits
from emu.spec import SystemSpec, preset
from emu.words import Kind, Section
from rtl.arbiter import RoundRobin
from rtl.component import Component
from rtl.control import ControlRegisters
from rtl.core import Neurocore
from rtl.events import EventScheduler
from rtl.fifo import Fifo
from rtl.gateway import Gateway
from rtl.program import Programmer
from rtl.router import PORTS, Router
from sim_tests.bench.block_player import Bench, Row, flit
from sim_tests.bench.core_player import point, spike
from sim_tests.generators.systems import make_core, make_system

SPEC = SystemSpec(core=preset("tiny"), width=3, height=3)
ROUNDS = 30
Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Case:
    """How to drive a block and what to look at.

    Parameters
    ----------
    build : makes the block.
    draw : one random row of inputs.
    watch : outputs, each with the output that says whether it has a meaning, or with nothing.
    opening : rows after reset that write what reset leaves.
    """

    build: Callable[[], Component]
    draw: Callable[[Rng], Row]
    watch: dict[str, str]
    opening: list[Row] = field(default_factory=list)
    after: int = 12


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


def gateway_row(rng: Rng) -> Row:
    row: dict[str, int] = {}
    for source, sink in (("host_i", "mesh_o"), ("mesh_i", "host_o")):
        row |= {f"{source}.valid": chance(rng, 0.7), f"{source}.payload": random_flit(rng)}
        row |= {f"{sink}.ready": chance(rng, 0.7)}
    return row


def events_row(rng: Rng) -> Row:
    """A packet, or a token: never both; nothing is scanned between two tokens that may come at once."""
    swap = chance(rng, 0.2)
    row = {"limit": 5, "swap": swap, "arrive": chance(rng, 0.6) * (1 - swap)}
    return row | {"axon": int(rng.integers(6)), "payload": int(rng.integers(-8, 8))}


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
    "arbiter": Case(build=lambda: RoundRobin(5), draw=arbiter_row, watch={"grant": "", "turn": ""}),
    "router": Case(build=lambda: Router(SPEC), draw=router_row, watch=port_watch(), after=30),
    "gateway": Case(build=lambda: Gateway(SPEC), draw=gateway_row, watch={"stimulus": "", "outputs": ""}),
    "events": Case(
        build=lambda: EventScheduler(SPEC),
        draw=events_row,
        watch=dict.fromkeys(("delivered", "merged", "refused"), ""),
    ),
    "programmer": Case(
        build=lambda: Programmer(SPEC),
        draw=programmer_row,
        watch=dict.fromkeys(("reading", "inspect.enable", "reply.valid", "program.strobe", "section"), ""),
        opening=[arrives(kind=packet["kind"], data=packet["data"]) for packet in point(Section.STATE, 0)],
    ),
    "control": Case(
        build=lambda: ControlRegisters(SPEC), draw=control_row, watch={"enable": "", "axons": ""}
    ),
}


def seen(case: Case, trace: list[dict[str, int]]) -> list[dict[str, int]]:
    """Return what has a meaning in every cycle."""
    return [{path: c[path] for path, valid in case.watch.items() if not valid or c[valid]} for c in trace]


def play(case: Case, rows: list[Row]) -> list[dict[str, int]]:
    return seen(case, Bench(case.build(), list(case.watch)).run(rows))


@pytest.mark.parametrize("name", CASES)
def test_block_is_as_new_after_reset(name: str, seed: int) -> None:
    case, rng = CASES[name], np.random.default_rng(seed)
    work = [*case.opening, *(case.draw(rng) for _ in range(case.after))]
    fresh = play(case, work)
    assert len({str(cycle) for cycle in fresh}) > 2
    rows: list[Row] = []
    ends = []
    for _ in range(ROUNDS):
        rows += [*(case.draw(rng) for _ in range(int(rng.integers(1, 12)))), {**case.draw(rng), "rst": 1}]
        rows += work
        ends.append(len(rows))
    dirty = play(case, rows)
    assert all(dirty[end - len(work) : end] == fresh for end in ends)


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
