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
from emu.spec import PRESETS, CoreSpec, SystemSpec
from emu.trace import STRAYS, HostPace, Stimulus
from emu.words import PACKET, RECTANGLE, TABLES, Kind, Reset, Section, columns_of, table_of

__all__ = [
    "POOL",
    "full_system",
    "make_core",
    "make_stimulus",
    "make_system",
    "random_system",
]

WIDE = CoreSpec(
    axons=40,
    columns=64,
    lanes=16,
    payload_bits=5,
    potential_bits=9,
    strengths=3,
    thresholds=64,
    fanouts=48,
    schedule=6,
)
"""A core whose axons are no power of two and whose potentials saturate soon."""

FULL = CoreSpec(
    axons=100,
    columns=32,
    lanes=8,
    payload_bits=9,
    potential_bits=28,
    strengths=3,
    thresholds=300,
    fanouts=48,
    schedule=6,
)
"""A core whose axon ids fill the flit, with potentials wider than any drive and 255 thresholds a step."""

LEAST = CoreSpec(
    axons=2, columns=8, lanes=8, payload_bits=2, potential_bits=8, strengths=1,
    thresholds=6, fanouts=8, schedule=2,
)  # fmt: skip
"""The least of nearly every size: what a chip needs to be a chip."""

UNARY = 24
"""Most crossings of a neuron that sends one packet for each."""

TINY = PRESETS["tiny"]
POOL: tuple[SystemSpec, ...] = (
    SystemSpec(core=TINY, width=1, height=1),
    SystemSpec(core=TINY, width=2, height=1),
    SystemSpec(core=TINY, width=2, height=2),
    SystemSpec(core=TINY, width=3, height=2),
    SystemSpec(core=TINY, width=3, height=3),
    SystemSpec(core=WIDE, width=2, height=2),
    SystemSpec(core=FULL, width=1, height=2),
)
"""The systems that `random_system` draws from: few, because a hardware build of each is kept."""

Rng = np.random.Generator
Rectangle = tuple[int, int, int, int]
Ints = NDArray[np.int64]


def make_core(crossbar: Any, **fields: Any) -> CoreImage:
    """Build a core, every field that is not given with a plain default.

    The defaults: strength 1, no bias, potentials 0, reset by subtraction, unary emission, a neuron is
    connected if there is a fan-out, all neurons use threshold 0 and fan-out entry 0 of the lists, and a
    schedule of one entry that integrates, updates and fires with one threshold.

    Parameters
    ----------
    crossbar : rows of cells, (axons, neurons x strengths).
    fields : any field of `CoreImage`; a field of the neurons may be one number for all of them.

    >>> make_core([[1, -1]], thresholds=[3]).neurons
    2
    """
    cells = np.array(crossbar, np.int8, ndmin=2)
    strengths = fields.get("strengths", [1])
    neurons = cells.shape[1] // len(strengths)
    fanout = np.array(fields.get("fanout", []), np.int32).reshape(-1, len(TABLES[Section.FANOUT]))
    names = [c.name for section in (Section.NEURON, Section.STATE) for c in TABLES[section]]
    each: dict[str, Any] = dict.fromkeys(names, 0)
    each |= {"reset": Reset.SUBTRACT, "connected": len(fanout) > 0}
    shared: dict[str, Any] = {
        "strengths": strengths,
        "thresholds": [1],
        "schedule": [[1, 0, 1, 1, 1, 0, 1]],
        "pooled": np.zeros(len(cells), bool),
    }
    for name in set(fields) - set(each) - set(shared) - {"fanout"}:
        raise TypeError(f"a core has no field {name!r}; see docs/reference/image.md")
    per_neuron = {name: np.broadcast_to(fields.get(name, value), (neurons,)) for name, value in each.items()}
    lists = {name: np.asarray(fields.get(name, value)) for name, value in shared.items()}
    return CoreImage(crossbar=cells, fanout=fanout, **per_neuron, **lists)


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
    cores = [_full_core(rng, spec, strengths) for _ in range(spec.cores)]
    return make_system(spec, *cores), make_stimulus(steps, rows.tolist())


def _full_core(rng: Rng, spec: SystemSpec, k: int) -> CoreImage:
    """Return a program without an unused word; the first and the last word of each list are used."""
    core, n = spec.core, spec.core.columns // k
    each, window = core.fanouts // n, min(4, core.payload_max)
    middle = np.clip(rng.integers(-40, 200, core.thresholds - 2), core.always, core.never)
    entries = {"repeat": 1, "integrate": 1, "update": 1, "fire": 1, "threshold_count": window}
    places = [_rectangle(rng, spec) for _ in range(core.fanouts)]
    targets = [
        dict(zip(RECTANGLE, place, strict=True))
        | {"axon": int(rng.integers(core.axons)), "last": at % each == each - 1 and at < (n - 1) * each}
        for at, place in enumerate(places)
    ]
    targets[-1]["last"] = True
    return make_core(
        rng.choice([-1, 0, 1], (core.axons, n * k)),
        strengths=rng.integers(-4, 5, k),
        bias=rng.integers(-20, 21, n),
        v0=rng.integers(-30, 31, n),
        reset=rng.integers(0, 3, n),
        threshold_base=np.linspace(0, core.thresholds - window - (core.schedule - 1), n).astype(int),
        count_emission=rng.random(n) < 0.5,
        thresholds=[core.always, *middle, core.always],
        fanout_base=np.arange(n) * each,
        fanout=_table(Section.FANOUT, targets),
        schedule=_table(
            Section.SCHEDULE,
            [entries | {"init": at == 0, "threshold_first": at} for at in range(core.schedule)],
        ),
    )


def _core(rng: Rng, spec: SystemSpec, axons: int, meeting: Rectangle | None) -> CoreImage:
    """Return a program; with a ``meeting`` place it is busy and most packets go there."""
    core = spec.core
    busy = meeting is not None or rng.random() < 0.2
    k = int(rng.integers(1, core.strengths + 1))
    n = 0 if rng.random() < 0.06 else int(rng.integers(1, min(core.columns // k, 10) + 1))
    n = core.columns // k if rng.random() < 0.05 else n
    density = rng.choice([0.0, 0.1, 0.4, 0.7, 1.0])
    cells = rng.choice([-1, 0, 1], (axons, n * k), p=[density * 0.4, 1 - density, density * 0.6])
    low, high = core.potential_min, core.potential_max
    long = min(core.thresholds, core.payload_max) >= 255
    count = rng.random(n) < rng.choice([0.5, 1.0, 1.0] if long else [0.0, 0.5, 1.0])
    thresholds = _thresholds(rng, core, long and bool(count.all())) - (120 if busy else 0)
    thresholds = np.clip(thresholds, core.always, core.never)
    schedule = _schedule(rng, core, len(thresholds), count)
    entry = columns_of(Section.SCHEDULE, schedule)
    reach = int((entry["threshold_first"] + entry["threshold_count"])[entry["fire"] > 0].max(initial=0))
    fanout = _fanout(rng, spec, meeting)
    ends = int(np.flatnonzero(columns_of(Section.FANOUT, fanout)["last"])[-1])
    largest = rng.choice([4, 127])
    return make_core(
        cells,
        strengths=rng.integers(-largest - 1, largest + 1, k),
        bias=np.where(rng.random(n) < 0.06, rng.choice([low, high], n), rng.integers(-20, 21, n)),
        v0=np.where(rng.random(n) < 0.1, rng.integers(low, high + 1, n), rng.integers(-30, 31, n)),
        potential=np.where(rng.random(n) < 0.1, rng.choice([low, high], n), rng.integers(-60, 61, n)),
        reset=rng.integers(0, 3, n),
        count_emission=count,
        connected=rng.random(n) < 0.8,
        threshold_base=rng.integers(0, len(thresholds) - reach + 1, n),
        fanout_base=rng.integers(0, ends + 1, n),
        thresholds=thresholds,
        fanout=fanout,
        schedule=schedule,
        pooled=rng.random(axons) < 0.5,
    )


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
    return min(most, int(rng.choice([0, 1, 2, 3, 4, 5, 4, 5, most])))


def _schedule(rng: Rng, core: CoreSpec, thresholds: int, count: NDArray[np.bool_]) -> Ints:
    """Return the steps; few thresholds where a neuron does not ``count``: it would flood the mesh."""
    rows: list[dict[str, int]] = []
    most = min(thresholds, 255, core.payload_max if count.any() else 255, 255 if count.all() else UNARY)
    for index in range(int(rng.integers(1, min(core.schedule, 5) + 1))):
        init = rng.random() < (0.4 if index == 0 else 0.2)
        integrate, update, fire = rng.random(3) < 0.85
        g = _window(rng, most)
        first = int(rng.integers(0, min(255, thresholds - g) + 1))
        if not fire:  # the fields are not used then, whatever they hold
            first, g = (int(v) for v in rng.integers(0, 256, 2))
        entry = {"repeat": int(rng.integers(1, 4)), "init": init, "integrate": integrate, "update": update}
        rows.append(entry | {"fire": fire, "threshold_first": first, "threshold_count": g})
    return _table(Section.SCHEDULE, rows)


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
        dict(zip(RECTANGLE, r, strict=True)) | {"axon": _name(rng, spec, r), "last": rng.random() < ends}
        for r in rectangles
    ]
    rows[-1]["last"] = True
    return _table(Section.FANOUT, rows)


def _name(rng: Rng, spec: SystemSpec, place: Rectangle) -> int:
    """Return an axon for a fan-out entry: at the gateway of a chip with wide flits any that fits."""
    x, y = spec.gateway
    if spec.core.gateway_axons and place == (x, x, y, y):
        return int(rng.integers(0, (1 << spec.core.flit_axon_bits) - UNARY))
    return _axon(rng, spec.core, 16)


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
