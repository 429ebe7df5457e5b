# SPDX-License-Identifier: Apache-2.0
"""The emitter alone: every number of crossings that eight bits can count, by unary and by count emission."""

from collections.abc import Iterator

import pytest

from emu.bits import unpack
from emu.spec import SystemSpec, preset
from emu.words import COUNT_BITS, Section, spike_layout
from rtl.emission import Emitter
from sim_tests.bench.block_player import Bench, Row, parse, play, program_rows
from sim_tests.generators.systems import make_core

SPEC = SystemSpec(
    core=preset("tiny").resized(axons=512, payload_bits=9, potential_bits=18), width=3, height=3
)
TARGETS = [[1, 2, 0, 1, 30, False], [0, 0, 2, 2, 9, True]]
"""Rectangle, axon and whether it is the last, of the two entries of the fan-out list."""

MOST = (1 << COUNT_BITS) - 1
COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 32, 63, 64, 127, 128, 129, 254, MOST]
Packet = tuple[int, ...]


def emit(count: int, *, unary: bool, ready: int = 1) -> tuple[list[Packet], int]:
    """Return rectangle, axon and payload of the packets of one neuron, and the cycles they took.

    The receiver takes one in ``ready`` cycles.
    """
    bench = Bench(Emitter(SPEC), ["busy", "free", "o.valid", "o.payload"])
    load = program_rows(make_core([[1]], fanout=TARGETS), SPEC, Section.FANOUT)
    given: Row = {"count": count, "unary": int(unary), "payload": 1 if unary else count}

    def rows() -> Iterator[Row]:
        yield from [*load, {"coming": 1, "coming_base": 0}]
        yield {**given, "sender": 1, "o.ready": 1}
        for cycle in range(1, 4 * ready * MOST):
            if bench.trace[-1]["free"]:
                return
            yield {"o.ready": int(cycle % ready == 0)}

    cycles = bench.run(rows())[len(load) + 1 :]
    assert cycles[-1]["free"]
    assert [cycle["busy"] for cycle in cycles] == [0] + [1] * (len(cycles) - 1)
    packets = []
    for cycle in cycles[::ready]:
        flit = parse(SPEC, cycle["o.payload"])
        spike = unpack(spike_layout(SPEC), flit["data"])
        packets.append((*(flit[name] for name in ("x0", "x1", "y0", "y1")), spike["axon"], spike["payload"]))
    assert all(cycle["o.valid"] for cycle in cycles)
    return packets, len(cycles)


@pytest.mark.parametrize("count", COUNTS)
def test_unary_emission_sends_one_packet_for_each_crossing(count: int) -> None:
    expected = [(*e[:4], e[4] + copy, 1) for e in TARGETS for copy in range(count)]
    assert emit(count, unary=True) == (expected, 2 * count)


@pytest.mark.parametrize("count", COUNTS)
def test_other_emissions_send_the_payload_to_each_target(count: int) -> None:
    assert emit(count, unary=False) == ([(*e[:5], count) for e in TARGETS], 2)


@pytest.mark.parametrize("unary", [False, True])
def test_busy_receiver_gets_the_same_packets(unary: bool) -> None:
    free, _ = emit(20, unary=unary)
    busy, cycles = emit(20, unary=unary, ready=3)
    assert (busy, cycles) == (free, 3 * len(free) - 2)


def follow(*takes: int) -> list[tuple[int, int, int]]:
    """Return cycle, axon and payload of what leaves if the router is busy in all cycles but ``takes``.

    A sender of the whole list is there in cycle 0; one of its second entry alone waits from cycle 1 on, and
    is taken in the cycle after the two packets of the first.
    """
    load = program_rows(make_core([[1]], fanout=TARGETS), SPEC, Section.FANOUT)
    rows: list[dict[str, int]] = [{"o.ready": int(cycle in takes)} for cycle in range(14)]
    rows[0] |= {"sender": 1, "payload": 3, "coming": 1, "coming_base": 1}
    for row in rows[1 : takes[1] + 2]:
        row |= {"sender": 1, "base": 1, "payload": 5}
    trace = play(Emitter(SPEC), [*load, {"coming": 1}, *rows], ["o.valid", "o.payload"])[len(load) + 1 :]
    taken = [cycle for cycle in takes if trace[cycle]["o.valid"]]
    assert not any(row["o.valid"] for row in trace[takes[-1] + 1 :])
    words = {cycle: parse(SPEC, trace[cycle]["o.payload"])["data"] for cycle in taken}
    spikes = {cycle: unpack(spike_layout(SPEC), word) for cycle, word in words.items()}
    return [(cycle, spike["axon"], spike["payload"]) for cycle, spike in spikes.items()]


@pytest.mark.parametrize("takes", [(0, 1, 2), (1, 3, 4), (2, 3, 8), (0, 5, 6), (0, 1, 9)])
def test_next_sender_follows_the_last_packet_of_the_one_before(takes: tuple[int, ...]) -> None:
    assert follow(*takes) == list(zip(takes, (30, 9, 9), (3, 3, 5), strict=True))
