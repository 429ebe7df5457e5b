# SPDX-License-Identifier: Apache-2.0
"""Leave to the host the functions behind which it only looks for the largest output.

A function that never falls keeps the order of classes, but its counts do not: a `Tanh` that is nearly 1 for
two classes has one count for both, and an `Exp` has the count 0 for most. The host computes it of sums that
leave the chip with all their counts, and multiplies nothing.
"""

from __future__ import annotations

from mapping.codes.graded.rules import MONOTONE, RULES
from mapping.codes.graded.walk import CUTS
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS

__all__ = ["CLOSING", "closing"]

CLOSING = "only the host reads it, and tells classes apart that its counts do not"
"""Why a function is the host's."""

_LEVELS = frozenset({"Ceil", "Floor", "Quantise", "Round", "Sign"})
"""Functions that write few values, which counts are."""


def closing(network: Network) -> dict[str, str]:
    """Return why tensors must not be computed on the chip: functions at an output of classes.

    Behind such a function every element is computed for itself, or by what the host has in any case.

    >>> from mapping.model.network import build_network, make_node
    >>> import numpy as np
    >>> weight = {"weight": np.array([[1.0, 0.3], [0.2, 1.0]])}
    >>> nodes = [make_node("a", "Tanh", ["x"], "t"), make_node("b", "Dense", ["t"], "s", constants=weight)]
    >>> nodes += [make_node("c", "Relu", ["s"], "r"), make_node("d", "Tanh", ["r"], "y")]
    >>> ends = {"input_name": "x", "input_shape": (2,), "output_name": "y"}
    >>> list(closing(build_network(nodes, name="n", **ends)))
    ['y']
    """
    shape = network.shapes[network.output]
    if len(shape) != 1 or shape[0] < 2:
        return {}
    behind: set[str] = set()
    found: dict[str, str] = {}
    for node in reversed(network.nodes):
        readers = network.consumers(node.output)
        if _free(network, node) and all(reader.output in behind for reader in readers):
            behind.add(node.output)
            if node.op in MONOTONE - CUTS - _LEVELS:
                found[node.output] = CLOSING
    return found


def _free(network: Network, node: Node) -> bool:
    """Tell whether the host computes a node without a product, or has it in any case."""
    if node.op not in RULES:
        return OPERATIONS[node.op].work(node, [network.shapes[tensor] for tensor in node.inputs]) == 0
    return len(node.inputs) > 1 if node.op in {"Div", "Mul"} else OPERATIONS[node.op].elementwise
