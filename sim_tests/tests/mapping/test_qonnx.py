# SPDX-License-Identifier: Apache-2.0
"""QONNX Quant: its roundings, ranges and weights, and every refusal."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.model.analysis import analyse
from mapping.model.archive import network_from_arrays, network_to_arrays
from mapping.model.evaluate import infer
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_models import DOMAIN, qonnx_quant
from sim_tests.generators.spiking_models import images
from sim_tests.tests.mapping.test_quantise import EXACT

MODES = {
    "ROUND": "half_even",
    "HALF_EVEN": "half_even",
    "HALF_UP": "half_up",
    "HALF_DOWN": "half_down",
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "up",
    "DOWN": "down",
    "ROUND_TO_ZERO": "down",
    "round": "half_even",
    "half_up": "half_up",
}

TABLE = {
    "ROUND": [6, 2, 2, 1, 1, -1, -1, -2, -2, -6],
    "CEIL": [6, 3, 2, 2, 1, -1, -1, -1, -2, -5],
    "FLOOR": [5, 2, 1, 1, 1, -1, -2, -2, -3, -6],
    "UP": [6, 3, 2, 2, 1, -1, -2, -2, -3, -6],
    "DOWN": [5, 2, 1, 1, 1, -1, -1, -1, -2, -5],
    "HALF_UP": [6, 3, 2, 1, 1, -1, -1, -2, -3, -6],
    "HALF_DOWN": [5, 2, 2, 1, 1, -1, -1, -2, -2, -5],
}
"""Of 5.5, 2.5, 1.6, 1.1, 1.0 and of their negatives in reverse, from the operator's description."""


@pytest.mark.parametrize("mode", TABLE)
def test_rounding_is_that_of_the_specification(mode: str) -> None:
    b = ModelBuilder((10,))
    network = b.network(qonnx_quant(b, "x", 1.0, 8, rounding_mode=mode))
    values = [5.5, 2.5, 1.6, 1.1, 1.0]
    got = infer(network, [values + [-v for v in reversed(values)]])
    assert got[0].tolist() == TABLE[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("signed", "narrow", "bits"), [(0, 0, 3), (0, 1, 3), (1, 0, 3), (1, 1, 3), (0, 0, 1)]
)
@pytest.mark.parametrize("zero_point", [0.0, 1.0, 0.5])
def test_quant_equals_its_definition(
    mode: str, signed: int, narrow: int, bits: int, zero_point: float
) -> None:
    b = ModelBuilder((1,))
    y = qonnx_quant(b, "x", 0.25, bits, zero_point, signed=signed, narrow=narrow, rounding_mode=mode)
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    x = np.arange(-40, 60) / 16
    expected = []
    for value in x:
        inside = min(max(Fraction(value) * 4 + Fraction(zero_point), low), high)
        expected.append((EXACT[MODES[mode]](Fraction(inside)) - zero_point) * 0.25)
    assert infer(b.network(y), x[:, None])[:, 0].tolist() == expected


def test_zero_point_is_added_before_the_rounding() -> None:
    b = ModelBuilder((1,))
    network = b.network(qonnx_quant(b, "x", 1.0, 4, 1.0, signed=0))
    assert infer(network, [[0.5], [1.5], [2.5], [-0.5], [-1.5]]).reshape(-1).tolist() == [1, 1, 3, -1, -1]


def test_defaults_are_signed_wide_and_half_to_even() -> None:
    b = ModelBuilder((1,))
    network = b.network(qonnx_quant(b, "x", 1.0, 2))
    assert infer(network, [[-9.0], [0.5], [9.0]]).reshape(-1).tolist() == [-2, 0, 1]


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas"])
@pytest.mark.parametrize("kind", ["Quant", "IntQuant"])
def test_every_domain_and_name_is_read(kind: str, domain: str) -> None:
    b = ModelBuilder((1,))
    y = b.op(kind, "x", b.constant(1.0), b.constant(0.0), b.constant(2.0), domain=domain, signed=0)
    assert infer(b.network(y), [[9.0]]).tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("relu", "zero_point", "attributes", "levels"),
    [
        (False, 0.0, {"signed": 0}, 15),
        (False, 0.0, {"signed": 0, "narrow": 1}, 14),
        (False, -8.0, {"signed": 1}, 15),
        (False, 0.0, {"signed": 1}, None),
        (True, 0.0, {"signed": 1}, 7),
        (True, 2.0, {"signed": 0}, 13),
        (True, 0.5, {"signed": 0}, None),
    ],
)
def test_levels_follow_from_range_zero_point_and_relu(
    relu: bool, zero_point: float, attributes: dict[str, int], levels: int | None
) -> None:
    b = ModelBuilder((3,))
    y = qonnx_quant(b, b.op("Relu", "x") if relu else "x", 0.3, 4, zero_point, **attributes)
    found = list(analyse(b.network(y)).activations.values())
    assert [activation.levels for activation in found] == ([] if levels is None else [levels])


@pytest.mark.parametrize("mode", TABLE)
def test_every_rounding_converts(mode: str) -> None:
    b = ModelBuilder((6,))
    y = qonnx_quant(b, "x", 0.25, 2, signed=0, rounding_mode=mode)
    y = b.norm(b.dense(y, np.sign(b.ternary(8, 6)) / 8, name="fc"), 8)
    y = qonnx_quant(b, b.op("Relu", y), 0.25, 3, 1.0, signed=0, rounding_mode=mode)
    spiking = convert(b.network(b.head(y, 8)))
    assert compare(spiking, images((6,), 200)).differences == 0


@pytest.mark.parametrize("scale", [0.3, [[0.3], [0.7]], [[0.3]]], ids=str)
def test_ternary_weights_are_folded_exactly(scale: ArrayLike) -> None:
    b = ModelBuilder((3,))
    weight = b.constant([[0.9, -0.36, 0.1], [0.0, 0.4, -9.0]])
    folded = qonnx_quant(b, weight, scale, 2, signed=1, narrow=1, rounding_mode="ROUND")
    network = b.network(b.op("Gemm", "x", folded, transB=1))
    single = np.broadcast_to(np.asarray(scale, np.float32).astype(np.float64), (2, 1))
    assert (network.nodes[0].constants["weight"] == single * [[1, -1, 0], [0, 1, -1]]).all()


def test_network_with_quantisers_survives_the_archive() -> None:
    b = ModelBuilder((3,))
    y = qonnx_quant(b, "x", [[0.5, 0.25, 0.125]], 3, 1.0, signed=0, rounding_mode="UP")
    network = b.network(y)
    x = np.random.default_rng(0).normal(size=(9, 3))
    assert (infer(network_from_arrays(network_to_arrays(network)), x) == infer(network, x)).all()


def quant(b: ModelBuilder, x: str = "x", **values: Any) -> str:
    given = {"scale": 1.0, "zero": 0.0, "bits": 4.0} | values.pop("inputs", {})
    inputs = [b.constant(value, np.float32, name) for name, value in given.items()]
    return b.op("Quant", x, *inputs, domain=DOMAIN, name="q", **values)


Build = Callable[[ModelBuilder], str]

MESSAGES: list[tuple[Build, str]] = [
    (
        lambda b: b.op("BipolarQuant", "x", b.constant(1.0), domain=DOMAIN, name="q"),
        (
            "Node 'q' (BipolarQuant) gives an activation -scale or scale and never zero, which is no count "
            "of spikes; use Quant with signed = 0 for activations."
        ),
    ),
    (
        lambda b: b.op("Trunc", "x", domain=DOMAIN, name="q"),
        (
            "Node 'q' has the operator qonnx.custom_op.general.Trunc, which is not supported; export the "
            "model with operators of the ONNX standard, or give its weights as arrays "
            "(docs/guides/bring_a_model.md)."
        ),
    ),
    (
        lambda b: quant(b, rounding_mode="STOCHASTIC"),
        (
            "Node 'q' (Quant) has rounding_mode = 'STOCHASTIC', supported are ROUND, HALF_EVEN, HALF_UP, "
            "HALF_DOWN, CEIL, FLOOR, UP, DOWN, ROUND_TO_ZERO."
        ),
    ),
    (
        lambda b: quant(b, rounding_mode=3),
        "Node 'q' (Quant) has the attribute rounding_mode = 3, which is no text.",
    ),
    (
        lambda b: quant(b, signed=1, inputs={"bits": 1.0}),
        ("Node 'q' (Quant) is signed with bitwidth 1, which is bipolar; use bitwidth 2 and narrow = 1."),
    ),
    (
        lambda b: quant(b, signed=0, narrow=1, inputs={"bits": 1.0}),
        "Node 'q' (Quant) has the range 0..0, which leaves one value.",
    ),
    *(
        (
            lambda b, bits=bits: quant(b, inputs={"bits": bits}),
            f"Node 'q' (Quant) has the bitwidth {bits:g}, supported are one whole number from 1 to 32.",
        )
        for bits in (0.0, 2.5, 64.0, -1.0)
    ),
    (
        lambda b: quant(b, inputs={"bits": [2.0, 3.0]}),
        "Node 'q' (Quant) has the bitwidth 2, supported are one whole number from 1 to 32.",
    ),
    (
        lambda b: quant(b, inputs={"scale": 0.0}),
        "Node 'q' (Quant) has the scale 0, which is not above zero.",
    ),
    *(
        (
            lambda b, name=name, value=value: quant(b, inputs={name: value}),
            f"Tensor '{name}' has NaN or infinite values; train the model again.",
        )
        for name in ("scale", "zero", "bits")
        for value in (np.nan, np.inf)
    ),
    (
        lambda b: quant(b, inputs={"scale": [1.0, 2.0, 3.0]}),
        (
            "Node 'q' (Quant) has a constant of shape (3,) on an input of shape (2, 6, 6); supported are one "
            "value per tensor or per channel."
        ),
    ),
    (
        lambda b: quant(b, b.constant(np.ones((2, 4))), inputs={"scale": [1.0, 2.0, 3.0]}),
        "Node 'q' (Quant) has a scale of shape (3,) on a constant of shape (2, 4).",
    ),
    (
        lambda b: quant(b, b.constant([np.nan], name="w")),
        "Tensor 'w' has NaN or infinite values; train the model again.",
    ),
    (
        lambda b: b.op("Quant", "x", b.constant(1.0), domain=DOMAIN, name="q"),
        "Node 'q' (Quant) must have four inputs, not 2.",
    ),
    (
        lambda b: b.op("Quant", "x", "", "", "", domain=DOMAIN, name="q"),
        "Node 'q' (Quant) needs a numeric constant as input 2, its zero point.",
    ),
    (
        lambda b: b.op("Quant", "x", "x", "x", "x", domain=DOMAIN, name="q"),
        "Node 'q' (Quant) reads tensor 'x' where a constant is needed; export the model with its weights.",
    ),
    (
        lambda b: b.op("Quant", "y", *(b.constant(1.0) for _ in range(3)), domain=DOMAIN, name="q", signed=0),
        (
            "Node 'q' (Quant) reads tensor 'y', which the file does not hold; export the model again, with "
            "its weights."
        ),
    ),
]


@pytest.mark.parametrize(("build", "message"), MESSAGES)
def test_refusal_says_what_and_where(build: Build, message: str) -> None:
    b = ModelBuilder((2, 6, 6))
    output = build(b)
    with pytest.raises(UnsupportedModelError) as error:
        b.network(output)
    assert str(error.value) == message


def test_bipolar_weights_are_evaluated() -> None:
    """A weight is the scale, or its negative where it is below zero; zero itself gives the scale."""
    b = ModelBuilder((3,))
    values = np.array([[0.3, -0.2, 0.0], [-1.5, -0.0, 2.0]])
    scale = np.array([[0.25], [0.5]])
    weight = b.op("BipolarQuant", b.constant(values), b.constant(scale), domain=DOMAIN)
    x = qonnx_quant(b, "x", 0.25, 4, signed=0)
    y = b.op("Gemm", x, weight, transB=1, name="fc")
    network = b.network(qonnx_quant(b, b.op("Relu", y), 0.25, 4, signed=0))
    (dense,) = (node for node in network.nodes if node.op == "Dense")
    assert dense.constants["weight"].tolist() == [[0.25, -0.25, 0.25], [-0.5, 0.5, 0.5]]
    x_values = np.random.default_rng(0).integers(0, 16, (50, 3)) * 0.25
    assert compare(convert(network), x_values).differences == 0


def test_bipolar_scale_that_does_not_fit_its_constant_is_refused() -> None:
    b = ModelBuilder((3,))
    weight = b.op(
        "BipolarQuant", b.constant(np.ones((2, 3))), b.constant([0.5, 0.5]), domain=DOMAIN, name="q"
    )
    with pytest.raises(UnsupportedModelError) as error:
        b.network(b.op("Gemm", "x", weight, transB=1))
    assert str(error.value) == (
        "Node 'q' (BipolarQuant) has a scale of shape (2,) on a constant of shape (2, 3)."
    )
