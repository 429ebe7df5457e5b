# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of a whole chip: runs inside the simulator, one session after the other.

The environment names the folder with the jobs: ``job<i>.npz`` in, ``result<i>.npz`` or ``failure<i>.txt`` out.
"""

import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from sim_tests.bench.job import BenchJob, save_result
from sim_tests.bench.session import Session

__all__ = ["CocotbPins", "lock_step"]


class CocotbPins:
    """The chip's pins through the simulator; handles are looked up once."""

    def __init__(self, dut: Any) -> None:
        self._ready, self._valid, self._payload = dut.host_i__ready, dut.host_o__valid, dut.host_o__payload
        self._observe = {n: getattr(dut, f"observe_{n}") for n in ("valid", "neuron", "potential", "count", "activity", "finished")}

    def ready(self) -> int:
        """Whether a flit offered in this cycle enters the chip."""
        return int(self._ready.value)

    def output(self) -> int | None:
        """The flit that leaves the chip in this cycle."""
        return int(self._payload.value) if int(self._valid.value) else None

    def observe(self, name: str) -> int:
        """A packed observe field of all cores."""
        value = self._observe[name].value
        return int(value) if value.is_resolvable else _resolved(str(value), self._observe[name], name)


def _resolved(bits: str, handle: Any, name: str) -> int:
    """Fields of cores that store nothing in this cycle may be undefined; strobes never."""
    if name in ("valid", "finished", "activity"):
        raise AssertionError(f"observe_{name} is undefined: {bits}")
    return int("".join(bit if bit in "01" else "0" for bit in bits), 2)


async def _reset(dut: Any) -> None:
    dut.host_i__valid.value = 0
    dut.host_i__payload.value = 0
    dut.host_o__ready.value = 1
    dut.rst.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0


async def lock_step(dut: Any, job: BenchJob) -> Session:
    """Run one job: every cycle is sampled and driven at the falling edge, when all signals have settled."""
    await _reset(dut)
    session, pins, last = Session(job), CocotbPins(dut), None
    while not session.done:
        await FallingEdge(dut.clk)
        flit = session.cycle(pins)
        if flit is None:
            if last is not None:
                dut.host_i__valid.value = 0
        elif flit != last:
            dut.host_i__valid.value = 1
            dut.host_i__payload.value = flit
        last = flit
    return session


@cocotb.test()
async def run_jobs(dut: Any) -> None:
    """Run every job of the folder; a failed one is written down and the next one runs."""
    folder = Path(os.environ["SPIKELOOM_JOBS"])
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    jobs = sorted(folder.glob("job*.npz"))
    assert jobs, "no job to run"
    for path in jobs:
        number = path.stem.removeprefix("job")
        try:
            session = await lock_step(dut, BenchJob.load_file(path))
            save_result(session.result(os.environ["SPIKELOOM_ENGINE"]), folder / f"result{number}.npz")
        except AssertionError as error:
            (folder / f"failure{number}.txt").write_text(str(error))
