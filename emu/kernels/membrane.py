# SPDX-License-Identifier: Apache-2.0
"""The membrane: what a neuron holds before it is compared (machine.md, rule 6).

Plain neurons are loops without branches, which the compiler turns into vectors. A core in which a neuron has
a current, a decay, a refractory period or a value to be reset to takes one loop with all rules.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emu.jit import inner
from emu.kernels.state import (
    CURRENT_KEPT,
    ENTRY_INIT,
    ENTRY_UPDATE,
    POTENTIAL_DECAY,
    SATURATIONS,
    Ints,
    Program,
    State,
)
from emu.words import Reset

__all__ = ["clip", "membranes"]

RESET_CLEAR = int(Reset.CLEAR)


@inner
def clip(v: Ints, low: int, high: int) -> int:
    """Saturate potentials; return how many were clipped."""
    clipped = 0
    for i in range(len(v)):
        value = v[i]
        clipped += (value > high) + (value < low)
        v[i] = min(max(value, low), high)
    return clipped


@inner
def _kept(x: int, share: int) -> int:
    """Return x share / 4096, rounded towards zero."""
    return x * share >> 12 if x >= 0 else -(-x * share >> 12)


@inner
def _drive(strengths: Ints, sums: NDArray[np.int32], begin: int, k: int) -> int:
    """Return the drive of a neuron, whose columns follow ``begin``."""
    drive = 0
    for d in range(k):
        drive += strengths[d] * sums[begin + d]
    return drive


@inner
def _plain(program: Program, state: State, core: int, entry: int) -> None:
    """Bring the potentials of a core of plain neurons to V after rule 6."""
    n, k, own = program.neurons[core], program.columns[core], program.neuron_at[core]
    v = state.potential[own : own + n]
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
    bias, sums, strengths = program.bias[own : own + n], state.sums[: n * k], program.strengths[core]
    if k == 1:
        strength = strengths[0]
        for i in range(n):
            v[i] += bias[i] + strength * sums[i]
    else:
        for i in range(n):
            v[i] += bias[i] + _drive(strengths, sums, i * k, k)
    state.counters[SATURATIONS, core] += clip(v, program.low, program.high)


@inner
def _current(u: int, share: int, drive: int) -> int:
    """Return U after an update, not yet clipped; a share of 0 keeps none."""
    return _kept(u, share) + drive if share != 0 else 0


@inner
def _base(v: int, decay: int, reset: int, update: int) -> int:
    """Return the base of the potential of a neuron that is not at its start."""
    if reset == RESET_CLEAR:
        return 0
    return _kept(v, 4096 - decay) if update else v


@inner
def _with_options(program: Program, state: State, core: int, entry: int) -> None:
    """Bring potentials, currents and refractory counts of a core to what they are after rule 6."""
    init, update = program.schedule[entry, ENTRY_INIT], program.schedule[entry, ENTRY_UPDATE]
    own, k, clipped = program.neuron_at[core], program.columns[core], 0
    low, high, strengths = program.low, program.high, program.strengths[core]
    for i in range(program.neurons[core]):
        profile = program.dynamics[own + i]
        if init:
            base, state.current[own + i], state.refractory[own + i] = program.v0[own + i], 0, 0
        else:
            v = state.potential[own + i]
            base = _base(v, profile[POTENTIAL_DECAY], program.reset[own + i], update)
        if update:
            drive, share = _drive(strengths, state.sums, i * k, k), profile[CURRENT_KEPT]
            u = _current(state.current[own + i], share, drive)
            clipped += (u > high) + (u < low)
            u = min(max(u, low), high)
            state.current[own + i] = u
            base += (u if share != 0 else drive) + program.bias[own + i]
        if state.refractory[own + i] == 0:
            if update:
                clipped += (base > high) + (base < low)
                base = min(max(base, low), high)
            state.potential[own + i] = base
    state.counters[SATURATIONS, core] += clipped


@inner
def membranes(program: Program, state: State, core: int, entry: int) -> None:
    """Bring the state of a core to what it is after rule 6."""
    if program.dynamic[core]:
        _with_options(program, state, core, entry)
    else:
        _plain(program, state, core, entry)
