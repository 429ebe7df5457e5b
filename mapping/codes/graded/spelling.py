# SPDX-License-Identifier: Apache-2.0
"""Write functions that fall somewhere as sums of functions that never do.

A neuron's count never falls when its sum rises. A function with one valley, as those of MobileNetV3 and
EfficientNet, is that of what lies above the valley plus that of what lies below it, which rises in the
distance from it; and the larger of two numbers is one of them plus what the other has more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mapping.model.analysis import rebuilt
from mapping.model.network import Network, make_node
from mapping.model.node import Attribute, Node
from mapping.model.operations import OPERATIONS, apply_elementwise
from mapping.model.operations.elementwise import scalar

__all__ = ["spelled", "valley_of"]

Floats = NDArray[np.float64]

_GRID = np.concatenate([np.linspace(-12.0, 12.0, 961), [-40.0, 40.0]])
"""Numbers on which two functions are compared."""

_SAME = 1e-6
"""Relative error, that of float32 constants, up to which two functions are the same."""

_MOST = 16
"""Tensors between a product or quotient and the one that both its sides are functions of."""

_JOINING: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "Add": np.add,
    "Div": np.divide,
    "Mul": np.multiply,
}
"""Operations of two activations of which functions are made."""


def spelled(network: Network) -> Network:
    """Return the equal network whose functions of one number rise, as far as that can be.

    Values differ by the rounding of float64, and where one is recognised as a function by that of its
    float32 constants.
    """
    nodes: list[Node] = []
    producers: dict[str, Node] = {}
    whole: dict[str, Node] = {}
    for given in network.nodes:
        for known in _recognised(given, whole):
            whole[known.output] = known
            for node in _parts(_of_input(known, network, nodes), producers):
                producers[node.output] = node
                nodes.append(node)
    return rebuilt(network, nodes)


def _of_input(node: Node, network: Network, nodes: list[Node]) -> Node:
    """Let a max-pool of an input that others read too be one of a layer that repeats the input."""
    if node.op != "MaxPool" or node.inputs != (network.input,) or len(network.consumers(network.input)) == 1:
        return node
    name = f"{node.name}.input"
    ends: dict[str, Attribute] = {"low": -np.inf, "high": np.inf}
    nodes.append(make_node(name, "Clip", node.inputs, name, attributes=ends))
    return replace(node, inputs=(name,))


def _parts(node: Node, producers: Mapping[str, Node]) -> list[Node]:
    if node.op in {"Max", "Min"} and len(node.inputs) == 2:
        return _larger(node)
    if node.op == "Abs" or (node.op == "PRelu" and (node.constants["slope"] < 0).any()):
        return _two_sides(node)
    valley = valley_of(node)
    return [node] if valley is None or _above(node, producers, valley) else _around(node, valley)


def _above(node: Node, producers: Mapping[str, Node], valley: float) -> bool:
    """Tell whether nothing below the valley of a function reaches it."""
    before = producers.get(node.inputs[0])
    return before is not None and (
        (before.op == "Clip" and before.number("low") >= valley) or (before.op == "Relu" and valley <= 0)
    )


class _Chain:
    """Nodes one behind the other, named after the node that they stand for."""

    def __init__(self, node: Node) -> None:
        self._node, self.nodes = node, list[Node]()

    def add(self, op: str, *inputs: str, last: bool = False, **given: Attribute | Floats) -> str:
        """Append a node; numbers in ``given`` are attributes, arrays constants."""
        return self.append(op, inputs, given, last=last)

    def append(
        self, op: str, inputs: Sequence[str], given: Mapping[str, Attribute | Floats], *, last: bool = False
    ) -> str:
        """Append a node as `add` does."""
        constants = {key: value for key, value in given.items() if isinstance(value, np.ndarray)}
        attributes = {key: value for key, value in given.items() if not isinstance(value, np.ndarray)}
        number = len(self.nodes)
        name = self._node.name if last else f"{self._node.name}.{number}"
        output = self._node.output if last else f"{self._node.output}.{number}"
        made = make_node(name, op, inputs, output, attributes=attributes, constants=constants)
        self.nodes.append(made)
        return output

    def times(self, tensor: str, factor: float | Floats) -> str:
        """Append a factor."""
        return self.add("Mul", tensor, value=np.asarray(factor, np.float64))


def _larger(node: Node) -> list[Node]:
    """Return max(a, b) = a + relu(b - a), or min(a, b) = a - relu(a - b)."""
    chain = _Chain(node)
    first, second = node.inputs
    least = node.op == "Min"
    one, other = (first, second) if least else (second, first)
    more = chain.add("Relu", chain.add("Add", one, chain.times(other, -1.0)))
    chain.add("Add", first, chain.times(more, -1.0) if least else more, last=True)
    return chain.nodes


def _two_sides(node: Node) -> list[Node]:
    """Return relu(x) - slope relu(-x)."""
    chain, (tensor,) = _Chain(node), node.inputs
    slope = node.constants["slope"] if node.op == "PRelu" else np.array(-1.0)
    up = chain.add("Relu", tensor)
    down = chain.times(chain.add("Relu", chain.times(tensor, -1.0)), -slope)
    chain.add("Add", up, down, last=True)
    return chain.nodes


def _around(node: Node, valley: float) -> list[Node]:
    """Return f(max(x, m)) - f(m) and f(m - relu(m - x)) - f(m), neither below zero, and f(m), as a sum."""
    chain, (tensor,) = _Chain(node), node.inputs
    bottom = np.array(valley)
    least = np.asarray(apply_elementwise(node, np.array([[valley]]), axis=0)[0, 0])

    def raised(side: str) -> str:
        value = chain.append(node.op, [side], node.attributes)
        return chain.add("Relu", chain.add("Add", value, value=np.array(-least))) if least else value

    up = raised(chain.add("Clip", tensor, low=valley, high=np.inf))
    depth = chain.add("Relu", chain.add("Add", chain.times(tensor, -1.0), value=bottom))
    down = raised(chain.add("Add", chain.times(depth, -1.0), value=bottom))
    chain.add("Add", chain.add("Add", up, down), last=True, value=least)
    return chain.nodes


def valley_of(node: Node) -> float | None:
    """Return where a function is least, if it falls before and rises behind, or None."""
    if node.op in {"Gelu", "HardSwish", "Mish", "Swish"}:
        factor = node.number("alpha") if node.op == "Swish" else 1.0
        return _least(node.op, node.attributes.get("approximate")) / factor if factor > 0 else None
    if node.op == "Pow" and node.number("exponent") > 0 and node.number("exponent") % 2 == 0:
        return 0.0
    return None


@cache
def _least(op: str, approximate: object) -> float:
    """Return where one of the functions with a valley is least."""
    attributes = {"Gelu": {"approximate": approximate}, "Swish": {"alpha": 1.0}}.get(op, {})
    node = make_node("f", op, ["x"], "y", attributes=attributes)  # type: ignore[arg-type]
    value = lambda x: float(apply_elementwise(node, np.array([[x]]), axis=0)[0, 0])  # noqa: E731
    from scipy.optimize import minimize_scalar  # takes a while to be loaded, and few networks need it

    return float(minimize_scalar(value, bounds=(-3.0, 0.0), method="bounded", options={"xatol": 1e-12}).x)


def _recognised(node: Node, producers: Mapping[str, Node]) -> list[Node]:
    """Return a product or quotient of two functions of one tensor as a known function of it and a factor."""
    if node.op not in {"Div", "Mul"} or len(node.inputs) != 2:
        return [node]
    with np.errstate(all="ignore"):
        tensor, values = next(_of_one(node, producers), ("", np.array(np.nan)))
    for function in _FUNCTIONS if np.isfinite(values).all() else ():
        wanted = apply_elementwise(function, _GRID[None], axis=0)[0]
        factor = values[-1] / wanted[-1]
        if factor and np.allclose(values, factor * wanted, rtol=_SAME, atol=_SAME * abs(factor)):
            chain = _Chain(node)
            made = chain.append(function.op, [tensor], function.attributes)
            chain.add("Mul", made, last=True, value=np.array(factor))
            return chain.nodes
    return [node]


def _of_one(node: Node, producers: Mapping[str, Node]) -> Iterator[tuple[str, Floats]]:
    """Yield tensors of which a node is a function of one number, the nearest first, and it on the grid."""
    before = list(node.inputs)
    for tensor in before:  # grows as it is walked
        values = _along(node, {tensor: _GRID}, producers)
        if values is not None:
            yield tensor, values
        made = producers.get(tensor)
        if made is not None and _single(made) and len(before) < _MOST:
            before += [name for name in made.inputs if name not in before]


def _along(node: Node, known: dict[str, Floats | None], producers: Mapping[str, Node]) -> Floats | None:
    """Return the values of a node where those of a tensor are known, if it is a function of it alone."""
    if not _single(node) or len(known) > _MOST:
        return None
    for tensor in node.inputs:
        if tensor not in known:
            known[tensor] = None
            made = producers.get(tensor)
            known[tensor] = None if made is None else _along(made, known, producers)
    values = [value for tensor in node.inputs if (value := known[tensor]) is not None]
    if len(values) < len(node.inputs):
        return None
    if len(values) == 2:
        return np.asarray(_JOINING[node.op](*values))
    return np.asarray(apply_elementwise(node, values[0][None], axis=0)[0])


def _single(node: Node) -> bool:
    """Tell whether a node does one thing to each number of one tensor, or to each pair of two."""
    if len(node.inputs) != 1:
        return len(node.inputs) == 2 and node.op in _JOINING
    numbers = scalar(node) is not None or not any(value.ndim for value in node.constants.values())
    return OPERATIONS[node.op].elementwise and numbers


def _function(op: str, **attributes: float | str) -> Node:
    return make_node("f", op, ["x"], "y", attributes=MappingProxyType(attributes))


_FUNCTIONS = (
    _function("Swish", alpha=1.0),
    _function("HardSwish"),
    _function("Mish"),
    _function("Gelu", approximate="none"),
    _function("Gelu", approximate="tanh"),
    _function("Pow", exponent=2.0),
    _function("Relu"),
    _function("Softsign"),
)
"""What a product or quotient of two functions of one number may be."""
