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

__all__ = ["INTEGERS"]

_RANGE = {"low": "smallest integer", "high": "largest integer"}


def _single(values: Reals) -> Reals:
    return np.asarray(values, dtype=np.float32)


def _saturated(node: Node, values: Reals) -> Reals:
    return np.clip(np.rint(values), node.number("low"), node.number("high"))


def _divided(node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    shifted = _single(values)
    if "factor" in constants:
        shifted = shifted * _single(constants["factor"]) + _single(constants["value"])
    return _saturated(node, shifted / _single(constants["scale"]))


def _multiplied(node: Node, values: Reals, constants: Mapping[str, Reals]) -> Reals:
    return _saturated(node, _single(values) * _single(constants["scale"]))


def _added(node: Node, inputs: Sequence[Reals], _shape: Shape, _scale: float | None) -> Reals:
    """Return (a s_a + b s_b) / s, every step rounded to float32."""
    scales = [_single(node.constants[key]) for key in ("first", "second", "scale")]
    total = _single(inputs[0]) * scales[0] + _single(inputs[1]) * scales[1]
    return _saturated(node, total / scales[2]).astype(inputs[0].dtype)


def _check(node: Node) -> None:
    low, high = node.number("low"), node.number("high")
    if not (low < high and low.is_integer() and high.is_integer()):
        raise misfit(node, f"has the range {low:g}..{high:g}, which are not two ascending integers")
    for key, value in node.constants.items():
        single = np.abs(_single(value)) if key == "second" else _single(value)
        if key == "value":
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
        attributes=_RANGE,
        constants={
            "first": "(), float32: scale of the first input",
            "second": "(), float32: scale of the second input, below zero if it is subtracted",
            "scale": "(), float32: of the output; the value is "
            "clip(round((a first + b second) / scale), low, high) in float32",
        },
        shape=_added_shape,
        apply=_added,
        interval=_interval,
        rises=always,
        work=no_work,
        chip="One neuron with both as sources, weighted by integers in the ratio of their scales, if these "
        "give every pair of inputs its count; else the host's.",
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
        factor="if the value is that of x factor + value: () or (C,), float32 above zero",
        value="if there is a factor: () or (C,), float32",
    ),
)
"""Records of integer arithmetic."""
