# SPDX-License-Identifier: Apache-2.0
"""The bench of a chip, without a simulator: driver, monitors, scoreboard, and the session that leads them.

An engine samples the pins once a cycle, after they settled, and hands the sample to `Session.cycle`, which returns the flit to offer in that cycle. The same
session therefore runs under cocotb and under the Python simulator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from emu.spec import CHUNK_BITS, SystemSpec, bits_for
from emu.trace import RunResult
from emu.words import COUNTERS, Activity, Kind, Section, flit_layout, unpack

from sim_tests.bench.job import BenchJob

__all__ = ["BenchError", "CoreMonitor", "GatewayMonitor", "Pins", "Scoreboard", "Session"]


class BenchError(AssertionError):
    """The hardware did something else than expected, or the bench compared too little."""


class Pins(Protocol):
    """The pins of a chip, sampled in the current cycle."""

    def ready(self) -> int:
        """Whether a flit offered in this cycle enters the chip."""

    def output(self) -> int | None:
        """The flit that leaves the chip in this cycle."""

    def observe(self, name: str) -> int:
        """A packed observe field of all cores."""


@dataclass
class Scoreboard:
    """Compare neuron beats with the expected ones, per core, in order.

    `finish` demands that every expected beat was seen and that enough were compared: a chip that does nothing fails.
    """

    job: BenchJob
    compared: int = 0
    spikes: list[tuple[int, int, int, int]] = field(default_factory=list)
    potentials: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._queues: list[Iterator[list[int]]] = [
            iter(self.job.beats[self.job.beats[:, 1] == core].tolist()) for core in range(self.job.spec.cores)
        ]

    def push(self, step: int, core: int, neuron: int, potential: int, count: int) -> None:
        """Compare one beat; the first difference ends the run with its place."""
        got = [step, core, neuron, potential, count]
        expected = next(self._queues[core], None)
        if expected != got:
            names = "step, core, neuron, potential, spikes"
            raise BenchError(f"neuron beat ({names}): expected {expected}, got {got}")
        self.compared += 1
        self.potentials.append((step, core, neuron, potential))
        if count:
            self.spikes.append((step, core, neuron, count))

    def finish(self, minimum: int = 1) -> None:
        """Demand drained queues and at least ``minimum`` comparisons."""
        left = [core for core, queue in enumerate(self._queues) if next(queue, None) is not None]
        if left:
            raise BenchError(f"core {left[0]} stored fewer neurons than expected")
        if self.compared < minimum:
            raise BenchError(f"only {self.compared} neuron beats were compared, at least {minimum} are demanded")


class CoreMonitor:
    """Watch the observe ports: neuron beats to the scoreboard, finish cycles, activity of every cycle."""

    def __init__(self, spec: SystemSpec, scoreboard: Scoreboard) -> None:
        self._spec, self._scoreboard = spec, scoreboard
        self.finished: list[list[int]] = [[] for _ in range(spec.cores)]
        self.activities: Counter[int] = Counter()
        self.last_active = -1
        self._all_paused = sum(Activity.PAUSED << (3 * core) for core in range(spec.cores))

    def cycle(self, now: int, pins: Pins) -> None:
        """Record one cycle; ``now`` may be negative before the first token."""
        activity = pins.observe("activity")
        if now >= 0:
            self.activities[activity] += 1
            if activity != self._all_paused:
                self.last_active = now
        valid, finished = pins.observe("valid"), pins.observe("finished")
        if valid:
            self._beats(valid, pins)
        core = 0
        while finished:
            if finished & 1:
                self.finished[core].append(now)
            finished >>= 1
            core += 1

    def _beats(self, valid: int, pins: Pins) -> None:
        core_spec = self._spec.core
        bits = {"neuron": bits_for(core_spec.columns), "potential": core_spec.potential_bits, "count": 8}
        packed = {name: pins.observe(name) for name in bits}
        for core in range(self._spec.cores):
            if valid >> core & 1:
                values = {name: packed[name] >> (core * width) & ((1 << width) - 1) for name, width in bits.items()}
                sign = 1 << (core_spec.potential_bits - 1)
                potential = (values["potential"] ^ sign) - sign
                self._scoreboard.push(len(self.finished[core]), core, values["neuron"], potential, values["count"])

    def activity_counts(self) -> dict[str, list[int]]:
        """Return cycles by activity and core, in the window from the first token to the last active cycle."""
        counts = {a.name.lower(): [0] * self._spec.cores for a in Activity}
        for pattern, cycles in self.activities.items():
            for core in range(self._spec.cores):
                counts[Activity(pattern >> (3 * core) & 7).name.lower()][core] += cycles
        surplus = sum(self.activities.values()) - (self.last_active + 1)
        counts["paused"] = [cycles - surplus for cycles in counts["paused"]]
        return counts


class GatewayMonitor:
    """Sort what leaves the chip: spikes by step, tokens with their cycle, replies."""

    def __init__(self, spec: SystemSpec) -> None:
        self._layout, self._core = flit_layout(spec), spec.core
        self.tokens: list[int] = []
        self.pauses = 0
        self.outputs: list[tuple[int, int, int]] = []
        self.replies: list[int] = []

    def cycle(self, now: int, flit: int | None) -> None:
        """Record the flit of one cycle."""
        if flit is None:
            return
        values = unpack(self._layout, flit)
        data = values["data"]
        if values["kind"] == Kind.TOKEN:
            self.tokens.append(now)
            self.pauses += data & 1
        elif values["kind"] == Kind.SPIKE:
            payload = data >> self._core.flit_axon_bits
            sign = 1 << (self._core.payload_bits - 1)
            self.outputs.append((len(self.tokens) - 1, data & ((1 << self._core.flit_axon_bits) - 1), (payload ^ sign) - sign))
        elif values["kind"] == Kind.REPLY:
            self.replies.append(data & ((1 << CHUNK_BITS) - 1))
        else:
            raise BenchError(f"the gateway put out a flit of kind {values['kind']}")


class Session:
    """Reset, load, run, read back; `result` is complete once `done`."""

    def __init__(self, job: BenchJob) -> None:
        self.job = job
        self.scoreboard = Scoreboard(job)
        self.done = False
        self._gateway = GatewayMonitor(job.spec)
        self._cores = CoreMonitor(job.spec, self.scoreboard)
        self._now = 0
        self._origin = 0
        self._ready = 0
        self._recording = False
        self._reads: dict[tuple[int, Section], list[int]] = {}
        self._script = self._run()
        self.settle = 16 * (job.spec.width + job.spec.height) + 64

    def cycle(self, pins: Pins) -> int | None:
        """Take the sample of one cycle and return the flit to offer in it, None for none."""
        self._ready = pins.ready()
        flit = next(self._script, None)
        if self._recording:
            self._cores.cycle(self._now - self._origin, pins)
        self._gateway.cycle(self._now - self._origin, pins.output())
        self._now += 1
        return flit

    def _run(self) -> Iterator[int | None]:
        yield from self._idle(self.settle)
        yield from self._send(self.job.load.tolist())
        yield from self._idle(self.settle)
        if self._gateway.outputs or self._gateway.replies:
            raise BenchError("the chip sent packets before the run began")
        self._start()
        run = self.job.run.tolist()
        yield from self._send(run[: self.job.first_token])
        yield from self._send_first_token(run[self.job.first_token])
        yield from self._send(run[self.job.first_token + 1 :])
        yield from self._until_paused()
        yield from self._idle(self.settle)
        self._recording = False
        for core, section, request, chunks in self.job.read_requests():
            yield from self._read(core, section, request.tolist(), chunks)
        self.done = True

    def _start(self) -> None:
        """Record from here on; time is counted from the first step token, which comes later."""
        self._gateway = GatewayMonitor(self.job.spec)
        self._cores = CoreMonitor(self.job.spec, self.scoreboard)
        self._origin = 1 << 62
        self._recording = True

    def _idle(self, cycles: int) -> Iterator[None]:
        for _ in range(cycles):
            yield None

    def _send(self, flits: list[int]) -> Iterator[int]:
        for flit in flits:
            accepted = 0
            while not accepted:
                accepted = self._ready
                yield flit

    def _send_first_token(self, flit: int) -> Iterator[int]:
        while not self._ready:
            yield flit
        self._origin = self._now
        yield flit

    def _until_paused(self) -> Iterator[None]:
        idle = 0
        while not self._gateway.pauses:
            before = sum(map(len, self._cores.finished)) + self.scoreboard.compared + len(self._gateway.outputs)
            yield None
            after = sum(map(len, self._cores.finished)) + self.scoreboard.compared + len(self._gateway.outputs)
            idle = 0 if after != before else idle + 1
            if idle > 1_000_000:
                raise BenchError("the chip made no progress for a million cycles; a step does not end")

    def _read(self, core: int, section: Section, request: list[int], chunks: int) -> Iterator[int | None]:
        self._gateway.replies.clear()
        yield from self._send(request)
        waited = 0
        while len(self._gateway.replies) < chunks:
            yield None
            waited += 1
            if waited > 16 * chunks + 4 * self.settle:
                got = len(self._gateway.replies)
                raise BenchError(f"core {core} replied with {got} of {chunks} chunks of {section.name.lower()}")
        self._reads[core, section] = list(self._gateway.replies)

    def result(self, engine: str) -> RunResult:
        """Return what the hardware did, from its pins and its read-back."""
        spec, steps = self.job.spec, self.job.steps
        self.scoreboard.finish(minimum=0)
        finished = self._cores.finished
        if any(len(cycles) != steps + 1 for cycles in finished):
            raise BenchError(f"cores sent {[len(c) for c in finished]} tokens, expected {steps + 1} each")
        if len(self._gateway.tokens) != steps + 1 or self._gateway.pauses != 1:
            raise BenchError(f"the gateway saw {len(self._gateway.tokens)} tokens, expected {steps + 1}")
        counters = self._counters() | {n: v for n, v in self._cores.activity_counts().items() if n == "paused"}
        return RunResult(
            mode="cycle",
            steps=steps,
            spikes=np.array(sorted(self.scoreboard.spikes), np.int64).reshape(-1, 4),
            outputs=np.array(sorted(self._gateway.outputs), np.int64).reshape(-1, 3),
            counters={name: np.array(values, np.int64) for name, values in counters.items()},
            state=np.array(self._state(), np.int64),
            potentials=np.array(sorted(self.scoreboard.potentials), np.int64).reshape(-1, 4),
            finish=np.array([cycles[:steps] for cycles in finished], np.int64).T.reshape(steps, spec.cores),
            gateway=np.array(self._gateway.tokens, np.int64),
            elapsed=self._cores.last_active + 1,
            engine=engine,
        )

    def _counters(self) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {name: [] for name in COUNTERS}
        for core in range(self.job.spec.cores):
            chunks = self._reads[core, Section.COUNTER]
            for index, name in enumerate(COUNTERS):
                out[name].append(sum(chunks[4 * index + part] << (CHUNK_BITS * part) for part in range(3)))
        return out

    def _state(self) -> list[int]:
        out: list[int] = []
        bits = self.job.spec.core.potential_bits
        for core in range(self.job.spec.cores):
            chunks = self._reads.get((core, Section.POTENTIAL), [])
            per = -(-bits // CHUNK_BITS)
            for at in range(0, len(chunks), per):
                word = sum(chunks[at + part] << (CHUNK_BITS * part) for part in range(per)) & ((1 << bits) - 1)
                out.append(word - (1 << bits) if word >> (bits - 1) else word)
        return out
