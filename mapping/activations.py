# SPDX-License-Identifier: Apache-2.0
"""Recognise quantised activations: clip(floor(r 2^k + 1/2) / 2^k, 0, B).

This is Eq. 6 of Zou et al. 2021 with halves rounded up.

The clip may stand anywhere in the chain where it is the same function, the half may be added before the
scaling, and for k = 0 the factors of one may be missing. Anything else is not a quantised activation.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mapping.network import Network, Node

__all__ = ["MAX_LEVELS", "Activation", "find_activations", "scalar"]

MAX_LEVELS = 1024
"""Most levels an activation may have to count as quantised."""

_MAX_WALK = 8  # nodes looked at on either side of a Floor; the longest form written above has five


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A tensor of values y * ``scale``, a power of two, with an integer y in 0..``levels``.

    ``floor`` is the tensor its Floor writes.
    """

    output: str
    floor: str
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


def _bounds(nodes: Sequence[Node]) -> tuple[float, float]:
    """Return the smallest and largest value after a chain that starts from any real number."""
    low, high = -math.inf, math.inf
    for node in nodes:
        value = scalar(node)
        if node.op == "Mul" and value is not None:
            low, high = low * value, high * value
        elif node.op == "Add" and value is not None:
            low, high = low + value, high + value
        elif node.op == "Floor":
            low, high = float(np.floor(low)), float(np.floor(high))
        elif node.op == "Relu":
            low, high = max(low, 0.0), max(high, 0.0)
        else:
            bottom, top = node.number("low"), node.number("high")
            low, high = min(max(low, bottom), top), min(max(high, bottom), top)
    return low, high


def _recognise(floor: Node, network: Network, producers: dict[str, Node]) -> Activation | None:
    before, factors = _before(floor, producers)
    best = None
    for after, factor in _after(floor, network):
        if 1.0 / factor not in factors:
            continue
        low, high = _bounds([*reversed(before), floor, *after])
        levels = high / factor
        if low == 0.0 and 1 <= levels <= MAX_LEVELS and levels == int(levels):
            output = after[-1].output if after else floor.output
            best = Activation(output=output, floor=floor.output, scale=factor, levels=int(levels))
    return best


def find_activations(network: Network) -> dict[str, Activation]:
    """Return every quantised activation by the name of its tensor, in topological order."""
    producers = {node.output: node for node in network.nodes}
    found = (_recognise(node, network, producers) for node in network.nodes if node.op == "Floor")
    return {activation.output: activation for activation in found if activation is not None}
