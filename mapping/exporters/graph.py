# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph that grows node by node, with names of its own."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["GraphWriter"]


class GraphWriter:
    """Nodes and constants of a graph.

    Parameters
    ----------
    taken : iterable of str
        Names of inputs and outputs, which no other tensor may have.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._taken = set(taken)

    def _fresh(self, kind: str) -> str:
        name = f"{kind}_{len(self.nodes) + len(self.constants)}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Store an array, and return its name; integers are stored as int64."""
        kept = values.astype(np.int64) if values.dtype.kind == "i" else values
        name = self._fresh("c")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node that writes a tensor of a new name or of a given one, and return its name."""
        name = output or self._fresh(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}_{len(self.nodes)}", **attributes))
        return name

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Give the samples of a tensor another shape."""
        sizes = np.array([-1, *shape])
        return self.add("Reshape", tensor, self.constant(sizes))
