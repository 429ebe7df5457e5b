# SPDX-License-Identifier: Apache-2.0
"""Functions of one number that networks use as activations: the formulas of ONNX, to the letter.

Functions that need an exponential rise in exact arithmetic only: libraries round them as they like.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import erf

from mapping.model.node import Node
from mapping.model.operations.elementwise import each_of, one_shape, within
from mapping.model.operations.operation import (
    Each,
    Interval,
    Operation,
    Reals,
    always,
    never,
    no_work,
    unbounded,
)

__all__ = ["FUNCTIONS"]

_LIST = "A list of thresholds: the sums at which the rounded function takes its next level."
_LIST_IF = f"{_LIST[:-1]}; the host's where its parameters let it fall, because a neuron's count never does."
_HUMP = "Two neurons with lists of thresholds, one above the valley and one below it, for a neuron's count "
_HUMP += "never falls when its sum rises; the layer that reads them has both as sources."

_POSITIVE = within(0.0, math.inf)
_AROUND_ZERO = within(-1.0, 1.0)


def _unknown(_node: Node) -> None:
    """Say of a function that it rises in exact arithmetic; to the last bit that is not known."""


def _sigmoid(x: Reals) -> Reals:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _softplus(x: Reals) -> Reals:
    return np.asarray(np.logaddexp(x, 0.0))


def _gelu(x: Reals, node: Node) -> Reals:
    if node.text("approximate") == "tanh":
        return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1.0 + erf(x / np.sqrt(2.0))))


def _celu(x: Reals, alpha: float) -> Reals:
    return np.maximum(x, 0.0) + np.minimum(alpha * (np.exp(np.minimum(x, 0.0) / alpha) - 1.0), 0.0)


def _elu(x: Reals, alpha: float) -> Reals:
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0.0)) - 1.0))


def _each(formula: Callable[[Reals, Node], Reals]) -> Each:
    return lambda node, values, _constants: formula(values, node)


def _function(
    name: str,
    formula: Callable[[Reals, Node], Reals],
    chip: str,
    *,
    interval: Interval = unbounded,
    rises: Callable[[Node], bool | None] = _unknown,
    attributes: Mapping[str, str] | None = None,
) -> Operation:
    each = _each(formula)
    return Operation(
        name=name,
        attributes=attributes or {},
        shape=one_shape,
        apply=each_of(each),
        interval=interval,
        rises=rises,
        work=no_work,
        chip=chip,
        each=each,
    )


def _if(known: bool | None, *keys: str) -> Callable[[Node], bool | None]:
    """Return that a function rises while no parameter is negative, and whether to the last bit."""
    return lambda node: known if all(node.number(key) >= 0 for key in keys) else False


def _power_rises(node: Node) -> bool | None:
    """Return that odd whole powers rise; of others half the inputs have no value, or it falls for them."""
    return None if node.number("exponent") > 0 and node.number("exponent") % 2 == 1 else False


def _humped(name: str, formula: Callable[[Reals, Node], Reals], **attributes: str) -> Operation:
    return _function(name, formula, _HUMP, rises=never, attributes=attributes)


def _rising(name: str, formula: Callable[[Reals, Node], Reals], interval: Interval) -> Operation:
    return _function(name, formula, _LIST, interval=interval)


_RISING = (
    _rising("Erf", lambda x, _: np.asarray(erf(x)), _AROUND_ZERO),
    _rising("Exp", lambda x, _: np.exp(x), _POSITIVE),
    _rising("Sigmoid", lambda x, _: _sigmoid(x), within(0.0, 1.0)),
    _rising("Softplus", lambda x, _: _softplus(x), _POSITIVE),
    _rising("Softsign", lambda x, _: x / (1.0 + np.abs(x)), _AROUND_ZERO),
    _rising("Tanh", lambda x, _: np.tanh(x), _AROUND_ZERO),
    _function("Sign", lambda x, _: np.sign(x), _LIST, rises=always, interval=_AROUND_ZERO),
    _function(
        "Celu",
        lambda x, node: _celu(x, node.number("alpha")),
        _LIST,
        attributes={"alpha": "size of the negative part, not zero"},
    ),
)

_WITH_PARAMETERS = (
    _function(
        "Elu",
        lambda x, node: _elu(x, node.number("alpha")),
        _LIST_IF,
        rises=_if(None, "alpha"),
        attributes={"alpha": "size of the negative part"},
    ),
    _function(
        "Pow",
        lambda x, node: np.power(x, node.number("exponent")),
        "A list of thresholds for an odd whole exponent, two neurons for an even one; any other is the "
        "host's unless a Relu is before it, because it has no value for negative numbers.",
        rises=_power_rises,
        attributes={"exponent": "the power"},
    ),
    _function(
        "Selu",
        lambda x, node: node.number("gamma") * _elu(x, node.number("alpha")),
        _LIST_IF,
        rises=_if(None, "alpha", "gamma"),
        attributes={"alpha": "size of the negative part", "gamma": "factor of the whole"},
    ),
    _function("Sqrt", lambda x, _: np.sqrt(x), _LIST, interval=_POSITIVE),
    _function(
        "ThresholdedRelu",
        lambda x, node: np.where(x > node.number("alpha"), x, 0.0),
        _LIST_IF,
        rises=_if(True, "alpha"),
        attributes={"alpha": "values up to this become zero"},
    ),
)

_HUMPED = (
    _function("Abs", lambda x, _: np.abs(x), _HUMP, rises=never, interval=_POSITIVE),
    _humped("Gelu", _gelu, approximate="none or tanh"),
    _humped("HardSwish", lambda x, _: x * np.minimum(np.maximum(x / 6.0 + 0.5, 0.0), 1.0)),
    _humped("Mish", lambda x, _: x * np.tanh(_softplus(x))),
    _humped(
        "Swish",
        lambda x, node: x * _sigmoid(node.number("alpha") * x),
        alpha="factor inside the sigmoid",
    ),
)

FUNCTIONS = _RISING + _WITH_PARAMETERS + _HUMPED
"""Records of functions of one number."""
