# SPDX-License-Identifier: Apache-2.0
"""Entries reach their readers exactly, in few rectangles, and fit the memories."""

import numpy as np
import pytest

from emu.spec import preset
from mapping.errors import InfeasibleError
from mapping.layout.cover import cover
from mapping.layout.delivery import arriving
from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition, partition
from mapping.layout.place import Placement, place
from mapping.layout.route import fit, route
from mapping.layout.site import Site
from mapping.spiking.network import INPUT
from sim_tests.generators.mapping_networks import Draft, core_spec, digits_like, random_network


def _cells(rectangle: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    x0, x1, y0, y1 = rectangle
    return [(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]


@pytest.mark.parametrize("offset", range(20))
def test_cover_holds_every_cell_once_and_no_other(seed: int, offset: int) -> None:
    random = np.random.default_rng([seed, offset])
    grid = random.random((7, 5)) < random.random()
    cells = [(int(x), int(y)) for x, y in np.argwhere(grid)]
    held = [cell for rectangle in cover(cells) for cell in _cells(rectangle)]
    assert sorted(held) == sorted(cells)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 1), (1, 4), (6, 3)])
def test_cover_of_a_rectangle_is_one(width: int, height: int) -> None:
    assert cover(_cells((2, 1 + width, 3, 2 + height))) == ((2, 1 + width, 3, 2 + height),)


@pytest.mark.parametrize("offset", range(6))
def test_routes_reach_the_readers_exactly(seed: int, offset: int) -> None:
    parts, placement, routes = fit(random_network(seed + offset), core_spec())
    wanted = []
    for layer in parts.layers:
        (name,) = layer.sources
        table = arriving(parts.spiking.layer(layer.name), 0, parts.of(layer))
        for source, core, axon in zip(*(column.tolist() for column in table), strict=True):
            wanted.append((name, source, *placement.position[layer.first + core].tolist(), axon))
    got = [
        (name, element, x, y, axon)
        for name, elements in routes.entries.items()
        for element, entries in enumerate(elements)
        for *rectangle, axon in entries
        if rectangle[3] < placement.height
        for x, y in _cells((rectangle[0], rectangle[1], rectangle[2], rectangle[3]))
    ]
    assert sorted(got) == sorted(wanted)


def test_routes_take_one_packet_for_all_patches_and_channel_blocks() -> None:
    draft = Draft(shape=(2, 8, 8))
    draft.conv(16, (3, 3), pads=(1, 1, 1, 1))
    parts = partition(draft.network(), core_spec(columns=64))
    assert parts.layers[0].cores > 8
    routes = route(parts, place(parts, Mesh(width=16, height=16)))
    assert {len(entries) for entries in routes.entries[INPUT]} == {1}


def test_routes_of_the_digits_network_are_one_packet_an_element() -> None:
    _, _, routes = fit(digits_like(), preset("small"))
    assert routes.packets == 768 + 1024 + 96 + 64


def test_routes_number_the_outputs_one_after_the_other() -> None:
    spiking = random_network(1)
    _, placement, routes = fit(spiking, core_spec())
    last = [elements[-1][-1] for elements in (routes.entries["dense3"], routes.entries["conv2"])]
    gateway = (0, 0, placement.height, placement.height)
    sizes = [len(routes.entries[name]) for name in spiking.outputs]
    assert last == [(*gateway, sizes[0] - 1), (*gateway, sum(sizes) - 1)]
    assert dict(routes.outputs) == {"dense3": 0, "conv2": sizes[0]}


def test_outputs_that_a_usual_flit_cannot_name_widen_it() -> None:
    draft = Draft(shape=(1,), levels=1)
    draft.dense(300, levels=1)
    spec = core_spec(payload_bits=9, columns=64)
    assert spec.flit_axon_bits == 7
    parts, _, routes = fit(draft.network(), spec)
    assert (parts.spec.gateway_axons, parts.spec.flit_axon_bits) == (300, 9)
    assert [entries[-1][-1] for entries in routes.entries["dense0"]] == list(range(300))


@pytest.mark.parametrize(("outputs", "wider"), [(128, False), (129, True)])
def test_flit_is_as_usual_where_it_can_be(outputs: int, wider: bool) -> None:
    draft = Draft(shape=(1,), levels=1)
    draft.dense(outputs, levels=1)
    spec = core_spec(payload_bits=9, columns=64)
    parts, _, _ = fit(draft.network(), spec)
    assert (parts.spec != spec) is wider


def _scattered() -> Draft:
    """Two dense layers whose readers lie on three cores: not a rectangle in a 2 x 2 mesh."""
    draft = Draft(shape=(4,))
    draft.dense(8, density=1.0)
    draft.dense(24, density=1.0)
    return draft


def test_route_refuses_more_entries_than_the_memory_has() -> None:
    parts = partition(_scattered().network(), core_spec(columns=8, fanouts=8))
    with pytest.raises(InfeasibleError) as error:
        route(parts, place(parts, Mesh(width=2, height=2)))
    assert str(error.value) == (
        "Layer 'dense0' needs 16 fan-out entries on one core but 8 are allowed: choose the core size tiny."
    )


def test_fit_puts_fewer_neurons_on_a_core_whose_entries_overflow() -> None:
    spiking, spec = _scattered().network(), core_spec(columns=8, fanouts=8)
    parts, _, routes = fit(spiking, spec)
    assert len(parts.cores) > len(partition(spiking, spec).cores)
    for layer in parts.layers:
        for part in parts.of(layer):
            assert sum(len(routes.entries[layer.name][e]) for e in part.outputs) <= 8


def _diagonal(partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
    """Place the parts so that no two of them share a rectangle."""
    position = np.repeat(np.arange(len(partition.cores))[:, None], 2, axis=1)
    return Placement(width=mesh.width, height=mesh.height, position=position)


def test_fit_gives_up_when_one_neuron_overflows() -> None:
    draft = Draft(shape=(4,))
    draft.dense(1, density=1.0)
    draft.dense(24, density=1.0)
    with pytest.raises(InfeasibleError, match="needs 12 fan-out entries on one core but 2 are allowed"):
        fit(draft.network(), core_spec(columns=8, fanouts=2), Site(mesh=(13, 13), placer=_diagonal))
