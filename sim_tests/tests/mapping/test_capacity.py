# SPDX-License-Identifier: Apache-2.0
"""A layer that no core of a size takes is the host's; the others stay, and any map may leave the chip."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emu.spec import PRESETS, preset
from mapping.chip import open_chip
from mapping.codes.convert import convert
from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.load import Dataset
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.layout.capacity import fits, misfit
from mapping.layout.partition import partition
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.report.machine import estimate
from mapping.spiking.matrices import layer_matrix
from sim_tests.generators.mapping_networks import core_spec, random_network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.ordinary_networks import calibration, residual


def wide(inputs: int = 4096, levels: float = 3.0) -> Network:
    """A map of 4 x 32 x 32, a dense layer that reads all of it, and one more."""
    b = ModelBuilder((2, 32, 32), seed=1)
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), pads=[1] * 4, name="c1"))
    y = b.op("Flatten", y)
    if inputs < 4096:
        y = b.op("Flatten", b.op("MaxPool", b.nodes[-2].output[0], kernel_shape=[4, 4], strides=[4, 4]))
    y = b.quantise(b.dense(y, b.ternary(32, inputs) / 64, name="fc1"))
    return b.network(b.quantise(b.dense(y, b.ternary(10, 32), name="fc2"), 0, levels))


NARROW = [name for name, spec in PRESETS.items() if spec.extended_axons < 4096]
"""Presets that do not hold the inputs of a neuron of 4096, some of which have no weight."""


@pytest.mark.parametrize("core", NARROW)
def test_layer_of_4096_inputs_is_the_hosts_and_its_whole_input_leaves_the_chip(core: str) -> None:
    network, x = wide(), np.random.default_rng(0).normal(0.5, 0.5, (2, 2, 32, 32))
    chip = compile_network(network, core=core)
    assert [layer.name for layer in chip.spiking.layers] == ["c1"]
    assert chip.spiking.outputs == ("c1",)
    reasons = {layer.name: layer.reason for layer in chip.spiking.host}
    allowed = preset(core).extended_axons
    assert reasons["fc1"].endswith(f"axons for the inputs of one neuron but {allowed} are allowed")
    assert chip.image.spec.core.flit_axon_bits == max(12, preset(core).flit_axon_bits)
    assert (chip.run(x).logits == infer(network, x)).all()


def test_image_with_layers_on_the_host_opens_as_it_was_compiled(tmp_path: object) -> None:
    file = f"{tmp_path}/wide.spikeloom"
    chip = compile_network(wide(), core="small")
    chip.save(file)
    again = open_chip(file)
    assert again.spiking.host == chip.spiking.host
    assert again.image.digest == chip.image.digest


@pytest.mark.parametrize("core", ["reference", "article"])
def test_layer_of_4096_inputs_takes_several_axons_a_row(core: str) -> None:
    network, x = wide(), np.random.default_rng(0).normal(0.5, 0.5, (2, 2, 32, 32))
    chip = compile_network(network, core=core, strict=True)
    assert [layer.name for layer in chip.spiking.layers] == ["c1", "fc1", "fc2"]
    assert {int(program.extension) for program in chip.image.cores if program is not None} >= {1, 4}
    assert (chip.run(x).logits == infer(network, x)).all()


@pytest.mark.parametrize("core", NARROW)
def test_strict_refuses_what_a_core_cannot_hold(core: str) -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"^Layer 'fc1' would run on the host because it needs .* axons"
    ):
        compile_network(wide(), core=core, strict=True)


def test_run_depends_on_the_size_of_the_core() -> None:
    network = wide(256, levels=31.0)
    runs = {core: [layer.name for layer in convert(network, fits(preset(core))).layers] for core in PRESETS}
    every = ["c1", "fc1", "fc2"]
    large = dict.fromkeys(("small", "medium", "reference"), every)
    assert runs == {"tiny": ["c1"], **large, "article": ["c1", "fc1"]}  # 4 bits hold no 31 levels
    compile_network(network, core="small", strict=True)


def test_report_gives_every_target_its_own_layers() -> None:
    data = Dataset(name="random", x=np.random.default_rng(0).normal(0.5, 0.5, (2, 2, 32, 32)), y=None)
    report = estimate(wide(), data, ("loom",), core="tiny")
    (target,) = report.targets
    work = 4 * 2 * 94 * 94, 32 * 4096, 320  # 3 weights meet 94 places of a row of 32 with a border of 1
    assert target["host_layers"][-2:] == ["fc1", "fc2"]
    assert target["host_share"] == (work[1] + work[2]) / sum(work)
    with pytest.raises(UnsupportedModelError, match="would run on the host"):
        estimate(wide(), data, ("loom",), core="tiny", strict=True)


@pytest.mark.parametrize("seed", range(12))
def test_layers_that_fit_are_cut_and_others_are_not(seed: int) -> None:
    """The predicate is as strict as the cut: it takes a layer just where every neuron finds a core."""
    spiking, spec = random_network(seed), core_spec(axons=10, columns=16)
    for layer in spiking.layers:
        matrix = layer_matrix(layer)
        most = int(np.diff(matrix.indptr).max())
        found = misfit(layer, spec)
        assert (found is not None and found.limit.startswith("axons")) is (most > spec.axons)
    if not any(misfit(layer, spec) for layer in spiking.layers):
        assert len(partition(spiking, spec).cores) > 0


def nothing(build: Callable[[ModelBuilder], str]) -> str:
    b = ModelBuilder((2, 6, 6))
    with pytest.raises(UnsupportedModelError) as error:
        compile_network(b.network(build(b)), core="tiny")
    return str(error.value)


def test_network_without_a_layer_that_fits_is_refused_with_the_layer_that_is_nearest() -> None:
    assert nothing(
        lambda b: b.quantise(b.dense(b.op("Flatten", b.quantise("x")), b.ternary(5, 72) * 0 + 1, name="fc"))
    ) == (
        "No layer can run on the chip: layer 'fc' cannot because it needs 72 axons for the inputs of one "
        "neuron but 32 are allowed; choose the core size small."
    )


def test_conversion_itself_knows_no_core() -> None:
    assert [layer.name for layer in convert(wide()).layers] == ["c1", "fc1", "fc2"]


def test_sum_that_fits_only_if_its_sources_share_rows_is_the_hosts() -> None:
    """Each source begins a row of the crossbar: 27 inputs of two sources may need 35 axons."""
    network = residual(0, channels=1, size=6)
    asked: dict[str, Any] = {"core": "tiny", "code": "graded"}
    asked |= {"options": GradedOptions(bits=3, digits=2), "samples": calibration(network)}
    chip = compile_network(network, **asked)
    reasons = [layer.reason for layer in chip.spiking.host]
    assert any(
        "needs 35 axons for the inputs of one neuron but 32 are allowed" in reason for reason in reasons
    )
    with pytest.raises(
        UnsupportedModelError, match="let each of its neurons have at most 24 non-zero weights"
    ):
        compile_network(network, strict=True, **asked)
