# SPDX-License-Identifier: Apache-2.0
"""A network in passes on the hardware: bands, slices of rows, and skips within a pass and across several."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.machine import Machine
from emu.spec import SystemSpec
from emu.tables import column
from emu.trace import diff
from emu.words import Section
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.layout.host_tables import outputs_of, stimulus_for
from mapping.model.network import Network
from mapping.passes import Passes
from mapping.spiking.network import INPUT
from mapping.spiking.simulate import simulate
from mapping.spiking.spread import spread
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.job import prepare
from sim_tests.conftest import require_engine
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.ordinary_networks import calibration
from sim_tests.generators.pass_networks import in_passes, told
from sim_tests.generators.pool import TINY
from sim_tests.oracle.machine import run_oracle
from sim_tests.oracle.passes import elements_fed, elements_of

pytestmark = pytest.mark.cosim

SPEC = SystemSpec(core=TINY, width=2, height=2)
MESH = SPEC.width, SPEC.height
SAMPLES = 3


def two_skips() -> Network:
    """Return a network of a wide first layer, a skip around two layers, one around four, and a wide last."""
    b = ModelBuilder((2, 6, 6), seed=4)

    def kernel(*shape: int) -> NDArray[np.float64]:
        return b.rng.normal(0, 1.0 / np.sqrt(np.prod(shape[1:])), shape)

    wide = b.op("Relu", b.conv("x", kernel(2, 2, 3, 3), b.rng.normal(size=2), pads=[1, 1, 1, 1]))
    y = b.op("Relu", b.conv(wide, kernel(1, 2, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    z = b.op("Relu", b.conv(y, kernel(1, 1, 3, 3), pads=[1, 1, 1, 1]))
    z = b.conv(z, kernel(1, 1, 3, 3), np.array([0.4]), pads=[1, 1, 1, 1])
    y = b.op("Relu", b.op("Add", z, y))
    z = b.conv(y, kernel(1, 1, 3, 3), np.array([0.3]), pads=[1, 1, 1, 1])
    y = b.op("Relu", b.op("Add", z, b.conv(wide, kernel(1, 2, 1, 1), strides=[2, 2])))
    return b.network(b.dense(b.op("Flatten", y), kernel(72, 9), b.rng.normal(size=72)))


@pytest.fixture(scope="module")
def passes() -> Passes:
    """Give it in passes over four cores, with a bias for every neuron: those of a sum begin with it."""
    network, options = two_skips(), GradedOptions(bits=3, digits=2)
    spiking = spread(convert_graded(network, calibration(network), TINY, options))
    random = np.random.default_rng(6)
    layers = [replace(layer, bias=random.integers(-3, 4, layer.neurons)) for layer in spiking.layers]
    return in_passes(replace(spiking, layers=tuple(layers)), TINY, MESH)


def test_passes_are_of_every_kind(passes: Passes) -> None:
    """What the run on the hardware stands for, and would lose without a word by another rule of passes."""
    rows = [part for one in passes.passes for part in one.rows]
    assert any(part.bottom is not None and part.top > 0 for part in rows)
    assert any(part.bottom is None and part.begin > 0 for part in rows), "a slice of rows"
    assert any(len({read.name for read in one.reads}) > 1 for one in passes.passes), "a skip over several"
    cores = [core for image in passes.images for core in image.cores if core is not None]
    init = column(Section.SCHEDULE, "init")
    kept = [core for core in cores if core.profiles[:, column(Section.PROFILE, "reset")].any()]
    assert all(core.schedule[:, init].any() and core.v0.any() for core in kept)
    assert kept, "a skip within a pass"


def test_every_pass_is_equal_on_oracle_emulator_and_hardware(passes: Passes) -> None:
    """The host feeds what the hardware gave before: the outputs are those of the unmapped network."""
    require_engine("verilator")
    spiking = passes.on_chip
    low, high = spiking.input_low, spiking.input_levels
    counts = np.random.default_rng(9).integers(low, high + 1, (SAMPLES, *spiking.shape(INPUT)))
    truth = simulate(spiking, counts)
    done, outputs = passes.emulated(counts)
    assert all(outputs[name].tolist() == truth[name].tolist() for name in spiking.outputs)
    stimuli = [stimulus_for(image, fed) for image, (fed, _) in zip(passes.images, done, strict=True)]
    runs = list(zip(passes.images, stimuli, strict=True))
    expected = [Machine(image).run(stimulus, cycles=True, potentials=True) for image, stimulus in runs]
    jobs = [
        prepare(*run, result, seed=at, phases=2)
        for at, (run, result) in enumerate(zip(runs, expected, strict=True))
    ]
    results = run_jobs(chip_verilog(SPEC), jobs, engine="verilator")
    kept = {(INPUT, at): values for at, values in enumerate(counts.reshape(SAMPLES, -1).T.tolist())}
    for run, one, (fed, _), wanted, result in zip(runs, passes.passes, done, expected, results, strict=True):
        assert not isinstance(result, BaseException), result
        assert diff(wanted, result) is None
        assert diff(run_oracle(*run, cycles=True), wanted) is None
        elements = elements_fed(spiking, told(one.rows))
        assert fed.T.tolist() == [kept[element] for element in elements]
        for name, values in outputs_of(run[0], result, SAMPLES).items():
            (part,) = [part for part in told(one.rows) if part[0] == name]
            columns = values.reshape(SAMPLES, -1).T.tolist()
            kept |= {(name, at): c for at, c in zip(elements_of(spiking, part), columns, strict=True)}
    for (name, at), given in kept.items():
        if name != INPUT:
            assert given == truth[name].reshape(SAMPLES, -1)[:, at].tolist(), (name, at)
    assert {name for name, _ in kept} == {INPUT, *(one for p in passes.passes for one in p.network.outputs)}
    assert all(truth[name].any() for name in spiking.outputs)
