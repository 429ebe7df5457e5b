# SPDX-License-Identifier: Apache-2.0
"""Control packets: pointers, writes, reads, and each error with its cause."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from emu.spec import SystemSpec, preset
from emu.words import Kind, Section
from rtl.program import Programmer, Registers
from sim_tests.bench.block_player import Row, play

WATCH = ["program.strobe", "program.section", "program.address", "program.chunk", "reply.valid"]
WATCH += [f"inspect.{group}.{pin}" for group in (0, 1) for pin in ("enable", "section", "address")]
WATCH += ["reply.payload", "reading", "unknown", "running", "section"]
SPEC = SystemSpec(core=preset("tiny"), width=1, height=1)
ERRORS = ("unknown", "running", "section")
IDLE: Row = {}
HOLD: Row = {"accepting": 1, "may_reply": 1, "reply.ready": 1}


def packet(kind: int, data: int = 0) -> dict[str, int]:
    return {"arrive": 1, "kind": kind, "data": data}


def point(section: int, address: int) -> list[Row]:
    pointer = section << 28 | address
    return [packet(Kind.POINTER_HIGH, pointer >> 16), packet(Kind.POINTER_LOW, pointer & 0xFFFF)]


def run(rows: Sequence[Row], **hold: int) -> list[dict[str, int]]:
    return play(
        Programmer(SPEC),
        rows,
        WATCH,
        hold=dict(HOLD) | {n.replace("reply_ready", "reply.ready"): v for n, v in hold.items()},
    )


def writes(rows: Sequence[Row], **hold: int) -> list[tuple[int, int, int]]:
    cycles = run([*rows, IDLE], **hold)
    return [
        (c["program.section"], c["program.address"], c["program.chunk"])
        for c in cycles
        if c["program.strobe"]
    ]


def errors(cycle: dict[str, int]) -> list[str]:
    return [name for name in ERRORS if cycle[name]]


def test_write_takes_effect_at_the_pointer_which_then_advances() -> None:
    rows = [*point(Section.NEURON, 0x234567), packet(Kind.WRITE, 0xBEEF), packet(Kind.WRITE, 7)]
    assert writes(rows) == [(3, 0x234567, 0xBEEF), (3, 0x234568, 7)]


def test_write_strobes_in_the_cycle_of_its_packet() -> None:
    rows = [*point(1, 0), packet(Kind.WRITE, 5), IDLE]
    assert [c["program.strobe"] for c in run(rows)] == [0, 0, 1, 0]


def test_pointer_halves_are_set_apart() -> None:
    rows = [*point(2, 0x0ABCDEF), packet(Kind.POINTER_LOW, 0x1234), packet(Kind.WRITE)]
    assert writes(rows) == [(2, 0x0AB1234, 0)]
    rows = [*point(2, 0x0ABCDEF), packet(Kind.POINTER_HIGH, 0x3001), packet(Kind.WRITE)]
    assert writes(rows) == [(3, 0x001CDEF, 0)]


def test_pointer_carries_from_the_low_to_the_high_half() -> None:
    assert writes([*point(2, 0xFFFF), packet(Kind.WRITE, 1), packet(Kind.WRITE, 2)])[1] == (2, 0x10000, 2)


@pytest.mark.parametrize("section", [s for s in Section if s != Section.IDENTITY])
def test_every_section_but_the_identity_may_be_written(section: Section) -> None:
    cycles = run([*point(section, 3), packet(Kind.WRITE, 9), IDLE])
    assert [errors(c) for c in cycles] == [[]] * 4
    assert cycles[2]["program.strobe"]


@pytest.mark.parametrize("section", range(11, 16))
def test_write_to_an_unknown_section_is_an_error_and_changes_nothing(section: int) -> None:
    cycles = run([*point(section, 3), packet(Kind.WRITE, 9), IDLE])
    assert [errors(c) for c in cycles] == [[], [], ["section"], []]
    assert not any(c["program.strobe"] for c in cycles)


def test_read_replies_with_the_chunks_from_the_pointer_on() -> None:
    """Either group of parts may have them; both are asked the same."""
    answers = [
        {},
        {"inspect.0.chunk": 42},
        {},
        {},
        {"inspect.1.chunk": 43},
        {},
        {},
        {"inspect.0.chunk": 44},
        {},
        {},
    ]
    cycles = run([*point(Section.COUNTER, 5), packet(Kind.READ, 3), *answers])
    for group in (0, 1):
        given = [[c[f"inspect.{group}.{pin}"] for pin in ("enable", "section", "address")] for c in cycles]
        assert [asked for enable, *asked in given if enable] == [[7, 5], [7, 6], [7, 7]]
    assert [i for i, c in enumerate(cycles) if c["inspect.0.enable"]] == [3, 6, 9]
    assert [(i, c["reply.payload"]) for i, c in enumerate(cycles) if c["reply.valid"]] == [
        (5, 42), (8, 43), (11, 44),
    ]  # fmt: skip


def test_read_of_no_chunk_is_over_at_once() -> None:
    cycles = run([*point(7, 5), packet(Kind.READ, 0), *[IDLE] * 4, packet(Kind.WRITE, 1)])
    assert not any(c["reading"] or c["inspect.0.enable"] or c["running"] for c in cycles)
    assert (cycles[-1]["program.strobe"], cycles[-1]["program.address"]) == (1, 5)


def test_read_leaves_the_pointer_behind_the_last_chunk() -> None:
    rows = [*point(Section.STATE, 5), packet(Kind.READ, 3), *[IDLE] * 9, packet(Kind.WRITE, 1)]
    assert writes(rows) == [(6, 8, 1)]


def test_read_carries_from_the_low_to_the_high_half() -> None:
    cycles = run([*point(Section.CROSSBAR, 0xFFFF), packet(Kind.READ, 2), *[IDLE] * 7])
    asked = [c["inspect.0.address"] for c in cycles if c["inspect.0.enable"]]
    assert asked == [0xFFFF, 0x10000]


def test_reply_waits_until_it_is_taken() -> None:
    slow = [{"inspect.0.chunk": 9 + (cycle > 1), "reply.ready": cycle == 6} for cycle in range(10)]
    cycles = run([*point(7, 0), packet(Kind.READ, 2), *slow])[3:]
    assert [c["reply.valid"] for c in cycles] == [0, 0, 1, 1, 1, 1, 1, 0, 0, 1]
    assert [c["inspect.0.enable"] for c in cycles] == [1, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert {c["reply.payload"] for c in cycles[2:7]} == {9}
    assert cycles[7]["inspect.0.address"] == 1


def test_read_waits_until_it_may_reply() -> None:
    rows = [*point(7, 0), packet(Kind.READ, 1), *[{"may_reply": 0}] * 3, *[IDLE] * 4]
    cycles = run(rows)
    assert [c["inspect.0.enable"] for c in cycles] == [0] * 6 + [1, 0, 0, 0]
    assert [c["reading"] for c in cycles] == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("section", range(12, 16))
def test_read_of_a_section_without_access_is_one_error_and_still_replies(section: int) -> None:
    cycles = run([*point(section, 0), packet(Kind.READ, 2), *[IDLE] * 8])
    assert [errors(c) for c in cycles] == [[], [], ["section"], *[[]] * 8]
    assert sum(c["reply.valid"] for c in cycles) == 2


@pytest.mark.parametrize("section", list(Section))
def test_read_of_a_section_with_access_is_no_error(section: Section) -> None:
    assert [errors(c) for c in run([*point(section, 0), packet(Kind.READ, 1), *[IDLE] * 3])] == [[]] * 6


@pytest.mark.parametrize("kind", [Kind.READ, Kind.WRITE])
def test_section_that_the_core_has_not_is_an_error(kind: Kind) -> None:
    plain = SystemSpec(core=replace(SPEC.core, axon_shifts=False), width=1, height=1)
    rows = [*point(Section.SHIFT, 0), packet(kind, 1), IDLE]
    got = [
        [errors(cycle) for cycle in play(Programmer(spec), rows, WATCH, hold=HOLD)][2]
        for spec in (SPEC, plain)
    ]
    assert got == [[], ["section"]]


@pytest.mark.parametrize("kind", [Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.WRITE, Kind.READ])
@pytest.mark.parametrize("busy", ["running", "reading"])
def test_control_packet_at_another_time_is_an_error_and_changes_nothing(kind: Kind, busy: str) -> None:
    late = packet(kind, 0x7777) | ({"accepting": 0} if busy == "running" else {})
    reads = [packet(Kind.READ, 1)] if busy == "reading" else []
    cycles = run([*point(Section.STATE, 4), *reads, late, *[IDLE] * 5, packet(Kind.WRITE, 1)])
    assert [errors(c) for c in cycles if any(map(c.get, ERRORS))] == [["running"]]
    moved = 1 if busy == "reading" else 0
    assert [(c["program.section"], c["program.address"]) for c in cycles if c["program.strobe"]] == [
        (6, 4 + moved)
    ]
    assert sum(c["reply.valid"] for c in cycles) == moved


@pytest.mark.parametrize("kind", [Kind.SPIKE, Kind.TOKEN, Kind.REPLY, 7])
@pytest.mark.parametrize("accepting", [0, 1])
def test_unknown_kind_is_an_error_at_any_time(kind: int, accepting: int) -> None:
    assert [errors(c) for c in run([packet(kind), IDLE], accepting=accepting)] == [["unknown"], []]


def test_packet_that_does_not_arrive_does_nothing() -> None:
    rows = [*point(7, 0), *({"kind": kind, "data": 9} for kind in range(8)), packet(Kind.WRITE, 3)]
    cycles = run(rows)
    assert [errors(c) for c in cycles] == [[]] * 11
    assert sum(c["program.strobe"] for c in cycles) == 1
    assert (cycles[-1]["program.address"], cycles[-1]["reading"]) == (0, 0)


@pytest.mark.parametrize("chunks", [(1 << 15) + 1, (1 << 16) - 1])
def test_largest_read_is_still_running(chunks: int) -> None:
    assert run([packet(Kind.READ, chunks), *[IDLE] * 8])[-1]["reading"] == 1


def test_registers_show_what_is_asked_for_until_the_next_question() -> None:
    def ask(section: int, address: int) -> Row:
        return {"inspect.enable": 1, "inspect.section": section, "inspect.address": address}

    rows = [ask(8, 2), IDLE, ask(8, 0), ask(8, 1), ask(8, 3), ask(8, 18), ask(7, 1), IDLE]
    hold = {f"register.{at}": 10 + at for at in range(3)}
    cycles = play(Registers(Section.STATUS, 3), rows, ["inspect.chunk"], hold=hold)
    assert [c["inspect.chunk"] for c in cycles[1:]] == [12, 12, 10, 11, 0, 0, 0]


def test_registers_of_a_whole_number_of_bits_end_where_they_end() -> None:
    """Address 4 of four registers is not register 0 once more."""
    asks = [{"inspect.enable": 1, "inspect.section": 11, "inspect.address": at} for at in (3, 4, 7, 0)]
    hold = {f"register.{at}": 10 + at for at in range(4)}
    cycles = play(Registers(Section.IDENTITY, 4), [*asks, IDLE], ["inspect.chunk"], hold=hold)
    assert [c["inspect.chunk"] for c in cycles[1:]] == [13, 0, 0, 10]
