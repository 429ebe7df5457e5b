# SPDX-License-Identifier: Apache-2.0
"""The functional run in lanes and threads equals the oracle; each way of integration equals a product."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu import functional
from emu.balance import Balance, measured
from emu.functional import Source
from emu.image import CoreImage, SystemImage
from emu.kernels import fabric
from emu.kernels import state as arrays
from emu.kernels.beside import SMALL
from emu.kernels.state import USED_OUTPUTS
from emu.machine import Machine
from emu.program import gateway_room, period_of
from emu.spec import CoreSpec, SystemSpec, preset
from emu.tables import column
from emu.trace import RunResult, Stimulus, compared, diff
from emu.words import STATE_FIELDS, Emission, Reset, Section
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

TINY = preset("tiny")
ONE = SystemSpec(core=TINY, width=1, height=1)
LONG = CoreSpec(
    axons=300,
    columns=64,
    lanes=8,
    payload_bits=6,
    potential_bits=24,
    strengths=2,
    thresholds=8,
    fanouts=8,
    schedule=4,
)
IDLE = [1, 0, 0, 0, 0, 0, 0]
FIRE = [1, 0, 1, 1, 1, 0, 1]

OPTIONS = ("current_kept", "potential_decay", "refractory_period")


def plain(core: CoreImage) -> CoreImage:
    """Return a core whose neurons have no options, and plain resets."""
    profiles = core.profiles.copy()
    for name in OPTIONS:
        profiles[:, column(Section.PROFILE, name)] = 0
    profiles[:, column(Section.PROFILE, "reset")] %= Reset.VALUE
    clear = {name: np.zeros_like(getattr(core, name)) for name in STATE_FIELDS[1:]}
    return dataclasses.replace(core, profiles=profiles, **clear)


def separable(seed: int) -> tuple[SystemImage, Stimulus]:
    """Return a random system whose runs may be cut after every fourth step; half have steps after that.

    From seed 16 on its neurons are plain.
    """
    image, stimulus = random_system(seed, steps=38 if seed % 2 else 36)
    cores: list[CoreImage | None] = []
    for core in image.cores:
        if core is None:
            cores.append(None)
            continue
        busy = core.schedule.copy()[:3]
        busy[:, 0], busy[0, 1] = 1, True
        rows = np.concatenate([busy, np.zeros((4 - len(busy), busy.shape[1]), busy.dtype)])
        rows[len(busy) :, 0] = 1
        cores.append(dataclasses.replace(plain(core) if seed >= 16 else core, schedule=rows))
    return image.replace(cores=tuple(cores)), stimulus


EXTREMES = [Balance(rows, cells) for rows in (0, 1 << 40) for cells in (0, 1 << 40)]


@pytest.fixture
def abreast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every image run abreast that can, however few its periods and however many its cells."""
    monkeypatch.setattr(functional, "BUSY", np.inf)
    monkeypatch.setattr(functional, "LEAST_LANES", 1)


def in_order(image: SystemImage, stimulus: Stimulus, balance: Balance | None = None) -> RunResult:
    """Run the steps one after the other."""
    machine = Machine(image, balance=balance)
    machine._source.period = None
    return machine.run(stimulus, potentials=True)


@pytest.mark.usefixtures("abreast")
@pytest.mark.parametrize("seed", range(40))
def test_lanes_and_threads_equal_the_oracle(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "MOST_LANES", 3)
    image, stimulus = separable(seed)
    machine = Machine(image)
    assert machine._source.period == (4 if any(image.cores) else 1)
    expected = run_oracle(image, stimulus, cycles=False)
    assert diff(expected, in_order(image, stimulus)) is None
    for threads in (1, 2, 3):
        run = machine.run(stimulus, potentials=True, threads=threads)
        assert diff(expected, run) is None
        assert compared(expected, run) > 0
        assert np.array_equal(machine.run(stimulus, threads=threads).spikes, run.spikes)


@pytest.mark.usefixtures("abreast")
@pytest.mark.parametrize("balance", EXTREMES, ids=str)
@pytest.mark.parametrize("seed", range(40))
def test_every_way_of_integration_equals_the_oracle(seed: int, balance: Balance) -> None:
    """Whatever the ways cost, and so whichever is taken."""
    image, stimulus = separable(seed)
    expected = run_oracle(image, stimulus, cycles=False)
    machine = Machine(image, balance=balance)
    assert diff(expected, machine.run(stimulus, potentials=True)) is None
    assert diff(expected, in_order(image, stimulus, balance)) is None


@pytest.mark.usefixtures("abreast")
def test_separable_systems_run_abreast_in_every_way() -> None:
    """Both widths of sums, lists and ladders, kept potentials, every emission."""
    sources = [source for source in (Source(separable(seed)[0]) for seed in range(40)) if source.abreast]
    programs = [source.program for source in sources]
    assert len(sources) > 15
    assert {int(value) for p in programs for value in p.emission} == {0, 1, 2}
    assert {int(value) for p in programs for value in p.reset} == {0, 1, 2}
    assert {int(value) for p in programs for value in p.ladder[p.enabled > 0]} == {0, 1}
    assert {int(value) for s in sources for value in s.groups.narrow[s.groups.size > 0]} == {0, 1}
    assert {source.loudest > SMALL for source in sources} == {False, True}


@pytest.mark.usefixtures("abreast")
def test_loud_payloads_are_not_added_in_eight_bits() -> None:
    """Eight rows of 100 are beyond 8 bits: the run must not use the groups, whoever sends."""
    spec = SystemSpec(core=preset("reference"), width=1, height=1)
    core = make_core(np.ones((8, 1)), thresholds=[spec.core.never], reset=0)
    packets = [(step, 0, 0, 0, 0, axon, 100) for step in range(128) for axon in range(8)]
    image, stimulus = make_system(spec, core), make_stimulus(128, packets)
    machine = Machine(image, balance=Balance(cells_per_group=0))
    assert machine._source.groups.narrow.tolist() == [1]
    potentials = machine.run(stimulus, potentials=True).potentials
    assert potentials is not None
    assert (potentials[:, 3] == 800).all()


def test_dense_crossbars_run_in_order() -> None:
    """At a share of 0.2 it costs less to add the cells of events where a core has more than a few."""
    for density, abreast in ((0.02, True), (0.9, False)):
        cells = np.random.default_rng(5).random((300, 64)) < density
        image = make_system(SystemSpec(core=LONG, width=1, height=1), make_core(cells.astype(int), reset=0))
        assert Source(image, Balance()).abreast == abreast


def test_the_measurement_of_this_machine_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured() is measured()
    assert min(measured().rows_per_plane, measured().cells_per_group) > 0
    image, _ = separable(0)
    used = Source(image)
    assert (used.balance, used.program.rows_per_plane) == (measured(), measured().rows_per_plane)
    monkeypatch.setattr(functional, "measured", lambda: Balance(7, 9))
    other = Source(image)
    assert (other.program.rows_per_plane, other.groups.cells_per_group) == (7, 9)


def host_table(seed: int) -> tuple[SystemImage, Stimulus, NDArray[np.int64]]:
    """Return a system that runs abreast, whose host sends to a table of places, and the table."""
    rng = np.random.default_rng(seed)
    cores = [make_core(rng.integers(-1, 2, (8, 4)), reset=0, thresholds=[2], fanout=BELOW) for _ in range(3)]
    spec = SystemSpec(core=TINY, width=3, height=1)
    places = [
        (0, 2, 0, 0, 1),
        (1, 2, 0, 0, 1),
        (1, 1, 0, 0, 0),
        (0, 0, 1, 1, 5),
        (2, 2, 0, 0, 9),
        (0, 1, 0, 1, 3),
    ]
    table = np.array(places, np.int64)
    image = make_system(spec, *cores).replace(input_packet=table.astype(np.int32), input_element=np.arange(6))
    return image, make_stimulus(1), table


@pytest.mark.usefixtures("abreast")
@pytest.mark.parametrize("order", ["of the table", "of another", "with others"])
def test_packets_in_any_order_equal_the_oracle(order: str) -> None:
    """The table of an image says what to expect of its host, not what it may send."""
    image, _, table = host_table(1)
    rng = np.random.default_rng(2)
    packets = []
    for step in range(40):
        kept = table[rng.random(len(table)) < 0.5]
        if order == "with others":
            kept = np.concatenate([kept, table[:2] + np.array([0, 0, 0, 0, 9]), kept[:2]])
        if order != "of the table":
            kept = rng.permutation(kept)
        packets += [(step, *row, int(rng.integers(-4, 5))) for row in kept.tolist()]
    stimulus, machine = make_stimulus(40, packets), Machine(image)
    assert (machine._source.abreast, len(machine._source.slots)) == (True, 6)
    run = machine.run(stimulus, potentials=True, threads=2)
    assert diff(run_oracle(image, stimulus, cycles=False), run) is None
    assert min(run.total(name) for name in ("merges", "errors", "spikes", "hops")) > 0
    assert len(run.outputs) > 0


@pytest.mark.usefixtures("abreast")
def test_potentials_beyond_32_bits_run_in_order() -> None:
    wide = dataclasses.replace(LONG, potential_bits=32)
    cores = [make_core([[1]], reset=0, bias=bias, thresholds=[1]) for bias in (0, 1 << 30)]
    for core, width in ((cores[0], 24), (cores[1], 32)):
        spec = dataclasses.replace(wide, potential_bits=width)
        image = make_system(SystemSpec(core=spec, width=1, height=1), core)
        assert Source(image).abreast == (width == 24)


def test_separable_systems_do_something() -> None:
    runs = [Machine(image).run(stimulus) for image, stimulus in map(separable, range(40))]
    for name in ("spikes", "hops", "merges", "saturations", "errors", "router_errors", "packets"):
        assert sum(run.total(name) for run in runs) > 0, name
    assert sum(len(run.outputs) for run in runs) > 0


def test_mesh_with_too_many_rectangles_for_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    image, stimulus = random_system(3)
    expected = Machine(image).run(stimulus)
    assert expected.total("hops") > 0
    monkeypatch.setattr(arrays, "_MOST_RECTANGLES", 0)
    assert diff(expected, Machine(image).run(stimulus)) is None


KEPT: dict[str, Any] = {"reset": 2}
CLEAR: dict[str, Any] = {"reset": 0}
BELOW, NEXT = [[0, 0, 1, 1, 0, 1]], [[0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("fields", "period"),
    [
        (CLEAR | {"schedule": [FIRE]}, 1),
        (CLEAR | {"schedule": [[3, *FIRE[1:]], IDLE]}, 4),
        (CLEAR | {"schedule": [FIRE], "fanout": BELOW}, 1),
        (CLEAR | {"schedule": [FIRE], "fanout": NEXT}, None),
        (CLEAR | {"schedule": [FIRE], "fanout": NEXT, "connected": False}, 1),
        (CLEAR | {"schedule": [FIRE, [1, 0, 1, 1, 0, 0, 1]], "fanout": NEXT}, 2),
        (CLEAR | {"schedule": [FIRE, [1, 0, 1, 1, 1, 0, 0]], "fanout": NEXT}, 2),
        (CLEAR | {"schedule": [[4095, *IDLE[1:]], IDLE]}, 4096),
        (CLEAR | {"schedule": [[4095, *IDLE[1:]], [2, *IDLE[1:]]]}, None),
        (KEPT | {"schedule": [FIRE]}, None),
        (KEPT | {"schedule": [IDLE, [1, 1, 0, 0, 0, 0, 0], FIRE]}, 3),
        (KEPT | {"schedule": [IDLE, FIRE, [1, 1, 0, 0, 0, 0, 0]]}, None),
        (KEPT | {"schedule": [IDLE]}, 1),
        (CLEAR | {"schedule": [FIRE], "current_kept": 1}, None),
        (CLEAR | {"schedule": [FIRE], "refractory_period": 1}, None),
        (CLEAR | {"schedule": [FIRE], "current": 1}, None),
        (CLEAR | {"schedule": [FIRE], "refractory": 1}, None),
        (CLEAR | {"schedule": [[1, 1, *FIRE[2:]]], "refractory_period": 1, "current": 1}, 1),
    ],
)
def test_period_of_an_image(fields: dict[str, Any], period: int | None) -> None:
    assert period_of(make_system(ONE, make_core([[1]], **fields))) == period


def test_period_is_a_common_multiple() -> None:
    cores = [make_core([[1]], reset=0, schedule=[[repeat, *FIRE[1:]]]) for repeat in (4, 6)]
    spec = SystemSpec(core=TINY, width=2, height=1)
    assert period_of(make_system(spec, *cores)) == 12


@pytest.mark.usefixtures("abreast")
def test_cores_of_unlike_periods_equal_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "MOST_LANES", 2)
    fields: dict[str, Any] = {"reset": 0, "bias": 1, "fanout": BELOW}
    cores = [make_core(np.zeros((1, 32)), schedule=[[n, *FIRE[1:]]], **fields) for n in (1, 2, 3)]
    image = make_system(SystemSpec(core=TINY, width=3, height=1), *cores)
    assert period_of(image) == 6
    run = Machine(image).run(make_stimulus(40), potentials=True)
    assert len(run.spikes) == 3 * 32 * 40
    assert diff(run_oracle(image, make_stimulus(40), cycles=False), run) is None


@pytest.mark.parametrize("cycles", [False, True])
@pytest.mark.parametrize("reset", [0, 2])
def test_host_may_send_itself_more_than_a_record_holds(reset: int, cycles: bool) -> None:
    rows = [(1, 0, 0, 1, 1, axon % 4096, axon % 7) for axon in range(5000)]
    image = make_system(ONE, make_core([[1]], reset=reset))
    run = Machine(image).run(make_stimulus(2, rows), cycles=cycles)
    assert run.outputs.tolist() == sorted([0, row[5], row[6]] for row in rows)


@pytest.mark.parametrize("cycles", [False, True])
@pytest.mark.parametrize(("payloads", "value"), [([-256], -256), ([-256, -255], -255), ([255, -256], 255)])
def test_axon_holds_the_widest_payload(payloads: list[int], value: int, cycles: bool) -> None:
    core = dataclasses.replace(LONG, payload_bits=9)
    sums = make_core([[1], [-1]], reset=0, thresholds=[core.never])
    rows = [(0, 0, 0, 0, 0, 0, payload) for payload in payloads]
    image = make_system(SystemSpec(core=core, width=1, height=1), sums)
    run = Machine(image).run(make_stimulus(1, rows), cycles=cycles)
    assert (run.state["potential"].tolist(), run.total("merges")) == ([value], len(payloads) - 1)


def test_room_for_the_packets_of_a_step() -> None:
    fanout = [[0, 0, 1, 1, 0, False], [0, 0, 0, 0, 0, False], [0, 0, 0, 1, 9, True]]
    fields: dict[str, Any] = {"emission": [Emission.UNARY, Emission.COUNT, Emission.CONSTANT]}
    schedule = [[1, 0, 1, 1, 1, 0, 3, 0, 1]]
    core = make_core([[0] * 3], thresholds=[1, 2, 3], fanout=fanout, schedule=schedule, **fields)
    assert gateway_room(core, SystemSpec(core=LONG, width=1, height=1)) == 2 * (3 + 1 + 1)


@pytest.mark.parametrize("axons", [(2, 0), (0, 2)])
def test_discard_empties_every_place_whatever_the_order(axons: tuple[int, int]) -> None:
    core = make_core([[1], [1], [1]], reset=0, thresholds=[99], schedule=[IDLE, [3, 0, 1, 1, 0, 0, 0]])
    rows = [(step, 0, 0, 0, 0, axon, 1) for step in (0, 2) for axon in axons]
    run = Machine(make_system(ONE, core)).run(make_stimulus(3, rows))
    assert (run.state["potential"].tolist(), run.total("merges")) == ([2], 0)


@pytest.mark.parametrize(("rows", "outputs"), [(96, 1000), (1000, 96)])
@pytest.mark.parametrize("potentials", [False, True])
def test_kernel_stops_before_the_record_is_full(rows: int, outputs: int, potentials: bool) -> None:
    """32 neurons fire and send out in each step: three steps fit, not a row more."""
    source = Source(make_system(ONE, make_core(np.zeros((1, 32)), bias=1, fanout=BELOW)))
    state = arrays.make_state(source.program, source.state)
    record = arrays.make_record(rows=rows, outputs=outputs, visits=potentials)
    stimulus, at = make_stimulus(9), np.zeros(10, np.int64)
    step = fabric.run_steps(source.program, state, record, at, stimulus.packet, 32, 0, 9)
    assert (step, record.used[USED_OUTPUTS]) == (3, 96)


def test_run_goes_on_after_the_record_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "_LEAST_ROWS", 1)
    core = make_core(np.zeros((1, 32)), bias=1, fanout=BELOW)
    run = Machine(make_system(ONE, core)).run(make_stimulus(70), potentials=True)
    assert len(run.spikes) == len(run.outputs) == len(np.asarray(run.potentials)) == 32 * 70


@pytest.mark.usefixtures("abreast")
def test_period_that_exceeds_its_record_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "most_records", lambda *_: (-31, 0))
    image = make_system(ONE, make_core(np.zeros((1, 32)), bias=1, reset=0))
    with pytest.raises(RuntimeError, match=r"Records of periods 0\.\.1 exceed what their buffers hold"):
        Machine(image).run(make_stimulus(2))


def test_threads_below_one() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        Machine(make_system(ONE, None)).run(make_stimulus(1), threads=0)


@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_interrupt_stops_every_thread(threads: int, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "MOST_LANES", 1)
    monkeypatch.setattr(functional, "BUSY", np.inf)
    monkeypatch.setattr(functional, "LEAST_LANES", least)
    workers: list[Any] = []
    made = functional._Worker.__init__

    def note(worker: Any, *arguments: Any) -> None:
        made(worker, *arguments)
        workers.append(worker)

    monkeypatch.setattr(functional._Worker, "__init__", note)

    def interrupt(_done: int, _steps: int) -> None:
        raise KeyboardInterrupt

    image = make_system(ONE, make_core([[1]], reset=0))
    steps = 200_000 if least == 1 else 2_000_000
    with pytest.raises(KeyboardInterrupt):
        Machine(image).run(make_stimulus(steps), threads=threads, progress=interrupt)
    assert len(workers) == threads
    assert sum(worker.done for worker in workers) < steps


@pytest.mark.usefixtures("abreast")
@pytest.mark.parametrize("balance", EXTREMES, ids=str)
@pytest.mark.parametrize("payload", [-32, 31])
def test_loud_payloads_of_either_sign_add_up(payload: int, balance: Balance) -> None:
    """The image itself sends softly: only the host's payloads, of one sign, are too loud for 8 bits."""
    core = make_core(np.ones((64, 8), np.int64), reset=0, thresholds=[LONG.always], schedule=[FIRE])
    image = make_system(SystemSpec(core=LONG, width=1, height=1), core)
    rows = [(step, 0, 0, 0, 0, axon, payload) for step in range(24) for axon in range(64)]
    machine, stimulus = Machine(image, balance=balance), make_stimulus(24, rows)
    assert (machine._source.abreast, machine._source.loudest <= SMALL) == (True, True)
    assert diff(run_oracle(image, stimulus, cycles=False), machine.run(stimulus, potentials=True)) is None


@pytest.mark.usefixtures("abreast")
def test_ladder_abreast_subtracts_the_threshold_nearest_to_zero() -> None:
    """Of a count below zero that is the one above it; the others are subtracted as they are."""
    ladder, schedule = [[1, 5 << 8, 100, 0]], [[1, 1, 1, 1, 1, 3, 3, 0, 0]]
    fields: dict[str, Any] = {"signed": 1, "emission": Emission.COUNT, "reset": Reset.SUBTRACT}
    image = make_system(ONE, make_core([[1, -1]], ladders=ladder, schedule=schedule, **fields))
    rows = [(step, 0, 0, 0, 0, 0, payload) for step, payload in enumerate(range(-8, 8))]
    machine, stimulus = Machine(image), make_stimulus(len(rows), rows)
    assert machine._source.abreast
    expected = run_oracle(image, stimulus, cycles=False)
    assert {*expected.spikes[:, 3].tolist()} >= {-2, -1, 1}
    assert diff(expected, machine.run(stimulus, potentials=True)) is None
