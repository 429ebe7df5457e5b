# SPDX-License-Identifier: Apache-2.0
"""Random programs of a core, as the fields that `sim_tests.generators.systems.make_core` takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import outlets_of
from emu.spec import THRESHOLDS_A_WORD, CoreSpec, SystemSpec
from emu.tables import columns_of, table_of
from emu.words import RECTANGLE, Emission, Reset, Section

__all__ = ["UNARY", "Rectangle", "Rng", "draw_axon", "draw_rectangle", "full_program", "random_program"]

UNARY = 24
"""Most crossings of a neuron that sends one packet for each."""

Rng = np.random.Generator
Rectangle = tuple[int, int, int, int]
Ints = NDArray[np.int64]


def full_program(rng: Rng, spec: SystemSpec, k: int) -> dict[str, Any]:
    """Return the fields of a program that uses every word, the first and the last of each list too."""
    core, n = spec.core, spec.core.lanes // k * spec.core.words
    each, window = core.fanouts // n, min(4, core.payload_max)
    middle = np.clip(rng.integers(-40, 200, core.thresholds - 2), core.always, core.never)
    entries = {"repeat": 1, "integrate": 1, "update": 1, "fire": 1, "threshold_count": window}
    places = [draw_rectangle(rng, spec) for _ in range(core.fanouts)]
    targets = [
        dict(zip(RECTANGLE, place, strict=True))
        | {"axon": int(rng.integers(core.axons)), "last": at % each == each - 1 and at < (n - 1) * each}
        for at, place in enumerate(places)
    ]
    targets[-1]["last"] = True
    words = core.thresholds // THRESHOLDS_A_WORD - (core.schedule - 1)
    return {
        "crossbar": rng.choice([-1, 0, 1], (core.axons, n * k)),
        "strengths": rng.integers(-4, 5, k),
        "bias": rng.integers(-20, 21, n),
        "v0": rng.integers(-30, 31, n),
        "reset": rng.integers(0, 3, n),
        "threshold_base": THRESHOLDS_A_WORD * np.linspace(0, words - 1, n).astype(int),
        "emission": rng.integers(0, 2, n),
        "thresholds": [core.always, *middle, core.always],
        "fanout_base": np.arange(n) * each,
        "fanout": _table(Section.FANOUT, targets),
        "schedule": _table(
            Section.SCHEDULE,
            [entries | {"init": i == 0, "threshold_first": 4 * i} for i in range(core.schedule)],
        ),
    }


def random_program(rng: Rng, spec: SystemSpec, axons: int, meeting: Rectangle | None) -> dict[str, Any]:
    """Return the fields of a program; with a ``meeting`` place it is busy and most packets go there."""
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
    return dict(
        **_lines(cells),
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


def _lines(cells: NDArray[np.int8]) -> dict[str, NDArray[Any]]:
    """Return a crossbar with these cells by axon; of an odd number of them, equal ones share a line."""
    if len(cells) % 2 == 0 or not cells.size:
        return {"crossbar": cells}
    lines, line = np.unique(cells, axis=0, return_inverse=True)
    used = lines.any(axis=1)
    number = np.where(used, np.cumsum(used) - 1, -1)
    return {"crossbar": lines[used], "lines": number[line.reshape(-1)]}


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
    rectangles = [draw_rectangle(rng, spec) for _ in range(length)]
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
    if spec.core.gateway_axons and place[2:] == (spec.height, spec.height):
        return int(rng.integers(0, (1 << spec.core.flit_axon_bits) - UNARY))
    return draw_axon(rng, spec.core, 16)


def draw_axon(rng: Rng, core: CoreSpec, used: int) -> int:
    """Return an axon that most cores have, and rarely one that no core has, if a flit can name one."""
    beyond = (1 << core.flit_axon_bits) - UNARY
    if beyond > core.axons and rng.random() < 0.02:
        return int(rng.integers(core.axons, beyond))
    return int(rng.integers(0, used))


def draw_rectangle(rng: Rng, spec: SystemSpec) -> Rectangle:
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
    chosen = str(rng.choice(list(shapes), p=[0.42, 0.26, 0.2, 0.08, 0.03, 0.01]))
    if spec.gates is not None and "gateway" in chosen:
        outlet = int(rng.choice(outlets_of(spec.gates)))
        return (outlet, outlet, *shapes[chosen][2:])
    return shapes[chosen]
