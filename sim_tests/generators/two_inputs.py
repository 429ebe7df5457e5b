# SPDX-License-Identifier: Apache-2.0
"""A network with two inputs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["two_input_model", "two_inputs"]

Shape = tuple[int, ...]


def two_input_model(first: Shape = (2,), second: Shape = (2,)) -> onnx.ModelProto:
    """Return a model that reads the inputs a and b, each through weights of its own, and adds the sums."""
    b = ModelBuilder(first, seed=6)
    parts = []
    for name, shape in (("a", first), ("b", second)):
        y = b.op("Flatten", name) if len(shape) > 1 else name
        parts.append(b.head(y, int(np.prod(shape))))
    model = b.model(b.op("Relu", b.op("Add", *parts)))
    del model.graph.input[:]
    for name, shape in (("a", first), ("b", second)):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
    return model


def two_inputs(first: Shape = (2,), second: Shape = (2,)) -> Network:
    """Return the network of `two_input_model`."""
    return network_from_onnx(two_input_model(first, second), name="two")
