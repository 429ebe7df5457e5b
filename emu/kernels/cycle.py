# SPDX-License-Identifier: Apache-2.0
"""The cycle-exact run (cycles.md): cores in closed form between injections, routers while they move flits."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import njit
from emu.kernels.fabric import deliver, output
from emu.kernels.inject import (
    HOST_QUEUE,
    HOST_TOKENS,
    Timing,
    inject,
    pop_due,
    push_due,
    token_for_core,
)
from emu.kernels.mesh import (
    AWAKE,
    AXON_SHIFT,
    FEEDS,
    LOCAL,
    NOW,
    PAUSE,
    PAYLOAD_BIAS,
    PAYLOAD_SHIFT,
    PORTS,
    SOON,
    TO_CORE,
    TO_GATEWAY,
    TOKEN,
    TOUCHED,
    Mesh,
    commit,
    has_room,
    offer,
    route,
    touch,
    wake,
)
from emu.kernels.state import (
    HOPS,
    ROUTER_ERRORS,
    SEND_STALL,
    TOKEN_HOPS,
    USED_OUTPUTS,
    USED_POTENTIALS,
    USED_SPIKES,
    Program,
    Record,
    State,
)

__all__ = ["FULL", "QUIET", "STOPPED", "run_cycles"]

QUIET = 0
"""Nothing can move any more."""
FULL = 1
"""The record might overflow in the next cycle."""
STOPPED = 2
"""As many tokens have left by the gateway as the caller wanted to see."""


@njit
def _leave(
    program: Program,
    state: State,
    record: Record,
    mesh: Mesh,
    timing: Timing,
    router: int,
    port: int,
    flit: int,
) -> None:
    """Send a flit out of a router."""
    now = mesh.clock[NOW]
    target = mesh.target[PORTS * router + port]
    axon, payload = flit >> AXON_SHIFT & 0xFFFF, (flit >> PAYLOAD_SHIFT & 0x3FF) - PAYLOAD_BIAS
    if port != LOCAL:
        state.counters[TOKEN_HOPS if flit & TOKEN else HOPS, router] += 1
    if target == TO_CORE:
        if flit & TOKEN:
            token_for_core(program, state, record, timing, router, now, flit & PAUSE)
        else:
            deliver(program, state, router, timing.step[router] & 1, axon, payload)
    elif target == TO_GATEWAY:
        if flit & TOKEN:
            timing.gateway[timing.host[HOST_TOKENS]] = now
            timing.host[HOST_TOKENS] += 1
        else:
            output(record, timing.host[HOST_TOKENS] - 1, axon, payload)
    else:
        offer(mesh, target, flit)


@njit
def _look(state: State, mesh: Mesh, router: int) -> int:
    """Look at the heads: fill ``mesh.ask`` and ``mesh.want``, return the inputs whose token is taken in.

    Copies for absent outputs are sunk here (rule 4); nothing else changes.
    """
    base = router * PORTS
    outs = mesh.outs[router]
    intake = 0
    for i in range(PORTS):
        mesh.ask[i] = 0
        mesh.want[i] = -1
        if mesh.held[base + i] == 0:
            continue
        flit = mesh.slot[base + i, mesh.head[base + i]]
        blocked = mesh.gone[base + i]
        if flit & TOKEN:
            if blocked & FEEDS[i] & outs == 0:
                intake |= 1 << i
            continue
        want = route(i, router % mesh.width, router // mesh.width, flit)
        mesh.want[i] = want
        if want == 0:
            state.counters[ROUTER_ERRORS, router] += 1
        absent = want & ~outs & ~mesh.served[base + i]
        if absent:
            for o in range(PORTS):
                state.counters[ROUTER_ERRORS, router] += absent >> o & 1
            mesh.served[base + i] |= absent
        mesh.ask[i] = want & outs & ~mesh.served[base + i] & ~blocked
    return intake


@njit
def _grant(
    program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, router: int, port: int
) -> bool:
    """Let a flit or the token leave by a ready output; return whether something left (rules 3 and 5)."""
    base = router * PORTS
    out = base + port
    if mesh.taken[out] == mesh.need[out]:
        flit = TOKEN | PAUSE if mesh.pause[out] else TOKEN
        _leave(program, state, record, mesh, timing, router, port, flit)
        mesh.taken[out] = 0
        for i in range(PORTS):
            mesh.gone[base + i] &= ~(1 << port)
        mesh.pause[out] = 0
        mesh.pointer[out] = 0
        return True
    for turn in range(PORTS):
        i = (mesh.pointer[out] + turn) % PORTS
        if mesh.ask[i] >> port & 1:
            flit = mesh.slot[base + i, mesh.head[base + i]]
            _leave(program, state, record, mesh, timing, router, port, flit)
            mesh.served[base + i] |= 1 << port
            mesh.pointer[out] = (i + 1) % PORTS
            return True
    return False


@njit
def _remove(mesh: Mesh, router: int, intake: int) -> bool:
    """Take in tokens and remove heads that have been everywhere; return whether more may follow."""
    base = router * PORTS
    outs = mesh.outs[router]
    stays = intake != 0
    for i in range(PORTS):
        if intake >> i & 1:
            pause = 1 if mesh.slot[base + i, mesh.head[base + i]] & PAUSE else 0
            mesh.gone[base + i] |= FEEDS[i] & outs
            for o in range(PORTS):
                if FEEDS[i] & outs & (1 << o):
                    mesh.taken[base + o] |= 1 << i
                    mesh.pause[base + o] |= pause
            touch(mesh, base + i, 1)
        elif mesh.want[i] >= 0 and mesh.served[base + i] == mesh.want[i]:
            mesh.served[base + i] = 0
            touch(mesh, base + i, 1)
        elif mesh.held[base + i] > 0:
            stays = True
    return stays


@njit
def _router(program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, router: int) -> None:
    """Take one router through the current cycle; every decision is on the state at its start."""
    base = router * PORTS
    intake = _look(state, mesh, router)
    busy = intake != 0
    for o in range(PORTS):
        if mesh.outs[router] >> o & 1:
            target = mesh.target[base + o]
            if target < 0 or has_room(mesh, target):
                busy |= _grant(program, state, record, mesh, timing, router, o)
    if _remove(mesh, router, intake) and busy:
        wake(mesh, router)


@njit
def _end_cycle(state: State, mesh: Mesh, timing: Timing) -> None:
    """Change the FIFOs, call the injectors that waited for room, move on to the next cycle with an event."""
    now = mesh.clock[NOW]
    commit(mesh)
    for i in range(mesh.clock[TOUCHED]):
        fifo = mesh.touched[i]
        injector = -1 - mesh.upstream[fifo]
        if injector >= 0 and mesh.moved[fifo] & 1 and timing.since[injector] >= 0:
            if injector < len(timing.halted) and not timing.halted[injector]:
                state.counters[SEND_STALL, injector] += now + 1 - timing.since[injector]
            timing.since[injector] = -1
            push_due(timing, now + 1, injector)
        mesh.moved[fifo] = 0
    mesh.clock[TOUCHED] = 0
    for i in range(mesh.clock[SOON]):
        mesh.awake[i] = mesh.soon[i]
        mesh.marked[mesh.soon[i]] = 0
    mesh.clock[AWAKE] = mesh.clock[SOON]
    mesh.clock[SOON] = 0
    if mesh.clock[AWAKE] > 0:
        mesh.clock[NOW] = now + 1
    elif timing.host[HOST_QUEUE] > 0:
        mesh.clock[NOW] = timing.due[0] // len(timing.flit)


@njit
def _is_full(program: Program, record: Record) -> bool:
    """Return whether the record might overflow within one cycle."""
    full = record.used[USED_SPIKES] + len(program.bias) > len(record.spikes)
    if len(record.potentials):
        full = full or record.used[USED_POTENTIALS] + len(program.bias) > len(record.potentials)
    return full or record.used[USED_OUTPUTS] + 1 > len(record.outputs)  # type: ignore[no-any-return]


@njit
def run_cycles(
    program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, tokens: int
) -> int:
    """Go on until nothing moves, the record is nearly full or ``tokens`` tokens have left by the gateway.

    Returns
    -------
    QUIET, FULL or STOPPED. All state is in the arguments: call again to go on.
    """
    injectors = len(timing.flit)
    while mesh.clock[AWAKE] > 0 or timing.host[HOST_QUEUE] > 0:
        if _is_full(program, record):
            return FULL
        if timing.host[HOST_TOKENS] >= tokens:
            return STOPPED
        while timing.host[HOST_QUEUE] > 0 and timing.due[0] // injectors == mesh.clock[NOW]:
            inject(program, state, mesh, timing, pop_due(timing))
        for i in range(mesh.clock[AWAKE]):
            _router(program, state, record, mesh, timing, mesh.awake[i])
        _end_cycle(state, mesh, timing)
    return QUIET
