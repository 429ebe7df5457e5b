# SPDX-License-Identifier: Apache-2.0
"""What enters the mesh and when: the stream of the host, and cores in closed form (cycles.md)."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emu.jit import njit
from emu.kernels.mesh import LOCAL, NOW, PAUSE, PORTS, STRAY, TOKEN, WEST, Mesh, has_room, offer, pack_flit
from emu.kernels.neuron import execute
from emu.kernels.state import (
    AXON,
    ENTRY_COUNT,
    ENTRY_EMIT,
    ENTRY_FIRE,
    ENTRY_INTEGRATE,
    INTEGRATE,
    LAST,
    PACKETS,
    PAYLOAD,
    TOKEN_WAIT,
    UPDATE,
    Ints,
    Program,
    Record,
    State,
)
from emu.words import PACKET, Emission

__all__ = [
    "Timing",
    "due_cycle",
    "host_takes",
    "inject",
    "make_timing",
    "pop_due",
    "push_due",
    "start_host",
    "token_for_core",
]

# Places in Timing.host.
HOST_PACKET, HOST_STEP, HOST_RELEASE, HOST_TOKENS, HOST_QUEUE, HOST_BEGIN, HOST_PERIOD, HOST_TAKEN = range(8)

UNARY, CONSTANT = int(Emission.UNARY), int(Emission.CONSTANT)

STRAY_AT = len(PACKET)
"""Column of Timing.stimulus that tells a stray."""

# An injector and the cycle in which it is due in one integer: there are at most 64 x 63 cores and the host.
INJECTOR_BITS = 12
INJECTOR_MASK = (1 << INJECTOR_BITS) - 1


class Timing(NamedTuple):
    """Where every injector is: cores 0 .. C - 1 and the host, C."""

    flit: Ints  # (C + 1,) what is injected next
    due: Ints  # (C + 1,) heap of cycle << INJECTOR_BITS | injector
    since: Ints  # (C + 1,) cycle from which an injector finds no room, -1 if none
    neuron: Ints  # (C,) whose turn it is to be visited or to emit
    visits: Ints  # (C,) neurons visited in this step
    integration: Ints  # (C,) cycles of integration of a block
    fill: Ints  # (C,) cycles from the end of integration until the first neuron reaches the emitter
    pace: Ints  # (C,) II, cycles from one neuron to the next
    emit: Ints  # (C,) the schedule's constant
    walk: Ints  # (C,) e_b, the cycle before the walk of this block
    reach: Ints  # (C,) P of ``neuron`` as far as it is known; after the last one, when the token is offered
    free: Ints  # (C,) from when on the emitter is free in this block
    fanout: Ints  # (C,) fan-out entry being sent, -1 if none
    copy: Ints  # (C,) packets of this entry already sent
    step: Ints  # (C,) step tokens seen
    halted: Ints  # (C,) 1 while paused
    finished: Ints  # (C,) cycle in which the latest step's token entered the router
    first_seen: Ints  # (C,) cycle in which WAIT saw the first step token
    pause_seen: Ints  # (C,) and the pause token, -1 before
    finish: Ints  # (steps, C)
    gateway: Ints  # (steps + 1,)
    stimulus_step: Ints  # (p,)
    stimulus: Ints  # (p, 7) packet, and whether it is a stray
    host: Ints  # (8,)


def make_timing(
    cores: int, steps: int, stimulus_step: Ints, stimulus: Ints, *, period: int = 1, taken: int = 1
) -> Timing:
    """Return the injectors after reset: every core is about to send its token, the host waits."""

    def filled(count: int, value: int) -> Ints:
        return np.full(count, value, np.int64)

    timing = Timing(
        flit=filled(cores + 1, TOKEN),
        due=np.arange(cores + 1, dtype=np.int64),
        since=filled(cores + 1, -1),
        neuron=filled(cores, 0),
        visits=filled(cores, 0),
        **{
            name: filled(cores, 0)
            for name in ("integration", "fill", "pace", "emit", "walk", "reach", "free")
        },
        fanout=filled(cores, -1),
        copy=filled(cores, 0),
        step=filled(cores, 0),
        halted=filled(cores, 1),
        finished=filled(cores, 0),
        first_seen=filled(cores, -1),
        pause_seen=filled(cores, -1),
        finish=np.full((steps, cores), -1, np.int64),
        gateway=filled(steps + 1, -1),
        stimulus_step=np.array(stimulus_step, np.int64),
        stimulus=np.array(stimulus, np.int64).reshape(-1, STRAY_AT + 1),
        host=filled(8, 0),
    )
    timing.host[HOST_RELEASE] = -1
    timing.host[HOST_QUEUE] = cores
    timing.host[HOST_PERIOD], timing.host[HOST_TAKEN] = period, taken
    return timing


@njit
def push_due(timing: Timing, cycle: int, injector: int) -> None:
    """Put an injector on the heap of due cycles."""
    heap = timing.due
    at = timing.host[HOST_QUEUE]
    key = cycle << INJECTOR_BITS | injector
    timing.host[HOST_QUEUE] += 1
    while at > 0 and heap[(at - 1) >> 1] > key:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = key


@njit
def pop_due(timing: Timing) -> int:
    """Take the injector that is due first off the heap."""
    heap = timing.due
    top = heap[0]
    timing.host[HOST_QUEUE] -= 1
    count = timing.host[HOST_QUEUE]
    key = heap[count]
    at = 0
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key
    return top & INJECTOR_MASK  # type: ignore[no-any-return]


@njit
def due_cycle(timing: Timing) -> int:
    """Return the cycle in which the first injector is due."""
    return timing.due[0] >> INJECTOR_BITS  # type: ignore[no-any-return]


@njit
def _next_of_host(timing: Timing) -> None:
    """Choose the host's next flit: the packets of its step, then the token."""
    packet = timing.host[HOST_PACKET]
    if packet < len(timing.stimulus) and timing.stimulus_step[packet] == timing.host[HOST_STEP]:
        p = timing.stimulus[packet]
        timing.flit[-1] = pack_flit(p, p[AXON], p[PAYLOAD]) | STRAY * p[STRAY_AT]
    elif timing.host[HOST_STEP] == len(timing.finish):
        timing.flit[-1] = TOKEN | PAUSE
    else:
        timing.flit[-1] = TOKEN


@njit
def _host_sent(timing: Timing, now: int) -> None:
    """Go on to the host's next flit after one has entered the mesh."""
    if timing.flit[-1] & TOKEN:
        if timing.host[HOST_RELEASE] < 0:
            timing.host[HOST_RELEASE] = now
        timing.host[HOST_STEP] += 1
    else:
        timing.host[HOST_PACKET] += 1
    if timing.host[HOST_STEP] <= len(timing.finish):
        _next_of_host(timing)
        push_due(timing, now + 1, len(timing.flit) - 1)


@njit
def start_host(mesh: Mesh, timing: Timing) -> None:
    """Let the host offer its first flit in the cycle after a quiet mesh; its pace counts from there."""
    mesh.clock[NOW] += 1
    timing.host[HOST_BEGIN] = mesh.clock[NOW]
    _next_of_host(timing)
    push_due(timing, mesh.clock[NOW], len(timing.flit) - 1)


@njit
def host_takes(mesh: Mesh, timing: Timing) -> bool:
    """Return whether the host takes a flit in this cycle."""
    cycle = mesh.clock[NOW] - timing.host[HOST_BEGIN]
    return cycle % timing.host[HOST_PERIOD] < timing.host[HOST_TAKEN]  # type: ignore[no-any-return]


@njit
def _next_neuron(program: Program, state: State, timing: Timing, core: int) -> None:
    """Go to the next neuron of a core; after the last of a block integrate the next, or the step is over."""
    timing.neuron[core] += 1
    if timing.neuron[core] < timing.visits[core] and timing.neuron[core] % program.per_block[core]:
        timing.reach[core] += timing.pace[core]
        return
    last = max(timing.reach[core], timing.free[core] - 1)
    state.counters[UPDATE, core] += last - timing.walk[core]
    timing.free[core] = 0
    if timing.neuron[core] == timing.visits[core]:
        timing.reach[core] = last + 1
    else:
        _begin_block(timing, core, last + 1)


@njit
def _begin_block(timing: Timing, core: int, begin: int) -> None:
    """Integrate and walk a block from cycle ``begin`` on."""
    timing.walk[core] = begin - 1 + timing.integration[core]
    timing.reach[core] = timing.walk[core] + timing.fill[core]


@njit
def _skip_to(program: Program, state: State, timing: Timing, core: int, neuron: int) -> None:
    """Go to a later neuron of a core, or to the end of the step, block by block: none between sends."""
    size = program.per_block[core]
    while timing.neuron[core] < neuron:
        at = timing.neuron[core]
        end = min(at - at % size + size, timing.visits[core])
        if neuron < end:
            timing.reach[core] += (neuron - at) * timing.pace[core]
            timing.neuron[core] = neuron
            return
        timing.reach[core] += (end - 1 - at) * timing.pace[core]
        timing.neuron[core] = end - 1
        _next_neuron(program, state, timing, core)


@njit
def _prepare(program: Program, state: State, timing: Timing, core: int) -> None:
    """Find what a core injects next, and when."""
    at, visits, sender = program.neuron_at[core], timing.visits[core], timing.neuron[core]
    while sender < visits and (state.crossed[at + sender] == 0 or not program.connected[at + sender]):
        sender += 1
    _skip_to(program, state, timing, core, sender)
    if sender < visits:
        timing.reach[core] = max(timing.reach[core], timing.free[core])
        timing.fanout[core] = program.fanout_base[at + sender]
        timing.copy[core] = 0
        _offer_packet(program, state, timing, core, timing.reach[core])
        return
    timing.flit[core] = TOKEN
    push_due(timing, timing.reach[core], core)


@njit
def _offer_packet(program: Program, state: State, timing: Timing, core: int, begin: int) -> None:
    """Let the neuron that sends offer its next packet from cycle ``begin`` on."""
    neuron = program.neuron_at[core] + timing.neuron[core]
    p, payload = program.fanout[timing.fanout[core]], state.crossed[neuron]
    if program.emission[neuron] == UNARY:
        payload = 1
    elif program.emission[neuron] == CONSTANT:
        payload = timing.emit[core] if payload > 0 else -timing.emit[core]
    timing.flit[core] = pack_flit(p, p[AXON] + timing.copy[core], payload)
    push_due(timing, begin, core)


@njit
def _core_sent(program: Program, state: State, timing: Timing, core: int, now: int) -> None:
    """Account for a flit that has entered the router from its core, and go on."""
    if timing.flit[core] & TOKEN:
        if not timing.halted[core]:
            timing.finish[timing.step[core] - 1, core] = now
            timing.finished[core] = now
            state.counters[TOKEN_WAIT, core] += 1
        return
    state.counters[PACKETS, core] += 1
    neuron = program.neuron_at[core] + timing.neuron[core]
    timing.copy[core] += 1
    if program.emission[neuron] != UNARY or timing.copy[core] >= state.crossed[neuron]:
        timing.copy[core] = 0
        if program.fanout[timing.fanout[core], LAST]:
            timing.free[core] = now + 1
            _next_neuron(program, state, timing, core)
            _prepare(program, state, timing, core)
            return
        timing.fanout[core] += 1
    _offer_packet(program, state, timing, core, now + 1)


@njit
def token_for_core(
    program: Program, state: State, record: Record, timing: Timing, core: int, now: int, pause: int
) -> None:
    """Take a token that leaves by L in cycle ``now``: WAIT sees it in the next, work begins after that."""
    seen = now + 1
    timing.visits[core] = 0
    timing.neuron[core] = 0
    timing.reach[core] = seen + 1
    if not timing.halted[core]:
        state.counters[TOKEN_WAIT, core] += seen - timing.finished[core]
    if pause:
        timing.halted[core] = 1
        timing.pause_seen[core] = seen
        _prepare(program, state, timing, core)
        return
    timing.halted[core] = 0
    step = timing.step[core]
    if step == 0:
        timing.first_seen[core] = seen
    timing.step[core] = step + 1
    entry, events, walked = execute(program, state, record, core, step)
    if walked:
        _begin_step(program, state, timing, core, entry, events)
    _prepare(program, state, timing, core)


@njit
def _begin_step(program: Program, state: State, timing: Timing, core: int, entry: int, events: int) -> None:
    """Begin the first block of a step; ``timing.reach`` says when."""
    row = program.schedule[entry]
    words = 1 if program.ladder[core] else (row[ENTRY_COUNT] + 3) // 4
    compare = max(words, 1) if row[ENTRY_FIRE] else 1
    timing.visits[core] = program.neurons[core]
    timing.emit[core] = row[ENTRY_EMIT]
    timing.pace[core] = max(program.digits[core], compare)
    timing.fill[core] = program.walk_fill + program.digits[core] + compare - 2
    timing.free[core] = 0
    timing.integration[core] = events + program.integrate_fill if row[ENTRY_INTEGRATE] else 0
    state.counters[INTEGRATE, core] += program.blocks[core] * timing.integration[core]
    _begin_block(timing, core, timing.reach[core])


@njit
def inject(program: Program, state: State, mesh: Mesh, timing: Timing, injector: int) -> None:
    """Let a core or the host write its flit into the mesh, or note that it waits."""
    now = mesh.clock[NOW]
    host = len(timing.flit) - 1
    fifo = WEST if injector == host else PORTS * injector + LOCAL
    if not has_room(mesh, fifo):
        timing.since[injector] = now
        return
    offer(mesh, fifo, timing.flit[injector])
    if injector == host:
        _host_sent(timing, now)
    else:
        _core_sent(program, state, timing, injector, now)
