# SPDX-License-Identifier: Apache-2.0
"""Synaptic operations in a cycle of the widest cores, update included: what the pipeline is built for."""

import numpy as np
import pytest

from emu.machine import Machine
from emu.spec import CoreSpec, SystemSpec, preset
from sim_tests.generators.systems import make_core, make_stimulus, make_system

PLAIN = CoreSpec(
    axons=1152,
    columns=1024,
    lanes=128,
    payload_bits=9,
    potential_bits=24,
    strengths=1,
    thresholds=4096,
    fanouts=8192,
    schedule=64,
)


@pytest.mark.parametrize("core", [PLAIN, preset("reference")], ids=["plain", "every option"])
@pytest.mark.parametrize(("rows", "least"), [(1152, 110), (230, 75)])
def test_operations_in_a_cycle(core: CoreSpec, rows: int, least: int) -> None:
    """All cells are set, every neuron compares four thresholds, nobody fires."""
    cells = np.ones((core.axons, core.columns), np.int8)
    program = make_core(cells, thresholds=[core.never] * 4, schedule=[[1, 0, 1, 1, 1, 0, 4]])
    stimulus = make_stimulus(2, [(1, 0, 0, 0, 0, axon, 1) for axon in range(rows)])
    run = Machine(make_system(SystemSpec(core=core, width=1, height=1), program)).run(stimulus, cycles=True)
    cycles = run.total("integrate") + run.total("update")
    idle = core.words * (core.integrate_fill + core.walk_fill + core.lanes - 1)
    assert cycles == 2 * idle + core.words * rows  # the first step has no event
    assert run.total("synaptic_operations") == rows * core.columns
    assert rows * core.columns / (idle + core.words * rows) >= least
