# SPDX-License-Identifier: Apache-2.0
"""The functional run: steps in order, or stretches that are independent side by side in lanes and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emu.bits import limits
from emu.image import SystemImage
from emu.kernels import fabric, routes
from emu.kernels import state as arrays
from emu.kernels.beside import SMALL
from emu.kernels.state import Program, State
from emu.program import gateway_room, joined, loudest, most_records, period_of, program_of
from emu.spec import SystemSpec
from emu.tape import Piece, Tape, share
from emu.trace import VISIT, Stimulus
from emu.words import PACKET, RECTANGLE, STATE_FIELDS, flit_layout, spike_layout

__all__ = ["Job", "Progress", "Source", "check_stimulus", "run_functional", "sink_strays"]

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]

STEPS_AT_ONCE = 512
"""Steps between two looks of the caller, fewer of a large chip."""

MOST_LANES = arrays.LANES
"""Stretches side by side in one thread."""

_LEAST_ROWS = 1 << 16
_VISITS_AT_ONCE = 1 << 21
_MOST_BYTES = 1 << 28  # of a thread's lanes
_REPORT = 0.1  # seconds between two reports of progress


class Source:
    """An image, ready to be run."""

    def __init__(self, image: SystemImage) -> None:
        self.image = image
        self.period = period_of(image)
        self.program: Program = program_of(image, beside=self.period is not None)
        self.loudest = loudest(image)
        cores = [core for core in image.cores if core is not None]
        self.state = {name: joined([getattr(core, name) for core in cores]) for name in STATE_FIELDS}
        self.room = sum(gateway_room(core, image.spec.height) for core in cores)
        self.least, self.most = _packet_limits(image.spec)


def _packet_limits(spec: SystemSpec) -> tuple[Ints, Ints]:
    """Return the least and the greatest value of each field of a packet, in the order of `PACKET`."""
    fields = {field.name: limits(field) for field in (*flit_layout(spec), *spike_layout(spec))}
    least, most = np.array([fields[name] for name in PACKET], np.int64).T.copy()
    return least, most


def check_stimulus(stimulus: Stimulus, source: Source, threads: int = 1) -> tuple[int, int]:
    """Refuse packets that do not fit a flit.

    Returns
    -------
    How many may leave by the gateway at once, and the largest payload of either sign.
    """
    height = source.image.spec.height
    packets, looks = stimulus.packet, []

    def look(first: int, last: int) -> None:
        looks.append((first, *arrays.look_over(packets[first:last], source.least, source.most, height)))

    share(look, len(packets), threads)
    wrong = min((first + at for first, at, _, _ in looks if at >= 0), default=-1)
    if wrong >= 0:
        packet = stimulus.packet[wrong]
        at = np.flatnonzero((packet < source.least) | (packet > source.most))[0]
        raise ValueError(
            f"Stimulus packet {wrong}: {PACKET[at]} must be {source.least[at]}..{source.most[at]} "
            f"to fit a flit, not {packet[at]}."
        )
    strays = np.flatnonzero(stimulus.strays)
    x0, _, _, y1 = stimulus.packet[strays].T[: len(RECTANGLE)]
    out = strays[(x0 == 0) & (y1 >= height)]
    if len(out):
        raise ValueError(f"Stimulus packet {out[0]}: a control packet must not go to the gateway.")
    return sum(look[2] for look in looks), max(look[3] for look in looks)


def sink_strays(program: Program, state: State, stimulus: Stimulus) -> None:
    """Count the control packets of a functional run: each is an error at every core it comes to."""
    rectangles = stimulus.packet[stimulus.strays, : len(RECTANGLE)]
    met = state._replace(counters=np.zeros_like(state.counters), sent=np.zeros_like(state.sent))
    routes.count_routes(program, met, np.ascontiguousarray(rectangles), np.ones(len(rectangles), np.int64))
    state.counters[arrays.ERRORS] += met.counters[arrays.DELIVERIES]
    state.counters[arrays.ROUTER_ERRORS] += met.counters[arrays.ROUTER_ERRORS]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What all threads of a run read.

    Parameters
    ----------
    source, stimulus
        The image that runs, and the packets that it is fed.
    leaving : int
        Stimulus packets that may go back to the host (`check_stimulus`).
    loudest : int
        The largest payload of a stimulus packet, either sign.
    visits : bool
        Whether the state that a visit stores is recorded.
    """

    source: Source
    stimulus: Stimulus
    leaving: int
    loudest: int
    visits: bool

    @cached_property
    def at(self) -> Ints:
        """Where the packets of each step begin, (steps + 1,)."""
        steps = np.arange(self.stimulus.steps + 1)
        return np.searchsorted(self.stimulus.step, steps).astype(np.int64)

    @cached_property
    def program(self) -> Program:
        """The program, without groups of rows if a payload is beyond what those can add."""
        program = self.source.program
        if max(self.source.loudest, self.loudest) <= SMALL:
            return program
        return program._replace(groups=np.zeros_like(program.groups))

    def lanes(self, periods: int) -> int:
        """Return how many periods fit side by side."""
        program, period = self.source.program, self.source.period or 1
        visits, packets = most_records(self.source.image, period)
        each = 8 * visits * (1 + len(VISIT) if self.visits else 1) + 24 * (packets + self.leaving)
        each += 16 * len(program.bias) + 12 * len(program.row_cells) + 16 * len(program.enabled)
        most = max(1, min(MOST_LANES, STEPS_AT_ONCE // period, periods, _MOST_BYTES // max(each, 1)))
        return -(-periods // -(-periods // most))


class _Worker:
    """A part of the run that one thread executes.

    Parameters
    ----------
    job : Job
        The run.
    first, last : int
        Periods of this part, ``last`` not included; then `go_on` may execute steps after them.
    """

    def __init__(self, job: Job, first: int = 0, last: int = 0) -> None:
        self.job, self.first, self.last = job, first, last
        self.lanes = job.lanes(last - first) if last > first else 1
        self.state: State = arrays.make_state(job.source.program, job.source.state, self.lanes)
        self.pieces: list[Piece] = []
        self.done = 0

    def _run(self, tape: Tape, room: int, lanes: int, begin: int, steps: range) -> int:
        """Let the kernel execute ``steps``, counted from ``begin`` and in each lane; return the next one."""
        job = self.job
        span = job.source.period or 0
        stimulus = job.stimulus.packet
        step = fabric.run_steps(
            job.program,
            self.state,
            tape.record,
            job.at,
            stimulus,
            room,
            lanes,
            begin,
            span,
            steps.start,
            steps.stop,
        )
        tape.take()
        self.done += (step - steps.start) * lanes
        return step

    def run_periods(self, stop: threading.Event, progress: Progress | None = None) -> None:
        """Execute the periods, as many at once as there are lanes, until told to stop."""
        job, period = self.job, self.job.source.period or 1
        visits, packets = most_records(job.source.image, period)
        outputs = packets + job.leaving
        rows = visits + len(job.source.program.bias)
        tape = Tape(rows=rows, outputs=outputs, visits=job.visits, lanes=self.lanes)
        at = self.first
        lanes = self.lanes
        while at < self.last and not stop.is_set():
            lanes = min(self.lanes, self.last - at)
            if self._run(tape, 0, lanes, at * period, range(period)) < period:
                raise RuntimeError(
                    f"Records of periods {at}..{at + lanes - 1} exceed what their buffers hold."
                )
            at += lanes
            if progress is not None:
                progress(self.done, job.stimulus.steps)
        self.pieces += tape.pieces
        size = len(job.source.program.bias)
        last = (lanes - 1) * job.program.apart
        for name in STATE_FIELDS:
            values = getattr(self.state, name)
            values[:size] = values[last : last + size]

    def go_on(self, begin: int, progress: Progress | None) -> None:
        """Execute the steps of the run from ``begin`` on, one after the other."""
        job, program = self.job, self.job.source.program
        room = job.leaving + job.source.room
        rows = max(2 * len(program.bias), _LEAST_ROWS)
        tape = Tape(rows=rows, outputs=max(2 * room, _LEAST_ROWS >> 4), visits=job.visits)
        at_once = min(STEPS_AT_ONCE, 1 + _VISITS_AT_ONCE // (1 + len(program.bias)))
        step, steps = 0, job.stimulus.steps - begin
        while step < steps:
            step = self._run(tape, room, 1, begin, range(step, min(step + at_once, steps)))
            if progress is not None:
                progress(begin + step, job.stimulus.steps)
        self.pieces += tape.pieces


def _together(workers: Sequence[_Worker], steps: int, progress: Progress | None) -> None:
    """Let every worker execute its periods, each in a thread of its own; an interrupt stops them all."""
    stop = threading.Event()
    if len(workers) == 1:
        workers[0].run_periods(stop, progress)
        return
    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            waiting = {pool.submit(worker.run_periods, stop) for worker in workers}
            while waiting:
                finished, waiting = wait(waiting, _REPORT)
                for one in finished:
                    one.result()
                if progress is not None:
                    progress(sum(worker.done for worker in workers), steps)
        finally:
            stop.set()


def _rectangles(stimulus: Stimulus, program: Program, fed: Ints) -> tuple[Ints, Ints]:
    """Return the rectangles (r, 4) of stimulus packets and how many packets had each."""
    if not len(fed):
        rectangles, counts = np.unique(stimulus.packet[:, : len(RECTANGLE)], axis=0, return_counts=True)
        return np.ascontiguousarray(rectangles), counts.astype(np.int64)
    used = np.flatnonzero(fed)
    place = np.unravel_index(used, (program.across, program.across, program.down, program.down))
    return np.column_stack(place).astype(np.int64), fed[used]


def run_functional(job: Job, *, threads: int, progress: Progress | None) -> tuple[State, list[Piece]]:
    """Run a stimulus; return the state at the end, with all counters of packets, and the ordered records."""
    source, stimulus = job.source, job.stimulus
    periods = 0 if source.period is None else stimulus.steps // source.period
    first = 0
    if periods > 1:
        bounds = np.linspace(0, periods, min(threads, periods) + 1).astype(int).tolist()
        workers = [_Worker(job, *bound) for bound in pairwise(bounds)]
        _together(workers, stimulus.steps, progress)
        first = periods * (source.period or 0)
    else:
        workers = [_Worker(job)]
    workers[-1].go_on(first, progress)
    state = workers[-1].state
    for worker in workers[:-1]:
        state.counters[:] += worker.state.counters
        state.sent[:] += worker.state.sent
        state.fed[:] += worker.state.fed
    routes.count_routes(source.program, state, *_rectangles(stimulus, source.program, state.fed))
    pieces = [piece for worker in workers for piece in worker.pieces]
    return state._replace(**{n: getattr(state, n)[: len(start)] for n, start in source.state.items()}), pieces
