# SPDX-License-Identifier: Apache-2.0
"""The topology: the ports that network.md names, and the mesh as the oracle reads it from the page."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from emu.dead import DeadSpec
from emu.links import LinkSpec
from emu.spec import SystemSpec, preset
from emu.topology import (
    CORE,
    HOST,
    NOTHING,
    PLACES,
    Port,
    comes_out,
    on_chip,
    sides_with_links,
    topology_of,
)
from sim_tests.oracle.rules import OPPOSITE, Mesh, S, W

SIZES = [*itertools.product(range(1, 5), repeat=2), (64, 1), (1, 63), (7, 9), (70, 66)]


def chip(width: int, height: int) -> SystemSpec:
    return SystemSpec(core=preset("tiny"), width=width, height=height)


def ports(names: str) -> int:
    return sum(1 << "NESWL".index(name) for name in names)


@pytest.mark.parametrize(
    ("width", "height", "place", "inputs", "outputs"),
    [
        (1, 1, (0, 0), "WL", "SL"),
        (2, 1, (0, 0), "EWL", "ESL"),
        (2, 1, (1, 0), "WL", "WL"),
        (1, 2, (0, 0), "SWL", "SL"),
        (1, 2, (0, 1), "NL", "NSL"),
        (3, 3, (0, 0), "ESWL", "ESL"),
        (3, 3, (1, 0), "ESWL", "ESWL"),
        (3, 3, (2, 0), "SWL", "SWL"),
        (3, 3, (0, 1), "NESL", "NESL"),
        (3, 3, (1, 1), "NESWL", "NESWL"),
        (3, 3, (0, 2), "NEL", "NESL"),
        (3, 3, (2, 2), "NWL", "NWL"),
    ],
)
def test_ports_present(width: int, height: int, place: tuple[int, int], inputs: str, outputs: str) -> None:
    topology, router = topology_of(chip(width, height)), place[1] * width + place[0]
    assert (topology.inputs[router], topology.outputs[router]) == (ports(inputs), ports(outputs))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_topology_is_the_mesh_of_the_oracle(width: int, height: int) -> None:
    topology, mesh = topology_of(chip(width, height)), Mesh(width=width, height=height)
    for router, port in itertools.product(range(width * height), range(4)):
        beyond = mesh.neighbour(router, port)
        place = NOTHING if beyond is None else PLACES * beyond + OPPOSITE[port]
        behind = HOST if mesh.is_exit(router, port) else place
        before = HOST if (router, port) == (0, W) else place
        assert topology.behind[PLACES * router + port] == behind
        assert topology.before[PLACES * router + port] == before
    assert (topology.behind[Port.L :: PLACES] == CORE).all()
    assert (topology.before[Port.L :: PLACES] == CORE).all()
    assert int(mesh.is_exit(width * (height - 1), S)) == 1


def test_topology_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        topology_of(chip(2, 2)).behind[0] = HOST


def test_packets_that_go_south_of_the_mesh_in_the_column_of_the_gateway_come_out() -> None:
    places = np.array([[0, 0, 1], [0, 0, 2], [0, 1, 2], [1, 1, 2], [0, 0, 3], [0, 1, 3], [1, 1, 3]])
    comes = comes_out(chip(2, 2), *places.T)
    assert comes.tolist() == [False, True, True, False, True, True, False]


def test_chips_are_counted_row_by_row() -> None:
    spec = replace(chip(6, 2), links=LinkSpec(width=2, height=1, wires=8))
    places = PLACES * np.arange(12) + Port.W
    chips, there = on_chip(spec, places)
    assert chips.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert there.tolist() == [PLACES * core + Port.W for core in (0, 1)] * 6


def test_sides_keep_their_links_though_all_of_them_are_dead() -> None:
    """A chip is one module, whatever is dead."""
    joined = replace(chip(2, 2), links=LinkSpec(width=1, height=2, wires=8))
    dead = replace(joined, dead=DeadSpec(ports=((0, 0, "E"), (0, 1, "E"))))
    assert len(topology_of(dead).links) == 0
    assert sides_with_links(dead) == sides_with_links(joined) == (Port.E, Port.W)
