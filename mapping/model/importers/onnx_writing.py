# SPDX-License-Identifier: Apache-2.0
"""Write an operator that the importer does not know with standard ones that do the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from mapping.errors import UnsupportedModelError

__all__ = ["Writer"]


_LEAST = 1e-30
"""Norm of what has none but zeros."""

_AXES_GIVEN = 18
"""Operator set from which reductions read their axes as an input."""


class Writer:
    """One node, and what is written in its place.

    Parameters
    ----------
    node : NodeProto
        The node.
    graph : GraphProto
        Gets the constants.
    opset : int
        The model's version of the standard operators.
    """

    def __init__(self, node: NodeProto, graph: onnx.GraphProto, opset: int) -> None:
        self.node, self.graph, self.opset = node, graph, opset
        self.name = node.name or f"{node.op_type.lower()}.{next(iter(node.output), '')}"
        self.given: dict[str, Any] = {
            attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute
        }
        self.nodes: list[NodeProto] = []

    def bad(self, problem: str) -> UnsupportedModelError:
        """Return the error that names this node."""
        return UnsupportedModelError(f"Node {self.name!r} ({self.node.op_type}) {problem}.")

    def numbers(self, name: str) -> NDArray[np.float32]:
        """Return an attribute of numbers, empty if it is left out."""
        values = self.given.get(name, ())
        try:
            return np.asarray(values, np.float32).reshape(-1)
        except (TypeError, ValueError):
            raise self.bad(f"has no numbers as {name}; export it again") from None

    def word(self, name: str, default: str) -> str:
        """Return an attribute that is a word."""
        value = self.given.get(name, default.encode())
        return value.decode("ascii", "replace") if isinstance(value, bytes) else repr(value)

    def constant(self, values: NDArray[np.generic], what: str) -> str:
        """Add a constant to the graph and return its name."""
        name = f"{self.name}.{what}"
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node of the standard and return the name of what it writes."""
        output = output or f"{self.name}.{kind.lower()}"
        name = f"{self.name}.{kind.lower()}" if self.nodes else self.name
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def source(self) -> str:
        """Return the only input."""
        if len(self.node.input) != 1 or not self.node.input[0]:
            raise self.bad(f"must have one input, not {len(self.node.input)}; export it again")
        return str(self.node.input[0])

    def result(self, index: int = 0) -> str:
        """Return the name of an output, of one that nobody reads too."""
        outputs = self.node.output
        return outputs[index] if len(outputs) > index and outputs[index] else f"{self.name}.result{index}"

    def divide_by_norm(self, kind: str, axis: int) -> None:
        """Write the input divided by what a reduction along an axis gives; what has none but zeros stays."""
        if self.opset < _AXES_GIVEN:
            size = self.op(kind, self.source(), axes=[axis], keepdims=1)
        else:
            axes = self.constant(np.array([axis], np.int64), "axes")
            size = self.op(kind, self.source(), axes, keepdims=1)
        if kind != "ReduceMax":
            size = self.op("Max", size, self.constant(np.array(_LEAST, np.float32), "least"))
        self.op("Div", self.source(), size, output=self.result())
