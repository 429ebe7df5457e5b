# SPDX-License-Identifier: Apache-2.0
"""Write quantised functions with a valley, such as HardSwish, as integers that rise on one side of it each.

With the valley at m, the quantiser q and the function f, q(f(x)) is
q(f(max(x, m))) + q(f(min(x, m))) - q(f(m)): one of the first two is q(f(m)), whatever x is. All are integers,
so the sum is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mapping.codes.graded.spelling import valley_of
from mapping.codes.int8.layers import QUANTISERS, grid_of
from mapping.model.analysis import rebuilt
from mapping.model.network import Network, make_node
from mapping.model.node import Attribute, Node
from mapping.model.operations import OPERATIONS, apply_elementwise

__all__ = ["split_valleys"]

_BELOW = np.linspace(-64.0, 0.0, 4097)
"""Distances from a valley, at which it is seen whether a quantiser has it."""


def split_valleys(network: Network) -> Network:
    """Return the equal network in which no quantised function of one number has a valley, as far as known."""
    nodes: list[Node] = []
    left: set[str] = set()
    for node in network.nodes:
        if node.output in left:
            continue
        path = _path(network, node)
        valley = valley_of(node)
        if valley is None or not path or not _seen(path, valley):
            nodes.append(node)
            continue
        left |= {step.output for step in path}
        nodes += _sides(path, valley, _before(network, node.inputs[0]))
    return rebuilt(network, nodes)


def _path(network: Network, node: Node) -> list[Node]:
    """Return a function and what follows it up to a quantiser of one scale; nothing if there is none."""
    path = [node]
    while path[-1].op not in QUANTISERS:
        readers = network.consumers(path[-1].output)
        if len(readers) != 1 or len(readers[0].inputs) != 1 or not OPERATIONS[readers[0].op].elementwise:
            return []
        if path[-1].output == network.output:
            return []
        path.append(readers[0])
    one = all(value.ndim == 0 for step in path for value in step.constants.values())
    return path if one and grid_of(path[-1]) is not None else []


def _seen(path: Sequence[Node], valley: float) -> bool:
    """Tell whether the integers are larger somewhere below a valley than in it."""
    values = (valley + _BELOW)[None]
    for node in path:
        values = np.asarray(apply_elementwise(node, values, axis=0))
    return bool((values[0] > values[0, -1]).any())


def _before(network: Network, tensor: str) -> list[Node]:
    """Return the sums that a tensor is of integers, which no neuron gives: each side needs its own."""
    sums: list[Node] = []
    while True:
        node = network.producer(tensor)
        if node is None or node.op in QUANTISERS or len(node.inputs) != 1:
            return sums
        if len(network.consumers(tensor)) != 1 or tensor == network.output:
            return sums
        sums.insert(0, node)
        (tensor,) = node.inputs


def _sides(path: Sequence[Node], valley: float, before: Sequence[Node]) -> list[Node]:
    """Return the nodes that stand for a function up to its quantiser: both sides, their sum, its integers."""
    function, last = path[0], path[-1]
    (tensor,) = function.inputs
    nodes: list[Node] = []

    def add(what: str, op: str, *inputs: str, **given: Attribute | np.ndarray) -> str:
        constants = {key: value for key, value in given.items() if isinstance(value, np.ndarray)}
        attributes = {key: value for key, value in given.items() if not isinstance(value, np.ndarray)}
        output = f"{last.output}.{what}"
        name = f"{function.name}.{what}"
        nodes.append(make_node(name, op, list(inputs), output, attributes=attributes, constants=constants))
        return output

    def copied(what: str, steps: Sequence[Node], start: str) -> str:
        for index, step in enumerate(steps):
            output = f"{last.output}.{what}.{index}"
            nodes.append(replace(step, name=f"{step.name}.{what}", inputs=(start,), output=output))
            start = output
        return start

    minus = np.array(-1.0)
    up = copied("above", path, add("up", "Clip", tensor, low=valley, high=np.inf))
    again = copied("again", before, before[0].inputs[0]) if before else tensor
    depth = add("depth", "Clip", add("turned", "Mul", again, value=minus), low=-valley, high=np.inf)
    down = copied("below", path, add("down", "Mul", depth, value=minus))
    bottom = np.array([[valley]])
    for step in path:
        bottom = np.asarray(apply_elementwise(step, bottom, axis=0))
    total = add("sum", "Add", add("sides", "Add", up, down), value=np.array(-float(bottom[0, 0])))
    return [*nodes, replace(_whole(last), inputs=(total,))]


def _whole(quantiser: Node) -> Node:
    """Return what gives back the integers of a quantiser, times its scale, of a sum of such integers."""
    grid = grid_of(quantiser)
    assert grid is not None  # noqa: S101  # a path ends in a quantiser of one scale
    ends: dict[str, Attribute] = {"low": grid.low, "high": grid.high}
    constants = {"scale": np.array(grid.scale)}
    if quantiser.op == "Quantise":
        ends["rounding"] = "half_even"
        constants["zero_point"] = np.array(0.0)
    kind = "Quantise" if quantiser.op == "Quantise" else "ToInteger"
    return make_node(
        quantiser.name, kind, list(quantiser.inputs), quantiser.output, attributes=ends, constants=constants
    )
