# SPDX-License-Identifier: Apache-2.0
"""The cycle-exact run (cycles.md): cores in closed form between injections, routers while they move flits."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import njit
from emu.kernels.fabric import deliver, output
from emu.kernels.inject import (
    HOST_QUEUE,
    HOST_TOKENS,
    INJECTOR_MASK,
    Timing,
    due_cycle,
    host_takes,
    inject,
    pop_due,
    push_due,
    token_for_core,
)
from emu.kernels.mesh import (
    AWAKE,
    FEEDS,
    LOCAL,
    NOW,
    PAUSE,
    PORTS,
    SPREAD,
    STRAY,
    TO_CORE,
    TO_GATEWAY,
    TOKEN,
    Mesh,
    first_port,
    has_room,
    offer,
    remove,
    route,
    unpack_flit,
    wake,
)
from emu.kernels.state import (
    ERRORS,
    HOPS,
    ROUTER_ERRORS,
    SEND_STALL,
    TOKEN_HOPS,
    UPDATE,
    USED_OUTPUTS,
    USED_SPIKES,
    USED_VISITS,
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
"""As many tokens have left by the gateway as the caller asked for."""


@njit
def _send(
    program: Program,
    state: State,
    record: Record,
    mesh: Mesh,
    timing: Timing,
    router: int,
    port: int,
    flit: int,
) -> None:
    """Send a packet out of a router."""
    target = mesh.target[PORTS * router + port]
    stray = flit & STRAY
    if port != LOCAL and not stray:
        state.counters[HOPS, router] += 1
    if target >= 0:
        offer(mesh, target, flit)
        return
    axon, payload = unpack_flit(flit)
    if stray:
        state.counters[ERRORS, router] += 1
    elif target == TO_CORE:
        deliver(program, state, router, timing.step[router] & 1, axon, payload)
    else:
        output(record, timing.host[HOST_TOKENS] - 1, axon, payload)


@njit
def _send_token(
    program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, router: int, port: int
) -> None:
    """Send the token of a complete output out of a router (rule 3)."""
    base = PORTS * router
    out = base + port
    now, target, pause = mesh.clock[NOW], mesh.target[out], mesh.pause[out]
    mesh.taken[out] = 0
    mesh.complete[router] &= ~(1 << port)
    for i in range(PORTS):
        mesh.gone[base + i] &= ~(1 << port)
    mesh.pause[out] = 0
    mesh.pointer[out] = 0
    if port != LOCAL:
        state.counters[TOKEN_HOPS, router] += 1
    if target >= 0:
        offer(mesh, target, TOKEN | PAUSE if pause else TOKEN)
    elif target == TO_CORE:
        token_for_core(program, state, record, timing, router, now, pause)
    else:
        timing.gateway[timing.host[HOST_TOKENS]] = now
        timing.host[HOST_TOKENS] += 1


@njit
def _take_off(state: State, mesh: Mesh, timing: Timing, fifo: int) -> None:
    """Remove the head of a FIFO and call the injector that waited for room."""
    if remove(mesh, fifo):
        injector = -1 - mesh.upstream[fifo]
        if injector >= 0 and timing.since[injector] >= 0:
            soon = mesh.clock[NOW] + 1
            # A core that waits is not paused: its queue is empty when it gets a pause token.
            if injector < len(timing.halted):
                stalled = soon - timing.since[injector]
                state.counters[SEND_STALL, injector] += stalled
                if not timing.flit[injector] & TOKEN:  # its walk counts all cycles when it ends
                    state.counters[UPDATE, injector] -= stalled
            timing.since[injector] = -1
            push_due(timing, soon, injector)


@njit
def _leads_on(mesh: Mesh, timing: Timing, target: int) -> bool:
    """Return whether what is behind an output takes a flit in this cycle (rule 1)."""
    if target >= 0:
        return has_room(mesh, target)
    return target == TO_CORE or host_takes(mesh, timing)


@njit
def _plan(mesh: Mesh, timing: Timing, router: int, heads: int) -> int:
    """Return the outputs that heads request, five bits an input, if all can go everywhere at once, else 0.

    They can if no token is to leave or to be taken in, none of the heads is of a later step or has been
    somewhere already, no output is requested twice, and every requested one is present and has room.
    """
    base, claimed, plan = PORTS * router, 0, 0
    if mesh.complete[router]:
        return 0
    while heads:
        i = first_port(heads)
        heads &= heads - 1
        flit = mesh.front[base + i]
        if flit & TOKEN or mesh.served[base + i] or mesh.gone[base + i]:
            return 0
        want = route(i, mesh.x[router], mesh.y[router], flit)
        if want == 0 or want & (claimed | ~mesh.outs[router]):
            return 0
        claimed |= want
        plan |= want << PORTS * i
    while claimed:
        target = mesh.target[base + first_port(claimed)]
        claimed &= claimed - 1
        if not _leads_on(mesh, timing, target):
            return 0
    return plan


@njit
def _pass(
    program: Program,
    state: State,
    record: Record,
    mesh: Mesh,
    timing: Timing,
    router: int,
    heads: int,
    plan: int,
) -> None:
    """Let all heads go as planned."""
    base, left = PORTS * router, heads
    while heads:
        i = first_port(heads)
        heads &= heads - 1
        flit, want = mesh.front[base + i], plan >> PORTS * i & 31
        while want:
            port = first_port(want)
            want &= want - 1
            _send(program, state, record, mesh, timing, router, port, flit)
            mesh.pointer[base + port] = i + 1 if i < PORTS - 1 else 0
        _take_off(state, mesh, timing, base + i)
        if mesh.held[base + i] == 0:
            left &= ~(1 << i)
    mesh.heads[router] = left
    if left:
        wake(mesh, router)


@njit
def _look(state: State, mesh: Mesh, router: int, heads: int) -> tuple[int, int]:
    """Look at the heads: fill ``mesh.want``.

    Copies for absent outputs are sunk here (rule 4); nothing else changes.

    Returns
    -------
    The inputs whose token is taken in, and five bits an output: the inputs that request it.
    """
    base, outs, intake, asked = PORTS * router, mesh.outs[router], 0, 0
    while heads:
        i = first_port(heads)
        heads &= heads - 1
        flit = mesh.front[base + i]
        blocked = mesh.gone[base + i]
        mesh.want[i] = -1
        if flit & TOKEN:
            if blocked == 0:
                intake |= 1 << i
            continue
        want = route(i, mesh.x[router], mesh.y[router], flit)
        mesh.want[i] = want
        if want == 0:
            state.counters[ROUTER_ERRORS, router] += 1
        absent = want & ~outs & ~mesh.served[base + i]
        if absent:
            for o in range(PORTS):
                state.counters[ROUTER_ERRORS, router] += absent >> o & 1
            mesh.served[base + i] |= absent
        ask = want & outs & ~mesh.served[base + i] & ~blocked
        asked |= SPREAD[ask & (1 << PORTS) - 1] << i
    return intake, asked


@njit
def _requested(asked: int) -> int:
    """Return the outputs that an input requests."""
    ports = 0
    for o in range(PORTS):
        ports |= (1 if asked >> PORTS * o & (1 << PORTS) - 1 else 0) << o
    return ports


@njit
def _grant(
    program: Program,
    state: State,
    record: Record,
    mesh: Mesh,
    timing: Timing,
    router: int,
    port: int,
    asked: int,
) -> bool:
    """Let a flit or the token leave by a ready output; return whether something left (rules 3 and 5)."""
    out = PORTS * router + port
    if mesh.complete[router] >> port & 1:
        _send_token(program, state, record, mesh, timing, router, port)
        return True
    inputs = asked >> PORTS * port & (1 << PORTS) - 1
    if inputs == 0:
        return False
    turned = inputs >> mesh.pointer[out] << mesh.pointer[out]
    i = first_port(turned or inputs)
    flit = mesh.front[PORTS * router + i]
    _send(program, state, record, mesh, timing, router, port, flit)
    mesh.served[PORTS * router + i] |= 1 << port
    mesh.pointer[out] = i + 1 if i < PORTS - 1 else 0
    return True


@njit
def _take_in(mesh: Mesh, router: int, i: int) -> None:
    """Take the token at the head of an input in (rule 2)."""
    base = PORTS * router
    fed = FEEDS[i] & mesh.outs[router]
    pause = 1 if mesh.front[base + i] & PAUSE else 0
    mesh.gone[base + i] |= fed
    for o in range(PORTS):
        if fed >> o & 1:
            mesh.taken[base + o] |= 1 << i
            mesh.pause[base + o] |= pause
            if mesh.taken[base + o] == mesh.need[base + o]:
                mesh.complete[router] |= 1 << o


@njit
def _finish(state: State, mesh: Mesh, timing: Timing, router: int, heads: int, intake: int) -> bool:
    """Take in tokens and remove heads that have been everywhere; return whether more may follow."""
    base = router * PORTS
    stays, left = intake != 0, heads
    while heads:
        i = first_port(heads)
        heads &= heads - 1
        if intake >> i & 1:
            _take_in(mesh, router, i)
        elif mesh.want[i] >= 0 and mesh.served[base + i] == mesh.want[i]:
            mesh.served[base + i] = 0
        else:
            stays = True
            continue
        _take_off(state, mesh, timing, base + i)
        if mesh.held[base + i] == 0:
            left &= ~(1 << i)
    mesh.heads[router] = left
    return stays or left != 0


@njit
def _router(program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, router: int) -> None:
    """Take one router through the current cycle; every decision is on the state at its start."""
    half = mesh.clock[NOW] & 1
    heads = mesh.heads[router] | mesh.arrived[half, router]
    mesh.arrived[half, router] = 0
    plan = _plan(mesh, timing, router, heads)
    if plan:
        _pass(program, state, record, mesh, timing, router, heads, plan)
        return
    intake, asked = _look(state, mesh, router, heads)
    busy, ports = intake != 0, _requested(asked) | mesh.complete[router]
    while ports:
        o = first_port(ports)
        ports &= ports - 1
        target = mesh.target[PORTS * router + o]
        if _leads_on(mesh, timing, target):
            busy |= _grant(program, state, record, mesh, timing, router, o, asked)
        elif target == TO_GATEWAY:  # nothing wakes the router when the host takes flits again
            wake(mesh, router)
    if _finish(state, mesh, timing, router, heads, intake) and busy:
        wake(mesh, router)


@njit
def _is_full(program: Program, record: Record) -> bool:
    """Return whether the record might overflow within one cycle."""
    full = record.used[USED_SPIKES] + len(program.bias) > len(record.spikes)
    if len(record.visits):
        full = full or record.used[USED_VISITS] + len(program.bias) > len(record.visits)
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
    half = mesh.clock[NOW] & 1
    while mesh.clock[AWAKE + half] > 0 or timing.host[HOST_QUEUE] > 0:
        if _is_full(program, record):
            return FULL
        if timing.host[HOST_TOKENS] >= tokens:
            return STOPPED
        while timing.host[HOST_QUEUE] > 0 and due_cycle(timing) == mesh.clock[NOW]:
            inject(program, state, mesh, timing, pop_due(timing))
        for i in range(mesh.clock[AWAKE + half]):
            # The mask tells the compiler that no index is negative, which it would have to ask at every use.
            _router(program, state, record, mesh, timing, mesh.awake[half, i] & INJECTOR_MASK)
        mesh.clock[AWAKE + half] = 0
        if mesh.clock[AWAKE + 1 - half] > 0:
            mesh.clock[NOW] += 1
        elif timing.host[HOST_QUEUE] > 0:
            mesh.clock[NOW] = due_cycle(timing)
        half = mesh.clock[NOW] & 1
    return QUIET
