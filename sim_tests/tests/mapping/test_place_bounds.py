# SPDX-License-Identifier: Apache-2.0
"""Small networks against the best of all placements, priced by an oracle that walks every packet."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from emu.gates import GateSpec
from emu.spec import SystemSpec
from mapping.layout.assembly import Links
from mapping.layout.emit import emit
from mapping.layout.gates import Gates
from mapping.layout.mesh import Mesh
from mapping.layout.objective import steps_of
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, curve
from mapping.layout.place.price import Price
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.layout.traffic import traffic_of
from mapping.report.carried import carried_of
from mapping.report.mesh import occupied
from mapping.report.rate import gates_of
from mapping.spiking.network import INPUT, SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network
from sim_tests.oracle.placement import Cost, Ground, Send, best_of_all, cost_of

SPEC = core_spec(columns=8, potential_bits=8)
"""A core of eight neurons."""

FACTOR = 1.07
"""Cycles of the busiest part that the annealer takes at most, over those of the best of all placements."""


def dense(*sizes: int, density: float = 1.0, seed: int = 0) -> SpikingNetwork:
    """Return dense layers; the first size is that of the input."""
    draft = Draft(shape=sizes[:1], seed=seed)
    for size in sizes[1:]:
        draft.dense(size, density=density)
    return draft.network()


def forked() -> SpikingNetwork:
    """Return a layer that two others read, one of which the host reads too."""
    draft = Draft(shape=(12,), seed=3)
    first = draft.dense(16, density=1.0)
    side = draft.dense(8, source=first, density=1.0)
    draft.dense(8, source=first, density=0.5)
    return draft.network(draft.dense(16, density=1.0), side)


def sends_of(network: SpikingNetwork) -> list[Send]:
    """Return what each element sends: dense layers, eight neurons a core, in order."""
    first, sends = 0, Counter[tuple[int | None, tuple[int, ...] | None]]()
    home: dict[str, list[int]] = {}
    for layer in network.layers:
        home[layer.name] = [first + neuron // 8 for neuron in range(layer.output_shape[0])]
        first = home[layer.name][-1] + 1
    given: list[int | None] = [None] * math.prod(network.shape(INPUT))
    homes: dict[str, Sequence[int | None]] = {INPUT: given, **home}
    for name, cores in homes.items():
        for element, core in enumerate(cores):
            readers: set[int] = set()
            for layer in network.layers:
                if layer.sources[0].name == name:  # on the same axon of every layer
                    read = np.flatnonzero(layer.sources[0].weight[:, element]).tolist()
                    readers |= {home[layer.name][neuron] for neuron in read}
            sends[core, tuple(sorted(readers))] += bool(readers)
            sends[core, None] += name in network.outputs
    return [Send(source=core, readers=to, packets=n) for (core, to), n in sends.items() if n]


TALL = Ground(width=3, height=2, chip=(1, 2), beats=4)
FLAT = Ground(width=3, height=2, chip=(3, 1), beats=3)
HALVES = Ground(width=4, height=2, chip=(2, 2), beats=4)
CASES: dict[str, tuple[SpikingNetwork, Ground]] = {
    "one chip": (dense(12, 16, 24, 8), Ground(width=3, height=2)),
    "two chips": (dense(12, 16, 16, 8), HALVES),
    "tall chips": (dense(12, 16, 16, 8), TALL),
    "flat chips": (dense(12, 16, 16, 8), FLAT),
    "chips of one core": (dense(8, 16, 8, 16), Ground(width=3, height=2, chip=(1, 1), beats=5)),
    "shared links": (dense(12, 16, 16, 16), replace(TALL, shared=True)),
    "few synapses": (dense(20, 16, 16, 8, density=0.2, seed=5), TALL),
    "much to feed": (dense(40, 24, 8), TALL),
    "much to read": (dense(4, 40), replace(TALL, outlets=(0, 2))),
    "two inlets": (dense(40, 24, 8), Ground(width=3, height=2, inlets=((0, "W"), (1, "E")))),
    "gates and chips": (
        dense(30, 16, 16, 8),
        replace(FLAT, shared=True, inlets=((0, "W"), (0, "E"), (1, "W")), outlets=(0, 2)),
    ),
    "seven cores": (dense(12, 24, 16, 16), replace(HALVES, unused=frozenset({(1, 0)}))),
    "unused cores and gates": (
        dense(30, 16, 24),
        replace(HALVES, unused=frozenset({(0, 0), (2, 1)}), inlets=((0, "W"), (1, "E")), outlets=(0, 3)),
    ),
    "forks": (forked(), Ground(width=3, height=2, chip=(1, 1), beats=4, outlets=(0, 1))),
}

each_case = pytest.mark.parametrize("case", CASES)


def mesh_of(ground: Ground, parts: Partition) -> Mesh:
    """Return a ground as placers see it."""
    system = SystemSpec(core=parts.spec, width=ground.width, height=ground.height)
    if len(ground.inlets) + len(ground.outlets) > 2:
        system = replace(system, gates=GateSpec(inlets=ground.inlets[1:], outlets=ground.outlets[1:]))
    links = replace(Mesh.of(system), chip=ground.chip, beats=ground.beats, shared=ground.shared)
    return replace(links, excluded=ground.unused)


def placed(case: str, placer: str, *, seed: int = 0) -> tuple[Cost, Cost]:
    """Return what a placement costs by the oracle, and by the price of the annealer."""
    network, ground = CASES[case]
    parts = partition(network, SPEC)
    mesh = mesh_of(ground, parts)
    position = PLACERS[placer](parts, mesh, seed=seed).position
    step, busiest, sent, hops = Price.against(traffic_of(parts), mesh, position, step_of(case)).rank
    assert step == max(sent, step_of(case))
    cells = [(x, y) for x, y in position.tolist()]
    return cost_of(sends_of(network), cells, ground), Cost(busiest=busiest, sent=sent, hops=hops)


@cache
def step_of(case: str) -> int:
    """Return the cycles of the longest step of a core."""
    return max(steps_of(partition(CASES[case][0], SPEC)))


@cache
def best(case: str, seed: int = 0) -> Cost:
    """Return the best of all placements that are in nothing worse than the greedy one."""
    network, ground = CASES[case]
    cores = len(partition(network, SPEC).cores)
    assert cores <= 7
    limit = placed(case, "greedy", seed=seed)[0]
    return best_of_all(sends_of(network), cores, ground, limit=limit, step=step_of(case))


@each_case
@pytest.mark.parametrize("placer", PLACERS)
def test_price_is_what_the_packets_take(placer: str, case: str) -> None:
    found, price = placed(case, placer)
    assert found == price


@each_case
def test_anneal_finds_the_best_of_all_placements(case: str) -> None:
    assert placed(case, "anneal")[0].busiest == best(case).busiest


@each_case
@pytest.mark.parametrize("number", range(4))
def test_anneal_is_near_the_best_of_all_placements(case: str, number: int) -> None:
    found, greedy, step = (
        placed(case, "anneal", seed=number)[0],
        placed(case, "greedy", seed=number)[0],
        step_of(case),
    )
    assert found.busiest <= greedy.busiest
    assert found.sent <= greedy.sent
    assert found.hops <= greedy.hops
    assert max(found.sent, step) == max(best(case, number).sent, step)
    assert best(case, number).busiest <= found.busiest <= FACTOR * best(case, number).busiest


@pytest.mark.parametrize("gates", [Gates(), Gates(inlets="3", outlets="2")], ids=["one of each", "several"])
@pytest.mark.parametrize("shared", [False, True])
def test_price_is_what_the_report_names_at_worst(seed: int, gates: Gates, shared: bool) -> None:
    """All inputs are there and all neurons fire; the image tells which packets that takes."""
    network = random_network(seed)
    site = Site(placer=curve, chips=(2, 2), links=Links(wires=7, shared=shared), gates=gates)
    parts, placement, routes = fit(network, core_spec(), site)
    image = emit(network, parts, placement, routes, name="n")
    mesh, traffic = Mesh.of(image.spec), traffic_of(parts)
    _, busiest, sent, hops = Price.against(traffic, mesh, placement.position, 0).rank
    fired = [np.ones(0 if core is None else core.neurons, np.int64) for core in image.cores]
    fed = np.ones(len(image.input_packet), np.int64)
    carried = carried_of(image, fired, fed, samples=1)
    entered = [gate["packets"] for gate in gates_of(image, carried, fed)["inlets"]]
    assert busiest == max(occupied(image, carried.loads()).max(), *entered)
    own = carried_of(image, fired, 0 * fed, samples=1).loads()
    assert (sent, hops) == (occupied(image, own).max(), own.sum())
