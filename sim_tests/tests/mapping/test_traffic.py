# SPDX-License-Identifier: Apache-2.0
"""What placers price is what the routes of a placement send, link by link."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.dead import DeadSpec
from emu.gates import GateSpec, inlets_of
from emu.spec import SystemSpec
from mapping.layout.mesh import EAST, NORTH, SOUTH, WEST, Mesh
from mapping.layout.packet_path import GATEWAY, crossings
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, Placement, Placer
from mapping.layout.route import route
from mapping.layout.site import unused_cores
from mapping.layout.traffic import INLET, OUTLET, Loads, Traffic, traffic_of
from mapping.spiking.network import INPUT
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network

Integers = NDArray[np.int64]

_PORTS = {0: NORTH, 1: EAST, 2: SOUTH, 3: WEST}
"""Output of `mapping.layout.packet_path` -> output of `mapping.layout.mesh`."""


DEAD = DeadSpec(cores=((1, 0), (3, 3)), ports=((4, 5, "E"), (7, 2, "S")))

GATES = {
    "one of each": None,
    "inlets": GateSpec(inlets=((0, "E"), (3, "W"))),
    "outlets": GateSpec(outlets=(4, 8)),
    "several": GateSpec(inlets=((2, "E"), (5, "W"), (6, "W")), outlets=(3,)),
}
"""Row 5 has a dead way, so that some packets cannot take the inlet there."""


def _system(parts: Partition, gates: str) -> SystemSpec:
    """Return a mesh of 9 x 8 cores with dead parts and gates."""
    return SystemSpec(core=parts.spec, width=9, height=8, dead=DEAD, gates=GATES[gates])


def _mesh(system: SystemSpec) -> Mesh:
    return replace(Mesh.of(system), excluded=unused_cores(DEAD, system.width, system.height))


def _walked(parts: Partition, placement: Placement, system: SystemSpec) -> Integers:
    """Return the packets over each link if every element sends once, by the routes and the check's walk.

    What enters by an inlet is counted at its port.
    """
    senders, rectangles, routes = [], [], route(parts, placement, system)
    for name, elements in routes.entries.items():
        home = None if name == INPUT else parts.home(name)[0]
        for element, entries in enumerate(elements):
            if home is not None:
                senders += [placement.index(int(home[element]))] * len(entries)
            rectangles += [entry[:4] for entry in entries]
        if home is None:
            senders += (GATEWAY - routes.inlet).tolist()
    loads = np.zeros((4, placement.height, placement.width), np.int64)
    where = np.array(senders, np.int64), np.array(rectangles, np.int64).reshape(-1, 4)
    for _, router, output in crossings(system.width, system.height, *where, system.gates).tolist():
        loads[_PORTS[output], router // placement.width, router % placement.width] += 1
    for inlet, (row, side) in enumerate(inlets_of(system.gates)):
        port, x = (WEST, 0) if side == "W" else (EAST, system.width - 1)
        assert loads[port, row, x] == 0
        loads[port, row, x] = (routes.inlet == inlet).sum()
    return loads


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("placer", [PLACERS[name] for name in ("greedy", "curve")])
@pytest.mark.parametrize("offset", range(4))
def test_loads_are_what_the_routes_send(placer: Placer, seed: int, offset: int, gates: str) -> None:
    parts = partition(random_network(seed + offset), core_spec())
    system = _system(parts, gates)
    placement = placer(parts, _mesh(system), seed=offset)
    traffic = traffic_of(parts)
    loads = Loads(traffic=traffic, mesh=_mesh(system))
    found = loads(placement.position)
    assert np.array_equal(found, _walked(parts, placement, system))
    sent, fed = loads.parts(placement.position)
    host = traffic.source == INLET
    assert np.array_equal(sent, loads(placement.position, np.flatnonzero(~host)))
    assert np.array_equal(fed, loads(placement.position, np.flatnonzero(host)))
    assert np.array_equal(sent + fed, found)
    entered = sum(found[place] for place in _mesh(system).entrances)
    assert _mesh(system).hops(found) == found.sum() - entered
    assert entered == len(route(parts, placement, system).inlet)


def test_packet_to_the_host_is_one_packet_whatever_the_sets_of_readers_are() -> None:
    """The one set is three cores in an angle, two packets; what goes out leaves by column 0."""
    one = np.ones(2, np.int64)
    traffic = Traffic(
        cores=4,
        source=np.array([0, 3]),
        packets=one,
        readers=np.array([0, OUTLET]),
        members=np.array([[0, 1, 2]]),
        size=np.array([3]),
    )
    loads = Loads(traffic=traffic, mesh=Mesh(width=2, height=2))
    position = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    found = loads(position, np.array([1]))
    assert found.tolist() == [[[0, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]]


def _traffic() -> tuple[Partition, Traffic]:
    """Return three dense layers of 2, 1 and 1 cores; the third reads the first and the second."""
    draft = Draft(shape=(4,))
    first = draft.dense(16, density=1.0)
    draft.dense(8, source=first, density=1.0)
    parts = partition(draft.network(), core_spec(columns=8, potential_bits=8))
    return parts, traffic_of(parts)


def test_traffic_counts_elements_of_pairs_and_of_the_host() -> None:
    parts, traffic = _traffic()
    assert len(parts.cores) == 3
    assert traffic.pairs().toarray().tolist() == [[0, 0, 8], [0, 0, 8], [0, 0, 0]]
    fed, sent = traffic.host()
    assert fed.tolist() == [4, 4, 0]
    assert sent.tolist() == [0, 0, 8]
    assert sorted(traffic.source.tolist()) == [INLET, 0, 1, 2]


def test_mesh_takes_more_cycles_on_links_between_chips_alone() -> None:
    cycles = Mesh(width=4, height=2, chip=(2, 1), beats=5).cycles()
    assert cycles[EAST].tolist() == [[1, 5, 1, 1]] * 2
    assert cycles[WEST].tolist() == [[1, 1, 5, 1]] * 2
    assert cycles[SOUTH].tolist() == [[5] * 4, [1] * 4]
    assert cycles[NORTH].tolist() == [[1] * 4, [5] * 4]
    assert (Mesh(width=4, height=2).cycles() == 1).all()


def test_packets_of_a_side_occupy_its_shared_link_together(seed: int) -> None:
    packets = np.random.default_rng(seed).integers(0, 9, (3, 4, 4, 6))
    own, shared = (Mesh(width=6, height=4, chip=(3, 2), beats=5, shared=way) for way in (False, True))
    assert own.busy(packets).tolist() == (packets * own.cycles()).tolist()
    expected = packets * own.cycles()
    for port, y, x in np.argwhere(own.between_chips()).tolist():
        left, top = x // 3 * 3, y // 2 * 2
        row = (y, slice(left, left + 3)) if port in {NORTH, SOUTH} else (slice(top, top + 2), x)
        expected[:, port, y, x] = 5 * packets[(slice(None), port, *row)].sum(axis=1)
    assert shared.busy(packets).tolist() == expected.tolist()
