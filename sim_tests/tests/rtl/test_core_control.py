# SPDX-License-Identifier: Apache-2.0
"""The neurocore alone: control packets at legal and illegal times, errors, read-back, control registers."""

from collections.abc import Sequence

import pytest

from emu.bits import unpack
from emu.chunks import core_chunks
from emu.image import CoreImage
from emu.spec import SystemSpec, preset
from emu.words import (
    COUNTERS,
    Control,
    ErrorCause,
    Kind,
    Section,
    Status,
    section_chunks,
    section_layout,
)
from rtl.control import ControlRegisters
from rtl.core import Neurocore
from sim_tests.bench.block_player import Bench, Row, flit, parse, play
from sim_tests.bench.core_player import (
    PAUSE,
    SPEC,
    TOKEN,
    beats,
    control,
    counters,
    point,
    read,
    replies,
    run,
    spike,
    taken,
    two,
    write,
)
from sim_tests.generators.systems import make_core

HERE = [0, 0, 0, 0, 5, True]
FILL, DEEP = SPEC.core.integrate_fill, SPEC.core.walk_fill


CAUSES: list[tuple[Sequence[Row], ErrorCause]] = [
    ([spike(3, 1)], ErrorCause.AXON),
    ([control(Kind.REPLY, 0)], ErrorCause.KIND),
    ([{"kind": 7}], ErrorCause.KIND),
    ([TOKEN, *[{}] * 30, *write(Section.STATUS, 0, 0)], ErrorCause.RUNNING),
    (write(Section.IDENTITY, 0, 0), ErrorCause.SECTION),
    (write(12, 0, 0), ErrorCause.SECTION),
    (read(15, 0, 1), ErrorCause.SECTION),
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


ADDRESSES = [0, 1, 2, 3, 4, 63, 64, 0x8000, 0xFFF_FFFF]


@pytest.mark.parametrize("address", ADDRESSES)
def test_write_to_any_address_of_status_forgets_the_causes(address: int) -> None:
    rows: list[Row] = [spike(9, 1), {"router_errors": 8}, {}]
    asked = [*read(Section.STATUS, 0, 2), *[{}] * 6]
    assert replies(two(), [*rows, *write(Section.STATUS, address, 7), *asked]) == [0, 0]


@pytest.mark.parametrize("address", ADDRESSES)
def test_write_to_any_address_of_the_counters_clears_them_all(address: int) -> None:
    rows: list[Row] = [
        {"hops": 3, "token_hops": 2, "router_errors": 1},
        spike(0, 1),
        TOKEN,
        *[{}] * 30,
        PAUSE,
    ]
    assert sum(counters(two(bias=1), rows).values()) > 50
    cleared = counters(two(bias=1), [*rows, *[{}] * 9, *write(Section.COUNTER, address, 7)])
    assert {name: value for name, value in cleared.items() if value} == {"paused": cleared["paused"]}


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


def test_status_shows_a_long_repetition() -> None:
    step: list[Row] = [TOKEN, *[{}] * 3]
    asked = [PAUSE, *[{}] * 9, *read(Section.STATUS, Status.ENTRY, 2)]
    rows = [*step * 2300, *asked]
    assert replies(two(schedule=[[1, *[0] * 6], [4095, *[0] * 6]]), rows) == [1, 2299]


def test_schedule_of_a_disabled_core_stands_still() -> None:
    schedule = [[2, 0, 1, 1, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0]]
    step: list[Row] = [TOKEN, *[{}] * 45]
    rows = [*step * 3, PAUSE, *[{}] * 9, *write(Section.CONTROL, Control.ENABLE, 0), {}, *step * 3]
    asked = [PAUSE, *[{}] * 9, *read(Section.STATUS, Status.ENTRY, 2)]
    assert replies(two(schedule=schedule), [*rows, *asked]) == [0, 0]
    assert replies(two(schedule=schedule), [*step * 3, *asked]) == [1, 1]


@pytest.mark.parametrize("events", [0, 3])
@pytest.mark.parametrize("entry", [[1, 0, 1, 1, 1, 0, 1], [1, 0, 0, 1, 1, 0, 1], [1, 1, 0, 0, 0, 0, 0]])
def test_disabled_core_does_nothing_with_its_program(entry: list[int], events: int) -> None:
    program = two(schedule=[entry], bias=3, v0=5, thresholds=[1], potential=[7, -7], fanout=[HERE])
    disabled = [*write(Section.CONTROL, Control.ENABLE, 0), *[spike(0, 1)] * events, TOKEN, *[{}] * 60]
    asked = [PAUSE, *[{}] * 9, *read(Section.STATE, 0, 4)]
    cycles = run(program, [*disabled, *asked])
    assert beats(cycles) == []
    assert [kind for kind, _ in taken(cycles, [])] == [Kind.TOKEN] * 2 + [Kind.REPLY] * 4
    assert replies(program, [*disabled, *asked]) == [7, 0, -7 & 0xFFF, 0]
    got = counters(program, [*disabled, PAUSE])
    assert {name for name, value in got.items() if value} <= {"deliveries", "merges", "token_wait", "paused"}
    assert got["deliveries"] == events


def words(chunks: list[int], size: int) -> list[int]:
    return [
        sum(c << 16 * i for i, c in enumerate(chunks[at : at + size])) for at in range(0, len(chunks), size)
    ]


def test_states_are_read_back() -> None:
    core = make_core(
        [[0] * 5], potential=[1, -2, 255, -256, 7], current=[0, 9, -9, 2047, -2048], refractory=3
    )
    size = section_chunks(SPEC, Section.STATE)
    chunks = replies(core, [*read(Section.STATE, size, 4 * size), *[{}] * 30])
    states = [unpack(section_layout(SPEC, Section.STATE), word) for word in words(chunks, size)]
    assert [tuple(state.values()) for state in states] == [
        (-2, 9, 3), (255, -9, 3), (-256, 2047, 3), (7, -2048, 3),
    ]  # fmt: skip


def draw() -> CoreImage:
    """Return a program whose words are unlike each other."""
    return make_core(
        [[1, -1, 0], [0, 1, 1]],
        bias=[5, -6, 7],
        v0=[-1, 0, 1],
        potential=[9, -9, 2],
        thresholds=[3, -4, 5, 2047],
        fanout=[[0, 0, 0, 1, 9, False], [0, 0, 1, 1, 2, True]],
        schedule=[[3, 0, 1, 1, 1, 0, 2, -7, 5], [1, 1, 0, 0, 0, 0, 0, 0, 0]],
        shifts=[3, 5],
        strengths=[-2],
    )


@pytest.mark.parametrize(
    "section", [s for s in Section if s not in (Section.COUNTER, Section.STATUS, Section.IDENTITY)]
)
def test_every_section_is_read_back_as_it_was_written(section: Section) -> None:
    core = draw()
    chunks = core_chunks(core, SPEC)[section].tolist()
    assert len(set(chunks)) > 1 or section == Section.PROFILE
    if section == Section.CONTROL:
        chunks[Control.ENABLE] = 1
    assert replies(core, [*read(section, 0, len(chunks)), *[{}] * 3 * len(chunks)]) == chunks


@pytest.mark.parametrize("name", ["tiny", "reference"])
def test_identity_tells_sizes_and_place(name: str) -> None:
    spec = SystemSpec(core=preset(name), width=6, height=4)
    sizes = spec.core
    bench = Bench(Neurocore(spec), ["o.valid", "o.payload"], hold={"o.ready": 1, "x": 5, "y": 3})
    packets = [flit(spec, **packet) for packet in (PAUSE, *read(Section.IDENTITY, 0, 18))]
    cycles = bench.run([{}, {}, *({"i.valid": 1, "i.payload": packet} for packet in packets), *[{}] * 60])
    sent = [parse(spec, c["o.payload"]) for c in cycles if c["o.valid"]]
    assert [s["data"] for s in sent if s["kind"] == Kind.REPLY] == [
        0x5350, 3, sizes.axons, sizes.columns, sizes.lanes, sizes.payload_bits, sizes.potential_bits,
        sizes.sum_bits, sizes.strengths, sizes.thresholds // 4, sizes.fanouts - 1, sizes.schedule,
        sizes.profiles, sizes.max_extension, 0b11111 | sizes.refractory_bits << 8, 5, 3, 0,
    ]  # fmt: skip


def test_reply_goes_to_the_gateway() -> None:
    cycles = run(two(), [*read(Section.STATUS, 0, 1), {}, {}])
    sent = [parse(SPEC, c["o.payload"]) for c in cycles if c["o.valid"]]
    assert sent == [{"kind": 6, "x0": 0, "x1": 0, "y0": 2, "y1": 2, "data": 0}]


def test_reply_waits_for_the_router_and_the_step_for_the_reply() -> None:
    rows = [*read(Section.STATE, 0, 3), TOKEN, *[{"o.ready": 0}] * 6]
    cycles = run(two(potential=[3, 4], bias=1, thresholds=[99]), rows)
    sent = [parse(SPEC, c["o.payload"]) for c in cycles]
    order = [
        s["data"] if s["kind"] == Kind.REPLY else "*"
        for s, c in zip(sent, cycles, strict=True)
        if c["o.valid"]
    ]
    assert [v for v, w in zip(order, [*order[1:], None], strict=True) if v != w] == [3, 0, 4, "*"]
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


CONTROL = (Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.WRITE, Kind.READ)
LATE = [(kind, after, 1) for kind in CONTROL for after in (1, 2, 4, 7)]
LATE += [(Kind.READ, after, 0) for after in range(1, 9)]


@pytest.mark.parametrize(("kind", "after", "ready"), LATE)
def test_control_packet_behind_a_step_token_is_refused(kind: Kind, after: int, ready: int) -> None:
    """The step is that without the packet, nothing is answered, pointer and memory stay."""
    step = [{"o.ready": ready} for _ in range(40)]
    step[after - 1] |= control(kind, 2)
    rows = [*point(Section.STATE, 0), TOKEN, *step, *[{}] * 20, PAUSE, *[{}] * 5]
    asked = [control(Kind.READ, 3), *[{}] * 12, *read(Section.STATUS, Status.CORE_CAUSE, 1)]
    cycles = run(two(potential=[3, 4], bias=1, thresholds=[99]), [*rows, *asked])
    assert beats(cycles) == [(0, 4, 0), (1, 5, 0)]
    assert [c["observe.finished"] for c in cycles].index(1) == (5 + FILL + DEEP if ready else 3 + 40)
    assert taken(cycles, [*rows, *asked]) == [
        (Kind.TOKEN, 0),
        (Kind.TOKEN, 0),
        (Kind.REPLY, 4),
        (Kind.REPLY, 0),
        (Kind.REPLY, 5),
        (Kind.REPLY, ErrorCause.RUNNING),
    ]


@pytest.mark.parametrize(("after", "stalls"), [(1, 0), (1, 1), (1, 3), (2, 0), (2, 3), (3, 3), (4, 3)])
def test_reply_never_overtakes_the_token_of_the_pause(after: int, stalls: int) -> None:
    end = [{"o.ready": int(cycle >= stalls)} for cycle in range(9)]
    end[after - 1] |= control(Kind.READ, 3)
    rows = [*point(Section.STATE, 0), *[{}] * 5, TOKEN, *[{}] * 30, PAUSE, *end]
    cycles = run(two(potential=[3, 4], thresholds=[99]), rows)
    replied = [(Kind.REPLY, 3), (Kind.REPLY, 0), (Kind.REPLY, 4)]
    assert taken(cycles, rows) == [(Kind.TOKEN, 0), (Kind.TOKEN, 0), *replied]


@pytest.mark.parametrize("token", [TOKEN, PAUSE])
@pytest.mark.parametrize("gap", [0, 1, 2, 3])
def test_token_that_comes_during_a_read_waits_for_the_last_reply(token: Row, gap: int) -> None:
    rows = [*read(Section.STATE, 0, 2), *[{}] * gap, token]
    cycles = run(two(potential=[3, 4], thresholds=[99]), rows)
    kinds = [parse(SPEC, c["o.payload"])["kind"] for c in cycles if c["o.valid"]]
    assert kinds == [Kind.REPLY, Kind.REPLY, Kind.TOKEN]


REGISTERS = {"enable": 0, "axons": 1, "neurons": 3, "strengths": 4, "schedule": 5, "blocks": 6}
REGISTERS |= {"per_block": 7, "ladder": 9} | {f"strength.{i}": 16 + i for i in range(4)}


@pytest.mark.parametrize("name", REGISTERS)
def test_control_register_is_at_its_address(name: str) -> None:
    row = {"program.strobe": 1, "program.address": REGISTERS[name], "program.chunk": 0xFFFF}
    first, last = play(ControlRegisters(SPEC), [row, {}], list(REGISTERS))
    assert set(first.values()) == {0}
    assert [n for n, value in last.items() if value] == [name]


@pytest.mark.parametrize("change", [{"program.strobe": 0}, {"program.section": 1}, {"program.address": 14}])
def test_control_registers_ignore_other_writes(change: dict[str, int]) -> None:
    row = {"program.strobe": 1, "program.address": 1, "program.chunk": 3} | change
    assert set(play(ControlRegisters(SPEC), [row, {}], list(REGISTERS))[-1].values()) == {0}


def test_control_registers_hold_their_largest_value() -> None:
    values = {"axons": 32, "neurons": 32, "strengths": 4, "schedule": 8, "blocks": 4, "strength.3": -128}
    rows = [
        {"program.strobe": 1, "program.address": REGISTERS[n], "program.chunk": v & 0xFFFF}
        for n, v in values.items()
    ]
    last = play(ControlRegisters(SPEC), [*rows, {}], list(values))[-1]
    assert last == values


def test_axons_take_two_registers_where_they_are_many() -> None:
    spec = SystemSpec(core=preset("article"), width=1, height=1)
    rows = [
        {"program.strobe": 1, "program.address": at, "program.chunk": chunk}
        for at, chunk in ((1, 0x2345), (2, 1), (8, 6))
    ]
    last = play(ControlRegisters(spec), [*rows, {}], ["axons", "extension"])[-1]
    assert (last["axons"], last["extension"]) == (0x12345 & 0x1FFFF, 6)


def test_registers_of_absent_options_stay_zero() -> None:
    spec = SystemSpec(core=preset("article"), width=1, height=1)
    rows = [{"program.strobe": 1, "program.address": 9, "program.chunk": 1}, {}]
    assert play(ControlRegisters(spec), rows, ["ladder"])[-1] == {"ladder": 0}


@pytest.mark.parametrize("gap", [0, 1, 2, 3, 4, 9])
def test_step_behind_a_read_of_the_schedule_has_its_entry(gap: int) -> None:
    """The last word that the schedule's memory showed is that of the read."""
    program = two(bias=5, v0=-1, schedule=[[1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0]])
    second = section_chunks(SPEC, Section.SCHEDULE)
    rows = [*read(Section.SCHEDULE, second, 2), *[{}] * gap, TOKEN]
    assert [beat[1] for beat in beats(run(program, rows))] == [-1, -1]
