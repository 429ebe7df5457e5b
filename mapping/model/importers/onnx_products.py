# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators that multiply with a matrix."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Operator, Step
from mapping.model.importers.onnx_layout import flattened, reshaped, transposed
from mapping.model.node import Attribute

__all__ = ["einsum", "einsum_axis", "gemm", "matmul"]


def einsum_axis(operator: Operator, graph: Graph) -> tuple[int, int, bool] | None:
    """Return of an ``Einsum`` that multiplies one axis with a matrix, as ``bti,oi->bto``, how it does that.

    Returns
    -------
    (place of the matrix, axis, whether the matrix is (out, in)) or None
        None of any other ``Einsum``, which the host evaluates.
    """
    left, _, result = operator.text("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    held = [index for index, tensor in enumerate(operator.inputs) if tensor in graph.constants]
    if len(terms) != 2 or len(held) != 1 or not graph.real(operator.inputs[1 - held[0]]):
        return None
    x, w = terms[1 - held[0]], terms[held[0]]
    if len(x) != 1 + len(graph.view(operator, 1 - held[0]).shape):
        return None
    summed = [letter for letter in w if letter in x[1:]]
    if len(w) != 2 or len(summed) != 1 or len(set(x)) != len(x) or not 2 <= len(x) <= 4:
        return None
    other = w[1 - w.index(summed[0])]
    if other in x or result != x.replace(summed[0], other):
        return None
    return held[0], x.index(summed[0]), w[0] == other


def einsum(operator: Operator, graph: Graph) -> None:
    """Translate an ``Einsum`` that multiplies one axis of an activation with a matrix."""
    operator.allow("equation")
    found = einsum_axis(operator, graph)
    if found is None:
        raise operator.unknown("multiplies no axis with a matrix")
    held, axis, rows = found
    weight = graph.parameter(operator, held, ndim=2)
    weight = weight if rows else weight.T
    reading = replace(operator, inputs=(operator.inputs[1 - held],))
    if len(graph.view(reading, 0).shape) > 1:
        _along(reading, graph, weight, axis)
        return
    reading, weight = flattened(reading, graph, weight)
    graph.chain(reading, [("", "Dense", {}, {"weight": weight})])


def gemm(operator: Operator, graph: Graph) -> None:
    """Translate a ``Gemm``."""
    operator.allow("alpha", "beta", "transA", "transB")
    if operator.number("transA", 0):
        raise operator.bad("has transA = 1, which mixes the samples of a batch; supported is 0")
    weight = graph.parameter(operator, 1, ndim=2)
    if operator.integer("transB", 0) == 0:
        weight = weight.T
    alpha, beta = operator.number("alpha", 1.0), operator.number("beta", 1.0)
    reading, weight = flattened(operator, graph, weight)
    steps: list[Step] = [("", "Dense", {}, {"weight": weight})]
    if alpha != 1.0:
        steps.append((".alpha", "Mul", {}, {"value": np.array(alpha)}))
    if graph.optional(operator, 2) is not None:
        steps.append((".bias", "Add", {}, {"value": beta * _row(operator, graph, len(weight))}))
    graph.chain(reading, steps)


def _row(operator: Operator, graph: Graph, size: int) -> NDArray[np.float64]:
    """Return the third input of a Gemm as () or (size,)."""
    name = operator.inputs[2]
    value = graph.constants[name]
    if (
        value.dtype.kind not in "biuf"
        or value.size not in (1, size)
        or value.shape[-1:] not in ((), (1,), (size,))
    ):
        raise operator.bad(
            f"has a bias of shape {value.shape} and weights for {size} outputs; give each output one"
        )
    return graph.finite(name, value).reshape(() if value.size == 1 else (size,))


def matmul(operator: Operator, graph: Graph) -> None:
    """Translate a ``MatMul`` by a constant, behind or before the activation."""
    operator.allow()
    if len(operator.inputs) == 2 and not any(tensor in graph.constants for tensor in operator.inputs):
        raise operator.unknown("multiplies two activations")
    if operator.inputs[:1] and operator.inputs[0] in graph.constants:
        weight = graph.parameter(operator, 0, ndim=2)
        reading = replace(operator, inputs=operator.inputs[1:])
        if len(graph.view(reading, 0).shape) != 2:
            raise operator.unknown("multiplies the samples of a batch")
        _along(reading, graph, weight, 1)
        return
    weight = graph.parameter(operator, 1, ndim=2).T
    rank = len(graph.view(operator, 0).shape)
    if rank in (2, 3):
        _along(replace(operator, inputs=operator.inputs[:1]), graph, weight, rank)
        return
    reading, weight = flattened(operator, graph, weight)
    graph.chain(reading, [("", "Dense", {}, {"weight": weight})])


def _along(operator: Operator, graph: Graph, weight: NDArray[np.float64], axis: int) -> None:
    """Multiply a matrix (out, in) with an axis of a tensor: a convolution by kernels of one point."""
    output, shape = operator.outputs[0], graph.view(operator, 0).shape
    order = (0, axis, *(other for other in range(1, len(shape) + 1) if other != axis))
    first, held, mapped, last = (f"{output}.{part}" for part in ("first", "map", "product", "last"))
    transposed(replace(operator, outputs=(first,)), graph, order)
    kept = tuple(shape[other - 1] for other in order[2:])
    reading = replace(operator, name=f"{operator.name}.map", inputs=(first,), outputs=(held,))
    reshaped(reading, graph, (shape[axis - 1], *(1, *kept)[-2:]))
    attributes: dict[str, Attribute] = {
        "stride": (1, 1),
        "dilation": (1, 1),
        "pads": (0, 0, 0, 0),
        "groups": 1,
    }
    step: Step = ("", "Conv", attributes, {"weight": weight[:, :, None, None]})
    graph.chain(replace(operator, inputs=(held,), outputs=(mapped,)), [step])
    reading = replace(operator, name=f"{operator.name}.rows", inputs=(mapped,), outputs=(last,))
    reshaped(reading, graph, (len(weight), *kept))
    back = tuple(order.index(position) for position in range(len(order)))
    transposed(replace(operator, inputs=(last,)), graph, back)
