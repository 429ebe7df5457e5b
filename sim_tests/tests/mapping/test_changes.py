# SPDX-License-Identifier: Apache-2.0
"""Which single changes are tried, and that each is made: no network is compiled here."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.spec import SystemSpec, preset
from mapping.chip import Chip
from mapping.errors import MappingError
from mapping.layout.assembly import Links
from mapping.layout.gates import Gates
from mapping.layout.partition import partition
from mapping.layout.site import Site
from mapping.report.changes import changes_of, rates_after
from mapping.report.text import changed
from sim_tests.generators.mapping_networks import core_spec, random_network

ALONE = SystemSpec(core=preset("tiny"), width=2, height=2)
LINKED = replace(ALONE, links=LinkSpec(width=1, height=2, wires=5))
OPEN = replace(ALONE, gates=GateSpec(inlets=((0, "E"), (1, "E"), (1, "W")), outlets=(1,)))
REST = ["--placer anneal", "--objective latency"]


@pytest.mark.parametrize(
    ("spec", "asked", "options"),
    [
        (ALONE, {}, ["--inlets 2", "--outlets 2", *REST]),
        (LINKED, {}, ["--wires 10", "--inlets 2", "--outlets 2", *REST]),
        (OPEN, {"placer": "curve"}, REST),
        (OPEN, {"placer": "anneal", "objective": "energy"}, []),
    ],
)
def test_changes_are_those_that_a_system_has_not(
    spec: SystemSpec, asked: dict[str, Any], options: list[str]
) -> None:
    assert [option for option, _ in changes_of(spec, asked)] == options


def test_links_are_never_wider_than_a_flit() -> None:
    assert LINKED.links is not None
    bits = LINKED.links.word_bits(LINKED.flit_bits)
    for wires, option in ((bits - 1, [f"--wires {bits}"]), (bits, [])):
        spec = replace(LINKED, links=replace(LINKED.links, wires=wires))
        assert [told for told, _ in changes_of(spec, {}) if "wires" in told] == option


def test_each_change_is_made_alone_and_what_it_gives_is_told() -> None:
    asked = {"wires": 5, "gates": Gates(outlets="0,1"), "seed": 3}
    made: list[dict[str, Any]] = []

    def compiled(**arguments: Any) -> Chip:
        made.append(arguments)
        if arguments["gates"].inlets == "2":
            raise MappingError("no room.")
        image = SimpleNamespace(cores=[None, object(), object()])
        return cast("Chip", SimpleNamespace(image=image))

    def rated(_: Chip) -> dict[str, Any]:
        return {
            "cycles": 90.0,
            "bounds": [{"of": "link", "cycles": 7.0 + len(made)}, {"of": "core", "cycles": 1}],
        }

    rows = rates_after(LINKED, asked, compiled, rated)
    gates = (Gates(inlets="2", outlets="0,1"), Gates(outlets="2"))
    changed_arguments: list[dict[str, Any]] = [{"wires": 10}, *({"gates": one} for one in gates)]
    changed_arguments += [{"placer": "anneal"}, {"objective": "latency"}]
    assert made == [{**asked, **one} for one in changed_arguments]
    assert [row["refusal"] for row in rows] == [None, "no room.", None, None, None]
    assert [row["bound"] for row in rows] == [8.0, None, 10.0, 11.0, 12.0]
    assert {(row["limit"], row["cycles"], row["cores"]) for row in rows if not row["refusal"]} == {
        ("link", 90.0, 2)
    }


def row(option: str, bound: float | None, cycles: float) -> dict[str, Any]:
    told = {"option": option, "refusal": None, "cores": 1, "limit": "core", "bound": bound, "cycles": cycles}
    return told if bound is not None else {**told, "refusal": "no room."}


def test_best_change_is_named() -> None:
    first = {"of": "link", "cycles": 100.0}
    rows = [row("a 1", 90.0, 200.0), row("b 2", 80.0, 210.0), row("c 3", 80.0, 205.0), row("d 4", None, 1.0)]
    (told,) = changed(first, rows)
    assert told == (
        "Of the changes a 1, b 2, c 3 the best for that part is c 3: the busiest is then the core with 80 "
        "cycles, 20 fewer, and an inference takes 205."
    )
    assert list(changed(first, [row("a 1", 100.0, 90.0)])) == [
        "None of the changes a 1 makes the busiest part less busy."
    ]
    assert list(changed({"of": "core", "cycles": 1.0}, None)) == []
    assert "--explain" in next(changed(first, None))


def test_links_have_the_wires_that_are_asked_for() -> None:
    parts = partition(random_network(1), core_spec())
    site = Site(chips=(2, 1))
    links = site.system(parts).links
    assert links is not None
    wider = replace(site, links=Links(wires=2 * links.wires)).system(parts).links
    assert wider == replace(links, wires=2 * links.wires)
    bits = links.word_bits(site.system(parts).flit_bits)
    with pytest.raises(MappingError, match=rf"link wires must be 1\.\.{bits}, not {bits + 1}\.$"):
        replace(site, links=Links(wires=bits + 1)).system(parts)
    assert replace(site, links=Links(wires=bits)).system(parts).links is not None
    with pytest.raises(MappingError, match=r"^Wires are those of links between several chips: add --chips"):
        Site(links=Links(wires=4))
