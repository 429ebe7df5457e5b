# SPDX-License-Identifier: Apache-2.0
"""Sigmoids that several operators spell, and shares of classes that keep the order of their scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from sim_tests.generators.estimator_models import estimator, named
from sim_tests.generators.model_builder import ModelBuilder

X = np.random.default_rng(3).normal(size=(200, 6))


def one(b: ModelBuilder) -> str:
    return b.constant([1.0])


def reciprocal(b: ModelBuilder, x: str) -> str:
    """As skl2onnx writes a Sigmoid."""
    return b.op("Reciprocal", b.op("Add", b.op("Exp", b.op("Mul", x, b.constant([-1.0]))), one(b)))


def quotient(b: ModelBuilder, x: str) -> str:
    return b.op("Div", one(b), b.op("Add", one(b), b.op("Exp", b.op("Neg", x))))


def clipped(b: ModelBuilder, x: str) -> str:
    """Scores of a modified Huber loss, as skl2onnx writes them."""
    return b.op("Div", b.op("Add", b.clip(x, -1.0, 1.0), one(b)), b.constant([2.0]))


def shares(b: ModelBuilder, scores: str, axis: int = 1) -> str:
    """Divide the scores of three classes by their sum, or by three where it is zero."""
    total = b.op("ReduceSum", scores, b.constant([axis], np.int64), keepdims=1)
    empty = b.op("Cast", b.op("Not", b.op("Cast", total, to=TensorProto.BOOL)), to=TensorProto.FLOAT)
    above = b.op("Add", scores, empty)
    return b.op("Div", above, b.op("Add", total, b.op("Mul", empty, b.constant([3.0]))))


def classified(scores: Callable[[ModelBuilder, str], str]) -> onnx.ModelProto:
    b = ModelBuilder((6,), seed=2)
    y = scores(b, b.head("x", 6))
    return estimator(b, named(b, shares(b, y), (0, 1, 2)))


def ops(network: Network) -> list[str]:
    return [node.op for node in network.nodes]


@pytest.mark.parametrize("build", [reciprocal, quotient])
def test_sigmoid_is_the_same_to_the_last_bit(build: Callable[[ModelBuilder, str], str]) -> None:
    b = ModelBuilder((6,))
    network = b.network(b.op("Mul", build(b, "x"), b.constant(2.0)))
    assert ops(network) == ["Sigmoid", "Mul"]
    np.testing.assert_array_equal(infer(network, X), 1.0 / (1.0 + np.exp(-X)) * 2.0)


def spelt_softmax(b: ModelBuilder, x: str, axis: int, *, stable: bool) -> str:
    axes = b.constant([axis], np.int64)
    x = b.op("Sub", x, b.op("ReduceMax", x, axes, keepdims=1)) if stable else x
    y = b.op("Exp", x)
    return b.op("Div", y, b.op("ReduceSum", y, axes, keepdims=1))


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("axis", [1, -1])
def test_softmax_that_is_spelt_is_one(axis: int, *, stable: bool) -> None:
    """At the output of classes it changes no order; elsewhere it has the values of its definition."""
    b = ModelBuilder((6,), seed=2)
    scores = b.dense("x", b.rng.normal(size=(4, 6)))
    last = b.network(spelt_softmax(b, scores, axis, stable=stable))
    assert not {"Div", "Exp", "Softmax", "Sub"} & set(ops(last))
    b = ModelBuilder((6,), seed=2)
    y = spelt_softmax(b, b.dense("x", b.rng.normal(size=(4, 6))), axis, stable=stable)
    network = b.network(b.op("Mul", y, b.constant(2.0)))
    assert "Softmax" in ops(network)
    power = np.exp(infer(last, X))
    np.testing.assert_allclose(infer(network, X), 2 * power / power.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("kind", ["another axis", "another sum", "old set"])
def test_what_is_no_softmax_stays(kind: str) -> None:
    b = ModelBuilder((3, 4, 4), seed=2, **({"opset": 12} if kind == "old set" else {}))
    y = b.op("Exp", "x")
    if kind == "old set":
        total = b.op("ReduceSum", y, axes=[1], keepdims=1)
    else:
        added = b.op("Exp", y) if kind == "another sum" else y
        total = b.op(
            "ReduceSum", added, b.constant([2 if kind == "another axis" else 1], np.int64), keepdims=1
        )
    assert "Softmax" not in ops(b.network(b.op("Div", y, total)))


@pytest.mark.parametrize(("power", "offset"), [(1.0, 1.0), (-1.0, 2.0), (-2.0, 1.0)])
def test_what_is_no_sigmoid_stays(power: float, offset: float) -> None:
    b = ModelBuilder((6,))
    y = b.op("Add", b.op("Exp", b.op("Mul", "x", b.constant(power))), b.constant(offset))
    network = b.network(b.op("Mul", b.op("Reciprocal", y), b.constant(2.0)))
    assert "Sigmoid" not in ops(network)
    wanted = 2.0 / (np.exp(power * X) + offset)
    np.testing.assert_allclose(infer(network, X).reshape(wanted.shape), wanted, rtol=1e-12)


def chosen(model: onnx.ModelProto) -> NDArray[np.int64]:
    """Return the classes that ONNX's evaluator chooses."""
    run: Any = ReferenceEvaluator(model)
    return np.asarray(run.run(None, {"x": X.astype(np.float32)})[0])


@pytest.mark.parametrize(
    ("scores", "kept"),
    [(reciprocal, ["Dense", "Add"]), (clipped, ["Dense", "Add", "Clip", "Add", "Mul"])],
)
def test_shares_of_classes_have_the_order_of_their_scores(
    scores: Callable[[ModelBuilder, str], str], kept: list[str]
) -> None:
    model = classified(scores)
    network = network_from_onnx(model, name="shares")
    assert ops(network) == kept
    np.testing.assert_array_equal(infer(network, X).argmax(axis=1), chosen(model))
    spiking = convert_graded(network, X[:100], preset("reference"))
    assert spiking.host_share == 0
    assert not spiking.host


def test_scores_are_not_divided_by_sums_of_the_batch() -> None:
    b = ModelBuilder((6,), seed=2)
    model = estimator(b, named(b, shares(b, reciprocal(b, b.head("x", 6)), axis=0), (0, 1, 2)))
    with pytest.raises(UnsupportedModelError, match="reduces the batch; export the model without it"):
        network_from_onnx(model, name="shares")


def test_scores_that_may_be_negative_are_divided() -> None:
    model = classified(lambda b, x: b.op("Tanh", x))
    network = network_from_onnx(model, name="shares")
    assert "Div" in ops(network)
    got = infer(network, X).reshape(len(X), -1)
    np.testing.assert_array_equal(got.argmax(axis=1), chosen(model))
