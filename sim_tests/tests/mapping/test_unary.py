# SPDX-License-Identifier: Apache-2.0
"""The seed chip's image: neurons of one threshold and on/off cells add up to the network's counts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import preset
from mapping.chip import open_chip
from mapping.errors import MappingError
from mapping.flow import compile_network as compile_whole
from mapping.layout.check import check
from mapping.layout.host_tables import counts_of, outputs_of, payloads_of, stimulus_for
from mapping.reproduce.networks import layers as article_layers
from mapping.spiking.network import INPUT, TERNARY, SpikingNetwork
from mapping.spiking.simulate import simulate
from mapping.spiking.unary import unary
from mapping.targets.patches import map_layer
from sim_tests.generators.mapping_networks import Draft, compile_network, core_spec, random_network
from sim_tests.generators.model_builder import ModelBuilder

Fault = Callable[[SystemImage], SystemImage]

SPEC = core_spec(axons=256, columns=128, lanes=16, fanouts=2048, thresholds=512, max_extension=8)


def _counts(spiking: SpikingNetwork, samples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, spiking.input_levels + 1, (samples, *spiking.shape(INPUT)))


def _grouped(values: np.ndarray, group: int) -> np.ndarray:
    """Return the neurons of every count, (samples, counts' first dimension, group, ...)."""
    return values.reshape(len(values), -1, group, *values.shape[2:])


@pytest.mark.parametrize("seed", range(12))
def test_unary_network_equals_the_network_neuron_by_neuron(seed: int) -> None:
    spiking = random_network(seed)
    each, counts = unary(spiking), _counts(spiking, 5, seed)
    levels = np.arange(1, spiking.input_levels + 1).reshape(1, 1, -1, 1, 1)
    ones = (counts[:, :, None] >= levels).astype(np.int64)
    got = simulate(each, ones.reshape(len(counts), *each.shape(INPUT)))
    compared = 0
    for name, expected in simulate(spiking, counts).items():
        if name != INPUT:
            group = spiking.layer(name).levels
            wanted = expected[:, :, None] >= np.arange(1, group + 1).reshape(
                1, 1, -1, *(1,) * (expected.ndim - 2)
            )
            assert np.array_equal(_grouped(got[name], group), wanted), name
            compared += wanted.size
    assert compared


@pytest.mark.parametrize("seed", range(8))
def test_image_of_unary_packets_equals_the_network(seed: int) -> None:
    spiking = random_network(seed)
    each, counts = unary(spiking), _counts(spiking, 4, seed + 100)
    image = compile_network(each, SPEC)
    assert check(image, each) == []
    assert all(core is None or not (core.crossbar < 0).any() for core in image.cores)
    result = Machine(image).run(stimulus_for(image, counts))
    assert not result.spikes.size or result.spikes[:, 3].max() == 1
    expected = simulate(spiking, counts)
    fired, left = counts_of(image, result, len(counts)), outputs_of(image, result, len(counts))
    for layer in spiking.layers:
        assert np.array_equal(fired[layer.name], expected[layer.name]), layer.name
        assert fired[layer.name].any(), layer.name
    for name in spiking.outputs:
        assert np.array_equal(left[name], expected[name]), name


@pytest.mark.parametrize("seed", range(4))
def test_image_of_ternary_cells_and_pooled_axons_equals_the_network(seed: int) -> None:
    spiking = random_network(seed)
    each, counts = unary(spiking, strengths=TERNARY, pool_layers=False), _counts(spiking, 4, seed)
    assert [layer.name for layer in each.layers] == [layer.name for layer in spiking.layers]
    image = compile_network(each, SPEC)
    assert check(image, each) == []
    result = Machine(image).run(stimulus_for(image, counts))
    expected = simulate(spiking, counts)
    for name, values in counts_of(image, result, len(counts)).items():
        assert np.array_equal(values, expected[name]), name


def test_input_count_is_as_many_packets() -> None:
    draft = Draft(shape=(2, 1, 2), levels=3)
    draft.conv(2, (1, 1))
    image = compile_network(unary(draft.network()), SPEC)
    counts = np.array([[[[3, 0]], [[1, 2]]]])
    sent = np.zeros(12, np.int64)
    np.maximum.at(sent, image.input_element, payloads_of(image, counts)[0])
    # channel, level, pixel
    assert sent.reshape(2, 3, 2).tolist() == [[[1, 0], [1, 0], [1, 0]], [[1, 1], [0, 1], [0, 0]]]


def _core(image: SystemImage, **changes: Any) -> SystemImage:
    index = next(at for at, core in enumerate(image.cores) if core is not None)
    core = image.cores[index]
    assert core is not None
    changed = replace(core, **{name: change(getattr(core, name).copy()) for name, change in changes.items()})
    return image.replace(cores=(*image.cores[:index], changed, *image.cores[index + 1 :]))


def _swap_sign(cells: np.ndarray) -> np.ndarray:
    """Give the weight of a cell that is on as -1 times the other strength: an equal sum, and no such cell."""
    row, column = np.argwhere(cells == 1)[0]
    cells[row, column], cells[row, column ^ 1] = 0, -1
    return cells


def _regrouped(image: SystemImage, part: str) -> SystemImage:
    entries = image.meta[part]
    told = {**entries, "group": 1} if part == "input" else [{**entry, "group": 1} for entry in entries]
    return image.replace(meta={**image.meta, part: told})


def _other_threshold(thresholds: np.ndarray) -> np.ndarray:
    return np.where(np.abs(thresholds) < 100, thresholds + 1, thresholds)


FAULTS: dict[str, tuple[Fault, str]] = {
    "cell of minus one": (
        lambda image: _core(image, crossbar=_swap_sign),
        "a cell is -1 and must be on or off, 1 or 0",
    ),
    "threshold": (lambda image: _core(image, thresholds=_other_threshold), "its thresholds act like"),
    "strengths": (lambda image: _core(image, strengths=lambda s: s[::-1].copy()), "the strengths must be"),
    "input group": (
        lambda image: _regrouped(image, "input"),
        "the groups of input, layers and outputs must be",
    ),
    "layer group": (
        lambda image: _regrouped(image, "layers"),
        "the groups of input, layers and outputs must be",
    ),
    "output group": (
        lambda image: _regrouped(image, "outputs"),
        "the groups of input, layers and outputs must be",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_in_an_image_of_unary_packets_is_found(fault: str) -> None:
    each = unary(random_network(1))
    image = compile_network(each, SPEC)
    plant, text = FAULTS[fault]
    assert any(text in str(found) for found in check(plant(image), each))


def test_chip_of_the_seed_target_gives_the_outputs_of_the_network(tmp_path: Any) -> None:
    b = ModelBuilder((2, 8, 8))
    conv = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), name="conv"))
    pool = b.op("MaxPool", conv, kernel_shape=[2, 2], strides=[2, 2])
    dense = b.quantise(b.dense(b.op("Flatten", pool), b.ternary(5, 36), name="dense"))
    network = b.network(b.head(dense, 5))
    x = np.random.default_rng(3).random((6, 2, 8, 8)) * 2
    chip = compile_whole(network, target="kuang2021")
    plain = compile_whole(network, core="small")
    assert chip.image.spec.core == preset("article")
    assert [layer["name"] for layer in chip.image.meta["layers"]][1].endswith(".pool0")
    assert len(chip.on_chip.layers) == len(chip.spiking.layers) + 1
    wanted = plain.run(x)
    assert np.array_equal(chip.run(x).logits, wanted.logits)
    chip.save(tmp_path / "seed.spikeloom")
    again = open_chip(tmp_path / "seed.spikeloom")
    assert np.array_equal(again.run(x).logits, wanted.logits)
    assert len(np.unique(wanted.logits)) > 2


@pytest.mark.parametrize("spikes", [1, 2, 4])
def test_cores_of_lenet_are_those_of_the_closed_form(spikes: int) -> None:
    """Cut by another search, every layer takes as many cores as Eqs. 20-22 give."""
    draft = Draft(shape=(16, 28, 28), levels=spikes)
    draft.conv(16, (5, 5), levels=spikes)
    draft.conv(16, (2, 2), stride=(2, 2), levels=spikes)
    draft.conv(32, (5, 5), levels=spikes)
    draft.conv(32, (2, 2), stride=(2, 2), levels=spikes)
    draft.dense(256, levels=spikes)
    image = compile_network(unary(draft.network()), preset("article"))
    cores = [layer["cores"] for layer in image.meta["layers"]]
    shapes = article_layers("lenet", spikes)[:-1]
    assert cores == [map_layer(shape, patches="best").cores for shape in shapes]
    if spikes == 4:
        assert sum(cores) == 224


def test_network_of_another_code_is_refused() -> None:
    spiking = replace(random_network(0), code="graded")
    message = (
        r"^Network random must be of the code scatter-and-gather for a chip of unary packets, not graded: "
        r"compile it for loom\.$"
    )
    with pytest.raises(MappingError, match=message):
        unary(spiking)


def test_weights_of_several_digits_are_refused() -> None:
    spiking = random_network(0)
    layer = replace(spiking.layers[0], strengths=(1, 3))
    message = (
        r"^Layer 'conv0' must have weights -1, 0 and 1 and lists of thresholds for a chip of on/off cells: "
        r"compile it for loom\.$"
    )
    with pytest.raises(MappingError, match=message):
        unary(replace(spiking, layers=(layer, *spiking.layers[1:])))


def test_map_in_another_shape_is_refused() -> None:
    draft = Draft(shape=(2, 4, 4), levels=2)
    draft.conv(2, (1, 1))
    layer = draft.layers[0]
    source = replace(layer.only, shape=(4, 2, 4))
    draft.layers[0] = replace(layer, sources=(source,))
    message = (
        r"^Layer 'conv0' must read 'input' in its own shape \(2, 4, 4\) on a chip of unary packets, not as "
        r"\(4, 2, 4\): compile it for loom\.$"
    )
    with pytest.raises(MappingError, match=message):
        unary(draft.network())
