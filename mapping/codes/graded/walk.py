# SPDX-License-Identifier: Apache-2.0
"""Walk through a network and note what every tensor is of the activations on the chip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mapping.codes.graded.forms import Form, Reading, Shape, identity, wide
from mapping.codes.graded.moves import map_shape, reshaped
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.elementwise import scalar

__all__ = ["CUTS", "STEPS", "Point", "Rule", "Walk"]

CUTS = frozenset({"Clip", "Relu"})
"""Functions that only cut off, which a ladder does; any other one takes a list of thresholds."""

STEPS = frozenset({"Add", "Div", "Mul"})
"""Operations between two functions of one number that may be one."""

_TWICE = 2
"""Functions that compute a form that they alone read, each for itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """An activation that the chip computes: ``functions`` in order, of a form.

    ``pooled`` tells whether a max-pool reads it.
    """

    name: str
    tensor: str
    form: Form
    functions: tuple[Node, ...]
    pooled: bool = False


class Walk:
    """What is known of the tensors of a network, node by node.

    Parameters
    ----------
    network : Network
        The network.
    root : str
        The tensor that enters the chip.
    axons : int
        Inputs up to which a pool is folded into the layer that reads it.
    banned : mapping
        Tensor -> why it must not be computed on the chip.
    """

    def __init__(self, network: Network, root: str, axons: int, banned: Mapping[str, str]) -> None:
        self.network, self.root, self.axons, self.banned = network, root, axons, banned
        shape = map_shape(network.shapes[root])
        read = identity(Reading(tensor=root, shape=shape, pooled=shape))
        self.forms: dict[str, Form] = {root: read.moved(network.shapes[root])}
        self.points: dict[str, Point] = {}
        self.refused: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.readers = {tensor: network.consumers(tensor) for tensor in network.shapes}

    def take(self, node: Node, rule: Rule | None) -> None:
        """Find the form of what a node writes by the rule of its operation, if there is one."""
        if node.output == self.root:
            return
        held = [tensor for tensor in node.inputs if tensor in self.forms]
        if len(held) < len(node.inputs):
            self._leave(held)
            return
        reason = self.banned.get(node.output)
        if reason is None:
            reason = f"no neuron computes {_shown(node)}" if rule is None else rule(self, node)
        if reason is not None:
            self.refused[node.name] = reason
            self._leave(node.inputs)
            return
        form = self.forms[node.output]
        several = len(self.readers[node.output]) > 1 and not self._apart(node.output)
        if not form.plain and (several or node.output == self.network.output):
            self.cut(node.output)

    def _apart(self, tensor: str) -> bool:
        """Tell whether two functions alone read a form, which each of them may then compute for itself.

        That takes fewer columns than the form and two copies of it, and rounds nothing between.
        """
        readers = self.readers[tensor]
        twice = len(readers) == _TWICE and not wide(self.forms[tensor], self.axons)
        return twice and tensor != self.network.output and all(self._functional(node) for node in readers)

    def _functional(self, node: Node) -> bool:
        """Tell whether a node, or what is behind factors and offsets, is a function that never falls."""
        while node.op in STEPS and scalar(node) is not None and len(self.readers[node.output]) == 1:
            (node,) = self.readers[node.output]
        known = node.op in OPERATIONS and len(node.inputs) == 1 and node.output not in self.banned
        return known and OPERATIONS[node.op].rises(node) is True

    def _leave(self, tensors: Iterable[str]) -> None:
        """Let tensors that the host reads be activations."""
        for tensor in tensors:
            self.linear(tensor)

    def cut(self, tensor: str) -> None:
        """Let a tensor be an activation of its own."""
        if tensor in self.points or tensor == self.root:
            return
        self.add(Point(name=self.name(tensor), tensor=tensor, form=self.forms[tensor], functions=()))

    def name(self, tensor: str) -> str:
        """Return a name that no layer has yet: that of the last matrix on the way to a tensor."""
        name = self.names.get(tensor, tensor)
        taken = {point.name for point in self.points.values()}
        return name if name not in taken else tensor

    def add(self, point: Point) -> None:
        """Add an activation, which is then read as itself."""
        self.points[point.tensor] = point
        shape = point.form.shape
        reading = Reading(tensor=point.tensor, shape=shape, pooled=shape)
        self.forms[point.tensor] = identity(reading).moved(point.form.view)

    def linear(self, tensor: str) -> Form:
        """Return the form of a tensor that other operations are folded into: an activation if need be."""
        form = self.forms[tensor]
        if not form.plain:
            self.cut(tensor)
        return self.forms[tensor]

    def shaped(self, tensor: str, shape: Shape) -> Form:
        """Return the form of a tensor whose terms have a shape (F,) or (C, H, W) with the same elements.

        What cannot be read in that shape becomes an activation, which can.

        Raises
        ------
        ValueError
            If the shape has other elements.
        """
        found = reshaped(self.forms[tensor], shape)
        if found is None:
            self.cut(tensor)
            found = reshaped(self.forms[tensor], shape)
        if found is None:
            raise ValueError(f"shape must have the elements of {tensor!r}, not {shape}")
        return found

    def write(self, node: Node, form: Form, *, matrix: bool = False) -> None:
        """Note the form of what a node writes, and by what name a layer of it goes."""
        self.forms[node.output] = form
        self.names[node.output] = node.name if matrix else self.names.get(node.inputs[0], node.name)


def _shown(node: Node) -> str:
    return node.text("operator") if node.op == "Foreign" else node.op


Rule = Callable[[Walk, Node], str | None]
"""Notes the form of what a node writes; returns why there is none, or None."""
