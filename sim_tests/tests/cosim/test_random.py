# SPDX-License-Identifier: Apache-2.0
"""Random programs on every geometry of the pool and every simulator: hardware == emulator."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.host import flits
from emu.links import LinkSpec
from emu.loading import load_bursts
from emu.machine import Machine
from emu.spec import PRESETS, SystemSpec
from emu.topology import sides_with_links
from emu.trace import RunResult, compared
from emu.words import COUNTERS
from mapping.targets.files import target_text
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.job import prepare
from sim_tests.bench.program import verification
from sim_tests.bench.reports import geometry
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.systems import judge, missed, random_batch, seeded_system
from sim_tests.conftest import require_engine
from sim_tests.generators.machines import random_machine
from sim_tests.generators.pool import PLAIN, POOL, SEVERAL
from sim_tests.generators.systems import make_core, make_stimulus, make_system
from spikeloom.bench import export_verilog

pytestmark = pytest.mark.cosim

SMALL = [spec for spec in POOL if spec.cores <= 4]


def demand_equal(spec: SystemSpec, seeds: Sequence[int], engine: str) -> None:
    """Run random systems of one geometry in one simulator: all that the emulator tells is compared."""
    systems = [seeded_system(seed, spec) for seed in seeds]
    jobs = [system.job() for system in systems]
    results = run_jobs(chip_verilog(spec) if engine != "pysim" else {}, jobs, engine=engine)
    outcomes = [judge(system, result) for system, result in zip(systems, results, strict=True)]
    assert [f"{o.name}: {o.failure}" for o in outcomes if o.failure is not None] == []
    told = [compared(system.expected, system.expected) for system in systems]
    assert [outcome.compared for outcome in outcomes] == told
    assert min(told) > len(COUNTERS) * spec.cores


@pytest.mark.parametrize("spec", POOL, ids=geometry)
def test_random_systems_equal_on_verilator(spec: SystemSpec, seed: int) -> None:
    require_engine("verilator")
    demand_equal(spec, range(seed, seed + 4), "verilator")


@pytest.mark.parametrize("spec", SMALL, ids=geometry)
def test_random_systems_equal_on_icarus(spec: SystemSpec, seed: int) -> None:
    require_engine("icarus")
    demand_equal(spec, range(seed + 100, seed + 103), "icarus")


@pytest.mark.parametrize("spec", SEVERAL, ids=geometry)
def test_random_systems_of_several_chips_equal_on_verilator(spec: SystemSpec, seed: int) -> None:
    require_engine("verilator")
    demand_equal(spec, range(seed + 400, seed + 404), "verilator")


def test_random_systems_of_several_chips_equal_on_icarus(seed: int) -> None:
    require_engine("icarus")
    demand_equal(SEVERAL[0], range(seed + 500, seed + 502), "icarus")


@pytest.mark.parametrize("number", [636, 637, 638])
def test_random_machine_equals_on_icarus(number: int, seed: int) -> None:
    """Sizes that nobody chose: with the usual seed small, with three lanes, a dead link and dead cores."""
    require_engine("icarus")
    demand_equal(random_machine(seed + number), [seed + number], "icarus")


def test_random_system_equals_on_pysim(seed: int) -> None:
    demand_equal(SystemSpec(core=PLAIN, width=2, height=1), [seed + 200], "pysim")


@pytest.mark.parametrize("bits", [13, 24])
def test_random_systems_with_wide_flits_equal_on_icarus(bits: int, seed: int) -> None:
    require_engine("icarus")
    core = replace(POOL[1].core, gateway_axons=1 << bits)
    assert core.flit_axon_bits == bits
    demand_equal(replace(POOL[1], core=core), range(seed + 300, seed + 302), "icarus")


@pytest.mark.parametrize("dead", [None, DeadSpec(cores=((0, 0),), ports=((1, 0, "S"),))], ids=repr)
def test_exported_system_of_several_chips_equals(tmp_path: Path, dead: DeadSpec | None) -> None:
    """What is exported is one chip and a system of them, and the program verifies that folder."""
    require_engine("verilator")
    links = LinkSpec(width=2, height=1, wires=5, depth=1, shared=dead is None)
    spec = SystemSpec(core=PRESETS["tiny"], width=2, height=2, links=links, dead=dead)
    export_verilog(tmp_path / "design", spec)
    options = ["--verilog", str(tmp_path / "design"), "--random", "2", "--sim", "verilator"]
    assert verification(options) == 0


def test_machine_of_a_target_is_what_random_systems_run_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program draws systems for the machine of a file: two chips with links and gates of its own."""
    require_engine("icarus")
    text, file = target_text("loom"), tmp_path / "board.toml"
    sizes = 'preset = "tiny"\nmesh = "1x2"\nchips = "2x1"\ninlets = "2"\noutlets = "2"\n'
    sizes += "links = {wires = 5, latency = 4, depth = 1, shared = true}"
    file.write_text(text.replace('preset = "reference"\nmesh = "auto"', sizes), encoding="utf-8")
    assert verification(["--random", "2", "--target", str(file), "--sim", "icarus"]) == 0
    links = LinkSpec(width=1, height=2, wires=5, latency=4, depth=1, shared=True)
    gates = GateSpec(inlets=((1, "E"),), outlets=(1,))
    spec = SystemSpec(core=PRESETS["tiny"], width=2, height=2, links=links, gates=gates)
    assert capsys.readouterr().out.startswith(f"{geometry(spec)}: 2 systems on icarus: equal\n")


def test_chip_in_the_wrong_place_differs(seed: int) -> None:
    require_engine("icarus")
    design = chip_verilog(SEVERAL[0])
    wrong = re.sub(r"\.y\(2'h1\)", ".y(2'h0)", design["system.v"], count=1)
    assert wrong != design["system.v"]
    result = run_jobs({**design, "system.v": wrong}, [seeded_system(seed, SEVERAL[0]).job()], engine="icarus")
    assert isinstance(result[0], BenchError)


def test_half_of_all_seeds_load_rows_of_several_cores_by_one_packet() -> None:
    shares = [system.coverage()["crossbars loaded by rectangle"] for system in random_batch(15, 100)]
    assert sum(shares) >= len(shares) / 2


def test_a_fifth_of_all_seeds_is_of_several_chips() -> None:
    """Of these one in four is a random machine, and all of the pool come in turn."""
    batch = [seeded_system(seed) for seed in range(100, 120)]
    joined = [system.spec for system in batch if sides_with_links(system.spec)]
    assert len(joined) == 4
    joined += [seeded_system(seed).spec for seed in range(124, 140, 5)]
    assert [spec for spec in joined if spec not in SEVERAL] == [random_machine(seed) for seed in (119, 139)]
    assert {geometry(spec) for spec in joined if spec in SEVERAL} == {geometry(spec) for spec in SEVERAL}
    corners = {"several chips", "dead cores, wires and links"}
    assert corners <= set(missed([s for s in batch if not sides_with_links(s.spec)]))
    assert not corners & set(missed(batch))
    assert "several chips" not in missed(batch[:1], batch[0].spec)


def test_load_one_core_too_wide_differs() -> None:
    """The rows of two cores that come to a third one as well are seen when its memories are read back."""
    require_engine("icarus")
    spec = next(spec for spec in POOL if spec.width == 2 and spec.height == 2)
    rng = np.random.default_rng(0)
    cells = rng.integers(-1, 2, (2, spec.core.axons, 4))
    other, core = (make_core(own, thresholds=[3]) for own in cells)
    image = make_system(spec, other, other, core, replace(core, lines=np.roll(core.lines, 3)))
    stimulus = make_stimulus(2)
    job = prepare(image, stimulus, Machine(image).run(stimulus, cycles=True, potentials=True))
    wide = [
        flits(spec, kind, (*place[:2], 0, place[3]) if place[2] == 1 else place, data)
        for place, kind, data in load_bursts(image)
    ]
    results = run_jobs(chip_verilog(spec), [job, replace(job, load=np.concatenate(wide))], engine="icarus")
    assert isinstance(results[0], RunResult)
    assert re.fullmatch(r"chunk \d+ of crossbar of core 0 reads 0x\w+, not 0x\w+", str(results[1]))
