# SPDX-License-Identifier: Apache-2.0
"""Cores of an image by themselves, each fed what it received in the whole (`docs/guides/verify.md`)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emu.functional import arriving
from emu.image import CoreImage, SystemImage
from emu.machine import Machine
from emu.spec import SystemSpec
from emu.trace import RunResult, Stimulus, diff
from emu.words import RECTANGLE, STATE_FIELDS, Emission, Kind, Section
from sim_tests.bench.systems import FEW_PHASES, System
from sim_tests.generators.systems import make_system

__all__ = ["Alone", "chosen_cores", "programs_of"]

Ints = NDArray[np.int64]

_OF_ROUTERS = ("hops", "token_hops", "crossings", "router_errors")
"""Counters of the mesh, which a core alone does not have."""


class Alone:
    """An image with a stimulus, run as a whole; its cores one by one.

    Parameters
    ----------
    image : SystemImage
        The program of the whole system.
    stimulus : Stimulus
        What the host feeds.

    Raises
    ------
    ValueError
        If a stimulus packet does not fit a flit.
    """

    def __init__(self, image: SystemImage, stimulus: Stimulus) -> None:
        self.image = image
        self.result = Machine(image).run(stimulus)
        self._stimulus = stimulus
        self._heard = arriving(stimulus.spikes(), image.spec)
        cores = np.arange(image.spec.cores + 1)
        by_core = self.result.spikes[np.argsort(self.result.spikes[:, 1], kind="stable")]
        self._spikes, self._spikes_at = by_core, np.searchsorted(by_core[:, 1], cores)
        neurons = [0 if core is None else core.neurons for core in image.cores]
        self._neurons_at = np.cumsum([0, *neurons])

    def system(self, at: int, name: str, seed: int) -> System:
        """Return a core on a chip of its own, with what it has to do there.

        Its fan-out entries lead to the gateway, to the axons that they name. `System.doubt` tells where the
        core alone differs from the same core in the whole system.
        """
        core = self._core(at)
        home = SystemSpec(core=self.image.spec.core, width=1, height=1)
        image = make_system(home, dataclasses.replace(core, fanout=_to_gateway(core.fanout)))
        received = self.received(at)
        in_time = received[received[:, 0] < self.result.steps]
        here = np.zeros((len(in_time), len(RECTANGLE)), np.int64)
        stimulus = Stimulus(
            steps=self.result.steps,
            step=in_time[:, 0],
            packet=np.hstack((here, in_time[:, 2:])),
            kind=in_time[:, 1],
        )
        expected = Machine(image).run(stimulus, cycles=True, potentials=True)
        divergence = diff(self._part(at, received[len(in_time) :]), expected)
        doubt = None if divergence is None else f"in the whole system and alone, {divergence}"
        return System(
            name=name,
            image=image,
            stimulus=stimulus,
            expected=expected,
            doubt=doubt,
            seed=seed,
            phases=FEW_PHASES,
        )

    def received(self, at: int) -> Ints:
        """Return what a core receives, int64 (p, 4): step of integration, `Kind`, axon, payload, by step."""
        y, x = divmod(at, self.image.spec.width)
        found = [self._fed(x, y)]
        for index, core in enumerate(self.image.cores):
            if core is not None and (covers := _covers(core.fanout, x, y)).any():
                step, axon, payload = _sent(core, self._spikes_of(index), covers).T
                found.append(np.column_stack((step + 1, np.full_like(step, Kind.SPIKE), axon, payload)))
        rows = np.concatenate(found)
        return rows[np.argsort(rows[:, 0], kind="stable")]

    def _core(self, at: int) -> CoreImage:
        core = self.image.cores[at]
        if core is None:
            raise ValueError(f"Core {at} has no program.")
        return core

    def _spikes_of(self, at: int) -> Ints:
        return self._spikes[self._spikes_at[at] : self._spikes_at[at + 1]]

    def _fed(self, x: int, y: int) -> Ints:
        """Return what the host sends to a core: spikes as they arrive, control packets as they are."""
        found = []
        for part, wanted in ((self._heard, slice(None)), (self._stimulus, self._stimulus.strays)):
            packet = part.packet[wanted]
            rows = np.column_stack((part.step[wanted], part.kind[wanted], packet[:, len(RECTANGLE) :]))
            found.append(rows[_covers(packet, x, y)])
        return np.concatenate(found)

    def _part(self, at: int, late: Ints) -> RunResult:
        """Return what a core did in the whole system, without the packets that came after its last step."""
        core, own = self._core(at), self._spikes_of(at)
        legal = late[late[:, 2] < core.axons, 2]
        after = {
            "deliveries": len(legal),
            "merges": len(legal) - len(np.unique(legal)),
            "errors": len(late) - len(legal),
        }
        spikes = own.copy()
        spikes[:, 1] = 0
        outputs = _sent(core, own, np.ones(len(core.fanout), bool))
        neurons = slice(self._neurons_at[at], self._neurons_at[at + 1])
        return RunResult(
            mode=self.result.mode,
            steps=self.result.steps,
            spikes=spikes,
            outputs=outputs[np.lexsort(outputs.T[::-1])],
            counters={
                name: values[[at]] - after.get(name, 0)
                for name, values in self.result.counters.items()
                if name not in _OF_ROUTERS
            },
            state={name: self.result.state[name][neurons] for name in STATE_FIELDS},
        )


def _to_gateway(fanout: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return fan-out entries that all lead to the gateway of a chip of one core."""
    turned = fanout.copy()
    turned[:, : len(RECTANGLE)] = (0, 0, 1, 1)
    return turned


def _covers(rectangles: NDArray[np.integer], x: int, y: int) -> NDArray[np.bool_]:
    """Return which rectangles, the first columns of some rows, a core lies in."""
    x0, x1, y0, y1 = rectangles[:, : len(RECTANGLE)].T
    return np.asarray((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1))


def _sent(core: CoreImage, spikes: Ints, entries: NDArray[np.bool_]) -> Ints:
    """Return step, axon and payload of what a core sends by some of its fan-out entries (machine.md, rule 8).

    Parameters
    ----------
    core : CoreImage
        The program of the core.
    spikes : int64 (s, 4)
        What it fired: step, core, neuron, count.
    entries : bool (f,)
        The fan-out entries that are looked at.
    """
    spikes = spikes[core.connected[spikes[:, 2]]]
    ends = np.flatnonzero(core.fanout[:, -1])
    first = core.fanout_base[spikes[:, 2]].astype(np.int64)
    which, entry = _ranges(first, ends[np.searchsorted(ends, first)] - first + 1)
    which, entry = which[entries[entry]], entry[entries[entry]]
    step, _, neuron, count = spikes[which].T
    emission = core.of_profile("emission")[neuron]
    unary = emission == Emission.UNARY
    copy, turn = _ranges(np.zeros(len(which), np.int64), np.where(unary, count, 1))
    axon = core.fanout[entry[copy], len(RECTANGLE)] + turn
    alike = np.where(emission == Emission.CONSTANT, np.sign(count) * _emits(core, step), count)
    return np.column_stack((step[copy], axon, np.where(unary, 1, alike)[copy])).astype(np.int64)


def _ranges(first: Ints, size: Ints) -> tuple[Ints, Ints]:
    """Return which range each number is of, and the numbers first, first + 1, ... of ranges of some sizes."""
    which = np.repeat(np.arange(len(size)), size)
    return which, first[which] + np.arange(len(which)) - (np.cumsum(size) - size)[which]


def _emits(core: CoreImage, steps: Ints) -> Ints:
    """Return the `emit` of the schedule entries that hold in some steps."""
    entry = core.columns(Section.SCHEDULE)
    until = np.cumsum(entry["repeat"], dtype=np.int64)
    return np.asarray(entry["emit"][np.searchsorted(until, steps % until[-1], side="right")], np.int64)


def programs_of(image: SystemImage) -> list[list[int]]:
    """Return the cores with programs, those together that have equal crossbars, strengths and schedules."""
    found: dict[tuple[bytes, ...], list[int]] = {}
    cells: dict[int, bytes] = {}
    for at, core in enumerate(image.cores):
        if core is not None:
            crossbar = core.crossbar
            if id(crossbar) not in cells:
                shape = repr(crossbar.shape).encode()
                cells[id(crossbar)] = hashlib.sha256(shape + crossbar.tobytes()).digest()
            rest = (core.strengths, core.schedule, core.extension)
            key = (cells[id(crossbar)], *(part.tobytes() for part in rest))
            found.setdefault(key, []).append(at)
    return list(found.values())


def chosen_cores(
    programs: Sequence[Sequence[int]], deliveries: Ints, count: int | None, seed: int
) -> list[int]:
    """Return cores that differ as much as they can: of each program that which receives most, then the next.

    Parameters
    ----------
    programs : the cores of each program.
    deliveries : int64 (cores,), what each receives.
    count : how many; None for one of each program.
    seed : of the order of the programs.
    """
    order = np.random.default_rng(seed).permutation(len(programs))
    busiest = [sorted(programs[i], key=lambda core: (-int(deliveries[core]), core)) for i in order]
    turns = max(map(len, busiest), default=0) if count is not None else 1
    found = [cores[turn] for turn in range(turns) for cores in busiest if turn < len(cores)]
    return found[:count]
