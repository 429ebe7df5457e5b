# SPDX-License-Identifier: Apache-2.0
"""Ordinary networks in lock step on the hardware: digits, ladders, shifts, skips and averages."""

from collections.abc import Callable

import numpy as np
import pytest

from emu.machine import Machine
from emu.spec import preset
from emu.trace import diff
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.layout.emit import emit
from mapping.layout.fitting import Fitting
from mapping.layout.host_tables import counts_of, stimulus_for
from mapping.layout.pipeline import pipelined
from mapping.layout.site import Site
from mapping.model.network import Network
from mapping.spiking.simulate import encode, simulate
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.job import prepare
from sim_tests.conftest import require_engine
from sim_tests.generators.ordinary_networks import calibration, mlp, residual
from sim_tests.oracle.machine import run_oracle

pytestmark = pytest.mark.cosim

NETWORKS: dict[str, Callable[[], Network]] = {
    "three matrices": lambda: mlp(1),
    "skips and an average": lambda: residual(2, channels=1, size=3),
}
MESH = (4, 2)


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [("three matrices", False), ("skips and an average", False), ("three matrices", True)],
)
def test_ordinary_network_is_equal_on_oracle_emulator_and_hardware(name: str, pipeline: bool) -> None:
    require_engine("verilator")
    network, spec = NETWORKS[name](), preset("tiny")
    fitting = Fitting(spec=spec, site=Site(mesh=MESH))
    options = GradedOptions(bits=3, digits=2)
    spiking = convert_graded(network, calibration(network), spec, options, holds=fitting.holds)
    assert spiking.host == ()
    assert fitting.layout is not None
    image = emit(spiking, *fitting.layout, name="n")
    image = pipelined(image, spiking) if pipeline else image
    counts = encode(spiking, calibration(network, n=4, seed=8))
    stimulus = stimulus_for(image, counts)
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    for layer, got in counts_of(image, expected, 4).items():
        assert np.array_equal(got, simulate(spiking, counts)[layer])
    assert diff(run_oracle(image, stimulus, cycles=True), expected) is None
    (result,) = run_jobs(chip_verilog(image.spec), [prepare(image, stimulus, expected)], engine="verilator")
    assert not isinstance(result, BaseException), result
    assert diff(expected, result) is None
    assert expected.total("spikes") > 0
