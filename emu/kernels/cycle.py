# SPDX-License-Identifier: Apache-2.0
"""The cycle-exact run (cycles.md): cores in closed form between injections, routers while they move flits."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import first_bit, njit, popcount
from emu.kernels.fabric import deliver, outlet_of, output
from emu.kernels.inject import host_takes, inject, token_for_core
from emu.kernels.injectors import HOST_QUEUE, Timing, next_due, pop_due, push_due
from emu.kernels.links import send_over
from emu.kernels.mesh import (
    AGAIN,
    ALL_PORTS,
    ASKS_INTAKE,
    AWAKE,
    INPUTS,
    LOCAL,
    NOW,
    OPEN_AT,
    PAUSE,
    PORTS,
    SOUTH,
    STATUS,
    STRAY,
    TO_CORE,
    TO_HOST,
    TO_LINK,
    TOKEN,
    Mesh,
    inputs_of,
    offer,
    outputs_of,
    remove,
    tell,
    unpack_flit,
)
from emu.kernels.state import (
    ERRORS,
    HOPS,
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
from emu.spec import MOST_ACROSS

__all__ = ["FULL", "QUIET", "STOPPED", "run_cycles"]

QUIET = 0
"""Nothing can move any more."""
FULL = 1
"""The record might overflow in the next cycle."""
STOPPED = 2
"""As many tokens have left by the first outlet as the caller asked for."""


ROUTERS = MOST_ACROSS**2 - 1
"""A mask of routers: it tells the compiler that no index is negative, so that it need not ask each time."""


@njit
def _hand_on(state: State, mesh: Mesh, timing: Timing, target: int, flit: int) -> bool:
    """Give a flit to a neighbour, by a wire or by a link; return whether the output is not ready then."""
    if target >= 0:
        return offer(state, mesh, target, flit)
    return send_over(state, mesh, timing, TO_LINK - target, flit)


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
) -> bool:
    """Send a packet out of a router; return whether the FIFO behind the output is full now."""
    target = mesh.target[8 * router + port]
    stray = flit & STRAY
    if target >= 0 or target <= TO_LINK:
        state.counters[HOPS, router] += stray == 0
        return _hand_on(state, mesh, timing, target, flit)
    axon, payload = unpack_flit(mesh.shifts, flit)
    if stray:
        state.counters[ERRORS, router] += 1
    elif target == TO_CORE:
        deliver(program, state, router, timing.step[router] & 1, axon, payload)
    else:
        state.counters[HOPS, router] += 1
        output(record, timing.left[outlet_of(program, router)] - 1, axon, payload)
    return False


@njit
def _send_token(
    program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, router: int, port: int
) -> bool:
    """Send the token of a complete output (rule 3); return whether the FIFO behind it is full now."""
    now, target, pause = mesh.clock[NOW], mesh.target[8 * router + port], mesh.pauses[router] >> port & 1
    mesh.pauses[router] &= ~(1 << port)
    mesh.pointer[8 * router + port] = 0
    mesh.awaited[router] |= mesh.need[router] & INPUTS << port
    if port != LOCAL:
        state.counters[TOKEN_HOPS, router] += 1
    if target >= 0 or target <= TO_LINK:
        return _hand_on(state, mesh, timing, target, TOKEN | PAUSE if pause else TOKEN)
    if target == TO_CORE:
        token_for_core(program, state, record, timing, router, now, pause)
    else:
        outlet = outlet_of(program, router)
        timing.gateway[timing.left[outlet], outlet] = now
        timing.left[outlet] += 1
    return False


@njit
def _call_injector(state: State, mesh: Mesh, timing: Timing, injector: int) -> None:
    """Call an injector, if it waited for room, for the next cycle."""
    if timing.since[injector] >= 0:
        soon = mesh.clock[NOW] + 1
        # A core that waits is not paused: its queue is empty when it gets a pause token.
        if injector < len(timing.halted):
            stalled = soon - timing.since[injector]
            state.counters[SEND_STALL, injector] += stalled
            if not timing.flit[injector] & TOKEN:  # its walk counts all cycles when it ends
                state.counters[UPDATE, injector] -= stalled
        timing.since[injector] = -1
        push_due(timing, soon - 1, soon, injector)


@njit
def _take_in(mesh: Mesh, router: int, intake: int) -> None:
    """Take the tokens at the heads of inputs in (rule 2)."""
    need = mesh.need[router]
    mesh.awaited[router] &= ~(need & intake * ALL_PORTS)
    mesh.asked[router] &= ~(intake << ASKS_INTAKE)
    while intake:
        bit = first_bit(intake)
        intake &= intake - 1
        if mesh.front[8 * router + (bit >> 3)] & PAUSE:
            mesh.pauses[router] |= need >> bit & ALL_PORTS


@njit
def _take_turns(mesh: Mesh, router: int, requests: int) -> int:
    """Return one of the requests of each output: the first at or after its pointer (rule 5)."""
    granted, ports = 0, outputs_of(requests)
    while ports:
        port = first_bit(ports)
        ports &= ports - 1
        inputs = requests >> port & INPUTS
        turn = 8 * mesh.pointer[8 * router + port]
        turned = inputs >> turn << turn
        granted |= 1 << first_bit(turned or inputs) + port
    return granted


@njit
def _grant(
    program: Program,
    state: State,
    record: Record,
    mesh: Mesh,
    timing: Timing,
    router: int,
    granted: int,
) -> int:
    """Send the heads that were granted an output; return the outputs behind which it is full now."""
    closed = 0
    mesh.asked[router] &= ~granted
    while granted:
        bit = first_bit(granted) & 63
        granted &= granted - 1
        i, port = bit >> 3, bit & 7
        full = _send(program, state, record, mesh, timing, router, port, mesh.front[8 * router + i])
        closed |= full << port
        mesh.pointer[8 * router + port] = i + 1 if i < PORTS - 1 else 0
    return closed


@njit
def _take_off(state: State, mesh: Mesh, timing: Timing, router: int, done: int) -> int:
    """Remove heads that have been everywhere (rule 6); return the inputs that are empty now."""
    empty = 0
    while done:
        bit = first_bit(done) & 63
        done &= done - 1
        fifo = 8 * router + (bit >> 3)
        if not remove(state, mesh, fifo):
            empty |= 1 << bit
        elif mesh.upstream[fifo] < 0:
            _call_injector(state, mesh, timing, -1 - mesh.upstream[fifo])
    return empty


@njit
def _look_behind(mesh: Mesh, timing: Timing, router: int, closed: int) -> int:
    """Return the output to the host if it is one of the closed ones but the host takes a flit (rule 1)."""
    if mesh.target[8 * router + SOUTH] != TO_HOST or not closed >> SOUTH & 1:
        return 0
    if host_takes(mesh, timing):
        return 1 << SOUTH
    tell(mesh, router, AGAIN)  # nothing else wakes the router when the host takes flits again
    return 0


@njit
def _router(program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, router: int) -> None:
    """Take one router through the current cycle; every decision is on the state at its start.

    Whatever a head still asks of an output that still awaits a token of this input, it requests (rule 4).
    """
    half = mesh.clock[NOW] & 1
    status = (mesh.status[router] | mesh.news[2 * router + half]) & STATUS
    mesh.news[2 * router + half] = 0
    heads, ready = status & INPUTS, status >> OPEN_AT
    asked, awaited = mesh.asked[router], mesh.awaited[router]
    complete = mesh.outs[router] & ~outputs_of(awaited)
    intake = asked >> ASKS_INTAKE & heads
    if intake:
        intake &= ~inputs_of(awaited ^ mesh.need[router])
    requests = asked & awaited & heads * ALL_PORTS
    wanted = outputs_of(requests)
    closed = (wanted | complete) & ~ready
    if closed:
        ready |= _look_behind(mesh, timing, router, closed)
        requests &= INPUTS * ready
        wanted &= ready
        complete &= ready
    if popcount(requests) != popcount(wanted):
        requests = _take_turns(mesh, router, requests)
    full = _grant(program, state, record, mesh, timing, router, requests)
    tokens = complete
    while tokens:
        port = first_bit(tokens) & 7
        tokens &= tokens - 1
        full |= _send_token(program, state, record, mesh, timing, router, port) << port
    if intake:
        _take_in(mesh, router, intake)
    done = heads & ~inputs_of(mesh.asked[router])
    status &= ~(_take_off(state, mesh, timing, router, done) | full << OPEN_AT)
    mesh.status[router] = status
    if intake or (status & INPUTS and requests | complete | done):
        tell(mesh, router, AGAIN)


@njit
def _is_full(program: Program, record: Record) -> bool:
    """Return whether the record might overflow within one cycle."""
    full = record.used[USED_SPIKES] + len(program.bias) > len(record.spikes)
    if len(record.visits):
        full = full or record.used[USED_VISITS] + len(program.bias) > len(record.visits)
    return full or record.used[USED_OUTPUTS] + program.outlets[-1] > len(record.outputs)  # type: ignore[no-any-return]


@njit
def run_cycles(
    program: Program, state: State, record: Record, mesh: Mesh, timing: Timing, tokens: int
) -> int:
    """Go on until nothing moves, the record is nearly full or ``tokens`` tokens left by the first outlet.

    Returns
    -------
    QUIET, FULL or STOPPED. All state is in the arguments: call again to go on.
    """
    now = mesh.clock[NOW]
    while mesh.clock[AWAKE + (now & 1)] > 0 or timing.host[HOST_QUEUE] > 0:
        if _is_full(program, record):
            return FULL
        if timing.left[0] >= tokens:
            return STOPPED
        half, injector = now & 1, pop_due(timing, now)
        while injector >= 0:
            inject(program, state, mesh, timing, injector)
            injector = pop_due(timing, now)
        for i in range(mesh.clock[AWAKE + half]):
            _router(program, state, record, mesh, timing, mesh.awake[2 * i + half] & ROUTERS)
        mesh.clock[AWAKE + half] = 0
        if mesh.clock[AWAKE + 1 - half] > 0:
            now += 1
        elif timing.host[HOST_QUEUE] > 0:
            now = next_due(timing, now + 1)
        mesh.clock[NOW] = now
    return QUIET
