# SPDX-License-Identifier: Apache-2.0
"""Translate single ONNX operators into normalised nodes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mapping.model.importers.onnx_arithmetic import ARITHMETIC_RULES
from mapping.model.importers.onnx_conditions import CONDITION_RULES
from mapping.model.importers.onnx_functions import FUNCTION_RULES, softmax
from mapping.model.importers.onnx_graph import Graph, Integers, Operator, Step
from mapping.model.importers.onnx_integer_sums import SUMS
from mapping.model.importers.onnx_layout import (
    concat,
    flatten,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)
from mapping.model.importers.onnx_pads import pad
from mapping.model.importers.onnx_phases import conv_transpose, depth_to_space, space_to_depth
from mapping.model.importers.onnx_products import einsum, gemm, matmul
from mapping.model.importers.onnx_qlinear import QLINEAR
from mapping.model.importers.onnx_quantise import (
    bipolar,
    clip_integers,
    dequantise,
    fold,
    quantise,
    quantise_qonnx,
)
from mapping.model.importers.onnx_repeats import REPEAT_RULES
from mapping.model.importers.onnx_windows import (
    average_pool,
    conv,
    global_average,
    global_max,
    max_pool,
    reduce_map,
)
from mapping.model.node import Attribute

__all__ = ["FOLDING", "QONNX", "QONNX_DOMAINS", "SUPPORTED", "emit"]

QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Domains under which exporters write the operators of QONNX."""

_QUANTISERS = frozenset({"BipolarQuant", "DequantizeLinear", "IntQuant", "Quant", "QuantizeLinear"})

FOLDING = _QUANTISERS | {"Clip"}
"""Operators on activations whose rules take constants too."""

_PASSING = frozenset(
    {"Clip", "Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)


def _batch_norm(operator: Operator, graph: Graph) -> None:
    operator.allow("epsilon", "momentum", "spatial", "training_mode")
    if operator.integer("training_mode", 0):
        raise operator.bad("is in training mode; export the model in evaluation mode")
    if any(operator.outputs[1:]):
        raise operator.bad("has training outputs; export the model in evaluation mode")
    if not operator.integer("spatial", 1):
        _norm_by_element(operator, graph)
        return
    names = ("scale", "bias", "mean", "variance")
    constants = {key: graph.parameter(operator, i, ndim=1) for i, key in enumerate(names, start=1)}
    attributes: dict[str, Attribute] = {"epsilon": operator.number("epsilon", float(np.float32(1e-5)))}
    graph.chain(operator, [("", "BatchNormalization", attributes, constants)])


def _norm_by_element(operator: Operator, graph: Graph) -> None:
    """Normalise every element by numbers of its own, as before operator set 9 where ``spatial`` is 0."""
    reading = replace(operator, inputs=operator.inputs[:1])
    view = graph.view(reading, 0)
    found = (graph.optional(operator, index) for index in range(1, 5))
    if any(value is None or value.shape != view.shape for value in found):
        raise operator.bad(f"has spatial = 0 and needs four constants of shape {view.shape}")
    names = operator.inputs[1:5]
    scale, bias, mean, variance = (graph.finite(name, graph.constants[name]) for name in names)
    factor = scale / np.sqrt(variance + operator.number("epsilon", float(np.float32(1e-5))))
    steps: list[Step] = []
    for op, value in (("Mul", factor), ("Add", bias - mean * factor)):
        name = f"{operator.outputs[0]}.{op.lower()}"
        graph.constants[name] = value
        steps.append((f".{op.lower()}", op, {}, {"value": graph.per_element(operator, name, view)}))
    graph.elementwise(reading, steps)


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
    graph.elementwise(operator, [("", "Clip", dict(_clip_bounds(operator, graph)), {})])


def _fold_clip(operator: Operator, graph: Graph) -> None:
    bounds, value = _clip_bounds(operator, graph), graph.constants[operator.inputs[0]]
    if value.dtype.kind not in "biuf":
        raise operator.bad(f"reads a constant of type {value.dtype.name}, which is not numeric")
    graph.define(
        operator, np.clip(value.astype(np.float64), bounds["low"], bounds["high"]).astype(value.dtype)
    )


def _plain(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.elementwise(operator, [("", operator.op, {}, {})])


def _dropout(operator: Operator, graph: Graph) -> None:
    operator.allow("ratio", "seed")
    training = graph.optional(operator, 2)
    if training is not None and bool(np.any(training.astype(np.bool_))):
        raise operator.bad("is in training mode; export the model in evaluation mode")
    graph.alias(operator)


def _identity(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.alias(operator)


def _last(operator: Operator, graph: Graph) -> None:
    """Leave out an operator at the output that does not change which class is the largest.

    The host evaluates the others, such as the ``Sigmoid`` of a single output, which is a value and no
    class, but for an ``ArgMax``, whose classes are no real numbers.
    """
    operator.allow("axis", "keepdims", "select_last_index")
    operator.require("select_last_index", 0)
    shape = graph.view(operator, 0).shape
    # in old operator sets the default axis is the first, and everything behind it is one axis
    classes = len(shape) == 1 and operator.integer("axis", 1) in (1, -1)
    classes = classes and (shape[0] > 1 or operator.op == "ArgMax")
    if operator.outputs == (graph.output,) and classes:
        graph.alias(operator)
    elif operator.op == "ArgMax":
        raise operator.unknown("is supported only at the output of the model, over classes in one axis")
    elif operator.op == "Sigmoid":
        graph.elementwise(operator, [("", "Sigmoid", {}, {})])
    else:
        softmax(operator, graph)


_RULES: Mapping[str, Callable[[Operator, Graph], None]] = {
    **ARITHMETIC_RULES,
    **FUNCTION_RULES,
    **REPEAT_RULES,
    **QLINEAR,
    **SUMS,
    **CONDITION_RULES,
    "ArgMax": _last,
    "AveragePool": average_pool,
    "BatchNormalization": _batch_norm,
    "BipolarQuant": bipolar,
    "Clip": _clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "DequantizeLinear": dequantise,
    "Dropout": _dropout,
    "Einsum": einsum,
    "Flatten": flatten,
    "Floor": _plain,
    "Gemm": gemm,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "Identity": _identity,
    "IntQuant": quantise_qonnx,
    "LogSoftmax": _last,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Pad": pad,
    "Quant": quantise_qonnx,
    "QuantizeLinear": quantise,
    "ReduceMax": reduce_map,
    "ReduceMean": reduce_map,
    "ReduceMin": reduce_map,
    "Relu": _plain,
    "Reshape": reshape,
    "Round": _plain,
    "Sigmoid": _last,
    "Softmax": _last,
    "SpaceToDepth": space_to_depth,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}

QONNX = frozenset({"BipolarQuant", "IntQuant", "Quant"})
"""Operators that are understood in the domains of QONNX only."""

SUPPORTED = tuple(sorted(name for name in _RULES if name != "BipolarQuant"))
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
    if operator.op in _QUANTISERS and operator.inputs and operator.inputs[0] in graph.constants:
        fold(operator, graph)
        return
    if operator.op == "Clip" and operator.inputs and operator.inputs[0] in graph.constants:
        _fold_clip(operator, graph)
        return
    read = [tensor for tensor in operator.inputs if tensor in graph.integers]
    if not read or operator.op == "DequantizeLinear" or operator.op in {**QLINEAR, **SUMS}:
        _RULES[operator.op](operator, graph)
    elif read == [operator.inputs[0]] and _passes(operator, graph.integers[read[0]]):
        _pass_integers(operator, graph, graph.integers[read[0]])
    else:
        raise operator.bad(
            f"reads the integers {read[0]!r} of a QuantizeLinear; put a DequantizeLinear between"
        )


def _pads_of_zeros(operator: Operator, graph: Graph, source: Integers) -> tuple[str, ...]:
    """Return the inputs of a ``Pad`` of integers but the first; it must pad with their zero point."""
    value = graph.optional(operator, 2)
    filled = 0.0 if value is None or not value.size else float(value.reshape(-1)[0])
    if filled != float(source.zero_point):
        raise operator.bad(
            f"pads integers of the zero point {float(source.zero_point):g} with {filled:g}; pad with the "
            "zero point"
        )
    return tuple("" if index == 2 else name for index, name in enumerate(operator.inputs) if index)


def _passes(operator: Operator, source: Integers) -> bool:
    """Tell whether an operator may be done to real values instead of integers that stand for them."""
    passing = _PASSING | {"Pad", "Relu"} if source.counted else _PASSING
    return not source.scale.ndim and operator.op in passing


def _pass_integers(operator: Operator, graph: Graph, source: Integers) -> None:
    """Do to the real values what a clip, a pool or a reshape does to integers that stand for them."""
    real = f"{operator.outputs[0]}.real"
    if operator.op == "Clip":
        clip_integers(operator, graph, source, _clip_bounds(operator, graph))
        return
    inputs = (source.real, *operator.inputs[1:])
    if operator.op == "Pad":
        inputs = (inputs[0], *_pads_of_zeros(operator, graph, source))
    _RULES[operator.op](replace(operator, inputs=inputs, outputs=(real, *operator.outputs[1:])), graph)
    graph.define_integers(operator, replace(source, real=real))
