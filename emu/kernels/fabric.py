# SPDX-License-Identifier: Apache-2.0
"""The network without time: who receives a packet, over how many hops (network.md, "Ports and routes")."""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from emu.jit import njit
from emu.kernels.neuron import execute
from emu.kernels.state import (
    DELIVERIES,
    ERRORS,
    HOPS,
    MERGES,
    PACKETS,
    ROUTER_ERRORS,
    USED_OUTPUTS,
    USED_POTENTIALS,
    USED_SPIKES,
    Ints,
    Program,
    Record,
    State,
)

__all__ = ["deliver", "output", "run_steps", "send_from_core", "send_from_gateway"]


@njit
def deliver(program: Program, state: State, core: int, bank: int, axon: int, payload: int) -> None:
    """Put a packet into the bank that collects (machine.md, "Receiving")."""
    if axon >= program.axons[core]:
        state.counters[ERRORS, core] += 1
        return
    state.counters[DELIVERIES, core] += 1
    at = program.axon_at[core]
    if state.present[bank, at + axon]:
        state.counters[MERGES, core] += 1
        state.value[bank, at + axon] = max(state.value[bank, at + axon], payload)
        return
    state.present[bank, at + axon] = 1
    state.value[bank, at + axon] = payload
    state.event[bank, at + state.events[bank, core]] = axon
    state.events[bank, core] += 1


@njit
def output(record: Record, step: int, axon: int, payload: int) -> None:
    """Write down a packet that left by the gateway."""
    row = record.used[USED_OUTPUTS]
    record.outputs[row, 0] = step
    record.outputs[row, 1] = axon
    record.outputs[row, 2] = payload
    record.used[USED_OUTPUTS] = row + 1


@njit
def _column(
    program: Program,
    state: State,
    record: Record,
    x: int,
    y: int,
    packet: Ints,
    axon: int,
    payload: int,
    step: int,
) -> bool:
    """Take a packet that turns into column x at row y to its end; return whether it wanted an output."""
    y0, y1, width, bank = packet[2], packet[3], program.width, (step + 1) & 1
    at = y
    while y1 > at:
        router = at * width + x
        if at == program.height - 1:
            if x == 0:
                state.counters[HOPS, router] += 1
                output(record, step, axon, payload)
            else:
                state.counters[ROUTER_ERRORS, router] += 1
            break
        state.counters[HOPS, router] += 1
        at += 1
        if y0 <= at <= y1:
            deliver(program, state, at * width + x, bank, axon, payload)
        elif y1 <= at:
            state.counters[ROUTER_ERRORS, at * width + x] += 1
    at = y
    while y0 < at:
        state.counters[HOPS, at * width + x] += 1
        at -= 1
        if y0 <= at <= y1:
            deliver(program, state, at * width + x, bank, axon, payload)
        elif y0 >= at:
            state.counters[ROUTER_ERRORS, at * width + x] += 1
    if y0 <= y <= y1:
        deliver(program, state, y * width + x, bank, axon, payload)
        return True
    return y1 > y or y0 < y  # type: ignore[no-any-return]


@njit
def _eastwards(
    program: Program,
    state: State,
    record: Record,
    x: int,
    y: int,
    packet: Ints,
    axon: int,
    payload: int,
    step: int,
) -> None:
    """Continue with a packet that came into router (x, y) by its west port."""
    while True:
        turned = packet[0] <= x <= packet[1] and _column(
            program, state, record, x, y, packet, axon, payload, step
        )
        router = y * program.width + x
        if packet[1] <= x:
            if not turned:
                state.counters[ROUTER_ERRORS, router] += 1
            return
        if x == program.width - 1:
            state.counters[ROUTER_ERRORS, router] += 1
            return
        state.counters[HOPS, router] += 1
        x += 1


@njit
def _westwards(
    program: Program,
    state: State,
    record: Record,
    x: int,
    y: int,
    packet: Ints,
    axon: int,
    payload: int,
    step: int,
) -> None:
    """Continue with a packet that came into router (x, y) by its east port."""
    while True:
        turned = packet[0] <= x <= packet[1] and _column(
            program, state, record, x, y, packet, axon, payload, step
        )
        router = y * program.width + x
        if packet[0] >= x:
            if not turned:
                state.counters[ROUTER_ERRORS, router] += 1
            return
        state.counters[HOPS, router] += 1
        x -= 1


@njit
def send_from_core(
    program: Program,
    state: State,
    record: Record,
    core: int,
    packet: Ints,
    axon: int,
    payload: int,
    step: int,
) -> None:
    """Deliver a packet of step ``step`` of a core to all its receivers, for their next step.

    ``packet`` begins with x0, x1, y0, y1.
    """
    x, y = core % program.width, core // program.width
    state.counters[PACKETS, core] += 1
    wanted = False
    if packet[0] <= x <= packet[1]:
        wanted = _column(program, state, record, x, y, packet, axon, payload, step)
    if packet[1] > x:
        wanted = True
        if x == program.width - 1:
            state.counters[ROUTER_ERRORS, core] += 1
        else:
            state.counters[HOPS, core] += 1
            _eastwards(program, state, record, x + 1, y, packet, axon, payload, step)
    if packet[0] < x:
        wanted = True
        state.counters[HOPS, core] += 1
        _westwards(program, state, record, x - 1, y, packet, axon, payload, step)
    if not wanted:
        state.counters[ROUTER_ERRORS, core] += 1


@njit
def send_from_gateway(program: Program, state: State, record: Record, packet: Ints, step: int) -> None:
    """Deliver a stimulus packet that is integrated in ``step``; it counts as sent in the step before."""
    _eastwards(program, state, record, 0, 0, packet, packet[4], packet[5], step - 1)


@njit
def _emit(program: Program, state: State, record: Record, core: int, step: int) -> None:
    """Send the packets of a core that has walked (rule 8)."""
    at = program.neuron_at[core]
    for neuron in range(at, at + program.neurons[core]):
        crossed = state.crossed[neuron]
        if crossed == 0 or not program.connected[neuron]:
            continue
        fanout = program.fanout_base[neuron]
        while True:
            packet = program.fanout[fanout]
            if program.count_emission[neuron]:
                send_from_core(program, state, record, core, packet, packet[4], crossed, step)
            else:
                for copy in range(crossed):
                    send_from_core(program, state, record, core, packet, packet[4] + copy, 1, step)
            if packet[5]:
                break
            fanout += 1


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
    """Execute steps from ``first`` on, functionally; return the next step to execute.

    Stops at ``last``, or earlier when the record might overflow in the next step.

    Parameters
    ----------
    stimulus_at : (steps + 1,), where the packets of a step begin in ``stimulus``.
    stimulus : (p, 6), x0, x1, y0, y1, axon, payload.
    room : most packets that the cores can send to the gateway in one step.
    """
    for step in range(first, last):
        full = record.used[USED_SPIKES] + len(program.bias) > len(record.spikes)
        if len(record.potentials):
            full = full or record.used[USED_POTENTIALS] + len(program.bias) > len(record.potentials)
        fed = stimulus_at[step + 1] - stimulus_at[step]
        if full or record.used[USED_OUTPUTS] + room + fed > len(record.outputs):
            return step
        for i in range(stimulus_at[step], stimulus_at[step + 1]):
            send_from_gateway(program, state, record, stimulus[i], step)
        for core in range(len(program.enabled)):
            walked = execute(program, state, record, core, step)[2]
            if walked:
                _emit(program, state, record, core, step)
    return last
