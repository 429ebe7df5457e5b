# SPDX-License-Identifier: Apache-2.0
"""What an image fixes, ready for the kernels: its arrays, and into which stretches its runs may be cut."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.kernels.state import WORD, Program
from emu.spec import SystemSpec
from emu.words import Reset

__all__ = ["gateway_room", "joined", "most_records", "period_of", "program_of"]

Ints = NDArray[np.int64]

_LONGEST = 1 << 12
"""Steps of the longest period that is looked for."""

_REPEAT, _INIT, _UPDATE, _FIRE, _COUNT = 0, 1, 3, 4, 6


def joined(parts: Sequence[NDArray[np.generic]], shape: tuple[int, ...] = (0,)) -> Ints:
    """Return arrays one after the other as a new, writable int64 array."""
    return np.concatenate([np.zeros(shape, np.int64), *(np.asarray(part, np.int64) for part in parts)])


def _offsets(sizes: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))])[:-1].astype(np.int64)


def _planes(crossbar: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Return bit planes, (words, 2, columns): bit i of word w is row 64 w + i; first positive cells."""
    words = -(-len(crossbar) // WORD)
    signs = np.zeros((2, words * WORD, crossbar.shape[1]), np.bool_)
    signs[0, : len(crossbar)] = crossbar > 0
    signs[1, : len(crossbar)] = crossbar < 0
    octets = np.packbits(signs, axis=1, bitorder="little").reshape(2, words, 8, -1)
    return np.ascontiguousarray(octets.transpose(1, 0, 3, 2)).view("<u8").astype(np.uint64)


def _crossbars(cores: Sequence[CoreImage | None]) -> tuple[NDArray[np.int8], Ints, NDArray[np.uint64], Ints]:
    """Return all crossbars and their bit planes, equal ones once, and where each core's begin."""
    known: dict[tuple[object, ...], int] = {}
    places: list[tuple[int, int]] = []
    cells, planes = [np.zeros(0, np.int8)], [np.zeros(0, np.uint64)]
    where = np.zeros((2, len(cores)), np.int64)
    for index, core in enumerate(cores):
        if core is None:
            continue
        key = (core.crossbar.shape, hashlib.sha256(core.crossbar.tobytes()).digest())
        if key not in known:
            known[key] = len(places)
            places.append((sum(map(len, cells)), sum(map(len, planes))))
            cells.append(core.crossbar.reshape(-1))
            planes.append(_planes(core.crossbar).reshape(-1))
        where[:, index] = places[known[key]]
    return np.concatenate(cells), where[0].copy(), np.concatenate(planes), where[1].copy()


def _only(fanout: Ints, spec: SystemSpec) -> Ints:
    """Return the one core that each fan-out entry reaches, -1 for an entry that is no plain unicast."""
    x0, x1, y0, y1 = fanout[:, :4].T
    unicast = (x0 == x1) & (y0 == y1) & (x1 < spec.width) & (y1 < spec.height)
    return np.where(unicast, y0 * spec.width + x0, -1)


def program_of(image: SystemImage) -> Program:
    """Return an image as the arrays that the kernels read."""
    spec, cores = image.spec, image.cores
    used = [core for core in cores if core is not None]
    axons = [0 if core is None else core.axons for core in cores]
    neurons = [0 if core is None else core.neurons for core in cores]
    strengths = np.zeros((len(cores), spec.core.strengths), np.int64)
    for row, core in zip(strengths, cores, strict=True):
        if core is not None:
            row[: len(core.strengths)] = core.strengths
    columns = np.array([0 if core is None else len(core.strengths) for core in cores], np.int64)
    threshold_at = _offsets([0 if core is None else len(core.thresholds) for core in cores])
    fanouts = [0 if core is None else len(core.fanout) for core in cores]
    schedules = [0 if core is None else len(core.schedule) for core in cores]
    fanout_at = _offsets(fanouts)
    cells, cell_at, planes, plane_at = _crossbars(cores)
    fanout = joined([core.fanout for core in used], (0, 6))
    return Program(
        width=spec.width,
        height=spec.height,
        across=1 << spec.x_bits,
        down=1 << spec.y_bits,
        low=spec.core.potential_min,
        high=spec.core.potential_max,
        enabled=np.array([core is not None for core in cores], np.int64),
        axons=np.array(axons, np.int64),
        neurons=np.array(neurons, np.int64),
        columns=columns,
        words=-(-np.array(neurons, np.int64) * columns // spec.core.lanes),
        axon_at=_offsets(axons),
        cell_at=cell_at,
        plane_at=plane_at,
        neuron_at=_offsets(neurons),
        fanout_at=fanout_at,
        fanouts=np.array(fanouts, np.int64),
        kept=np.array([int(_is_kept(core)) for core in cores], np.int64),
        schedule_at=_offsets(schedules),
        schedule_length=np.array(schedules, np.int64),
        cells=cells,
        planes=planes,
        row_cells=joined([np.count_nonzero(core.crossbar, axis=1) for core in used]),
        strengths=strengths,
        bias=joined([core.bias for core in used]),
        v0=joined([core.v0 for core in used]),
        reset=joined([core.reset for core in used]),
        count_emission=joined([core.count_emission for core in used]),
        connected=joined([core.connected for core in used]),
        threshold_base=joined(
            [c.threshold_base + at for c, at in zip(cores, threshold_at, strict=True) if c]
        ),
        fanout_base=joined([c.fanout_base + at for c, at in zip(cores, fanout_at, strict=True) if c]),
        thresholds=joined([core.thresholds for core in used]),
        fanout=fanout,
        only=_only(fanout, spec),
        schedule=joined([core.schedule for core in used], (0, 7)),
    )


def gateway_room(core: CoreImage, height: int) -> int:
    """Return the most packets that a core can send to the gateway in one step."""
    bases = core.fanout_base[core.connected].astype(np.int64)
    if not len(bases):
        return 0
    leaves = np.concatenate([[0], np.cumsum((core.fanout[:, 0] == 0) & (core.fanout[:, 3] >= height))])
    ends = np.flatnonzero(core.fanout[:, 5])
    last = ends[np.searchsorted(ends, bases)]
    copies = np.where(core.count_emission[core.connected], 1, core.schedule[:, 6].max(initial=0))
    return int(((leaves[last + 1] - leaves[bases]) * copies).sum())


def _is_kept(core: CoreImage | None) -> bool:
    """Return whether a neuron of a core keeps its potential from step to step."""
    return core is not None and bool((core.reset != Reset.CLEAR).any())


def _walks(core: CoreImage) -> Ints:
    """Return the entries of a schedule in which the neurons are visited."""
    schedule = core.schedule.astype(np.int64)
    return np.asarray(schedule[(schedule[:, [_INIT, _UPDATE, _FIRE]] != 0).any(axis=1)])


def _round(entries: NDArray[np.signedinteger]) -> int:
    """Return how many steps schedule entries take."""
    return int(np.maximum(entries[:, _REPEAT].astype(np.int64), 1).sum())


def _begins_afresh(core: CoreImage) -> bool:
    """Return whether nothing before a round of the schedule can be noticed in it, packets apart."""
    walks = _walks(core)
    return not _is_kept(core) or not len(walks) or bool(walks[0, _INIT])


def _leaves_packets(core: CoreImage, height: int) -> bool:
    """Return whether the last step of a round may send a packet to a core."""
    fires = core.schedule[-1, _FIRE] and core.schedule[-1, _COUNT] > 0
    return bool(fires and core.connected.any() and (core.fanout[:, 2] < height).any())


def period_of(image: SystemImage) -> int | None:
    """Return after how many steps, and all their multiples, a run begins as at its start, None if never.

    That is so when every schedule is back at its first entry, no packet to a core is under way, and no core
    reads a potential of the steps before. Such stretches may be executed in any order or side by side.
    """
    period = 1
    for core in image.cores:
        if core is not None:
            if not _begins_afresh(core) or _leaves_packets(core, image.spec.height):
                return None
            period = math.lcm(period, _round(core.schedule))
            if period > _LONGEST:
                return None
    return period


def most_records(image: SystemImage, period: int) -> tuple[int, int]:
    """Return the most neuron visits, and packets to the gateway, of a period."""
    visits = packets = 0
    for core in image.cores:
        if core is not None:
            walks = _round(_walks(core)) * (period // _round(core.schedule))
            visits += core.neurons * walks
            packets += gateway_room(core, image.spec.height) * walks
    return visits, packets
