# SPDX-License-Identifier: Apache-2.0
"""Ordinary networks in lock step on the hardware: digits, ladders, shifts, skips and averages."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.machine import Machine
from emu.spec import CoreSpec, preset
from emu.trace import diff
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.layout.emit import emit
from mapping.layout.fitting import Fitting
from mapping.layout.host_tables import counts_of, stimulus_for
from mapping.layout.pipeline import pipelined
from mapping.layout.site import Site
from mapping.model.network import Network
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.quantisers import least_count
from mapping.spiking.simulate import encode, simulate
from mapping.spiking.spread import spread
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.job import prepare
from sim_tests.conftest import require_engine
from sim_tests.generators.ordinary_networks import calibration, mlp, residual
from sim_tests.oracle.machine import run_oracle

pytestmark = pytest.mark.cosim

NETWORKS: dict[str, tuple[Callable[[], Network], CoreSpec, GradedOptions]] = {
    "three matrices": (lambda: mlp(1), preset("tiny"), GradedOptions(bits=3, digits=2)),
    "all counts of a wide payload": (
        lambda: mlp(1),
        preset("tiny").resized(payload_bits=9, potential_bits=24),
        GradedOptions(bits=8, digits=2),
    ),
    "skips and an average": (
        lambda: residual(2, channels=1, size=3),
        preset("tiny"),
        GradedOptions(bits=3, digits=2),
    ),
}
MESH = (4, 2)


def extremes(spiking: SpikingNetwork) -> NDArray[np.int32]:
    """Return what enters the chip for two samples, and for corners that drive its output to both ends."""
    draw = np.random.default_rng(8)
    corners = draw.choice([spiking.input_low, spiking.input_levels], (400, *spiking.shape(INPUT)))
    outputs = simulate(spiking, corners)[spiking.outputs[0]].reshape(len(corners), -1)
    ends = outputs.min(axis=1).argmin(), outputs.max(axis=1).argmax()
    samples = encode(spiking, calibration(spiking.network, n=2, seed=8))
    return np.concatenate((samples, corners[list(ends)].astype(np.int32)))


@pytest.mark.parametrize(
    ("name", "pipeline"), [*((name, False) for name in NETWORKS), ("three matrices", True)]
)
def test_ordinary_network_is_equal_on_oracle_emulator_and_hardware(name: str, pipeline: bool) -> None:
    require_engine("verilator")
    build, spec, options = NETWORKS[name]
    network = build()
    fitting = Fitting(spec=spec, site=Site(mesh=MESH))
    spiking = convert_graded(
        network, calibration(network), spec, options, holds=lambda found: fitting.holds(spread(found))
    )
    assert spiking.host == ()
    assert fitting.layout is not None
    image = emit(spread(spiking), *fitting.layout, name="n")
    image = pipelined(image, spread(spiking)) if pipeline else image
    counts = extremes(spiking)
    stimulus = stimulus_for(image, counts)
    expected = Machine(image).run(stimulus, cycles=True, potentials=True)
    for layer, got in counts_of(image, expected, 4).items():
        assert np.array_equal(got, simulate(spiking, counts)[layer])
    sent, last = simulate(spread(spiking), counts)[spiking.outputs[0]], spiking.layers[-1]
    assert (last.parts, last.low, last.levels) == (4, 4 * least_count(spec), 4 * spec.payload_max)
    if spec.payload_bits == 9:
        assert (sent.min(), sent.max()) == (-255, 255), "the corners reach both ends of a payload"
    assert diff(run_oracle(image, stimulus, cycles=True), expected) is None
    (result,) = run_jobs(chip_verilog(image.spec), [prepare(image, stimulus, expected)], engine="verilator")
    assert not isinstance(result, BaseException), result
    assert diff(expected, result) is None
    assert expected.total("spikes") > 0
