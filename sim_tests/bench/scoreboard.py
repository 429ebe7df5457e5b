# SPDX-License-Identifier: Apache-2.0
"""Compare what the neurons of a chip did with what they should do, one beat after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.trace import PLURAL, VISIT, Divergence
from emu.words import STATE_FIELDS
from sim_tests.bench.job import BenchJob

__all__ = ["BenchError", "Scoreboard"]


class BenchError(AssertionError):
    """The hardware did something else than expected, or the bench compared too little."""


def _difference(expected: list[int] | None, got: list[int]) -> Divergence:
    """Return where two beats differ: in the neuron visited, else in its state, else in its spikes."""
    step, core = got[:2]
    if expected is None or expected[:3] != got[:3]:
        neuron = None if expected is None else expected[2]
        place = step if expected is None else min(step, expected[0])
        return Divergence(
            what="visited neurons", step=place, core=core, neuron=None, expected=neuron, got=got[2]
        )
    what = [*VISIT[:3], *(PLURAL[name] for name in STATE_FIELDS), "spikes"]
    at = next(i for i in range(3, len(what)) if expected[i] != got[i])
    return Divergence(what=what[at], step=step, core=core, neuron=got[2], expected=expected[at], got=got[at])


@dataclass
class Scoreboard:
    """Compare neuron beats with the expected ones, per core, in order.

    `finish` demands that every expected beat was seen and that enough were compared, so that a chip that does
    nothing fails.
    """

    job: BenchJob
    compared: int = 0
    spikes: list[tuple[int, ...]] = field(default_factory=list)
    visits: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._queues: list[Iterator[list[int]]] = [
            iter(self.job.beats[self.job.beats[:, 1] == core].tolist()) for core in range(self.job.spec.cores)
        ]

    def push(self, got: list[int]) -> None:
        """Compare one beat, laid out as `BenchJob.beats`; a difference ends the run with its place."""
        expected = next(self._queues[got[1]], None)
        if expected != got:
            raise BenchError(str(_difference(expected, got)))
        self.compared += 1
        self.visits.append(got[:-1])
        if got[-1]:
            self.spikes.append((*got[:3], got[-1]))

    def finish(self, minimum: int = 1) -> None:
        """Demand drained queues and at least ``minimum`` comparisons."""
        left = [core for core, queue in enumerate(self._queues) if next(queue, None) is not None]
        if left:
            raise BenchError(f"core {left[0]} stored fewer neurons than expected")
        if self.compared < minimum:
            raise BenchError(
                f"only {self.compared} neuron beats were compared, at least {minimum} are demanded"
            )
