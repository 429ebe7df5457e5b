# SPDX-License-Identifier: Apache-2.0
"""Links between chips in the cycle mode (links.md): flits on their way, and credits.

A link is a row of `Mesh.links` and two injectors: the receiving end, which offers flits to the remote input,
and one that opens the output when it is ready again. A lane of a shared link is a row too, and its second
injector asks for the wires; these are a row of `Mesh.shared`.
"""

from __future__ import annotations

from emu.jit import njit
from emu.kernels.injectors import Timing, push_due
from emu.kernels.mesh import (
    LINK_BEATS,
    LINK_CREDIT_AT,
    LINK_CREDITS,
    LINK_DEPTH,
    LINK_FLIT,
    LINK_FREE,
    LINK_HELD,
    LINK_HELD_AT,
    LINK_INPUT,
    LINK_LATENCY,
    LINK_OUTPUT,
    LINK_RINGS,
    LINK_SHARED,
    LINK_WAITS,
    NOW,
    OPEN_AT,
    SHARED_FREE,
    SHARED_LANES,
    SHARED_TURN,
    STRAY,
    TOKEN,
    Mesh,
    offer,
    tell,
)
from emu.kernels.state import CROSSINGS, Ints, State

__all__ = ["go_on", "receive", "send_over"]


@njit
def _ring(row: Ints, ring: int, place: int) -> int:
    """Return the column of a place, counted from any, in a ring: credits (0), flits (1), when due (2)."""
    depth = row[LINK_DEPTH]
    return LINK_RINGS + ring * depth + place % depth  # type: ignore[no-any-return]


@njit
def _open_later(mesh: Mesh, timing: Timing, link: int, now: int) -> bool:
    """Let the output be ready when wires and credit are; return whether it is not in the next cycle."""
    row = mesh.links[link]
    ready = max(row[LINK_FREE], row[_ring(row, 0, row[LINK_CREDIT_AT])])
    if ready <= now + 1:
        return False
    push_due(timing, now, ready - 1, len(timing.halted) + 1 + len(mesh.links) + link)
    return True


@njit
def _cross(mesh: Mesh, timing: Timing, link: int, flit: int) -> None:
    """Let a flit take a credit and, its beats from the next cycle on, the way."""
    now, row = mesh.clock[NOW], mesh.links[link]
    last, due = row[LINK_HELD_AT] + row[LINK_HELD], now + row[LINK_BEATS] + row[LINK_LATENCY] - 1
    row[_ring(row, 1, last)], row[_ring(row, 2, last)] = flit, due
    row[LINK_HELD] += 1
    if row[LINK_HELD] == 1:
        push_due(timing, now, due, len(timing.halted) + 1 + link)
    row[LINK_CREDITS] -= 1
    row[LINK_CREDIT_AT] = (row[LINK_CREDIT_AT] + 1) % row[LINK_DEPTH]


@njit
def send_over(state: State, mesh: Mesh, timing: Timing, link: int, flit: int) -> bool:
    """Let a flit leave by an output with a link (rules 2 and 3); return whether the output is closed then."""
    now, row = mesh.clock[NOW], mesh.links[link]
    state.counters[CROSSINGS, row[LINK_OUTPUT] >> 3] += flit & (TOKEN | STRAY) != STRAY
    if row[LINK_SHARED] >= 0:
        row[LINK_WAITS], row[LINK_FLIT] = 1, flit
        _ask_later(mesh, timing, link, now + 1)
        return True
    _cross(mesh, timing, link, flit)
    row[LINK_FREE] = now + row[LINK_BEATS]
    return row[LINK_CREDITS] == 0 or _open_later(mesh, timing, link, now)


@njit
def _ask_later(mesh: Mesh, timing: Timing, link: int, begin: int) -> None:
    """Let a lane ask for the wires as soon as it has a flit, from cycle ``begin`` on, and a credit."""
    row = mesh.links[link]
    if row[LINK_WAITS] and row[LINK_CREDITS]:
        ready = max(begin, row[_ring(row, 0, row[LINK_CREDIT_AT])])
        push_due(timing, mesh.clock[NOW], ready, len(timing.halted) + 1 + len(mesh.links) + link)


@njit
def _ask(mesh: Mesh, timing: Timing, link: int) -> None:
    """Grant the wires of a shared link if they are free (rule 3), else let the lane ask again when they are.

    Every lane that may be granted asks in the same cycle; the first one that does makes the grant.
    """
    now, row = mesh.clock[NOW], mesh.links[link]
    shared = mesh.shared[row[LINK_SHARED]]
    if now >= shared[SHARED_FREE]:
        _grant(mesh, timing, shared)
    if row[LINK_WAITS]:
        _ask_later(mesh, timing, link, shared[SHARED_FREE])


@njit
def _grant(mesh: Mesh, timing: Timing, shared: Ints) -> None:
    """Let the first lane at or after the turn that has a flit and a credit use the wires."""
    now, lanes = mesh.clock[NOW], len(shared) - SHARED_LANES
    for place in range(lanes):
        lane = (shared[SHARED_TURN] + place) % lanes
        link = shared[SHARED_LANES + lane]
        if link < 0 or not _may_cross(mesh.links[link], now):
            continue
        row = mesh.links[link]
        row[LINK_WAITS] = 0
        _cross(mesh, timing, link, row[LINK_FLIT])
        shared[SHARED_FREE], shared[SHARED_TURN] = now + row[LINK_BEATS], lane + 1
        tell(mesh, row[LINK_OUTPUT] >> 3, 1 << OPEN_AT + (row[LINK_OUTPUT] & 7))
        return


@njit
def _may_cross(row: Ints, now: int) -> bool:
    """Return whether a lane has a flit and a credit; what came in this cycle came after the grants."""
    credited = row[LINK_CREDITS] and row[_ring(row, 0, row[LINK_CREDIT_AT])] <= now
    return row[LINK_WAITS] and credited  # type: ignore[no-any-return]


@njit
def receive(state: State, mesh: Mesh, timing: Timing, link: int) -> None:
    """Let the remote input, which has room, take the first flit (rule 4)."""
    now, row = mesh.clock[NOW], mesh.links[link]
    offer(state, mesh, row[LINK_INPUT], row[_ring(row, 1, row[LINK_HELD_AT])])
    row[LINK_HELD_AT] = (row[LINK_HELD_AT] + 1) % row[LINK_DEPTH]
    row[LINK_HELD] -= 1
    if row[LINK_HELD]:
        due = row[_ring(row, 2, row[LINK_HELD_AT])]
        push_due(timing, now, max(now + 1, due), len(timing.halted) + 1 + link)
    row[_ring(row, 0, row[LINK_CREDIT_AT] + row[LINK_CREDITS])] = now + row[LINK_LATENCY]
    row[LINK_CREDITS] += 1
    if row[LINK_CREDITS] > 1:
        return
    if row[LINK_SHARED] < 0:
        _open_later(mesh, timing, link, now)
    else:
        _ask_later(mesh, timing, link, now + 1)


@njit
def go_on(mesh: Mesh, timing: Timing, link: int) -> None:
    """Let the router find an output ready in the next cycle (rule 1), or let a lane ask for the wires."""
    row = mesh.links[link]
    if row[LINK_SHARED] >= 0:
        _ask(mesh, timing, link)
        return
    tell(mesh, row[LINK_OUTPUT] >> 3, 1 << OPEN_AT + (row[LINK_OUTPUT] & 7))
