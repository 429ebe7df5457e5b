# SPDX-License-Identifier: Apache-2.0
"""Recognise quantised activations and the layers that read them.

An activation is either a ``Quantise`` whose values are counts, or what clips and positive factors make of the
whole numbers of a ``Floor`` or ``Round``, where that is a count times one scale. The chain clip(floor(r 2^k +
1/2) / 2^k, 0, B), Eq. 6 of Zou et al. 2021 with halves rounded up, is one of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.model.elementwise import apply_elementwise
from mapping.model.network import ELEMENTWISE, Network, Node

__all__ = [
    "MAX_LEVELS",
    "Activation",
    "changes_nothing",
    "explain",
    "find_activations",
    "find_counts",
    "is_pad",
    "magnitudes",
    "scalar",
]

Range = tuple[float, float]
"""Smallest and largest value."""

_UNBOUNDED = (-math.inf, math.inf)
_SAME_VALUES = frozenset({"Flatten", "MaxPool", "Permute", "Reshape"})

MAX_LEVELS = 1024
"""Most levels an activation may have to count as quantised."""

_MAX_WALK = 8  # nodes looked at behind rounded values


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A tensor of values y * ``scale``, each one float64 product, with an integer y in 0..``levels``.

    ``rounded`` is the tensor that its ``Floor`` or ``Quantise`` writes.
    """

    output: str
    rounded: str
    scale: float
    levels: int


def scalar(node: Node) -> float | None:
    """Return the constant of an ``Add``, ``Mul`` or ``Div`` if it is one value for the whole tensor."""
    value = node.constants.get("value")
    if node.op not in {"Add", "Div", "Mul"} or value is None or not (value == value.reshape(-1)[0]).all():
        return None
    return float(value.reshape(-1)[0])


def _interval(node: Node, low: float, high: float) -> Range:
    """Return the smallest and largest value of a node's output from those of its input."""
    value = scalar(node)
    rising = node.op in {"Clip", "Floor", "Quantise", "Relu", "Round"}
    if node.op in _SAME_VALUES:
        return low, high
    if node.op in {"Conv", "Dense"} and low >= 0 and (node.constants["weight"] >= 0).all():
        return 0.0, math.inf  # as averages of what is never negative
    if len(node.inputs) != 1 or not (rising or value is not None) or (node.op == "Mul" and value == 0.0):
        return _UNBOUNDED  # zero times an infinite end is no number
    with np.errstate(over="ignore"):
        ends = apply_elementwise(node, np.array([[low, high]]), axis=0)
    return float(ends.min()), float(ends.max())


def _after(rounded: Node, network: Network) -> Iterator[tuple[list[Node], float]]:
    """Walk on from rounded values: the nodes up to every tensor of counts there may be, and its scale."""
    nodes: list[Node] = []
    tensor, scale = rounded.output, 1.0
    while True:
        yield list(nodes), scale
        consumers = network.consumers(tensor)
        if len(consumers) != 1 or tensor == network.output or len(nodes) == _MAX_WALK:
            return
        node, value = consumers[0], scalar(consumers[0])
        if node.op in {"Div", "Mul"} and value is not None and value > 0:
            scale = scale * value if node.op == "Mul" else scale / value
        elif node.op not in {"Clip", "Relu"}:
            return
        nodes.append(node)
        tensor = node.output


def _recognise(rounded: Node, network: Network, low: float, high: float) -> Activation | None:
    """Return the last activation behind a node that writes whole numbers from low to high."""
    best = None
    numbers = np.arange(max(low, -2.0), min(high, MAX_LEVELS + 2.0) + 1)
    for after, scale in _after(rounded, network):
        values = np.array([[low, *numbers, high]])
        with np.errstate(over="ignore"):
            for node in after:
                values = apply_elementwise(node, values, axis=0)
        counts = np.rint(values / scale)
        # the chain rises, so that the numbers left out lie between two equal values at its ends
        saturates = len(numbers) and values[0, 0] == values[0, 1] and values[0, -2] == values[0, -1]
        if not saturates or not (counts * scale == values).all():
            continue
        levels = int(counts.max())
        if counts.min() >= 0 and 1 <= levels <= MAX_LEVELS:
            output = after[-1].output if after else rounded.output
            best = Activation(output=output, rounded=rounded.output, scale=scale, levels=levels)
    return best


def _quantiser(node: Node, low: float, high: float) -> Activation | None:
    """Return the activation a ``Quantise`` writes when its values lie in low..high, if these are counts."""
    scale, zero_point = node.constants["scale"], node.constants["zero_point"]
    if (scale != scale.reshape(-1)[0]).any() or (zero_point != np.rint(zero_point)).any():
        return None
    unit = float(scale.reshape(-1)[0])
    levels = round(high / unit) if math.isfinite(high / unit) else 0
    if low < 0.0 or not 1 <= levels <= MAX_LEVELS:
        return None
    return Activation(output=node.output, rounded=node.output, scale=unit, levels=levels)


def _ranges(network: Network) -> Iterator[tuple[Node, Range]]:
    """Give every node with the smallest and largest value it can write."""
    ranges: dict[str, Range] = {}
    for node in network.nodes:
        ranges[node.output] = _interval(node, *ranges.get(node.inputs[0], _UNBOUNDED))
        yield node, ranges[node.output]


def explain(network: Network, tensor: str) -> str:
    """Return why a tensor holds no counts, as the end of a sentence about it."""
    node = network.producer(tensor)
    while node is not None and (node.op in _SAME_VALUES - {"Permute"} or is_pad(node)):
        node = network.producer(node.inputs[0])
    if node is not None and node.op == "Quantise":
        return f"is quantised by {node.name!r} {_no_counts(node, network)}"
    made = {"Add": "the sum of two tensors", "Concat": "several tensors joined"}
    made["Permute"] = "a tensor in another order"
    if node is not None and node.op in made and (node.op != "Add" or len(node.inputs) == 2):
        return f"is {made[node.op]}, not a quantised activation"
    return "is not a quantised activation"


def _no_counts(node: Node, network: Network) -> str:
    """Return what keeps the values of a ``Quantise`` from being counts."""
    scale, zero_point = node.constants["scale"], node.constants["zero_point"]
    if (scale != scale.reshape(-1)[0]).any():
        return "with one scale per channel, where one for the tensor is needed"
    if (zero_point != np.rint(zero_point)).any():
        return "with a zero point that is no integer"
    low = next(low for other, (low, _) in _ranges(network) if other is node)
    if low < 0:
        return "to values that may be negative; put a Relu before it"
    return f"to more than {MAX_LEVELS} levels"


def find_activations(network: Network) -> dict[str, Activation]:
    """Return every quantised activation by the name of its tensor, in topological order."""
    found = {}
    for node, (low, high) in _ranges(network):
        activation = None
        if node.op == "Quantise":
            activation = _quantiser(node, low, high)
        elif node.op in {"Floor", "Round"}:
            activation = _recognise(node, network, low, high)
        if activation is not None:
            found[activation.output] = activation
    return found


def changes_nothing(node: Node, activation: Activation) -> bool:
    """Tell whether a node gives back every value of the quantised activation that it reads."""
    if node.op not in ELEMENTWISE or len(node.inputs) != 1:
        return False
    values = np.arange(activation.levels + 1)[None, :] * activation.scale
    with np.errstate(over="ignore"):
        return bool((apply_elementwise(node, values, axis=0) == values).all())


def find_counts(network: Network) -> dict[str, Activation]:
    """Return for every tensor that holds values of one quantised activation, which one.

    These are the activations, what pools and reshapes make of them, and what operations leave as it is.
    """
    activations = find_activations(network)
    counts: dict[str, Activation] = {}
    for node in network.nodes:
        source = counts.get(node.inputs[0])
        if node.output in activations:
            counts[node.output] = activations[node.output]
        elif source is not None and (
            node.op in _SAME_VALUES or is_pad(node) or changes_nothing(node, source)
        ):
            counts[node.output] = source
    return counts


def is_pad(node: Node) -> bool:
    """Tell whether a node only puts zeros around a map: a convolution by one, channel by channel."""
    weight = node.constants.get("weight")
    return (
        node.op == "Conv"
        and weight is not None
        and weight.shape[1:] == (1, 1, 1)
        and node.number("groups") == len(weight)
        and node.pair("stride") == (1, 1)
        and bool((weight == 1.0).all())
    )


def magnitudes(weight: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return for every output row its a if all weights are -a, 0 or a, else None."""
    rows = np.abs(weight.reshape(len(weight), -1))
    largest = np.asarray(rows.max(axis=1))
    return largest if ((rows == 0) | (rows == largest[:, None])).all() else None
