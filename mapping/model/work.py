# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a network takes, whoever does it."""

from collections.abc import Mapping

from mapping.model.network import Network
from mapping.model.operations import OPERATIONS

__all__ = ["multiply_adds", "shares"]


def multiply_adds(network: Network) -> Mapping[str, int | None]:
    """Return the multiply-adds of one inference by name of the layer; None where they are not known.

    An output takes one for every weight that meets an element of the input, whether either is zero or not;
    a weight that meets padding takes none, as in NeuroBench's dense operations. An average is a convolution
    by ones; a pad, which is one too, takes none. Of a transposed convolution an input takes
    one for every weight it has. Of a recurrent layer every step takes one for every weight.
    """
    works = (
        (node.name, OPERATIONS[node.op].work(node, [network.shapes[tensor] for tensor in node.inputs]))
        for node in network.nodes
    )
    return {name: work for name, work in works if work != 0}


def shares(network: Network) -> Mapping[str, float | None]:
    """Return the share of the network's multiply-adds by name of the layer; None where it is not known."""
    work = multiply_adds(network)
    known = [number for number in work.values() if number is not None]
    if len(known) < len(work):
        return dict.fromkeys(work)
    return {name: number / sum(known) for name, number in zip(work, known, strict=True)}
