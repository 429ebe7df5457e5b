# SPDX-License-Identifier: Apache-2.0
"""The comparison: how many thresholds a potential crosses, and what it keeps (machine.md, rule 7)."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import inner
from emu.kernels.membrane import clip
from emu.kernels.state import (
    ENTRY_COUNT,
    ENTRY_FIRE,
    ENTRY_FIRST,
    ENTRY_RESET,
    LADDER_ROWS,
    REFRACTORY_PERIOD,
    SATURATIONS,
    SIGNED,
    THRESHOLDS,
    Ints,
    Program,
    State,
)
from emu.words import Reset

__all__ = ["compare", "take_thresholds"]

RESET_ZERO, RESET_SUBTRACT = int(Reset.ZERO), int(Reset.SUBTRACT)
RESET_VALUE, RESET_SUBTRACT_VALUE = int(Reset.VALUE), int(Reset.SUBTRACT_VALUE)


@inner
def take_thresholds(program: Program, state: State, core: int, entry: int) -> None:
    """Put what an entry compares with beside each other, for all lanes: thresholds, or parts of ladders."""
    if not program.schedule[entry, ENTRY_FIRE]:
        return
    n, own = program.neurons[core], program.neuron_at[core]
    base, first = program.threshold_base[own : own + n], program.schedule[entry, ENTRY_FIRST]
    if not program.ladder[core]:
        for j in range(program.schedule[entry, ENTRY_COUNT]):
            theta = state.theta[j * n :][:n]
            for i in range(n):
                theta[i] = program.thresholds[base[i] + first + j]
        return
    for i in range(n):
        ladder = program.ladders[base[i]]
        state.theta[i] = ladder[0]
        state.theta[n + i] = ladder[1]
        state.theta[2 * n + i] = ladder[2]
        state.theta[3 * n + i] = ladder[3] << program.payload_bits
        state.theta[4 * n + i] = -first if program.dynamics[own + i, SIGNED] else 0


@inner
def _by_list(v: Ints, crossed: Ints, thetas: Ints, count: int) -> bool:
    """Count the thresholds of its list that each neuron crosses; return whether any is crossed."""
    n, some = len(v), 0
    for i in range(n):
        crossed[i] = 0
    for j in range(count):
        theta = thetas[j * n :][:n]
        for i in range(n):
            crossed[i] += v[i] >= theta[i]
    for i in range(n):
        some |= crossed[i]
    return some != 0


@inner
def _last_of_list(v: Ints, last: Ints, thetas: Ints, count: int) -> None:
    """Find the last threshold of its list that each neuron crosses, 0 if none."""
    n = len(v)
    for i in range(n):
        last[i] = 0
    for j in range(count):
        theta = thetas[j * n :][:n]
        for i in range(n):
            last[i] = theta[i] if v[i] >= theta[i] else last[i]


@inner
def _by_ladder(
    v: Ints, crossed: Ints, last: Ints, parts: Ints, first: int, count: int, fraction: int
) -> None:
    """Find c of each neuron bit by bit on its ladder, and the last threshold: T_c, or T_(c + 1) unless c > 0.

    ``last`` holds x = c step meanwhile. No count is beyond the power of two from which the search begins.
    """
    n, bits = len(v), 0
    theta, step, offset = parts[:n], parts[n : 2 * n], parts[2 * n : 3 * n]
    ties, low = parts[3 * n : 4 * n], parts[4 * n : LADDER_ROWS * n]
    while 1 << bits <= count or 1 << bits < first:
        bits += 1
    start = -(1 << bits) if first > 0 else 0
    for i in range(n):
        crossed[i] = start
        last[i] = start * step[i]
    for k in range(bits if first > 0 else bits - 1, -1, -1):
        for i in range(n):
            t, y = crossed[i] + (1 << k), last[i] + (step[i] << k)
            threshold = theta[i] + ((y + offset[i] + ties[i] * (t & 1)) >> fraction)
            up = (t <= low[i]) | ((t <= count) & (v[i] >= threshold))
            crossed[i] = t if up else crossed[i]
            last[i] = y if up else last[i]
    for i in range(n):
        more = 1 if crossed[i] <= 0 else 0
        y = last[i] + step[i] * more
        last[i] = theta[i] + ((y + offset[i] + ties[i] * ((crossed[i] + more) & 1)) >> fraction)


@inner
def _reset_plain(v: Ints, crossed: Ints, last: Ints, reset: Ints) -> None:
    """Reset the plain neurons of a core that fired; they may be out of range."""
    for i in range(len(v)):
        v[i] = 0 if crossed[i] != 0 and reset[i] == RESET_ZERO else v[i]
        v[i] -= last[i] if crossed[i] != 0 and reset[i] == RESET_SUBTRACT else 0


@inner
def _reset_to(how: int, v: int, c: int, last: int, value: int) -> int:
    """Return what a neuron that fired keeps of its potential; it may be out of range."""
    if how == RESET_ZERO:
        return 0
    if how == RESET_SUBTRACT:
        return v - last
    if how == RESET_VALUE:
        return value
    if how == RESET_SUBTRACT_VALUE:
        return v - value if c > 0 else v + value
    return v


@inner
def _reset_with_options(program: Program, state: State, core: int, entry: int) -> None:
    """Let refractory neurons be silent, and reset the others that fired."""
    own, value, clipped = program.neuron_at[core], program.schedule[entry, ENTRY_RESET], 0
    for i in range(program.neurons[core]):
        if state.refractory[own + i] > 0:
            state.crossed[own + i] = 0
            state.refractory[own + i] -= state.refractory[own + i] != program.forever
        c = state.crossed[own + i]
        if c != 0:
            v = _reset_to(program.reset[own + i], state.potential[own + i], c, state.last[i], value)
            clipped += (v > program.high) + (v < program.low)
            state.potential[own + i] = min(max(v, program.low), program.high)
            state.refractory[own + i] = program.dynamics[own + i, REFRACTORY_PERIOD]
    state.counters[SATURATIONS, core] += clipped


@inner
def compare(program: Program, state: State, core: int, entry: int) -> None:
    """Store c of every neuron of a core, and the state after rule 7."""
    n, own = program.neurons[core], program.neuron_at[core]
    v, crossed, last = state.potential[own : own + n], state.crossed[own : own + n], state.last[:n]
    first, count = program.schedule[entry, ENTRY_FIRST], program.schedule[entry, ENTRY_COUNT]
    if not program.schedule[entry, ENTRY_FIRE]:
        crossed[:] = 0
        return
    some = True
    if program.ladder[core]:
        _by_ladder(v, crossed, last, state.theta, first, count, 2 * program.payload_bits)
        state.counters[THRESHOLDS, core] += n
    else:
        some = _by_list(v, crossed, state.theta, count)
        if program.kept[core] and some:
            _last_of_list(v, last, state.theta, count)
        state.counters[THRESHOLDS, core] += n * count
    if program.dynamic[core]:
        _reset_with_options(program, state, core, entry)
    elif program.kept[core] and some:
        _reset_plain(v, crossed, last, program.reset[own : own + n])
        state.counters[SATURATIONS, core] += clip(v, program.low, program.high)
