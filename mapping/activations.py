# SPDX-License-Identifier: Apache-2.0
"""Recognise quantised activations and the layers that read them.

An activation is either a ``Quantise`` whose values are counts, or the chain clip(floor(r 2^k + 1/2) / 2^k, 0,
B), Eq. 6 of Zou et al. 2021 with halves rounded up. In the chain the clip may stand anywhere where it is the
same function, the half may be added before the scaling, and for k = 0 the factors of one may be missing.
Anything else is not a quantised activation.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.elementwise import apply_elementwise
from mapping.network import ELEMENTWISE, Network, Node

__all__ = [
    "MAX_LEVELS",
    "Activation",
    "changes_nothing",
    "find_activations",
    "find_counts",
    "magnitudes",
    "scalar",
]

Range = tuple[float, float]
"""Smallest and largest value."""

_UNBOUNDED = (-math.inf, math.inf)
_SAME_VALUES = frozenset({"Flatten", "MaxPool", "Reshape"})

MAX_LEVELS = 1024
"""Most levels an activation may have to count as quantised."""

_MAX_WALK = 8  # nodes looked at on either side of a Floor; the longest form written above has five


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
    """Return the constant of an ``Add`` or ``Mul`` if it is one value for the whole tensor."""
    value = node.constants.get("value")
    if node.op not in {"Add", "Mul"} or value is None or not (value == value.reshape(-1)[0]).all():
        return None
    return float(value.reshape(-1)[0])


def _is_power_of_two(value: float) -> bool:
    return value > 0 and math.isfinite(value) and math.frexp(value)[0] == 0.5


def _before(floor: Node, producers: dict[str, Node]) -> tuple[list[Node], list[float]]:
    """Walk back from a Floor: the nodes, last first, and every 2^k with which it reads r 2^k + 1/2."""
    nodes: list[Node] = []
    factor, offset, factors = 1.0, 0.0, []
    node = producers.get(floor.inputs[0])
    while node is not None and len(nodes) < _MAX_WALK:
        value = scalar(node)
        if node.op == "Mul" and value is not None and value > 0:
            factor *= value
        elif node.op == "Add" and value is not None:
            offset += factor * value
        elif node.op not in {"Clip", "Relu"}:
            break
        nodes.append(node)
        if offset == 0.5 and _is_power_of_two(factor):
            factors.append(factor)
        node = producers.get(node.inputs[0])
    return nodes, factors


def _after(floor: Node, network: Network) -> Iterator[tuple[list[Node], float]]:
    """Walk on from a Floor: the nodes up to every tensor that could be the activation, and their factor."""
    nodes: list[Node] = []
    tensor, factor = floor.output, 1.0
    while True:
        yield list(nodes), factor
        consumers = network.consumers(tensor)
        if len(consumers) != 1 or tensor == network.output or len(nodes) == _MAX_WALK:
            return
        node, value = consumers[0], scalar(consumers[0])
        if node.op == "Mul" and value is not None and _is_power_of_two(value):
            factor *= value
        elif node.op not in {"Clip", "Relu"}:
            return
        nodes.append(node)
        tensor = node.output


def _interval(node: Node, low: float, high: float) -> Range:
    """Return the smallest and largest value of a node's output from those of its input."""
    value = scalar(node)
    rising = node.op in {"Clip", "Floor", "Quantise", "Relu"}
    if node.op in _SAME_VALUES:
        return low, high
    if len(node.inputs) != 1 or not (rising or value is not None) or (node.op == "Mul" and value == 0.0):
        return _UNBOUNDED  # zero times an infinite end is no number
    with np.errstate(over="ignore"):
        ends = apply_elementwise(node, np.array([[low, high]]), axis=0)
    return float(ends.min()), float(ends.max())


def _bounds(nodes: Sequence[Node], start: Range) -> Range:
    """Return the smallest and largest value after a chain of nodes from those before it."""
    for node in nodes:
        start = _interval(node, *start)
    return start


def _recognise(
    floor: Node, network: Network, producers: dict[str, Node], ranges: dict[str, Range]
) -> Activation | None:
    before, factors = _before(floor, producers)
    best = None
    for after, factor in _after(floor, network):
        if 1.0 / factor not in factors:
            continue
        chain = [*reversed(before), floor, *after]
        low, high = _bounds(chain, ranges.get(chain[0].inputs[0], _UNBOUNDED))
        levels = high / factor
        if low == 0.0 and 1 <= levels <= MAX_LEVELS and levels == int(levels):
            output = after[-1].output if after else floor.output
            best = Activation(output=output, rounded=floor.output, scale=factor, levels=int(levels))
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


def find_activations(network: Network) -> dict[str, Activation]:
    """Return every quantised activation by the name of its tensor, in topological order."""
    producers = {node.output: node for node in network.nodes}
    ranges: dict[str, Range] = {}
    found = {}
    for node in network.nodes:
        low, high = _interval(node, *ranges.get(node.inputs[0], _UNBOUNDED))
        ranges[node.output] = low, high
        activation = None
        if node.op == "Quantise":
            activation = _quantiser(node, low, high)
        elif node.op == "Floor":
            activation = _recognise(node, network, producers, ranges)
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
        elif source is not None and (node.op in _SAME_VALUES or changes_nothing(node, source)):
            counts[node.output] = source
    return counts


def magnitudes(weight: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return for every output row its a if all weights are -a, 0 or a, else None."""
    rows = np.abs(weight.reshape(len(weight), -1))
    largest = np.asarray(rows.max(axis=1))
    return largest if ((rows == 0) | (rows == largest[:, None])).all() else None
