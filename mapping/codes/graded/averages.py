# SPDX-License-Identifier: Apache-2.0
"""Let an average go before a convolution of single points, which commutes with it.

The mean of weighted sums is the weighted sum of means. Behind the convolution an average would be one of
rounded sums, a neuron for each class and place, where equal places are rounded alike; before it, it is one of
activations, or part of the convolution itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mapping.model.analysis import rebuilt
from mapping.model.network import Network, make_node
from mapping.model.node import Node

__all__ = ["averages_first"]

_BY_CHANNEL = frozenset({"Add", "BatchNormalization", "Div", "Mul"})


def averages_first(network: Network) -> Network:
    """Return the equal network whose averages stand before the convolutions that commute with them.

    Values differ by the rounding of float64.
    """
    nodes = list(network.nodes)
    for average in network.nodes:
        chain = _commuting(network, average)
        if not chain:
            continue
        gone = {node.name for node in (*chain, average)}
        at = next(index for index, node in enumerate(nodes) if node.name == average.name)
        nodes[at : at + 1] = _swapped(network, average, chain)
        nodes = [node for index, node in enumerate(nodes) if node.name not in gone or index >= at]
    return rebuilt(network, nodes)


def _commuting(network: Network, average: Node) -> list[Node]:
    """Return a convolution of single points and what follows it up to an average, or nothing."""
    tensor, path = average.inputs[0], list[Node]()
    if not _is_average(average):
        return []
    while True:
        node = network.producer(tensor)
        if node is None or len(node.inputs) != 1 or len(network.consumers(tensor)) != 1:
            return []
        path = [node, *path]
        if _of_points(node):
            break
        if node.op not in _BY_CHANNEL or not _by_channel(node):
            return []
        tensor = node.inputs[0]
    before, after = (math.prod(network.shapes[name]) for name in (path[0].inputs[0], average.output))
    places = math.prod(network.shapes[average.output][1:])
    few = network.shapes[path[0].inputs[0]][0] * places <= math.prod(network.shapes[path[0].output])
    return path if few and before > after else []


def _is_average(node: Node) -> bool:
    """Tell whether a node weighs all that is in a window of a channel alike, and nothing beyond the map."""
    if node.op != "Conv" or any(node.pads()):
        return False
    weight = node.constants["weight"]
    apart = int(node.number("groups")) == len(weight) and weight.shape[1] == 1
    alike = bool((weight == weight.flat[0]).all()) and float(weight.flat[0]) > 0
    return apart and weight[0, 0].size > 1 and alike


def _of_points(node: Node) -> bool:
    if node.op != "Conv" or any(node.pads()) or node.pair("stride") != (1, 1):
        return False
    return node.constants["weight"].shape[2:] == (1, 1)


def _by_channel(node: Node) -> bool:
    return all(value.ndim < 2 or math.prod(value.shape[1:]) == 1 for value in node.constants.values())


def _swapped(network: Network, average: Node, chain: list[Node]) -> list[Node]:
    """Return the average of what the chain reads, the chain, and what the average differs from a mean by."""
    channels, kernel = network.shapes[chain[0].inputs[0]][0], average.constants["weight"].shape[2:]
    count, tensor = math.prod(kernel), f"{average.output}.mean"
    found = [
        make_node(
            average.name,
            "Conv",
            [chain[0].inputs[0]],
            tensor,
            attributes={**average.attributes, "groups": channels},
            constants={"weight": np.full((channels, 1, *kernel), 1.0 / count)},
        )
    ]
    for node in chain:
        found.append(replace(node, inputs=(tensor,), output=f"{average.output}.{node.name}"))
        tensor = found[-1].output
    by = np.array(average.constants["weight"].flat[0] * count)
    found.append(make_node(f"{average.name}.sum", "Mul", [tensor], average.output, constants={"value": by}))
    return found
