# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of a whole chip: runs inside the simulator, one session after the other.

The environment names the folder with the jobs: ``job<i>.npz`` in, ``result<i>.npz`` or ``failure<i>.txt``
out. A job with either is finished; ``started<i>`` tells which one a dying simulator was at. Beside a job
there may be an ``expected<i>.npz`` with the result it must have. SPIKELOOM_PACE may name a file that gets a
line for every run: its cycles and its processor seconds.
"""

import faulthandler
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from emu.trace import compared, diff
from rtl.gateway import of_gate
from sim_tests.bench.job import BenchJob, load_result, save_result
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.session import Drive, Session
from spikeloom.ending import follow_parent

__all__ = ["CocotbPins", "lock_step"]

WATCH_CYCLES, WATCH_SECONDS = 256, 180
"""A simulator that needs longer than this for so few cycles hangs within a cycle, and is ended."""


class CocotbPins:
    """The pins of the module ``bench`` through the simulator; handles are looked up once."""

    def __init__(self, dut: Any) -> None:
        self._status, self._flit, self._beats = dut.status, dut.flit, dut.beats
        self._passed = dut.passed

    def status(self) -> int:
        """What happens in this cycle."""
        return _number(self._status)

    def flit(self) -> int:
        """The flits that leave the chip in this cycle."""
        return _number(self._flit)

    def beats(self) -> int:
        """The neuron beats of this cycle."""
        return _number(self._beats)

    def passed(self) -> int:
        """The spikes that entered the chip since reset, and above them those that left."""
        return _number(self._passed)


def _number(handle: Any) -> int:
    """Return a vector's value; the bench masks what is not valid, so every bit must be defined."""
    try:
        return int(handle.value)
    except ValueError:
        raise BenchError(f"{handle._name} has undefined bits: {handle.value}") from None


async def lock_step(dut: Any, job: BenchJob) -> Session:
    """Run one job: every cycle is sampled and driven at the falling edge, when all signals have settled."""
    session, pins, edge, cycle = Session(job), CocotbPins(dut), FallingEdge(dut.clk), 0
    inlets = [
        [getattr(dut, f"{of_gate('host_i', n)}__{what}") for what in ("valid", "payload")]
        for n in range(session.gates[0])
    ]
    outlets = [getattr(dut, f"{of_gate('host_o', n)}__ready") for n in range(session.gates[1])]
    last = Drive((None,) * len(inlets), reset=True)
    dut.rst.value = 1
    for pin, level in [*((pin, 0) for pins_of in inlets for pin in pins_of), *((pin, 1) for pin in outlets)]:
        pin.value = level
    while not session.done:
        if cycle % WATCH_CYCLES == 0:
            faulthandler.dump_traceback_later(WATCH_SECONDS, exit=True)
        cycle += 1
        await edge
        drive = session.cycle(pins)
        if drive != last:
            for (valid, payload), flit in zip(inlets, drive.flits, strict=True):
                valid.value = int(flit is not None)
                if flit is not None:
                    payload.value = flit
            if drive.reset != last.reset:
                dut.rst.value = int(drive.reset)
            if drive.accept != last.accept:
                for ready in outlets:
                    ready.value = int(drive.accept)
            last = drive
    return session


async def _run_job(dut: Any, folder: Path, number: str) -> str | None:
    """Run one job; return how it failed."""
    (folder / f"started{number}").touch()
    try:
        session = await lock_step(dut, BenchJob.load_file(folder / f"job{number}.npz"))
        result = session.result(os.environ.get("SPIKELOOM_ENGINE", "cocotb"))
        expected = folder / f"expected{number}.npz"
        if expected.exists():
            _compare(expected, result)
        if "SPIKELOOM_PACE" in os.environ:
            with Path(os.environ["SPIKELOOM_PACE"]).open("a") as file:
                file.write("{} {}\n".format(*session.pace))
        save_result(result, folder / f"result{number}.npz")
    except AssertionError as error:
        (folder / f"failure{number}.txt").write_text(str(error))
        return str(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return None


def _compare(path: Path, result: Any) -> None:
    expected = load_result(path)
    divergence = diff(expected, result)
    if divergence is not None:
        raise BenchError(str(divergence))
    cocotb.log.warning("%s: %d values compared, all equal", path.name, compared(expected, result))


@cocotb.test()
async def run_jobs(dut: Any) -> None:
    """Run every unfinished job of the folder; a failed one is written down and the next one runs."""
    follow_parent(os.getppid())
    folder = Path(os.environ["SPIKELOOM_JOBS"])
    Clock(dut.clk, 10, unit="ns").start()
    numbers = [path.stem.removeprefix("job") for path in sorted(folder.glob("job*.npz"))]
    assert numbers, "no job to run"
    failures = {}
    for number in numbers:
        done = (folder / f"result{number}.npz").exists() or (folder / f"failure{number}.txt").exists()
        if not done and (failure := await _run_job(dut, folder, number)):
            failures[number] = failure
    assert not failures, f"jobs failed: {failures}"
