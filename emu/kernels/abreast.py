# SPDX-License-Identifier: Apache-2.0
"""The functional run of many lanes abreast: each rule of a neuron is applied to all of them at once.

The rules are those of `emu.kernels.membrane`, `emu.kernels.quantise` and `emu.kernels.fabric`, for plain
neurons (`emu.program.runs_abreast` says which images have only such).
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

import numpy as np

from emu.jit import inner, njit
from emu.kernels.beside import Groups, Lanes, accept_row, discard_lanes, integrate_lanes
from emu.kernels.fabric import CONSTANT, UNARY, comes_out, is_full, write_output
from emu.kernels.feed import feed
from emu.kernels.membrane import RESET_CLEAR
from emu.kernels.neuron import CROSSED_MASK, advance_schedule, current_entry, is_walked
from emu.kernels.quantise import RESET_SUBTRACT, RESET_ZERO
from emu.kernels.state import (
    ABSENT,
    AXON,
    ENTRY_COUNT,
    ENTRY_EMIT,
    ENTRY_FIRE,
    ENTRY_FIRST,
    ENTRY_INIT,
    ENTRY_INTEGRATE,
    ENTRY_UPDATE,
    LAST,
    NEURON_UPDATES,
    SATURATIONS,
    SIGNED,
    SPIKE_CORE,
    SPIKE_NEURON,
    SPIKE_STEP,
    SPIKES,
    THRESHOLDS,
    USED_KINDS,
    USED_SPIKES,
    USED_VISITS,
    VISIT_CURRENT,
    VISIT_POTENTIAL,
    VISIT_REFRACTORY,
    X0,
    X1,
    Y0,
    Y1,
    Ints,
    Program,
    Record,
    State,
)
from emu.kernels.vectors import LANES

__all__ = ["run_abreast"]


@inner
def _clip(program: Program, lanes: Lanes, at: np.uint64, used: int) -> int:
    """Saturate the potentials of a neuron; return how many of the lanes in use were clipped."""
    low, high, clipped = np.int32(program.low), np.int32(program.high), 0
    for i in range(LANES):
        v = lanes.sums[at + np.uint64(i)]
        clipped += ((v > high) | (v < low)) & (i < used)
        lanes.sums[at + np.uint64(i)] = min(max(v, low), high)
    return clipped


@inner
def _membrane(
    program: Program, lanes: Lanes, core: int, neuron: int, at: np.uint64, entry: int, used: int
) -> int:
    """Turn the sums of a neuron into V after rule 6; return how often it saturated."""
    update, strength = program.schedule[entry, ENTRY_UPDATE], np.int32(program.strengths[core, 0])
    bias = np.int32(program.bias[neuron]) if update else np.int32(0)
    if not update:
        strength = np.int32(0)
    if program.schedule[entry, ENTRY_INIT]:
        bias += np.int32(program.v0[neuron])
    elif program.reset[neuron] != RESET_CLEAR:
        kept = np.uint64(neuron) * np.uint64(LANES)
        for i in range(LANES):
            lane = np.uint64(i)
            lanes.sums[at + lane] = bias + strength * lanes.sums[at + lane] + lanes.kept[kept + lane]
        return _clip(program, lanes, at, used) if update else 0
    for i in range(LANES):
        lanes.sums[at + np.uint64(i)] = bias + strength * lanes.sums[at + np.uint64(i)]
    return _clip(program, lanes, at, used) if update else 0


@inner
def _by_list(program: Program, lanes: Lanes, neuron: int, at: np.uint64, entry: int, kept: int) -> None:
    """Count the thresholds of its list that a neuron crosses in each lane, and keep the last one."""
    for i in range(LANES):
        lanes.crossed[i] = 0
        lanes.last[i] = 0
    base = program.threshold_base[neuron] + program.schedule[entry, ENTRY_FIRST]
    for j in range(program.schedule[entry, ENTRY_COUNT]):
        theta = np.int32(program.thresholds[base + j])
        for i in range(LANES):
            lane = np.uint64(i)
            lanes.crossed[lane] += lanes.sums[at + lane] >= theta
        if kept:
            for i in range(LANES):
                lane = np.uint64(i)
                lanes.last[lane] = theta if lanes.sums[at + lane] >= theta else lanes.last[lane]


@inner
def _by_ladder(program: Program, lanes: Lanes, neuron: int, at: np.uint64, entry: int) -> None:
    """Find c of a neuron in each lane bit by bit on its ladder, and the last threshold."""
    first, count = program.schedule[entry, ENTRY_FIRST], program.schedule[entry, ENTRY_COUNT]
    ladder, fraction = program.ladders[program.threshold_base[neuron]], 2 * program.payload_bits
    theta, step, offset, ties = ladder[0], ladder[1], ladder[2], ladder[3] << program.payload_bits
    low = -first if program.dynamics[neuron, SIGNED] else 0
    bits = 0
    while 1 << bits <= count or 1 << bits < first:
        bits += 1
    start = -(1 << bits) if first > 0 else 0
    for i in range(LANES):
        lanes.crossed[i] = start
        lanes.climbed[i] = start * step
    for k in range(bits if first > 0 else bits - 1, -1, -1):
        for i in range(LANES):
            lane = np.uint64(i)
            t, y = lanes.crossed[lane] + (1 << k), lanes.climbed[lane] + (step << k)
            threshold = theta + ((y + offset + ties * (t & 1)) >> fraction)
            up = (t <= low) | ((t <= count) & (lanes.sums[at + lane] >= threshold))
            lanes.crossed[lane] = t if up else lanes.crossed[lane]
            lanes.climbed[lane] = y if up else lanes.climbed[lane]
    for i in range(LANES):
        more = 1 if lanes.crossed[i] <= 0 else 0
        y = lanes.climbed[i] + step * more
        lanes.last[i] = theta + ((y + offset + ties * ((lanes.crossed[i] + more) & 1)) >> fraction)


@inner
def _reset(program: Program, lanes: Lanes, neuron: int, at: np.uint64, used: int) -> int:
    """Reset a neuron where it fired, and keep its potential; return how often it saturated."""
    how, clipped = program.reset[neuron], 0
    if how == RESET_ZERO:
        for i in range(LANES):
            lanes.sums[at + np.uint64(i)] = 0 if lanes.crossed[i] != 0 else lanes.sums[at + np.uint64(i)]
    elif how == RESET_SUBTRACT:
        for i in range(LANES):
            last = np.int64(lanes.last[i]) if lanes.crossed[i] != 0 else 0
            v = lanes.sums[at + np.uint64(i)] - last
            clipped += ((v > program.high) | (v < program.low)) & (i < used)
            lanes.sums[at + np.uint64(i)] = min(max(v, program.low), program.high)
    return clipped


@inner
def _keep(program: Program, lanes: Lanes, neuron: int, at: np.uint64) -> None:
    """Store the potentials of a neuron for the next step."""
    if program.apart > 0:
        own = np.uint64(neuron) * np.uint64(LANES)
        for i in range(LANES):
            lanes.kept[own + np.uint64(i)] = lanes.sums[at + np.uint64(i)]


@inner
def _compare(
    program: Program, state: State, lanes: Lanes, core: int, neuron: int, at: np.uint64, entry: int, used: int
) -> int:
    """Store c of a neuron in every lane, and V after rule 7; return in how many lanes it fired."""
    if not program.schedule[entry, ENTRY_FIRE]:
        return 0
    if program.ladder[core]:
        _by_ladder(program, lanes, neuron, at, entry)
    else:
        _by_list(program, lanes, neuron, at, entry, program.kept[core])
    fired = spikes = 0
    for i in range(LANES):
        crossed = lanes.crossed[i] if i < used else 0
        lanes.crossed[i] = crossed
        spikes += abs(crossed)
        fired += crossed != 0
    state.counters[SPIKES, core] += spikes
    if program.kept[core]:
        state.counters[SATURATIONS, core] += _reset(program, lanes, neuron, at, used)
    return fired


@inner
def _record_spikes(lanes: Lanes, record: Record, used: int, key: int, apart: int) -> None:
    """Write down the spikes of a neuron, step ``apart`` steps later in each lane."""
    for lane in range(used):
        place, crossed = USED_KINDS * lane + USED_SPIKES, np.int64(lanes.crossed[lane])
        row = record.used[place]
        record.spikes[row] = key | crossed & CROSSED_MASK
        record.used[place] = row + (crossed != 0)
        key += apart


@inner
def _record_visits(
    lanes: Lanes, record: Record, core: int, i: int, at: np.uint64, used: int, now: int, span: int
) -> None:
    """Write down the state that a neuron stored in each lane; plain ones have a potential only."""
    for lane in range(used):
        row = record.used[USED_KINDS * lane + USED_VISITS]
        record.visits[row, 0] = now + lane * span
        record.visits[row, 1] = core
        record.visits[row, 2] = i
        record.visits[row, VISIT_POTENTIAL] = lanes.sums[at + np.uint64(lane)]
        record.visits[row, VISIT_CURRENT] = 0
        record.visits[row, VISIT_REFRACTORY] = 0
        record.used[USED_KINDS * lane + USED_VISITS] = row + 1


@inner
def _send(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    fanout: int,
    half: int,
    axon: int,
    packets: int,
    now: int,
    span: int,
) -> None:
    """Bring ``lanes.sent`` to every core of the rectangle of a fan-out entry, or to the host."""
    if program.only[fanout] >= 0:
        accept_row(program, state, lanes, program.only[fanout], half, axon, packets)
        return
    p = program.fanout[fanout]
    for y in range(p[Y0], min(p[Y1], program.height - 1) + 1):
        for x in range(p[X0], min(p[X1], program.width - 1) + 1):
            accept_row(program, state, lanes, y * program.width + x, half, axon, packets)
    for _ in range(comes_out(program, p)):
        for lane in range(LANES):
            if lanes.sent[lane] != ABSENT:
                write_output(record, lane, now + lane * span, axon, lanes.sent[lane])


@inner
def _emit(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    neuron: int,
    entry: int,
    half: int,
    now: int,
    span: int,
) -> None:
    """Send the packets of a neuron that fired in some lane (rule 8) to banks ``half``."""
    emission, emit = program.emission[neuron], program.schedule[entry, ENTRY_EMIT]
    copies = program.schedule[entry, ENTRY_COUNT] if emission == UNARY else 1
    for copy in range(copies):
        packets = 0
        for i in range(LANES):
            crossed = lanes.crossed[i]
            payload = crossed if crossed != 0 else ABSENT
            if emission == UNARY:
                payload = 1 if crossed > copy else ABSENT
            elif emission == CONSTANT and crossed != 0:
                payload = emit if crossed > 0 else -emit
            lanes.sent[i] = payload
            packets += payload != ABSENT
        fanout = program.fanout_base[neuron]
        while packets > 0:
            state.sent[fanout] += packets
            axon = program.fanout[fanout, AXON] + copy
            _send(program, state, lanes, record, fanout, half, axon, packets, now, span)
            if program.fanout[fanout, LAST]:
                break
            fanout += 1


@inner
def _walk(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    core: int,
    entry: int,
    used: int,
    half: int,
    now: int,
    span: int,
) -> None:
    """Visit the neurons of a core in all lanes; ``lanes.sums`` are its column sums."""
    n, saturated = program.neurons[core], 0
    for i in range(n):
        neuron, at = program.neuron_at[core] + i, np.uint64(i) * np.uint64(LANES)
        saturated += _membrane(program, lanes, core, neuron, at, entry, used)
        fired = _compare(program, state, lanes, core, neuron, at, entry, used)
        _keep(program, lanes, neuron, at)
        state.potential[neuron] = lanes.sums[at + np.uint64(used - 1)]
        if len(record.visits):
            _record_visits(lanes, record, core, i, at, used, now, span)
        if fired > 0:
            key = now << SPIKE_STEP | core << SPIKE_CORE | i << SPIKE_NEURON
            _record_spikes(lanes, record, used, key, span << SPIKE_STEP)
            if program.connected[neuron]:
                _emit(program, state, lanes, record, neuron, entry, half ^ 1, now, span)
    state.counters[SATURATIONS, core] += saturated
    state.counters[NEURON_UPDATES, core] += n * used
    if program.schedule[entry, ENTRY_FIRE]:
        each = 1 if program.ladder[core] else program.schedule[entry, ENTRY_COUNT]
        state.counters[THRESHOLDS, core] += n * used * each


@inner
def _execute(
    program: Program,
    state: State,
    lanes: Lanes,
    groups: Groups,
    record: Record,
    core: int,
    used: int,
    half: int,
    now: int,
    span: int,
    loud: bool,
) -> None:
    """Execute a step of a core in every lane."""
    entry = current_entry(program, state, core)
    if entry < 0:
        return
    walked = is_walked(program, core, entry)
    if walked and program.schedule[entry, ENTRY_INTEGRATE]:
        integrate_lanes(program, state, lanes, groups, core, used, half, loud)
    else:
        discard_lanes(program, lanes, core, half)
        lanes.sums[: program.neurons[core] * LANES] = 0
    if walked:
        _walk(program, state, lanes, record, core, entry, used, half, now, span)
    advance_schedule(program, state, core)


@njit
def run_abreast(
    program: Program,
    state: State,
    lanes: Lanes,
    groups: Groups,
    record: Record,
    stimulus_at: Ints,
    stimulus: Ints,
    keys: Ints,
    slots: Ints,
    used: int,
    begin: int,
    span: int,
    loud: bool,
) -> int:
    """Execute ``span`` steps in ``used`` lanes; return how many were executed.

    Step t of lane l is step ``begin + l * span + t`` of the run. Stops when the record might overflow in the
    next step.

    Parameters
    ----------
    stimulus_at : int64 (steps + 1,)
        Where the packets of a step of the run begin in ``stimulus``.
    stimulus : int64 (p, 6)
        x0, x1, y0, y1, axon, payload.
    keys, slots
        The same packets, each in one number and one more at the end, and what to expect
        (`emu.kernels.feed`).
    loud : bool
        Whether a payload may be beyond what groups add in 8 bits (`emu.kernels.beside.SMALL`).
    """
    for step in range(span):
        for lane in range(used):
            if is_full(program, record, lane, 0):
                return step
        now, half = begin + step, step & 1
        feed(program, state, lanes, record, stimulus_at, stimulus, keys, slots, used, half, now, span)
        for core in range(len(program.enabled)):
            _execute(program, state, lanes, groups, record, core, used, half, now, span, loud)
    return span
