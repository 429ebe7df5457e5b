# SPDX-License-Identifier: Apache-2.0
"""The bench itself: a scoreboard that cannot be satisfied by silence, monitors that read the right bits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from emu.bits import layout_bits, pack
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import diff
from emu.words import STATE_FIELDS, Activity, Kind, Section, beat_layout
from sim_tests.bench.block_player import flit
from sim_tests.bench.job import BenchJob, load_result, prepare, save_result
from sim_tests.bench.scoreboard import BenchError, Scoreboard
from sim_tests.bench.session import CoreMonitor, GatewayMonitor, Session
from sim_tests.bench.top import Sample
from sim_tests.generators.systems import make_core, make_stimulus, make_system

SPEC = SystemSpec(core=preset("tiny"), width=2, height=1)
BEATS = [[0, 0, 0, -5, -9, 1, 1], [0, 0, 1, 7, 0, 0, 0], [0, 1, 0, 3, 8, 7, -2], [1, 0, 0, -4, 0, 0, 0]]


def job(beats: list[list[int]] = BEATS, steps: int = 2) -> BenchJob:
    core = make_core([[1, 1]], bias=1, fanout=[[0, 0, 1, 1, 0, True]])
    image, stimulus = make_system(SPEC, core, None), make_stimulus(steps, [(0, 0, 0, 0, 0, 0, 1)])
    made = prepare(image, stimulus, Machine(image).run(stimulus, cycles=True, potentials=True))
    return dataclasses.replace(made, beats=np.array(beats, np.int64).reshape(-1, 7))


def test_scoreboard_is_content_with_what_is_expected() -> None:
    board = Scoreboard(job())
    for beat in [BEATS[2], BEATS[0], BEATS[1], BEATS[3]]:
        board.push(beat)
    board.finish(minimum=4)
    assert (board.compared, board.spikes, len(board.visits)) == (4, [(0, 1, 0, -2), (0, 0, 0, 1)], 4)


@pytest.mark.parametrize(
    ("place", "what"),
    [(0, "visited"), (2, "visited"), (3, "potentials"), (4, "currents"), (5, "refractory"), (6, "spikes")],
)
def test_scoreboard_refuses_a_beat_that_differs(place: int, what: str) -> None:
    beat = list(BEATS[0])
    beat[place] += 1
    with pytest.raises(BenchError, match=f"^{what}"):
        Scoreboard(job()).push(beat)


def test_scoreboard_refuses_a_beat_too_many() -> None:
    board = Scoreboard(job(BEATS[:1]))
    board.push(BEATS[0])
    with pytest.raises(BenchError, match="visited neurons"):
        board.push(BEATS[1])


def test_scoreboard_refuses_a_beat_too_few() -> None:
    board = Scoreboard(job(BEATS[:2]))
    board.push(BEATS[0])
    with pytest.raises(BenchError, match=r"^core 0 stored fewer neurons than expected$"):
        board.finish()


def test_scoreboard_refuses_to_have_compared_nothing() -> None:
    with pytest.raises(BenchError, match=r"^only 0 neuron beats were compared, at least 1 are demanded$"):
        Scoreboard(job([])).finish()


class Pins:
    """Pins with given values."""

    def __init__(self, beats: int = 0) -> None:
        self._beats = beats

    def beats(self) -> int:
        return self._beats

    def status(self) -> int:
        return 1

    def flit(self) -> int:
        return 0

    def passed(self) -> int:
        return 0


def status(stored: int = 0, finished: int = 0, activity: tuple[int, int] = (4, 4)) -> int:
    sample = Sample(cores=2)
    packed = activity[0] | activity[1] << 3
    return stored << sample.stored | finished << sample.finished | packed << sample.activity


def test_core_monitor_reads_state_and_signed_count_of_each_core() -> None:
    monitor = CoreMonitor(SPEC, Scoreboard(job()))
    layout = beat_layout(SPEC)
    words = [
        pack(layout, dict(zip(("neuron", *STATE_FIELDS, "count"), beat[2:], strict=True)))
        for beat in (BEATS[0], BEATS[2])
    ]
    monitor.cycle(3, status(stored=3), Pins(words[0] | words[1] << layout_bits(layout)))
    assert monitor.scoreboard.visits == [BEATS[0][:-1], BEATS[2][:-1]]
    assert monitor.scoreboard.spikes == [(0, 0, 0, 1), (0, 1, 0, -2)]


def test_core_monitor_notes_the_cycle_of_each_token() -> None:
    monitor = CoreMonitor(SPEC, Scoreboard(job()))
    monitor.cycle(5, status(finished=0b10), Pins())
    monitor.cycle(9, status(finished=0b11), Pins())
    assert monitor.finished == [[9], [5, 9]]


def test_core_monitor_counts_activities_up_to_the_last_active_cycle() -> None:
    monitor = CoreMonitor(SPEC, Scoreboard(job()))
    update, paused = int(Activity.UPDATE), int(Activity.PAUSED)
    for now, activity in [
        (-1, (update, update)),
        (0, (update, paused)),
        (1, (paused, update)),
        (2, (paused, paused)),
    ]:
        monitor.cycle(now, status(activity=activity), Pins())
    counts = monitor.activity_counts()
    assert (monitor.last_active, counts["update"], counts["paused"]) == (1, [1, 1], [1, 1])


def test_gateway_monitor_sorts_by_kind() -> None:
    monitor = GatewayMonitor(SPEC)
    for now, fields in enumerate(
        [(Kind.TOKEN, 0), (Kind.SPIKE, 0xE005), (Kind.TOKEN, 1), (Kind.SPIKE, 0x7FFF), (Kind.REPLY, 0xABCD)]
    ):
        monitor.cycle(now, flit(SPEC, kind=fields[0], data=fields[1]))
    assert (monitor.tokens, monitor.pauses, monitor.replies) == ([0, 2], 1, [0xABCD])
    assert monitor.outputs == [(0, 5, -2), (1, 0xFFF, 7)]
    with pytest.raises(BenchError, match=r"^the gateway put out a flit of kind 4$"):
        monitor.cycle(9, flit(SPEC, kind=Kind.WRITE))


def _last(session: Session) -> None:
    for _ in range(10**6):
        session.cycle(Pins())


def test_session_of_a_chip_that_does_nothing_ends_with_an_error() -> None:
    session = Session(job())
    with pytest.raises(BenchError, match=r" did not end within \d+ cycles"):
        _last(session)


@pytest.mark.parametrize("missing", ["beats", "core token", "gateway token", "pause"])
def test_session_result_demands_that_all_was_seen(missing: str) -> None:
    session = Session(job(BEATS[:0] if missing != "beats" else BEATS))
    session._cores.finished = [[1, 2, 3], [1, 2, 3]] if missing != "core token" else [[1, 2, 3], [1, 2]]
    session.gateway.tokens = [1, 2, 3] if missing != "gateway token" else [1, 2]
    session.gateway.pauses = int(missing != "pause")
    session._reads = {(core, Section.COUNTER): [0] * 72 for core in range(2)}
    with pytest.raises(BenchError, match=r"core 0 stored fewer|cores sent \[3, 2\] tokens|the gateway saw"):
        session.result("test")


def test_session_reads_counters_and_states_from_their_chunks() -> None:
    session = Session(job())
    for core in range(2):
        session._reads[core, Section.COUNTER] = [core + 1, 2, 3, 9] + [0] * 68
    session._reads[0, Section.STATE] = [0xF7FF, 0x05FF, 0x1800, 0x0080]
    assert session._counters()["spikes"] == [1 | 2 << 16 | 3 << 32, 2 | 2 << 16 | 3 << 32]
    assert session._state() == {"potential": [2047, -2048], "current": [-1, -2047], "refractory": [5, 0]}


def test_job_expects_every_stored_neuron_with_its_spikes() -> None:
    core = make_core([[1, 1]], bias=[0, 1], thresholds=[2])
    image, stimulus = make_system(SPEC, None, core), make_stimulus(2, [(0, 1, 1, 0, 0, 0, 1)])
    made = prepare(image, stimulus, Machine(image).run(stimulus, cycles=True, potentials=True))
    assert made.beats.tolist() == [
        [*row[:4], 0, 0, row[4]]
        for row in ((0, 1, 0, 1, 0), (0, 1, 1, 0, 1), (1, 1, 0, 1, 0), (1, 1, 1, 1, 0))
    ]
    assert (made.neurons.tolist(), made.steps, len(made.run)) == ([-1, 2], 2, 4)


def test_job_needs_potentials_and_cycles() -> None:
    image, stimulus = make_system(SPEC, None, make_core([[1]])), make_stimulus(1)
    with pytest.raises(ValueError, match="must carry potentials"):
        prepare(image, stimulus, Machine(image).run(stimulus, cycles=True))
    with pytest.raises(ValueError, match="must carry cycles"):
        prepare(image, stimulus, Machine(image).run(stimulus, potentials=True))


def test_job_reads_all_counters_and_potentials_of_enabled_cores() -> None:
    asked = [(core, section, chunks) for core, section, _, chunks in job().read_requests()]
    assert asked == [(0, Section.COUNTER, 72), (0, Section.STATE, 4), (1, Section.COUNTER, 72)]


def test_job_and_result_survive_their_files(tmp_path: Path) -> None:
    made = job()
    made.save(tmp_path / "job.npz")
    back = BenchJob.load_file(tmp_path / "job.npz")
    assert back.spec == made.spec
    for field in dataclasses.fields(BenchJob):
        assert np.array_equal(getattr(back, field.name), getattr(made, field.name)), field.name
    image, stimulus = make_system(SPEC, make_core([[1]]), None), make_stimulus(2)
    result = Machine(image).run(stimulus, cycles=True, potentials=True)
    save_result(result, tmp_path / "result.npz")
    again = load_result(tmp_path / "result.npz")
    assert diff(result, again) is None
    assert (again.mode, again.engine, list(again.counters)) == ("cycle", "emulator", list(result.counters))
