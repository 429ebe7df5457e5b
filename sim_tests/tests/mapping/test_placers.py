# SPDX-License-Identifier: Apache-2.0
"""One suite for every placer: traffic of known shapes, meshes with room, without, and with dead parts."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.dead import DeadSpec
from mapping.errors import InfeasibleError
from mapping.layout.check import check
from mapping.layout.emit import emit
from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, Placer
from mapping.layout.route import fit
from mapping.layout.site import Site, unused_cores
from mapping.layout.traffic import INLET, OUTLET, Loads, Traffic, traffic_of
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, core_spec

SPEC = core_spec(columns=8, potential_bits=8)
"""A core of eight neurons."""

DEAD = DeadSpec(cores=((1, 0), (3, 2)), ports=((2, 3, "E"), (4, 1, "S")))


def chain() -> SpikingNetwork:
    """Return eight layers of one core each, one behind the other."""
    draft = Draft(shape=(8,))
    for _ in range(8):
        draft.dense(8, density=1.0)
    return draft.network()


def ring() -> SpikingNetwork:
    """Return a chain whose first core sends to the last one too."""
    draft = Draft(shape=(8,))
    first = draft.dense(8, density=1.0)
    for _ in range(6):
        draft.dense(8, density=1.0)
    last = draft.dense(8, density=1.0)
    network = draft.network()
    *others, closing = network.layers
    again = replace(closing.sources[0], name=first)
    return replace(
        network, layers=(*others, replace(closing, sources=(*closing.sources, again))), outputs=(last,)
    )


def broadcast() -> SpikingNetwork:
    """Return a core that sends each of its packets to seven others."""
    draft = Draft(shape=(8,))
    draft.dense(8, density=1.0)
    draft.dense(56, density=1.0)
    return draft.network()


def gather() -> SpikingNetwork:
    """Return seven cores that send to one."""
    draft = Draft(shape=(1,))
    draft.dense(56, density=1.0)
    draft.dense(8, density=1.0)
    return draft.network()


SHAPES: dict[str, Callable[[], SpikingNetwork]] = {
    "chain": chain,
    "ring": ring,
    "broadcast": broadcast,
    "gather": gather,
}

each_placer = pytest.mark.parametrize("placer", PLACERS.values(), ids=PLACERS)
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def nothing() -> Partition:
    """Return a partition without a core."""
    return Partition(spiking=chain(), spec=SPEC, period=1, layers=(), cores=())


def inner_flows(traffic: Traffic) -> NDArray[np.int64]:
    """Return the flows from core to core."""
    return np.flatnonzero((traffic.source != INLET) & (traffic.readers != OUTLET))


@each_placer
def test_null(placer: Placer) -> None:
    placement = placer(nothing(), Mesh(width=2, height=1))
    assert placement.position.shape == (0, 2)
    assert (placement.width, placement.height) == (2, 1)


@each_shape
@each_placer
def test_impossible(placer: Placer, shape: Callable[[], SpikingNetwork]) -> None:
    with pytest.raises(
        InfeasibleError, match=r"needs [78] cores with the layers before it but 6 are allowed"
    ):
        placer(partition(shape(), SPEC), Mesh(width=3, height=2))


@each_shape
@each_placer
def test_full(placer: Placer, shape: Callable[[], SpikingNetwork]) -> None:
    mesh = Mesh(width=3, height=3, excluded=frozenset({(1, 1)}))
    cells = placer(partition(shape(), SPEC), mesh, seed=2).position.tolist()
    assert sorted(map(tuple, cells)) == [(x, y) for x in range(3) for y in range(3) if (x, y) != (1, 1)]


@each_shape
@each_placer
def test_dead_cores_and_links(placer: Placer, shape: Callable[[], SpikingNetwork]) -> None:
    """The image passes the check, which walks every route, and nothing lies where nothing may."""
    network = shape()
    image = emit(network, *fit(network, SPEC, Site(mesh=(5, 4), dead=DEAD, placer=placer, seed=3)), name="n")
    assert check(image, network) == []
    used = {(index % 5, index // 5) for index, core in enumerate(image.cores) if core is not None}
    assert len(used) == 8
    assert not used & unused_cores(DEAD, 5, 4)


@each_shape
@each_placer
def test_same_again(placer: Placer, shape: Callable[[], SpikingNetwork]) -> None:
    parts, mesh = partition(shape(), SPEC), Mesh(width=4, height=3, excluded=frozenset({(0, 1), (2, 2)}))
    again = replace(mesh, excluded=frozenset({(2, 2), (0, 1)}))
    first, second = placer(parts, mesh, seed=4), placer(partition(shape(), SPEC), again, seed=4)
    assert first.position.tolist() == second.position.tolist()


def fewest_hops(shape: str, traffic: Traffic, mesh: Mesh) -> int:
    """Return the hops between cores below which no placement gets.

    A packet to n other cores takes n hops at least; cores that all send to one cannot all be beside it.
    """
    inner = inner_flows(traffic)
    if shape != "gather":
        return int((traffic.packets[inner] * traffic.size[traffic.readers[inner]]).sum())
    cells = np.array([(x, y) for x in range(mesh.width) for y in range(mesh.height)])
    away = np.abs(cells[:, None] - cells).sum(axis=(1, 2))
    return int(away.min()) * 8


@pytest.mark.parametrize("shape", SHAPES)
def test_anneal_finds_the_fewest_hops(shape: str) -> None:
    parts, mesh = partition(SHAPES[shape](), SPEC), Mesh(width=4, height=2)
    traffic = traffic_of(parts)
    loads, flows = Loads(traffic=traffic, mesh=mesh), inner_flows(traffic)
    hops = {name: int(loads(placer(parts, mesh).position, flows).sum()) for name, placer in PLACERS.items()}
    assert hops["anneal"] == fewest_hops(shape, traffic, mesh)
    assert hops["anneal"] <= min(hops.values())
