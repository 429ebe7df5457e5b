# SPDX-License-Identifier: Apache-2.0
"""What `sim_tests.verify` runs: systems with their expected results, and how each of them ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from emu.errors import SpikeloomError, clause
from emu.image import ImageError, SystemImage
from emu.loading import load_bursts
from emu.machine import Machine
from emu.rectangles import area
from emu.spec import SystemSpec
from emu.topology import alive, sides_with_links
from emu.trace import RunResult, Stimulus, compared, diff
from emu.words import Kind, Section
from sim_tests.bench.job import BenchJob, prepare
from sim_tests.bench.prelude import Phase, draw_resets
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.top import gates_of
from sim_tests.generators.coverage import coverage, unreachable
from sim_tests.generators.machines import random_machine
from sim_tests.generators.pool import SEVERAL
from sim_tests.generators.systems import random_system
from sim_tests.oracle.machine import run_oracle

__all__ = [
    "FEW_PHASES",
    "LIMIT_CORES",
    "LIMIT_CYCLES",
    "Outcome",
    "System",
    "VerifyError",
    "judge",
    "random_batch",
    "readable",
    "seeded_system",
]

LIMIT_CORES, LIMIT_CYCLES = 36, 2_000_000
"""A whole chip is simulated up to these sizes: more would take hours."""

COVERED_FROM = 20
"""From so many random systems on, a batch must reach every corner of the contract."""

_SPARE_SEEDS = 200

_SEVERAL = "several chips"
"""The share of systems whose chips are joined by links."""

_DEAD = "dead cores, wires and links"
"""The share of systems that have some."""

_GATES = "several inlets and outlets"
"""The share of systems that have several of both."""

_SHARED = "crossbars loaded by rectangle"
"""The share of systems in which several cores get rows of crossbars by the same packets."""

_EVERY = 5
"""Of so many consecutive seeds, the last one is of a system of several chips."""

_UNCHOSEN = 4
"""Of so many systems of several chips, one is a random machine; the others are those of `SEVERAL`."""

FEW_PHASES = 2
"""Phases in which a chip is reset before a random system or a core alone; before an image it is in all."""


class VerifyError(SpikeloomError, ValueError):
    """The input or the environment does not allow a verification; one sentence with the way out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """An image and a stimulus with the result that the emulator expects.

    Parameters
    ----------
    name : how messages call it.
    image, stimulus : what runs.
    expected : the emulator's result, with cycles and potentials, as far as hardware can tell it.
    doubt : how the oracle contradicts the emulator, if it does.
    seed : of what a chip goes through before it runs this.
    phases : in how many of its phases it is reset before (`sim_tests.bench.prelude`).
    """

    name: str
    image: SystemImage
    stimulus: Stimulus
    expected: RunResult
    doubt: str | None = None
    seed: int = 0
    phases: int = len(Phase)

    def job(self) -> BenchJob:
        """Return what a bench does with it."""
        return prepare(self.image, self.stimulus, self.expected, seed=self.seed, phases=self.phases)

    @property
    def spec(self) -> SystemSpec:
        """Sizes of the chip."""
        return self.image.spec

    def coverage(self) -> dict[str, float]:
        """Return the share of the run that was in each corner: of the contract, several chips, resets."""
        phases = [phase for phase, _ in draw_resets(self.seed, self.phases)]
        resets = {
            f"resets in {p.name.lower().replace('_', ' ')}": phases.count(p) / len(phases) for p in Phase
        }
        joined = {
            _SEVERAL: float(len(sides_with_links(self.spec)) > 0),
            _DEAD: float(self.spec.dead is not None),
            _GATES: float(_has_gates(self.spec)),
        }
        shared = {_SHARED: float(_loads_by_rectangle(self.image))}
        return coverage(self.image, self.stimulus, self.expected) | joined | shared | resets


def _has_gates(spec: SystemSpec) -> bool:
    """Return whether a system has several inlets and several outlets."""
    return min(gates_of(spec)) > 1


def _loads_by_rectangle(image: SystemImage) -> bool:
    """Return whether several cores get rows of crossbars by the same packets."""
    section = -1
    for place, kind, data in load_bursts(image):
        if kind == Kind.POINTER_HIGH and int(data[0]) >> 12 != Section.COUNTER:
            section = int(data[0]) >> 12
        if kind == Kind.WRITE and section == Section.CROSSBAR and area(place) > 1:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the verification of one system ended.

    Parameters
    ----------
    name, spec, steps : the system.
    compared : how many values of the hardware were compared.
    failure : the first difference; None if all are equal.
    """

    name: str
    spec: SystemSpec
    steps: int
    compared: int
    failure: str | None


def seeded_system(seed: int, spec: SystemSpec | None = None) -> System:
    """Return a random system, expected by the emulator and compared with the oracle.

    Without sizes a fifth of all seeds are of several chips, now and then of a machine that is random itself,
    and the others of one of `POOL`.

    Raises
    ------
    VerifyError : the given sizes are too small for random programs.
    """
    try:
        image, stimulus = random_system(seed, spec=spec or _several(seed))
    except ImageError as error:
        raise VerifyError(
            f"The chip is too small for the random program of seed {seed} ({clause(error)}); "
            "verify an image instead."
        ) from error
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    oracle = run_oracle(image, stimulus, cycles=True)
    divergence = diff(oracle, expected)
    expected = readable(image, expected)
    doubt = None if divergence is None else f"emulator and oracle: {divergence}"
    return System(
        name=f"system seed {seed}",
        image=image,
        stimulus=stimulus,
        expected=expected,
        doubt=doubt,
        seed=seed,
        phases=FEW_PHASES,
    )


def readable(image: SystemImage, result: RunResult) -> RunResult:
    """Return a result as hardware can tell it: the counters of a router are in a core, which may be dead."""
    present = alive(image.spec).reshape(-1)
    counters = {name: np.where(present, values, 0) for name, values in result.counters.items()}
    return dataclasses.replace(result, counters=counters)


def _several(seed: int) -> SystemSpec | None:
    """Return the system of several chips that a seed is of, if it is of one."""
    turn, other = divmod(seed + 1, _EVERY)
    if other:
        return None
    unchosen, other = divmod(turn, _UNCHOSEN)
    return SEVERAL[(turn - unchosen) % len(SEVERAL)] if other else random_machine(seed)


def random_batch(count: int, seed: int, spec: SystemSpec | None = None) -> list[System]:
    """Return systems of consecutive seeds.

    Where a batch of `COVERED_FROM` or more misses a corner, the systems that it needs least give way to the
    next seeds that reach one.
    """
    systems = [seeded_system(seed + index, spec) for index in range(count)]
    shares = [system.coverage() for system in systems]
    beyond = _beyond(spec)
    for number in range(seed + count, seed + count + _SPARE_SEEDS):
        if count < COVERED_FROM or not (gaps := _gaps(shares, beyond)):
            break
        candidate = seeded_system(number, spec)
        reached = candidate.coverage()
        left = [len(_gaps([*shares[:at], reached, *shares[at + 1 :]], beyond)) for at in range(count)]
        place = max(at for at in range(count) if left[at] == min(left))
        if left[place] < len(gaps):
            systems[place], shares[place] = candidate, reached
    return systems


def _beyond(spec: SystemSpec | None) -> set[str]:
    """Return the corners that no system of the given sizes reaches."""
    if spec is None:
        return set()
    one = {_SHARED} if spec.cores == 1 else set()
    several, dead = bool(sides_with_links(spec)), spec.dead is not None
    absent = {_SEVERAL: not several, _DEAD: not dead, _GATES: not _has_gates(spec)}
    return unreachable(spec.core) | one | {name for name, missing in absent.items() if missing}


def _gaps(shares: Sequence[Mapping[str, float]], beyond: AbstractSet[str]) -> list[str]:
    return [name for name in shares[0] if name not in beyond and not any(one[name] for one in shares)]


def missed(systems: Sequence[System], spec: SystemSpec | None = None) -> list[str]:
    """Return the corners that no system of a batch reaches, though with sizes of this spec one could."""
    beyond = _beyond(spec)
    return _gaps([system.coverage() for system in systems], beyond)


def judge(system: System, result: RunResult | BenchError) -> Outcome:
    """Compare what the hardware did with what is expected; a comparison of nothing fails."""
    values, failure = 0, system.doubt
    if isinstance(result, BenchError):
        failure = failure or str(result)
    else:
        values = compared(system.expected, result)
        divergence = diff(system.expected, result)
        failure = failure or (None if divergence is None else str(divergence))
        failure = failure or (None if values else "nothing was compared")
    return Outcome(
        name=system.name, spec=system.spec, steps=system.stimulus.steps, compared=values, failure=failure
    )
