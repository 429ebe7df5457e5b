# SPDX-License-Identifier: Apache-2.0
"""The fields of every operation's record agree with one another, on random nodes and inputs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mapping.model.network import infer_shape, make_node
from mapping.model.operations import MOVES, OPERATIONS, apply_elementwise
from mapping.model.operations.elementwise import by_channel
from mapping.model.operations.linear import is_pad
from mapping.model.operations.operation import HOST, Range, Reals
from sim_tests.generators.operation_nodes import NODES, Case, cases, values

Floats = NDArray[np.float64]

RANDOM = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
EVERY = pytest.mark.parametrize("op", OPERATIONS)
SAMPLES = 2
GRID = np.arange(-400, 401) / 40
"""Values among which a function that may fall falls, or has no value."""


def drawn(data: st.DataObject, op: str, size: float = 100.0) -> tuple[Case, list[Floats]]:
    """Return a node and inputs (N, shape) that fit it."""
    case = data.draw(cases(op))
    return case, [data.draw(values((SAMPLES, *shape), size)) for shape in case.shapes]


def apply(case: Case, inputs: Sequence[Reals]) -> Reals:
    shape = infer_shape(case.node, case.shapes)
    with np.errstate(all="ignore"):
        return OPERATIONS[case.node.op].apply(case.node, inputs, shape, None)


@EVERY
def test_record_says_everything(op: str) -> None:
    record = OPERATIONS[op]
    assert record.name == op
    assert record.chip.endswith(".")
    assert record.chip.count(". ") == 0, "one sentence"
    assert record.elementwise == (record.each is not None)
    assert record.selects or not record.moves
    meanings = {**record.attributes, **record.constants}
    assert all(meanings.values())
    assert len(meanings) == len(record.attributes) + len(record.constants)


def test_every_operation_is_drawn() -> None:
    assert list(NODES) == list(OPERATIONS)
    assert {"Flatten", "Permute", "Reshape"} == MOVES


def test_hosts_operations_are_those_that_no_layer_stands_for() -> None:
    hosts = {op for op, record in OPERATIONS.items() if record.chip.startswith(HOST)}
    assert hosts == {"Foreign", "LogSoftmax", "Softmax"}


@EVERY
@RANDOM
@given(data=st.data())
def test_node_carries_what_its_record_lists(op: str, data: st.DataObject) -> None:
    record, node = OPERATIONS[op], data.draw(cases(op)).node
    for listed, carried in ((record.attributes, node.attributes), (record.constants, node.constants)):
        needed = {key for key, meaning in listed.items() if not meaning.startswith("if ")}
        assert needed <= set(carried)
        if op != "Foreign":  # its constants are named by their places
            assert set(carried) <= set(listed)


@EVERY
@RANDOM
@given(data=st.data())
def test_shape_and_precision_equal_those_of_the_result(op: str, data: st.DataObject) -> None:
    case, inputs = drawn(data, op)
    shape = infer_shape(case.node, case.shapes)
    for dtype in (np.float64, np.float32):
        result = apply(case, [part.astype(dtype) for part in inputs])
        assert result.shape == (SAMPLES, *shape)
        assert result.dtype == dtype


@EVERY
@RANDOM
@given(data=st.data())
def test_interval_contains_every_result(op: str, data: st.DataObject) -> None:
    case, inputs = drawn(data, op)
    ranges = []
    for part in inputs:
        open_below, open_above = data.draw(st.tuples(st.booleans(), st.booleans()))
        low, high = float(part.min()), float(part.max())
        ranges.append((-math.inf if open_below else low, math.inf if open_above else high))
    low, high = OPERATIONS[op].interval(case.node, ranges)
    result = apply(case, inputs)
    known = result[~np.isnan(result)]
    assert ((known >= low) & (known <= high)).all()


INF = math.inf
BY_HAND: list[tuple[str, dict[str, Any], dict[str, Any], Range, Range]] = [
    ("Add", {}, {"value": -1.5}, (-1.0, 3.0), (-2.5, 1.5)),
    ("Add", {}, {"value": [1.0, 2.0]}, (-1.0, 3.0), (-INF, INF)),
    ("Mul", {}, {"value": -2.0}, (-1.0, 3.0), (-6.0, 2.0)),
    ("Mul", {}, {"value": 0.0}, (-1.0, INF), (-INF, INF)),
    ("Div", {}, {"value": -4.0}, (-INF, 2.0), (-0.5, INF)),
    ("Clip", {"low": 0.0, "high": 6.0}, {}, (-INF, 4.0), (0.0, 4.0)),
    ("PRelu", {}, {"slope": [0.5, 0.25]}, (-8.0, 1.0), (-4.0, 1.0)),
    ("PRelu", {}, {"slope": -0.5}, (-8.0, 1.0), (-INF, INF)),
    ("Tanh", {}, {}, (0.0, 0.0), (-1.0, 1.0)),
    ("Dense", {}, {"weight": [[1.0, 0.0]]}, (0.0, 4.0), (0.0, INF)),
    ("Dense", {}, {"weight": [[1.0, -1.0]]}, (0.0, 4.0), (-INF, INF)),
    ("Reduce", {"kind": "sum", "axes": (0,)}, {}, (0.0, 4.0), (0.0, INF)),
    ("Reduce", {"kind": "max", "axes": (0,)}, {}, (-3.0, 4.0), (-3.0, 4.0)),
]


@pytest.mark.parametrize(("op", "attributes", "constants", "given_range", "wanted"), BY_HAND)
def test_interval_equals_the_one_by_hand(
    op: str, attributes: dict[str, Any], constants: dict[str, Any], given_range: Range, wanted: Range
) -> None:
    arrays_of = {key: np.array(value) for key, value in constants.items()}
    node = make_node("n", op, ["x"], "y", attributes=attributes, constants=arrays_of)
    assert OPERATIONS[op].interval(node, [given_range]) == wanted


@pytest.mark.parametrize("number", [3, 7, 49])
def test_mean_of_equal_numbers_may_exceed_them_but_not_its_interval(number: int) -> None:
    node = make_node("n", "Reduce", ["x"], "y", attributes={"kind": "mean", "axes": (0,)})
    x = np.random.default_rng(1).uniform(0.1, 1.0, (500, 1)).repeat(number, axis=1)
    means = apply(Case(node=node, shapes=((number,),)), [x])[:, 0]
    assert (means > x[:, 0]).any()
    for value, mean in zip(x[:, 0].tolist(), means.tolist(), strict=True):
        low, high = OPERATIONS["Reduce"].interval(node, [(value, value)])
        assert low <= mean <= high


def higher(data: st.DataObject, x: Floats) -> Floats:
    """Return values that are nowhere below others: the same, the next, or much larger ones."""
    steps = data.draw(arrays(np.int8, x.shape, elements=st.integers(0, 2)))
    far = data.draw(arrays(np.float64, x.shape, elements=st.floats(0, 50)))
    return np.choose(steps, [x, np.nextafter(x, np.inf), x + far])


@EVERY
@RANDOM
@given(data=st.data())
def test_what_rises_never_falls(op: str, data: st.DataObject) -> None:
    case, inputs = drawn(data, op, data.draw(st.sampled_from([1.0, 20.0])))
    before, after = apply(case, inputs), apply(case, [higher(data, part) for part in inputs])
    known = OPERATIONS[op].rises(case.node)
    if known:
        assert (before <= after).all()
    elif known is None:  # in exact arithmetic; where there is no value, nothing falls
        assert not (before > after + 1e-12 * (1 + np.abs(after))).any()


def test_parameter_decides_whether_an_elu_rises() -> None:
    nodes = [make_node("f", "Elu", ["x"], "y", attributes={"alpha": alpha}) for alpha in (1.0, -1.0)]
    rises = [OPERATIONS["Elu"].rises(node) for node in nodes]
    falls = [bool((np.diff(apply_elementwise(node, GRID[None], axis=0)) < 0).any()) for node in nodes]
    assert (rises[0] is not False, rises[1] is False, falls) == (True, True, [False, True])


@pytest.mark.parametrize("op", [op for op, record in OPERATIONS.items() if record.elementwise])
@RANDOM
@given(data=st.data())
def test_what_may_fall_falls_or_has_no_value_somewhere(op: str, data: st.DataObject) -> None:
    node = data.draw(cases(op)).node
    if len(node.inputs) > 1 or not by_channel(node) or OPERATIONS[op].rises(node) is not False:
        return
    with np.errstate(all="ignore"):
        result = apply_elementwise(node, GRID[None], axis=0)
    assert (np.diff(result) < 0).any() or np.isnan(result).any()


@pytest.mark.parametrize("op", [op for op, record in OPERATIONS.items() if record.elementwise])
@RANDOM
@given(data=st.data())
def test_element_is_treated_alone_whatever_the_axis_of_its_channel(op: str, data: st.DataObject) -> None:
    case, inputs = drawn(data, op)
    if len(inputs) > 1:
        return
    result = apply(case, inputs)
    for sample, whole in zip(inputs[0], result, strict=True):
        with np.errstate(all="ignore"):
            alone = apply_elementwise(case.node, sample, axis=0)
        np.testing.assert_array_equal(alone, whole)


def test_operation_on_many_elements_is_refused_where_one_is_expected() -> None:
    node = make_node("n", "Flatten", ["x"], "y")
    with pytest.raises(ValueError, match=r"^node must be elementwise, not Flatten$"):
        apply_elementwise(node, np.zeros((1, 2)), axis=0)


@pytest.mark.parametrize("op", [op for op, record in OPERATIONS.items() if record.selects])
@RANDOM
@given(data=st.data())
def test_selected_values_are_those_of_the_input(op: str, data: st.DataObject) -> None:
    case, inputs = drawn(data, op)
    for sample, result in zip(inputs[0], apply(case, inputs), strict=True):
        assert np.isin(result, sample).all()
        if OPERATIONS[op].moves:
            assert (np.sort(result, axis=None) == np.sort(sample, axis=None)).all()


def ones(value: Any) -> Floats:
    return np.ones_like(value, dtype=np.float64)


@EVERY
@RANDOM
@given(data=st.data())
def test_work_is_one_for_each_weight_that_meets_an_element(op: str, data: st.DataObject) -> None:
    case, inputs = drawn(data, op)
    work = OPERATIONS[op].work(case.node, case.shapes)
    if op not in {"Conv", "Dense"} or is_pad(case.node):
        assert work == 0
        return
    node = replace(case.node, constants={"weight": ones(case.node.constants["weight"])})
    met = apply(Case(node=node, shapes=case.shapes), [ones(part) for part in inputs])
    assert work == met[0].sum()
