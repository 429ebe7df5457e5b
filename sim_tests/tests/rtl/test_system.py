# SPDX-License-Identifier: Apache-2.0
"""Several chips: one module for all, told by straps where each is, and links between their pins."""

import re
from dataclasses import replace

import numpy as np
import pytest

from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.machine import Machine
from emu.spec import SystemSpec
from emu.topology import PLACES, Port, sides_with_links, topology_of
from emu.trace import RunResult, diff
from rtl.chip import Chip
from rtl.export import chip_verilog, describe
from rtl.system import System, core_paths, top_of
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.job import prepare
from sim_tests.conftest import require_engine
from sim_tests.generators.pool import LEAST
from sim_tests.generators.systems import make_core, make_stimulus, make_system

FOUR = SystemSpec(core=LEAST, width=4, height=2, links=LinkSpec(width=2, height=1, wires=9, depth=1))
"""2 x 2 chips of two cores."""

SHARED = replace(FOUR, links=LinkSpec(width=2, height=1, wires=9, depth=1, shared=True))
"""The same with a link a side."""


@pytest.mark.parametrize("spec", [FOUR, SHARED], ids=["own", "shared"])
def test_every_core_of_every_chip_hears_the_host_and_is_heard(spec: SystemSpec) -> None:
    require_engine("icarus")
    cores = [make_core([[1]], fanout=[[0, 0, 2, 2, i, True]]) for i in range(8)]
    rows = [(i % 2, i % 4, i % 4, i // 4, i // 4, 0, 1) for i in (0, 2, 4, 6, 1, 3, 5, 7)]
    image, stimulus = make_system(spec, *cores), make_stimulus(3, rows)
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    (result,) = run_jobs(chip_verilog(spec), [prepare(image, stimulus, expected, phases=2)], engine="icarus")
    assert isinstance(result, RunResult), result
    assert diff(expected, result) is None
    assert sorted(result.outputs[:, 1].tolist()) == list(range(8))
    links = np.bincount(topology_of(spec).links // PLACES)
    assert (result.counters["crossings"] - 4 * links).tolist() == [5, 5, 3, 1, 0, 0, 2, 0]  # beside 4 tokens


def test_sides_without_a_chip_behind_have_no_links() -> None:
    assert sides_with_links(FOUR) == (Port.N, Port.E, Port.S, Port.W)
    row = replace(FOUR, height=1)
    assert sides_with_links(row) == (Port.E, Port.W)
    lanes = {n: m.dimensions for n, m in Chip(SHARED).signature.members.items() if n.startswith("link_")}
    assert lanes == {f"link_{side}_{way}": (1,) for side in "NESW" for way in "oi"}
    pins = {name for name in Chip(row).signature.members if name.startswith("link_")}
    assert pins == {"link_E_o", "link_E_i", "link_W_o", "link_W_i"}


@pytest.mark.parametrize("links", [None, LinkSpec(width=4, height=2, wires=9)])
def test_system_of_one_chip_is_that_chip(links: LinkSpec | None) -> None:
    top = top_of(replace(FOUR, links=links))
    assert isinstance(top, Chip)
    assert set(top.signature.members) == {"host_i", "host_o", "stimulus", "outputs"}


def test_verilog_has_one_module_for_all_chips() -> None:
    design = chip_verilog(FOUR)
    assert list(design) == ["neurocore.v", "router.v", "chip.v", "system.v"]
    assert (describe(FOUR, list(design))["top"], isinstance(top_of(FOUR), System)) == ("system", True)
    assert len(re.findall(r"^  chip \S+ \(", design["system.v"], re.MULTILINE)) == 4
    assert len(re.findall(r"^  neurocore \S+ \(", design["chip.v"], re.MULTILINE)) == 2
    names = re.findall(r"^module (\S+?) ?\(", "\n".join(design.values()), re.MULTILINE)
    assert len(names) == len(set(names))


def test_chip_is_told_the_sides_where_others_are() -> None:
    text = chip_verilog(FOUR)["system.v"]
    chips = re.findall(r"^  chip chip_(\d)_(\d) \(.*?\.joined\(4'h(\w)\)", text, re.MULTILINE | re.DOTALL)
    north, east, south, west = (1 << side for side in (Port.N, Port.E, Port.S, Port.W))
    assert {(int(x), int(y)): int(sides, 16) for x, y, sides in chips} == {
        (0, 0): east | south,
        (1, 0): west | south,
        (0, 1): north | east,
        (1, 1): north | west,
    }


def test_path_of_a_core_names_its_chip() -> None:
    assert core_paths(replace(FOUR, links=None))[5] == "core_1_1"
    assert [core_paths(FOUR)[core] for core in (0, 3, 6)] == [
        "chip_0_0.core_0_0",
        "chip_1_0.core_1_0",
        "chip_1_1.core_0_0",
    ]


def test_straps_tell_every_chip_its_gates() -> None:
    gates = GateSpec(inlets=((0, "E"), (1, "W")), outlets=(2, 3))
    spec = replace(FOUR, gates=gates)
    assert set(top_of(spec).signature.members) == {
        *("host_i", "host_i_1", "host_i_2", "host_o", "host_o_1", "host_o_2"),
        *("stimulus", "stimulus_1", "stimulus_2", "outputs", "outputs_1", "outputs_2"),
    }
    text = chip_verilog(spec)["system.v"]
    told = re.findall(
        r"^  chip chip_(\d)_(\d) \(.*?\.inlet\(2'h(\d)\).*?\.outlet\(2'h(\d)\)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert {(int(x), int(y)): (int(inlet), int(outlet)) for x, y, inlet, outlet in told} == {
        (0, 0): (1, 0),
        (1, 0): (2, 0),  # its east end, the second inlet of a chip
        (0, 1): (1, 1),
        (1, 1): (0, 3),
    }
    counted = re.findall(r"\.((?:stimulus|outputs)(?:_\d)?)\(((?:stimulus|outputs)(?:_\d)?)\)", text)
    assert sorted(counted) == [  # each counter is that of the chip's own gate
        ("outputs", "outputs"),
        ("outputs", "outputs_1"),
        ("outputs_1", "outputs_2"),
        ("stimulus", "stimulus"),
        ("stimulus", "stimulus_2"),
        ("stimulus_1", "stimulus_1"),
    ]


def test_chip_with_several_inlets_runs_as_the_emulator() -> None:
    require_engine("icarus")
    spec = SystemSpec(core=LEAST, width=1, height=1, gates=GateSpec(inlets=((0, "E"),)))
    image = make_system(spec, make_core([[1], [1]], fanout=[[0, 0, 1, 1, 0, True]]))
    stimulus = make_stimulus(2, [(0, 0, 0, 0, 0, axon, 1) for axon in (0, 1, 0)], inlet=[1, 0, 1])
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    (result,) = run_jobs(chip_verilog(spec), [prepare(image, stimulus, expected, phases=2)], engine="icarus")
    assert isinstance(result, RunResult), result
    assert diff(expected, result) is None
    assert len(result.outputs) > 0
