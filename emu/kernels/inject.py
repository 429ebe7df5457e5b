# SPDX-License-Identifier: Apache-2.0
"""What enters the mesh and when: the stream of the host, and cores in closed form (cycles.md)."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import inner, njit
from emu.kernels.injectors import (
    FEED_END,
    FEED_PACKET,
    FEED_STEP,
    HOST_BEGIN,
    HOST_PERIOD,
    HOST_RELEASE,
    HOST_TAKEN,
    LAST_PACKET,
    STRAY_AT,
    Timing,
    push_due,
)
from emu.kernels.links import go_on, receive
from emu.kernels.mesh import (
    LINK_INPUT,
    LOCAL,
    NOW,
    PAUSE,
    STRAY,
    TOKEN,
    Mesh,
    offer,
    pack_flit,
)
from emu.kernels.neuron import execute
from emu.kernels.state import (
    AXON,
    ENTRY_COUNT,
    ENTRY_EMIT,
    ENTRY_FIRE,
    ENTRY_INTEGRATE,
    INTEGRATE,
    NEURON_BITS,
    PACKETS,
    PAYLOAD,
    SPIKE_NEURON,
    TOKEN_WAIT,
    UPDATE,
    USED_SPIKES,
    Program,
    Record,
    State,
)
from emu.words import Emission

__all__ = ["host_takes", "inject", "start_host", "token_for_core"]

UNARY, CONSTANT = int(Emission.UNARY), int(Emission.CONSTANT)

NEURON_MASK = (1 << NEURON_BITS) - 1


@inner
def _injector(mesh: Mesh, timing: Timing, inlet: int) -> int:
    """Return the injector of an inlet."""
    return len(timing.halted) + (inlet + 2 * len(mesh.links) if inlet else 0)


@njit
def _next_of_host(mesh: Mesh, timing: Timing, inlet: int) -> None:
    """Choose the host's next flit at an inlet: the packets of its step, then the token."""
    packet, injector = timing.feeds[inlet, FEED_PACKET], _injector(mesh, timing, inlet)
    step = timing.feeds[inlet, FEED_STEP]
    if packet < timing.feeds[inlet, FEED_END] and timing.stimulus_step[packet] == step:
        p = timing.stimulus[packet]
        payload = p[PAYLOAD] + (1 << mesh.shifts[AXON] - 1)
        timing.flit[injector] = pack_flit(mesh.shifts, p, payload) | STRAY * p[STRAY_AT]
    elif step == len(timing.finish):
        timing.flit[injector] = TOKEN | PAUSE
    else:
        timing.flit[injector] = TOKEN


@njit
def _host_sent(mesh: Mesh, timing: Timing, inlet: int, now: int) -> None:
    """Go on to the host's next flit at an inlet after one has entered the mesh."""
    injector = _injector(mesh, timing, inlet)
    if timing.flit[injector] & TOKEN:
        if timing.host[HOST_RELEASE] < 0:
            timing.host[HOST_RELEASE] = now
        timing.feeds[inlet, FEED_STEP] += 1
    else:
        timing.feeds[inlet, FEED_PACKET] += 1
    if timing.feeds[inlet, FEED_STEP] <= len(timing.finish):
        _next_of_host(mesh, timing, inlet)
        push_due(timing, now, now + 1, injector)


@njit
def start_host(mesh: Mesh, timing: Timing) -> None:
    """Let the host offer its first flits in the cycle after a quiet mesh; its pace counts from there."""
    mesh.clock[NOW] += 1
    timing.host[HOST_BEGIN] = mesh.clock[NOW]
    for inlet in range(len(timing.feeds)):
        _next_of_host(mesh, timing, inlet)
        push_due(timing, mesh.clock[NOW], mesh.clock[NOW], _injector(mesh, timing, inlet))


@njit
def host_takes(mesh: Mesh, timing: Timing) -> bool:
    """Return whether the host takes a flit in this cycle."""
    cycle = mesh.clock[NOW] - timing.host[HOST_BEGIN]
    return cycle % timing.host[HOST_PERIOD] < timing.host[HOST_TAKEN]  # type: ignore[no-any-return]


@njit
def _begin_block(timing: Timing, core: int, begin: int) -> None:
    """Integrate and walk a block from cycle ``begin`` on."""
    timing.walk[core] = begin - 1 + timing.integration[core]
    timing.reach[core] = timing.walk[core] + timing.fill[core]
    timing.free[core] = 0


@njit
def _walk_to(program: Program, state: State, timing: Timing, core: int, neuron: int) -> None:
    """Walk to a later neuron of a core, or after the last to the end of the step; nobody between sends."""
    at, pace, end = timing.neuron[core], timing.pace[core], timing.block_end[core]
    timing.neuron[core] = neuron
    if neuron < end:
        timing.reach[core] += (neuron - at) * pace
        return
    last = max(timing.reach[core] + (end - 1 - at) * pace, timing.free[core] - 1)
    size, visits, integration = program.per_block[core], timing.visits[core], timing.integration[core]
    silent = (neuron - end) // size  # whole blocks
    walk, rest = timing.fill[core] + (size - 1) * pace, 0
    update, begin = last - timing.walk[core] + silent * walk, last + 1 + silent * (integration + walk)
    first = end + silent * size
    if neuron < visits:
        _begin_block(timing, core, begin)
        timing.reach[core] += (neuron - first) * pace
        timing.block_end[core] = min(first + size, visits)
    elif first < visits:
        rest = timing.fill[core] + (visits - 1 - first) * pace
        timing.reach[core] = begin + integration + rest
    else:
        timing.reach[core] = begin
    state.counters[UPDATE, core] += update + rest


@njit
def _prepare(program: Program, state: State, timing: Timing, core: int, now: int) -> None:
    """Find what a core injects next, and when."""
    at, turn = program.neuron_at[core], timing.turn[core]
    if turn < timing.senders[core]:
        timing.turn[core] = turn + 1
        sender = timing.sender[at + turn]
        _walk_to(program, state, timing, core, sender)
        timing.reach[core] = max(timing.reach[core], timing.free[core])
        timing.fanout[core] = program.fanout_base[at + sender]
        timing.copy[core] = 0
        _offer_packet(program, state, timing, core, now, timing.reach[core])
        return
    if timing.visits[core]:
        _walk_to(program, state, timing, core, timing.visits[core])
    timing.flit[core] = TOKEN
    push_due(timing, now, timing.reach[core], core)


@njit
def _offer_packet(program: Program, state: State, timing: Timing, core: int, now: int, begin: int) -> None:
    """Let the neuron that sends offer its next packet from cycle ``begin`` on."""
    neuron = program.neuron_at[core] + timing.neuron[core]
    payload, target = state.crossed[neuron], timing.targets[timing.fanout[core]] & ~LAST_PACKET
    if program.emission[neuron] == UNARY:
        payload = 1
    elif program.emission[neuron] == CONSTANT:
        payload = timing.emit[core] if payload > 0 else -timing.emit[core]
    bits = program.payload_bits
    timing.flit[core] = target + (timing.copy[core] << bits) + payload + (1 << bits - 1)
    push_due(timing, now, begin, core)


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
        if timing.targets[timing.fanout[core]] & LAST_PACKET:
            timing.free[core] = now + 1
            _prepare(program, state, timing, core, now)
            return
        timing.fanout[core] += 1
    _offer_packet(program, state, timing, core, now, now + 1)


@njit
def _list_senders(program: Program, record: Record, timing: Timing, core: int, first: int, last: int) -> None:
    """List the connected neurons whose spikes are rows ``first`` .. ``last`` - 1 of the record."""
    at, count = program.neuron_at[core], 0
    for row in range(first, last):
        neuron = record.spikes[row] >> SPIKE_NEURON & NEURON_MASK
        timing.sender[at + count] = neuron
        count += program.connected[at + neuron] != 0
    timing.senders[core] = count


@njit
def token_for_core(
    program: Program, state: State, record: Record, timing: Timing, core: int, now: int, pause: int
) -> None:
    """Take a token that leaves by L in cycle ``now``: WAIT sees it in the next, work begins after that."""
    seen = now + 1
    timing.visits[core] = 0
    timing.senders[core] = 0
    timing.turn[core] = 0
    timing.reach[core] = seen + 1
    if not timing.halted[core]:
        state.counters[TOKEN_WAIT, core] += seen - timing.finished[core]
    if pause:
        timing.halted[core] = 1
        timing.pause_seen[core] = seen
        _prepare(program, state, timing, core, now)
        return
    timing.halted[core] = 0
    step = timing.step[core]
    if step == 0:
        timing.first_seen[core] = seen
    timing.step[core] = step + 1
    spikes = record.used[USED_SPIKES]
    entry, events, walked = execute(program, state, record, core, step)
    if walked:
        _list_senders(program, record, timing, core, spikes, record.used[USED_SPIKES])
        _begin_step(program, state, timing, core, entry, events)
    _prepare(program, state, timing, core, now)


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
    timing.neuron[core] = 0
    timing.block_end[core] = min(program.per_block[core], timing.visits[core])
    timing.integration[core] = events + program.integrate_fill if row[ENTRY_INTEGRATE] else 0
    state.counters[INTEGRATE, core] += program.blocks[core] * timing.integration[core]
    _begin_block(timing, core, timing.reach[core])


@inner
def _fifo(program: Program, mesh: Mesh, injector: int, host: int, link: int) -> int:
    """Return the input that an injector fills."""
    if injector < host:
        return 8 * injector + LOCAL
    if 0 <= link < len(mesh.links):
        return mesh.links[link, LINK_INPUT]  # type: ignore[no-any-return]
    return program.inlets[max(0, link - 2 * len(mesh.links) + 1)]  # type: ignore[no-any-return]


@njit
def inject(program: Program, state: State, mesh: Mesh, timing: Timing, injector: int) -> None:
    """Let a core, the host or a link write its flit into the mesh, or note that it waits."""
    now, host, links = mesh.clock[NOW], len(timing.halted), len(mesh.links)
    link = injector - host - 1
    if links <= link < 2 * links:
        go_on(mesh, timing, link - links)
        return
    fifo = _fifo(program, mesh, injector, host, link)
    if mesh.held[fifo] == 2:
        timing.since[injector] = now
        return
    if 0 <= link < links:
        receive(state, mesh, timing, link)
        return
    offer(state, mesh, fifo, timing.flit[injector])
    if injector >= host:
        _host_sent(mesh, timing, max(0, link - 2 * links + 1), now)
    else:
        _core_sent(program, state, timing, injector, now)
