# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a network takes, whoever does it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mapping.model.activations import is_pad
from mapping.model.network import Network, Node

__all__ = ["convolved", "multiply_adds", "shares"]


def multiply_adds(network: Network) -> Mapping[str, int | None]:
    """Return the multiply-adds of one inference by name of the layer; None where they are not known.

    An output takes one for every weight that meets an element of the input, whether either is zero or not;
    a weight that meets padding takes none, as in NeuroBench's dense operations. An average is a convolution
    by ones; a pad, which is one too, takes none. Of a transposed convolution an input takes
    one for every weight it has. Of a recurrent layer every step takes one for every weight.
    """
    return {node.name: work for node in network.nodes if (work := _work(node, network)) != 0}


def _work(node: Node, network: Network) -> int | None:
    if node.op == "Foreign":
        return int(node.number("work")) if "work" in node.attributes else None
    if node.op not in {"Conv", "Dense"} or is_pad(node):
        return 0
    weight = node.constants["weight"]
    if node.op == "Dense":
        return math.prod(network.shapes[node.output]) * int(weight.shape[1])
    pads, (source,) = node.integers("pads"), node.inputs
    return convolved(
        weight.shape,
        network.shapes[source][1:],
        stride=node.pair("stride"),
        dilation=node.pair("dilation"),
        pads=(pads[:2], pads[2:]),
    )


def convolved(
    weight: Sequence[int],
    sizes: Sequence[int],
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: tuple[Sequence[int], Sequence[int]],
) -> int:
    """Return the multiply-adds of a convolution, without those of its padding.

    Parameters
    ----------
    weight : sequence of int
        Shape of the weights: outputs, inputs of a group, kernel.
    sizes : sequence of int
        Sizes of the input behind its channels; ``stride``, ``dilation`` and ``pads``, the elements added
        before and behind, have one number for each.
    """
    met: int = weight[0] * weight[1]
    for size, k, s, d, begin, end in zip(sizes, weight[2:], stride, dilation, *pads, strict=True):
        starts = np.arange(-begin, size + end - (k - 1) * d, max(1, s))
        places = starts[:, None] + np.arange(k) * d
        met *= int(((places >= 0) & (places < size)).sum())
    return met


def shares(network: Network) -> Mapping[str, float | None]:
    """Return the share of the network's multiply-adds by name of the layer; None where it is not known."""
    work = multiply_adds(network)
    known = [number for number in work.values() if number is not None]
    if len(known) < len(work):
        return dict.fromkeys(work)
    return {name: number / sum(known) for name, number in zip(work, known, strict=True)}
