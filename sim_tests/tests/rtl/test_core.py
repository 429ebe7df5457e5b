# SPDX-License-Identifier: Apache-2.0
"""The neurocore alone: what it sends, when, and what it answers."""

from collections.abc import Iterator, Sequence

import pytest

from emu.host import load_flits
from emu.image import CoreImage
from emu.spec import SystemSpec, preset
from emu.words import COUNTERS, Activity, Control, ErrorCause, Kind, Section
from rtl.core import ControlRegisters, Neurocore
from sim_tests.bench.block_player import Bench, Row, flit, parse, play
from sim_tests.generators.systems import WIDE, make_core, make_system

SPEC = SystemSpec(core=preset("tiny"), width=1, height=2)
BROAD = SystemSpec(core=WIDE, width=1, height=2)
OBSERVED = [f"observe.{name}" for name in ("valid", "neuron", "potential", "count", "activity", "finished")]
WATCH = [*OBSERVED, "o.valid", "o.payload", "i.ready"]
INTEGRATE, UPDATE, STALL, WAIT, PAUSED = (int(a) for a in Activity)
TOKEN, PAUSE = {"kind": 1}, {"kind": 1, "data": 1}
HERE = [0, 0, 0, 0, 5, True]


def spike(axon: int, payload: int, spec: SystemSpec = SPEC) -> dict[str, int]:
    return {
        "kind": 0,
        "data": axon | (payload & ((1 << spec.core.payload_bits) - 1)) << spec.core.flit_axon_bits,
    }


def control(kind: Kind, data: int) -> dict[str, int]:
    return {"kind": kind, "data": data}


def point(section: int, address: int) -> list[dict[str, int]]:
    pointer = section << 28 | address
    return [control(Kind.POINTER_HIGH, pointer >> 16), control(Kind.POINTER_LOW, pointer & 0xFFFF)]


def read(section: int, address: int, chunks: int) -> list[dict[str, int]]:
    return [*point(section, address), control(Kind.READ, chunks)]


def write(section: int, address: int, chunk: int) -> list[dict[str, int]]:
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
        return parse(self.spec, cycle["o.payload"])


def run(program: CoreImage | None, rows: Sequence[Row], spec: SystemSpec = SPEC) -> list[dict[str, int]]:
    return CoreBench(program, spec).run(rows)


def activities(cycles: list[dict[str, int]]) -> list[int]:
    """Return what the core did from the cycle after the first token on, until its token was sent."""
    end = next((i for i, c in enumerate(cycles) if c["observe.finished"]), None)
    assert end is not None, "the step did not end"
    return [c["observe.activity"] for c in cycles[1 : end + 1]]


def replies(program: CoreImage | None, rows: Sequence[Row], spec: SystemSpec = SPEC) -> list[int]:
    cycles = [parse(spec, c["o.payload"]) for c in run(program, rows, spec) if c["o.valid"]]
    return [c["data"] for c in cycles if c["kind"] == Kind.REPLY]


def counters(program: CoreImage | None, rows: Sequence[Row]) -> dict[str, int]:
    """Return the counters after the rows, which begin with one cleared, and a while."""
    chunks = replies(program, [*rows, *[{}] * 60, *read(Section.COUNTER, 0, 64), *[{}] * 130])[-64:]
    return {name: sum(chunks[4 * i + p] << 16 * p for p in range(4)) for i, name in enumerate(COUNTERS)}


def two(**fields: object) -> CoreImage:
    """Three axons, two neurons."""
    return make_core([[1, -1], [1, 1], [0, 1]], **fields)


def test_core_sends_its_token_after_reset_and_is_paused() -> None:
    cycles = CoreBench().bench.run([{"o.ready": 0}, {"o.ready": 0}, {}, {}, {}])
    assert [c["o.valid"] for c in cycles] == [1, 1, 1, 0, 0]
    assert parse(SPEC, cycles[0]["o.payload"])["kind"] == Kind.TOKEN
    assert [c["observe.activity"] for c in cycles] == [PAUSED] * 5
    assert [c["observe.finished"] for c in cycles] == [0, 0, 1, 0, 0]


def test_step_takes_the_documented_cycles() -> None:
    program = two(schedule=[[1, 0, 1, 1, 1, 0, 1]], thresholds=[5])
    cycles = run(program, [spike(0, 2), spike(2, 3), TOKEN])[2:]
    integrate, neuron = [INTEGRATE] * (2 * 1 + 1), [UPDATE] * (1 + 1 + 3)
    assert activities(cycles) == [PAUSED, *integrate, *neuron, *neuron, WAIT]


def test_later_step_waits_as_token_wait() -> None:
    cycles = run(two(schedule=[[1, 0, 1, 0, 0, 0, 0]]), [TOKEN, *[{}] * 6, TOKEN])
    assert [c["observe.activity"] for c in cycles[:12]] == [
        PAUSED,
        PAUSED,
        INTEGRATE,
        *[WAIT] * 6,
        INTEGRATE,
        WAIT,
        WAIT,
    ]
    assert [i for i, c in enumerate(cycles) if c["observe.finished"]] == [3, 10]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ([1, 0, 1, 1, 0, 0, 0], [INTEGRATE] * 2 + [UPDATE] * 8),
        ([1, 0, 0, 1, 0, 0, 0], [UPDATE] * 8),
        ([1, 1, 0, 0, 0, 0, 0], [UPDATE] * 8),
        ([1, 0, 0, 0, 1, 0, 2], [UPDATE] * 12),
        ([1, 0, 1, 0, 0, 0, 0], [INTEGRATE] * 2),
        ([1, 0, 0, 0, 0, 0, 0], []),
    ],
)
def test_phases_follow_the_entry(schedule: list[int], expected: list[int]) -> None:
    program = two(schedule=[schedule], thresholds=[90, 90])
    assert activities(run(program, [spike(1, 1), TOKEN])[1:]) == [PAUSED, *expected, WAIT]


def test_step_of_a_core_without_neurons_integrates_one_cycle_an_axon() -> None:
    program = make_core([[]] * 4, strengths=[1])
    cycles = run(program, [spike(1, 1), spike(2, 1), TOKEN])[2:]
    assert activities(cycles) == [PAUSED, *[INTEGRATE] * 3, WAIT]


def test_disabled_core_passes_the_token_on() -> None:
    assert activities(run(None, [spike(0, 1), TOKEN])[1:]) == [PAUSED, WAIT]
    program = two()
    disabled = [*write(Section.CONTROL, Control.ENABLE, 0), spike(0, 1), TOKEN]
    assert activities(run(program, disabled)[4:]) == [PAUSED, WAIT]


def beats(cycles: list[dict[str, int]]) -> list[tuple[int, int, int]]:
    names = ("observe.neuron", "observe.potential", "observe.count")
    sign = 1 << (SPEC.core.potential_bits - 1)
    values = [tuple(c[name] for name in names) for c in cycles if c["observe.valid"]]
    return [(n, (v & (2 * sign - 1) ^ sign) - sign, count) for n, v, count in values]


def test_step_computes_drive_and_spikes() -> None:
    program = two(bias=[1, 10], thresholds=[5], fanout=[HERE], connected=[True, False])
    cycles = run(program, [spike(0, 2), spike(2, 3), spike(1, 4), TOKEN])
    assert beats(cycles) == [(0, 7 - 5, 1), (1, -2 + 3 + 4 + 10 - 5, 1)]
    sent = [parse(SPEC, c["o.payload"]) for c in cycles if c["o.valid"]]
    assert [(s["kind"], s["data"]) for s in sent] == [(0, 5 | 1 << 12), (1, 0)]


def test_sums_and_events_do_not_stay_for_the_next_step() -> None:
    program = two(reset=0, thresholds=[99])
    cycles = run(program, [spike(0, 2), TOKEN, *[{}] * 20, spike(2, 1), TOKEN, *[{}] * 20, TOKEN])
    assert [b[1] for b in beats(cycles)] == [2, -2, 0, 1, 0, 0]


def test_events_of_a_step_without_integrate_are_discarded() -> None:
    program = two(reset=0, thresholds=[99], schedule=[[1, 0, 0, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0, 0]])
    cycles = run(
        program, [spike(0, 2), TOKEN, *[{}] * 20, TOKEN, *[{}] * 20, spike(0, 3), TOKEN, *[{}] * 20, TOKEN]
    )
    assert [b[1] for b in beats(cycles)] == [0] * 8


def test_events_of_a_disabled_core_are_discarded() -> None:
    program = two(reset=0, thresholds=[99])
    enable = write(Section.CONTROL, Control.ENABLE, 1)
    rows = [
        *write(Section.CONTROL, Control.ENABLE, 0),
        spike(0, 2),
        TOKEN,
        *[{}] * 9,
        TOKEN,
        *[{}] * 9,
        PAUSE,
    ]
    cycles = run(program, [*rows, *[{}] * 9, *enable, TOKEN])
    assert [b[1] for b in beats(cycles)] == [0, 0]


def test_event_during_a_step_is_for_the_next() -> None:
    program = two(reset=0, thresholds=[99])
    cycles = run(program, [spike(1, 1), TOKEN, *[spike(0, 2)] * 12, *[{}] * 20, TOKEN])
    assert [b[1] for b in beats(cycles)] == [1, 1, 2, -2]


def test_pause_token_starts_no_step_and_keeps_the_events() -> None:
    program = two(reset=0, thresholds=[99])
    cycles = run(program, [TOKEN, *[{}] * 20, spike(0, 2), PAUSE, *[{}] * 9, spike(1, 1), TOKEN])
    assert [b[1] for b in beats(cycles)] == [0, 0, 3, -1]
    assert sum(c["observe.finished"] for c in cycles) == 3
    pause = [c["observe.activity"] for c in cycles[22:32]]
    assert pause == [WAIT, WAIT, *[PAUSED] * 8]


def test_schedule_advances_with_step_tokens_only() -> None:
    schedule = [[2, 0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    program = two(bias=5, v0=-1, schedule=schedule)
    rows: list[Row] = []
    for token in (TOKEN, PAUSE, TOKEN, TOKEN, TOKEN):
        rows += [token, *[{}] * 20]
    assert [b[1] for b in beats(run(program, rows)) if b[0] == 0] == [5, 10, -1, 4]


def test_full_router_stalls_emission_and_token() -> None:
    program = make_core([[1]], bias=1, fanout=[HERE])
    stalled = [TOKEN, *[{}] * 7, *[{"o.ready": 0}] * 3, {}, *[{"o.ready": 0}] * 2, {}]
    got = activities(run(program, stalled))
    assert got == [PAUSED, INTEGRATE, *[UPDATE] * 5, *[STALL] * 3, UPDATE, *[STALL] * 2, WAIT]


def test_stalled_pause_token_counts_as_paused() -> None:
    rows = [TOKEN, *[{}] * 30, PAUSE, {}, {"o.ready": 0}, {"o.ready": 0}, {}, {}]
    assert [c["observe.activity"] for c in run(two(), rows)[31:37]] == [WAIT, WAIT, *[PAUSED] * 4]


def test_counters_of_a_step() -> None:
    program = two(
        bias=[1, 2047],
        thresholds=[5, 6],
        fanout=[HERE],
        connected=[True, False],
        schedule=[[1, 0, 1, 1, 1, 0, 2]],
    )
    got = counters(
        program,
        [
            spike(0, 2),
            spike(1, 1),
            spike(2, 3),
            spike(2, 4),
            spike(1, 3),
            spike(3, 1),
            TOKEN,
            *[{}] * 40,
            PAUSE,
        ],
    )
    assert got | {"paused": 0, "token_wait": 0} == dict.fromkeys(COUNTERS, 0) | {
        "spikes": 4, "packets": 2, "deliveries": 5, "merges": 2, "synaptic_operations": 5,
        "neuron_updates": 2,
        "saturations": 1, "errors": 1, "integrate": 4, "update": 2 * 6 + 2,
    }  # fmt: skip


def test_counters_of_a_stalled_step() -> None:
    program = make_core([[1]], bias=1, fanout=[HERE])
    got = counters(
        program, [TOKEN, *[{}] * 7, *[{"o.ready": 0}] * 3, {}, *[{"o.ready": 0}] * 2, *[{}] * 9, PAUSE]
    )
    assert [got[name] for name in ("packets", "update", "send_stall")] == [1, 6, 5]


def test_events_of_the_router_are_counted() -> None:
    pins = [
        {"hops": 3, "token_hops": 4, "router_errors": 9},
        {"hops": 1},
        {"token_hops": 1},
        {"router_errors": 2},
    ]
    got = counters(two(), pins)
    assert [got[name] for name in ("hops", "token_hops", "router_errors")] == [4, 5, 11]


def test_waiting_and_pausing_are_counted() -> None:
    rows = [TOKEN, *[{}] * 19, PAUSE, *[{}] * 5, *write(Section.COUNTER, 0, 0), TOKEN, *[{}] * 29, PAUSE]
    got = counters(two(schedule=[[1, 0, 1, 0, 0, 0, 0]]), rows)
    assert [got[name] for name in ("integrate", "token_wait")] == [1, 29]


CAUSES: list[tuple[Sequence[Row], ErrorCause]] = [
    ([spike(3, 1)], ErrorCause.AXON),
    ([control(Kind.REPLY, 0)], ErrorCause.KIND),
    ([{"kind": 7}], ErrorCause.KIND),
    ([TOKEN, *[{}] * 30, *write(Section.STATUS, 0, 0)], ErrorCause.RUNNING),
    (write(9, 0, 0), ErrorCause.SECTION),
    (read(Section.CROSSBAR, 0, 1), ErrorCause.SECTION),
    ([spike(0, 1), TOKEN], ErrorCause.NONE),
]


@pytest.mark.parametrize(("rows", "cause"), CAUSES, ids=lambda p: p.name if isinstance(p, ErrorCause) else "")
def test_first_cause_of_an_error_is_kept(rows: Sequence[Row], cause: ErrorCause) -> None:
    later = [*rows, *[{}] * 30, PAUSE, *[{}] * 5, spike(99, 0) if cause != ErrorCause.NONE else {}]
    assert replies(two(), [*later, *read(Section.STATUS, 0, 1)])[-1] == cause


@pytest.mark.parametrize(("rows", "cause"), CAUSES, ids=lambda p: p.name if isinstance(p, ErrorCause) else "")
def test_each_error_counts_once(rows: Sequence[Row], cause: ErrorCause) -> None:
    errors = 3 if cause == ErrorCause.RUNNING else int(cause != ErrorCause.NONE)
    assert counters(two(), [*rows, *[{}] * 30, PAUSE, *[{}] * 5])["errors"] == errors


def test_write_to_status_forgets_the_causes() -> None:
    rows: list[Row] = [spike(9, 1), {"router_errors": 8}, {}]
    asked = [*read(Section.STATUS, 0, 2), *[{}] * 6]
    got = replies(two(), [*rows, *asked, *write(Section.STATUS, 3, 0), *asked])
    assert got == [ErrorCause.AXON, ErrorCause.DESTINATION, 0, 0]


def test_write_to_another_section_forgets_nothing() -> None:
    rows = [spike(9, 1), {}, *write(Section.COUNTER, 0, 0), *read(Section.STATUS, 0, 1), *[{}] * 5]
    rows += [
        spike(9, 1),
        {},
        *write(Section.STATUS, 0, 0),
        *read(Section.COUNTER, 4 * COUNTERS.index("errors"), 1),
    ]
    assert replies(two(), rows) == [1, 1]


def test_status_shows_the_schedule_position() -> None:
    schedule = [[1, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0]]
    rows = [row for _ in range(3) for row in (TOKEN, *[{}] * 9)]
    assert replies(two(schedule=schedule), [*rows, PAUSE, *[{}] * 9, *read(Section.STATUS, 0, 5)]) == [
        0,
        0,
        1,
        2,
        0,
    ]


@pytest.mark.parametrize(("spec", "low"), [(SPEC, 0), (BROAD, 0)], ids=["tiny", "wide"])
def test_potentials_are_read_back(spec: SystemSpec, low: int) -> None:
    core = make_core([[0] * 5], potential=[1, -2, 255, -256, 7])
    words = replies(core, [*read(Section.STATE, 1, 4), *[{}] * 9], spec)
    mask = (1 << spec.core.potential_bits) - 1
    assert [w & mask for w in words] == [v & mask for v in (-2, 255, -256, 7)]


def test_wide_potentials_are_read_in_two_chunks() -> None:
    spec = SystemSpec(core=preset("small"), width=1, height=2)
    bench = CoreBench(None, spec)
    rows = [
        *write(Section.STATE, 5, 0x1),
        *write(Section.STATE, 4, 0xBEEF),
        *read(Section.STATE, 4, 3),
    ]
    cycles = [parse(spec, c["o.payload"]) for c in bench.run(rows) if c["o.valid"]]
    assert [c["data"] for c in cycles] == [0xBEEF, 0x1, 0]


def test_reply_goes_to_the_gateway() -> None:
    cycles = run(two(), [*read(Section.STATUS, 0, 1), {}, {}])
    sent = [parse(SPEC, c["o.payload"]) for c in cycles if c["o.valid"]]
    assert sent == [{"kind": 6, "x0": 0, "x1": 0, "y0": 2, "y1": 2, "data": 0}]


def test_reply_waits_for_the_router_and_the_step_for_the_reply() -> None:
    rows = [*read(Section.STATE, 0, 2), TOKEN, *[{"o.ready": 0}] * 6]
    cycles = run(two(potential=[3, 4], bias=1, thresholds=[99]), rows)
    sent = [parse(SPEC, c["o.payload"]) for c in cycles]
    order = [
        s["data"] if s["kind"] == Kind.REPLY else "*"
        for s, c in zip(sent, cycles, strict=True)
        if c["o.valid"]
    ]
    assert [v for v, w in zip(order, [*order[1:], None], strict=True) if v != w] == [3, 4, "*"]
    assert beats(cycles) == [(0, 4, 0), (1, 5, 0)]


def test_token_is_not_a_packet_and_control_counts_nowhere() -> None:
    got = counters(two(), [*point(Section.STATUS, 0), control(Kind.WRITE, 0), TOKEN, *[{}] * 30, PAUSE])
    assert [got[n] for n in ("packets", "deliveries", "errors", "merges", "spikes")] == [0] * 5


def test_programming_is_accepted_as_soon_as_the_pause_token_left_by_l() -> None:
    rows = [TOKEN, *[{}] * 30, PAUSE, *write(Section.STATE, 0, 77), {}, *read(Section.STATE, 0, 1)]
    assert replies(two(), rows) == [77]


def test_programming_ends_with_the_step_token() -> None:
    rows = [TOKEN, {}, *write(Section.STATE, 0, 77), *[{}] * 40, PAUSE, *[{}] * 4]
    asked = [*read(Section.STATE, 0, 1), {}, {}, {}, *read(Section.STATUS, 0, 1)]
    assert replies(two(potential=3, thresholds=[99]), [*rows, *asked]) == [3, ErrorCause.RUNNING]


REGISTERS = {"enable": 0, "axons": 1, "neurons": 2, "strengths": 3, "schedule": 4, "words": 5}
REGISTERS |= {f"strength.{i}": 8 + i for i in range(4)}


@pytest.mark.parametrize("name", REGISTERS)
def test_control_register_is_at_its_address(name: str) -> None:
    row = {"program.strobe": 1, "program.address": REGISTERS[name], "program.chunk": 0xFFFF}
    first, last = play(ControlRegisters(SPEC), [row, {}], list(REGISTERS))
    assert set(first.values()) == {0}
    assert [n for n, value in last.items() if value] == [name]


@pytest.mark.parametrize("change", [{"program.strobe": 0}, {"program.section": 1}, {"program.address": 16}])
def test_control_registers_ignore_other_writes(change: dict[str, int]) -> None:
    row = {"program.strobe": 1, "program.address": 1, "program.chunk": 3} | change
    assert set(play(ControlRegisters(SPEC), [row, {}], list(REGISTERS))[-1].values()) == {0}


def test_control_registers_hold_their_largest_value() -> None:
    values = {"axons": 32, "neurons": 32, "strengths": 4, "schedule": 8, "words": 4, "strength.3": -128}
    rows = [
        {"program.strobe": 1, "program.address": REGISTERS[n], "program.chunk": v & 0xFFFF}
        for n, v in values.items()
    ]
    last = play(ControlRegisters(SPEC), [*rows, {}], list(values))[-1]
    assert last == values
