# SPDX-License-Identifier: Apache-2.0
"""The bench of a chip, without a simulator: driver, monitors, and the session that leads them.

An engine samples the pins once a cycle, after they settled, and hands the sample to `Session.cycle`, which
returns what to drive in that cycle. The same session therefore runs under cocotb and under the Python
simulator. Every wait is bounded by what the job is expected to take: a chip that hangs ends with an error.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np

from emu.bits import layout_bits, reader, unpack, words_of
from emu.spec import CHUNK_BITS, COUNTER_BITS, SystemSpec
from emu.trace import VISIT, HostPace, RunResult
from emu.words import (
    STATE_FIELDS,
    TOKEN,
    Activity,
    Kind,
    Section,
    beat_layout,
    counters_of,
    flit_layout,
    section_layout,
    spike_layout,
)
from sim_tests.bench.job import BenchJob
from sim_tests.bench.memories import compare_memories
from sim_tests.bench.prelude import RESET_CYCLES, Phase, knock, read_flits, rehearse
from sim_tests.bench.scoreboard import BenchError, Scoreboard
from sim_tests.bench.status import WORDS, status_fault
from sim_tests.bench.streams import Offer, Streams, spikes_of, split, streams_of
from sim_tests.bench.top import Sample, gates_of

__all__ = ["CoreMonitor", "Drive", "GatewayMonitor", "Pins", "Session"]


SPARE_CYCLES = 20_000
"""Cycles that a phase may take beyond four times what is expected."""


_NEVER = 1 << 62
"""A cycle that does not come."""


class Pins(Protocol):
    """The pins of a chip, sampled in the current cycle (`sim_tests.bench.top`)."""

    def status(self) -> int:
        """What happens in this cycle, laid out as `Sample`."""

    def flit(self) -> int:
        """The flits that leave the chip in this cycle, the first outlet's lowest."""

    def beats(self) -> int:
        """The neuron beats of all cores, core 0 lowest, zero where none is stored."""

    def passed(self) -> int:
        """The spikes that entered since reset by each inlet, above them those that left, 48 bits each."""


class Drive(NamedTuple):
    """What the bench drives in a cycle.

    Parameters
    ----------
    flits : offered to the chip at each inlet, None for none.
    reset : the chip is held in reset.
    accept : the host takes a flit that leaves.
    """

    flits: tuple[int | None, ...]
    reset: bool = False
    accept: bool = True


class CoreMonitor:
    """Watch the observe ports: neuron beats to the scoreboard, finish cycles, activity of every cycle."""

    def __init__(self, spec: SystemSpec, scoreboard: Scoreboard) -> None:
        self._spec, self.scoreboard = spec, scoreboard
        self._sample = Sample(cores=spec.cores, gates=gates_of(spec))
        self._beat = reader(beat_layout(spec), ("neuron", *STATE_FIELDS, "count"))
        self._beat_bits = layout_bits(beat_layout(spec))
        self._cores = (1 << spec.cores) - 1
        self._events = self._cores << self._sample.stored | self._cores << self._sample.finished
        self.finished: list[list[int]] = [[] for _ in range(spec.cores)]
        self.activities: Counter[int] = Counter()
        self.last_active = -1
        self._all_paused = self._sample.activities([Activity.PAUSED] * spec.cores)

    def cycle(self, now: int, status: int, pins: Pins) -> None:
        """Record one cycle; ``now`` may be negative before the first token."""
        activity = status >> self._sample.activity
        if now >= 0:
            self.activities[activity] += 1
            if activity != self._all_paused:
                self.last_active = now
        events = status & self._events
        if not events:
            return
        valid = events >> self._sample.stored & self._cores
        if valid:
            self._beats(valid, pins.beats())
        finished = events >> self._sample.finished & self._cores
        for core in range(self._spec.cores) if finished else ():
            if finished >> core & 1:
                self.finished[core].append(now)

    def _beats(self, valid: int, beats: int) -> None:
        for core in range(self._spec.cores):
            if valid >> core & 1:
                beat = self._beat(beats >> core * self._beat_bits)
                self.scoreboard.push([len(self.finished[core]), core, *beat])

    def activity_counts(self) -> dict[str, list[int]]:
        """Return cycles by activity and core, in the window from the first token to the last active cycle."""
        counts = {a.name.lower(): [0] * self._spec.cores for a in Activity}
        for pattern, cycles in self.activities.items():
            for core in range(self._spec.cores):
                counts[Activity(self._sample.activity_of(pattern, core)).name.lower()][core] += cycles
        surplus = sum(self.activities.values()) - (self.last_active + 1)
        counts["paused"] = [cycles - surplus for cycles in counts["paused"]]
        return counts


class GatewayMonitor:
    """Sort what leaves the chip by one outlet: spikes by step, tokens with their cycle, replies."""

    def __init__(self, spec: SystemSpec) -> None:
        self._layout, self._spike = flit_layout(spec), spike_layout(spec)
        self.tokens: list[int] = []
        self.pauses = 0
        self.outputs: list[tuple[int, int, int]] = []
        self.replies: list[int] = []

    def cycle(self, now: int, flit: int) -> None:
        """Record the flit of one cycle."""
        values = unpack(self._layout, flit)
        data = values["data"]
        if values["kind"] == Kind.TOKEN:
            self.tokens.append(now)
            self.pauses += unpack(TOKEN, data)["pause"]
        elif values["kind"] == Kind.SPIKE:
            spike = unpack(self._spike, data)
            self.outputs.append((len(self.tokens) - 1, spike["axon"], spike["payload"]))
        elif values["kind"] == Kind.REPLY:
            self.replies.append(data & ((1 << CHUNK_BITS) - 1))
        else:
            raise BenchError(f"the gateway put out a flit of kind {values['kind']}")


class Session:
    """Prelude (`sim_tests.bench.prelude`), load, run, read back; `result` is complete once `done`.

    ``pace`` then holds the cycles and the processor seconds of the run alone, without loading and read-back.
    """

    def __init__(self, job: BenchJob) -> None:
        self.job = job
        self.scoreboard = Scoreboard(job)
        self.done = False
        self.pace = (0, 0.0)
        self.gates = gates_of(job.spec)
        self.listen()
        self._cores = CoreMonitor(job.spec, self.scoreboard)
        self._now = 0
        self._origin = 0
        self.ready = 0
        self.reset, self.accept = True, True
        self._first_flit: int | None = None
        self._pace = HostPace(period=int(job.host[0]), taken=int(job.host[1]))
        self._status, self._sample = 0, Sample(cores=job.spec.cores, gates=self.gates)
        self._flit_bits, self._nothing = job.spec.flit_bits, (None,) * self.gates[0]
        self._passed, self.prelude_cycles = 0, 0
        self._recording = False
        self._phase, self._limit, self._deadline = "reset", 0, 0
        self._reads: dict[tuple[int, Section], list[int]] = {}
        self._script = self._run()
        self._slowest = job.spec.slowest_hop
        self.settle = (15 + self._slowest) * (job.spec.width + job.spec.height) + 64

    def cycle(self, pins: Pins) -> Drive:
        """Take the sample of one cycle and return what to drive in it; in reset nothing is looked at."""
        self._status = status = 0 if self.reset else pins.status()
        self.ready = status // self._sample.ready & (1 << self.gates[0]) - 1
        flits = next(self._script, None) or self._nothing
        if self._first_flit is not None:
            self.accept = self._pace.accepts(self._now - self._first_flit)
        if self._recording:
            self._cores.cycle(self._now - self._origin, status, pins)
        if self.accept:
            self._hear(status // self._sample.valid & (1 << self.gates[1]) - 1, pins)
        self._now += 1
        if self._now > self._deadline and not self.done:
            raise BenchError(self._overdue())
        if self.done:
            self._passed = pins.passed()
            if status & self._sample.stray:
                raise BenchError(
                    "a core accessed a memory of its crossbar or its walk, and nobody asked for it"
                )
        return Drive(flits, self.reset, self.accept)

    def listen(self) -> None:
        """Forget what has left the chip; replies leave by the first outlet."""
        self.outlets = [GatewayMonitor(self.job.spec) for _ in range(self.gates[1])]
        self.gateway = self.outlets[0]

    def _hear(self, valid: int, pins: Pins) -> None:
        """Record what leaves by the outlets that have a flit."""
        flits = pins.flit() if valid else 0
        for number, outlet in enumerate(self.outlets):
            if valid >> number & 1:
                flit = flits >> number * self._flit_bits & (1 << self._flit_bits) - 1
                outlet.cycle(self._now - self._origin, flit)

    def activities(self) -> set[int]:
        """Return what the cores do in this cycle."""
        packed = self._status >> self._sample.activity
        return {self._sample.activity_of(packed, core) for core in range(self.job.spec.cores)}

    @staticmethod
    def failure(sentence: str) -> BenchError:
        """Return the error that ends a session."""
        return BenchError(sentence)

    def enter(self, phase: str, cycles: int) -> None:
        """Begin a phase that should take about so many cycles; it may take four times as long and more.

        Links between chips slow down what comes flit by flit.
        """
        self._phase, self._limit = phase, 4 * cycles * self._slowest + SPARE_CYCLES
        self._deadline = self._now + self._limit

    def _overdue(self) -> str:
        """Say what did not end, and which core is the furthest behind."""
        tokens, core = min((len(self._cores.finished[core]), core) for core in self.job.alive)
        behind = f"; core {core} has sent {tokens} of {self.job.steps + 1} tokens"
        return f"{self._phase} did not end within {self._limit} cycles" + (behind if self._recording else "")

    def _prelude(self) -> Iterator[Offer]:
        """Dirty the chip, reset it in mid-run, and look whether that was a reset."""
        self.enter("reset", RESET_CYCLES)
        yield from self._hold_reset()
        for place, (phase, count) in enumerate(self.job.resets.tolist()):
            yield from rehearse(self, Phase(phase), count)
            yield from self._hold_reset()
            if place == 0:
                yield from knock(self)
                self.listen()
        self.prelude_cycles = self._now

    def _hold_reset(self) -> Iterator[None]:
        self.reset, self.accept = True, True
        yield from self.idle(RESET_CYCLES)
        self.reset = False
        yield None
        self.listen()

    def _run(self) -> Iterator[Offer]:
        yield from self._prelude()
        load, run = self.job.load.tolist(), self.job.run.tolist()
        self.enter("loading", len(load) + 2 * self.settle)
        yield from self.idle(self.settle)
        yield from self.send(load)
        yield from self.idle(self.settle)
        if any(outlet.outputs or outlet.replies for outlet in self.outlets):
            raise BenchError("the chip sent packets before the run began")
        self._start()
        self.enter("the run", len(run) + self.job.elapsed + self.settle)
        yield from self._feed(split(self.job.spec, run))
        while not all(outlet.pauses for outlet in self.outlets):
            yield None
        yield from self.idle(self.settle)
        self._recording, self._first_flit, self.accept = False, None, True
        self.pace = (self._now - self.pace[0], time.process_time() - self.pace[1])
        yield from self._read_back()
        yield from compare_memories(self)
        self.done = True

    def _read_back(self) -> Iterator[Offer]:
        """Read counters and states, and compare the status of every core."""
        for core, section, request, chunks in self.job.read_requests():
            self.enter(f"read-back of {section.name.lower()} of core {core}", 16 * chunks + 4 * self.settle)
            yield from self.read(request.tolist(), chunks)
            self._reads[core, section] = list(self.gateway.replies)
        for core in self.job.alive:
            expected = self.job.status[core].tolist()
            self.enter(f"read-back of status of core {core}", 4 * self.settle)
            place = (core % self.job.spec.width,) * 2 + (core // self.job.spec.width,) * 2
            yield from self.read(read_flits(self.job.spec, place, Section.STATUS, 0, WORDS), WORDS)
            if (fault := status_fault(core, expected, self.gateway.replies)) is not None:
                raise BenchError(fault)

    def _start(self) -> None:
        """Record from here on; time is counted from the first step token, which comes later."""
        self.listen()
        self._cores = CoreMonitor(self.job.spec, self.scoreboard)
        self._origin = _NEVER
        self._recording, self._first_flit = True, self._now
        self.pace = (self._now, time.process_time())

    def idle(self, cycles: int) -> Iterator[None]:
        """Offer nothing."""
        for _ in range(cycles):
            yield None

    def send(self, flits: list[int]) -> Iterator[Offer]:
        """Offer flits at the first inlet one by one, each until it is taken; tokens at all inlets."""
        yield from self._feed(streams_of(self.job.spec, flits))

    def _feed(self, streams: Streams) -> Iterator[Offer]:
        """Offer streams to their end; the first token of a run that is taken is at the origin of time."""
        while (offer := streams.offered) is not None:
            if streams.take(self.ready) and self._origin == _NEVER:
                self._origin = self._now
            yield offer

    def read(self, request: list[int], chunks: int) -> Iterator[Offer]:
        """Send a request and wait for its replies, which are then all there is in ``gateway.replies``."""
        self.gateway.replies.clear()
        yield from self.send(request)
        while len(self.gateway.replies) < chunks:
            yield None

    def result(self, engine: str) -> RunResult:
        """Return what the hardware did, from its pins and its read-back."""
        spec, steps = self.job.spec, self.job.steps
        self.scoreboard.finish(minimum=len(self.job.beats))
        finished = self._cores.finished
        wanted = [(steps + 1) * (core in self.job.alive) for core in range(spec.cores)]
        if [len(cycles) for cycles in finished] != wanted:
            raise BenchError(f"cores sent {[len(c) for c in finished]} tokens, expected {wanted}")
        for outlet in self.outlets:
            if len(outlet.tokens) != steps + 1 or outlet.pauses != 1:
                raise BenchError(f"the gateway saw {len(outlet.tokens)} tokens, expected {steps + 1}")
        self._check_passed()
        tokens = np.array([outlet.tokens for outlet in self.outlets], np.int64).T
        counters = self._counters() | {"paused": self._paused()}
        return RunResult(
            mode="cycle",
            steps=steps,
            spikes=np.array(sorted(self.scoreboard.spikes), np.int64).reshape(-1, 4),
            outputs=np.array(sorted(chain(*self._outputs())), np.int64).reshape(-1, 3),
            counters={name: np.array(values, np.int64) for name, values in counters.items()},
            state={name: np.array(values, np.int64) for name, values in self._state().items()},
            visits=np.array(sorted(self.scoreboard.visits), np.int64).reshape(-1, len(VISIT)),
            finish=np.array([cycles[:steps] or [-1] * steps for cycles in finished], np.int64).T.reshape(
                steps, spec.cores
            ),
            gateway=tokens.max(axis=1),
            elapsed=self._cores.last_active + 1,
            outlets=tokens if len(self.outlets) > 1 else None,
            engine=engine,
        )

    def _words(self, core: int, section: Section) -> list[dict[str, int]]:
        """Return the words of a section that were read back from a core, none if it was not asked for."""
        return words_of(section_layout(self.job.spec, section), self._reads.get((core, section), []))

    def _outputs(self) -> list[list[tuple[int, int, int]]]:
        """Return the spikes that left by each outlet."""
        return [outlet.outputs for outlet in self.outlets]

    def _check_passed(self) -> None:
        """Compare the chip's own counters of spikes with what went in and out."""
        sent = spikes_of(self.job.spec, self.job.run.tolist())
        expected = (*sent, *map(len, self._outputs()))
        mask = (1 << COUNTER_BITS) - 1
        counted = tuple(self._passed >> COUNTER_BITS * at & mask for at in range(len(expected)))
        if counted != expected:
            raise BenchError(f"the chip counted {counted} spikes in and out since reset, not {expected}")

    def _counters(self) -> dict[str, list[int]]:
        spec = self.job.spec
        read = [self._words(core, Section.COUNTER) for core in range(spec.cores)]
        names = enumerate(counters_of(spec))
        return {name: [words[at]["count"] if words else 0 for words in read] for at, name in names}

    def _paused(self) -> list[int]:
        """Return the cycles in which each core was paused; one that is dead or cut off has none."""
        paused = self._cores.activity_counts()["paused"]
        return [cycles if core in self.job.alive else 0 for core, cycles in enumerate(paused)]

    def _state(self) -> dict[str, list[int]]:
        words = [w for core in range(self.job.spec.cores) for w in self._words(core, Section.STATE)]
        return {name: [word.get(name, 0) for word in words] for name in STATE_FIELDS}
