# SPDX-License-Identifier: Apache-2.0
"""Translate operators on integers: QLinearConv, QLinearMatMul, and those that onnxruntime adds.

Each becomes a sum of integers less their zero points, and a `Requantise`
(`docs/reference/truth.md`, "Integer networks").
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_functions import softmax
from mapping.model.importers.onnx_graph import Graph, Integers, Operator, Step
from mapping.model.importers.onnx_grids import (
    BYTES,
    IntegerGrid,
    Single,
    constant_of,
    counts_of_input,
    integer_grid,
    scales_of,
)
from mapping.model.importers.onnx_layout import concat, flattened, joined
from mapping.model.importers.onnx_qlinear_sums import add
from mapping.model.importers.onnx_windows import average_pool, average_sums, conv
from mapping.model.network import make_node
from mapping.model.node import Attribute

__all__ = ["MICROSOFT", "QLINEAR", "dense_sums", "offer_integers"]

MICROSOFT = frozenset(
    {"QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool"}
    | {"QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax"}
)
"""Operators on integers in the domain ``com.microsoft``."""

_WEIGHTS = (*BYTES, "int4", "uint4")


def _weight(
    operator: Operator, graph: Graph, index: int, *, ndim: int, axis: int
) -> tuple[NDArray[np.float64], Single]:
    """Return integer weights less their zero point, and their scales, one or one for each row of ``axis``."""
    weight = graph.optional(operator, index)
    if weight is None or weight.ndim != ndim or not weight.size:
        raise operator.bad(f"needs a constant with {ndim} dimensions as input {index}")
    if weight.dtype.name not in _WEIGHTS:
        raise operator.bad(f"has weights of type {weight.dtype.name}, supported are int8 and uint8")
    scale, zero = scales_of(operator, graph, index + 1, "weights"), graph.optional(operator, index + 2)
    if zero is None:
        raise operator.bad(f"needs a zero point as input {index + 2}, that of its weights")
    rows = weight.shape[axis]
    if scale.size not in (1, rows) or zero.size not in (1, rows) or zero.dtype != weight.dtype:
        raise operator.bad(
            f"has {scale.size} scales and {zero.size} zero points of type {zero.dtype.name} for {rows} "
            f"output channels of {weight.dtype.name}"
        )
    along = [1] * ndim
    along[axis] = -1
    offset = zero.astype(np.float64).reshape(-1)
    shifted = weight.astype(np.float64) - (offset[0] if offset.size == 1 else offset.reshape(along))
    return shifted, scale.reshape(-1) if scale.size > 1 else scale.reshape(())


def _bias(operator: Operator, graph: Graph, index: int, rows: int) -> NDArray[np.float64] | None:
    bias = graph.optional(operator, index)
    if bias is None:
        return None
    if bias.dtype != np.int32 or bias.size != rows:
        raise operator.bad(
            f"has a bias of type {bias.dtype.name} and shape {bias.shape}, supported are {rows} int32"
        )
    return bias.astype(np.float64).reshape(-1)


def _requantise(operator: Operator, graph: Graph, tensor: str, factor: Single, to: IntegerGrid) -> None:
    """Turn integer sums into the integers that an operator writes."""
    real = f"{operator.outputs[0]}.real"
    reading = replace(operator, inputs=(tensor,), outputs=(real,))
    view = graph.view(reading, 0)
    wide = factor.astype(np.float64).reshape(-1, *(1 for _ in view.shape[1:])) if factor.ndim else factor
    attributes: dict[str, Attribute] = {"low": to.low, "high": to.high}
    constants = {"scale": graph.channels(operator, np.asarray(wide, np.float64), view)}
    graph.elementwise(reading, [(".requantise", "Requantise", attributes, constants)])
    graph.define_integers(
        operator,
        Integers(
            real=real,
            scale=np.array(float(to.scale)),
            zero_point=np.array(float(to.zero)),
            counted=True,
        ),
    )


def _conv(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearConv``: x, scale, zero; w, scale, zero; scale and zero of y; bias."""
    given, to = integer_grid(operator, graph, 1, "input"), integer_grid(operator, graph, 6, "output")
    dims = graph.optional(operator, 3)
    weight, scale = _weight(operator, graph, 3, ndim=3 if dims is not None and dims.ndim == 3 else 4, axis=0)
    bias = _bias(operator, graph, 8, len(weight))
    inputs = [counts_of_input(operator, graph, 0, given.zero), constant_of(operator, graph, "weight", weight)]
    if bias is not None:
        inputs.append(constant_of(operator, graph, "bias", bias))
    sums = f"{operator.outputs[0]}.sums"
    conv(replace(operator, op="Conv", inputs=tuple(inputs), outputs=(sums,)), graph)
    _requantise(operator, graph, sums, np.asarray(given.scale * scale / to.scale), to)


def dense_sums(
    operator: Operator,
    graph: Graph,
    tensor: str,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
) -> str:
    """Append a dense layer (out, in) on integers; return the tensor of its sums."""
    sums = f"{operator.outputs[0]}.sums"
    reading, weight = flattened(replace(operator, inputs=(tensor,), outputs=(sums,)), graph, weight)
    steps = [("", "Dense", dict[str, Attribute](), {"weight": weight})]
    if bias is not None:
        steps.append((".bias", "Add", {}, {"value": bias}))
    graph.chain(reading, steps)
    return sums


def _matmul(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearMatMul``: a, scale, zero; b, scale, zero; scale and zero of y."""
    operator.allow()
    given, to = integer_grid(operator, graph, 1, "input"), integer_grid(operator, graph, 6, "output")
    weight, scale = _weight(operator, graph, 3, ndim=2, axis=1)
    tensor = counts_of_input(operator, graph, 0, given.zero)
    sums = dense_sums(operator, graph, tensor, weight.T, None)
    _requantise(operator, graph, sums, np.asarray(given.scale * scale / to.scale), to)


def _gemm(operator: Operator, graph: Graph) -> None:
    """Translate ``QGemm``: a, scale, zero; b, scale, zero; bias; scale and zero of y, else y is real."""
    operator.allow("alpha", "transA", "transB")
    operator.require("transA", 0)
    given, turned = integer_grid(operator, graph, 1, "input"), operator.integer("transB", 0) != 0
    weight, scale = _weight(operator, graph, 3, ndim=2, axis=0 if turned else 1)
    weight = weight if turned else weight.T
    bias = _bias(operator, graph, 6, len(weight))
    tensor = counts_of_input(operator, graph, 0, given.zero)
    sums = dense_sums(operator, graph, tensor, weight, bias)
    unit = np.asarray(np.float32(operator.number("alpha", 1.0)) * given.scale * scale)
    if graph.optional(operator, 7) is None:
        constants = {"value": unit.astype(np.float64)}
        graph.chain(replace(operator, inputs=(sums,)), [(".scale", "Mul", {}, constants)])
        return
    to = integer_grid(operator, graph, 7, "output")
    _requantise(operator, graph, sums, np.asarray(unit / to.scale), to)


def _mul(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearMul``: a, scale, zero; b, scale, zero; scale and zero of y."""
    operator.allow()
    first, second = (
        integer_grid(operator, graph, 1, "first input"),
        integer_grid(operator, graph, 4, "second input"),
    )
    to, product = integer_grid(operator, graph, 6, "output"), f"{operator.outputs[0]}.product"
    reading = replace(operator, outputs=(product,))
    if operator.inputs[3] in graph.constants:
        value = graph.constants[operator.inputs[3]].astype(np.float64) - second.zero
        name = constant_of(operator, graph, "factor", value)
        reading = replace(reading, inputs=(counts_of_input(operator, graph, 0, first.zero),))
        factor = {"value": graph.per_element(operator, name, graph.view(reading, 0))}
        graph.elementwise(reading, [("", "Mul", {}, factor)])
    else:
        tensors = ((0, first), (3, second))
        inputs = tuple(counts_of_input(operator, graph, index, grid.zero) for index, grid in tensors)
        joined(
            replace(reading, inputs=inputs), graph, lambda read, y: make_node(operator.name, "Mul", read, y)
        )
    _requantise(operator, graph, product, np.asarray(first.scale * second.scale / to.scale), to)


def _softmax(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearSoftmax``: x, scale, zero; scale and zero of y; the axis as of its operator set."""
    operator.allow("axis", "opset")
    given, to = integer_grid(operator, graph, 1, "input"), integer_grid(operator, graph, 3, "output")
    scaled, shares = f"{operator.outputs[0]}.scaled", f"{operator.outputs[0]}.shares"
    reading = replace(operator, inputs=(counts_of_input(operator, graph, 0, given.zero),), outputs=(scaled,))
    graph.elementwise(reading, [_scaled(given)])
    axes = {key: value for key, value in operator.attributes.items() if key == "axis"}
    plain = replace(operator, op="Softmax", inputs=(scaled,), outputs=(shares,), attributes=axes)
    softmax(plain, graph, operator.integer("opset", graph.opset))
    _quantise(operator, graph, shares, [], to)


def _average(operator: Operator, graph: Graph) -> None:
    """Translate an average of integers: their sums requantised, or real means of windows of many sizes."""
    operator.require("channels_last", 0)
    given, to = integer_grid(operator, graph, 1, "input"), integer_grid(operator, graph, 3, "output")
    tensor, sums = counts_of_input(operator, graph, 0, given.zero), f"{operator.outputs[0]}.sums"
    whole = {key: value for key, value in operator.attributes.items() if key != "channels_last"}
    plain = replace(operator, op=operator.op.removeprefix("QLinear"), outputs=(sums,), attributes=whole)
    number = average_sums(replace(plain, inputs=(tensor,)), graph)
    if number is None:
        scaled = f"{operator.outputs[0]}.scaled"
        graph.elementwise(replace(operator, inputs=(tensor,), outputs=(scaled,)), [_scaled(given)])
        average_pool(replace(plain, inputs=(scaled,)), graph)
        _quantise(operator, graph, sums, [], to)
        return
    factor = given.scale / (to.scale * np.float32(number))
    _requantise(operator, graph, sums, np.asarray(factor), to)


def _quantise(
    operator: Operator,
    graph: Graph,
    tensor: str,
    before: list[Step],
    to: IntegerGrid,
) -> None:
    """Turn real values, after some steps, into the integers that an operator writes."""
    real = f"{operator.outputs[0]}.real"
    attributes: dict[str, Attribute] = {"low": to.low, "high": to.high}
    last: Step = (".quantise", "ToInteger", attributes, {"scale": np.array(float(to.scale))})
    graph.elementwise(replace(operator, inputs=(tensor,), outputs=(real,)), [*before, last])
    scale, zero = np.array(float(to.scale)), np.array(float(to.zero))
    graph.define_integers(operator, Integers(real=real, scale=scale, zero_point=zero, counted=True))


def _scaled(grid: IntegerGrid) -> Step:
    return ".scale", "Mul", {}, {"value": np.array(float(grid.scale))}


def _function(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearLeakyRelu`` or ``QLinearSigmoid``: x, scale, zero; scale and zero of y."""
    given, to = integer_grid(operator, graph, 1, "input"), integer_grid(operator, graph, 3, "output")
    tensor = counts_of_input(operator, graph, 0, given.zero)
    step: Step = ("", "Sigmoid", {}, {})
    if operator.op == "QLinearLeakyRelu":
        operator.allow("alpha")
        step = ("", "PRelu", {}, {"slope": np.array(operator.number("alpha", float(np.float32(0.01))))})
    else:
        operator.allow()
    _quantise(operator, graph, tensor, [_scaled(given), step], to)


def _concat(operator: Operator, graph: Graph) -> None:
    """Translate ``QLinearConcat``: scale and zero of y, then tensor, scale and zero of each input."""
    to, parts, whole = integer_grid(operator, graph, 0, "output"), [], f"{operator.outputs[0]}.joined"
    if len(operator.inputs) < 5 or len(operator.inputs) % 3 != 2:
        raise operator.bad(f"must have two inputs and three for each tensor, not {len(operator.inputs)}")
    for index in range(2, len(operator.inputs), 3):
        grid, part = (
            integer_grid(operator, graph, index + 1, "input"),
            f"{operator.outputs[0]}.part{index // 3}",
        )
        tensor = counts_of_input(operator, graph, index, grid.zero)
        name = f"{operator.name}.part{index // 3}"
        reading = replace(operator, name=name, inputs=(tensor,), outputs=(part,))
        graph.elementwise(reading, [("", *_scaled(grid)[1:])])
        parts.append(part)
    concat(replace(operator, op="Concat", inputs=tuple(parts), outputs=(whole,)), graph)
    _quantise(operator, graph, whole, [], to)


def offer_integers(graph: Graph, output: str) -> None:
    """Write the output of a model, if that is a tensor of integers, with their zero point."""
    source = graph.integers.get(output)
    if source is None or not source.counted:
        return
    constants = {"value": np.array(float(source.zero_point))}
    real = graph.written(source.real)
    graph.add(make_node(f"{output}.zero", "Add", [real], output, constants=constants))


QLINEAR: Mapping[str, Callable[[Operator, Graph], None]] = {
    "QGemm": _gemm,
    "QLinearAdd": add,
    "QLinearAveragePool": _average,
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _average,
    "QLinearLeakyRelu": _function,
    "QLinearMatMul": _matmul,
    "QLinearMul": _mul,
    "QLinearSigmoid": _function,
    "QLinearSoftmax": _softmax,
}
"""Rules of operators on integers, by name."""
