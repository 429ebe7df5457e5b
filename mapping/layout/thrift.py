# SPDX-License-Identifier: Apache-2.0
"""The cut of least energy: what a cut changes of the energy of a sample, every axon and neuron active."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.spec import SystemSpec
from mapping.errors import InfeasibleError
from mapping.layout.capacity import MAX_CORES
from mapping.layout.mesh import Mesh
from mapping.layout.objective import Caps, Cuts, finer, plan_of_least_latency, steps_of, words_of
from mapping.layout.partition import Partition
from mapping.layout.place import Placement
from mapping.layout.traffic import INLET, Loads, traffic_of

__all__ = ["Bill", "Price", "bill_of", "thriftiest"]

Integers = NDArray[np.int64]

_WORTH = 0.9
"""Share of the energy of the fewest cores that a plan may take at most, every axon and neuron active.

How much is really active differs from layer to layer and is not known: what saves little may save nothing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the parts of a sample that depend on the cut cost, in joules.

    Parameters
    ----------
    word : float
        A word of cells read.
    delivery, hop : float
        A packet that arrives at a core; one that crosses a wire or a link.
    bit : float
        A bit over a link between two chips.
    cycle : float
        A core of the mesh in a cycle, used or not: its clock and its static power.
    """

    word: float
    delivery: float
    hop: float
    bit: float
    cycle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a placed partition takes for a sample, every axon and every neuron active.

    Parameters
    ----------
    words, deliveries, hops, bits : int
        See `Price`.
    cores : int
        Those of the mesh.
    fed : int
        Cycles in which the host's packets occupy the busiest inlet, wire or link.
    steps : tuple of (int, int)
        By depth the cycles of the longest step of a core, and those in which what its layers send occupies
        the busiest wire or link.
    """

    words: int
    deliveries: int
    hops: int
    bits: int
    cores: int
    fed: int
    steps: tuple[tuple[int, int], ...]

    @property
    def cycles(self) -> int:
        """Cycles of a sample: a step lasts until all is computed and all has arrived."""
        return self.fed + sum(max(step) for step in self.steps)

    def at(self, price: Price) -> float:
        """Return the energy in joules."""
        events = self.words * price.word + self.deliveries * price.delivery
        return events + self.hops * price.hop + self.bits * price.bit + self.cores * self.cycles * price.cycle


def bill_of(parts: Partition, placement: Placement, spec: SystemSpec) -> Bill:
    """Return what a partition takes where it is placed on a mesh."""
    mesh, traffic = Mesh.of(spec), traffic_of(parts)
    loads, steps = Loads(traffic=traffic, mesh=mesh), steps_of(parts)
    depth = np.repeat([part.depth for part in parts.layers], [part.cores for part in parts.layers])
    sent = np.where(traffic.source == INLET, -1, depth[np.maximum(traffic.source, 0)])
    carried = [loads(placement.position, np.flatnonzero(sent == step)) for step in range(-1, len(steps))]
    fed, *busy = [int(mesh.busy(load).max()) for load in carried]
    total, bits = np.sum(carried, axis=0), 0 if spec.links is None else spec.links.word_bits(spec.flit_bits)
    arrive = traffic.readers >= 0
    return Bill(
        words=sum(words_of(parts.spiking.layer(one.name), parts.spec, parts.of(one)) for one in parts.layers),
        deliveries=int((traffic.packets[arrive] * traffic.size[traffic.readers[arrive]]).sum()),
        hops=mesh.hops(total),
        bits=int(total[mesh.between_chips()].sum()) * bits,
        cores=spec.cores,
        fed=fed,
        steps=tuple(zip(steps, busy, strict=True)),
    )


def thriftiest(
    cuts: Cuts,
    cores: int | None,
    price: Price,
    *,
    clocked: Callable[[int], int],
    placed: Callable[[Partition], Bill],
) -> Iterator[Caps]:
    """Yield the plans that take clearly less energy than the fewest cores, the least first.

    They are chosen of the plan that would be best if every wire and link carried what it does with the fewest
    cores, of plans half, a quarter and so on as far from these, and of the plan of least latency.

    Parameters
    ----------
    cuts : Cuts
        The cuts of every layer.
    cores : int, optional
        The cores that there are; by default any number.
    price : Price
        What each event costs.
    clocked : callable
        The cores of the mesh by the cores in use.
    placed : callable
        What a partition takes where it will be placed.
    """
    first = placed(cuts.least)
    at = _best(cuts, cores, price, clocked, first)
    plans = [plan_of_least_latency(cuts, cores)]
    while any(at):
        plans.append(at)
        at = tuple(index // 2 for index in at)
    found: dict[tuple[int, ...], float] = {}
    for plan in plans:
        with suppress(InfeasibleError):
            if any(plan) and plan not in found:
                found[plan] = placed(cuts.parts(plan)).at(price)
    for plan in sorted(found, key=lambda one: (found[one], one)):
        if found[plan] <= _WORTH * first.at(price):
            yield cuts.caps(plan)


def _best(
    cuts: Cuts, cores: int | None, price: Price, clocked: Callable[[int], int], first: Bill
) -> tuple[int, ...]:
    """Return the plan of least energy, if wires and links take as long as those of the fewest cores.

    It begins with the best plan of `finer`; then the cut of one layer is changed, always the one that saves
    most, until no such change saves any more.
    """
    most = MAX_CORES if cores is None else cores
    fewest = (0,) * len(cuts.of)

    def bill(at: Sequence[int]) -> float:
        taken = cuts.taken(at)
        steps = zip(cuts.steps(at), first.steps, strict=True)
        cycles = first.fed + sum(max(step, link) for step, (_, link) in steps)
        events = sum(cut.words * price.word + cut.arrivals * (price.delivery + price.hop) for cut in taken)
        return events + clocked(cuts.cores(at)) * cycles * price.cycle

    def best(plans: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
        return min((plan for plan in plans if cuts.cores(plan) <= most), key=bill, default=fewest)

    at, after = fewest, best([fewest, *finer(cuts)])
    while bill(after) < bill(at):
        at, rows = after, enumerate(cuts.of)
        after = best((*at[:own], to, *at[own + 1 :]) for own, row in rows for to in range(len(row)))
    return at
