# SPDX-License-Identifier: Apache-2.0
"""The machine: runs an image on a stimulus, functionally or cycle by cycle, with equal results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emu.balance import Balance
from emu.functional import Job, Progress, Source, arriving, check_stimulus, run_functional, sink_strays
from emu.image import SystemImage
from emu.kernels import cycle, inject, injectors, mesh
from emu.kernels import state as arrays
from emu.kernels.state import State
from emu.loading import all_cores
from emu.tape import Piece, Tape, frozen, spike_table, table
from emu.topology import PLACES, Port, alive, topology_of
from emu.trace import ACTIVITY_COUNTERS, VISIT, RunResult, Stimulus
from emu.words import COUNTERS, STATE_FIELDS, counters_of

__all__ = ["Machine"]

_TOKENS_AT_ONCE = 32


class Machine:
    """An emulated chip with a loaded image.

    Parameters
    ----------
    image : SystemImage
        The program of the chip.
    balance : Balance or None
        What the ways of integration cost against each other; measured once a process if None. Results do
        not depend on it.
    """

    def __init__(self, image: SystemImage, *, balance: Balance | None = None) -> None:
        self.image = image
        self._source = Source(image, balance)
        self._program = self._source.program
        topology = topology_of(image.spec)
        self._alive = alive(image.spec).reshape(-1)
        ways = topology.outputs & ~(1 << Port.L)
        self._ways = np.bitwise_count(ways).astype(np.int64)
        self._links = np.bincount(topology.links // PLACES, minlength=image.spec.cores)

    @cached_property
    def _reset(self) -> tuple[mesh.Mesh, injectors.Timing]:
        """Mesh and injectors after reset and load, when the tokens of the cores wait for the host's."""
        program = self._program
        spec = self.image.spec
        sizes = () if spec.links is None else (spec.links.size(spec.flit_bits),)
        topology = topology_of(spec)
        network = mesh.make_mesh(topology, program, *sizes)
        targets = np.zeros(len(program.fanout), np.int64)
        injectors.pack_targets(network.shifts, program.fanout, targets)
        gates = len(topology.inlets), len(topology.outlets)
        timing = injectors.make_timing(targets, self._alive, len(program.bias), len(network.links), gates)
        state = arrays.make_state(program, self._source.state)
        record = Tape(rows=len(program.bias), outputs=gates[1], visits=False).record
        cycle.run_cycles(program, state, record, network, timing, 1)
        mesh.turn_to_load(network, spec.width, np.array(all_cores(spec), np.int64))
        return network, timing

    def run(
        self,
        stimulus: Stimulus,
        *,
        cycles: bool = False,
        potentials: bool = False,
        threads: int = 1,
        progress: Progress | None = None,
    ) -> RunResult:
        """Run a stimulus from the state of the image; every call starts afresh and gives the same result.

        Parameters
        ----------
        stimulus : Stimulus
            What the host feeds. A packet that the host sends straight back to itself leaves the gateway
            before the token of its step, so it is an output of the step before, -1 for the first.
        cycles : bool
            Compute the cycle of every event as well (docs/reference/cycles.md); slower.
        potentials : bool
            Record V, and what else a state word holds, of every visited neuron in every step.
        threads : int
            Most threads of a functional run; the result does not depend on it. They help where the image's
            schedule separates samples (docs/benchmarks.md).
        progress : Progress or None
            Called with (steps done, all steps) now and then, by the caller's thread.

        Raises
        ------
        ValueError
            If ``threads`` is not at least 1, or a stimulus packet does not fit a flit.
        RuntimeError
            If the network stopped before the end of the run, which no image may cause.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}.")
        leaving, loudest, keys = check_stimulus(stimulus, self._source, threads)
        if cycles:
            return self._run_cycles(stimulus, potentials=potentials, progress=progress)
        spikes = stimulus.spikes()
        heard = arriving(spikes, self.image.spec)
        if heard is not stimulus:
            leaving, loudest, keys = check_stimulus(heard, self._source, threads)
        job = Job(
            source=self._source,
            stimulus=spikes,
            heard=heard,
            leaving=leaving,
            loudest=loudest,
            keys=keys,
            visits=potentials,
        )
        return self._run_steps(stimulus, job, threads=threads, progress=progress)

    def _run_steps(
        self, stimulus: Stimulus, job: Job, *, threads: int, progress: Progress | None
    ) -> RunResult:
        state, pieces = run_functional(job, threads=threads, progress=progress)
        if stimulus.strays.any():
            sink_strays(self._program, state, stimulus)
        tokens = stimulus.steps + 1
        state.counters[arrays.TOKEN_HOPS] = self._ways * tokens
        state.counters[arrays.CROSSINGS] += self._links * tokens
        return self._result("functional", stimulus.steps, state, pieces, visits=job.visits, threads=threads)

    def _run_cycles(self, stimulus: Stimulus, *, potentials: bool, progress: Progress | None) -> RunResult:
        program = self._program
        state = arrays.make_state(program, self._source.state)
        rows = max(2 * len(program.bias), 1 << 14)
        tape = Tape(rows=rows, outputs=1 << 12, visits=potentials)
        at_reset = self._reset
        network = mesh.Mesh(*(array.copy() for array in at_reset[0]))
        timing = injectors.feed(
            injectors.Timing(*(array.copy() for array in at_reset[1])),
            stimulus.steps,
            stimulus.inlet,
            stimulus.step,
            np.column_stack((stimulus.packet, stimulus.strays)),
            period=stimulus.host.period,
            taken=stimulus.host.taken,
        )
        inject.start_host(network, timing)
        why = cycle.STOPPED
        while why != cycle.QUIET:
            until = int(timing.left.min()) + _TOKENS_AT_ONCE
            if until > stimulus.steps:
                until = stimulus.steps + 2
            why = cycle.run_cycles(program, state, tape.record, network, timing, until)
            tape.take()
            if progress is not None:
                progress(min(int(timing.left.min()), stimulus.steps), stimulus.steps)
        _check_end(timing, self._alive, stimulus.steps, int(network.clock[mesh.NOW]))
        return self._result("cycle", stimulus.steps, state, tape.pieces, visits=potentials, timing=timing)

    def _result(
        self,
        mode: str,
        steps: int,
        state: State,
        pieces: Sequence[Piece],
        *,
        visits: bool,
        timing: injectors.Timing | None = None,
        threads: int = 1,
    ) -> RunResult:
        finish = gateway = outlets = elapsed = None
        if timing is not None:
            zero = int(timing.host[injectors.HOST_RELEASE])
            elapsed = int(timing.pause_seen.max()) - zero + 1
            paused = (timing.first_seen - zero + 1) + (elapsed - 1 - (timing.pause_seen - zero))
            state.counters[arrays.PAUSED] = np.where(self._alive, paused, 0)
            finish = frozen(np.where(self._alive, timing.finish - zero, -1))
            outlets = frozen(timing.gateway - zero)
            gateway = frozen(outlets.max(axis=1))
        counters = frozen(state.counters.copy())
        own = counters_of(self.image.spec)
        names = [name for name in own if timing is not None or name not in ACTIVITY_COUNTERS]
        return RunResult(
            mode=mode,
            steps=steps,
            spikes=spike_table(pieces, ordered=timing is None, threads=threads),
            outputs=table([piece[2] for piece in pieces], 3),
            counters={name: counters[COUNTERS.index(name)] for name in names},
            state={name: frozen(getattr(state, name)) for name in STATE_FIELDS},
            visits=table([piece[1] for piece in pieces], len(VISIT)) if visits else None,
            finish=finish,
            gateway=gateway,
            elapsed=elapsed,
            outlets=None if outlets is None or outlets.shape[1] == 1 else outlets,
        )


def _check_end(timing: injectors.Timing, present: NDArray[np.bool_], steps: int, now: int) -> None:
    """Refuse a run in which something still waits although nothing can move."""
    waiting = np.flatnonzero(present & (timing.pause_seen < 0))
    tokens = int(timing.left.min())
    if len(waiting) or tokens != steps + 1:
        core = int(waiting[0]) if len(waiting) else -1
        raise RuntimeError(
            f"The emulated network is stuck in cycle {now}: {len(waiting)} of {len(timing.halted)} cores "
            f"wait for a token (first: core {core}, step {int(timing.step[core])} of {steps}), {tokens} "
            "tokens have left by the gateway; please report this image and stimulus."
        )
