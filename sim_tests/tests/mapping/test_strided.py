# SPDX-License-Identifier: Apache-2.0
"""Elements that a model takes by their places in the whole batch, as PyTorch's newer exporter does."""

import numpy as np
import onnxruntime
import pytest

from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer, needed_nodes
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.model_builder import ModelBuilder


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_strides_over_the_whole_batch_are_places_in_each_sample(batch: int | None) -> None:
    """PyTorch writes a mean over channels last as a vector of the batch, and what is taken of it."""
    b = ModelBuilder((4, 2, 2))
    y = b.op("Relu", b.conv("x", b.rng.normal(size=(5, 4, 1, 1))))
    y = b.op("Reshape", b.op("ReduceMean", y, axes=[2, 3]), b.constant([-1], np.int64))
    places = np.arange(batch or 1)[:, None, None, None] * 5 + np.array([4, 3, 2, 1, 0])[:, None, None]
    y = b.op("Gather", y, b.constant(places, np.int64), axis=0)
    y = b.head(b.op("Reshape", y, b.constant([-1, 5], np.int64)), 5)
    model = b.model(y)
    if batch is not None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    network = network_from_onnx(model, name="strided")
    needed = needed_nodes(network, [network.input], [network.output])
    assert "Foreign" not in {node.op for node in needed}
    x = b.rng.normal(size=(batch or 1, 4, 2, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_allclose(infer(network, x), session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("places", [[[0, 16], [16, 32]], [[0, 1], [17, 18]]])
def test_other_places_of_the_batch_are_refused(places: list[list[int]]) -> None:
    b = ModelBuilder((4, 2, 2))
    y = b.op("Reshape", "x", b.constant([-1], np.int64))
    y = b.op("Relu", b.op("Gather", y, b.constant(places, np.int64), axis=0))
    model = b.model(b.op("Add", y, b.constant(1.0)))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    told = r"whose first axis is no batch; export the model for a batch of 1\.$"
    with pytest.raises(UnsupportedModelError, match=told):
        network_from_onnx(model, name="strided")
