# SPDX-License-Identifier: Apache-2.0
"""Recognise quantised activations and the layers that read them.

An activation is either a ``Quantise`` whose values are counts, or what clips and positive factors make of the
whole numbers of a ``Floor`` or ``Round``, where that is a count times one scale. The chain clip(floor(r 2^k +
1/2) / 2^k, 0, B), Eq. 6 of Zou et al. 2021 with halves rounded up, is one of them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mapping.model.node import Node
from mapping.model.operations import OPERATIONS, apply_elementwise
from mapping.model.operations.elementwise import by_channel, scalar
from mapping.model.operations.operation import Range

__all__ = [
    "MAX_LEVELS",
    "ROUNDED",
    "Activation",
    "after",
    "changes_nothing",
    "one_scale",
    "quantiser",
    "recognise",
]

ROUNDED = frozenset({"Floor", "Round"})
"""Operations that write whole numbers."""

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


def after(
    rounded: Node, readers: Mapping[str, tuple[Node, ...]], output: str
) -> Iterator[tuple[list[Node], float]]:
    """Walk on from rounded values: the nodes up to every tensor of counts there may be, and its scale."""
    nodes: list[Node] = []
    tensor, scale = rounded.output, 1.0
    while True:
        yield list(nodes), scale
        consumers = readers[tensor]
        if len(consumers) != 1 or tensor == output or len(nodes) == _MAX_WALK:
            return
        node, value = consumers[0], scalar(consumers[0])
        if node.op in {"Div", "Mul"} and value is not None and value > 0:
            scale = scale * value if node.op == "Mul" else scale / value
        elif node.op not in {"Clip", "Relu"}:
            return
        nodes.append(node)
        tensor = node.output


def recognise(
    rounded: Node, readers: Mapping[str, tuple[Node, ...]], output: str, ends: Range
) -> Activation | None:
    """Return the last activation behind a node that writes whole numbers between two ends.

    ``readers`` names the nodes that read a tensor, and ``output`` is the network's.
    """
    best, (low, high) = None, ends
    numbers = np.arange(max(low, -2.0), min(high, MAX_LEVELS + 2.0) + 1)
    for nodes, scale in after(rounded, readers, output):
        values = np.array([[low, *numbers, high]])
        with np.errstate(all="ignore"):
            for node in nodes:
                values = apply_elementwise(node, values, axis=0)
        counts = np.rint(values / scale)
        # the chain rises, so that the numbers left out lie between two equal values at its ends
        saturates = len(numbers) and values[0, 0] == values[0, 1] and values[0, -2] == values[0, -1]
        if not saturates or not (counts * scale == values).all():
            continue
        if counts.min() >= 0 and 1 <= counts.max() <= MAX_LEVELS:
            last = nodes[-1].output if nodes else rounded.output
            best = Activation(output=last, rounded=rounded.output, scale=scale, levels=int(counts.max()))
    return best


def one_scale(node: Node) -> bool:
    """Tell whether a ``Quantise`` has one scale for the whole tensor."""
    scale = node.constants["scale"]
    return bool((scale == scale.reshape(-1)[0]).all())


def quantiser(node: Node, low: float, high: float) -> Activation | None:
    """Return the activation a ``Quantise`` writes when its values lie in low..high, if these are counts."""
    scale, zero_point = node.constants["scale"], node.constants["zero_point"]
    if not one_scale(node) or (zero_point != np.rint(zero_point)).any():
        return None
    unit = float(scale.reshape(-1)[0])
    levels = round(high / unit) if math.isfinite(high / unit) else 0
    if low < 0.0 or not 1 <= levels <= MAX_LEVELS:
        return None
    return Activation(output=node.output, rounded=node.output, scale=unit, levels=levels)


def changes_nothing(node: Node, activation: Activation) -> bool:
    """Tell whether a node gives back every value of the quantised activation that it reads."""
    if not OPERATIONS[node.op].elementwise or not by_channel(node):
        return False
    values = np.arange(activation.levels + 1)[None, :] * activation.scale
    with np.errstate(all="ignore"):
        return bool((apply_elementwise(node, values, axis=0) == values).all())
