# SPDX-License-Identifier: Apache-2.0
"""Amaranth's own simulator as an engine: slow, but it needs neither a compiler nor Verilog."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from amaranth.hdl import Value

from emu.spec import COUNTER_BITS
from emu.trace import RunResult
from emu.words import beat_layout
from rtl.gateway import of_gate
from sim_tests.bench.job import BenchJob
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.session import Session
from sim_tests.bench.top import Sample, gates_of

__all__ = ["play", "run_pysim"]


class _Pins:
    """The chip's pins in Amaranth's simulator, laid out as the module ``bench`` does."""

    def __init__(self, context: Any, chip: Any, reset: Any, job: BenchJob) -> None:
        self._get, self._chip, self._reset, self._cores = context.get, chip, reset, job.spec.cores
        self._gates, self._flit_bits = gates_of(job.spec), job.spec.flit_bits
        self._sample, self._stray = Sample(cores=job.spec.cores, gates=self._gates), 0
        self._widths = {field.name: field.bits for field in beat_layout(job.spec)}

    def _observe(self, name: str) -> int:
        return int(self._get(getattr(self._chip, f"observe_{name}")))

    def _of_gates(self, name: str, member: str, count: int, bits: int) -> int:
        """Return a member of the streams of all inlets or outlets, or a counter, the first gate's lowest."""
        pins = [getattr(self._chip, of_gate(name, number)) for number in range(count)]
        values = [getattr(pin, member) if member else pin for pin in pins]
        return sum(int(self._get(Value.cast(value))) << at * bits for at, value in enumerate(values))

    def status(self) -> int:
        """What happens in this cycle."""
        stray = self._stray
        self._stray = int(stray or (not self._get(self._reset) and self._observe("stray") > 0))
        return (
            self._of_gates("host_i", "ready", self._gates[0], 1) * self._sample.ready
            | self._of_gates("host_o", "valid", self._gates[1], 1) * self._sample.valid
            | stray * self._sample.stray
            | self._observe("valid") << self._sample.stored
            | self._observe("finished") << self._sample.finished
            | self._observe("activity") << self._sample.activity
        )

    def flit(self) -> int:
        """The flits that leave the chip in this cycle."""
        return self._of_gates("host_o", "payload", self._gates[1], self._flit_bits)

    def passed(self) -> int:
        """The spikes that entered the chip since reset, and above them those that left."""
        into = self._of_gates("stimulus", "", self._gates[0], COUNTER_BITS)
        out = self._of_gates("outputs", "", self._gates[1], COUNTER_BITS)
        return into | out << self._gates[0] * COUNTER_BITS

    def beats(self) -> int:
        """The neuron beats of this cycle."""
        packed = {name: self._observe(name) for name in self._widths}
        beats = shift = 0
        for core in range(self._cores):
            for name, bits in self._widths.items():
                beats |= (packed[name] >> core * bits & (1 << bits) - 1) << shift
                shift += bits
        return beats


def play(session: Session, waves: Path | None = None) -> None:
    """Lead a session through a chip.

    Parameters
    ----------
    session : which bounds every wait.
    waves : where to put a wave file (VCD).

    Raises
    ------
    BenchError : the chip did something else than the session expects.
    """
    from amaranth.hdl import ClockDomain, Module
    from amaranth.sim import Simulator

    from rtl.system import top_of

    chip, top = top_of(session.job.spec, observe=True, instances=False), Module()
    clock: Any = ClockDomain("sync")
    top.domains.sync = clock
    top.submodules.chip = chip
    failures: list[BenchError] = []

    async def bench(context: Any) -> None:
        pins = _Pins(context, chip, clock.rst, session.job)
        context.set(clock.rst, 1)
        try:
            while not session.done:
                await context.tick()
                drive = session.cycle(pins)
                context.set(clock.rst, drive.reset)
                for number, flit in enumerate(drive.flits):
                    stream = getattr(chip, of_gate("host_i", number))
                    context.set(stream.valid, flit is not None)
                    context.set(stream.payload.as_value(), flit or 0)
                for number in range(session.gates[1]):
                    context.set(getattr(chip, of_gate("host_o", number)).ready, drive.accept)
        except BenchError as error:
            failures.append(error)

    simulator: Any = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    if waves is not None:
        waves.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if waves is None else simulator.write_vcd(str(waves)):
        simulator.run()
    if failures:
        raise failures[0]


def run_pysim(job: BenchJob, waves: Path | None = None) -> RunResult | BenchError:
    """Run one job; a divergence gives its `BenchError`.

    Parameters
    ----------
    job : what to run.
    waves : where to put a wave file (VCD).
    """
    session = Session(job)
    try:
        play(session, waves)
        return session.result("pysim")
    except BenchError as error:
        return error
