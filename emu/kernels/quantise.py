# SPDX-License-Identifier: Apache-2.0
"""The comparison: how many thresholds a potential crosses, and what it keeps (machine.md, rule 7)."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import njit
from emu.kernels.membrane import clip
from emu.kernels.state import (
    ENTRY_COUNT,
    ENTRY_FIRE,
    ENTRY_FIRST,
    ENTRY_RESET,
    SATURATIONS,
    THRESHOLDS,
    Program,
    State,
)
from emu.words import Reset

__all__ = ["compare", "take_thresholds"]

RESET_ZERO, RESET_SUBTRACT = int(Reset.ZERO), int(Reset.SUBTRACT)
RESET_VALUE, RESET_SUBTRACT_VALUE = int(Reset.VALUE), int(Reset.SUBTRACT_VALUE)


@njit
def take_thresholds(program: Program, state: State, core: int, entry: int) -> None:
    """Put the thresholds that an entry compares beside each other, for all lanes."""
    n, own = program.neurons[core], program.neuron_at[core]
    if program.schedule[entry, ENTRY_FIRE] and not program.ladder[core]:
        base = program.threshold_base[own : own + n]
        for j in range(program.schedule[entry, ENTRY_COUNT]):
            theta = state.theta[j * n :][:n]
            place = program.schedule[entry, ENTRY_FIRST] + j
            for i in range(n):
                theta[i] = program.thresholds[base[i] + place]


@njit
def _by_list(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Count the thresholds of its list that each neuron crosses, and keep the last one."""
    n = program.neurons[core]
    v, crossed, last = state.potential[at : at + n], state.crossed[at : at + n], state.last[:n]
    for i in range(n):
        crossed[i] = 0
        last[i] = 0
    for j in range(program.schedule[entry, ENTRY_COUNT]):
        theta = state.theta[j * n :][:n]
        for i in range(n):
            crossed[i] += v[i] >= theta[i]
        if program.kept[core]:
            for i in range(n):
                last[i] = theta[i] if v[i] >= theta[i] else last[i]


@njit
def _by_ladder(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Find c of each neuron bit by bit on its ladder, and the last threshold: T_c, or T_(c + 1) below 0."""
    own, bits = program.neuron_at[core], program.payload_bits
    fraction = 2 * bits
    first, count = program.schedule[entry, ENTRY_FIRST], program.schedule[entry, ENTRY_COUNT]
    for i in range(program.neurons[core]):
        ladder = program.ladders[program.threshold_base[own + i]]
        theta, step, offset, ties = ladder[0], ladder[1], ladder[2], ladder[3] << bits
        low = -first if program.signed[own + i] else 0
        c = -1 << (bits - 1)
        v, above, below = state.potential[at + i], 0, 0
        for k in range(bits - 1, -1, -1):
            t = c + (1 << k)
            threshold = theta + ((t * step + offset + ties * (t & 1)) >> fraction)
            if t <= low or (t <= count and v >= threshold):
                c, above = t, threshold
            else:
                below = threshold
        state.crossed[at + i] = c
        state.last[i] = above if c > 0 else below


@njit
def _reset_plain(program: Program, state: State, core: int, at: int) -> None:
    """Reset the plain neurons of a core that fired."""
    n, own = program.neurons[core], program.neuron_at[core]
    v, crossed, last = state.potential[at : at + n], state.crossed[at : at + n], state.last[:n]
    reset = program.reset[own : own + n]
    for i in range(n):
        v[i] = 0 if crossed[i] != 0 and reset[i] == RESET_ZERO else v[i]
        v[i] -= last[i] if crossed[i] != 0 and reset[i] == RESET_SUBTRACT else 0
    clip(program, state, core, at)


@njit
def _reset_value(program: Program, state: State, own: int, at: int, i: int, value: int) -> int:
    """Return what neuron ``i``, which fired, keeps of its potential; it may be out of range."""
    v, how = state.potential[at + i], program.reset[own + i]
    if how == RESET_ZERO:
        return 0
    if how == RESET_SUBTRACT:
        return v - state.last[i]  # type: ignore[no-any-return]
    if how == RESET_VALUE:
        return value
    if how == RESET_SUBTRACT_VALUE:
        return v - value if state.crossed[at + i] > 0 else v + value  # type: ignore[no-any-return]
    return v  # type: ignore[no-any-return]


@njit
def _reset_with_options(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Let refractory neurons be silent, and reset the others that fired."""
    own, value, clipped = program.neuron_at[core], program.schedule[entry, ENTRY_RESET], 0
    for i in range(program.neurons[core]):
        if state.refractory[at + i] > 0:
            state.crossed[at + i] = 0
            state.refractory[at + i] -= state.refractory[at + i] != program.forever
        if state.crossed[at + i] != 0:
            v = _reset_value(program, state, own, at, i, value)
            clipped += (v > program.high) + (v < program.low)
            state.potential[at + i] = min(max(v, program.low), program.high)
            state.refractory[at + i] = program.refractory_period[own + i]
    state.counters[SATURATIONS, core] += clipped


@njit
def compare(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Store c of every neuron of a core, from ``at`` on, and the state after rule 7."""
    n = program.neurons[core]
    if not program.schedule[entry, ENTRY_FIRE]:
        crossed = state.crossed[at : at + n]
        for i in range(n):
            crossed[i] = 0
        return
    if program.ladder[core]:
        _by_ladder(program, state, core, at, entry)
        state.counters[THRESHOLDS, core] += n
    else:
        _by_list(program, state, core, at, entry)
        state.counters[THRESHOLDS, core] += n * program.schedule[entry, ENTRY_COUNT]
    if program.dynamic[core]:
        _reset_with_options(program, state, core, at, entry)
    elif program.kept[core]:
        _reset_plain(program, state, core, at)
