# SPDX-License-Identifier: Apache-2.0
"""Random systems and stimuli that reach every corner of the contract; `coverage` proves that a batch did.

All choices come from one NumPy generator: the same seed gives the same image and stimulus.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import outlets_of
from emu.image import CoreImage, SystemImage
from emu.spec import CoreSpec, SystemSpec
from emu.topology import alive, entries_of, meets_dead, topology_of
from emu.trace import STRAYS, HostPace, Stimulus
from emu.words import (
    PACKET,
    RECTANGLE,
    TABLES,
    Emission,
    Kind,
    Reset,
    Section,
)
from sim_tests.generators.pool import POOL
from sim_tests.generators.programs import Rng, draw_axon, draw_rectangle, full_program, random_program

__all__ = [
    "POOL",
    "full_system",
    "make_core",
    "make_stimulus",
    "make_system",
    "random_system",
]

_PROFILE = tuple(c.name for c in TABLES[Section.PROFILE])


def make_core(crossbar: Any, **fields: Any) -> CoreImage:
    """Build a core, every field that is not given with a plain default.

    The defaults: strength 1, no bias, potentials 0, reset by subtraction, unary emission, a neuron is
    connected if there is a fan-out, all neurons use threshold 0 and fan-out entry 0 of the lists, and a
    schedule of one entry that integrates, updates and fires with one threshold.

    Parameters
    ----------
    crossbar : rows of cells, (lines, neurons x strengths); without ``lines`` a row is an axon.
    fields : any field of `CoreImage` but the profiles; instead, any field of a profile. A field of the
        neurons or of their profiles may be one number for all of them. Fields that a row of the schedule
        leaves out at its end are 0.

    >>> make_core([[1, -1]], thresholds=[3], emission=Emission.COUNT).profiles.tolist()
    [[2, 0, 0, 0, 0, 0]]
    """
    cells = np.array(crossbar, np.int8, ndmin=2)
    strengths = fields.get("strengths", [1])
    neurons = cells.shape[1] // len(strengths)
    fanout = np.array(fields.get("fanout", []), np.int32).reshape(-1, len(TABLES[Section.FANOUT]))
    names = [c.name for section in (Section.NEURON, Section.STATE) for c in TABLES[section]]
    each: dict[str, Any] = dict.fromkeys([*names, *_PROFILE], 0)
    each |= {"reset": Reset.SUBTRACT, "emission": Emission.UNARY, "connected": len(fanout) > 0}
    del each["profile"]
    lines = np.asarray(fields.get("lines", np.arange(len(cells))))
    extension = int(fields.get("extension", 1))
    shared: dict[str, Any] = {
        "strengths": strengths,
        "thresholds": [] if len(fields.get("ladders", [])) else [1],
        "ladders": np.zeros((0, 4), np.int64),
        "schedule": [[1, 0, 1, 1, 1, 0, 1]],
        "pooled": np.zeros(len(lines), bool),
        "extension": extension,
        "shifts": np.zeros(-(-len(lines) // extension), np.uint8),
        "lines": lines,
    }
    for name in set(fields) - set(each) - set(shared) - {"fanout"}:
        raise TypeError(f"a core has no field {name!r}; see docs/reference/image.md")
    per_neuron = {name: np.broadcast_to(fields.get(name, value), (neurons,)) for name, value in each.items()}
    lists = {name: np.asarray(fields.get(name, value)) for name, value in shared.items()}
    lists["schedule"] = _padded(lists["schedule"])
    profiles, profile = _profiles([per_neuron.pop(name) for name in _PROFILE])
    return CoreImage(crossbar=cells, fanout=fanout, profiles=profiles, profile=profile, **per_neuron, **lists)


def _padded(schedule: NDArray[Any]) -> NDArray[np.int32]:
    """Return a schedule with all columns; those that are not given are 0."""
    table = np.zeros((len(schedule), len(TABLES[Section.SCHEDULE])), np.int32)
    table[:, : schedule.shape[1]] = schedule
    return table


def _profiles(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct profiles of neurons, at least one, and which of them each neuron has."""
    rows = np.stack([np.asarray(column, np.int32) for column in columns], axis=1)
    if not len(rows):
        return np.zeros((1, len(columns)), np.int32), np.zeros(0, np.int32)
    profiles, profile = np.unique(rows, axis=0, return_inverse=True)
    return profiles, profile.reshape(-1).astype(np.int32)


def make_system(spec: SystemSpec, *cores: CoreImage | None) -> SystemImage:
    """Build an image without tables for the host.

    Parameters
    ----------
    spec : sizes of the chip.
    cores : one program per core in index order, None for a disabled core.
    """
    return SystemImage(
        spec=spec,
        cores=cores,
        input_element=np.zeros(0, np.int32),
        input_packet=np.zeros((0, len(RECTANGLE) + 1), np.int32),
        output_element=np.zeros(0, np.int32),
    )


def make_stimulus(steps: int, rows: Sequence[Sequence[int]] = (), *, inlet: Sequence[int] = ()) -> Stimulus:
    """Build a stimulus.

    Parameters
    ----------
    steps : number of timesteps.
    rows : step, x0, x1, y0, y1, axon, payload of each packet.
    inlet : by which each packet enters; all by the first one if empty.
    """
    table, by = np.array(rows, np.int64).reshape(-1, 1 + len(PACKET)), np.array(inlet, np.int64)
    return Stimulus(steps=steps, step=table[:, 0], packet=table[:, 1:], inlet=by)


def random_system(
    seed: int,
    *,
    max_width: int = 3,
    max_height: int = 3,
    core: CoreSpec | None = None,
    spec: SystemSpec | None = None,
    steps: int | None = None,
) -> tuple[SystemImage, Stimulus]:
    """Return a random image and stimulus.

    Parameters
    ----------
    seed : of all choices.
    max_width, max_height : largest mesh taken from `POOL`.
    core : take systems of `POOL` with this core only; if there is none, this core on 2 x 2 within the limits.
    spec : take this system, whether it is in `POOL` or not.
    steps : timesteps of the run; random, 6..20, if None.

    Returns
    -------
    A checked image and a stimulus for it. Activity is bounded: nothing in the machine can run forever.
    """
    rng = np.random.default_rng(seed)
    fits = [s for s in POOL if s.width <= max_width and s.height <= max_height and core in (None, s.core)]
    if not fits and core is not None:
        fits = [SystemSpec(core=core, width=min(2, max_width), height=min(2, max_height))]
    chosen = fits[int(rng.integers(len(fits)))]
    spec = chosen if spec is None else spec
    axons = [int(rng.integers(1, spec.core.axons + 1)) for _ in range(spec.cores)]
    meeting = draw_rectangle(rng, spec) if rng.random() < 0.5 else None
    cores = [
        make_core(**random_program(rng, spec, a, meeting)) if rng.random() < 0.9 else None for a in axons
    ]
    cores = _with_twins(np.random.default_rng([seed, 0x7713]), cores)
    cores = _around_dead(np.random.default_rng([seed, 0xDEAD]), spec, cores)
    count = int(rng.integers(6, 21)) if steps is None else steps
    return make_system(spec, *cores), _stimulus(rng, spec, count, min(axons))


def _with_twins(rng: Rng, cores: Sequence[CoreImage | None]) -> list[CoreImage | None]:
    """Let cores of most systems hold the same as the largest one, now and then in another order."""
    enabled = [at for at, core in enumerate(cores) if core is not None]
    found = list(cores)
    if len(enabled) < 2 or rng.random() < 0.1:
        return found
    first = max((core for core in cores if core is not None), key=lambda core: core.cells.size)
    movable = int(first.extension) == 1 and not first.shifts.any()
    others = rng.permutation([at for at in enabled if cores[at] is not first])
    for at in others[: int(rng.integers(1, len(enabled)))].tolist():
        moved = movable and rng.random() < 0.7
        order = rng.permutation(first.axons) if moved else np.arange(first.axons)
        found[at] = dataclasses.replace(first, lines=first.lines[order])
    return found


def _around_dead(rng: Rng, spec: SystemSpec, cores: Sequence[CoreImage | None]) -> list[CoreImage | None]:
    """Take programs out of cores that are dead or cut off, and packets off the ways that are."""
    present = alive(spec).reshape(-1)
    found = [core if here else None for core, here in zip(cores, present, strict=True)]
    for index, core in enumerate(found):
        if core is not None and spec.dead is not None:
            start = np.array([index % spec.width, index // spec.width])
            fanout = core.fanout.copy()
            fanout[:, : len(RECTANGLE)] = _on_live_ways(rng, spec, start, fanout[:, : len(RECTANGLE)])
            found[index] = dataclasses.replace(core, fanout=fanout)
    return found


def _on_live_ways(rng: Rng, spec: SystemSpec, start: NDArray[Any], rectangles: NDArray[Any]) -> NDArray[Any]:
    """Return rectangles with a core that can be reached in the place of each that cannot."""
    wrong = np.flatnonzero(meets_dead(spec, start, rectangles))
    y, x = np.nonzero(alive(spec))
    single = np.column_stack((x, x, y, y))
    found, start = rectangles.copy(), np.broadcast_to(start, (len(rectangles), 2))
    for entry in np.unique(start[wrong], axis=0):
        here = wrong[(start[wrong] == entry).all(axis=1)]
        reached = single[~meets_dead(spec, entry, single)]
        if len(reached):  # an inlet may be cut off from all cores
            found[here] = reached[rng.integers(0, len(reached), len(here))]
    return found


def full_system(seed: int, spec: SystemSpec, strengths: int) -> tuple[SystemImage, Stimulus]:
    """Return an image that uses every word of every memory, and a stimulus that comes to the last axons.

    Parameters
    ----------
    seed : of the values; the sizes are the largest.
    spec : of the chip.
    strengths : columns of a neuron.
    """
    rng, core = np.random.default_rng(seed), spec.core
    steps = core.schedule + 2  # the schedule begins again
    packets = _stimulus(rng, spec, steps, core.axons).spikes()
    last = [
        (step, 0, spec.width - 1, 0, spec.height - 1, core.axons - 1, payload)
        for step, payload in enumerate((core.payload_max, core.payload_min))
    ]
    rows = np.vstack([np.column_stack((packets.step, packets.packet)), last])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    cores = [make_core(**full_program(rng, spec, strengths)) for _ in range(spec.cores)]
    return make_system(spec, *cores), make_stimulus(steps, rows.tolist())


def _stimulus(rng: Rng, spec: SystemSpec, steps: int, axons: int) -> Stimulus:
    """Return packets to cores, often several for one axon, none in some steps, many in others."""
    rows: list[tuple[int, ...]] = []
    for step in range(steps):
        packets = int(rng.choice([0, 2, 6, 20], p=[0.25, 0.3, 0.35, 0.1]))
        for _ in range(packets):
            x0, x1, y0, y1 = draw_rectangle(rng, spec)
            comes_out = any(x0 <= x <= x1 for x in outlets_of(spec.gates))
            if y1 == spec.height and comes_out:  # what the host sends to itself has no step
                x0, x1, y0, y1 = 0, spec.width - 1, 0, spec.height - 1
            payload = int(rng.integers(spec.core.payload_min, spec.core.payload_max + 1))
            axon = draw_axon(rng, spec.core, max(1, axons if rng.random() < 0.5 else 3))
            rows.append((step, x0, x1, y0, y1, axon, payload))
    if rng.random() < 0.4:
        rows, kinds = _with_strays(rng, spec, steps, rows)
    else:
        kinds = [int(Kind.SPIKE)] * len(rows)
    table = np.array(rows, np.int64).reshape(-1, 7)
    inlets = len(topology_of(spec).inlets)
    inlet = rng.integers(0, inlets, len(table)) if inlets > 1 else np.zeros(len(table), np.int64)
    if spec.dead is not None:
        tame = rng.random(len(table)) < 0.7  # the others may meet what is dead
        table[tame, 1:5] = _on_live_ways(rng, spec, entries_of(spec)[inlet[tame]], table[tame, 1:5])
    period = int(rng.integers(2, 6)) if rng.random() < 0.5 else 1
    pace = HostPace(period=period, taken=int(rng.integers(1, max(2, period))))
    kind, at, packet = np.array(kinds), table[:, 0], table[:, 1:]
    return Stimulus(steps=steps, step=at, packet=packet, kind=kind, host=pace, inlet=inlet)


def _with_strays(
    rng: Rng, spec: SystemSpec, steps: int, rows: list[tuple[int, ...]]
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Put control packets among the others, some right behind a token; return all kinds."""
    marked = [(row, int(Kind.SPIKE)) for row in rows]
    for step in range(1, steps):
        if rng.random() < 0.5:
            continue
        x0, x1, y0, y1 = draw_rectangle(rng, spec)
        if y1 == spec.height:
            y0 = y1 = int(rng.integers(0, spec.height))
        data = (draw_axon(rng, spec.core, 16), int(rng.integers(0, spec.core.payload_max + 1)))
        of_step = [at for at, (row, _) in enumerate(marked) if row[0] == step]
        first = of_step[0] if of_step else sum(row[0] < step for row, _ in marked)
        at = first + int(rng.integers(0, len(of_step) + 1)) * int(rng.integers(2))
        marked.insert(at, ((step, x0, x1, y0, y1, *data), int(rng.choice(np.array(STRAYS, np.int64)))))
    return [row for row, _ in marked], [kind for _, kind in marked]
