# SPDX-License-Identifier: Apache-2.0
"""Steps of integer arithmetic in quantised networks, with the float32 roundings that integer kernels have.

Integers are those less their zero point. Halves go to even, then the range saturates
(`docs/reference/truth.md`, "Integer networks").
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.elementwise import each_of, joined_shape, one_shape
from mapping.model.operations.operation import (
    Each,
    Operation,
    Range,
    Reals,
    always,
    misfit,
    no_work,
)

__all__ = ["INTEGERS", "before_rounding", "fused_sum"]

_RANGE = {"low": "smallest integer", "high": "largest integer"}


def _single(values: Reals) -> Reals:
    return np.asarray(values, dtype=np.float32)


def _saturated(node: Node, values: Reals) -> Reals:
    return np.clip(np.rint(values), node.number("low"), node.number("high"))


def _divided(node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    return _saturated(node, _quotient(node, values, constants))


def _quotient(_node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    return _single(values) / _single(constants["scale"])


def _multiplied(node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    return _saturated(node, _product(node, values, constants))


def _product(_node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    return _single(values) * _single(constants["scale"])


def _added(node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    zero = _single(node.constants.get("zero", np.zeros(())))
    return _saturated(node, np.rint(_sum(node, values, constants)) - zero)


def _sum(node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    """Return (a s_a + b s_b) / s, every step rounded to float32, or what one operator on integers gives."""
    given, scales = node.constants, [_single(node.constants[key]) for key in ("first", "second", "scale")]
    pair = values, constants["value"]
    if "zero" not in given:
        return np.asarray((_single(pair[0]) * scales[0] + _single(pair[1]) * scales[1]) / scales[2])
    last = int(node.number("last"))
    (z_l, r_l), (z_o, r_o) = (
        (given[("first_zero", "second_zero")[i]], scales[i] / scales[2]) for i in (last, 1 - last)
    )
    rest = _single(given["zero"]) - fused_sum(z_l, r_l, _single(z_o) * r_o)
    return fused_sum(pair[last] + z_l, r_l, fused_sum(pair[1 - last] + z_o, r_o, rest))


def fused_sum(integer: Reals, factor: Reals, addend: Reals) -> Reals:
    """Return an integer of a byte times a float32 number plus another, rounded to float32 once.

    The product is exact in float64. The sum is rounded to odd there, so that its second rounding is that of
    the exact sum (Boldo and Melquiond 2008).
    """
    product, other = np.float64(integer) * np.float64(factor), np.float64(addend)
    total = np.asarray(product + other)
    back = total - product
    error = (product - (total - back)) + (other - back)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.copysign(np.inf, error))
    return _single(np.where((error != 0) & even, odd, total))


def _summed(node: Node, inputs: Sequence[Reals], shape: Shape, scale: float | None) -> Reals:
    return np.asarray(each_of(_added)(node, inputs, shape, scale), dtype=inputs[0].dtype)


def _check(node: Node) -> None:
    low, high = node.number("low"), node.number("high")
    if not (low < high and low.is_integer() and high.is_integer()):
        raise misfit(node, f"has the range {low:g}..{high:g}, which are not two ascending integers")
    for key, value in node.constants.items():
        single = np.abs(_single(value)) if key == "second" else _single(value)
        if key not in ("first", "second", "scale"):
            continue
        if not (np.isfinite(single) & (single > 0)).all():
            raise misfit(node, f"has the scale {float(value.min()):g}, which is no float32 above zero")


def _scaled_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    _check(node)
    return one_shape(node, shapes)


def _added_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    _check(node)
    return joined_shape(node, shapes)


def _interval(node: Node, _ranges: Sequence[Range]) -> Range:
    return node.number("low"), node.number("high")


def _scaling(name: str, each: Each, chip: str, meaning: str, **more: str) -> Operation:
    return Operation(
        name=name,
        attributes=_RANGE,
        constants={"scale": f"() or (C,), float32 above zero; {meaning}", **more},
        shape=_scaled_shape,
        apply=each_of(each),
        interval=_interval,
        rises=always,
        work=no_work,
        chip=chip,
        each=each,
    )


INTEGERS = (
    Operation(
        name="AddIntegers",
        attributes={**_RANGE, "last": "which input is added last where roundings are fused, 0 or 1"},
        constants={
            "first": "(), float32: scale of the first input",
            "second": "(), float32: scale of the second input, below zero if it is subtracted",
            "scale": "(), float32: of the output; the value is "
            "clip(round((a first + b second) / scale), low, high) in float32",
            "value": "if there is one input: the second one, (), (C,) or the shape of the input",
            "first_zero": "if runtimes have one operator for it: (), zero point of the first input",
            "second_zero": "if runtimes have one operator for it: (), zero point of the second input",
            "zero": "if runtimes have one operator for it: (), zero point of the output; all integers with "
            "their zero points, the scales s by that of the output, and b the input that is added last, the "
            "value is round(b s_b + (a s_a + (z - (z_b s_b + z_a s_a)))) - z, each bracket rounded once",
        },
        shape=_added_shape,
        apply=_summed,
        interval=_interval,
        rises=always,
        work=no_work,
        chip="One neuron with both as sources, weighted by integers in the ratio of their scales, if these "
        "give every pair of inputs its count; else the host's.",
        each=_added,
    ),
    _scaling(
        "Requantise",
        _multiplied,
        "The ladder itself, whose steps are those of the scale.",
        "the value is clip(round(x * scale), low, high) in float32",
    ),
    _scaling(
        "ToInteger",
        _divided,
        "The encoder's, or the ladder of the layer before it.",
        "the value is clip(round(x / scale), low, high) in float32",
    ),
)
"""Records of integer arithmetic."""

_REALS: Mapping[str, Each] = {"AddIntegers": _sum, "Requantise": _product, "ToInteger": _quotient}


def before_rounding(node: Node, inputs: Sequence[Reals]) -> Reals:
    """Return the real values that a step of integer arithmetic rounds.

    Parameters
    ----------
    node : Node
        One of `INTEGERS`.
    inputs : sequence of arrays (N, shape)
        What it reads.
    """
    return np.asarray(each_of(_REALS[node.op])(node, inputs, (), None))
