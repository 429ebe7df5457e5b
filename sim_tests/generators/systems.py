# SPDX-License-Identifier: Apache-2.0
"""Random systems and stimuli that reach every corner of the contract; `coverage` proves that a batch did.

All choices come from one NumPy generator: the same seed gives the same image and stimulus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.spec import THRESHOLDS_A_WORD, CoreSpec, SystemSpec
from emu.trace import STRAYS, HostPace, Stimulus
from emu.words import (
    PACKET,
    RECTANGLE,
    TABLES,
    Emission,
    Kind,
    Reset,
    Section,
    columns_of,
    table_of,
)
from sim_tests.generators.pool import POOL

__all__ = [
    "POOL",
    "make_core",
    "make_stimulus",
    "make_system",
    "random_system",
]

UNARY = 24
"""Most crossings of a neuron that sends one packet for each."""

Rng = np.random.Generator
Rectangle = tuple[int, int, int, int]
Ints = NDArray[np.int64]


_PROFILE = tuple(c.name for c in TABLES[Section.PROFILE])


def make_core(crossbar: Any, **fields: Any) -> CoreImage:
    """Build a core, every field that is not given with a plain default.

    The defaults: strength 1, no bias, potentials 0, reset by subtraction, unary emission, a neuron is
    connected if there is a fan-out, all neurons use threshold 0 and fan-out entry 0 of the lists, and a
    schedule of one entry that integrates, updates and fires with one threshold.

    Parameters
    ----------
    crossbar : rows of cells, (axons, neurons x strengths).
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
    extension = int(fields.get("extension", 1))
    shared: dict[str, Any] = {
        "strengths": strengths,
        "thresholds": [] if len(fields.get("ladders", [])) else [1],
        "ladders": np.zeros((0, 4), np.int64),
        "schedule": [[1, 0, 1, 1, 1, 0, 1]],
        "pooled": np.zeros(len(cells), bool),
        "extension": extension,
        "shifts": np.zeros(-(-len(cells) // extension), np.uint8),
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


def make_stimulus(steps: int, rows: Sequence[Sequence[int]] = ()) -> Stimulus:
    """Build a stimulus.

    Parameters
    ----------
    steps : number of timesteps.
    rows : step, x0, x1, y0, y1, axon, payload of each packet.
    """
    table = np.array(rows, np.int64).reshape(-1, 1 + len(PACKET))
    return Stimulus(steps=steps, step=table[:, 0], packet=table[:, 1:])


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
    meeting = _rectangle(rng, spec) if rng.random() < 0.5 else None
    cores = [_core(rng, spec, a, meeting) if rng.random() < 0.9 else None for a in axons]
    count = int(rng.integers(6, 21)) if steps is None else steps
    return make_system(spec, *cores), _stimulus(rng, spec, count, min(axons))


def _core(rng: Rng, spec: SystemSpec, axons: int, meeting: Rectangle | None) -> CoreImage:
    """Return a program; with a ``meeting`` place it is busy and most packets go there."""
    core = spec.core
    busy = meeting is not None or rng.random() < 0.2
    k = int(rng.integers(1, core.strengths + 1))
    extension = 1 << int(rng.integers(0, core.max_extension.bit_length()))
    axons = int(rng.integers(1, core.axons * extension + 1)) if rng.random() < 0.5 else axons
    cells, shifts = _cells(rng, core, k=k, axons=axons, extension=extension)
    n = cells.shape[1] // k
    ladder = core.ladder and rng.random() < 0.6
    kinds = _kinds(rng, core, n, ladder)
    quantiser = _ladders(rng, core, n) if ladder else _lists(rng, core, n, busy, kinds)
    limit = core.payload_max if ladder else len(quantiser["thresholds"]) - int(quantiser.pop("reach"))
    schedule = _schedule(rng, core, limit, kinds, quantiser["threshold_base"] if not ladder else None)
    fanout = _fanout(rng, spec, meeting)
    ends = int(np.flatnonzero(columns_of(Section.FANOUT, fanout)["last"])[-1])
    return make_core(
        cells,
        extension=extension,
        shifts=shifts,
        strengths=rng.integers(-(largest := int(rng.choice([5, 128, 2048]))), largest, k),
        **_numbers(rng, core, n),
        **kinds,
        **quantiser,
        connected=rng.random(n) < 0.8,
        fanout_base=rng.integers(0, ends + 1, n),
        fanout=fanout,
        schedule=schedule,
        pooled=rng.random(axons) < 0.5,
    )


def _cells(rng: Rng, core: CoreSpec, *, k: int, axons: int, extension: int) -> tuple[NDArray[np.int8], Ints]:
    """Return the cells of a core and the shifts of its rows; no column can overflow."""
    most = core.lanes // k * (core.words // extension)
    n = 0 if rng.random() < 0.06 else int(rng.integers(1, min(most, 10) + 1))
    n = most if rng.random() < 0.08 else n
    density = rng.choice([0.0, 0.1, 0.4, 0.7, 1.0])
    cells = rng.choice([-1, 0, 1], (axons, n * k), p=[density * 0.4, 1 - density, density * 0.6])
    rows = -(-axons // extension)
    shifts = rng.integers(0, 8, rows) * (rng.random(rows) < 0.5) * core.axon_shifts
    weight = np.repeat(1 << shifts, extension)[:axons] << (core.payload_bits - 1)
    reach = np.cumsum(weight[:, None] * (cells != 0), axis=0)
    return np.where(reach <= core.sum_max, cells, 0).astype(np.int8), shifts


def _numbers(rng: Rng, core: CoreSpec, n: int) -> dict[str, Ints]:
    """Return biases and the states at the start, now and then extreme ones."""
    low, high = core.potential_min, core.potential_max
    current = np.where(rng.random(n) < 0.1, rng.choice([low, high], n), rng.integers(-60, 61, n))
    return {
        "bias": np.where(rng.random(n) < 0.06, rng.choice([low, high], n), rng.integers(-20, 21, n)),
        "v0": np.where(rng.random(n) < 0.1, rng.integers(low, high + 1, n), rng.integers(-30, 31, n)),
        "potential": np.where(rng.random(n) < 0.1, rng.choice([low, high], n), rng.integers(-60, 61, n)),
        "current": current * core.synaptic_current,
        "refractory": rng.integers(0, core.refractory_max + 1, n) * (rng.random(n) < 0.2),
    }


def _kinds(rng: Rng, core: CoreSpec, n: int, ladder: bool) -> dict[str, Ints]:
    """Return the fields of up to four profiles for the neurons."""
    signed = (rng.random(4) < 0.5) & (ladder and core.signed_ladder)
    emission = rng.choice(list(Emission), 4, p=[0.5, 0.3, 0.2])
    if min(core.thresholds, core.payload_max) >= 255 and rng.random() < 0.7:
        emission[:] = Emission.COUNT  # a long window floods the mesh otherwise
    emission = np.where(signed & (emission == Emission.UNARY), Emission.COUNT, emission)
    decay = rng.choice([0, 1, 100, 2048, 4095, 4096], (2, 4))
    kinds = {
        "reset": rng.integers(0, len(Reset), 4),
        "emission": emission,
        "signed": signed,
        "refractory_period": rng.choice([0, 1, 2, core.refractory_max], 4) % (core.refractory_max + 1),
        "potential_decay": decay[0] * core.decay,
        "current_kept": decay[1] * core.synaptic_current,
    }
    chosen = rng.integers(0, 4, n)
    return {name: np.asarray(values, np.int64)[chosen] for name, values in kinds.items()}


def _lists(rng: Rng, core: CoreSpec, n: int, busy: bool, kinds: dict[str, Ints]) -> dict[str, Any]:
    """Return lists of thresholds and where each neuron's begins; its window may reach ``reach`` further."""
    long = min(core.thresholds, core.payload_max) >= 255 and bool((kinds["emission"] == Emission.COUNT).all())
    thresholds = np.clip(_thresholds(rng, core, long) - (120 if busy else 0), core.always, core.never)
    words = len(thresholds) // THRESHOLDS_A_WORD
    begins = rng.integers(0, min(words, 3) + 1, n) * THRESHOLDS_A_WORD if words else np.zeros(n, np.int64)
    if rng.random() < 0.3:  # windows inside a word
        begins = begins + rng.integers(0, THRESHOLDS_A_WORD, n)
    begins = np.minimum(begins, max(0, len(thresholds) - 1))
    return {"thresholds": thresholds, "threshold_base": begins, "reach": int(begins.max(initial=0))}


def _ladders(rng: Rng, core: CoreSpec, n: int) -> dict[str, Any]:
    """Return a few ladders of any step, ties to even or not, and which one each neuron has."""
    words = min(core.thresholds // THRESHOLDS_A_WORD, 6)
    fraction = core.fraction_bits
    ties = rng.integers(0, 2, words)
    step = rng.choice([0, 1, 7, 40], words) << fraction
    step = np.maximum(step + rng.integers(0, 1 << fraction, words), ties << (fraction - core.payload_bits))
    first = np.where(
        rng.random(words) < 0.1, rng.choice([core.always, core.never], words), rng.integers(-60, 60, words)
    )
    ladders = np.stack([first, step, rng.integers(0, 1 << fraction, words), ties], axis=1)
    return {"ladders": ladders, "threshold_base": THRESHOLDS_A_WORD * rng.integers(0, words, n)}


def _thresholds(rng: Rng, core: CoreSpec, long: bool) -> Ints:
    """Return a shared list, sorted in parts, with "never", "always" and saturating values now and then.

    A ``long`` one is mostly longer than what a step can compare, and a potential crosses any number of it.
    """
    if long and rng.random() < 0.7:
        return np.sort(rng.integers(-300, 200, min(core.thresholds, 300)))
    values = rng.integers(-40, 200, min(core.thresholds, int(rng.integers(1, 25))))
    if rng.random() < 0.7:
        values = np.sort(values)
    extreme = rng.choice([core.never, core.always, core.potential_max], len(values))
    return np.where(rng.random(len(values)) < 0.08, extreme, values)


def _window(rng: Rng, most: int) -> int:
    """Return how many thresholds are compared: 0, 1, 4, 5, any, and as many as there may be."""
    return min(most, int(rng.choice([0, 1, 2, 3, 4, 5, 4, 5, *[most] * (4 if most > 127 else 1)])))


def _schedule(rng: Rng, core: CoreSpec, limit: int, kinds: dict[str, Ints], begins: Ints | None) -> Ints:
    """Return the steps; few thresholds where a neuron is unary: it would flood the mesh.

    Parameters
    ----------
    limit : thresholds that every neuron has.
    kinds : fields of the neurons' profiles.
    begins : where the list of each neuron begins; None with ladders.
    """
    emission, most = kinds["emission"], min(255, limit)
    most = min(most, core.payload_max) if (emission == Emission.COUNT).any() else most
    most = min(most, UNARY) if (emission == Emission.UNARY).any() else most
    rows: list[dict[str, int]] = []
    for index in range(int(rng.integers(1, min(core.schedule, 5) + 1))):
        init = rng.random() < (0.4 if index == 0 else 0.2)
        integrate, update, fire = rng.random(3) < 0.85
        first, g = _aligned(rng, limit, most, begins)
        if begins is None:
            first = int(rng.integers(0, -core.payload_min + 1))
        if not fire:  # the fields are not used then, whatever they hold
            first, g = (int(v) for v in rng.integers(0, 256, 2))
        flags = {"init": init, "integrate": integrate and update, "update": update, "fire": fire}
        numbers = {
            "reset_value": int(
                rng.integers(core.potential_min, core.potential_max + 1) >> rng.integers(0, 7)
            ),
            "emit": int(rng.integers(1, core.payload_max + 1) * rng.choice([-1, 1])),
        }
        entry = {"repeat": int(rng.integers(1, 4)), "threshold_first": first, "threshold_count": g}
        rows.append({**entry, **flags, **numbers})
    return _table(Section.SCHEDULE, rows)


def _aligned(rng: Rng, limit: int, most: int, begins: Ints | None) -> tuple[int, int]:
    """Return first and count of a window that begins at a word or lies within one, for every neuron."""
    g = _window(rng, most)
    if begins is None:
        return 0, g
    first = int(rng.integers(0, min(255, limit - g) + 1))
    if rng.random() < 0.8:
        first -= first % THRESHOLDS_A_WORD
    places = (np.unique(begins) + first) % THRESHOLDS_A_WORD
    if ((places != 0) & (places + g > THRESHOLDS_A_WORD)).any():
        g = min(g, int((THRESHOLDS_A_WORD - places).min()))
    return first, g


def _table(section: Section, rows: Sequence[dict[str, int]]) -> Ints:
    """Return words by field name as a table."""
    return table_of(section, {name: [row[name] for row in rows] for name in rows[0]}).astype(np.int64)


def _fanout(rng: Rng, spec: SystemSpec, meeting: Rectangle | None) -> Ints:
    """Return entries; with a meeting place most go there, several of each neuron."""
    length = int(rng.integers(1, 13))
    ends = 0.6 if meeting is None else 0.2
    rectangles = [_rectangle(rng, spec) for _ in range(length)]
    if meeting is not None:
        rectangles = [meeting if rng.random() < 0.7 else r for r in rectangles]
    rows = [
        dict(zip(RECTANGLE, r, strict=True))
        | {"axon": _axon(rng, spec.core, 16), "last": rng.random() < ends}
        for r in rectangles
    ]
    rows[-1]["last"] = True
    return _table(Section.FANOUT, rows)


def _axon(rng: Rng, core: CoreSpec, used: int) -> int:
    """Return an axon that most cores have, and rarely one that no core has, if a flit can name one."""
    beyond = (1 << core.flit_axon_bits) - UNARY
    if beyond > core.axons and rng.random() < 0.02:
        return int(rng.integers(core.axons, beyond))
    return int(rng.integers(0, used))


def _rectangle(rng: Rng, spec: SystemSpec) -> Rectangle:
    """Return a core, a rectangle, the gateway, both, and rarely one that leaves the mesh or is empty."""
    right, bottom = spec.width - 1, spec.height - 1
    x0, x1 = (int(v) for v in np.sort(rng.integers(0, right + 1, 2)))
    y0, y1 = (int(v) for v in np.sort(rng.integers(0, bottom + 1, 2)))
    shapes = {
        "core": (x0, x0, y0, y0),
        "rectangle": (x0, x1, y0, y1),
        "gateway": (0, 0, spec.height, spec.height),
        "column and gateway": (0, 0, y0, spec.height),
        "outside": (x0, x1, y0, spec.height),
        "empty": (x1, x0, y1, y0),
    }
    chosen = rng.choice(list(shapes), p=[0.42, 0.26, 0.2, 0.08, 0.03, 0.01])
    return shapes[str(chosen)]


def _stimulus(rng: Rng, spec: SystemSpec, steps: int, axons: int) -> Stimulus:
    """Return packets to cores, often several for one axon, none in some steps, many in others."""
    rows: list[tuple[int, ...]] = []
    for step in range(steps):
        packets = int(rng.choice([0, 2, 6, 20], p=[0.25, 0.3, 0.35, 0.1]))
        for _ in range(packets):
            x0, x1, y0, y1 = _rectangle(rng, spec)
            if y1 == spec.height and x0 == 0:  # what the host sends to itself has no step
                x0, x1, y0, y1 = 0, spec.width - 1, 0, spec.height - 1
            payload = int(rng.integers(spec.core.payload_min, spec.core.payload_max + 1))
            axon = _axon(rng, spec.core, max(1, axons if rng.random() < 0.5 else 3))
            rows.append((step, x0, x1, y0, y1, axon, payload))
    if rng.random() < 0.4:
        rows, kinds = _with_strays(rng, spec, steps, rows)
    else:
        kinds = [int(Kind.SPIKE)] * len(rows)
    table = np.array(rows, np.int64).reshape(-1, 7)
    period = int(rng.integers(2, 6)) if rng.random() < 0.5 else 1
    pace = HostPace(period=period, taken=int(rng.integers(1, max(2, period))))
    return Stimulus(steps=steps, step=table[:, 0], packet=table[:, 1:], kind=np.array(kinds), host=pace)


def _with_strays(
    rng: Rng, spec: SystemSpec, steps: int, rows: list[tuple[int, ...]]
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Put control packets among the others, some right behind a token; return all kinds."""
    marked = [(row, int(Kind.SPIKE)) for row in rows]
    for step in range(1, steps):
        if rng.random() < 0.5:
            continue
        x0, x1, y0, y1 = _rectangle(rng, spec)
        if y1 == spec.height:
            y0 = y1 = int(rng.integers(0, spec.height))
        data = (_axon(rng, spec.core, 16), int(rng.integers(0, spec.core.payload_max + 1)))
        of_step = [at for at, (row, _) in enumerate(marked) if row[0] == step]
        first = of_step[0] if of_step else sum(row[0] < step for row, _ in marked)
        at = first + int(rng.integers(0, len(of_step) + 1)) * int(rng.integers(2))
        marked.insert(at, ((step, x0, x1, y0, y1, *data), int(rng.choice(np.array(STRAYS, np.int64)))))
    return [row for row, _ in marked], [kind for _, kind in marked]
