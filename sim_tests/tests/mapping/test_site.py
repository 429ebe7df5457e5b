# SPDX-License-Identifier: Apache-2.0
"""A site says which cores a network may have; what it excludes stays empty, and files that do so are read."""

from pathlib import Path

import pytest

from emu.links import LinkSpec
from emu.spec import SystemSpec
from mapping.errors import MappingError
from mapping.layout.check import check
from mapping.layout.emit import emit
from mapping.layout.mesh import Mesh
from mapping.layout.partition import Partition, partition
from mapping.layout.place import PLACERS, Placement, place
from mapping.layout.route import fit
from mapping.layout.site import Site, excluded_cores, site_for
from sim_tests.generators.mapping_networks import core_spec, random_network


def test_site_gives_the_placer_the_links_of_its_chips() -> None:
    parts = partition(random_network(1), core_spec())
    seen: list[Mesh] = []

    def spy(partition: Partition, mesh: Mesh, *, seed: int = 0) -> Placement:
        seen.append(mesh)
        return place(partition, mesh, seed=seed)

    Site(mesh=(8, 6), chips=(2, 3), placer=spy).placement(parts)
    flit = SystemSpec(core=parts.spec, width=8, height=6).flit_bits
    beats = LinkSpec.between((2, 3), (8, 6), flit).beats(flit)
    assert beats > 1
    assert seen == [Mesh(width=8, height=6, chip=(4, 2), beats=beats)]


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
def test_network_computes_the_same_around_excluded_cores(name: str, seed: int) -> None:
    spiking, spec = random_network(seed), core_spec()
    excluded = frozenset({(0, 0), (2, 1), (1, 3)})
    site = Site(mesh=(9, 8), excluded=excluded, placer=PLACERS[name], seed=1)
    image = emit(spiking, *fit(spiking, spec, site), name="n", facts=site.facts)
    assert check(image, spiking) == []
    assert all(image.cores[y * 9 + x] is None for x, y in excluded)


def test_check_finds_a_core_that_is_excluded() -> None:
    spiking = random_network(2)
    layout = fit(spiking, core_spec(), Site(mesh=(9, 8)))
    x, y = layout[1].position[0].tolist()
    image = emit(spiking, *layout, name="n", facts={"excluded": [[x, y]]})
    assert [violation.kind for violation in check(image, spiking)] == ["excluded-core"]


def test_excluded_cores_are_read(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text("cores = [[3, 1], [0, 2]]\n")
    assert excluded_cores(file) == {(3, 1), (0, 2)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cores = [[1]]", "lists the core [1], which is not [x, y]: write cores = [[x, y], ...]."),
        ("cores = [[1, true]]", "lists the core [1, True], which is not [x, y]: write"),
        ("links = []\ncores = []", "must list cores and nothing else, see 'links': write"),
        ("", "must list cores and nothing else, see 'cores': write"),
        ("cores = [", "is no TOML file: "),
        ("#" * (1 << 20) + "\n", "has 1048577 bytes and may have 1048576: write"),
    ],
)
def test_file_of_excluded_cores_must_list_cores(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(MappingError) as error:
        excluded_cores(file)
    assert f"{file} {message}" in str(error.value)


def test_file_of_excluded_cores_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="cannot be read: No such file or directory; write cores"):
        excluded_cores(tmp_path / "none.toml")


def test_excluded_cores_must_lie_in_a_given_mesh() -> None:
    with pytest.raises(MappingError, match=r"^Cores are excluded from a mesh of a given size only: add"):
        Site(excluded=frozenset({(0, 0)}))
    with pytest.raises(MappingError, match=r"^Excluded core \(4, 0\) is outside the mesh of 4x3 cores: "):
        Site(mesh=(4, 3), excluded=frozenset({(4, 0)}))
    assert Site(mesh=(4, 3), excluded=frozenset({(3, 2)})).excluded


def test_placer_must_have_a_name_that_is_known() -> None:
    with pytest.raises(MappingError, match=r"^Placer must be one of greedy, curve, anneal, not 'best'\.$"):
        site_for("best")
