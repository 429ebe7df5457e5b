# SPDX-License-Identifier: Apache-2.0
"""The share of the host counts multiply-adds by shape, as by hand."""

from typing import Any

import numpy as np

from mapping.codes.convert import convert
from mapping.datasets.load import Dataset
from mapping.model.network import Network
from mapping.model.work import multiply_adds
from mapping.report.machine import estimate
from sim_tests.generators.model_builder import ModelBuilder


def residual() -> Network:
    """Two small layers before a join, two large ones behind it."""
    b = ModelBuilder((2, 6, 6))
    y = first = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), pads=[1] * 4, name="c1"))
    y = b.quantise(b.conv(y, b.ternary(4, 4, 3, 3), pads=[1] * 4, name="c2"))
    y = b.quantise(b.conv(b.op("Add", first, y), b.ternary(16, 4, 3, 3), name="c3"))
    y = b.quantise(b.conv(y, b.ternary(8, 16, 3, 3), name="c4"))
    return b.network(b.quantise(b.dense(b.op("Flatten", y), b.ternary(5, 32), name="vote")))


WORK = {"c1": 4 * 2 * 16 * 16, "c2": 4 * 4 * 16 * 16, "c3": 16 * 16 * 36, "c4": 8 * 4 * 144, "vote": 5 * 32}
"""A row of 6 with a border of 1 has 2 + 3 + 3 + 3 + 3 + 2 = 16 places that a row of 3 weights meets."""


def test_multiply_adds_are_those_counted_by_hand() -> None:
    assert multiply_adds(residual()) == WORK


def test_run_that_leaves_the_least_to_the_host_is_chosen_and_its_share_given() -> None:
    spiking = convert(residual())
    assert [layer.name for layer in spiking.layers] == ["c1", "c2"]  # 6144 of 20128, more than c4 and vote
    host = WORK["c3"] + WORK["c4"] + WORK["vote"]
    assert spiking.host_share == host / sum(WORK.values())


def test_pad_takes_no_multiply_add_and_an_average_one_an_element() -> None:
    b = ModelBuilder((2, 4, 4))
    y = b.op("AveragePool", b.quantise("x"), kernel_shape=[2, 2], strides=[2, 2], name="mean")
    y = b.op("Pad", y, b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), name="pad")
    assert dict(multiply_adds(b.network(y))) == {"mean": 2 * 4 * 4}


def test_network_whose_layers_all_run_on_the_chip_has_no_share_on_the_host() -> None:
    b = ModelBuilder((6,))
    y = b.quantise(b.dense(b.quantise("x"), b.ternary(4, 6)))
    assert convert(b.network(y)).host_share == 0.0


def test_weights_on_padding_take_no_multiply_add_whatever_the_stride_and_dilation() -> None:
    b = ModelBuilder((2, 5, 7))
    attributes: dict[str, Any] = {"pads": [1, 0, 2, 3], "strides": [2, 1], "dilations": [1, 2], "group": 2}
    network = b.network(b.conv("x", b.ternary(4, 1, 3, 3), name="c", **attributes))
    by_hand = 0
    for top in range(-1, 5 + 2 - 2, 2):
        for left in range(7 + 3 - 4):
            for row in range(3):
                for column in range(3):
                    by_hand += 0 <= top + row < 5 and 0 <= left + 2 * column < 7
    assert dict(multiply_adds(network)) == {"c": 4 * by_hand}


def test_share_agrees_with_the_dense_operations_of_the_chip() -> None:
    """Of layers of 0 and 1, both count the same pairs of activation and weight."""
    b = ModelBuilder((2, 6, 6))
    y = b.quantise(b.conv(b.quantise("x", 0, 1.0), b.ternary(4, 2, 3, 3), pads=[1] * 4, name="c1"), 0, 1.0)
    y = b.dense(b.op("Flatten", y), b.rng.normal(size=(5, 144)), name="head")
    data = Dataset(name="random", x=b.rng.uniform(0, 1, (4, 2, 6, 6)), y=None)
    (target,) = estimate(b.network(y), data, ("loom",), core="small").targets
    dense = target["neurobench"]["synaptic_operations"]["dense"]
    assert target["host_share"] == 5 * 144 / (5 * 144 + dense)
