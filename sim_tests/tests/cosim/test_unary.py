# SPDX-License-Identifier: Apache-2.0
"""Unary packets and on/off cells in lock step on the hardware: the article's core with smaller memories."""

from dataclasses import replace

import numpy as np
import pytest

from emu.machine import Machine
from emu.spec import preset
from emu.trace import diff
from mapping.layout.host_tables import counts_of, stimulus_for
from mapping.spiking.network import INPUT, Pool
from mapping.spiking.simulate import simulate
from mapping.spiking.unary import unary
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.job import prepare
from sim_tests.conftest import require_engine
from sim_tests.generators.mapping_networks import Draft, compile_network
from sim_tests.oracle.machine import run_oracle

pytestmark = pytest.mark.cosim


def test_unary_image_is_equal_on_network_oracle_emulator_and_hardware() -> None:
    require_engine("verilator")
    draft = Draft(shape=(2, 6, 6), levels=3)
    draft.conv(3, (3, 3))
    draft.dense(5, pools=(Pool(kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0)),), levels=4, density=1.0)
    spiking = draft.network()
    spec = replace(
        preset("article"),
        axons=96,
        columns=128,
        thresholds=128,
        fanouts=256,
        schedule=8,
        max_extension=4,
    )
    image = compile_network(unary(spiking), spec)
    random = np.random.default_rng(5)
    counts = random.integers(0, 4, (3, *spiking.shape(INPUT)))
    stimulus = stimulus_for(image, counts)
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    truth = simulate(spiking, counts)
    fired = counts_of(image, expected, 3)
    for layer in spiking.layers:
        assert np.array_equal(fired[layer.name], truth[layer.name]), layer.name
        assert fired[layer.name].any(), layer.name
    assert diff(run_oracle(image, stimulus, cycles=True), expected) is None
    (result,) = run_jobs(chip_verilog(image.spec), [prepare(image, stimulus, expected)], engine="verilator")
    assert not isinstance(result, BaseException), result
    assert diff(expected, result) is None
