# SPDX-License-Identifier: Apache-2.0
"""The bench itself, without a simulator: what it must refuse."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from emu.spec import SystemSpec
from emu.trace import compared, diff
from sim_tests.bench.amaranth_engine import run_pysim
from sim_tests.bench.engines import EngineError, check_spec, choose, run_jobs
from sim_tests.bench.job import BenchJob, prepare
from sim_tests.bench.prelude import Phase
from sim_tests.bench.scoreboard import BenchError, Scoreboard
from sim_tests.bench.session import SPARE_CYCLES, Session
from sim_tests.bench.streams import Offer
from sim_tests.bench.systems import System, judge, seeded_system
from sim_tests.generators.pool import PLAIN


@pytest.fixture(scope="module")
def system() -> System:
    """Return a random system on two cores, which has beats on both."""
    return seeded_system(5, SystemSpec(core=PLAIN, width=2, height=1))


@pytest.fixture
def job(system: System) -> BenchJob:
    return prepare(system.image, system.stimulus, system.expected)


@dataclasses.dataclass
class DeadPins:
    """A chip that takes everything, or nothing, and never does anything."""

    level: int = 0

    def status(self) -> int:
        return self.level

    def flit(self) -> int:
        return 0

    def beats(self) -> int:
        return 0

    def passed(self) -> int:
        return 0


class Unmoved(Session):
    """A session that finds its chip loaded and in good order."""

    def _prelude(self) -> Iterator[Offer]:
        self.enter("reset", 3)
        yield from self._hold_reset()


def drive(session: Session, pins: DeadPins) -> Session:
    for _ in range(10 * SPARE_CYCLES):
        if session.done:
            break
        session.cycle(pins)
    return session


def beats(job: BenchJob) -> list[list[int]]:
    rows: list[list[int]] = job.beats.tolist()
    return rows


def push_all(job: BenchJob, rows: list[list[int]]) -> Scoreboard:
    scoreboard = Scoreboard(job)
    for row in rows:
        scoreboard.push(list(row))
    return scoreboard


def test_scoreboard_that_saw_everything_is_content(job: BenchJob) -> None:
    scoreboard = push_all(job, beats(job))
    scoreboard.finish(minimum=len(job.beats))
    assert scoreboard.compared == len(job.beats) > 0


def test_scoreboard_that_saw_nothing_fails(job: BenchJob) -> None:
    with pytest.raises(BenchError, match=r"^core \d stored fewer neurons than expected$"):
        Scoreboard(job).finish()


def test_scoreboard_that_compared_nothing_fails(job: BenchJob) -> None:
    empty = dataclasses.replace(job, beats=job.beats[:0])
    message = "^only 0 neuron beats were compared, at least 1 are demanded$"
    with pytest.raises(BenchError, match=message):
        Scoreboard(empty).finish()


def test_scoreboard_that_misses_the_last_beat_fails(job: BenchJob) -> None:
    with pytest.raises(BenchError, match="stored fewer neurons than expected"):
        push_all(job, beats(job)[:-1]).finish()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (0, r"visited neurons differ first at step \d+, core \d: expected \d+, got \d+"),
        (2, r"visited neurons differ first at step \d+, core \d: expected \d+, got \d+"),
        (3, r"potentials differ first at step \d+, core \d, neuron \d+: expected (-?\d+), got (-?\d+)"),
        (4, r"currents differ first at step \d+, core \d, neuron \d+: expected \d+, got \d+"),
        (5, r"refractory counts differ first at step \d+, core \d, neuron \d+: expected \d+, got \d+"),
        (6, r"spikes differ first at step \d+, core \d, neuron \d+: expected \d+, got \d+"),
    ],
)
def test_scoreboard_names_the_place_of_a_wrong_beat(job: BenchJob, column: int, message: str) -> None:
    rows = beats(job)
    rows[len(rows) // 2][column] += 1
    with pytest.raises(BenchError, match=f"^{message}$"):
        push_all(job, rows)


def test_scoreboard_refuses_a_beat_too_many(job: BenchJob) -> None:
    scoreboard = push_all(job, beats(job))
    with pytest.raises(BenchError, match=r"visited neurons differ first at .*: expected None, got \d+"):
        scoreboard.push(list(beats(job)[-1]))


def test_chip_that_does_nothing_ends_the_prelude(job: BenchJob) -> None:
    phase = Phase(job.resets[0, 0])
    session = Session(job)
    message = rf"^the foreign run until {phase.name.lower()} did not end within \d+ cycles$"
    with pytest.raises(BenchError, match=message):
        drive(session, DeadPins(level=int(phase != Phase.LOADING)))


def test_chip_that_takes_nothing_ends_the_loading(job: BenchJob) -> None:
    with pytest.raises(BenchError, match=r"^loading did not end within \d+ cycles$"):
        drive(Unmoved(job), DeadPins())


def test_chip_that_does_nothing_ends_the_run(job: BenchJob) -> None:
    limit = 4 * (len(job.run) + job.elapsed + Session(job).settle) + SPARE_CYCLES
    message = rf"^the run did not end within {limit} cycles; core 0 has sent 0 of {job.steps + 1} tokens$"
    with pytest.raises(BenchError, match=message):
        drive(Unmoved(job), DeadPins(level=1))


def test_job_survives_its_file(job: BenchJob, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("job") / "job.npz"
    job.save(path)
    again = BenchJob.load_file(path)
    for field in dataclasses.fields(BenchJob):
        assert np.array_equal(getattr(again, field.name), getattr(job, field.name)), field.name


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("visits", r"^Expected result must carry potentials; run the machine with potentials=True\.$"),
        ("elapsed", r"^Expected result must carry cycles; run the machine with cycles=True\.$"),
    ],
)
def test_job_demands_a_whole_expectation(system: System, missing: str, message: str) -> None:
    nothing: dict[str, Any] = {missing: None}
    poor = dataclasses.replace(system.expected, **nothing)
    with pytest.raises(ValueError, match=message):
        prepare(system.image, system.stimulus, poor)


def test_pysim_result_is_whole_and_equal(system: System, job: BenchJob) -> None:
    result = run_pysim(job)
    assert not isinstance(result, BenchError)
    assert diff(system.expected, result) is None
    assert compared(system.expected, result) == compared(system.expected, system.expected)


def test_pysim_tells_where_the_expectation_is_wrong(job: BenchJob) -> None:
    wrong = job.beats.copy()
    wrong[-1, 3] += 1
    result = run_pysim(dataclasses.replace(job, beats=wrong))
    assert isinstance(result, BenchError)
    assert str(result).startswith("potentials differ first at step ")


def test_pysim_tells_which_memory_is_wrong(job: BenchJob) -> None:
    wrong = job.chunks.copy()
    wrong[-1] ^= 1
    result = run_pysim(dataclasses.replace(job, chunks=wrong))
    assert isinstance(result, BenchError)
    assert str(result) == "chunk 16 of identity of core 1 reads 0x0000, not 0x0001"


def test_judge_finds_a_wrong_counter_and_a_doubt(system: System) -> None:
    counters = dict(system.expected.counters)
    counters["hops"] = counters["hops"] + np.array([0, 1])
    outcome = judge(system, dataclasses.replace(system.expected, counters=counters))
    assert (outcome.failure or "").startswith("counter hops differ first at core 1: expected ")
    doubtful = dataclasses.replace(system, doubt="emulator and oracle: spikes differ")
    assert judge(doubtful, system.expected).failure == "emulator and oracle: spikes differ"
    assert judge(system, BenchError("it hangs")).failure == "it hangs"


def test_jobs_of_one_run_share_their_sizes(job: BenchJob) -> None:
    other = dataclasses.replace(job, spec=SystemSpec(core=job.spec.core, width=1, height=1))
    with pytest.raises(ValueError, match=r"^Jobs of one run must share one geometry, not 2\.$"):
        check_spec([job, other])
    with pytest.raises(ValueError, match=r"^Jobs of one run must share one geometry, not 0\.$"):
        check_spec([])


def test_waves_are_of_one_job(job: BenchJob, tmp_path_factory: pytest.TempPathFactory) -> None:
    waves = tmp_path_factory.mktemp("waves") / "w.vcd"
    with pytest.raises(ValueError, match=r"^waves must be of one job, not 2\.$"):
        run_jobs({}, [job, job], engine="pysim", waves=waves)


def test_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim_tests.bench.engines.available", lambda: ("pysim",))
    message = (
        r"^Simulator icarus is not installed here, only pysim; 'spikeloom doctor' says what is missing\.$"
    )
    with pytest.raises(EngineError, match=message):
        choose("icarus")
    assert choose() == "pysim"
