# SPDX-License-Identifier: Apache-2.0
"""Where every injector of the cycle mode is, and the time wheel that says who comes next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.jit import njit
from emu.kernels.mesh import STRAY, TOKEN, pack_flit
from emu.kernels.state import LAST, Ints
from emu.words import PACKET

__all__ = [
    "LAST_PACKET",
    "WHEEL",
    "Timing",
    "feed",
    "make_timing",
    "next_due",
    "pack_targets",
    "pop_due",
    "push_due",
]

# Places in Timing.host.
HOST_RELEASE, HOST_QUEUE, HOST_BEGIN, HOST_PERIOD, HOST_TAKEN = range(5)

# Columns of Timing.feeds: the next packet of an inlet, the one behind its last, and the step that it feeds.
FEED_PACKET, FEED_END, FEED_STEP = range(3)

STRAY_AT = len(PACKET)
"""Column of Timing.stimulus that tells a stray."""

WHEEL = 512
"""Cycles of the time wheel, a power of two; an injector that is due later is put back when it is met."""

LAST_PACKET = STRAY
"""Of a packed target: the neuron sends no more."""


class Timing(NamedTuple):
    """Where every injector is: cores 0 .. C - 1, the first inlet, C, ends of links, other inlets."""

    targets: Ints  # (f,) fan-out entries, see `pack_targets`
    flit: Ints  # (I,), of all injectors, what is injected next
    wheel: Ints  # (WHEEL,) first of the injectors of a cycle, modulo WHEEL, -1 if none
    after: Ints  # (I,) the next one of the same cycle
    due: Ints  # (I,) cycle in which an injector that is on the wheel is due
    since: Ints  # (I,) cycle from which an injector finds no room, -1 if none
    sender: Ints  # (N,) neurons of each core that send in this step
    senders: Ints  # (C,) how many
    turn: Ints  # (C,) how many of them have had their turn
    neuron: Ints  # (C,) up to which the walk is known
    visits: Ints  # (C,) neurons visited in this step
    block_end: Ints  # (C,) the first neuron of the next block
    integration: Ints  # (C,) cycles of integration of a block
    fill: Ints  # (C,) cycles from the end of integration until the first neuron reaches the emitter
    pace: Ints  # (C,) II, cycles from one neuron to the next
    emit: Ints  # (C,) the schedule's constant
    walk: Ints  # (C,) e_b, the cycle before the walk of this block
    reach: Ints  # (C,) P of ``neuron`` as far as it is known; after the last one, when the token is offered
    free: Ints  # (C,) from when on the emitter is free in this block
    fanout: Ints  # (C,) fan-out entry being sent
    copy: Ints  # (C,) packets of this entry already sent
    step: Ints  # (C,) step tokens seen
    halted: Ints  # (C,) 1 while paused
    finished: Ints  # (C,) cycle in which the latest step's token entered the router
    first_seen: Ints  # (C,) cycle in which WAIT saw the first step token
    pause_seen: Ints  # (C,) and the pause token, -1 before
    finish: Ints  # (steps, C)
    gateway: Ints  # (steps + 1, outlets)
    left: Ints  # (outlets,) tokens that have left by each
    stimulus_step: Ints  # (p,) by inlet, then by step
    stimulus: Ints  # (p, 7) packet, and whether it is a stray
    feeds: Ints  # (inlets, 3)
    host: Ints  # (5,)


_ZERO_AT_RESET = (
    *("senders", "turn", "neuron", "visits", "block_end", "integration", "fill", "pace", "emit"),
    *("walk", "reach", "free", "fanout", "copy", "step", "finished"),
)
"""Fields of a core that are 0 at first."""


def _filled(count: int, value: int) -> Ints:
    return np.full(count, value, np.int64)


def make_timing(
    targets: Ints, alive: NDArray[np.bool_], neurons: int, links: int = 0, gates: tuple[int, int] = (1, 1)
) -> Timing:
    """Return the injectors after reset: cores that are alive are about to send tokens.

    ``gates`` is how many inlets and outlets there are.
    """
    cores, senders = len(alive), np.flatnonzero(alive)
    injectors = cores + gates[0] + 2 * links
    timing = Timing(
        targets=targets,
        flit=_filled(injectors, TOKEN),
        wheel=_filled(WHEEL, -1),
        after=_filled(injectors, -1),
        due=_filled(injectors, 0),
        since=_filled(injectors, -1),
        sender=_filled(neurons, 0),
        **{name: _filled(cores, 0) for name in _ZERO_AT_RESET},
        halted=_filled(cores, 1),
        first_seen=_filled(cores, -1),
        pause_seen=_filled(cores, -1),
        finish=np.zeros((0, cores), np.int64),
        gateway=_filled(gates[1], -1).reshape(1, -1),
        left=_filled(gates[1], 0),
        stimulus_step=_filled(0, 0),
        stimulus=np.zeros((0, STRAY_AT + 1), np.int64),
        feeds=_filled(3 * gates[0], 0).reshape(-1, 3),
        host=_filled(5, 0),
    )
    timing.after[senders[1:]], timing.wheel[0] = senders[:-1], senders[-1]
    timing.host[HOST_RELEASE] = -1
    timing.host[HOST_QUEUE] = len(senders)
    return timing


def feed(
    timing: Timing, steps: int, inlet: Ints, stimulus_step: Ints, stimulus: Ints, *, period: int, taken: int
) -> Timing:
    """Return the injectors with what the host is about to send, and how it takes what comes out."""
    cores, outlets = len(timing.halted), len(timing.left)
    timing.host[HOST_PERIOD], timing.host[HOST_TAKEN] = period, taken
    order = np.argsort(inlet, kind="stable")
    ends = np.searchsorted(inlet[order], np.arange(len(timing.feeds) + 1))
    timing.feeds[:, FEED_PACKET], timing.feeds[:, FEED_END] = ends[:-1], ends[1:]
    return timing._replace(
        finish=_filled(steps * cores, -1).reshape(-1, cores),
        gateway=_filled((steps + 1) * outlets, -1).reshape(-1, outlets),
        stimulus_step=stimulus_step[order],
        stimulus=stimulus[order],
    )


@njit
def pack_targets(shifts: Ints, fanout: Ints, targets: Ints) -> None:
    """Write fan-out entries as flits without a payload, and whether they are a neuron's last."""
    for entry in range(len(fanout)):
        targets[entry] = pack_flit(shifts, fanout[entry], 0) | LAST_PACKET * fanout[entry, LAST]


@njit
def push_due(timing: Timing, now: int, cycle: int, injector: int) -> None:
    """Put an injector on the wheel, to be met in a cycle that is not before this one."""
    timing.due[injector] = cycle
    at = min(cycle, now + WHEEL - 1) & WHEEL - 1
    timing.after[injector] = timing.wheel[at]
    timing.wheel[at] = injector
    timing.host[HOST_QUEUE] += 1


@njit
def pop_due(timing: Timing, now: int) -> int:
    """Take an injector that is due in this cycle off the wheel, -1 if there is none any more."""
    at = now & WHEEL - 1
    while True:
        injector = timing.wheel[at]
        if injector < 0:
            return -1
        timing.wheel[at] = timing.after[injector]
        timing.host[HOST_QUEUE] -= 1
        if timing.due[injector] <= now:
            return injector  # type: ignore[no-any-return]
        push_due(timing, now, timing.due[injector], injector)


@njit
def next_due(timing: Timing, now: int) -> int:
    """Return the next cycle from this one on in which an injector is met; one must be on the wheel."""
    while timing.wheel[now & WHEEL - 1] < 0:
        now += 1
    return now
