# SPDX-License-Identifier: Apache-2.0
"""The emitter alone: every number of crossings that eight bits can count, by unary and by count emission."""

import dataclasses
from collections.abc import Iterator

import pytest

from emu.bits import unpack
from emu.spec import SystemSpec, preset
from emu.words import COUNT_BITS, Section, spike_layout
from rtl.emission import Emitter
from sim_tests.bench.block_player import Bench, Row, parse, program_rows
from sim_tests.generators.systems import make_core

SPEC = SystemSpec(core=dataclasses.replace(preset("tiny"), axons=512, payload_bits=9), width=3, height=3)
TARGETS = [[1, 2, 0, 1, 30, False], [0, 0, 2, 2, 9, True]]
"""Rectangle, axon and whether it is the last, of the two entries of the fan-out list."""

MOST = (1 << COUNT_BITS) - 1
COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 32, 63, 64, 127, 128, 129, 254, MOST]
Packet = tuple[int, ...]


def emit(count: int, *, by_count: bool, ready: int = 1, base: int = 0) -> tuple[list[Packet], int]:
    """Return rectangle, axon and payload of the packets of one neuron, and the cycles they took.

    The receiver takes one in ``ready`` cycles; the entries begin at ``base``.
    """
    bench = Bench(Emitter(SPEC), ["done", "o.valid", "o.payload"])
    before = [[1, 1, 1, 1, 7, True]] * base
    load = program_rows(make_core([[1]], fanout=[*before, *TARGETS]), SPEC, Section.FANOUT)
    given: Row = {"active": 1, "count": count, "count_emission": int(by_count)}

    def rows() -> Iterator[Row]:
        yield from [*load, {"look": 1, "base": base}]
        for cycle in range(4 * ready * MOST):
            if bench.trace[-1]["done"]:
                return
            yield {**given, "o.ready": int(cycle % ready == 0)}

    cycles = bench.run(rows())[len(load) + 1 :]
    assert cycles[-1]["done"]
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
    assert emit(count, by_count=False) == (expected, 2 * count)


@pytest.mark.parametrize("count", COUNTS)
def test_count_emission_sends_the_count_to_each_target(count: int) -> None:
    assert emit(count, by_count=True) == ([(*e[:5], count) for e in TARGETS], 2)


@pytest.mark.parametrize("by_count", [False, True])
def test_busy_receiver_gets_the_same_packets(by_count: bool) -> None:
    free, _ = emit(20, by_count=by_count)
    busy, cycles = emit(20, by_count=by_count, ready=3)
    assert (busy, cycles) == (free, 3 * len(free) - 2)


@pytest.mark.parametrize("base", [1, 30, 31, 32, SPEC.core.fanouts - 2])
def test_entries_are_found_anywhere_in_the_memory(base: int) -> None:
    expected = [(*e[:4], e[4] + copy, 1) for e in TARGETS for copy in range(3)]
    assert emit(3, by_count=False, base=base) == (expected, 6)
