# SPDX-License-Identifier: Apache-2.0
"""A quantiser written with Floor or Round that makes no counts says why, and its way out is taken."""

from collections.abc import Callable

import numpy as np
import pytest

from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

Quantiser = Callable[[ModelBuilder, str], str]


def floored(
    *, before: float | None = None, clip: tuple[float, float] = (0.0, 4096.0), scale: float = 4.0
) -> Quantiser:
    """Return a builder of a quantiser written as Mul, perhaps a Clip, Floor and a Clip."""

    def build(b: ModelBuilder, y: str) -> str:
        y = b.op("Mul", y, b.constant(scale))
        y = y if before is None else b.clip(y, 0.0, before)
        return b.clip(b.op("Floor", y, name="q"), *clip)

    return build


def linear(b: ModelBuilder, y: str) -> str:
    """Write the same quantiser as QuantizeLinear and DequantizeLinear."""
    limits = [b.constant(1.0), b.constant(0, np.uint8)]
    y = b.op("QuantizeLinear", b.clip(y, 0.0, 3.0), *limits)
    return b.op("DequantizeLinear", y, *limits)


def network(make: Quantiser, side: str) -> Network:
    """Return a network of one dense layer ``fc`` with a quantiser at a side of it."""
    b = ModelBuilder((6,))
    if side == "input":
        return b.network(b.quantise(b.dense(make(b, "x"), b.ternary(5, 6), name="fc")))
    return b.network(b.head(make(b, b.dense(b.quantise("x"), b.ternary(5, 6), name="fc")), 5))


FLOORED: dict[str, tuple[str, Quantiser, Quantiser]] = {
    "is quantised by 'q' to more than 1024 levels": (
        "put a Clip to fewer levels before its quantiser",
        floored(),
        floored(before=7.0),
    ),
    "is quantised by 'q' to values that may be negative": (
        "put a Relu before its quantiser",
        floored(clip=(-3.0, 3.0)),
        lambda b, y: floored(clip=(-3.0, 3.0))(b, b.op("Relu", y)),
    ),
    "is quantised by 'q' to zero alone": (
        "give its quantiser a smaller scale",
        floored(before=0.25, scale=0.25),
        floored(before=4.0, scale=4.0),
    ),
    "is quantised by 'q' to values that are no counts times one scale": (
        "write it as QuantizeLinear and DequantizeLinear",
        floored(clip=(0.0, 3.5)),
        linear,
    ),
}


@pytest.mark.parametrize("side", ["output", "input"])
@pytest.mark.parametrize("told", FLOORED)
def test_quantiser_of_a_floor_is_told_why_it_makes_no_counts(told: str, side: str) -> None:
    remedy, broken, mended = FLOORED[told]

    with pytest.raises(UnsupportedModelError) as error:
        convert(network(broken, side))
    assert (
        str(error.value)
        == f"No layer can run on the chip: layer 'fc' cannot because its {side} {told}; {remedy}."
    )
    assert "fc" in [layer.name for layer in convert(network(mended, side)).layers]
