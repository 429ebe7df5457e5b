# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a network takes, whoever does it."""

import math
from collections.abc import Mapping

from mapping.model.activations import is_pad
from mapping.model.network import Network

__all__ = ["multiply_adds"]


def multiply_adds(network: Network) -> Mapping[str, int]:
    """Return the multiply-adds of one inference by name of the convolution or dense layer.

    An output takes one for every weight it has, whether that or what it reads is zero or not. An average is
    a convolution by ones; a pad, which is one too, takes none.
    """
    return {
        node.name: math.prod(network.shapes[node.output]) * math.prod(node.constants["weight"].shape[1:])
        for node in network.nodes
        if node.op in {"Conv", "Dense"} and not is_pad(node)
    }
