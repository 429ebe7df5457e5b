# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a network takes, whoever does it."""

import math
from collections.abc import Mapping

from mapping.model.activations import is_pad
from mapping.model.network import Network, Node

__all__ = ["multiply_adds", "shares"]


def multiply_adds(network: Network) -> Mapping[str, int | None]:
    """Return the multiply-adds of one inference by name of the layer; None where they are not known.

    An output takes one for every weight it has, whether that or what it reads is zero or not. An average is
    a convolution by ones; a pad, which is one too, takes none. Of a transposed convolution an input takes
    one for every weight it has. Of a recurrent layer every step takes one for every weight.
    """
    return {node.name: work for node in network.nodes if (work := _work(node, network)) != 0}


def _work(node: Node, network: Network) -> int | None:
    if node.op == "Foreign":
        return int(node.number("work")) if "work" in node.attributes else None
    if node.op not in {"Conv", "Dense"} or is_pad(node):
        return 0
    return math.prod(network.shapes[node.output]) * math.prod(node.constants["weight"].shape[1:])


def shares(network: Network) -> Mapping[str, float | None]:
    """Return the share of the network's multiply-adds by name of the layer; None where it is not known."""
    work = multiply_adds(network)
    known = [number for number in work.values() if number is not None]
    if len(known) < len(work):
        return dict.fromkeys(work)
    return {name: number / sum(known) for name, number in zip(work, known, strict=True)}
