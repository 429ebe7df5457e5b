# SPDX-License-Identifier: Apache-2.0
"""The membrane: what a neuron holds before it is compared (machine.md, rule 6).

Plain neurons are loops without branches, which the compiler turns into vectors. A core in which a neuron has
a current, a decay, a refractory period or a value to be reset to takes one loop with all rules.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import njit
from emu.kernels.state import ENTRY_INIT, ENTRY_UPDATE, SATURATIONS, Program, State
from emu.words import Reset

__all__ = ["clip", "membranes"]

RESET_CLEAR = int(Reset.CLEAR)


@njit
def clip(program: Program, state: State, core: int, at: int) -> None:
    """Saturate the potentials of a core, from ``at`` on; every clipped value is counted."""
    low, high, clipped = program.low, program.high, 0
    v = state.potential[at : at + program.neurons[core]]
    for i in range(len(v)):
        value = v[i]
        clipped += (value > high) + (value < low)
        v[i] = min(max(value, low), high)
    state.counters[SATURATIONS, core] += clipped


@njit
def _kept(x: int, share: int) -> int:
    """Return x share / 4096, rounded towards zero."""
    return x * share >> 12 if x >= 0 else -(-x * share >> 12)


@njit
def _drive(program: Program, state: State, core: int, i: int) -> int:
    """Return the drive of neuron ``i`` of a core."""
    k = program.columns[core]
    drive = 0
    for d in range(k):
        drive += program.strengths[core, d] * state.sums[i * k + d]
    return drive


@njit
def _plain(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Bring the potentials of a core of plain neurons to V after rule 6."""
    n, k, own = program.neurons[core], program.columns[core], program.neuron_at[core]
    v = state.potential[at : at + n]
    if program.schedule[entry, ENTRY_INIT]:
        v0 = program.v0[own : own + n]
        for i in range(n):
            v[i] = v0[i]
    else:
        reset = program.reset[own : own + n]
        for i in range(n):
            v[i] = 0 if reset[i] == RESET_CLEAR else v[i]
    if not program.schedule[entry, ENTRY_UPDATE]:
        return
    bias, sums = program.bias[own : own + n], state.sums[: n * k]
    strength = program.strengths[core, 0]
    if k == 1:
        for i in range(n):
            v[i] += bias[i] + strength * sums[i]
    else:
        for i in range(n):
            v[i] += bias[i] + _drive(program, state, core, i)
    clip(program, state, core, at)


@njit
def _current(program: Program, state: State, core: int, at: int, i: int) -> int:
    """Bring the current of neuron ``i`` to U after an update; return what drives its potential."""
    share = program.current_kept[program.neuron_at[core] + i]
    drive = _drive(program, state, core, i)
    if share == 0:
        state.current[at + i] = 0
        return drive
    u = _kept(state.current[at + i], share) + drive
    state.counters[SATURATIONS, core] += (u > program.high) + (u < program.low)
    u = min(max(u, program.low), program.high)
    state.current[at + i] = u
    return u


@njit
def _base(program: Program, state: State, own: int, at: int, init: int, update: int) -> int:
    """Return the base of the potential of one neuron, at ``own`` in the program and ``at`` in the state."""
    if init:
        return program.v0[own]  # type: ignore[no-any-return]
    if program.reset[own] == RESET_CLEAR:
        return 0
    if update:
        return _kept(state.potential[at], 4096 - program.potential_decay[own])
    return state.potential[at]  # type: ignore[no-any-return]


@njit
def _with_options(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Bring potentials, currents and refractory counts of a core to what they are after rule 6."""
    init, update = program.schedule[entry, ENTRY_INIT], program.schedule[entry, ENTRY_UPDATE]
    own, clipped = program.neuron_at[core], 0
    for i in range(program.neurons[core]):
        if init:
            state.current[at + i] = 0
            state.refractory[at + i] = 0
        base = _base(program, state, own + i, at + i, init, update)
        if update:
            base += _current(program, state, core, at, i) + program.bias[own + i]
        if state.refractory[at + i] == 0:
            if update:
                clipped += (base > program.high) + (base < program.low)
                base = min(max(base, program.low), program.high)
            state.potential[at + i] = base
    state.counters[SATURATIONS, core] += clipped


@njit
def membranes(program: Program, state: State, core: int, at: int, entry: int) -> None:
    """Bring the state of a core, from ``at`` on, to what it is after rule 6."""
    if program.dynamic[core]:
        _with_options(program, state, core, at, entry)
    else:
        _plain(program, state, core, at, entry)
