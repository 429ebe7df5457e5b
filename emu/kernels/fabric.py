# SPDX-License-Identifier: Apache-2.0
"""The network without time: who receives a packet (network.md, "Ports and routes"); the functional run."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

import numpy as np

from emu.jit import inner, njit
from emu.kernels.crossbar import discard
from emu.kernels.neuron import advance_schedule, current_entry, visit
from emu.kernels.quantise import take_thresholds
from emu.kernels.state import (
    ABSENT,
    AXON,
    DELIVERIES,
    ENTRY_EMIT,
    ERRORS,
    LAST,
    MERGES,
    PAYLOAD,
    USED_KINDS,
    USED_OUTPUTS,
    USED_SPIKES,
    USED_VISITS,
    X0,
    X1,
    Y0,
    Y1,
    Ints,
    Program,
    Record,
    State,
)
from emu.words import Emission

__all__ = [
    "CONSTANT",
    "UNARY",
    "accept",
    "comes_out",
    "deliver",
    "is_full",
    "outlet_of",
    "output",
    "run_steps",
    "write_output",
]

UNARY, CONSTANT = int(Emission.UNARY), int(Emission.CONSTANT)


@inner
def accept(program: Program, state: State, core: int, bank: int, axon: int, payload: int) -> bool:
    """Put a packet into the bank that collects (machine.md, "Receiving"), unless its axon is illegal."""
    if axon >= program.axons[core]:
        state.counters[ERRORS, core] += 1
        return False
    # Unsigned places need no check for an index from the end: a third of the time of a packet.
    at = np.uint64(bank * len(program.row_cells) + program.axon_at[core])
    place = at + np.uint64(axon)
    before = state.value[place]
    if before != ABSENT:
        state.counters[MERGES, core] += 1
        state.value[place] = max(before, payload)
        return True
    state.value[place] = payload
    own = np.uint64(bank * len(program.enabled) + core)
    count = np.uint64(state.events[own])
    state.event[at + count] = axon
    state.events[own] = count + np.uint64(1)
    return True


@inner
def deliver(program: Program, state: State, core: int, bank: int, axon: int, payload: int) -> None:
    """Accept a packet and count the delivery."""
    if accept(program, state, core, bank, axon, payload):
        state.counters[DELIVERIES, core] += 1


@inner
def comes_out(program: Program, packet: Ints) -> int:
    """Return how many copies of a packet go to the host: further south than the mesh, where outlets are."""
    if packet[Y1] < program.height or packet[X0] > min(packet[X1], program.width - 1):
        return 0
    last = program.outlets[min(packet[X1] + 1, program.width)]
    return last - program.outlets[packet[X0]]  # type: ignore[no-any-return]


@inner
def outlet_of(program: Program, router: int) -> int:
    """Return the number of the outlet that is at a router of the last row."""
    return program.outlets[router % program.width]  # type: ignore[no-any-return]


@inner
def output(record: Record, step: int, axon: int, payload: int) -> None:
    """Write down a packet that left by the gateway (lane 0)."""
    write_output(record, 0, step, axon, payload)


@inner
def write_output(record: Record, lane: int, step: int, axon: int, payload: int) -> None:
    """Write down a packet that left by the gateway."""
    row = record.used[USED_KINDS * lane + USED_OUTPUTS]
    record.outputs[row, 0] = step
    record.outputs[row, 1] = axon
    record.outputs[row, 2] = payload
    record.used[USED_KINDS * lane + USED_OUTPUTS] = row + 1


@inner
def _send(
    program: Program,
    state: State,
    record: Record,
    bank: int,
    packet: Ints,
    axon: int,
    payload: int,
    step: int,
) -> None:
    """Bring a packet of step ``step`` to every core of its rectangle once, wherever it comes from.

    Deliveries are counted with the hops, after the run (`emu.kernels.routes`).
    """
    x0, x1, y0, y1 = packet[X0], packet[X1], packet[Y0], packet[Y1]
    for y in range(y0, min(y1, program.height - 1) + 1):
        for x in range(x0, min(x1, program.width - 1) + 1):
            accept(program, state, y * program.width + x, bank, axon, payload)
    for _ in range(comes_out(program, packet)):
        output(record, step, axon, payload)


@inner
def _emit(
    program: Program,
    state: State,
    record: Record,
    core: int,
    step: int,
    count: int,
    entry: int,
) -> None:
    """Send the packets of the ``count`` neurons of a core that fired (rule 8)."""
    own, emit, bank = program.neuron_at[core], program.schedule[entry, ENTRY_EMIT], (step + 1) & 1
    for i in range(count):
        neuron = own + state.fired[i]
        crossed = state.crossed[neuron]
        if not program.connected[neuron]:
            continue
        copies, payload = 1, crossed
        if program.emission[neuron] == UNARY:
            copies, payload = crossed, 1
        elif program.emission[neuron] == CONSTANT:
            payload = emit if crossed > 0 else -emit
        fanout = program.fanout_base[neuron]
        while True:
            p = program.fanout[fanout]
            state.sent[fanout] += copies
            only = program.only[fanout]
            if only >= 0:
                for copy in range(copies):
                    accept(program, state, only, bank, p[AXON] + copy, payload)
            else:
                for copy in range(copies):
                    _send(program, state, record, bank, p, p[AXON] + copy, payload, step)
            if p[LAST]:
                break
            fanout += 1


@inner
def _feed(program: Program, state: State, record: Record, packet: Ints, step: int) -> None:
    """Deliver a stimulus packet that is integrated in ``step``; it counts as sent in the step before."""
    if len(state.fed):
        place = (packet[X0] * program.across + packet[X1]) * program.down + packet[Y0]
        state.fed[place * program.down + packet[Y1]] += 1
    _send(program, state, record, step & 1, packet, packet[AXON], packet[PAYLOAD], step - 1)


@inner
def is_full(program: Program, record: Record, lane: int, sends: int) -> bool:
    """Return whether a step of a lane, with at most ``sends`` packets to the gateway, might not fit."""
    lanes = len(record.used) // USED_KINDS
    used = USED_KINDS * lane
    full = record.used[used + USED_SPIKES] + len(program.bias) > (lane + 1) * (len(record.spikes) // lanes)
    if len(record.visits):
        rows = (lane + 1) * (len(record.visits) // lanes)
        full = full or record.used[used + USED_VISITS] + len(program.bias) > rows
    rows = (lane + 1) * (len(record.outputs) // lanes)
    return full or record.used[used + USED_OUTPUTS] + sends > rows  # type: ignore[no-any-return]


@njit
def run_steps(
    program: Program,
    state: State,
    record: Record,
    stimulus_at: Ints,
    stimulus: Ints,
    room: int,
    first: int,
    last: int,
) -> int:
    """Execute the steps ``first`` to before ``last``, functionally; return the next step to execute.

    Stops earlier when the record might overflow in the next step.

    Parameters
    ----------
    stimulus_at : int64 (steps + 1,)
        Where the packets of a step of the run begin in ``stimulus``.
    stimulus : int64 (p, 6)
        x0, x1, y0, y1, axon, payload.
    room : int
        Most packets that go to the gateway in one step.
    """
    for step in range(first, last):
        if is_full(program, record, 0, room):
            return step
        for i in range(stimulus_at[step], stimulus_at[step + 1]):
            _feed(program, state, record, stimulus[i], step)
        for core in range(len(program.enabled)):
            entry = current_entry(program, state, core)
            if entry < 0:
                discard(program, state, core, step & 1)
                continue
            take_thresholds(program, state, core, entry)
            fired = visit(program, state, record, core, step, entry)[2]
            _emit(program, state, record, core, step, fired, entry)
            advance_schedule(program, state, core)
    return last
