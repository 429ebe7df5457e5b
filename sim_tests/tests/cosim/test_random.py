# SPDX-License-Identifier: Apache-2.0
"""Random programs on every geometry of the pool and every simulator: hardware == emulator."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from emu.spec import SystemSpec
from emu.trace import compared
from emu.words import COUNTERS
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.reports import geometry
from sim_tests.bench.systems import judge, seeded_system
from sim_tests.conftest import require_engine
from sim_tests.generators.pool import PLAIN, POOL, SEVERAL

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


def test_random_system_equals_on_pysim(seed: int) -> None:
    demand_equal(SystemSpec(core=PLAIN, width=2, height=1), [seed + 200], "pysim")


@pytest.mark.parametrize("bits", [13, 24])
def test_random_systems_with_wide_flits_equal_on_icarus(bits: int, seed: int) -> None:
    require_engine("icarus")
    core = replace(POOL[1].core, gateway_axons=1 << bits)
    assert core.flit_axon_bits == bits
    demand_equal(replace(POOL[1], core=core), range(seed + 300, seed + 302), "icarus")
