# SPDX-License-Identifier: Apache-2.0
"""Operations that no layer of neurons stands for."""

import math
from collections.abc import Sequence

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.elementwise import within
from mapping.model.operations.operation import (
    HOST,
    Interval,
    Operation,
    Reals,
    misfit,
    never,
    no_work,
    of_first,
    of_shape,
    unbounded,
)

__all__ = ["OTHERS"]


def _softmax_shape(node: Node, shape: Shape) -> Shape:
    if not 0 <= int(node.number("axis")) < len(shape):
        raise misfit(node, f"has an axis that an input of shape {shape} does not have")
    return shape


def _softmax(node: Node, values: Reals) -> Reals:
    axis = int(node.number("axis")) + 1
    shifted = values - values.max(axis=axis, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=axis, keepdims=True)
    return np.asarray(powers / total if node.op == "Softmax" else shifted - np.log(total))


def _foreign(node: Node, inputs: Sequence[Reals], shape: Shape, _scale: float | None) -> Reals:
    from mapping.model.importers.onnx_reference import apply_foreign  # onnx loads slowly

    return apply_foreign(node, inputs, shape)


def _known_work(node: Node, _shapes: Sequence[Shape]) -> int | None:
    return int(node.number("work")) if "work" in node.attributes else None


def _exponential(name: str, interval: Interval) -> Operation:
    return Operation(
        name=name,
        attributes={"axis": "over which the exponentials are added, not counting the batch"},
        shape=of_shape(_softmax_shape),
        apply=of_first(_softmax),
        interval=interval,
        rises=never,
        work=no_work,
        chip=f"{HOST}each output depends on exponentials of all inputs, which no weighted sum holds.",
    )


OTHERS = (
    Operation(
        name="Foreign",
        attributes={
            "operator": "name of an operator that only ONNX knows",
            "model": "the operator as an ONNX model of one node, base64",
            "kinds": "real, integer or truth for each input",
            "whole": "1 for each input whose first axis is no batch, otherwise 0",
            "output": "which of its outputs this one is",
            "shape": "sizes of the output, without the batch",
            "work": "if they are known: its multiply-adds",
        },
        constants={"c0, c1, ...": "if it has some: its constant inputs by their places, of any shape"},
        shape=lambda node, _shapes: node.integers("shape"),
        apply=_foreign,
        interval=unbounded,
        rises=never,
        work=_known_work,
        chip=f"{HOST}ONNX's own reference evaluator computes it, and no layer of neurons is known for it.",
    ),
    _exponential("LogSoftmax", within(-math.inf, 0.0)),
    _exponential("Softmax", within(0.0, 1.0)),
)
"""Records of the softmax and of everything that only ONNX knows."""
