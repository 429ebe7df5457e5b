# SPDX-License-Identifier: Apache-2.0
"""What more cores than the fewest are for: cut layers finer, so that a sample takes fewer cycles."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from emu.spec import CoreSpec
from mapping.errors import MappingError
from mapping.layout.capacity import limits_of
from mapping.layout.cut import CorePart, cut_layer
from mapping.layout.partition import Partition, partition
from mapping.spiking.network import SpikingLayer, SpikingNetwork

__all__ = ["OBJECTIVES", "caps_for", "check_objective", "latency_of", "step_of"]

OBJECTIVES = ("cores", "latency")
"""Fewest cores, or fewest cycles on the cores that there are."""

Caps = Mapping[str, int]
"""Most neurons of a core by layer."""

_NONE: Caps = MappingProxyType({})


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


def latency_of(parts: Partition) -> int:
    """Return the cycles of a sample: of every depth the longest step of its layers, one after the other."""
    steps: dict[int, int] = {}
    for part in parts.layers:
        step = step_of(parts.spiking.layer(part.name), parts.spec, parts.of(part))
        steps[part.depth] = max(steps.get(part.depth, 0), step)
    return sum(steps.values())


def caps_for(spiking: SpikingNetwork, spec: CoreSpec, objective: str, cores: int | None) -> Iterator[Caps]:
    """Yield most neurons of a core by layer, the best for an objective first, fewest cores last.

    Parameters
    ----------
    spiking, spec
        The network, and the sizes of a core.
    objective : str
        One of `OBJECTIVES`.
    cores : int, optional
        The cores that there are; by default twice the fewest.

    Raises
    ------
    InfeasibleError
        If a layer fits no core.
    """
    if objective == "latency":
        least = partition(spiking, spec)
        most = 2 * len(least.cores) if cores is None else cores
        plans, best = _finer(least), latency_of(least)
        low, high = 0, len(plans)
        while low < high:
            middle = (low + high + 1) // 2
            parts = partition(spiking, spec, caps=plans[middle - 1])
            fits = len(parts.cores) <= most and latency_of(parts) <= best
            low, high = (middle, high) if fits else (low, middle - 1)
        yield from reversed(plans[:low])
    yield _NONE


def _finer(least: Partition) -> list[Caps]:
    """Return plans that halve the neurons of the cores of one layer more each, the best bargains first."""
    spec, caps, plans = least.spec, dict[str, int](), list[Caps]()
    now = {part.name: least.of(part) for part in least.layers}
    offers: dict[str, tuple[float, int, tuple[CorePart, ...]]] = {}
    while True:
        for layer in least.spiking.layers:
            if layer.name not in offers:
                offers[layer.name] = _offer(layer, spec, now[layer.name])
        name = max(offers, key=lambda one: offers[one][0])
        gain, cap, parts = offers.pop(name)
        if gain <= 0:
            return plans
        caps[name], now[name] = cap, parts
        plans.append(dict(caps))


def _offer(
    layer: SpikingLayer, spec: CoreSpec, parts: Sequence[CorePart]
) -> tuple[float, int, tuple[CorePart, ...]]:
    """Return cycles saved a core, most neurons, and the parts of a layer cut into cores half as full.

    They are less full than the fan-out entries of its neurons allow, so that these do not count.
    """
    cap = max(len(part.outputs) for part in parts) // 2
    if cap < spec.lanes // len(layer.strengths):
        return 0.0, cap, tuple(parts)
    finer = cut_layer(layer, limits_of(layer, spec, entries=1, cap=cap))[0]
    saved = step_of(layer, spec, parts) - step_of(layer, spec, finer)
    return saved / max(len(finer) - len(parts), 1), cap, tuple(finer)
