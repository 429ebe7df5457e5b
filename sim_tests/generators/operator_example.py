# SPDX-License-Identifier: Apache-2.0
"""One operator in a small ONNX model."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from onnx import helper

from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["SHAPE", "Build", "Constant", "Example"]

SHAPE = (4, 6, 5)
"""Channels, height and width of the input of every example."""

Build = Callable[[ModelBuilder], str]
Constant = Callable[[ModelBuilder], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One operator in a model.

    Parameters
    ----------
    operator : str
        Its name in ONNX.
    build : callable
        Adds it behind the input ``x`` of a model, and what it needs; gives the name of the output.
    form : str
        Which of its forms this is, where others become something else.
    around : tuple of str
        The operations of the network that are none of its own.
    opset : int
        Version of the operator set.
    note : str
        What becomes of it on the chip, where that is more or less than one operation of the network.
    """

    operator: str
    build: Build
    form: str = ""
    around: tuple[str, ...] = ()
    opset: int = 13
    note: str = ""

    def placed(self) -> Network:
        """Return the operator between two layers: a convolution, and a dense one unless it names classes."""
        b = ModelBuilder(SHAPE, opset=self.opset)
        output = self.build(b)
        alone = b.network(output)
        size = math.prod(alone.shapes[alone.output])
        if "at the output" not in self.form:
            output = b.head(b.op("Flatten", output), size)
        kernel = b.constant(b.rng.normal(size=(SHAPE[0], SHAPE[0], 1, 1)))
        before = helper.make_node("Conv", ["image", kernel], ["sums"], name="before")
        positive = self.operator in {"Pow", "Sqrt"}
        given = helper.make_node("Relu" if positive else "Identity", ["sums"], ["x"], name="given")
        b.nodes[:0] = [before, given]
        b.input.name = "image"
        return b.network(output)

    def becomes(self) -> tuple[str, ...]:
        """Return the operations that the model is read as, without those of what stands around it."""
        b = ModelBuilder(SHAPE, opset=self.opset)
        nodes = b.network(self.build(b)).nodes
        return tuple(dict.fromkeys(node.op for node in nodes if node.op not in self.around))
