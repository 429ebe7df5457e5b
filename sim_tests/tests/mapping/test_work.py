# SPDX-License-Identifier: Apache-2.0
"""The share of the host counts multiply-adds by shape, as by hand."""

import numpy as np

from mapping.codes.convert import convert
from mapping.model.network import Network
from mapping.model.work import multiply_adds
from sim_tests.generators.model_builder import ModelBuilder


def residual() -> Network:
    """Two small layers before a join, two large ones behind it."""
    b = ModelBuilder((2, 6, 6))
    y = first = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), pads=[1] * 4, name="c1"))
    y = b.quantise(b.conv(y, b.ternary(4, 4, 3, 3), pads=[1] * 4, name="c2"))
    y = b.quantise(b.conv(b.op("Add", first, y), b.ternary(16, 4, 3, 3), name="c3"))
    y = b.quantise(b.conv(y, b.ternary(8, 16, 3, 3), name="c4"))
    return b.network(b.quantise(b.dense(b.op("Flatten", y), b.ternary(5, 32), name="vote")))


WORK = {"c1": 4 * 36 * 18, "c2": 4 * 36 * 36, "c3": 16 * 16 * 36, "c4": 8 * 4 * 144, "vote": 5 * 32}


def test_multiply_adds_are_outputs_times_weights_of_an_output() -> None:
    assert multiply_adds(residual()) == WORK


def test_run_that_leaves_the_least_to_the_host_is_chosen_and_its_share_given() -> None:
    spiking = convert(residual())
    assert [layer.name for layer in spiking.layers] == ["c1", "c2"]  # 7776 of 21760, more than c4 and vote
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
