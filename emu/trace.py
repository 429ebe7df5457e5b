# SPDX-License-Identifier: Apache-2.0
"""What goes into a run and what comes out: stimulus, result, and `diff`, which names the first divergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emu.spec import MOST_STEPS
from emu.words import COUNTERS, PACKET, STATE_FIELDS, Kind

__all__ = [
    "ACTIVITY_COUNTERS",
    "PLURAL",
    "STRAYS",
    "VISIT",
    "Divergence",
    "HostPace",
    "RunResult",
    "Stimulus",
    "compared",
    "diff",
]

STRAYS: tuple[int, ...] = (Kind.POINTER_HIGH, Kind.POINTER_LOW, Kind.WRITE, Kind.READ, 7)
"""Kinds of packets that are errors while a core runs; 7 is unknown and always one."""

ACTIVITY_COUNTERS = ("integrate", "update", "send_stall", "token_wait", "paused")
"""Counters of clock cycles; a functional run has none of them."""

PLURAL = {"potential": "potentials", "current": "currents", "refractory": "refractory counts"}
"""What a part of a result is called, by field of a state word."""

VISIT = ("step", "core", "neuron", *STATE_FIELDS)
"""Columns of a table of visited neurons: the place, and the state that was stored."""

Array = NDArray[np.int64]


def _frozen(array: object, dimensions: int) -> Array:
    out = np.array(array, np.int64, ndmin=dimensions)
    out.flags.writeable = False
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPace:
    """When the host takes what leaves the chip: in the first ``taken`` of every ``period`` cycles.

    Cycle 0 is the one in which the host offers the first flit of the run.
    """

    period: int = 1
    taken: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.taken <= self.period:
            raise ValueError(f"taken must be 1..{self.period}, the period, not {self.taken}.")

    def accepts(self, cycle: int) -> bool:
        """Return whether the host takes a flit in a cycle.

        >>> [HostPace(period=3, taken=2).accepts(cycle) for cycle in range(4)]
        [True, True, False, True]
        """
        return cycle % self.period < self.taken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stimulus:
    """Packets that the host feeds, in the order in which it feeds them, and how it takes what comes out.

    Parameters
    ----------
    steps : int
        Number of timesteps of the run.
    step : int64 (p,)
        Non-decreasing, the step in which packet p is integrated, 0..steps - 1.
    packet : int64 (p, 6)
        x0, x1, y0, y1, axon, payload.
    kind : int64 (p,)
        `emu.words.Kind` of each packet, all spikes by default. Any other is a *stray*: a control packet,
        whose data are axon and payload all the same, at a time at which it is an error.
    host : HostPace
        When the host takes a flit.
    inlet : int64 (p,)
        The inlet by which each packet enters, all by the first one by default.

    Attributes
    ----------
    strays : bool (p,)
        Which packets are no spikes.
    """

    steps: int
    step: Array
    packet: Array
    kind: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    host: HostPace = field(default_factory=HostPace)
    inlet: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    strays: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", _frozen(self.step, 1))
        object.__setattr__(self, "packet", _frozen(self.packet, 2).reshape(-1, len(PACKET)))
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps must be 1..{MOST_STEPS}, not {self.steps}.")
        if len(self.step) != len(self.packet):
            raise ValueError(
                f"packet must have one row for each of the {len(self.step)} steps, not {len(self.packet)}."
            )
        if len(self.step) and (
            np.any(np.diff(self.step) < 0) or self.step[0] < 0 or self.step[-1] >= self.steps
        ):
            raise ValueError(f"step must be non-decreasing within 0..{self.steps - 1}.")
        for name in ("kind", "inlet"):
            given = getattr(self, name)
            values = _frozen(given if len(given) else np.zeros(len(self.step), np.int64), 1)
            object.__setattr__(self, name, values)
            if len(values) != len(self.step):
                raise ValueError(
                    f"{name} must have {len(self.step)} entries, one a packet, not {len(values)}."
                )
        object.__setattr__(self, "strays", self.kind != Kind.SPIKE)
        for name, wrong in (
            ("inlet must be at least 0", self.inlet < 0),
            ("kind must be 0, 2..5 or 7", ~np.isin(self.kind, STRAYS) & (self.kind != Kind.SPIKE)),
            ("step of a control packet must be at least 1", self.strays & (self.step < 1)),
        ):
            if wrong.any():
                values = getattr(self, name.split()[0])
                raise ValueError(f"{name}, not {int(values[wrong][0])}.")

    def spikes(self) -> Stimulus:
        """Return the stimulus without its strays: itself if it has none."""
        if not self.strays.any():
            return self
        keep = ~self.strays
        return Stimulus(
            steps=self.steps,
            step=self.step[keep],
            packet=self.packet[keep],
            host=self.host,
            inlet=self.inlet[keep],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """What a machine did; the same type from the emulator, the oracle and the hardware.

    Parameters
    ----------
    mode : str
        ``"functional"`` or ``"cycle"``.
    steps : int
        Timesteps executed.
    spikes : int64 (s, 4)
        Step, core, neuron, count of crossed thresholds, sorted; no zero counts.
    outputs : int64 (o, 3)
        Step, gateway axon, payload, sorted; one row per packet (not merged).
    counters : Mapping[str, Array]
        Name -> int64 (cores,); `ACTIVITY_COUNTERS` only in cycle mode.
    state : Mapping[str, Array]
        Field (`emu.words.STATE_FIELDS`) -> int64 (n,): final values of all enabled cores in index order.
    visits : int64 (v, fields)
        Sorted, or None: what was stored of every neuron visited, columns as `VISIT`.
    finish : int64 (steps, cores)
        Cycle at which each core's token entered its router, cycle mode only.
    gateway : int64 (steps + 1,)
        Cycle at which each token left the mesh by the last of its outlets, cycle mode only.
    outlets : int64 (steps + 1, outlets)
        The same by outlet, in cycle mode of a system with several.
    elapsed : int or None
        Cycles of the run, cycle mode only.
    """

    mode: str
    steps: int
    spikes: Array
    outputs: Array
    counters: Mapping[str, Array]
    state: Mapping[str, Array]
    visits: Array | None = None
    finish: Array | None = None
    gateway: Array | None = None
    elapsed: int | None = None
    outlets: Array | None = None
    engine: str = field(default="emulator")

    @property
    def potentials(self) -> Array | None:
        """Step, core, neuron, stored V of every neuron visited, int64 (v, 4); None if not recorded."""
        return None if self.visits is None else _stored(self.visits, "potential")

    def total(self, counter: str) -> int:
        """Return the sum of a counter over the cores."""
        return int(self.counters[counter].sum())


def _stored(visits: Array, name: str) -> Array:
    """Return step, core, neuron and one field of the state of visited neurons."""
    return _frozen(visits[:, [*range(VISIT.index("neuron") + 1), VISIT.index(name)]], 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first place where two runs differ."""

    what: str
    step: int | None
    core: int | None
    neuron: int | None
    expected: int | None
    got: int | None

    def __str__(self) -> str:
        place = [
            f"{name} {value}"
            for name in ("step", "core", "neuron")
            if (value := getattr(self, name)) is not None
        ]
        return (
            f"{self.what} differ first at {', '.join(place) or 'the end'}: "
            f"expected {self.expected}, got {self.got}"
        )


def _first_row(what: str, keys: tuple[str, ...], expected: Array, got: Array) -> Divergence | None:
    """Compare sorted tables whose last column is the value and whose first columns are the place."""
    if expected.shape == got.shape and np.array_equal(expected, got):
        return None
    rows: tuple[list[tuple[int, ...]], ...] = tuple(
        [tuple(map(int, row)) for row in table] for table in (expected, got)
    )
    common = min(len(rows[0]), len(rows[1]))
    at = next((i for i in range(common) if rows[0][i] != rows[1][i]), common)
    left, right = (table[at] if at < len(table) else None for table in rows)
    place = min(row[:-1] for row in (left, right) if row is not None)
    named = dict(zip(keys, place, strict=False))
    values = [row[-1] if row is not None and row[:-1] == place else None for row in (left, right)]
    return Divergence(
        what=what,
        step=named.get("step"),
        core=named.get("core"),
        neuron=named.get("neuron", named.get("axon")),
        expected=values[0],
        got=values[1],
    )


def _as_table(grid: Array) -> Array:
    """Return a (steps, cores) grid as rows (step, core, value)."""
    index = np.indices(grid.shape).reshape(grid.ndim, -1)
    return np.vstack([index, grid.reshape(-1)]).T


def _tables(result: RunResult) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Return every comparable part of a result, the most telling first."""
    place = ("step", "core", "neuron")
    parts: dict[str, tuple[tuple[str, ...], Array]] = {}
    if result.visits is not None:
        parts |= {PLURAL[name]: (place, _stored(result.visits, name)) for name in STATE_FIELDS}
    parts["spikes"] = (place, result.spikes)
    parts["outputs"] = (("step", "axon"), result.outputs)
    for name in COUNTERS:
        if name in result.counters:
            parts[f"counter {name}"] = (("core",), _as_table(np.asarray(result.counters[name])))
    parts |= {
        f"final {PLURAL[name]}": (("neuron",), _as_table(values)) for name, values in result.state.items()
    }
    if result.finish is not None:
        parts["finish cycles"] = (("step", "core"), _as_table(result.finish))
    if result.gateway is not None:
        parts["gateway cycles"] = (("step",), _as_table(result.gateway))
    if result.outlets is not None:
        parts["outlet cycles"] = (("step", "outlet"), _as_table(result.outlets))
    if result.elapsed is not None:
        parts["elapsed cycles"] = ((), np.array([[result.elapsed]]))
    return parts


def diff(expected: RunResult, got: RunResult) -> Divergence | None:
    """Return the first divergence of two runs, or None if all they both have is equal.

    Parts that only one of the runs has (visits, cycles) are not compared; `compared` counts the rest.
    """
    if expected.steps != got.steps:
        return Divergence(
            what="steps", step=None, core=None, neuron=None, expected=expected.steps, got=got.steps
        )
    left, right = _tables(expected), _tables(got)
    found = [
        _first_row(name, keys, table, right[name][1]) for name, (keys, table) in left.items() if name in right
    ]
    divergences = [entry for entry in found if entry is not None]
    return min(divergences, key=lambda d: (d.step is None, d.step or 0)) if divergences else None


def compared(expected: RunResult, got: RunResult) -> int:
    """Return how many values `diff` compares: a comparison of nothing must not pass."""
    left, right = _tables(expected), _tables(got)
    return sum(table.size for name, (_, table) in left.items() if name in right)
