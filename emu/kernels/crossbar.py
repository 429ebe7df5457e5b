# SPDX-License-Identifier: Apache-2.0
"""Integration: present rows of the crossbar are added into the column sums (machine.md, rule 4)."""

from __future__ import annotations

from emu.jit import njit
from emu.kernels.state import SYNAPTIC_OPERATIONS, Program, State

__all__ = ["discard", "integrate"]


@njit
def discard(program: Program, state: State, core: int, bank: int) -> int:
    """Empty a bank of a core and return how many axons were present."""
    at = program.axon_at[core]
    count = state.events[bank, core]
    for i in range(count):
        state.present[bank, at + state.event[bank, at + i]] = 0
    state.events[bank, core] = 0
    return count  # type: ignore[no-any-return]


@njit
def integrate(program: Program, state: State, core: int, bank: int) -> int:
    """Add the rows of a bank's events into ``state.sums`` and empty the bank; return how many there were."""
    at = program.axon_at[core]
    width = program.neurons[core] * program.columns[core]
    sums = state.sums[:width]
    count = state.events[bank, core]
    for i in range(count):
        axon = state.event[bank, at + i]
        payload = state.value[bank, at + axon]
        begin = program.cell_at[core] + axon * width
        row = program.cells[begin : begin + width]
        for column in range(width):
            sums[column] += payload * row[column]
        state.counters[SYNAPTIC_OPERATIONS, core] += program.row_cells[at + axon]
    return discard(program, state, core, bank)
