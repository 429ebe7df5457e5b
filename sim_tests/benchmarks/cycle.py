# SPDX-License-Identifier: Apache-2.0
"""Speed of the cycle mode beside cocotb and Verilator, on one image and the same stimuli, in one run.

Both are counted in processor time over whole timesteps, idle spans included. The emulator's time is that of
the whole `Machine.run`. The simulator's is that of the run that ``spikeloom verify --sim verilator`` makes,
from the first stimulus flit until the network is quiet: neither building, starting, loading nor read-back.
The results are compared value by value; unequal ones are an error.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import RunResult, Stimulus, diff
from rtl.export import chip_verilog
from sim_tests.bench.engines import available, run_jobs
from sim_tests.bench.job import prepare
from sim_tests.benchmarks.measure import REPEATS, Options, Row
from sim_tests.generators.systems import make_core, make_system

__all__ = ["IMAGE_DIGEST", "LOADS", "injection_rates", "random_image", "rows", "stimulus"]

SIDE, DRIVEN, RECURRENT, STEPS = 4, 64, 128, 20
IMAGE_DIGEST = "ab518a5282416e34b4fef9bbb542272d366fd2a664f7af35b91075e8f45f3e2e"
"""Digest of `random_image`: figures of different images are not comparable."""

LOADS = {0.01: 2.1875, 0.02: 6.0, 0.03: 12.75}
"""Injections per core and cycle -> stimulus packets of a step that bring them about, see `stimulus`."""

_ROUNDS = 2


def random_image() -> SystemImage:
    """Return 4 x 4 cores of the preset ``small``, 256 neurons each, whose spikes go to random places.

    Stimulus axons make four neurons of every core fire. Of 64 neurons one sends to the gateway, four to a
    square of four cores, the others to one core. What arrives disturbs the next step but hardly makes spikes,
    so the stimulus sets the load.
    """
    spec = SystemSpec(core=preset("small"), width=SIDE, height=SIDE)
    rng, n = np.random.default_rng(3), spec.core.columns
    cores = []
    for _ in range(spec.cores):
        cells = np.zeros((DRIVEN + RECURRENT, n), np.int8)
        cells[np.arange(n) % DRIVEN, rng.permutation(n)] = 1
        cells[DRIVEN:] = rng.choice([-1, 0, 1], (RECURRENT, n), p=[0.05, 0.9, 0.05])
        x, y = rng.integers(0, SIDE, (2, n))
        fanout = np.stack([x, x, y, y, rng.integers(DRIVEN, DRIVEN + RECURRENT, n), np.ones_like(x)], axis=1)
        corner = rng.integers(0, SIDE - 1, (n // 16, 2))
        fanout[::16, :4] = corner[:, [0, 0, 1, 1]] + [0, 1, 0, 1]
        fanout[5::64, :4] = [0, 0, SIDE, SIDE]
        cores.append(
            make_core(
                cells,
                thresholds=[spec.core.payload_max // 2],
                reset=0,
                fanout=fanout,
                fanout_base=np.arange(n),
            )
        )
    return make_system(spec, *cores)


def stimulus(image: SystemImage, packets: float, steps: int | None = None) -> Stimulus:
    """Return steps of so many packets each, for axons that make neurons fire.

    Whole packets go to all cores. A fraction is one packet more to that share of the mesh, rounded up to
    whole rows where it is more than one, so that every step asks for the same.
    """
    rng, spec, steps = np.random.default_rng(0), image.spec, STEPS if steps is None else steps
    whole, rest = int(packets), round(packets % 1 * SIDE**2)
    count = whole + (rest > 0)
    packet = np.zeros((steps * count, 6), np.int64)
    packet[:, 1], packet[:, 3], packet[:, 5] = spec.width - 1, spec.height - 1, spec.core.payload_max
    if rest:
        packet[whole::count, 1] = min(rest, SIDE) - 1
        packet[whole::count, 3] = -(-rest // SIDE) - 1
    packet[:, 4] = np.concatenate([rng.permutation(DRIVEN)[:count] for _ in range(steps)])
    return Stimulus(steps=steps, step=np.repeat(np.arange(steps), count), packet=packet)


def injection_rates(result: RunResult) -> NDArray[np.float64]:
    """Return the packets per core and cycle of each step, from its token at the gateway to the next one.

    Only of a run in which every spike is one packet, as in `random_image`.
    """
    assert result.gateway is not None
    assert result.finish is not None
    packets = np.bincount(result.spikes[:, 0], minlength=result.steps)
    assert packets.sum() == result.total("packets"), "a spike that is not one packet"
    rates: NDArray[np.float64] = packets / (np.diff(result.gateway) * result.finish.shape[1])
    return rates


def _emulated(machine: Machine, load: Stimulus) -> float:
    """Return the least processor seconds of some runs, after one that compiles."""
    machine.run(load, cycles=True)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        machine.run(load, cycles=True)
        times.append(time.process_time() - start)
    return min(times)


def _silent(image: SystemImage) -> SystemImage:
    """Return the image with no neuron connected: what is left of a run are cores and tokens."""
    cores = [
        core and dataclasses.replace(core, connected=np.zeros_like(core.connected)) for core in image.cores
    ]
    return image.replace(cores=tuple(cores))


def _simulated(
    image: SystemImage, loads: Sequence[Stimulus], expected: Sequence[RunResult]
) -> list[float | None]:
    """Return the cycles per processor second of the hardware, the best of some runs, all of equal results."""
    jobs = [prepare(image, load, result) for load, result in zip(loads, expected, strict=True)]
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        pace = Path(folder) / "pace"
        os.environ["SPIKELOOM_PACE"] = str(pace)
        try:
            results = run_jobs(chip_verilog(image.spec), jobs * _ROUNDS, engine="verilator")
        finally:
            del os.environ["SPIKELOOM_PACE"]
        for want, got in zip(list(expected) * _ROUNDS, results, strict=True):
            if isinstance(got, BaseException):
                raise got
            divergence = diff(want, got)
            if divergence is not None:
                raise AssertionError(f"hardware and emulator must be equal to be compared: {divergence}")
        lines = pace.read_text().splitlines()
        paces = [int(cycles) / float(seconds) for cycles, seconds in map(str.split, lines)]
    return [max(paces[i :: len(jobs)]) for i in range(len(jobs))]


def _row(result: RunResult, seconds: float, simulated: float | None) -> Row:
    """Return what one load took, beside the cycles per second of the hardware if they are known."""
    assert result.elapsed is not None
    rates, cycles = injection_rates(result), result.elapsed / seconds
    rate = float(rates.mean())
    steady = np.mean(np.abs(rates - rate) < rate / 5)
    name = f"cycle mode, {rate:.3f} injections per core and cycle ({steady:.0%} of steps within a fifth)"
    value = f"{result.total('hops') / seconds / 1e6:.2f} M flit-hops/s, {cycles / 1e6:.2f} M cycles/s"
    if simulated is None:
        return Row(name, value)
    of = f"cocotb+Verilator, {simulated / 1e3:.1f} k cycles/s, equal results"
    return Row(name, value, f"{cycles / simulated:.0f}", of)


def rows(options: Options) -> Iterator[Row]:
    """Measure each load on both, then the mean of the ratios.

    Raises
    ------
    RuntimeError : the image is not the one that the figures in the documentation are about.
    AssertionError : hardware and emulator differ.
    """
    image = random_image()
    if image.digest != IMAGE_DIGEST:
        raise RuntimeError(
            f"image of the cycle benchmark has digest {image.digest}, not {IMAGE_DIGEST}: "
            "if it was changed on purpose, set IMAGE_DIGEST and renew the figures in docs/benchmarks.md"
        )
    machine = Machine(image)
    loads = [stimulus(image, packets) for packets in LOADS.values()]
    expected = [machine.run(load, cycles=True, potentials=True) for load in loads]
    paces = _simulated(image, loads, expected) if "verilator" in available() else [None] * len(loads)
    measured = []
    for load, result, pace in zip(loads, expected, paces, strict=True):
        seconds = _emulated(machine, load)
        measured.append(_row(result, seconds, pace))
        yield measured[-1]
    quiet = _emulated(Machine(_silent(image)), loads[-1])
    yield Row("the same load, no neuron connected", "", f"{quiet / seconds:.2f}", "the load above")
    if None not in paces:
        mean = np.mean([float(row.ratio) for row in measured])
        yield Row("cycle mode, mean of these loads", "", f"{mean:.0f}", "cocotb+Verilator")
