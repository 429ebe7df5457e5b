# SPDX-License-Identifier: Apache-2.0
"""Parts hold every neuron once, respect every limit of a core, and number axons alike in all patches."""

import math
from collections import defaultdict

import numpy as np
import pytest

from emu.spec import preset
from mapping.errors import InfeasibleError
from mapping.layout.capacity import clamped_thresholds
from mapping.layout.partition import Partition, depths, partition
from mapping.spiking.matrices import layer_matrix
from sim_tests.generators.mapping_networks import Draft, core_spec, digits_like, random_network

RANDOM = range(8)


def _random_partition(seed: int) -> Partition:
    return partition(random_network(seed), core_spec(fanouts=64))


@pytest.mark.parametrize("offset", RANDOM)
def test_partition_holds_every_neuron_once(seed: int, offset: int) -> None:
    parts = _random_partition(seed + offset)
    for layer in parts.layers:
        outputs = np.concatenate([part.outputs for part in parts.of(layer)])
        size = math.prod(parts.spiking.layer(layer.name).output_shape)
        assert sorted(outputs.tolist()) == list(range(size))
        core, neuron = parts.home(layer.name)
        assert all(parts.cores[c].outputs[n] == e for e, (c, n) in enumerate(zip(core, neuron, strict=True)))


@pytest.mark.parametrize("offset", RANDOM)
def test_partition_respects_axons_columns_and_thresholds(seed: int, offset: int) -> None:
    parts = _random_partition(seed + offset)
    for part in parts.cores:
        layer = parts.spiking.layer(part.layer)
        rows = part.outputs // (math.prod(layer.output_shape) // layer.rows)
        distinct = len(np.unique(clamped_thresholds(layer, parts.spec)[rows], axis=0))
        assert part.axons <= parts.spec.axons
        assert len(part.outputs) <= parts.spec.columns
        assert distinct * layer.levels <= parts.spec.thresholds


@pytest.mark.parametrize("offset", RANDOM)
def test_partition_reads_the_inputs_with_a_weight_on_axons_of_their_own(seed: int, offset: int) -> None:
    parts = _random_partition(seed + offset)
    for part in parts.cores:
        matrix = layer_matrix(parts.spiking.layer(part.layer))[part.outputs].toarray()
        assert part.inputs.tolist() == np.flatnonzero(matrix.any(axis=0)).tolist()
        assert len(set(part.axon.tolist())) == len(part.axon)


@pytest.mark.parametrize("offset", RANDOM)
def test_partition_gives_an_input_the_same_axon_in_every_patch(seed: int, offset: int) -> None:
    parts = _random_partition(seed + offset)
    axons = defaultdict(set)
    for part in (part for part in parts.cores if part.layer.startswith("conv")):
        for element, axon in zip(part.inputs.tolist(), part.axon.tolist(), strict=True):
            axons[part.layer, element].add(axon)
    assert all(len(ids) == 1 for ids in axons.values())


def test_partition_of_the_digits_network_takes_the_fewest_cores() -> None:
    parts = partition(digits_like(), preset("small"))
    assert [layer.grid for layer in parts.layers] == [(4, 3, 1), (1, 1, 1), (1, 1, 1)]
    # 256 axons hold 21 pixels of 12 channels: a window of 4 x 5, so patches of 2 x 3 neurons, is the largest
    assert max(part.axons for part in parts.of(parts.layers[0])) == 4 * 5 * 12


def test_partition_splits_channels_where_thresholds_are_scarce() -> None:
    draft = Draft(shape=(1, 4, 4))
    draft.conv(8, (1, 1))
    draft.layers[-1].edges.flags.writeable = True
    draft.layers[-1].edges[:] = np.arange(24).reshape(8, 3)
    parts = partition(draft.network(), core_spec(thresholds=16, columns=64))
    assert [layer.grid for layer in parts.layers] == [(1, 1, 2)]


def test_partition_stores_equal_thresholds_once() -> None:
    draft = Draft(shape=(1, 4, 4))
    draft.conv(4, (1, 1))
    draft.layers[-1].edges.flags.writeable = True
    draft.layers[-1].edges[:] = (1, 2, 3)
    parts = partition(draft.network(), core_spec(thresholds=4, columns=64))
    assert len(parts.cores) == 1


@pytest.mark.parametrize(("axons", "grid"), [(32, (1, 1, 1)), (16, (1, 1, 2)), (4, (2, 2, 2))])
def test_partition_keeps_whole_groups_while_their_inputs_fit(axons: int, grid: tuple[int, int, int]) -> None:
    draft = Draft(shape=(8, 2, 2))
    draft.conv(8, (1, 1), groups=4)
    parts = partition(draft.network(), core_spec(axons=axons))
    assert [layer.grid for layer in parts.layers] == [grid]


def test_partition_cuts_a_dense_layer_by_shared_inputs_if_all_do_not_fit() -> None:
    draft = Draft(shape=(40,))
    draft.dense(6, density=0.3)
    parts = partition(draft.network(), core_spec(axons=24))
    assert len(parts.cores) > 1
    assert all(part.axon.tolist() == list(range(len(part.inputs))) for part in parts.cores)


def test_partition_obeys_caps() -> None:
    draft = Draft(shape=(4,))
    draft.dense(10)
    parts = partition(draft.network(), core_spec(), caps={"dense0": 3})
    assert [len(part.outputs) for part in parts.cores] == [3, 3, 2, 2]


def test_depths_follow_the_source() -> None:
    assert depths(random_network(1)) == {"conv0": 0, "conv1": 1, "conv2": 1, "dense3": 2}


def _dense(levels: int = 3, source_levels: int = 3) -> Draft:
    draft = Draft(shape=(20,), levels=source_levels)
    draft.dense(4, density=1.0, levels=levels)
    return draft


@pytest.mark.parametrize(
    ("draft", "sizes", "message"),
    [
        (
            _dense(),
            {"axons": 16},
            (
                "Layer 'dense0' needs 20 axons for the inputs of one neuron but 16 are allowed: "
                "choose the core size tiny."
            ),
        ),
        (
            _dense(source_levels=9),
            {},
            ("Layer 'dense0' needs 9 spikes per input value but 7 are allowed: choose the core size small."),
        ),
        (
            _dense(levels=8),
            {},
            ("Layer 'dense0' needs 8 spikes per neuron but 7 are allowed: choose the core size small."),
        ),
        (
            _dense(levels=5),
            {"thresholds": 4},
            ("Layer 'dense0' needs 5 thresholds on one core but 4 are allowed: choose the core size tiny."),
        ),
    ],
)
def test_partition_refuses_what_no_cut_makes_fit(draft: Draft, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(InfeasibleError) as error:
        partition(draft.network(), core_spec(**sizes))
    assert str(error.value) == message


def test_partition_refuses_a_schedule_that_is_too_long() -> None:
    draft = Draft(shape=(2,))
    for _ in range(3):
        draft.dense(2)
    with pytest.raises(InfeasibleError) as error:
        partition(draft.network(), core_spec(schedule=2))
    assert str(error.value) == (
        "Layer 'dense1' needs 3 schedule entries but 2 are allowed: choose the core size tiny."
    )


def test_partition_refuses_a_network_of_too_many_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapping.layout.partition.depths", lambda _: {"dense0": 4096})
    with pytest.raises(InfeasibleError) as error:
        partition(_dense().network(), core_spec())
    assert str(error.value) == (
        "Layer 'dense0' needs 4096 timesteps between its steps but 4095 are allowed: "
        "use a network of at most 4096 layers in a row."
    )


def test_partition_refuses_a_neuron_with_too_many_readers() -> None:
    draft = Draft(shape=(4,))
    first = draft.dense(1)
    for _ in range(3):
        draft.dense(1, source=first, density=1.0)
    with pytest.raises(InfeasibleError) as error:
        partition(draft.network(), core_spec(fanouts=2))
    assert str(error.value) == (
        "Layer 'dense0' needs 3 fan-out entries on one core but 2 are allowed: choose the core size tiny."
    )


def test_partition_refuses_a_threshold_wider_than_the_potential() -> None:
    draft = Draft(shape=(60,), levels=7)
    draft.dense(1, density=1.0)
    layer = draft.layers[-1]
    layer.only.weight.flags.writeable = layer.edges.flags.writeable = True
    layer.only.weight[:], layer.edges[:] = 1, (1, 2, 200)
    with pytest.raises(InfeasibleError) as error:
        partition(draft.network(), core_spec(potential_bits=8))
    assert str(error.value) == (
        "Layer 'dense0' needs 9 potential bits but 8 are allowed: choose the core size small."
    )


def test_clamped_thresholds_keep_what_saturation_keeps() -> None:
    draft = Draft(shape=(60,), levels=7)
    draft.dense(1, density=1.0)
    layer = draft.layers[-1]
    layer.only.weight.flags.writeable = layer.edges.flags.writeable = True
    layer.only.weight[:], layer.edges[:] = 1, (-500, 127, 421)
    assert clamped_thresholds(layer, core_spec(potential_bits=8)).tolist() == [[-128, 127, 128]]
