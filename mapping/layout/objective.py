# SPDX-License-Identifier: Apache-2.0
"""What more cores than the fewest are for: layers are cut finer, for fewer cycles or less energy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from emu.spec import CoreSpec
from mapping.errors import MappingError
from mapping.layout.capacity import limits_of
from mapping.layout.cut import CorePart, cut_layer
from mapping.layout.partition import Partition, partition
from mapping.spiking.network import SpikingLayer

__all__ = [
    "OBJECTIVES",
    "Caps",
    "Cut",
    "Cuts",
    "check_objective",
    "fastest",
    "finer",
    "latency_of",
    "plan_of_least_latency",
    "step_of",
    "steps_of",
    "words_of",
]

OBJECTIVES = ("cores", "latency", "energy")
"""Fewest cores, fewest cycles on the cores that there are, or least energy."""

Caps = Mapping[str, int]
"""Most neurons of a core by layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cut of a layer, most neurons of a core if that is bounded, and what it takes when all is active."""

    cap: int | None
    cores: int
    cycles: int
    words: int
    arrivals: int


def check_objective(objective: str) -> str:
    """Return the name of an objective if it is one."""
    if objective not in OBJECTIVES:
        raise MappingError(f"Objective must be one of {', '.join(OBJECTIVES)}, not {objective[:100]!r}.")
    return objective


def step_of(layer: SpikingLayer, spec: CoreSpec, parts: Sequence[CorePart]) -> int:
    """Return the cycles of the longest step of the cores of a layer, every axon and every neuron active.

    That is the sum over the blocks in `docs/reference/cycles.md`, from ``s_0`` to the token, of lists of
    four thresholds or of ladders, each neuron sending one packet that nobody holds up.
    """
    longest, digits = 0, len(layer.strengths)
    per_block = spec.lanes // digits
    for part in parts:
        neurons = len(part.outputs)
        blocks = -(-neurons // per_block)
        walk = blocks * (spec.walk_fill + digits + 1 - 2) + (neurons - blocks) * digits
        longest = max(longest, blocks * (part.axons + spec.integrate_fill) + walk)
    return longest


def words_of(layer: SpikingLayer, spec: CoreSpec, parts: Sequence[CorePart]) -> int:
    """Return the words of cells that the cores of a layer read: one for each block of columns and input."""
    per_block = spec.lanes // len(layer.strengths)
    return sum(-(-len(part.outputs) // per_block) * len(part.inputs) for part in parts)


def steps_of(parts: Partition) -> list[int]:
    """Return the longest step of the layers of every depth, see `step_of`."""
    steps = [step_of(parts.spiking.layer(part.name), parts.spec, parts.of(part)) for part in parts.layers]
    return _longest([part.depth for part in parts.layers], steps)


def latency_of(parts: Partition) -> int:
    """Return the cycles of a sample: of every depth the longest step of its layers, one after the other."""
    return sum(steps_of(parts))


def _longest(depths: Sequence[int], steps: Sequence[int]) -> list[int]:
    longest = [0] * (max(depths) + 1)
    for depth, step in zip(depths, steps, strict=True):
        longest[depth] = max(longest[depth], step)
    return longest


class Cuts:
    """The cuts of every layer: that into the fewest cores, then each half as full as the one before.

    A plan is a tuple of the place of each layer's cut in its row.

    Parameters
    ----------
    least : Partition
        Into the fewest cores.
    """

    def __init__(self, least: Partition) -> None:
        self.least = least
        self.of = [
            _halved(least.spiking.layer(part.name), least.spec, least.of(part)) for part in least.layers
        ]

    def taken(self, plan: Sequence[int]) -> list[Cut]:
        """Return the cut of every layer."""
        return [cuts[index] for cuts, index in zip(self.of, plan, strict=True)]

    def cores(self, plan: Sequence[int]) -> int:
        """Return the cores that a plan takes."""
        return sum(cut.cores for cut in self.taken(plan))

    def steps(self, plan: Sequence[int]) -> list[int]:
        """Return what `steps_of` tells of a plan."""
        return _longest([part.depth for part in self.least.layers], [cut.cycles for cut in self.taken(plan)])

    def caps(self, plan: Sequence[int]) -> Caps:
        """Return most neurons of a core by layer."""
        named = zip(self.least.layers, self.taken(plan), strict=True)
        return {part.name: cut.cap for part, cut in named if cut.cap is not None}

    def parts(self, plan: Sequence[int]) -> Partition:
        """Return the partition; its neurons have as many fan-out entries as these cuts give them."""
        return partition(self.least.spiking, self.least.spec, caps=self.caps(plan))


def _halved(layer: SpikingLayer, spec: CoreSpec, parts: Sequence[CorePart]) -> tuple[Cut, ...]:
    """Return the cuts of a layer, down to one block of columns on a core.

    They are less full than the fan-out entries of its neurons allow, so that these do not count.
    """
    found = [_taken(layer, spec, parts, None)]
    while True:
        cap = max(len(part.outputs) for part in parts) // 2
        if cap < spec.lanes // len(layer.strengths):
            return tuple(found)
        parts = cut_layer(layer, limits_of(layer, spec, entries=1, cap=cap))[0]
        found.append(_taken(layer, spec, parts, cap))


def _taken(layer: SpikingLayer, spec: CoreSpec, parts: Sequence[CorePart], cap: int | None) -> Cut:
    return Cut(
        cap=cap,
        cores=len(parts),
        cycles=step_of(layer, spec, parts),
        words=words_of(layer, spec, parts),
        arrivals=sum(len(part.inputs) for part in parts),
    )


def fastest(cuts: Cuts, cores: int | None) -> Iterator[Caps]:
    """Yield the plan of least latency and those that lead to it, fewer cores one after the other.

    ``cores`` are those that there are, by default twice the fewest.
    """
    plan = plan_of_least_latency(cuts, cores)
    plans = finer(cuts)
    if any(plan):
        yield from (cuts.caps(one) for one in reversed(plans[: plans.index(plan) + 1]))


def plan_of_least_latency(cuts: Cuts, cores: int | None) -> tuple[int, ...]:
    """Return the last plan of `finer` that fits so many cores, by default twice the fewest."""
    fewest = (0,) * len(cuts.of)
    most = 2 * cuts.cores(fewest) if cores is None else cores
    for plan in reversed([plan for plan in finer(cuts) if cuts.cores(plan) <= most]):
        parts = cuts.parts(plan)
        if len(parts.cores) <= most and latency_of(parts) <= sum(cuts.steps(fewest)):
            return plan
    return fewest


def finer(cuts: Cuts) -> list[tuple[int, ...]]:
    """Return plans that halve the neurons of the cores of one layer more each, the best bargains first."""
    at, plans = [0] * len(cuts.of), list[tuple[int, ...]]()
    while True:
        gains = [_gain(*row[index : index + 2]) for row, index in zip(cuts.of, at, strict=True)]
        best = max(range(len(gains)), key=gains.__getitem__)
        if gains[best] <= 0:
            return plans
        at[best] += 1
        plans.append(tuple(at))


def _gain(now: Cut, then: Cut | None = None) -> float:
    """Return the cycles that a finer cut saves for each core more."""
    return 0.0 if then is None else (now.cycles - then.cycles) / max(then.cores - now.cores, 1)
