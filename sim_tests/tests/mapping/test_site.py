# SPDX-License-Identifier: Apache-2.0
"""A site says which cores a network may have; what it excludes stays empty, and files that do so are read."""

import re
from pathlib import Path

import numpy as np
import pytest

from emu.dead import DeadSpec
from emu.links import LinkSpec
from emu.spec import SystemSpec
from emu.topology import meets_dead
from mapping.errors import MappingError
from mapping.layout.assembly import Links
from mapping.layout.check import check
from mapping.layout.emit import emit
from mapping.layout.gates import Gates
from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, Placement, TooManyCoresError, place
from mapping.layout.route import fit
from mapping.layout.site import Site, dead_parts, site_for, unused_cores
from sim_tests.generators.mapping_networks import core_spec, random_network


def test_site_gives_the_placer_the_links_of_its_chips() -> None:
    parts = partition(random_network(1), core_spec())
    seen: list[Mesh] = []

    def spy(partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
        seen.append(mesh)
        return place(partition, mesh, seed=seed)

    flit = SystemSpec(core=parts.spec, width=8, height=6).flit_bits
    for shared in (False, True):
        Site(mesh=(8, 6), chips=(2, 3), links=Links(shared=shared), placer=spy).placement(parts)
        beats = LinkSpec.between((2, 3), (8, 6), flit, shared=shared).beats(flit)
        assert beats > 1
        assert seen.pop() == Mesh(width=8, height=6, chip=(4, 2), beats=beats, shared=shared)


def test_first_row_is_used_as_far_as_the_host_reaches() -> None:
    """What lies behind a dead way there is cut off with its columns; what lies before it is not."""
    dead = DeadSpec(ports=((1, 0, "E"),))
    assert unused_cores(dead, 4, 2) == {(2, 0), (3, 0), (2, 1), (3, 1)}


def test_links_of_one_chip_are_not_shared() -> None:
    told = r"^Links are shared between several chips only: add --chips, for example 2x1\.$"
    with pytest.raises(MappingError, match=told):
        Site(links=Links(shared=True))
    assert Site(links=Links(shared=True), chips=(2, 1)).chips == (2, 1)


def test_default_mesh_has_slack_and_equal_chips() -> None:
    parts = partition(random_network(1), core_spec())
    sizes = [
        Site(slack=slack, chips=chips).placement(parts)
        for slack, chips in ((0, (1, 1)), (2, (1, 1)), (2, (2, 2)))
    ]
    width, height = sizes[0].width, sizes[0].height
    assert (sizes[1].width, sizes[1].height) == (width + 2, height)
    assert sizes[2].width % 2 == sizes[2].height % 2 == 0
    assert sizes[2].width in {width + 2, width + 3}
    assert [site_for(name).slack for name in PLACERS] == [0, 0, 2]


@pytest.mark.parametrize("name", PLACERS)
def test_network_computes_the_same_around_dead_parts(name: str, seed: int) -> None:
    spiking, spec = random_network(seed), core_spec()
    dead = DeadSpec(cores=((0, 0), (2, 1), (1, 3)), ports=((8, 3, "S"), (4, 6, "E")))
    site = Site(mesh=(9, 8), dead=dead, placer=PLACERS[name], seed=1)
    image = emit(spiking, *fit(spiking, spec, site), name="n")
    assert check(image, spiking) == []
    assert image.spec.dead == dead
    unused = unused_cores(dead, 9, 8)
    assert {(8, 0), (0, 6), *dead.cores} < unused
    assert all(image.cores[y * 9 + x] is None for x, y in unused)


def test_each_core_that_is_used_reaches_each_other_one(seed: int) -> None:
    """By every rectangle of used cores, and the gateway."""
    rng, spec = np.random.default_rng(seed), core_spec()
    cells = [(x, y) for y in range(4) for x in range(5)]
    places = np.array([(x0, x1, y0, y1) for x0, y0 in cells for x1, y1 in cells if x0 <= x1 and y0 <= y1])
    for ports in [((2, 0, "E"),), ((2, 2, "E"), (4, 1, "S")), *(drawn(rng) for _ in range(6))]:
        dead = DeadSpec(cores=((int(rng.integers(5)), 1),), ports=ports)
        system = SystemSpec(core=spec, width=5, height=4, dead=dead)
        used = np.ones((4, 5), np.bool_)
        for x, y in unused_cores(dead, 5, 4):
            used[y, x] = False
        full = [p for p in places.tolist() if used[p[2] : p[3] + 1, p[0] : p[1] + 1].all()]
        rectangles = np.array([*full, (0, 0, 4, 4)])
        starts = [(x, y) for x, y in cells if used[y, x]]
        assert starts
        for start in [(0, 0), *starts]:
            assert not meets_dead(system, np.array(start), rectangles).any()


def drawn(rng: np.random.Generator) -> tuple[tuple[int, int, str], ...]:
    """Return dead ways of a mesh of 5 x 4 cores, none of them in column 0 or in the first row."""
    east = ((int(rng.integers(4)), int(rng.integers(1, 4)), "E") for _ in range(int(rng.integers(1, 3))))
    return (*east, (int(rng.integers(1, 5)), int(rng.integers(3)), "S"))


def test_dead_parts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text('cores = [[3, 1], [0, 2]]\nports = [[1, 1, "W"]]\n')
    assert dead_parts(file) == DeadSpec(cores=((0, 2), (3, 1)), ports=((0, 1, "E"),))
    file.write_text("cores = []\n")
    assert dead_parts(file) == DeadSpec()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cores = [[1]]",
            "lists what is none: dead core must be [x, y], not [1]; write cores = [[x, y], ...]",
        ),
        ("cores = [[1, true]]", "lists what is none: dead core must be [x, y], not [1, True]; write"),
        (
            'ports = [[1, 1, "L"]]',
            "lists what is none: dead port must be [x, y, side] with a side N, E, S or W",
        ),
        ("links = []\ncores = []", "must list cores and ports and nothing else, see 'links': write"),
        ("ports = 1", "must list cores and ports and nothing else, see 'ports': write"),
        ("", "must list cores and ports and nothing else, see 'cores': write"),
        ("cores = [", "is no TOML file: "),
        ("#" * (1 << 20) + "\n", "has 1048577 bytes and may have 1048576: write"),
    ],
)
def test_file_of_dead_parts_must_list_some(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(MappingError) as error:
        dead_parts(file)
    assert f"{file} {message}" in str(error.value)


def test_file_of_dead_parts_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="cannot be read: No such file or directory; write cores"):
        dead_parts(tmp_path / "none.toml")


def test_dead_parts_must_lie_in_a_given_mesh() -> None:
    with pytest.raises(MappingError, match=r"^Parts are excluded from a mesh of a given size only: add"):
        Site(dead=DeadSpec(cores=((0, 0),)))
    with pytest.raises(MappingError) as error:
        Site(mesh=(4, 3), dead=DeadSpec(cores=((4, 0),)))
    assert str(error.value) == (
        "Nothing can be placed around what is excluded: dead core must be one of 4 x 3 cores, not [4, 0]; "
        "list other parts, x and y counted from 0."
    )
    assert Site(mesh=(4, 3), dead=DeadSpec(cores=((3, 2),))).cores == 11


def test_dead_way_to_an_outlet_names_a_way_out_that_exists() -> None:
    gates = Gates(outlets="0,2")
    with pytest.raises(MappingError) as error:
        Site(mesh=(4, 4), dead=DeadSpec(ports=((2, 1, "S"),)), gates=gates)
    assert str(error.value) == (
        "Nothing can be placed around what is excluded: dead ports must be such that tokens of the host "
        "reach the outlet of column 2, not [[2, 1, 'S']]; list other parts, x and y counted from 0."
    )
    assert Site(mesh=(4, 4), dead=DeadSpec(ports=((3, 1, "S"),)), gates=gates).cores == 12


def test_mesh_that_is_too_small_around_dead_parts_names_one_that_is_not() -> None:
    parts, dead = partition(random_network(1), core_spec()), DeadSpec(ports=((0, 1, "E"), (1, 1, "S")))
    with pytest.raises(TooManyCoresError) as error:
        Site(mesh=(3, 3), dead=dead).placement(parts)
    found = re.search(r"choose the mesh (\d+)x(\d+), or add --passes$", error.value.remedy)
    assert found is not None
    width, height = int(found[1]), int(found[2])
    assert width * height - len(unused_cores(dead, width, height)) >= len(parts.cores)
    assert len(Site(mesh=(width, height), dead=dead).placement(parts).position) == len(parts.cores)


def test_placer_must_have_a_name_that_is_known() -> None:
    with pytest.raises(MappingError, match=r"^Placer must be one of greedy, curve, anneal, not 'best'\.$"):
        site_for("best")
