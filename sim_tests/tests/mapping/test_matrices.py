# SPDX-License-Identifier: Apache-2.0
"""Matrices, pool members and operation counts against walks over every weight."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.codes.convert import convert
from mapping.spiking.matrices import layer_matrix, operation_counts, pool_matrix, pool_members
from mapping.spiking.network import INPUT, SpikingLayer
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.spiking_models import (
    CONVS,
    POOLS,
    images,
    naive_counts,
    one_conv,
    pooled_network,
)


@pytest.mark.parametrize("attributes", CONVS, ids=str)
def test_layer_matrix_gives_the_counts_of_simulate(attributes: dict[str, Any]) -> None:
    spiking = one_conv(**attributes)
    counts = simulate(spiking, encode(spiking, images()))
    layer = spiking.layers[0]
    assert layer_matrix(layer).dtype == np.int16
    assert (naive_counts(layer, counts[INPUT]) == counts[layer.name].reshape(12, -1)).all()


@pytest.mark.parametrize("attributes", POOLS, ids=str)
@pytest.mark.parametrize("times", [1, 2])
def test_pool_members_give_the_counts_of_simulate(attributes: dict[str, Any], times: int) -> None:
    spiking = pooled_network(attributes, times)
    layer = spiking.layer("fc")
    counts = simulate(spiking, encode(spiking, images()))
    assert (naive_counts(layer, counts["conv"]) == counts["fc"]).all()
    assert pool_matrix(layer.only).sum() == sum(map(len, pool_members(layer.only)))


def test_layer_without_pool_has_single_members() -> None:
    assert [m.tolist() for m in pool_members(one_conv().layers[0].only)] == [[i] for i in range(256)]


def naive_operations(layer: SpikingLayer, read: NDArray[np.int32]) -> tuple[int, int]:
    """Logical and dense counts of one image by walking every output, weight and pixel of a convolution."""
    logical = dense = 0
    rows, fan_in, kh, kw = layer.only.weight.shape
    for o, y, x in np.ndindex(*layer.output_shape):
        for c, i, j in np.ndindex(fan_in, kh, kw):
            at_y = y * layer.only.stride[0] + i * layer.only.dilation[0] - layer.only.pads[0]
            at_x = x * layer.only.stride[1] + j * layer.only.dilation[1] - layer.only.pads[1]
            if 0 <= at_y < read.shape[1] and 0 <= at_x < read.shape[2]:
                count = int(read[o // (rows // layer.only.groups) * fan_in + c, at_y, at_x])
                logical += count * abs(int(layer.only.weight[o, c, i, j]))
                dense += count * 2 * layer.levels
    return logical, dense


@pytest.mark.parametrize("attributes", CONVS, ids=str)
def test_operation_counts_equal_a_walk_over_every_weight(attributes: dict[str, Any]) -> None:
    spiking = one_conv(**attributes)
    counts = simulate(spiking, encode(spiking, images(n=2)))
    got = operation_counts(spiking, counts)["conv"]
    for image in range(2):
        expected = naive_operations(spiking.layers[0], counts[INPUT][image])
        assert (got.logical[image], got.dense[image]) == expected
    assert got.input_spikes.tolist() == counts[INPUT].reshape(2, -1).sum(axis=1).tolist()
    assert got.spikes.tolist() == counts["conv"].reshape(2, -1).sum(axis=1).tolist()


def test_operation_counts_of_a_dense_layer() -> None:
    b = ModelBuilder((3,))
    weight = np.array([[1, 0, -1], [0, 0, 1]], np.float32)
    spiking = convert(b.network(b.head(b.quantise(b.dense(b.quantise("x"), weight, name="fc"), 0, 3.0), 2)))
    got = operation_counts(spiking, simulate(spiking, np.array([[4, 2, 1]])))["fc"]
    assert (got.logical[0], got.dense[0], got.input_spikes[0]) == (4 + 2, 7 * 2 * 2 * 3, 7)
