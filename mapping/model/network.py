# SPDX-License-Identifier: Apache-2.0
"""The float network as trained: an acyclic graph of operations with constant parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mapping.errors import UnsupportedModelError
from mapping.model.node import MAX_ELEMENTS, Attribute, Node, Shape
from mapping.model.operations import OPERATIONS
from mapping.model.operations.operation import misfit

__all__ = ["Network", "build_network", "infer_shape", "make_node"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A trained network with one input and one output.

    ``nodes`` are in topological order and all of them are needed for ``output``. ``shapes`` gives the shape
    of every tensor without the batch dimension. ``classes`` are what the model calls its classes, numbers or
    texts in the order of its outputs; empty where they are numbered from 0. ``whole`` tells that the model
    declares its input to hold integers.
    """

    name: str
    input: str
    output: str
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    classes: tuple[int | str, ...] = ()
    whole: bool = False

    def producer(self, tensor: str) -> Node | None:
        """Return the node that writes a tensor, or None for the graph input."""
        return next((node for node in self.nodes if node.output == tensor), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, in topological order."""
        return tuple(node for node in self.nodes if tensor in node.inputs)


def make_node(
    name: str,
    op: str,
    inputs: Sequence[str],
    output: str,
    *,
    attributes: Mapping[str, Attribute] | None = None,
    constants: Mapping[str, NDArray[np.float64]] | None = None,
) -> Node:
    """Build a `Node` whose constants are read-only float64 copies.

    Raises
    ------
    ValueError
        If ``op`` is not one of `OPERATIONS`.
    """
    if op not in OPERATIONS:
        raise ValueError(f"op must be one of {', '.join(OPERATIONS)}, not {op!r}")
    frozen = {}
    for key, value in (constants or {}).items():
        frozen[key] = np.array(value, dtype=np.float64, order="C")
        frozen[key].flags.writeable = False
    return Node(
        name=name,
        op=op,
        inputs=tuple(inputs),
        output=output,
        attributes=MappingProxyType(dict(attributes or {})),
        constants=MappingProxyType(frozen),
    )


def infer_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Return the output shape of a node, without the batch dimension, from the shapes of its inputs.

    Raises
    ------
    UnsupportedModelError
        If inputs and parameters do not fit, or the output exceeds `MAX_ELEMENTS`.
    """
    shape = OPERATIONS[node.op].shape(node, shapes)
    if min(shape, default=1) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise misfit(node, f"has an output of shape {shape}, above the limit of {MAX_ELEMENTS} elements")
    return shape


def _needed(nodes: Sequence[Node], output: str) -> tuple[Node, ...]:
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def build_network(
    nodes: Sequence[Node],
    *,
    name: str,
    input_name: str,
    input_shape: Shape,
    output_name: str,
    classes: Sequence[int | str] = (),
    whole: bool = False,
) -> Network:
    """Build a `Network` from nodes in topological order; nodes the output does not need are dropped.

    Raises
    ------
    UnsupportedModelError
        If a tensor is read before it is written, written twice, shapes do not fit, or there are not as many
        names of classes as outputs.
    """
    if min(input_shape, default=0) < 1 or math.prod(input_shape) > MAX_ELEMENTS:
        raise UnsupportedModelError(f"The graph input {input_name!r} has the unusable shape {input_shape}.")
    shapes: dict[str, Shape] = {input_name: tuple(input_shape)}
    for node in nodes:
        for tensor in node.inputs:
            if tensor not in shapes:
                raise misfit(node, f"reads tensor {tensor!r}, which no earlier node writes")
        if node.output in shapes:
            raise misfit(node, f"writes tensor {node.output!r}, which exists already")
        shapes[node.output] = infer_shape(node, [shapes[tensor] for tensor in node.inputs])
    if output_name not in shapes:
        raise UnsupportedModelError(f"No node writes the graph output {output_name!r}; export it again.")
    outputs = math.prod(shapes[output_name])
    if classes and len(classes) != outputs:
        raise UnsupportedModelError(
            f"The model names {len(classes)} classes, but gives {outputs} scores; export it again."
        )
    kept = _needed(nodes, output_name)
    used = {input_name, *(node.output for node in kept)}
    return Network(
        name=name,
        input=input_name,
        output=output_name,
        nodes=kept,
        shapes=MappingProxyType({tensor: shape for tensor, shape in shapes.items() if tensor in used}),
        classes=tuple(classes),
        whole=whole,
    )
