# SPDX-License-Identifier: Apache-2.0
"""Answers in float64 that follow from float32 are those of float64, and bounds hold for every operation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.datasets.named import largest
from mapping.model.evaluate import infer
from mapping.model.network import make_node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.operation import unknown
from mapping.report.answers import answers, strayed
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operation_nodes import cases, values
from sim_tests.generators.ordinary_networks import mlp, ordinary, residual

BOUNDED = sorted(name for name, record in OPERATIONS.items() if record.strays is not unknown)


def test_layers_of_ordinary_networks_have_bounds() -> None:
    assert set(BOUNDED) >= {"Conv", "Dense", "Add", "Relu", "Clip", "MaxPool", "Flatten", "Take"}


@pytest.mark.parametrize("op", BOUNDED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_value_strays_beyond_its_bound(op: str, data: st.DataObject) -> None:
    case = data.draw(cases(op))
    record, node = OPERATIONS[op], case.node
    exact = [data.draw(values((2, *shape))) for shape in case.shapes]
    apart = data.draw(st.sampled_from([0.0, 1e-5, 0.5]))
    random = np.random.default_rng(0)
    stray = [one + random.uniform(-apart, apart, one.shape) for one in exact]
    rounded = [one.astype(np.float32) for one in stray]
    bounds = [float(np.abs(one - own).max(initial=0)) for one, own in zip(rounded, exact, strict=True)]
    shape = record.shape(node, case.shapes)
    with np.errstate(all="ignore"):
        got, truth = (np.asarray(record.apply(node, inputs, shape, None)) for inputs in (rounded, exact))
    assert got.dtype == np.float32
    assert np.abs(got - truth).max(initial=0) <= record.strays(node, bounds, rounded, got)


def test_a_sum_that_cancels_keeps_the_error_of_its_constant() -> None:
    """1000.1 is no float32; less 1000 a tenth is left, and its error is 0.00002."""
    record = OPERATIONS["Add"]
    node = make_node("n", "Add", ["x"], "y", constants={"value": np.array(1000.1)})
    x = np.array([[-1000.0]])
    got, truth = (np.asarray(record.apply(node, [one], (1,), None)) for one in (x.astype(np.float32), x))
    wrong = float(np.abs(got - truth).max())
    assert 1e-5 < wrong <= record.strays(node, [0.0], [x.astype(np.float32)], got)


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_those_of_both_evaluations(seed: int) -> None:
    network = (mlp, residual, ordinary)[seed % 3](seed)
    x = np.random.default_rng(seed).normal(size=(50, *network.shapes[network.input]))
    found, (outputs, bound) = answers(network, x), strayed(network, x)
    truth = infer(network, x)
    assert found.double.tolist() == largest(truth).tolist()
    assert found.single.tolist() == largest(outputs).tolist()
    assert np.abs(outputs - truth).max() <= bound
    if np.isfinite(bound):
        assert found.proven > 25


def test_samples_whose_margin_proves_nothing_are_asked_in_float64() -> None:
    """Of the first two samples both outputs are one float32."""
    b = ModelBuilder((2,))
    x = np.array([[1.0, 1.0 + 1e-9], [2.0, 2.0 - 1e-9], [1.0, 3.0]])
    found = answers(b.network(b.dense("x", np.eye(2))), x)
    assert found.single.tolist() == [0, 0, 1]
    assert found.double.tolist() == [1, 0, 1]
    assert found.proven == 1


def test_nothing_is_proven_behind_an_operation_without_a_bound() -> None:
    b = ModelBuilder((3,))
    network = b.network(b.op("Tanh", b.dense("x", np.diag([1.0, 2.0, 3.0]))))
    x = np.random.default_rng(1).normal(size=(20, 3))
    found = answers(network, x)
    assert found.proven == 0
    assert found.double.tolist() == largest(infer(network, x)).tolist()


def test_a_single_output_is_its_own_answer() -> None:
    b = ModelBuilder((3,))
    found = answers(b.network(b.dense("x", np.ones((1, 3)))), np.ones((4, 3)))
    assert found.double.tolist() == found.single.tolist() == [0] * 4
