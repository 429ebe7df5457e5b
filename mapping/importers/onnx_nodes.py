# SPDX-License-Identifier: Apache-2.0
"""Translate single ONNX operators into normalised nodes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.importers.onnx_graph import FLOAT_TYPES, Graph, Integers, Operator, Step
from mapping.importers.onnx_quantise import bipolar, clip_integers, dequantise, fold, quantise, quantise_qonnx
from mapping.network import Attribute, Shape, make_node

__all__ = ["QONNX", "QONNX_DOMAINS", "SUPPORTED", "emit"]

QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Domains under which exporters write the operators of QONNX."""

_FOLDED = ("DequantizeLinear", "IntQuant", "Quant", "QuantizeLinear")  # on constants too

_PASSING = frozenset({"Clip", "Flatten", "Identity", "MaxPool", "Reshape"})


def _pads(operator: Operator, shape: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    """Return top, left, bottom, right, which is ONNX's order of all begins before all ends."""
    mode = operator.attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return operator.integers("pads", (0, 0, 0, 0))
    if mode == "VALID":
        return (0, 0, 0, 0)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise operator.bad(f"has auto_pad = {mode!r}, which is not supported")
    begins, ends = [], []
    for size, k, s, d in zip(shape[1:], kernel, stride, dilation, strict=True):
        total = max(0, (math.ceil(size / max(1, s)) - 1) * s + (k - 1) * d + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return (*begins, *ends)


def _map_shape(operator: Operator, graph: Graph) -> Shape:
    shape = graph.shapes[graph.activation(operator, 0)]
    if len(shape) != 3:
        raise operator.bad(f"needs an input of shape (channels, height, width), not {shape}")
    return shape


def _conv(operator: Operator, graph: Graph) -> None:
    operator.allow("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    shape, weight = _map_shape(operator, graph), graph.parameter(operator, 1, ndim=4)
    kernel = operator.integers("kernel_shape", weight.shape[2:])
    if kernel != weight.shape[2:]:
        raise operator.bad(f"has kernel_shape {kernel} but weights of shape {weight.shape}")
    stride, dilation = operator.integers("strides", (1, 1)), operator.integers("dilations", (1, 1))
    attributes: dict[str, Attribute] = {
        "stride": stride,
        "dilation": dilation,
        "pads": _pads(operator, shape, kernel, stride, dilation),
        "groups": operator.integer("group", 1),
    }
    steps: list[Step] = [("", "Conv", attributes, {"weight": weight})]
    if graph.optional(operator, 2) is not None:
        steps.append((".bias", "Add", {}, {"value": graph.parameter(operator, 2, ndim=1)}))
    graph.chain(operator, steps)


def _gemm(operator: Operator, graph: Graph) -> None:
    operator.allow("alpha", "beta", "transA", "transB")
    operator.require("transA", 0)
    weight = graph.parameter(operator, 1, ndim=2)
    if operator.integer("transB", 0) == 0:
        weight = weight.T
    alpha, beta = operator.number("alpha", 1.0), operator.number("beta", 1.0)
    steps: list[Step] = [("", "Dense", {}, {"weight": weight})]
    if alpha != 1.0:
        steps.append((".alpha", "Mul", {}, {"value": np.array(alpha)}))
    if graph.optional(operator, 2) is not None:
        bias = graph.per_channel(operator, operator.inputs[2], (weight.shape[0],))
        steps.append((".bias", "Add", {}, {"value": beta * bias}))
    graph.chain(operator, steps)


def _matmul(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.chain(operator, [("", "Dense", {}, {"weight": graph.parameter(operator, 1, ndim=2).T})])


def _two_inputs(operator: Operator, graph: Graph) -> tuple[str, str, bool]:
    """Return activation, other input, and whether the operator reads them in the opposite order."""
    operator.allow()
    if len(operator.inputs) != 2:
        raise operator.bad(f"must have two inputs, not {len(operator.inputs)}")
    first, second = operator.inputs
    return (second, first, True) if first in graph.constants else (first, second, False)


def _add(operator: Operator, graph: Graph) -> None:
    tensor, other, _ = _two_inputs(operator, graph)
    _with_constant(operator, graph, (tensor, other), op="Add", sign=1.0)


def _sub(operator: Operator, graph: Graph) -> None:
    tensor, other, swapped = _two_inputs(operator, graph)
    if swapped or other not in graph.constants:
        raise operator.bad("is supported only as an activation minus a constant")
    _with_constant(operator, graph, (tensor, other), op="Add", sign=-1.0)


def _mul(operator: Operator, graph: Graph) -> None:
    tensor, other, _ = _two_inputs(operator, graph)
    if other not in graph.constants:
        raise operator.bad("is supported only with a constant factor")
    _with_constant(operator, graph, (tensor, other), op="Mul", sign=1.0)


def _div(operator: Operator, graph: Graph) -> None:
    tensor, other, swapped = _two_inputs(operator, graph)
    if swapped or other not in graph.constants:
        raise operator.bad("is supported only with a constant divisor")
    divisor = graph.per_channel(operator, other, graph.shapes[graph.activation(operator, 0)])
    if (np.abs(np.frexp(divisor)[0]) != 0.5).any():
        raise operator.bad("is supported only by powers of two; multiply by the reciprocal instead")
    _elementwise(operator, graph, tensor, "Mul", 1.0 / divisor)


def _with_constant(
    operator: Operator, graph: Graph, tensors: tuple[str, str], *, op: str, sign: float
) -> None:
    tensor, other = tensors
    if other in graph.constants:
        shape = graph.shapes[graph.activation(_reading(operator, tensor), 0)]
        _elementwise(operator, graph, tensor, op, sign * graph.per_channel(operator, other, shape))
        return
    inputs = [graph.activation(operator, 0), graph.activation(operator, 1)]
    graph.add(make_node(operator.name, op, inputs, operator.outputs[0]))


def _elementwise(operator: Operator, graph: Graph, tensor: str, op: str, value: NDArray[np.float64]) -> None:
    graph.chain(_reading(operator, tensor), [("", op, {}, {"value": value})])


def _reading(operator: Operator, tensor: str) -> Operator:
    return replace(operator, inputs=(tensor,))


def _batch_norm(operator: Operator, graph: Graph) -> None:
    operator.allow("epsilon", "momentum", "spatial", "training_mode")
    operator.require("spatial", 1)
    operator.require("training_mode", 0)
    if any(operator.outputs[1:]):
        raise operator.bad("has training outputs; export the model in evaluation mode")
    names = ("scale", "bias", "mean", "variance")
    constants = {key: graph.parameter(operator, i, ndim=1) for i, key in enumerate(names, start=1)}
    attributes: dict[str, Attribute] = {"epsilon": operator.number("epsilon", float(np.float32(1e-5)))}
    graph.chain(operator, [("", "BatchNormalization", attributes, constants)])


def _clip_bounds(operator: Operator, graph: Graph) -> dict[str, float]:
    operator.allow("max", "min")
    bounds: dict[str, float] = {}
    for index, (key, name, default) in enumerate(
        (("low", "min", -math.inf), ("high", "max", math.inf)), start=1
    ):
        constant = graph.optional(operator, index)
        if constant is not None and (constant.size != 1 or constant.dtype.kind not in "biuf"):
            raise operator.bad(f"needs one number as {name}")
        bound = operator.attributes.get(name, default) if constant is None else constant.reshape(()).item()
        if not isinstance(bound, int | float) or math.isnan(bound):
            raise operator.bad(f"has {bound!r} as {name}, which is not a number")
        bounds[key] = float(bound)
    return bounds


def _clip(operator: Operator, graph: Graph) -> None:
    graph.chain(operator, [("", "Clip", dict(_clip_bounds(operator, graph)), {})])


def _fold_clip(operator: Operator, graph: Graph) -> None:
    bounds, value = _clip_bounds(operator, graph), graph.constants[operator.inputs[0]]
    if value.dtype.kind not in "biuf":
        raise operator.bad(f"reads a constant of type {value.dtype.name}, which is not numeric")
    graph.define(
        operator, np.clip(value.astype(np.float64), bounds["low"], bounds["high"]).astype(value.dtype)
    )


def _max_pool(operator: Operator, graph: Graph) -> None:
    operator.allow("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides")
    operator.require("ceil_mode", 0)
    if operator.integers("dilations", (1, 1)) != (1, 1) or any(operator.outputs[1:]):
        raise operator.bad("has dilations or an output of indices, which are not supported")
    shape, kernel = _map_shape(operator, graph), operator.integers("kernel_shape", (0, 0))
    stride = operator.integers("strides", (1, 1))
    pads = _pads(operator, shape, kernel, stride, (1, 1))
    graph.chain(operator, [("", "MaxPool", {"kernel": kernel, "stride": stride, "pads": pads}, {})])


def _flatten(operator: Operator, graph: Graph) -> None:
    operator.allow("axis")
    rank = len(graph.shapes[graph.activation(operator, 0)]) + 1
    axis = operator.integer("axis", 1)
    if axis not in (1, 1 - rank):
        raise operator.bad(f"has axis = {axis}, supported is 1")
    graph.chain(operator, [("", "Flatten", {}, {})])


def _reshape(operator: Operator, graph: Graph) -> None:
    operator.allow("allowzero")
    operator.require("allowzero", 0)
    source, constant = graph.shapes[graph.activation(operator, 0)], graph.optional(operator, 1)
    if constant is None or constant.ndim != 1 or constant.dtype.kind not in "iu":
        raise operator.bad("needs a constant list of integers as its shape")
    sizes = [int(n) for n in constant.tolist()]
    full = (graph.batch, *source)
    sizes = [(full[i] or 0) if n == 0 and 0 < i < len(full) else n for i, n in enumerate(sizes)]
    rest, free = sizes[1:], sizes[1:].count(-1)
    if free == 1:
        known = math.prod(n for n in rest if n != -1)
        rest = [math.prod(source) // known if n == -1 and known > 0 else n for n in rest]
    keeps_batch = bool(sizes) and (sizes[0] in (0, graph.batch) or (sizes[0] == -1 and free == 0))
    if not keeps_batch or min(rest, default=0) < 1 or math.prod(rest) != math.prod(source):
        raise operator.bad(
            f"reshapes (N, {', '.join(map(str, source))}) to {sizes} and does not keep the batch"
        )
    graph.chain(operator, [("", "Reshape", {"shape": tuple(rest)}, {})])


def _plain(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.chain(operator, [("", operator.op, {}, {})])


def _dropout(operator: Operator, graph: Graph) -> None:
    operator.allow("ratio", "seed")
    training = graph.optional(operator, 2)
    if training is not None and bool(np.any(training.astype(np.bool_))):
        raise operator.bad("is in training mode; export the model in evaluation mode")
    graph.alias(operator)


def _identity(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.alias(operator)


def _cast(operator: Operator, graph: Graph) -> None:
    operator.allow("saturate", "to", "round_mode")
    if operator.integer("to", 0) not in FLOAT_TYPES:
        raise operator.bad("casts an activation to something else than float or double")
    graph.alias(operator)


_RULES: Mapping[str, Callable[[Operator, Graph], None]] = {
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "BipolarQuant": bipolar,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _conv,
    "DequantizeLinear": dequantise,
    "Div": _div,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Floor": _plain,
    "Gemm": _gemm,
    "Identity": _identity,
    "IntQuant": quantise_qonnx,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "Quant": quantise_qonnx,
    "QuantizeLinear": quantise,
    "Relu": _plain,
    "Reshape": _reshape,
    "Sub": _sub,
}

QONNX = frozenset({"BipolarQuant", "IntQuant", "Quant"})
"""Operators that are understood in the domains of QONNX only."""

SUPPORTED = tuple(name for name in _RULES if name != "BipolarQuant")
"""The operators that are understood on activations."""


def emit(operator: Operator, graph: Graph) -> None:
    """Append the nodes one operator stands for.

    Raises
    ------
    UnsupportedModelError
        If the operator uses something that is not supported.
    """
    if operator.op not in _RULES:
        raise operator.bad("is supported only on constants")
    if not operator.outputs:
        raise operator.bad("has no output")
    if operator.op in _FOLDED and operator.inputs and operator.inputs[0] in graph.constants:
        fold(operator, graph)
        return
    if operator.op == "Clip" and operator.inputs and operator.inputs[0] in graph.constants:
        _fold_clip(operator, graph)
        return
    read = [tensor for tensor in operator.inputs if tensor in graph.integers]
    if not read or operator.op == "DequantizeLinear":
        _RULES[operator.op](operator, graph)
    elif operator.op in _PASSING and read == [operator.inputs[0]] and not graph.integers[read[0]].scale.ndim:
        _pass_integers(operator, graph, graph.integers[read[0]])
    else:
        raise operator.bad(
            f"reads the integers {read[0]!r} of a QuantizeLinear; put a DequantizeLinear between"
        )


def _pass_integers(operator: Operator, graph: Graph, source: Integers) -> None:
    """Do to the real values what a clip, a pool or a reshape does to integers that stand for them."""
    real = f"{operator.outputs[0]}.real"
    if operator.op == "Clip":
        clip_integers(operator, graph, source, _clip_bounds(operator, graph))
        return
    inputs = (source.real, *operator.inputs[1:])
    _RULES[operator.op](replace(operator, inputs=inputs, outputs=(real, *operator.outputs[1:])), graph)
    graph.define_integers(operator, replace(source, real=real))
