# SPDX-License-Identifier: Apache-2.0
"""How many multiply-adds an operator takes that the host evaluates as it is."""

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from mapping.model.importers.onnx_graph import Operator
from mapping.model.importers.onnx_windows import pads_of
from mapping.model.node import Shape
from mapping.model.operations.window import convolved

__all__ = ["foreign_work"]

_UNCOUNTED = frozenset(
    {"AffineGrid", "Attention", "CausalConvWithState", "ConvInteger", "DFT", "DeformConv", "Det"}
    | {"GridSample", "LinearAttention", "MatMulInteger", "QLinearConv", "QLinearMatMul", "STFT"}
)
"""Operators with products of which nobody here counts how many."""

Rule = Callable[[Operator, Sequence[Shape], Shape], int | None]
"""(operator, shapes of its inputs, shape of its output) -> multiply-adds; shapes have a batch of one."""


def foreign_work(
    proto: onnx.NodeProto, operator: Operator, shapes: Sequence[Shape], output: Shape
) -> int | None:
    """Return the multiply-adds of an operator, or None if they are not known.

    Parameters
    ----------
    proto, operator : NodeProto, Operator
        The operator as it stands in the file, and as it was read.
    shapes : sequence of Shape
        Of all its inputs, with a batch of one; () where one is left out.
    output : Shape
        Of its first output.
    """
    if operator.op == "Einsum":
        equations = [attribute.s.decode() for attribute in proto.attribute if attribute.name == "equation"]
        return _of_equation(equations[0] if equations else "", shapes)
    if operator.op in _RULES:
        return _RULES[operator.op](operator, shapes, output)
    return None if operator.op in _UNCOUNTED else 0


def _of_equation(equation: str, shapes: Sequence[Shape]) -> int | None:
    """Return the products of an ``Einsum`` of two tensors: one for every value that its letters can take.

    >>> _of_equation("bij,bkj->bik", [(1, 2, 3), (1, 5, 3)])
    30
    >>> _of_equation("bij->b", [(1, 2, 3)]), _of_equation("...i,...i->...", [(2, 3), (2, 3)])
    (0, None)
    """
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) == 1:
        return 0
    if len(terms) > 2 or any(len(term) != len(shape) for term, shape in zip(terms, shapes, strict=True)):
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())


def _convolution(operator: Operator, shapes: Sequence[Shape], _: Shape) -> int:
    return _window(operator, shapes[0], shapes[1])


def _window(operator: Operator, source: Shape, weight: Shape) -> int:
    kernel, ones = weight[2:], (1,) * (len(weight) - 2)
    stride, dilation = operator.integers("strides", ones), operator.integers("dilations", ones)
    pads = pads_of(operator, source[1:], kernel, stride, dilation)
    around = (pads[: len(kernel)], pads[len(kernel) :])
    return convolved(weight, source[2:], stride=stride, dilation=dilation, pads=around)


def _average(operator: Operator, shapes: Sequence[Shape], _: Shape) -> int:
    """Return those of the convolution by ones that an average is; one of single elements takes none."""
    source = shapes[0]
    kernel = operator.integers("kernel_shape", (1,) * (len(source) - 2))
    return _window(operator, source, (source[1], 1, *kernel)) if math.prod(kernel) > 1 else 0


def _transposed(_: Operator, shapes: Sequence[Shape], __: Shape) -> int:
    return math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _product(_: Operator, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * shapes[0][-1]


def _gemm(operator: Operator, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * shapes[0][0 if operator.integer("transA", 0) else 1]


def _recurrent(operator: Operator, shapes: Sequence[Shape], _: Shape) -> int:
    steps = shapes[0][operator.integer("layout", 0)]
    return int(steps) * sum(math.prod(weight) for weight in shapes[1:3])


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    "AveragePool": _average,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _product,
}
