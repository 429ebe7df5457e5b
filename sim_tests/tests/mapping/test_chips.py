# SPDX-License-Identifier: Apache-2.0
"""What a report tells of several chips: pins as exported, crossings, bits, energy and loading."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

import spikeloom
from emu.bits import unpack
from emu.gates import GateSpec
from emu.host import load_flits
from emu.links import LinkSpec
from emu.spec import SystemSpec
from emu.words import RECTANGLE, flit_layout
from mapping.chip import Chip
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.report.chips import chips_of, loading_crossings, pins_of
from mapping.report.loading import loading
from mapping.report.page.mesh import THICK, picture
from mapping.report.result import Report
from mapping.report.text import number
from mapping.targets.files import load_target
from rtl.export import chip_verilog
from sim_tests.generators.pool import LEAST
from sim_tests.oracle.rules import OPPOSITE, L, Mesh, W, wanted

FOUR = SystemSpec(core=LEAST, width=4, height=2, links=LinkSpec(width=2, height=1, wires=9, depth=1))
SHARED = replace(FOUR, links=LinkSpec(width=2, height=1, wires=9, depth=1, shared=True))
OPEN = replace(FOUR, gates=GateSpec(inlets=((0, "E"), (1, "W")), outlets=(1, 2)))
SPECS = {
    "four chips": FOUR,
    "four chips with shared links": SHARED,
    "two chips": replace(FOUR, height=1),
    "a chip": replace(FOUR, links=None),
    "a core": SystemSpec(core=LEAST, width=1, height=1),
    "four chips with gates": OPEN,
    "a chip with gates": replace(OPEN, links=None),
}


def ports(verilog: str, module: str) -> int:
    """Return the bits of all ports of a module, as Verilog declares them."""
    text = verilog[verilog.index(f"\nmodule {module}(") :]
    text = text[: text.index("\nendmodule")]
    found = re.findall(r"^  (?:input|output)(?: wire)? (?:\[(\d+):0\] )?\S+", text, re.MULTILINE)
    return sum(int(high or 0) + 1 for high in found)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_pins_of_a_chip_are_those_of_its_verilog(spec: SystemSpec) -> None:
    assert sum(pins_of(spec).values()) == ports(chip_verilog(spec)["chip.v"], "chip")


@pytest.fixture(scope="module")
def chip() -> Chip:
    return compile_network(load_network("digits"), core="small", chips=(2, 2))


@pytest.fixture(scope="module")
def report() -> Report:
    data = spikeloom.load_data("digits").first(2)
    targets = ["loom", "kuang2021"]
    return spikeloom.estimate(load_network("digits"), data, targets, core="small", chips=(2, 2))


@pytest.fixture(scope="module")
def part(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = report.to_dict()["targets"][0]
    return found


def test_report_charges_every_bit_that_crosses(chip: Chip, part: dict[str, Any]) -> None:
    run = chip.run(chip.prepare(spikeloom.load_data("digits").first(2))[0].x).result
    crossings, spec = run.total("crossings") / 2, chip.image.spec
    chips, bit = part["breakdown"]["chips"], load_target("loom").energy["link_bits"]
    assert (part["chips"], chips["across"], chips["down"]) == (4, 2, 2)
    assert chips["crossings"] == part["counters"]["crossings"] == crossings > 0
    assert chips["bits"] == crossings * spec.flit_bits
    joules = {name: part["breakdown"][name]["links"] for name in ("units", "units_low", "units_high")}
    bits = chips["bits"]
    assert list(joules.values()) == [bits * bit.si, bits * bit.si_low, bits * bit.si_high]


def test_report_of_one_chip_has_no_links() -> None:
    data = spikeloom.load_data("digits").first(1)
    part = spikeloom.estimate(load_network("digits"), data, core="small").to_dict()["targets"][0]
    assert (part["chips"], part["breakdown"]["chips"]) == (1, None)
    assert "links" not in part["breakdown"]["units"]
    assert "crossings" not in part["counters"]


@pytest.mark.parametrize("shared", [False, True])
def test_picture_shows_how_long_links_are_busy(shared: bool) -> None:
    """The routers of a side that share its link all show the packets of all, in the beats of a flit."""
    data = spikeloom.load_data("digits").first(1)
    network = load_network("digits")
    spec = compile_network(network, core="small", chips=(2, 1), shared_links=shared).image.spec
    found = spikeloom.estimate(network, data, core="small", chips=(2, 1), shared_links=shared)
    mesh = found.to_dict()["targets"][0]["breakdown"]["mesh"]
    assert spec.links is not None
    border, beats = spec.links.width - 1, spec.links.beats(spec.flit_bits)
    east = [link for link in mesh["links"] if (link["x"], link["port"]) == (border, "east")]
    assert len(east) > 1
    side = beats * sum(link["packets"] for link in east)
    assert [link["cycles"] for link in east] == [side if shared else beats * link["packets"] for link in east]
    within = [link for link in mesh["links"] if link["port"] in {"north", "south"}]
    assert all(link["cycles"] == link["packets"] for link in within)
    drawn = picture(mesh, [layer["name"] for layer in found.to_dict()["targets"][0]["breakdown"]["layers"]])
    most = max(link["cycles"] for link in mesh["links"])
    assert [line.width for line in drawn.lines] == [
        max(0.3, THICK * c["cycles"] / most) for c in mesh["links"]
    ]


def test_closed_form_has_no_links(report: Report) -> None:
    assert report.to_dict()["targets"][1]["breakdown"]["chips"] is None


def test_text_and_page_tell_pins_bandwidth_and_crossings(report: Report, part: dict[str, Any]) -> None:
    chips = part["breakdown"]["chips"]
    line = next(line for line in str(report).splitlines() if " pins, " in line)
    assert line.startswith(f"loom: 2 x 2 chips of {chips['pins']} pins, {chips['pins_links']} of them for 8")
    assert f"flits cross a link {number(chips['crossings'])} times an inference, " in line
    page = report.to_html()
    for key in set(chips) - {"across", "down"}:
        assert f'data-from="/targets/0/breakdown/chips/{key}"' in page


@pytest.mark.parametrize(("depth", "cycles"), [(1, 6), (2, 3), (4, 3)])
def test_bandwidth_is_that_of_links_that_never_rest(depth: int, cycles: int) -> None:
    """A flit of 27 bits on 9 wires takes 3 beats, and its credit is back after 6 cycles."""
    assert FOUR.links is not None
    spec = replace(FOUR, links=replace(FOUR.links, depth=depth))
    chips = chips_of(spec, {"crossings": 2.5}, 1e6)
    assert chips is not None
    assert (chips["links"], chips["beats"], chips["bits"]) == (6, 3, 67.5)
    assert (chips["link_bits_per_s"], chips["chip_bits_per_s"]) == (27e6 / cycles, 6 * 27e6 / cycles)


def test_bandwidth_of_shared_links_is_that_of_their_lanes() -> None:
    """A flit and its lane take 4 beats, and a credit is back after 7 cycles: two lanes need 4, one 7."""
    chips = chips_of(SHARED, {"crossings": 2.5}, 1e6)
    assert chips is not None
    assert (chips["links"], chips["beats"], chips["bits"]) == (4, 4, 70)
    assert (chips["link_bits_per_s"], chips["chip_bits_per_s"]) == (27e6 / 7, 2 * 27e6 / 7 + 2 * 27e6 / 4)


def by_oracle(chip: Chip) -> int:
    """Take every packet that loads an image through the routers of the oracle."""
    spec = chip.image.spec
    mesh = Mesh(width=spec.width, height=spec.height, links=spec.links)
    crossings = 0
    for word, count in Counter(load_flits(chip.image).tolist()).items():
        flit = unpack(flit_layout(spec), word)
        x0, x1, y0, y1 = (flit[name] for name in RECTANGLE)
        pending, crossed = [(0, W)], 0
        while pending:
            at, i = pending.pop()
            for o in wanted(i, *mesh.place(at), (x0, x1, y0, y1)) - {L}:
                crossed += mesh.is_link(at, o)
                beyond = mesh.neighbour(at, o)
                pending += [] if beyond is None else [(beyond, OPPOSITE[o])]
        crossings += count * crossed
    return crossings


def test_loading_pays_for_its_links(chip: Chip) -> None:
    crossings = by_oracle(chip)
    assert loading_crossings(chip) == crossings > 0
    target, spec = load_target("loom"), chip.image.spec
    assert spec.links is not None
    told = loading(chip, target, target.energy)
    assert told["crossings"] == crossings
    assert told["seconds"] == chip.load.cycles / target.clock_hz
    free = {**target.energy, "link_bits": replace(target.energy["link_bits"], value=0.0, low=0.0)}
    paid = told["energy_j"] - loading(chip, target, free)["energy_j"]
    assert paid == pytest.approx(crossings * spec.flit_bits * target.energy["link_bits"].si)
