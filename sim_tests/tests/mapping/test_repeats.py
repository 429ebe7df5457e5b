# SPDX-License-Identifier: Apache-2.0
"""``Tile`` and ``Expand`` of an activation have the values of another runtime."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.model_builder import ModelBuilder

Build = Callable[[ModelBuilder], str]

SHAPE = (3, 1, 4)


def repeated(kind: str, *numbers: int) -> Build:
    return lambda b: b.op(kind, "x", b.constant(numbers, np.int64))


def as_the_input(b: ModelBuilder) -> str:
    return b.op("Expand", b.op("ReduceMean", "x", axes=[1, 3]), b.op("Shape", "x"))


CASES: dict[str, Build] = {
    "Tile": repeated("Tile", 1, 2, 3, 1),
    "Tile, once": repeated("Tile", 1, 1, 1, 1),
    "Expand": repeated("Expand", 1, 3, 5, 4),
    "Expand, ones": repeated("Expand", 1, 1, 2, 1),
    "Expand, fewer axes": repeated("Expand", 2, 4),
    "Expand to another": as_the_input,
}


@pytest.mark.parametrize("case", CASES)
def test_repeated_elements_are_those_of_another_runtime(case: str) -> None:
    b = ModelBuilder(SHAPE)
    model = b.model(CASES[case](b))
    x = b.rng.normal(size=(2, *SHAPE)).astype(np.float32)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    network = network_from_onnx(model, name="n")
    np.testing.assert_allclose(infer(network, x), wanted, rtol=1e-6)
    assert "Foreign" not in {node.op for node in network.nodes}


def test_repetition_beyond_the_limit_is_refused() -> None:
    b = ModelBuilder(SHAPE)
    model = b.model(repeated("Tile", 1, 2**20, 2**20, 1)(b))
    with pytest.raises(UnsupportedModelError, match="above the limit"):
        network_from_onnx(model, name="n")
