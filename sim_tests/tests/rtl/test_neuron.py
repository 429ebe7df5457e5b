# SPDX-License-Identifier: Apache-2.0
"""The walk over the neurons: every rule from drive to emission, and what each costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from emu.image import CoreImage
from emu.spec import CoreSpec, SystemSpec, preset
from emu.words import Section
from rtl.layouts import spike_struct
from rtl.neuron import Walk
from sim_tests.bench.block_player import Bench, Row, parse, play, program_rows, widths
from sim_tests.generators.systems import make_core

SPEC = SystemSpec(core=preset("tiny"), width=2, height=2)
HIGH, LOW, NEVER = SPEC.core.potential_max, SPEC.core.potential_min, SPEC.core.never
WATCH = [
    "done",
    "look",
    "column",
    "stored",
    "neuron",
    "state.potential",
    "count",
    "clipped",
    "emitting",
    "o.valid",
]
ENTRY = ("repeat", "init", "integrate", "update", "fire", "threshold_first", "threshold_count")
HERE = [0, 0, 0, 0, 0, True]
LONGEST = 4000
"""Cycles that no walk of these tests takes."""


@dataclass
class Walked:
    """What a walk did."""

    beats: list[tuple[int, int, int]] = field(default_factory=list)
    packets: list[tuple[int, ...]] = field(default_factory=list)
    cycles: int = 0
    clipped: int = 0
    emitting: int = 0
    potentials: list[int] = field(default_factory=list)


def registers(core: CoreImage) -> dict[str, int]:
    strengths = {f"strength.{i}": int(s) for i, s in enumerate(core.strengths)}
    entry = {f"entry.{name}": int(v) for name, v in zip(ENTRY, core.schedule[0], strict=True)}
    return strengths | entry | {"neurons": core.neurons, "strengths": len(core.strengths)}


def walk(
    core: CoreImage,
    sums: Sequence[int] = (),
    ready: Callable[[int], bool] = lambda _: True,
    spec: SystemSpec = SPEC,
) -> Walked:
    """Walk over the neurons of a core once; ``ready`` says in which cycles a packet may leave."""
    bench = Bench(Walk(spec), [*WATCH, "o.payload", "inspect.data"], hold=registers(core))
    load = program_rows(core, spec, Section.NEURON, Section.THRESHOLD, Section.FANOUT, Section.STATE)
    got = Walked()

    def rows() -> Iterator[Row]:
        yield from [*load, {"start": 1}]
        shown = now = 0
        while not bench.trace[-1]["done"]:
            last = bench.trace[-1]
            shown = (list(sums) + [0] * 40)[last["column"]] if last["look"] else shown
            yield {"sum": shown, "o.ready": ready(now)}
            now += 1
            assert now < LONGEST, "the walk must end"
            note(got, bench.trace[-1], ready(now - 1))
        yield from [{"inspect.enable": 1, "inspect.address": i} for i in range(core.neurons)]
        yield {}

    trace = bench.run(rows())
    bits = spec.core.potential_bits
    read = [c["inspect.data"] & ((1 << bits) - 1) for c in trace[-core.neurons :]]
    got.potentials = [v - (1 << bits) if v >> (bits - 1) else v for v in read]
    assert not any(
        c["stored"] or c["emitting"] or c["done"] for c in [*trace[: len(load) + 1], *trace[-core.neurons :]]
    )
    return got


def note(got: Walked, cycle: dict[str, int], ready: bool) -> None:
    got.cycles += 1
    got.clipped += cycle["clipped"]
    got.emitting += cycle["emitting"]
    assert cycle["emitting"] == cycle["o.valid"]
    if cycle["stored"]:
        got.beats.append((cycle["neuron"], cycle["state.potential"], cycle["count"]))
    if cycle["o.valid"] and ready:
        values = parse(SPEC, cycle["o.payload"])
        axon, payload = values["data"] & 0xFFF, (values["data"] >> 12 ^ 8) - 8
        assert values["kind"] == 0
        got.packets.append((*(values[n] for n in ("x0", "x1", "y0", "y1")), axon, payload))


def one(sums: Sequence[int] = (), **fields: Any) -> Walked:
    """Walk over one neuron of as many columns as strengths."""
    columns = len(fields.get("strengths", [1]))
    return walk(make_core([[0] * columns], **fields), sums)


def entry(
    *, init: int = 0, update: int = 1, fire: int = 1, first: int = 0, count: int = 1
) -> list[list[int]]:
    return [[1, init, 1, update, fire, first, count]]


@pytest.mark.parametrize("reset", [0, 1, 2])
@pytest.mark.parametrize("init", [0, 1])
@pytest.mark.parametrize("update", [0, 1])
def test_base_is_v0_or_nothing_or_the_stored_potential(reset: int, init: int, update: int) -> None:
    got = one(
        [7], bias=3, v0=100, potential=-40, reset=reset, schedule=entry(init=init, update=update, fire=0)
    )
    base = 100 if init else 0 if reset == 0 else -40
    expected = base + (7 + 3 if update else 0)
    assert (got.beats, got.potentials) == ([(0, expected, 0)], [expected])


@pytest.mark.parametrize(
    ("strengths", "sums", "drive"),
    [
        ([1], [-9], -9),
        ([-128], [-7], 896),
        ([1, -3], [10, 20], -50),
        ([1, 3, -9, 27], [1, -1, 2, -2], 1 - 3 - 18 - 54),
        ([127, 127], [8, -8], 0),
    ],
)
def test_drive_is_the_sum_of_strength_times_column_sum(
    strengths: list[int], sums: list[int], drive: int
) -> None:
    assert one(sums, strengths=strengths, schedule=entry(fire=0)).beats == [(0, drive, 0)]


@pytest.mark.parametrize(
    ("start", "bias", "total", "stored", "clipped"),
    [
        (HIGH, 1, 0, HIGH, 1),
        (HIGH - 1, 1, 0, HIGH, 0),
        (LOW, -1, 0, LOW, 1),
        (LOW + 1, -1, 0, LOW, 0),
        (HIGH, HIGH, 511, HIGH, 1),
        (LOW, LOW, -512, LOW, 1),
        (HIGH, LOW, 0, -1, 0),
    ],
)
def test_membrane_saturates_both_ways(start: int, bias: int, total: int, stored: int, clipped: int) -> None:
    got = one([total], potential=start, bias=bias, schedule=entry(fire=0))
    assert (got.beats, got.clipped) == ([(0, stored, 0)], clipped)


DEEP = SystemSpec(
    core=CoreSpec(
        axons=2,
        columns=8,
        lanes=8,
        payload_bits=2,
        potential_bits=32,
        strengths=1,
        thresholds=2,
        fanouts=2,
        schedule=2,
    ),
    width=1,
    height=1,
)
"""Potentials far wider than drives: what base and bias need, the drive does not hide."""

TOP, BOTTOM = DEEP.core.potential_max, DEEP.core.potential_min


def test_potentials_of_the_deep_core_are_wider_than_its_drives() -> None:
    assert DEEP.core.potential_bits > DEEP.core.drive_bits + 2


@pytest.mark.parametrize(
    ("start", "bias", "drive", "stored", "clipped"),
    [
        (TOP, TOP, 512, TOP, 1),
        (BOTTOM, BOTTOM, -512, BOTTOM, 1),
        (TOP, TOP, 2, TOP, 1),
        (BOTTOM, BOTTOM, -1, BOTTOM, 1),
        (TOP, TOP, 0, TOP, 1),
        (BOTTOM, BOTTOM, 0, BOTTOM, 1),
        (TOP, 1, 0, TOP, 1),
        (BOTTOM, -1, 0, BOTTOM, 1),
        (TOP, BOTTOM, 1, 0, 0),
        (BOTTOM, TOP, -512, -513, 0),
    ],
)
def test_membrane_of_wide_potentials_saturates_both_ways(
    start: int, bias: int, drive: int, stored: int, clipped: int
) -> None:
    strength = -128 if drive % 128 == 0 else 1
    core = make_core([[0]], strengths=[strength], potential=start, bias=bias, schedule=entry(fire=0))
    got = walk(core, [drive // strength], spec=DEEP)
    assert (got.beats, got.potentials, got.clipped) == ([(0, stored, 0)], [stored], clipped)


@pytest.mark.parametrize("sign", [1, -1])
def test_drive_holds_every_column_at_the_extreme(sign: int) -> None:
    strengths = [-128] * 4
    got = one([-256 * sign] * 4, strengths=strengths, reset=0, schedule=entry(fire=0))
    assert (got.beats, got.clipped) == ([(0, HIGH if sign > 0 else LOW, 0)], 1)


@pytest.mark.parametrize(
    ("thresholds", "first", "count", "crossed"),
    [
        ([5], 0, 1, 1),
        ([6], 0, 1, 0),
        ([4, 5, 6], 0, 3, 2),
        ([9, 9, 5, 9], 2, 1, 1),
        ([6, 0, 6, 0], 0, 4, 2),
        ([LOW, NEVER], 0, 2, 1),
        ([5, 5, 5, 5], 1, 2, 2),
        ([0], 0, 0, 0),
    ],
)
def test_thresholds_of_the_run_are_compared(
    thresholds: list[int], first: int, count: int, crossed: int
) -> None:
    got = one([5], reset=0, thresholds=thresholds, schedule=entry(first=first, count=count))
    assert got.beats == [(0, 5, crossed)]
    assert got.cycles == 1 + 1 + 1 + count + 1


@pytest.mark.parametrize("base", [1, 62, 63, 64, SPEC.core.thresholds - 2])
def test_thresholds_are_found_anywhere_in_the_memory(base: int) -> None:
    thresholds = [*[9] * base, 5, 3]
    got = one([5], reset=2, thresholds=thresholds, threshold_base=base, schedule=entry(count=2))
    assert got.beats == [(0, 2, 2)]
    shifted = one(
        [5], reset=2, thresholds=thresholds, threshold_base=base - 1, schedule=entry(first=1, count=2)
    )
    assert shifted.beats == got.beats


def test_negative_potential_is_compared_as_such() -> None:
    assert one([-5], reset=0, thresholds=[-6, -5, -4, 0], schedule=entry(count=4)).beats == [(0, -5, 2)]


def test_step_that_does_not_fire_crosses_nothing() -> None:
    got = one([5], thresholds=[LOW] * 3, schedule=entry(fire=0, count=3))
    assert (got.beats, got.cycles) == ([(0, 5, 0)], 4)


@pytest.mark.parametrize(("reset", "stored"), [(0, 10), (1, 0), (2, 4)])
def test_reset_of_a_neuron_that_fired(reset: int, stored: int) -> None:
    got = one([10], reset=reset, thresholds=[8, 11, 6, NEVER], schedule=entry(count=4))
    assert (got.beats, got.potentials) == ([(0, stored, 2)], [stored])


@pytest.mark.parametrize("reset", [1, 2])
def test_neuron_that_did_not_fire_keeps_its_potential(reset: int) -> None:
    cells = make_core([[0, 0]], reset=reset, thresholds=[6], schedule=entry())
    assert walk(cells, [9, 5]).beats == [(0, 0 if reset == 1 else 3, 1), (1, 5, 0)]


@pytest.mark.parametrize(
    ("v0", "theta", "stored", "clipped"), [(HIGH, LOW, HIGH, 1), (-1, LOW, HIGH, 0), (0, LOW, HIGH, 1)]
)
def test_subtraction_saturates(v0: int, theta: int, stored: int, clipped: int) -> None:
    got = one(v0=v0, thresholds=[theta], schedule=entry(init=1, update=0))
    assert (got.beats, got.clipped) == ([(0, stored, 1)], clipped)


def test_subtraction_that_is_not_done_is_not_counted() -> None:
    got = one(v0=HIGH, reset=1, thresholds=[LOW], schedule=entry(init=1, update=0))
    assert (got.beats, got.clipped) == ([(0, 0, 1)], 0)


FANOUT = [[1, 1, 0, 0, 30, True], [0, 1, 0, 1, 4, False], [0, 0, 2, 2, 9, True], [1, 0, 1, 0, 40, True]]


def test_unary_emission_sends_one_packet_for_each_crossing() -> None:
    got = one([3], thresholds=[1, 2, 3], fanout=FANOUT, fanout_base=1, schedule=entry(count=3))
    entries = [(0, 1, 0, 1, 4), (0, 0, 2, 2, 9)]
    assert got.packets == [(*e[:4], e[4] + copy, 1) for e in entries for copy in range(3)]
    assert (got.cycles, got.emitting) == (1 + 3 + 3 + 6, 6)


@pytest.mark.parametrize("crossed", [7, 8, 9, 20, 127, 128])
def test_unary_emission_of_many_crossings(crossed: int) -> None:
    got = one([3], thresholds=[3] * crossed, fanout=FANOUT, schedule=entry(count=crossed))
    assert got.packets == [(1, 1, 0, 0, 30 + copy, 1) for copy in range(crossed)]


def test_count_emission_sends_the_count_once() -> None:
    thresholds = list(range(1, 8))
    got = one(
        [7], thresholds=thresholds, fanout=FANOUT, fanout_base=1, count_emission=True, schedule=entry(count=7)
    )
    assert got.packets == [(0, 1, 0, 1, 4, 7), (0, 0, 2, 2, 9, 7)]
    assert got.cycles == 1 + 7 + 3 + 2


def test_fanout_list_begins_at_its_base() -> None:
    core = make_core([[0] * 3], bias=1, fanout=FANOUT, fanout_base=[3, 0, 2], schedule=entry())
    assert [p[4] for p in walk(core).packets] == [40, 30, 9]


def test_packet_waits_until_it_is_taken() -> None:
    core = make_core(
        [[0, 0]], bias=2, thresholds=[1, 2], fanout=FANOUT, fanout_base=1, schedule=entry(count=2)
    )
    free, busy = walk(core), walk(core, ready=lambda cycle: cycle % 3 == 2)
    assert busy.packets == free.packets
    assert busy.beats == free.beats
    assert busy.emitting - len(busy.packets) == busy.cycles - free.cycles > 0


@pytest.mark.parametrize(
    ("connected", "packets"), [([True, False], 1), ([False, True], 1), ([False, False], 0)]
)
def test_neuron_that_is_not_connected_sends_nothing(connected: list[bool], packets: int) -> None:
    core = make_core([[0, 0]], bias=1, connected=connected, fanout=[HERE], schedule=entry())
    got = walk(core)
    assert (len(got.packets), [b[2] for b in got.beats]) == (packets, [1, 1])


def test_neuron_that_crossed_nothing_sends_nothing() -> None:
    core = make_core([[0, 0, 0]], bias=[0, 1, 0], fanout=[HERE], fanout_base=0, schedule=entry())
    assert len(walk(core).packets) == 1


def test_neurons_are_visited_in_order_with_their_own_columns() -> None:
    strengths = [1, 10]
    core = make_core(
        [[0] * 8], strengths=strengths, bias=[0, 100, -100, 7], potential=[1, 2, 3, 4], schedule=entry(fire=0)
    )
    got = walk(core, [1, 2, 3, 4, 5, 6, 7, 8])
    assert got.beats == [(0, 22, 0), (1, 145, 0), (2, -32, 0), (3, 98, 0)]
    assert (got.potentials, got.cycles) == ([22, 145, -32, 98], 4 * (2 + 3))


def test_neurons_use_their_own_threshold_lists() -> None:
    core = make_core(
        [[0] * 3], bias=5, reset=0, thresholds=[9, 5, 4, 9], threshold_base=[0, 1, 2], schedule=entry(count=2)
    )
    assert [b[2] for b in walk(core).beats] == [1, 2, 1]


def test_all_columns_may_be_neurons() -> None:
    core = make_core([[0] * 32], bias=range(32), schedule=entry(fire=0))
    assert walk(core, range(32)).beats == [(i, 2 * i, 0) for i in range(32)]


def test_walk_can_be_started_again() -> None:
    core = make_core([[0, 0]], bias=[1, 2], schedule=entry(fire=0))
    load = program_rows(core, SPEC, Section.NEURON, Section.STATE)
    rows = [*load, {"start": 1}, *[{}] * 10, {"start": 1}, *[{}] * 10]
    cycles = play(Walk(SPEC), rows, ["stored", "neuron", "state.potential", "done"], hold=registers(core))
    assert [(c["neuron"], c["state.potential"]) for c in cycles if c["stored"]] == [
        (0, 1),
        (1, 2),
        (0, 2),
        (1, 4),
    ]
    assert sum(c["done"] for c in cycles) == 2


@pytest.mark.parametrize("change", [{"program.strobe": 0}, {"program.section": Section.COUNTER}])
def test_walk_ignores_writes_that_are_not_for_it(change: dict[str, int]) -> None:
    core = make_core([[0]], bias=5, potential=7, thresholds=[3], schedule=entry())
    sections = (Section.NEURON, Section.THRESHOLD, Section.FANOUT, Section.STATE)
    load = program_rows(core, SPEC, *sections)
    noise = [dict(row) | change | {"program.chunk": 0xFFFF} for row in load]
    rows = [*load, *noise, {"start": 1}, *[{}] * 8]
    cycles = play(Walk(SPEC), rows, ["stored", "state.potential", "count"], hold=registers(core))
    assert [(c["state.potential"], c["count"]) for c in cycles if c["stored"]] == [(9, 1)]


def test_walk_sizes() -> None:
    names = (
        "neurons",
        "strengths",
        "strength.0",
        "column",
        "sum",
        "neuron",
        "state.potential",
        "count",
        "inspect.data",
    )
    assert widths(Walk(SPEC), *names) == [6, 3, 8, 5, 10, 5, 12, 8, 16]
    layout = spike_struct(SPEC)
    assert (layout["axon"].offset, layout["axon"].width, layout["payload"].width) == (0, 12, 4)
