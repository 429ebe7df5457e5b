# SPDX-License-Identifier: Apache-2.0
"""Write trained layers as ONNX, node by node, in the explicit notation of quantised activations.

Written with onnx.helper, so that the graph has exactly the operators the importer documents and the same
parameters give the same bytes. No PyTorch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["EPSILON", "Array", "GraphWriter"]

Array = npt.NDArray[Any]

EPSILON = 1e-5
"""Added to the variance in every batch normalisation."""


class GraphWriter:
    """An ONNX graph that grows layer by layer.

    Parameters
    ----------
    parameters : mapping of str to array
        Trained values by name, "LAYER.weight" and so on; a name is stored when a layer uses it.
    level, bound : int, optional
        k and B of the quantised activation; B * 2**k spikes stand for the largest one. Without them the graph
        has none.
    """

    def __init__(self, *, parameters: Mapping[str, Array], level: int = 0, bound: int = 0) -> None:
        self.arrays: dict[str, Array] = {}
        self.nodes: list[onnx.NodeProto] = []
        self._parameters = parameters
        self._notes: dict[str, str] = {}
        if not bound:
            return
        values = {"levels": 2**level, "half": 0.5, "zero": 0, "most": bound * 2**level, "step": 2**-level}
        self.arrays = {name: np.array(v, np.float32) for name, v in values.items()}
        self._notes = {"B": str(bound), "k": str(level)}

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node that writes the tensor of its own name, and return that name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def layer(self, op: str, name: str, source: str, **attributes: Any) -> str:
        """Append a linear node, batch normalisation and quantised activation; return the last tensor."""
        norm = [f"{name}.{part}" for part in ("gamma", "beta", "mean", "variance")]
        self.store(f"{name}.weight", *norm)
        y = self.add(op, f"{name}.sum", source, f"{name}.weight", **attributes)
        y = self.add("BatchNormalization", f"{name}.norm", y, *norm, epsilon=EPSILON)
        y = self.add("Add", f"{name}.shifted", self.add("Mul", f"{name}.scaled", y, "levels"), "half")
        y = self.add("Clip", f"{name}.count", self.add("Floor", f"{name}.floor", y), "zero", "most")
        return self.add("Mul", f"{name}.out", y, "step")

    def store(self, *names: str) -> None:
        """Take parameters into the file."""
        self.arrays.update({name: self._parameters[name] for name in names})

    def readout(self, name: str, source: str) -> str:
        """Append the float dense layer that writes the tensor logits."""
        self.store(f"{name}.weight", f"{name}.bias")
        return self.add("Gemm", "logits", source, f"{name}.weight", f"{name}.bias", transB=1)

    def model(self, name: str, *, size: tuple[int, int], notes: Mapping[str, str]) -> onnx.ModelProto:
        """Return the checked model (opset 17): input (N, 1, height, width), output logits (N, 10).

        Notes become metadata beside B and k.
        """
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, *size])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
            [numpy_helper.from_array(np.asarray(a, np.float32), key) for key, a in self.arrays.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="spikeloom")
        helper.set_model_props(model, {**notes, **self._notes})
        onnx.checker.check_model(model, full_check=True)
        return model
