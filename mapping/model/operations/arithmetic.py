# SPDX-License-Identifier: Apache-2.0
"""Operations on every element that are chains of correctly rounded steps: sums, factors, clips, roundings.

Each step is monotone in the values, so that a chain of rising ones rises to the last bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.elementwise import (
    at_ends,
    by_channel,
    each_of,
    joined_shape,
    one_shape,
    scalar,
)
from mapping.model.operations.operation import (
    Each,
    Operation,
    Reals,
    always,
    misfit,
    no_work,
    unbounded,
)
from mapping.model.operations.rounding import ROUNDINGS, round_by
from mapping.model.operations.strays import added, kept

__all__ = ["ARITHMETIC"]

Constants = Mapping[str, Reals]

_VALUE = {"value": "if it has one input: the second operand, (), (C,) or the shape of the input"}


def _not_negative(key: str) -> Callable[[Node], bool]:
    """Return whether no factor of a node is negative; a product of two tensors may fall."""
    return lambda node: key in node.constants and bool((node.constants[key] >= 0).all())


def _joining(name: str, each: Each, chip: str, rises: Callable[[Node], bool], **other: Any) -> Operation:
    """Return the record of an operation of a tensor and a constant, or of two tensors."""
    given: dict[str, Any] = {
        "shape": joined_shape,
        "constants": _VALUE,
        "interval": at_ends(each, lambda node: scalar(node) is not None),
    }
    return Operation(
        name=name, each=each, apply=each_of(each), rises=rises, work=no_work, chip=chip, **(given | other)
    )


def _rising(
    name: str, each: Each, chip: str, rises: Callable[[Node], bool] = always, **other: Any
) -> Operation:
    """Return the record of an operation of one tensor whose range lies between its ends where it rises."""
    given: dict[str, Any] = {
        "shape": one_shape,
        "interval": at_ends(each, lambda node: by_channel(node) and rises(node)),
    }
    return Operation(
        name=name, each=each, apply=each_of(each), rises=rises, work=no_work, chip=chip, **(given | other)
    )


def _quotient_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = joined_shape(node, shapes)
    if len(shapes) == 1 and (node.constants["value"] == 0).any():
        raise misfit(node, "divides by zero")
    return shape


def _normalised(node: Node, values: Reals, constants: Constants) -> Reals:
    deviation = np.sqrt(constants["variance"] + node.number("epsilon"))
    result = np.asarray(values - constants["mean"])
    result /= deviation
    result *= constants["scale"]
    result += constants["bias"]
    return result


def _normalised_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = one_shape(node, shapes)
    if (node.constants["variance"] + node.number("epsilon") <= 0).any():
        raise misfit(node, "has a variance plus epsilon that is not above zero")
    return shape


def _clipped(node: Node, values: Reals, _constants: Constants) -> Reals:
    return np.minimum(np.maximum(values, node.number("low")), node.number("high"))


def _quantised(node: Node, values: Reals, constants: Constants) -> Reals:
    scale, zero_point = constants["scale"], constants["zero_point"]
    inside = _clipped(node, values / scale + zero_point, constants)
    return (round_by(node.text("rounding"), inside) - zero_point) * scale


def _quantised_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = one_shape(node, shapes)
    scale, low, high = node.constants["scale"], node.number("low"), node.number("high")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise misfit(node, f"has the scale {float(scale.min())}, which is not a number above zero")
    if not np.isfinite(node.constants["zero_point"]).all():
        raise misfit(node, "has a zero point that is NaN or infinite")
    if not (low < high and low.is_integer() and high.is_integer()):
        raise misfit(node, f"has the range {low:g}..{high:g}, which are not two ascending integers")
    if node.text("rounding") not in ROUNDINGS:
        raise misfit(node, f"rounds by {node.text('rounding')!r}, supported are {', '.join(ROUNDINGS)}")
    return shape


_LIST = "A list of thresholds: the sums at which it takes its next whole number, as far as counts reach."
_LARGER = "A neuron for what one has more than the other, and the layer that reads them adds it to the other."

_JOINING = (
    _joining(
        "Add",
        lambda _, values, constants: values + constants["value"],
        "A constant goes into the biases; the sum of two activations is one neuron with both as sources, "
        "and the axon shift brings them to one scale.",
        always,
        strays=added,
    ),
    _joining(
        "Mul",
        lambda _, values, constants: values * constants["value"],
        "A constant is folded into the scales of the channels; the product of two activations is the host's, "
        "because a synapse multiplies by a stored weight only.",
        _not_negative("value"),
    ),
    _joining(
        "Div",
        lambda _, values, constants: values / constants["value"],
        "A constant is folded into the scales of the channels; the quotient of two activations is the "
        "host's, because a synapse multiplies by a stored weight only.",
        _not_negative("value"),
        shape=_quotient_shape,
    ),
    _joining(
        "Max",
        lambda _, values, constants: np.maximum(values, constants["value"]),
        _LARGER,
        always,
        constants={},
        interval=unbounded,
    ),
    _joining(
        "Min",
        lambda _, values, constants: np.minimum(values, constants["value"]),
        _LARGER,
        always,
        constants={},
        interval=unbounded,
    ),
)

_RISING = (
    _rising(
        "BatchNormalization",
        _normalised,
        "Folded: its factor goes into the scale of the output channel, its offset into the bias.",
        _not_negative("scale"),
        shape=_normalised_shape,
        interval=unbounded,
        attributes={"epsilon": "what is added to the variance"},
        constants={
            "scale": "(C,)",
            "bias": "(C,)",
            "mean": "(C,)",
            "variance": "(C,); the value is (x - mean) / sqrt(variance + epsilon) * scale + bias",
        },
    ),
    _rising("Ceil", lambda _, values, __: np.ceil(values), _LIST),
    _rising(
        "Clip",
        _clipped,
        "The ends of the ladder: the first step lies at the lower end and the highest count at the upper.",
        attributes={"low": "smallest value, may be infinite", "high": "largest value, may be infinite"},
        strays=added,
    ),
    _rising("Floor", lambda _, values, __: np.floor(values), _LIST),
    _rising(
        "PRelu",
        lambda _, values, constants: np.where(values < 0, values * constants["slope"], values),
        "A list of thresholds while no slope is negative; with a negative one two neurons, for a neuron's "
        "count never falls when its sum rises.",
        _not_negative("slope"),
        constants={"slope": "factor of negative values, (), (C,) or the shape of the input"},
    ),
    _rising(
        "Quantise",
        _quantised,
        "The ladder itself: one step a level, with its ties and its zero point.",
        shape=_quantised_shape,
        attributes={
            "low": "smallest integer",
            "high": "largest integer",
            "rounding": f"one of {', '.join(ROUNDINGS)}",
        },
        constants={
            "scale": "() or (C,), above zero",
            "zero_point": "() or (C,); the value is "
            "(round(clip(x / scale + zero_point, low, high)) - zero_point) * scale",
        },
    ),
    _rising(
        "Relu",
        lambda _, values, __: np.maximum(values, 0.0),
        "The foot of the ladder: a sum that does not reach the first step sends nothing.",
        strays=kept,
    ),
    _rising("Round", lambda _, values, __: np.rint(values), _LIST),
)

ARITHMETIC = _JOINING + _RISING
"""Records of ``Add`` to ``Round``."""
