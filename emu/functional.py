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

from emu.balance import Balance, measured
from emu.bits import limits
from emu.groups import groups_of, runs_abreast
from emu.image import SystemImage
from emu.kernels import fabric, routes
from emu.kernels import state as arrays
from emu.kernels.abreast import run_abreast
from emu.kernels.beside import SMALL, Groups, make_lanes
from emu.kernels.feed import look_over, slots_of
from emu.kernels.state import Program, State
from emu.kernels.vectors import LANES
from emu.program import gateway_room, joined, loudest, most_records, period_of, program_of
from emu.spec import SystemSpec
from emu.tape import Piece, Tape, share
from emu.topology import comes_out, entries_of, meets_dead, reached, topology_of
from emu.trace import VISIT, Stimulus
from emu.words import PACKET, RECTANGLE, STATE_FIELDS, flit_layout, spike_layout

__all__ = ["Job", "Progress", "Source", "arriving", "check_stimulus", "run_functional", "sink_strays"]

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]

STEPS_AT_ONCE = 512
"""Steps between two looks of the caller, fewer of a large chip."""

MOST_LANES = LANES
"""Stretches side by side in one thread."""

LEAST_LANES = 8
"""Stretches that pay: a rule costs as much for one lane as for all."""

BUSY = 0.2
"""Share of the axons that have an event in a step: where cells are so many that adding those of events is
cheaper up to this share, a run is in order."""

_LEAST_ROWS = 1 << 16
_VISITS_AT_ONCE = 1 << 21
_MOST_BYTES = 1 << 28  # of a thread's lanes
_REPORT = 0.1  # seconds between two reports of progress


class Source:
    """An image, ready to be run.

    Parameters
    ----------
    image : SystemImage
        The program of the chip.
    balance : Balance or None
        What the ways of integration cost against each other; measured on this machine if None.
    """

    def __init__(self, image: SystemImage, balance: Balance | None = None) -> None:
        self.image = image
        self.period = period_of(image)
        self.balance = balance or measured()
        self.program: Program = program_of(image, self.balance.rows_per_plane)
        self.loudest = loudest(image)
        cores = [core for core in image.cores if core is not None]
        self.state = {name: joined([getattr(core, name) for core in cores]) for name in STATE_FIELDS}
        self.room = sum(gateway_room(core, image.spec) for core in cores)
        self.least, self.most = _packet_limits(image.spec)

    @cached_property
    def abreast(self) -> bool:
        """Whether stretches of a run may be executed side by side."""
        if self.period is None or not runs_abreast(self.program):
            return False
        cells = int(self.program.axons @ self.program.neurons)
        return int(self.groups.size.sum()) * self.balance.cells_per_group <= BUSY * LANES * cells

    @cached_property
    def groups(self) -> Groups:
        """The cells by column, for runs of many lanes."""
        return groups_of(self.program, self.balance.cells_per_group)

    @cached_property
    def slots(self) -> Ints:
        """Where the host of this image sends, in order."""
        return slots_of(self.program, self.image.input_packet)

    @cached_property
    def records(self) -> tuple[int, int]:
        """The most neuron visits, and packets to the gateway, of a period."""
        return most_records(self.image, self.period or 1)


def _packet_limits(spec: SystemSpec) -> tuple[Ints, Ints]:
    """Return the least and the greatest value of each field of a packet, in the order of `PACKET`."""
    fields = {field.name: limits(field) for field in (*flit_layout(spec), *spike_layout(spec))}
    least, most = np.array([fields[name] for name in PACKET], np.int64).T.copy()
    return least, most


def check_stimulus(stimulus: Stimulus, source: Source, threads: int = 1) -> tuple[int, int, Ints]:
    """Refuse packets that do not fit a flit, and other inlets than there are.

    Returns
    -------
    How many may leave by the gateway at once, the largest payload of either sign, and the packets as keys
    (`emu.kernels.feed`), with one more number, if stretches of the run may be executed side by side.
    """
    spec = source.image.spec
    packets, looks = stimulus.packet, []
    keys = np.full(len(packets) + 1 if source.abreast else 0, -1, np.int64)

    def look(first: int, last: int) -> None:
        found = look_over(source.program, packets[first:last], source.least, source.most, keys[first:last])
        looks.append((first, *found))

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
    x0, x1, _, y1 = stimulus.packet[strays].T[: len(RECTANGLE)]
    out = strays[comes_out(spec, x0, x1, y1) > 0]
    if len(out):
        raise ValueError(f"Stimulus packet {out[0]}: a control packet must not go to the gateway.")
    inlets = len(topology_of(spec).inlets)
    if len(none := np.flatnonzero(stimulus.inlet >= inlets)):
        told = f"Stimulus packet {none[0]}: inlet must be 0..{inlets - 1}"
        raise ValueError(f"{told}, not {stimulus.inlet[none[0]]}.")
    return sum(look[2] for look in looks), max(look[3] for look in looks), keys


def arriving(stimulus: Stimulus, spec: SystemSpec) -> Stimulus:
    """Return spikes as they arrive: in place of one that meets a dead part, one to each place `reached`.

    The stimulus itself if none does.
    """
    met = meets_dead(spec, entries_of(spec)[stimulus.inlet], stimulus.packet[:, : len(RECTANGLE)])
    if not met.any():
        return stimulus
    rows, which = np.unique(_places(stimulus)[met], axis=0, return_inverse=True)
    starts = entries_of(spec)[rows[:, len(RECTANGLE)]]
    places = [reached(spec, start, row[: len(RECTANGLE)]) for start, row in zip(starts, rows, strict=True)]
    copies = np.ones(len(met), np.int64)
    copies[met] = np.array([len(some) for some in places])[which]
    packet = np.repeat(stimulus.packet, copies, axis=0)
    packet[np.repeat(met, copies), : len(RECTANGLE)] = np.concatenate([places[row] for row in which])
    return Stimulus(
        steps=stimulus.steps,
        step=np.repeat(stimulus.step, copies),
        packet=packet,
        host=stimulus.host,
        inlet=np.repeat(stimulus.inlet, copies),
    )


def sink_strays(program: Program, state: State, stimulus: Stimulus) -> None:
    """Count the control packets of a functional run: each is an error at every core it comes to."""
    rectangles = _places(stimulus)[stimulus.strays]
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
        The image that runs, and the spikes that the host feeds it.
    heard : Stimulus
        What comes of these to places (`arriving`).
    leaving : int
        Stimulus packets that may go back to the host (`check_stimulus`).
    loudest : int
        The largest payload of a stimulus packet, either sign.
    keys : int64 (p + 1,)
        The packets in one number each; empty if the run is in order.
    visits : bool
        Whether the state that a visit stores is recorded.
    """

    source: Source
    stimulus: Stimulus
    heard: Stimulus
    leaving: int
    loudest: int
    keys: Ints
    visits: bool

    @cached_property
    def at(self) -> Ints:
        """Where the packets of each step begin, (steps + 1,)."""
        steps = np.arange(self.heard.steps + 1)
        return np.searchsorted(self.heard.step, steps).astype(np.int64)

    @property
    def loud(self) -> bool:
        """Whether a payload may be beyond what groups of rows add in 8 bits."""
        return max(self.source.loudest, self.loudest) > SMALL

    def lanes(self, periods: int) -> int:
        """Return how many of some periods are executed side by side; 0 if they run in order."""
        if not self.source.abreast:
            return 0
        visits, packets = self.source.records
        each = 8 * visits * (1 + len(VISIT) if self.visits else 1) + 24 * (packets + self.leaving)
        most = min(MOST_LANES, STEPS_AT_ONCE // (self.source.period or 1), _MOST_BYTES // max(each, 1))
        if min(most, periods) < LEAST_LANES:
            return 0
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
        self.state: State = arrays.make_state(job.source.program, job.source.state)
        self.pieces: list[Piece] = []
        self.done = 0

    def run_periods(self, stop: threading.Event, progress: Progress | None = None) -> None:
        """Execute the periods, side by side where that pays, until told to stop."""
        lanes, period = self.job.lanes(self.last - self.first), self.job.source.period or 1
        if lanes:
            self._abreast(lanes, stop, progress)
        else:
            self.go_on(self.first * period, self.last * period, stop, progress)

    def _abreast(self, most: int, stop: threading.Event, progress: Progress | None) -> None:
        """Execute the periods, ``most`` at once."""
        job, source, period = self.job, self.job.source, self.job.source.period or 1
        visits, packets = source.records
        rows = visits + len(source.program.bias)
        tape = Tape(rows=rows, outputs=packets + job.leaving, visits=job.visits, lanes=most)
        lanes, at = make_lanes(source.program), self.first
        while at < self.last and not stop.is_set():
            used = min(most, self.last - at)
            done = run_abreast(
                source.program,
                self.state,
                lanes,
                source.groups,
                tape.record,
                job.at,
                job.heard.packet,
                job.keys,
                source.slots,
                used,
                at * period,
                period,
                job.loud,
            )
            if done < period:
                raise RuntimeError(
                    f"Records of periods {at}..{at + used - 1} exceed what their buffers hold."
                )
            tape.take()
            at += used
            self.done += used * period
            if progress is not None:
                progress(self.done, job.stimulus.steps)
        self.pieces += tape.pieces

    def go_on(self, begin: int, end: int, stop: threading.Event, progress: Progress | None) -> None:
        """Execute the steps from ``begin`` to before ``end`` one after the other, until told to stop."""
        job, program = self.job, self.job.source.program
        room = job.leaving + job.source.room
        rows = max(2 * len(program.bias), _LEAST_ROWS)
        tape = Tape(rows=rows, outputs=max(2 * room, _LEAST_ROWS >> 4), visits=job.visits)
        at_once = min(STEPS_AT_ONCE, 1 + _VISITS_AT_ONCE // (1 + len(program.bias)))
        step, packets = begin, job.heard.packet
        while step < end and not stop.is_set():
            until = min(step + at_once, end)
            now = fabric.run_steps(program, self.state, tape.record, job.at, packets, room, step, until)
            tape.take()
            self.done += now - step
            step = now
            if progress is not None:
                progress(step, job.stimulus.steps)
        self.pieces += tape.pieces


def _together(workers: Sequence[_Worker], steps: int, progress: Progress | None) -> None:
    """Let every worker execute its periods, each in a thread of its own; an interrupt stops them all."""
    stop = threading.Event()
    if workers[0].job.source.abreast:
        _ = workers[0].job.source.groups, workers[0].job.source.slots  # before the threads begin
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


def _places(stimulus: Stimulus) -> Ints:
    """Return the rectangle and the inlet of every packet of a stimulus, int64 (p, 5)."""
    return np.column_stack((stimulus.packet[:, : len(RECTANGLE)], stimulus.inlet))


def _rectangles(job: Job, program: Program, fed: Ints) -> tuple[Ints, Ints]:
    """Return rectangles and inlets (r, 5) of stimulus packets, and how many packets had each."""
    if not len(fed) or job.heard is not job.stimulus:
        rectangles, counts = np.unique(_places(job.stimulus), axis=0, return_counts=True)
        return np.ascontiguousarray(rectangles), counts.astype(np.int64)
    used = np.flatnonzero(fed)
    place = np.unravel_index(used, (program.across, program.across, program.down, program.down))
    return np.column_stack((*place, np.zeros_like(used))).astype(np.int64), fed[used]


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
    if first < stimulus.steps:
        workers[-1].go_on(first, stimulus.steps, threading.Event(), progress)
    state = workers[-1].state
    for worker in workers[:-1]:
        state.counters[:] += worker.state.counters
        state.sent[:] += worker.state.sent
        state.fed[:] += worker.state.fed
    routes.count_routes(source.program, state, *_rectangles(job, source.program, state.fed))
    pieces = [piece for worker in workers for piece in worker.pieces]
    return state, pieces
