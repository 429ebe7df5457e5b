# SPDX-License-Identifier: Apache-2.0
"""Control packets: pointers, writes, reads, and each error with its cause."""

from collections.abc import Sequence

import pytest

from emu.words import Kind, Section
from rtl.program import Programmer
from sim_tests.bench.block_player import Row, play

WATCH = ["program.strobe", "program.section", "program.address", "program.chunk", "fetch", "reply.valid"]
WATCH += ["reply.payload", "reading", "unknown", "running", "section"]
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
        Programmer(),
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


@pytest.mark.parametrize("section", list(Section))
def test_every_section_may_be_written(section: Section) -> None:
    cycles = run([*point(section, 3), packet(Kind.WRITE, 9), IDLE])
    assert [errors(c) for c in cycles] == [[]] * 4
    assert cycles[2]["program.strobe"]


@pytest.mark.parametrize("section", range(9, 16))
def test_write_to_an_unknown_section_is_an_error_and_changes_nothing(section: int) -> None:
    cycles = run([*point(section, 3), packet(Kind.WRITE, 9), IDLE])
    assert [errors(c) for c in cycles] == [[], [], ["section"], []]
    assert not any(c["program.strobe"] for c in cycles)


def test_read_replies_with_the_chunks_from_the_pointer_on() -> None:
    cycles = run([*point(Section.COUNTER, 5), packet(Kind.READ, 3), *[{"chunk": 42}] * 10])
    fetched = [(c["program.section"], c["program.address"]) for c in cycles if c["fetch"]]
    assert fetched == [(7, 5), (7, 6), (7, 7)]
    assert [c["reply.payload"] for c in cycles if c["reply.valid"]] == [42] * 3
    assert [i for i, c in enumerate(cycles) if c["fetch"]] == [3, 5, 7]
    assert [i for i, c in enumerate(cycles) if c["reply.valid"]] == [4, 6, 8]


def test_read_leaves_the_pointer_behind_the_last_chunk() -> None:
    rows = [*point(Section.STATE, 5), packet(Kind.READ, 3), *[IDLE] * 8, packet(Kind.WRITE, 1)]
    assert writes(rows) == [(6, 8, 1)]


def test_reply_waits_until_it_is_taken() -> None:
    slow = [{"chunk": 9, "reply.ready": cycle == 5} for cycle in range(8)]
    cycles = run([*point(7, 0), packet(Kind.READ, 2), *slow])
    assert [c["reply.valid"] for c in cycles[3:]] == [0, 1, 1, 1, 1, 1, 0, 1]
    assert [c["fetch"] for c in cycles[3:]] == [1, 0, 0, 0, 0, 0, 1, 0]
    assert cycles[3 + 6]["program.address"] == 1


def test_read_waits_until_it_may_reply() -> None:
    rows = [*point(7, 0), packet(Kind.READ, 1), *[{"may_reply": 0}] * 3, *[IDLE] * 3]
    cycles = run(rows)
    assert [c["fetch"] for c in cycles] == [0] * 6 + [1, 0, 0]
    assert [c["reading"] for c in cycles] == [0, 0, 0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("section", [*range(6), *range(9, 16)])
def test_read_of_a_section_without_access_is_one_error_and_still_replies(section: int) -> None:
    cycles = run([*point(section, 0), packet(Kind.READ, 2), *[IDLE] * 6])
    assert [errors(c) for c in cycles] == [[], [], ["section"], *[[]] * 6]
    assert sum(c["reply.valid"] for c in cycles) == 2


@pytest.mark.parametrize("section", [Section.STATE, Section.COUNTER, Section.STATUS])
def test_read_of_a_section_with_access_is_no_error(section: Section) -> None:
    assert [errors(c) for c in run([*point(section, 0), packet(Kind.READ, 1), *[IDLE] * 3])] == [[]] * 6


@pytest.mark.parametrize("kind", [Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.WRITE, Kind.READ])
@pytest.mark.parametrize("busy", ["running", "reading"])
def test_control_packet_at_another_time_is_an_error_and_changes_nothing(kind: Kind, busy: str) -> None:
    late = packet(kind, 0x7777) | ({"accepting": 0} if busy == "running" else {})
    reads = [packet(Kind.READ, 1)] if busy == "reading" else []
    cycles = run([*point(Section.STATE, 4), *reads, late, *[IDLE] * 4, packet(Kind.WRITE, 1)])
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


@pytest.mark.parametrize("chunks", [1 << bit for bit in range(2, 16)] + [65535])
def test_read_of_any_size_is_still_running(chunks: int) -> None:
    assert run([packet(Kind.READ, chunks), IDLE, IDLE])[-1]["reading"] == 1
