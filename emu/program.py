# SPDX-License-Identifier: Apache-2.0
"""What an image fixes, ready for the kernels: its arrays, and into which stretches its runs may be cut."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import outlets_of
from emu.image import CoreImage, SystemImage
from emu.kernels.state import DYNAMICS, TARGET, WORD, Program
from emu.spec import THRESHOLDS_A_WORD, SystemSpec
from emu.topology import comes_out, topology_of
from emu.words import LADDER, RECTANGLE, STATE_FIELDS, TABLES, Emission, Reset, Section

__all__ = ["gateway_room", "joined", "loudest", "most_records", "period_of", "program_of"]

Ints = NDArray[np.int64]

_LONGEST = 1 << 12
"""Steps of the longest period that is looked for."""


def joined(parts: Sequence[NDArray[np.generic]], shape: tuple[int, ...] = (0,)) -> Ints:
    """Return arrays one after the other as a new, writable int64 array."""
    return np.concatenate([np.zeros(shape, np.int64), *(np.asarray(part, np.int64) for part in parts)])


def _offsets(sizes: Sequence[int] | Ints) -> Ints:
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
        own = core.cells
        key = (own.shape, hashlib.sha256(own.tobytes()).digest())
        if key not in known:
            known[key] = len(places)
            places.append((sum(map(len, cells)), sum(map(len, planes))))
            cells.append(own.reshape(-1))
            planes.append(_planes(own).reshape(-1))
        where[:, index] = places[known[key]]
    return np.concatenate(cells), where[0].copy(), np.concatenate(planes), where[1].copy()


def loudest(image: SystemImage) -> int:
    """Return the largest payload, of either sign, that a neuron of an image could send."""
    names = ("threshold_count", "threshold_first", "emit")
    entries = [core.columns(Section.SCHEDULE) for core in image.cores if core is not None]
    return max((int(np.abs(entry[name]).max(initial=0)) for entry in entries for name in names), default=0)


def _targets(core: CoreImage) -> Ints:
    """Return the fan-out entries of a core, their fields in the order of `TARGET`."""
    fields = core.columns(Section.FANOUT)
    return np.column_stack([fields[name] for name in TARGET]).astype(np.int64)


def _only(fanout: Ints, spec: SystemSpec) -> Ints:
    """Return the one core that each fan-out entry reaches, -1 for an entry that is no plain unicast."""
    x0, x1, y0, y1 = (fanout[:, TARGET.index(name)] for name in RECTANGLE)
    unicast = (x0 == x1) & (y0 == y1) & (x1 < spec.width) & (y1 < spec.height)
    return np.where(unicast, y0 * spec.width + x0, -1)


def _sizes(cores: Sequence[CoreImage | None], name: str) -> Ints:
    """Return the rows of an array of every core, 0 for a disabled one."""
    return np.array([0 if core is None else len(getattr(core, name)) for core in cores], np.int64)


def _strengths(cores: Sequence[CoreImage | None], spec: SystemSpec) -> Ints:
    """Return the strengths of every core, shape (cores, strengths of the spec), zero where none is used."""
    table = np.zeros((len(cores), spec.core.strengths), np.int64)
    for row, core in zip(table, cores, strict=True):
        if core is not None:
            row[: len(core.strengths)] = core.strengths
    return table


def _thresholds(cores: Sequence[CoreImage | None]) -> dict[str, Any]:
    """Return all lists and ladders, and where each neuron's begins among those of its kind."""
    used = [core for core in cores if core is not None]
    lists, ladders = (_offsets(_sizes(used, name)) for name in ("thresholds", "ladders"))
    bases = [
        core.threshold_base // THRESHOLDS_A_WORD + ladder if core.is_ladder else core.threshold_base + begin
        for core, begin, ladder in zip(used, lists, ladders, strict=True)
    ]
    return {
        "threshold_base": joined(bases),
        "thresholds": joined([core.thresholds for core in used]),
        "ladders": joined([core.ladders for core in used], (0, len(LADDER))),
        "ladder": np.array([core is not None and core.is_ladder for core in cores], np.int64),
    }


def _folded(core: CoreImage | None, spec: SystemSpec) -> NDArray[np.int16] | None:
    """Return one weight for each axon and neuron in place of its digits, or None.

    None where there is nothing to fold, or where a drive may not fit the kernels' sums.
    """
    if core is None or len(core.strengths) == 1 or not core.neurons:
        return None
    digits = core.cells.reshape(core.axons, core.neurons, -1).astype(np.int64)
    weights = digits @ core.strengths.astype(np.int64)
    extreme = (1 << _shifts(core)) << (spec.core.payload_bits - 1)
    if (extreme @ np.abs(weights)).max(initial=0) > np.iinfo(np.int32).max:
        return None
    return weights.astype(np.int16)


def _shifts(core: CoreImage) -> Ints:
    """Return by how much the payload of each axon of a core is shifted."""
    return np.repeat(core.shifts.astype(np.int64), int(core.extension))[: core.axons]


def _weights(cores: Sequence[CoreImage | None], spec: SystemSpec) -> tuple[NDArray[np.int16], Ints]:
    """Return the folded weights of all cores, equal ones once, and where each core's begin; -1 if none."""
    known: dict[tuple[object, ...], int] = {}
    parts, where, size = [np.zeros(0, np.int16)], np.full(len(cores), -1, np.int64), 0
    for index, core in enumerate(cores):
        weights = _folded(core, spec)
        if weights is None:
            continue
        key = (weights.shape, hashlib.sha256(weights.tobytes()).digest())
        if key not in known:
            known[key] = size
            parts.append(weights.reshape(-1))
            size += weights.size
        where[index] = known[key]
    return np.concatenate(parts), where


def _sizes_of(spec: SystemSpec, cores: Sequence[CoreImage], rows_per_plane: int) -> dict[str, Any]:
    """Return the sizes that kernels read."""
    neurons = sum(core.neurons for core in cores)
    return {
        "apart": neurons if any(map(_is_kept, cores)) else 0,
        "rows_per_plane": rows_per_plane,
        "width": spec.width,
        "height": spec.height,
        "outlets": np.searchsorted(outlets_of(spec.gates), np.arange(spec.width + 1)).astype(np.int64),
        "across": 1 << spec.x_bits,
        "down": 1 << spec.y_bits,
        "low": spec.core.potential_min,
        "high": spec.core.potential_max,
        "payload_bits": spec.core.payload_bits,
        "axon_bits": spec.core.flit_axon_bits,
        "forever": spec.core.refractory_max,
        "integrate_fill": spec.core.integrate_fill,
        "walk_fill": spec.core.walk_fill,
    }


def _ways(spec: SystemSpec) -> dict[str, Any]:
    """Return where packets enter, and where each output of a router leads."""
    topology = topology_of(spec)
    links = np.zeros_like(topology.behind)
    links[topology.links] = 1
    return {"inlets": topology.inlets.copy(), "behind": topology.behind.copy(), "links": links}


def _per_core(cores: Sequence[CoreImage | None], value: Callable[[CoreImage], int]) -> Ints:
    """Return a number of every core, 0 for a disabled one."""
    return np.array([0 if core is None else value(core) for core in cores], np.int64)


def _per_neuron_fields(cores: Sequence[CoreImage], fanout_at: Sequence[int]) -> dict[str, Any]:
    """Return the fields of neuron words and profiles of all neurons; places in lists are of all cores."""
    fields: dict[str, Any] = {
        name: joined([getattr(core, name) for core in cores]) for name in ("bias", "v0", "connected")
    }
    bases = [core.fanout_base + first for core, first in zip(cores, fanout_at, strict=True)]
    profile = {c.name: joined([core.of_profile(c.name) for core in cores]) for c in TABLES[Section.PROFILE]}
    return fields | {
        "fanout_base": joined(bases),
        "reset": profile["reset"],
        "emission": profile["emission"],
        "dynamics": np.stack([profile[name] for name in DYNAMICS], axis=1),
    }


def _places(cores: Sequence[CoreImage | None], spec: SystemSpec) -> dict[str, Any]:
    """Return the sizes of every core, and where its part of each array begins."""
    axons, neurons, digits = (_sizes(cores, name) for name in ("lines", "bias", "strengths"))
    fanouts, schedules = (_sizes(cores, name) for name in ("fanout", "schedule"))
    return {
        "enabled": _per_core(cores, lambda _: 1),
        "axons": axons,
        "neurons": neurons,
        "digits": digits,
        "per_block": _per_core(cores, lambda core: core.neurons_per_block(spec)),
        "blocks": _per_core(cores, lambda core: core.blocks(spec)),
        "axon_at": _offsets(axons),
        "neuron_at": _offsets(neurons),
        "fanout_at": _offsets(fanouts),
        "fanouts": fanouts,
        "schedule_at": _offsets(schedules),
        "schedule_length": schedules,
        "kept": _per_core(cores, lambda core: int(_is_kept(core))),
        "dynamic": _per_core(cores, lambda core: int(_is_dynamic(core))),
        "shifted": _per_core(cores, lambda core: int(core.shifts.any())),
    }


def _synapses(cores: Sequence[CoreImage | None], spec: SystemSpec) -> dict[str, Any]:
    """Return cells, weights and strengths; a neuron whose digits are folded has one column of strength 1."""
    weights, weight_at = _weights(cores, spec)
    whole = [core if at < 0 else None for core, at in zip(cores, weight_at.tolist(), strict=True)]
    cells, cell_at, planes, plane_at = _crossbars(whole)
    strengths = _strengths(cores, spec)
    strengths[weight_at >= 0] = 0
    strengths[weight_at >= 0, 0] = 1
    used = [core for core in cores if core is not None]
    return {
        "columns": np.where(weight_at >= 0, 1, _sizes(cores, "strengths")),
        "cells": cells,
        "cell_at": cell_at,
        "planes": planes,
        "plane_at": plane_at,
        "weights": weights,
        "weight_at": weight_at,
        "strengths": strengths,
        "row_cells": joined([np.count_nonzero(core.cells, axis=1) for core in used]),
        "shift": joined([_shifts(core) for core in used]),
    }


def program_of(image: SystemImage, rows_per_plane: int) -> Program:
    """Return an image as the arrays that the kernels read; `emu.balance` measures ``rows_per_plane``."""
    spec, cores = image.spec, image.cores
    used = [core for core in cores if core is not None]
    places = _places(cores, spec)
    fanout = joined([_targets(core) for core in used], (0, len(TARGET)))
    fanout_at = places["fanout_at"][places["enabled"] > 0].tolist()
    return Program(
        **_sizes_of(spec, used, rows_per_plane),
        **_ways(spec),
        **places,
        **_synapses(cores, spec),
        **_thresholds(cores),
        **_per_neuron_fields(used, fanout_at),
        fanout=fanout,
        only=_only(fanout, spec),
        schedule=joined([core.schedule for core in used], (0, len(TABLES[Section.SCHEDULE]))),
    )


def gateway_room(core: CoreImage, spec: SystemSpec) -> int:
    """Return the most packets that a core can send to the gateway in one step."""
    bases = core.fanout_base[core.connected].astype(np.int64)
    if not len(bases):
        return 0
    targets, entries = core.columns(Section.FANOUT), core.columns(Section.SCHEDULE)
    leaves = np.append(0, np.cumsum(comes_out(spec, targets["x0"], targets["x1"], targets["y1"])))
    ends = np.flatnonzero(targets["last"])
    last = ends[np.searchsorted(ends, bases)]
    unary = core.of_profile("emission")[core.connected] == Emission.UNARY
    copies = np.where(unary, entries["threshold_count"].max(initial=0), 1)
    return int(((leaves[last + 1] - leaves[bases]) * copies).sum())


def _is_kept(core: CoreImage) -> bool:
    """Return whether a neuron of a core keeps something from step to step."""
    kept = core.of_profile("reset") != Reset.CLEAR
    return bool(kept.any() or _is_dynamic(core))


def _is_dynamic(core: CoreImage) -> bool:
    """Return whether a neuron of a core has state or rules that a plain one has not."""
    names = ("current_kept", "potential_decay", "refractory_period")
    options = any(core.of_profile(name).any() for name in names)
    resets = (core.of_profile("reset") >= Reset.VALUE).any()
    return bool(options or resets or any(getattr(core, name).any() for name in STATE_FIELDS[1:]))


def _walks(core: CoreImage) -> NDArray[np.bool_]:
    """Return in which entries of a schedule the neurons are visited."""
    entry = core.columns(Section.SCHEDULE)
    return np.asarray((entry["init"] | entry["update"] | entry["fire"]) != 0)


def _steps(core: CoreImage, entries: NDArray[np.bool_] | slice = slice(None)) -> int:
    """Return how many steps entries of a schedule take, all of them if none are chosen."""
    repeat = core.columns(Section.SCHEDULE)["repeat"][entries]
    return int(np.maximum(repeat.astype(np.int64), 1).sum())


def _begins_afresh(core: CoreImage) -> bool:
    """Return whether nothing before a round of the schedule can be noticed in it, packets apart."""
    walks = _walks(core)
    inits = core.columns(Section.SCHEDULE)["init"][walks]
    return not _is_kept(core) or not len(inits) or bool(inits[0])


def _leaves_packets(core: CoreImage, height: int) -> bool:
    """Return whether the last step of a round may send a packet to a core."""
    entry = core.columns(Section.SCHEDULE)
    above, below = entry["threshold_count"][-1], entry["threshold_first"][-1]
    fires = entry["fire"][-1] and (above > 0 or (below > 0 and core.of_profile("signed").any()))
    return bool(fires and core.connected.any() and (core.columns(Section.FANOUT)["y0"] < height).any())


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
            period = math.lcm(period, _steps(core))
            if period > _LONGEST:
                return None
    return period


def most_records(image: SystemImage, period: int) -> tuple[int, int]:
    """Return the most neuron visits, and packets to the gateway, of a period."""
    visits = packets = 0
    for core in image.cores:
        if core is not None:
            walks = _steps(core, _walks(core)) * (period // _steps(core))
            visits += core.neurons * walks
            packets += gateway_room(core, image.spec) * walks
    return visits, packets
