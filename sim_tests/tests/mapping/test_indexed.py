# SPDX-License-Identifier: Apache-2.0
"""Elements chosen by indices, as exporters write an index or an adaptive mean, lie whole on the chip."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from mapping.flow import compile_network
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.model_builder import ModelBuilder

ROWS, COLUMNS = (1, 3, 3, 0, 5), (0, 3, 1, 0, 4)
WINDOWS = ((0, 1), (1, 2), (3, 4), (4, 5))
"""Rows, or columns, of each window of a mean of six by six values to four by four."""


def gathered(b: ModelBuilder, x: str, places: np.ndarray) -> str:
    """Take places (..., row and column) of a map, as PyTorch's newer exporter writes an index."""
    y = b.op("Transpose", x, perm=[2, 3, 0, 1])
    y = b.op("GatherND", y, b.constant(places, np.int64))
    axes = places.ndim - 1
    return b.op("Transpose", y, perm=[axes, axes + 1, *range(axes)])


def indexed(b: ModelBuilder, x: str) -> str:
    return gathered(b, x, np.stack([ROWS, COLUMNS], axis=-1))


def windows(b: ModelBuilder, x: str) -> str:
    rows, columns = np.broadcast_arrays(
        np.array(WINDOWS)[:, :, None, None], np.array(WINDOWS)[None, None, :, :]
    )
    return gathered(b, x, np.stack([rows, columns], axis=-1))


def mean(b: ModelBuilder, x: str) -> str:
    return b.op("ReduceMean", windows(b, x), axes=[3, 5], keepdims=0)


def total(b: ModelBuilder, x: str) -> str:
    y = b.op("ReduceSum", windows(b, x), b.constant([3, 5], np.int64), keepdims=0)
    return b.conv(y, b.rng.normal(size=(3, 4, 3, 3)))


def uneven(b: ModelBuilder, x: str) -> str:
    """A mean of windows of unlike sizes: what is beyond one is masked, and all is added and divided."""
    beyond = np.zeros((4, 1, 4, 1), np.bool_) | (np.arange(2) == 1)[None, None, None, :]
    y = b.op("Where", b.constant(beyond, np.bool_), b.constant(0.0), windows(b, x))
    return b.op("ReduceMean", y, axes=[3, 5], keepdims=0)


def filled(b: ModelBuilder, x: str) -> str:
    kept = np.random.default_rng(2).random((6, 6)) < 0.5
    return b.op("Where", b.constant(kept, np.bool_), x, b.constant(0.75))


CASES: dict[str, tuple[int, Callable[[ModelBuilder, str], str]]] = {
    "an index": (6, indexed),
    "one that repeats a single place": (1, lambda b, x: gathered(b, x, np.zeros((7, 1, 7, 1, 2), np.int64))),
    "a mean of windows": (6, mean),
    "their sum before a convolution": (6, total),
    "a mean of uneven windows": (6, uneven),
    "a mask": (6, filled),
}


def evaluated(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    (output,) = ReferenceEvaluator(model).run(None, {"x": x.astype(np.float32)})
    return np.asarray(output)


@pytest.mark.parametrize("case", CASES)
def test_chosen_elements_lie_on_the_chip(case: str) -> None:
    size, build = CASES[case]
    b = ModelBuilder((2, size, size), seed=1)
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(4, 2, 3, 3)), b.rng.normal(size=4), pads=[1, 1, 1, 1]))
    y = b.op("Flatten", build(b, y))
    ones = np.ones((1, 2, size, size))
    (flat,) = evaluated(b.model(y), ones)
    model = b.model(b.dense(y, b.rng.normal(size=(5, len(flat)))))
    network = network_from_onnx(model, name="n")
    x = np.random.default_rng(0).uniform(0, 1, (40, 2, size, size))
    expected = evaluated(model, x)
    assert np.allclose(infer(network, x), expected, rtol=1e-4, atol=1e-4)
    chip = compile_network(network, x, core="medium")
    assert chip.spiking.host_share == 0
    assert not any(node.op == "Foreign" for node in network.nodes)
    found = decode(chip.spiking, simulate(chip.spiking, encode(chip.spiking, x)), x)
    assert abs(found - expected).max() < 0.02 * abs(expected).max()
    assert (chip.run(x[:3]).logits == found[:3]).all()
