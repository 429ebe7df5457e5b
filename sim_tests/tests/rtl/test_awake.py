# SPDX-License-Identifier: Apache-2.0
"""The enables of the core's blocks are low when there is nothing to do."""

import pytest

from emu.words import counters_of
from rtl.core import Neurocore
from sim_tests.bench.block_player import Bench
from sim_tests.bench.core_player import (
    INTEGRATE,
    PAUSED,
    SPEC,
    STALL,
    TOKEN,
    UPDATE,
    WAIT,
    WATCH,
    CoreBench,
    spike,
    write,
)
from sim_tests.generators.systems import make_core

ENABLES = {
    "arrivals": "_events.awake",
    "scan": "_events.scans",
    "crossbar": "_crossbar.awake",
    "issue": "_walk._issue.awake",
    "fetch": "_walk._fetch.awake",
    "drive": "_walk._drive.awake",
    "membrane": "_walk._membrane.awake",
    "quantiser": "_walk._quantiser.awake",
    "firing": "_walk._firing.awake",
    "emission": "_walk._emitter.awake",
    "sweep": "_counters.awake",
}
WALK = ("issue", "fetch", "drive", "membrane", "quantiser", "firing", "emission")
DOCUMENTED = {
    "arrivals": 15, "scan": 63, "crossbar": 72, "issue": 69, "fetch": 69, "drive": 105,
    "membrane": 105, "quantiser": 114, "firing": 60, "emission": 29, "sweep": 492,
}  # fmt: skip
"""Cycles of the run in which each block is enabled, as `docs/theory_of_operation.md` tells them."""

DRAIN = 4
"""Cycles for which a block may go on after its phase: what it counts is behind registers."""

PROGRAM = make_core(
    [[1, -1] * 10, [0, 1] * 10, [1, 1] * 10],
    strengths=[1, 3],
    bias=list(range(10)),
    thresholds=[9],
    fanout=[[0, 0, 0, 0, 5, True]],
)
"""Ten neurons of two columns: blocks of 4, 4 and 2."""


@pytest.fixture(scope="module")
def cycles() -> list[dict[str, int]]:
    """Two steps with spikes and one without, each followed by a long wait."""
    core = CoreBench(PROGRAM)
    core.bench = Bench(Neurocore(SPEC), [*WATCH, *ENABLES.values()], hold={"o.ready": 1})
    rows = write(5, 0, 0)  # the counters are cleared
    for _ in range(3):
        rows += [spike(0, 2), spike(2, 3), spike(2, -1), TOKEN, *[{}] * 300]
    return core.run(rows)


def high(cycles: list[dict[str, int]], block: str) -> int:
    """Return in how many cycles a block is enabled."""
    return sum(cycle[ENABLES[block]] for cycle in cycles)


def settled(cycles: list[dict[str, int]], *phases: int) -> list[dict[str, int]]:
    """Return the cycles of some phases, each without its first `DRAIN`."""
    kinds = [cycle["observe.activity"] in phases for cycle in cycles]
    return [cycles[at] for at in range(DRAIN, len(cycles)) if all(kinds[at - DRAIN : at + 1])]


@pytest.mark.parametrize("block", [name for name in ENABLES if name not in ("arrivals", "sweep")])
def test_block_sleeps_while_the_core_waits(cycles: list[dict[str, int]], block: str) -> None:
    idle = settled(cycles, WAIT, PAUSED)
    assert len(idle) > 500
    begins = block in ("scan", "crossbar")  # in the last cycle of a wait
    assert high(idle, block) == (3 if begins else 0)


def test_arrivals_sleep_between_packets(cycles: list[dict[str, int]]) -> None:
    assert high(cycles, "arrivals") == 3 * (3 + 2), "three packets, one behind the other, three cycles each"


def test_walk_sleeps_while_the_core_integrates(cycles: list[dict[str, int]]) -> None:
    integrating = settled(cycles, INTEGRATE)
    assert integrating
    assert {name: high(integrating, name) for name in WALK} == {
        name: 9 if name == "issue" else 0 for name in WALK
    }, "it is started nine times"


def test_crossbar_and_scan_sleep_while_the_core_walks(cycles: list[dict[str, int]]) -> None:
    walking = settled(cycles, UPDATE, STALL)
    assert (high(walking, "scan"), high(walking, "crossbar")) == (6, 6), "they begin with every block"


def test_sweep_writes_only_what_was_counted(cycles: list[dict[str, int]]) -> None:
    """While a core waits, one counter grows: all three cycles of its turn are used, one of the others'."""
    rounds, turns = 2, len(counters_of(SPEC))
    idle = settled(cycles, WAIT)[-rounds * 3 * turns :]
    assert high(idle, "sweep") == rounds * (turns + 2)


def test_every_block_works(cycles: list[dict[str, int]]) -> None:
    counts = {name: high(cycles, name) for name in ENABLES}
    assert (counts, len(cycles)) == (DOCUMENTED, 955)
