# SPDX-License-Identifier: Apache-2.0
"""What the closed form reads from a spiking network."""

from typing import Any

import numpy as np
import pytest

from mapping.datasets.load import Dataset
from mapping.errors import MappingError
from mapping.model.importers.onnx import network_from_onnx
from mapping.report.closed_form import layer_shapes
from mapping.report.machine import estimate
from mapping.reproduce.networks import layers
from mapping.spiking.network import Pool
from mapping.targets.files import load_target
from mapping.targets.kuang import estimate_kuang, loading_closed_form
from mapping.targets.patches import LayerShape
from sim_tests.generators.mapping_networks import Draft, random_network
from sim_tests.generators.model_builder import ModelBuilder

ONE: dict[str, Any] = {"kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "pads": (0, 0, 0, 0)}
"""A window of one place."""


def test_layers_take_their_own_levels_padding_and_dilation() -> None:
    draft = Draft(shape=(2, 9, 8), levels=3)
    first = draft.conv(4, (3, 2), pads=(1, 0, 2, 1), dilation=(2, 1), stride=(1, 2), levels=1)
    pool = Pool(kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0))
    draft.dense(5, source=first, pools=(pool,), levels=7)
    conv, pooled, dense = layer_shapes(draft.network())
    assert conv == LayerShape(
        name="conv0",
        kind="conv",
        input=(9, 8, 2),
        output=(8, 4, 4),
        kernel=(3, 2),
        stride=(1, 2),
        dilation=(2, 1),
        pads=(1, 0, 2, 1),
        source_levels=3,
        levels=1,
    )
    assert pooled == LayerShape(
        name="dense1.pool0",
        kind="pool",
        input=(8, 4, 4),
        output=(4, 2, 4),
        kernel=(2, 2),
        stride=(2, 2),
        pads=(0, 0, 0, 0),
        source_levels=1,
        levels=1,
    )
    assert dense == LayerShape(
        name="dense1",
        kind="fc",
        input=(1, 1, 32),
        output=(1, 1, 5),
        source_levels=1,
        levels=7,
        **ONE,
    )


@pytest.mark.parametrize("seed", range(12))
def test_shapes_of_any_network_are_consistent(seed: int) -> None:
    spiking = random_network(seed)
    shapes = layer_shapes(spiking)
    assert [s.name for s in shapes if s.kind != "pool"] == [layer.name for layer in spiking.layers]


@pytest.mark.parametrize(
    "attributes",
    [{"pads": [5, 5, 5, 5]}, {"dilations": [3, 3], "pads": [3, 3, 3, 3]}, {"group": 2}, {"strides": [4, 1]}],
)
def test_every_convolution_of_the_chip_is_estimated(attributes: dict[str, Any]) -> None:
    b = ModelBuilder((2, 8, 8))
    weight = b.ternary(4, 2 // attributes.get("group", 1), 3, 3)
    x = b.quantise(b.conv(b.quantise("x", 0, 3.0), weight, name="c", **attributes), 0, 3.0)
    network = network_from_onnx(b.model(b.op("GlobalAveragePool", x)), name="m")
    data = Dataset(name="random", x=np.random.default_rng(0).uniform(0, 3, (2, 2, 8, 8)), y=None)
    (part,) = estimate(network, data, ("kuang2021",)).targets
    assert part["cores"] == sum(part["breakdown"]["cores"].values()) >= 1


def test_unknown_patches_are_refused_in_one_sentence() -> None:
    b = ModelBuilder((2,))
    network = network_from_onnx(b.model(b.quantise("x", 0, 3.0)), name="m")
    data = Dataset(name="random", x=np.zeros((1, 2)), y=None)
    with pytest.raises(MappingError, match=r"^Patches must be best or article, not 'all'\.$"):
        estimate(network, data, ("kuang2021",), patches="all")


def test_loading_is_that_of_the_crossbars_of_every_core_of_every_pass() -> None:
    target = load_target("kuang2021")
    form = estimate_kuang(layers("lenet", 4), sop_dense=1e7, patches="article")
    cores, load = sum(form.cores_per_layer), loading_closed_form(form, target)
    assert (load["passes"], load["bits_a_core"]) == (sum(form.steps_per_layer), 1152 * 1024)
    assert load["bits"] == cores * 1152 * 1024
    assert load["bits_pass"] == 64 * 1152 * 1024
    assert load["bits_per_s"] == load["bits_pass"] / (13824 / 252e6)
    assert load["energy_j"] == pytest.approx(load["bits"] * 1e-12, rel=1e-12)
    assert (load["energy_j_low"], load["energy_j_high"]) == pytest.approx(
        (load["bits"] * 0.1e-12, load["bits"] * 21e-12), rel=1e-12
    )
    assert load["energy_share"] == load["energy_j"] / form.energy.total_j


def test_loading_of_a_network_below_one_pass_is_that_of_its_cores() -> None:
    form = estimate_kuang(layers("lenet", 1)[2:3], sop_dense=0, patches="article")
    load = loading_closed_form(form, load_target("kuang2021"))
    assert form.cores < 64
    assert load["bits_pass"] == load["bits"] == form.cores * 1152 * 1024
