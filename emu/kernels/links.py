# SPDX-License-Identifier: Apache-2.0
"""Links between chips in the cycle mode (links.md): flits on their way, and credits.

A link is a row of `Mesh.links` and two injectors: the receiving end, which offers flits to the remote input,
and one that opens the output when it is ready again.
"""

from __future__ import annotations

from emu.jit import njit
from emu.kernels.injectors import Timing, push_due
from emu.kernels.mesh import (
    LINK_BEATS,
    LINK_CREDIT_AT,
    LINK_CREDITS,
    LINK_DEPTH,
    LINK_FREE,
    LINK_HELD,
    LINK_HELD_AT,
    LINK_INPUT,
    LINK_LATENCY,
    LINK_OUTPUT,
    LINK_RINGS,
    NOW,
    OPEN_AT,
    STRAY,
    TOKEN,
    Mesh,
    offer,
    tell,
)
from emu.kernels.state import CROSSINGS, Ints, State

__all__ = ["open_output", "receive", "send_over"]


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
def send_over(state: State, mesh: Mesh, timing: Timing, link: int, flit: int) -> bool:
    """Let a flit leave by an output with a link (rules 2 and 3); return whether the output is closed then."""
    now, row = mesh.clock[NOW], mesh.links[link]
    state.counters[CROSSINGS, row[LINK_OUTPUT] >> 3] += flit & (TOKEN | STRAY) != STRAY
    last, due = row[LINK_HELD_AT] + row[LINK_HELD], now + row[LINK_BEATS] + row[LINK_LATENCY] - 1
    row[_ring(row, 1, last)], row[_ring(row, 2, last)] = flit, due
    row[LINK_HELD] += 1
    if row[LINK_HELD] == 1:
        push_due(timing, now, due, len(timing.halted) + 1 + link)
    row[LINK_FREE] = now + row[LINK_BEATS]
    row[LINK_CREDITS] -= 1
    row[LINK_CREDIT_AT] = (row[LINK_CREDIT_AT] + 1) % row[LINK_DEPTH]
    return row[LINK_CREDITS] == 0 or _open_later(mesh, timing, link, now)


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
    if row[LINK_CREDITS] == 1:
        _open_later(mesh, timing, link, now)


@njit
def open_output(mesh: Mesh, link: int) -> None:
    """Let the router find the output of a link ready in the next cycle (rule 1)."""
    place = mesh.links[link, LINK_OUTPUT]
    tell(mesh, place >> 3, 1 << OPEN_AT + (place & 7))
