# SPDX-License-Identifier: Apache-2.0
"""The machine: runs an image on a stimulus, functionally or cycle by cycle, with equal results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.kernels import cycle, fabric, inject, mesh
from emu.kernels import state as arrays
from emu.kernels.state import Program, Record, State
from emu.spec import SystemSpec
from emu.trace import ACTIVITY_COUNTERS, RunResult, Stimulus
from emu.words import COUNTERS

__all__ = ["Machine"]

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]

_STEPS_AT_ONCE = 32


def _joined(parts: Sequence[NDArray[np.generic]], shape: tuple[int, ...] = (0,)) -> Ints:
    """Return arrays one after the other as a new, writable int64 array."""
    return np.concatenate([np.zeros(shape, np.int64), *(np.asarray(part, np.int64) for part in parts)])


def _offsets(sizes: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))])[:-1].astype(np.int64)


def _crossbars(cores: Sequence[CoreImage | None]) -> tuple[NDArray[np.int8], Ints]:
    """Return all crossbars, an array that several cores share only once, and where each core's begins."""
    places: dict[int, int] = {}
    parts = [np.zeros(0, np.int8)]
    at = 0
    for core in cores:
        if core is not None and id(core.crossbar) not in places:
            places[id(core.crossbar)] = at
            parts.append(core.crossbar.reshape(-1))
            at += core.crossbar.size
    where = [0 if core is None else places[id(core.crossbar)] for core in cores]
    return np.concatenate(parts), np.array(where, np.int64)


def _program(image: SystemImage) -> Program:
    """Return an image as the arrays that the kernels read."""
    spec, cores = image.spec, image.cores
    used = [core for core in cores if core is not None]
    axons = [0 if core is None else core.axons for core in cores]
    neurons = [0 if core is None else core.neurons for core in cores]
    strengths = np.zeros((len(cores), spec.core.strengths), np.int64)
    for row, core in zip(strengths, cores, strict=True):
        if core is not None:
            row[: len(core.strengths)] = core.strengths
    columns = np.array([0 if core is None else len(core.strengths) for core in cores], np.int64)
    threshold_at = _offsets([0 if core is None else len(core.thresholds) for core in cores])
    fanout_at = _offsets([0 if core is None else len(core.fanout) for core in cores])
    schedules = [0 if core is None else len(core.schedule) for core in cores]
    cells, cell_at = _crossbars(cores)
    return Program(
        width=spec.width,
        height=spec.height,
        low=spec.core.potential_min,
        high=spec.core.potential_max,
        enabled=np.array([core is not None for core in cores], np.int64),
        axons=np.array(axons, np.int64),
        neurons=np.array(neurons, np.int64),
        columns=columns,
        words=-(-np.array(neurons, np.int64) * columns // spec.core.lanes),
        axon_at=_offsets(axons),
        cell_at=cell_at,
        neuron_at=_offsets(neurons),
        schedule_at=_offsets(schedules),
        schedule_length=np.array(schedules, np.int64),
        cells=cells,
        row_cells=_joined([np.count_nonzero(core.crossbar, axis=1) for core in used]),
        strengths=strengths,
        bias=_joined([core.bias for core in used]),
        v0=_joined([core.v0 for core in used]),
        reset=_joined([core.reset for core in used]),
        count_emission=_joined([core.count_emission for core in used]),
        connected=_joined([core.connected for core in used]),
        threshold_base=_joined(
            [c.threshold_base + at for c, at in zip(cores, threshold_at, strict=True) if c]
        ),
        fanout_base=_joined([c.fanout_base + at for c, at in zip(cores, fanout_at, strict=True) if c]),
        thresholds=_joined([core.thresholds for core in used]),
        fanout=_joined([core.fanout for core in used], (0, 6)),
        schedule=_joined([core.schedule for core in used], (0, 7)),
    )


def _gateway_room(core: CoreImage, height: int) -> int:
    """Return the most packets that a core can send to the gateway in one step."""
    bases = core.fanout_base[core.connected].astype(np.int64)
    if not len(bases):
        return 0
    leaves = np.concatenate([[0], np.cumsum((core.fanout[:, 0] == 0) & (core.fanout[:, 3] >= height))])
    ends = np.flatnonzero(core.fanout[:, 5])
    last = ends[np.searchsorted(ends, bases)]
    copies = np.where(core.count_emission[core.connected], 1, core.schedule[:, 6].max(initial=0))
    return int(((leaves[last + 1] - leaves[bases]) * copies).sum())


def _check_stimulus(stimulus: Stimulus, spec: SystemSpec) -> None:
    """Refuse packets that do not fit a flit."""
    core = spec.core
    limits = (
        ("x0", 0, (1 << spec.x_bits) - 1),
        ("x1", 0, (1 << spec.x_bits) - 1),
        ("y0", 0, (1 << spec.y_bits) - 1),
        ("y1", 0, (1 << spec.y_bits) - 1),
        ("axon", 0, (1 << core.flit_axon_bits) - 1),
        ("payload", core.payload_min, core.payload_max),
    )
    for column, (name, low, high) in enumerate(limits):
        values = stimulus.packet[:, column]
        wrong = np.flatnonzero((values < low) | (values > high))
        if len(wrong):
            raise ValueError(
                f"stimulus packet {wrong[0]}: {name} must be {low}..{high} to fit a flit, "
                f"not {values[wrong[0]]}"
            )


def _sorted(parts: Sequence[Ints], columns: int) -> Ints:
    """Return recorded rows in order of all their columns, read-only."""
    table = np.concatenate([np.zeros((0, columns), np.int64), *parts])
    table = np.ascontiguousarray(table[np.lexsort(table.T[::-1])])
    table.flags.writeable = False
    return table


def _frozen(array: Ints) -> Ints:
    array.flags.writeable = False
    return array


class _Tape:
    """The records of a run, taken from the kernels' buffers in pieces."""

    def __init__(self, program: Program, outputs: int, *, potentials: bool) -> None:
        self.record: Record = arrays.make_record(program, outputs=outputs, potentials=potentials)
        self.pieces: list[tuple[Ints, Ints, Ints]] = []

    def take(self) -> None:
        """Empty the buffers."""
        self.pieces.append(arrays.clear_record(self.record))

    def table(self, which: int, columns: int) -> Ints:
        """Return all rows of one kind, sorted."""
        return _sorted([piece[which] for piece in self.pieces], columns)


class Machine:
    """An emulated chip with a loaded image.

    Parameters
    ----------
    image : the program of the chip.
    """

    def __init__(self, image: SystemImage) -> None:
        self.image = image
        self._program = _program(image)
        self._potential = _joined([core.potential for core in image.cores if core is not None])
        self._room = sum(_gateway_room(core, image.spec.height) for core in image.cores if core is not None)

    def run(
        self,
        stimulus: Stimulus,
        *,
        cycles: bool = False,
        potentials: bool = False,
        progress: Progress | None = None,
    ) -> RunResult:
        """Run a stimulus from the state of the image; every call starts afresh and gives the same result.

        Parameters
        ----------
        stimulus : what the host feeds. A packet that the host sends straight back to itself leaves the
            gateway before the token of its step, so it is an output of the step before, -1 for the first.
        cycles : compute the cycle of every event as well (docs/reference/cycles.md); slower.
        potentials : record V of every visited neuron in every step.
        progress : called with (steps done, all steps) now and then.

        Raises
        ------
        ValueError : a stimulus packet does not fit a flit.
        RuntimeError : the network stopped before the end of the run, which no image may cause.
        """
        _check_stimulus(stimulus, self.image.spec)
        run = self._run_cycles if cycles else self._run_steps
        return run(stimulus, potentials=potentials, progress=progress)

    def _run_steps(self, stimulus: Stimulus, *, potentials: bool, progress: Progress | None) -> RunResult:
        program = self._program
        state = arrays.make_state(program, self._potential)
        at = np.searchsorted(stimulus.step, np.arange(stimulus.steps + 1)).astype(np.int64)
        fed = int(np.diff(at).max(initial=0))
        tape = _Tape(program, self._room + fed, potentials=potentials)
        packet = stimulus.packet.copy()
        step = 0
        while step < stimulus.steps:
            until = min(step + _STEPS_AT_ONCE, stimulus.steps)
            step = fabric.run_steps(program, state, tape.record, at, packet, self._room, step, until)
            tape.take()
            if progress is not None:
                progress(step, stimulus.steps)
        outs = mesh.make_mesh(program.width, program.height).outs
        state.counters[arrays.TOKEN_HOPS] = np.bitwise_count(outs & 0b1111).astype(np.int64) * (
            stimulus.steps + 1
        )
        return self._result("functional", stimulus.steps, state, tape)

    def _run_cycles(self, stimulus: Stimulus, *, potentials: bool, progress: Progress | None) -> RunResult:
        program = self._program
        state = arrays.make_state(program, self._potential)
        tape = _Tape(program, 0, potentials=potentials)
        network = mesh.make_mesh(program.width, program.height)
        timing = inject.make_timing(len(program.enabled), stimulus.steps, stimulus.step, stimulus.packet)
        cycle.run_cycles(program, state, tape.record, network, timing, stimulus.steps + 2)
        state.counters[:] = 0
        inject.start_host(network, timing)
        why = cycle.STOPPED
        while why != cycle.QUIET:
            until = int(timing.host[inject.HOST_TOKENS]) + _STEPS_AT_ONCE
            if until > stimulus.steps:
                until = stimulus.steps + 2
            why = cycle.run_cycles(program, state, tape.record, network, timing, until)
            tape.take()
            if progress is not None:
                progress(min(int(timing.host[inject.HOST_TOKENS]), stimulus.steps), stimulus.steps)
        _check_end(timing, stimulus.steps, int(network.clock[mesh.NOW]))
        return self._result("cycle", stimulus.steps, state, tape, timing)

    def _result(
        self, mode: str, steps: int, state: State, tape: _Tape, timing: inject.Timing | None = None
    ) -> RunResult:
        finish = gateway = elapsed = None
        if timing is not None:
            zero = int(timing.host[inject.HOST_RELEASE])
            elapsed = int(timing.pause_seen.max()) - zero + 1
            paused = (timing.first_seen - zero + 1) + (elapsed - 1 - (timing.pause_seen - zero))
            state.counters[arrays.PAUSED] = paused
            finish, gateway = _frozen(timing.finish - zero), _frozen(timing.gateway - zero)
        names = [name for name in COUNTERS if timing is not None or name not in ACTIVITY_COUNTERS]
        return RunResult(
            mode=mode,
            steps=steps,
            spikes=tape.table(0, 4),
            outputs=tape.table(2, 3),
            counters={name: _frozen(state.counters[COUNTERS.index(name)].copy()) for name in names},
            state=_frozen(state.potential),
            potentials=tape.table(1, 4) if len(tape.record.potentials) else None,
            finish=finish,
            gateway=gateway,
            elapsed=elapsed,
        )


def _check_end(timing: inject.Timing, steps: int, now: int) -> None:
    """Refuse a run in which something still waits although nothing can move."""
    waiting = np.flatnonzero(timing.pause_seen < 0)
    tokens = int(timing.host[inject.HOST_TOKENS])
    if len(waiting) or tokens != steps + 1:
        core = int(waiting[0]) if len(waiting) else -1
        raise RuntimeError(
            f"emulated network is stuck in cycle {now}: {len(waiting)} of {len(timing.halted)} cores "
            f"wait for a token (first: core {core}, step {int(timing.step[core])} of {steps}), {tokens} "
            "tokens have left by the gateway; please report this image and stimulus"
        )
