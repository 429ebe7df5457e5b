# SPDX-License-Identifier: Apache-2.0
"""The packets of the host: looked over before a run, and fed to all lanes.

Samples send to the same places in the same order, each to most of them. So a run goes along the places to
which an image's host sends (*slots*), and takes from every lane the packet that is for this slot, if that is
the lane's next one. A lane that sends anything else is fed packet by packet.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emu.jit import inner, njit
from emu.kernels.beside import Lanes, accept_one, accept_row
from emu.kernels.fabric import comes_out, write_output
from emu.kernels.state import ABSENT, AXON, PAYLOAD, X0, X1, Y0, Y1, Ints, Program, Record, State
from emu.kernels.vectors import LANES
from emu.words import PACKET

__all__ = ["CHUNK", "feed", "look_over", "slots_of"]

CHUNK = 16
"""Packets of a lane that are fed before those of the next one."""


@inner
def _rectangle(program: Program, packet: Ints) -> int:
    """Return the place of a packet's rectangle among all, its index in ``state.fed``."""
    across, down = program.across, program.down
    return ((packet[X0] * across + packet[X1]) * down + packet[Y0]) * down + packet[Y1]  # type: ignore[no-any-return]


@njit
def look_over(program: Program, packets: Ints, low: Ints, high: Ints, keys: Ints) -> tuple[int, int, int]:
    """Look at packets of a stimulus; write each into one number of ``keys`` unless that is empty.

    A key has a packet's rectangle, axon and payload, as wide as in a flit; the payload is made positive.

    Returns
    -------
    The first packet with a value outside the limits of its column, or -1; how many go out; and the largest
    payload of either sign.
    """
    leaving = loudest = 0
    bits, bias = program.payload_bits, 1 << program.payload_bits - 1
    for i in range(len(packets)):
        packet, wrong = packets[i], False
        for j in range(len(PACKET)):  # a constant, and no branch within
            wrong |= (packet[j] < low[j]) | (packet[j] > high[j])
        if wrong:
            return i, leaving, loudest
        leaving += comes_out(program, packet)
        loudest = max(loudest, abs(packet[PAYLOAD]))
        if len(keys):
            place = _rectangle(program, packet) << program.axon_bits | packet[AXON]
            keys[i] = (place << bits) + packet[PAYLOAD] + bias
    return -1, leaving, loudest


def slots_of(program: Program, packets: NDArray[np.integer]) -> Ints:
    """Return the slots of an image's packets (p, 5): rectangle, axon and key of each, int64 (p, 6)."""
    x0, x1, y0, y1, axon = packets.astype(np.int64).T
    across, down = program.across, program.down
    key = (((x0 * across + x1) * down + y0) * down + y1) << program.axon_bits | axon
    return np.column_stack((x0, x1, y0, y1, axon, key))


@inner
def _take(program: Program, lanes: Lanes, keys: Ints, key: int) -> int:
    """Take the next packet of every lane if it is for a slot, into ``lanes.sent``; return how many were."""
    packets, bits, bias = 0, program.payload_bits, 1 << program.payload_bits - 1
    for i in range(LANES):
        at = lanes.next[i]
        entry = keys[at]
        here = (at < lanes.end[i]) & (entry >> bits == key)
        lanes.sent[i] = np.int16((entry & 2 * bias - 1) - bias) if here else ABSENT
        lanes.next[i] = at + here
        packets += here
    return packets


@inner
def _sweep(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    keys: Ints,
    slots: Ints,
    half: int,
    now: int,
    span: int,
) -> None:
    """Feed all lanes along the slots, as far as their packets are in this order."""
    for i in range(len(slots)):
        slot = slots[i]
        packets = _take(program, lanes, keys, slot[PAYLOAD])
        if packets == 0:
            continue
        if len(state.fed):
            state.fed[slot[PAYLOAD] >> program.axon_bits] += packets
        for y in range(slot[Y0], min(slot[Y1], program.height - 1) + 1):
            for x in range(slot[X0], min(slot[X1], program.width - 1) + 1):
                accept_row(program, state, lanes, y * program.width + x, half, slot[AXON], packets)
        for _ in range(comes_out(program, slot)):
            for lane in range(LANES):
                if lanes.sent[lane] != ABSENT:
                    write_output(record, lane, now + lane * span - 1, slot[AXON], lanes.sent[lane])


@inner
def _feed_one(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    packet: Ints,
    half: int,
    lane: int,
    step: int,
) -> None:
    """Deliver a packet of one lane; it counts as sent in the step before."""
    if len(state.fed):
        state.fed[_rectangle(program, packet)] += 1
    for y in range(packet[Y0], min(packet[Y1], program.height - 1) + 1):
        for x in range(packet[X0], min(packet[X1], program.width - 1) + 1):
            core = y * program.width + x
            accept_one(program, state, lanes, core, half, packet[AXON], lane, packet[PAYLOAD])
    for _ in range(comes_out(program, packet)):
        write_output(record, lane, step - 1, packet[AXON], packet[PAYLOAD])


@inner
def feed(
    program: Program,
    state: State,
    lanes: Lanes,
    record: Record,
    stimulus_at: Ints,
    stimulus: Ints,
    keys: Ints,
    slots: Ints,
    used: int,
    half: int,
    now: int,
    span: int,
) -> None:
    """Deliver the packets of step ``now`` of the first lane, ``span`` steps later in each other one."""
    packets = most = 0
    for lane in range(LANES):
        step = now + lane * span if lane < used else now
        lanes.next[lane] = stimulus_at[step]
        lanes.end[lane] = stimulus_at[step + 1] if lane < used else lanes.next[lane]
        packets += lanes.end[lane] - lanes.next[lane]
    if packets > len(slots):
        _sweep(program, state, lanes, record, keys, slots, half, now, span)
    for lane in range(used):
        most = max(most, lanes.end[lane] - lanes.next[lane])
    for chunk in range(0, most, CHUNK):
        for lane in range(used):
            begin = lanes.next[lane] + chunk
            for i in range(begin, min(begin + CHUNK, lanes.end[lane])):
                _feed_one(program, state, lanes, record, stimulus[i], half, lane, now + lane * span)
