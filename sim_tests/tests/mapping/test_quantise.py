# SPDX-License-Identifier: Apache-2.0
"""Three notations of one network against a plain computation, and what is exact in float64."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.model.analysis import analyse
from mapping.model.evaluate import evaluate
from mapping.model.network import Network, build_network, make_node
from mapping.model.operations.rounding import ROUNDINGS, round_by
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_models import Model, Notation, chain, pixels, qdq, qonnx, qonnx_quant
from sim_tests.generators.spiking_models import images

NOTATIONS = {"chain": chain, "qdq": qdq, "qonnx": qonnx}


@pytest.mark.parametrize("notation", NOTATIONS.values(), ids=NOTATIONS)
@pytest.mark.parametrize("per_channel", [True, False])
def test_notation_equals_plain_computation_with_ties(notation: Notation, per_channel: bool) -> None:
    model = Model(scale=0.25, dyadic=True, per_channel=per_channel)
    model.assert_equal(notation, pixels())
    assert model.ties > 100


@pytest.mark.parametrize("notation", [qdq, qonnx], ids=["qdq", "qonnx"])
@pytest.mark.parametrize("seed", range(4))
def test_notation_equals_plain_computation_for_any_scale(notation: Notation, seed: int) -> None:
    Model(scale=0.1 + 0.037 * seed, dyadic=False, seed=seed).assert_equal(notation, pixels(step=0.06))


@pytest.mark.parametrize("seed", range(3))
def test_notations_differ_at_ties_only(seed: int) -> None:
    model, x = Model(scale=0.25, dyadic=True, seed=seed), pixels()
    first, second = model.counts(chain, x), model.counts(qonnx, x)
    assert (first["input"] != second["input"]).any()
    assert ((x / 0.25 % 1 == 0.5) | (first["input"] == second["input"])).all()


EXACT: dict[str, Callable[[Fraction], int]] = {
    "half_even": round,
    "half_up": lambda v: math.floor(abs(v) + Fraction(1, 2)) * (1 if v > 0 else -1),
    "half_down": lambda v: math.ceil(abs(v) - Fraction(1, 2)) * (1 if v > 0 else -1),
    "ceil": math.ceil,
    "floor": math.floor,
    "up": lambda v: math.ceil(abs(v)) * (1 if v > 0 else -1),
    "down": math.trunc,
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
@settings(deadline=None)
@given(st.floats(-1e6, 1e6) | st.integers(-9, 9).map(lambda n: n / 2))
def test_rounding_is_exact(rounding: str, value: float) -> None:
    assert round_by(rounding, np.array([value]))[0] == EXACT[rounding](Fraction(value))


def test_rounding_below_a_half_is_down() -> None:
    below = np.nextafter(0.5, 0)
    assert round_by("half_up", np.array([below, -below])).tolist() == [0, 0]
    assert np.isnan(round_by("up", np.array([np.nan]))).all()


def counted_dense(scale: float, magnitude: float, seed: int = 0) -> tuple[Network, np.ndarray[Any, Any]]:
    b = ModelBuilder((40,), seed=seed)
    digits = b.rng.integers(-1, 2, size=(8, 40)).astype(np.float32)
    y = b.dense(qonnx_quant(b, "x", scale, 4, signed=0), digits * np.float32(magnitude))
    return b.network(y), digits.astype(np.int64)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(2**-10, 8, width=32), st.floats(2**-10, 8, width=32), st.integers(0, 99))
def test_sum_of_counts_is_two_products(scale: float, magnitude: float, seed: int) -> None:
    network, digits = counted_dense(scale, magnitude, seed)
    counts = np.random.default_rng(seed).integers(0, 16, size=(20, 40))
    got = evaluate(network, counts * scale)[network.output]
    assert (got == (magnitude * scale) * (counts @ digits.T)).all()
    exact = [[Fraction(magnitude) * Fraction(scale) * int(s) for s in row] for row in counts @ digits.T]
    assert (np.abs(got - np.array(exact, dtype=np.float64)) <= np.spacing(np.abs(got))).all()
    assert (evaluate(network, counts[::-1] * scale)[network.output][::-1] == got).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 2**21), st.integers(1, 2**20), st.integers(0, 99))
def test_sum_of_counts_equals_every_order_where_that_is_exact(scale: int, factor: int, seed: int) -> None:
    network, digits = counted_dense(scale / 2**20, factor / 2**18, seed)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 16, size=(5, 40)) * (scale / 2**20)
    got, order = evaluate(network, x)[network.output], rng.permutation(40)
    naive = np.zeros((5, 8))
    for index in order:
        naive += digits[:, index] * (factor / 2**18) * x[:, index, None]
    assert (naive == got).all()


def test_neurons_that_float32_gets_wrong_are_counted() -> None:
    model = Model(scale=0.25, dyadic=True)
    assert compare(model.spiking(qdq), pixels()).single == 0
    b = ModelBuilder((1,))
    y = b.op("Add", b.dense(b.quantise("x"), [[1.0]]), b.constant(2.0**-25 + 1.25 - 2.0**-24, np.float64))
    spiking = convert(b.network(b.head(b.quantise(y), 1)))
    result = compare(spiking, np.array([[0.0], [1.0]]))
    assert (result.differences, result.single) == (0, 1)  # 1.25 less a bit is below the step in float64 only


def quantise(
    low: float = 0.0, high: float = 3.0, rounding: str = "half_even", scale: Any = 0.5, zero: Any = 0.0
) -> Network:
    node = make_node(
        "q",
        "Quantise",
        ["x"],
        "y",
        attributes={"low": low, "high": high, "rounding": rounding},
        constants={"scale": np.array(scale), "zero_point": np.array(zero)},
    )
    return build_network([node], name="n", input_name="x", input_shape=(2,), output_name="y")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scale": 0.0}, "has the scale 0.0, which is not a number above zero"),
        ({"scale": [1.0, np.nan]}, "has the scale nan, which is not a number above zero"),
        ({"scale": np.inf}, "has the scale inf, which is not a number above zero"),
        ({"zero": np.nan}, "has a zero point that is NaN or infinite"),
        ({"low": 3.0}, "has the range 3..3, which are not two ascending integers"),
        ({"high": 2.5}, "has the range 0..2.5, which are not two ascending integers"),
        (
            {"rounding": "odd"},
            "rounds by 'odd', supported are half_even, half_up, half_down, ceil, floor, up, down",
        ),
        (
            {"scale": [1.0, 1.0, 1.0]},
            "has scale of shape (3,) for an input of shape (2,); give it one value for each channel",
        ),
    ],
)
def test_unusable_quantiser_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UnsupportedModelError) as error:
        quantise(**changes)
    assert str(error.value) == f"Node 'q' (Quantise) {problem}."


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({}, 3),
        ({"scale": [0.1, 0.1]}, 3),
        ({"low": -2.0, "high": 5.0, "zero": -2.0}, 7),
        ({"low": -1.0}, None),
        ({"high": 2000.0}, None),
        ({"zero": 0.5}, None),
        ({"scale": [0.1, 0.2]}, None),
        ({"low": 1.0, "high": 4.0}, 4),
    ],
)
def test_quantiser_is_an_activation_if_its_values_are_counts(
    changes: dict[str, Any], levels: int | None
) -> None:
    found = analyse(quantise(**changes)).activations.get("y")
    assert (found and found.levels) == levels


def test_repeated_quantiser_and_idle_relu_are_left_out() -> None:
    b = ModelBuilder((2, 4, 4))
    y = qonnx_quant(b, "x", 0.3, 4, signed=0)
    y = qonnx_quant(b, b.conv(y, b.ternary(3, 2, 3, 3), name="a"), 0.7, 4, signed=0)
    y = b.op("Flatten", b.op("Relu", y))
    y = qonnx_quant(b, qonnx_quant(b, y, 0.7, 4, signed=0), 0.7, 8, signed=1, rounding_mode="FLOOR")
    y = qonnx_quant(b, b.dense(y, b.ternary(5, 12), name="b"), 0.7, 3, signed=0)
    network = b.network(b.head(b.clip(y, 0.0, 9.0), 5))
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["a", "b"]
    assert compare(spiking, images((2, 4, 4), 30)).differences == 0


def test_two_quantisers_in_a_row_are_one_activation() -> None:
    b = ModelBuilder((6,))
    y = b.dense(qonnx_quant(b, "x", 0.3, 4, signed=0), b.ternary(8, 6), name="a")
    y = qonnx_quant(b, b.op("Relu", qonnx_quant(b, y, 0.11, 6)), 0.25, 2, signed=0)
    y = qonnx_quant(
        b, qonnx_quant(b, b.dense(y, b.ternary(5, 8), name="b"), 0.1, 4, signed=0), 0.2, 2, signed=0
    )
    spiking = convert(b.network(b.head(y, 5)))
    assert [(layer.name.split(":")[0], layer.levels) for layer in spiking.layers] == [("a", 3), ("b", 3)]
    assert compare(spiking, images((6,), 300)).differences == 0


def test_rounding_that_changes_a_count_is_not_left_out() -> None:
    scale = float(np.float32(0.3))
    counts = [c for c in range(16) if (c * scale) / scale < c]
    b = ModelBuilder((2,))
    y = qonnx_quant(b, qonnx_quant(b, "x", 0.3, 4, signed=0), 0.3, 4, signed=0, rounding_mode="FLOOR")
    found = analyse(b.network(b.op("Flatten", y))).counts
    assert len(found) == 3
    assert not counts  # for this scale no product is lost; the check is by values, not by assumption


def tie_at_zero(bias: float) -> Network:
    """A sum of zero lies on a step up to its bias; ten tenths of both signs do not add up to zero."""
    b = ModelBuilder((20,))
    y = qonnx_quant(b, "x", 0.1, 8, signed=0)
    y = b.dense(y, np.repeat([[0.3, -0.3]], 10, axis=0).T.reshape(1, 20), [bias], name="fc")
    return b.network(b.head(qonnx_quant(b, y, 0.5, 4, signed=0), 1))


def test_sums_that_depend_on_the_order_are_counted() -> None:
    layer = convert(tie_at_zero(0.25)).layers[0]
    assert (layer.order_dependent, layer.edges[0, 0]) == (1, 1)
    rng, weight = np.random.default_rng(0), np.float64(np.float32(0.3))
    sums = set()
    for _ in range(200):
        counts = rng.integers(0, 256, 10)
        terms = np.concatenate([counts, -counts]) * np.float64(np.float32(0.1)) * weight
        sums.add(float(sum(rng.permutation(terms), start=0.0) + 0.25) > 0.25)
    assert sums == {False, True}  # so a plain summation fires on some of them, and the exact one does not


def test_no_sum_depends_on_the_order_away_from_ties() -> None:
    assert convert(tie_at_zero(0.2499)).layers[0].order_dependent == 0
    layers = Model(scale=0.1, dyadic=False).spiking(qonnx).layers
    assert [layer.order_dependent for layer in layers] == [0, 0, 0]
    layers = Model(scale=0.25, dyadic=True).spiking(qonnx).layers
    assert [layer.order_dependent for layer in layers] == [0, 0, 0]
