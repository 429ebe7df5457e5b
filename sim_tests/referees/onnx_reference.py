# SPDX-License-Identifier: Apache-2.0
"""Evaluate an ONNX model in float64, operator by operator, for tests: no graph is rewritten.

Written from the ONNX and QONNX operator specifications and `docs/reference/truth.md`, without `mapping`. A
tensor of counts times a scale carries that scale, because a layer of weights -a, 0, a that reads it has the
value (a s) S by definition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from sim_tests.referees.onnx_functions import FUNCTIONS, softmax
from sim_tests.referees.onnx_moves import MOVES, axes_of

__all__ = ["Evaluation", "Values", "apply_node", "convolve", "evaluate_onnx"]

Values = NDArray[Any]
Attributes = dict[str, Any]
Operation = Callable[["Evaluation", onnx.NodeProto, Attributes, list[Any]], Values]

_TYPES: dict[int, type[Any]] = {2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64}
_KEPT = frozenset(
    {
        "Cast",
        "Clip",
        "Dropout",
        "Flatten",
        "Identity",
        "MaxPool",
        "Pad",
        "Quant",
        "Relu",
        "Reshape",
        "Squeeze",
    }
    | {"Transpose", "Unsqueeze"}
)


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """Every tensor of a model for some samples, and the scale of those that hold counts times a scale."""

    values: dict[str, Any]
    scales: dict[str, float] = field(default_factory=dict)
    output: str = ""
    opset: int = 13


def evaluate_onnx(model: onnx.ModelProto, x: Values) -> Evaluation:
    """Return every tensor for samples (N, ...); constants are float64, integers stay integers."""
    constants = {t.name: _wide(numpy_helper.to_array(t)) for t in model.graph.initializer}
    (name,) = (value.name for value in model.graph.input if value.name not in constants)
    run = Evaluation(
        values={**constants, name: np.asarray(x, np.float64)},
        output=model.graph.output[0].name,
        opset=next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
    )
    for node in model.graph.node:
        if node.op_type == "Split":
            _split(run, node)
            continue
        run.values[node.output[0]] = apply_node(run, node)
        _follow(run, node)
    return run


def apply_node(
    run: Evaluation, node: onnx.NodeProto, tensor: str = "", values: Values | None = None
) -> Values:
    """Return the output of a node, with other values in the place of one tensor if they are given."""
    attributes: Attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    known: dict[str, Any] = {**run.values, "": None} | ({} if values is None else {tensor: values})
    inputs = [known[name] for name in node.input]
    for table in (FUNCTIONS, MOVES, _WITH_ATTRIBUTES):
        if node.op_type in table:
            return np.asarray(table[node.op_type](attributes, inputs))
    if node.op_type in _PLAIN:
        return np.asarray(_PLAIN[node.op_type](inputs))
    if node.op_type in _OPERATIONS:
        return _OPERATIONS[node.op_type](run, node, attributes, inputs)
    return _by_onnx(node, inputs, run.opset)


def _by_onnx(node: onnx.NodeProto, inputs: list[Any], opset: int) -> Values:
    """Evaluate an operator on shapes and pads with the evaluator that comes with ONNX."""
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.input],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    names: list[str] = list(node.input)
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if name}
    results: Any = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(results[0])


def _wide(array: Values) -> Values:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _follow(run: Evaluation, node: onnx.NodeProto) -> None:
    """Let an output that has the values of its input, or a part of them, keep the scale of the input."""
    source, output = node.input[0] if node.input else "", node.output[0]
    if output in run.scales or source not in run.scales or node.op_type not in _KEPT:
        return
    before, after = run.values[source], run.values[output]
    if node.op_type not in {"Clip", "Quant", "Relu"} or np.array_equal(before, after):
        run.scales[output] = run.scales[source]


# --- sums of products -------------------------------------------------------------------------------------


def convolve(x: Values, weight: Values, attributes: Attributes) -> Values:
    """Return the convolution of (N, C, H, W), tap by tap, as the ONNX operator Conv defines it."""
    groups = attributes.get("group", 1)
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    kernel = weight.shape[2:]
    top, left, bottom, right = _pads(attributes, x.shape[2:], kernel, strides, dilations)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows = (padded.shape[2] - (kernel[0] - 1) * dilations[0] - 1) // strides[0] + 1
    columns = (padded.shape[3] - (kernel[1] - 1) * dilations[1] - 1) // strides[1] + 1
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    result = np.zeros((len(x), weight.shape[0], rows, columns))
    for g in range(groups):
        for i, j in np.ndindex(*kernel):
            at_y, at_x = i * dilations[0], j * dilations[1]
            part = padded[:, g * inputs : (g + 1) * inputs, at_y:, at_x:]
            part = part[:, :, : rows * strides[0] : strides[0], : columns * strides[1] : strides[1]]
            tap = weight[g * outputs : (g + 1) * outputs, :, i, j]
            result[:, g * outputs : (g + 1) * outputs] += np.tensordot(part, tap, ([1], [1])).transpose(
                0, 3, 1, 2
            )
    return result


def _pads(
    attributes: Attributes, sizes: Sequence[int], kernel: Sequence[int], strides: Any, dilations: Any
) -> list[int]:
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode == b"NOTSET":
        return list(attributes.get("pads", [0, 0, 0, 0]))
    if mode == b"VALID":
        return [0, 0, 0, 0]
    begins, ends = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        begins.append((total + (mode == b"SAME_LOWER")) // 2)
        ends.append(total - begins[-1])
    return begins + ends


def _linear(
    run: Evaluation, node: onnx.NodeProto, weight: Values, product: Callable[[Values, Values], Values]
) -> Values:
    """Return sums of products, or (a s) S where ternary rows read counts times s."""
    x, scale = run.values[node.input[0]], run.scales.get(node.input[0])
    rows = np.abs(weight.reshape(len(weight), -1))
    a = rows.max(axis=1)
    if scale is None or ((rows != 0) & (rows != a[:, None])).any():
        return product(x, weight)
    sums = product(np.rint(x / scale), np.sign(weight))
    return np.asarray((a * scale).reshape((1, -1) + (1,) * (sums.ndim - 2)) * sums)


def _conv(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    y = _linear(run, node, inputs[1], lambda x, weight: convolve(x, weight, attributes))
    return y + inputs[2].reshape(1, -1, 1, 1) if len(inputs) > 2 and inputs[2] is not None else y


def _gemm(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    if attributes.get("transA", 0):
        raise ValueError(f"Gemm {node.name!r} has transA, which neither side reads.")
    weight = inputs[1] if attributes.get("transB", 0) else inputs[1].T
    y = _linear(run, node, weight, lambda x, w: x @ w.T)
    y = y * attributes.get("alpha", 1.0)
    bias = inputs[2] if len(inputs) > 2 else None
    return np.asarray(y if bias is None else y + attributes.get("beta", 1.0) * bias)


def _matmul(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    return _linear(run, node, inputs[1].T, lambda x, w: x @ w.T)


# --- quantisers -------------------------------------------------------------------------------------------


def _axis(parameter: Any, ndim: int, axis: int) -> Values:
    parameter = np.asarray(parameter)
    if parameter.size == 1:
        return np.asarray(parameter.reshape(()))
    return np.asarray(parameter.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)]))


def _quantize(attributes: Attributes, inputs: list[Any]) -> Values:
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.uint8(0)
    axis = attributes.get("axis", 1)
    scale, zero = _axis(inputs[1], inputs[0].ndim, axis), _axis(zero, inputs[0].ndim, axis)
    limits = np.iinfo(zero.dtype)
    integers = np.rint(inputs[0] / scale) + zero.astype(np.float64)
    return np.asarray(np.clip(integers, limits.min, limits.max).astype(zero.dtype))


def _dequantize(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    axis = attributes.get("axis", 1)
    scale = _axis(inputs[1], inputs[0].ndim, axis)
    zero = _axis(inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.int8(0), inputs[0].ndim, axis)
    counts = inputs[0].astype(np.float64) - zero.astype(np.float64)
    if scale.ndim == 0:
        run.scales[node.output[0]] = float(scale)
    return np.asarray(counts * scale)


def _nearest(values: Values, towards: int) -> Values:
    """Round to the nearest integer, halves away from zero (1) or towards it (-1)."""
    magnitude = np.abs(values)
    whole = np.floor(magnitude)
    rest = magnitude - whole
    return np.asarray(np.copysign(whole + ((rest > 0.5) | ((rest == 0.5) & (towards > 0))), values))


def _round(mode: str, values: Values) -> Values:
    ways: dict[str, Callable[[Values], Values]] = {
        "ROUND": np.rint,
        "HALF_EVEN": np.rint,
        "HALF_UP": lambda v: _nearest(v, 1),
        "HALF_DOWN": lambda v: _nearest(v, -1),
        "CEIL": np.ceil,
        "FLOOR": np.floor,
        "UP": lambda v: np.copysign(np.ceil(np.abs(v)), v),
        "DOWN": np.trunc,
        "ROUND_TO_ZERO": np.trunc,
    }
    return np.asarray(ways[mode.upper()](values))


def _quant(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    x, scale, zero, bits = inputs
    b = int(np.asarray(bits).reshape(-1)[0])
    signed, narrow = attributes.get("signed", 1), attributes.get("narrow", 0)
    low, high = (-(2 ** (b - 1)) + narrow, 2 ** (b - 1) - 1) if signed else (0, 2**b - 1 - narrow)
    mode = attributes.get("rounding_mode", b"ROUND").decode()
    counts = _round(mode, np.clip(x / scale + zero, low, high)) - zero
    if np.size(scale) == 1:
        run.scales[node.output[0]] = float(np.asarray(scale).reshape(-1)[0])
    return np.asarray(counts * scale)


# --- the others -------------------------------------------------------------------------------------------


def _batch_norm(attributes: Attributes, inputs: list[Any]) -> Values:
    x, *parameters = inputs
    shape = (1, -1) + (1,) * (x.ndim - 2)
    scale, bias, mean, variance = (p.reshape(shape) for p in parameters)
    epsilon = attributes.get("epsilon", float(np.float32(1e-5)))
    return np.asarray((x - mean) / np.sqrt(variance + epsilon) * scale + bias)


def _clip(attributes: Attributes, inputs: list[Any]) -> Values:
    bounds = [*inputs[1:], None, None][:2]
    low = attributes.get("min", -np.inf) if bounds[0] is None else bounds[0]
    high = attributes.get("max", np.inf) if bounds[1] is None else bounds[1]
    return np.asarray(np.minimum(np.maximum(inputs[0], low), high).astype(inputs[0].dtype))


def _windows(x: Values, attributes: Attributes, fill: float) -> Values:
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    pads = np.reshape(_pads(attributes, x.shape[2:], kernel, strides, [1, 1]), (2, 2))
    starts = []
    for axis in (0, 1):
        most = x.shape[2 + axis] + pads[:, axis].sum() - kernel[axis]
        number = (-(-most // strides[axis]) if attributes.get("ceil_mode", 0) else most // strides[axis]) + 1
        at = np.arange(number) * strides[axis]
        starts.append(at[at < x.shape[2 + axis] + pads[0, axis]])
    more = [max(0, int(at[-1]) + kernel[i] - x.shape[2 + i] - int(pads[0, i])) for i, at in enumerate(starts)]
    edges = [(0, 0), (0, 0), *((int(pads[0, i]), more[i]) for i in (0, 1))]
    padded = np.pad(x.astype(np.float64), edges, constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel), axis=(2, 3))
    return view[:, :, starts[0]][:, :, :, starts[1]]


def _max_pool(attributes: Attributes, inputs: list[Any]) -> Values:
    pooled = _windows(inputs[0], attributes, -np.inf).max(axis=(4, 5))
    return np.asarray(pooled.astype(inputs[0].dtype))


def _mean(
    run: Evaluation, node: onnx.NodeProto, windows: Values, number: Any, axes: tuple[int, ...]
) -> Values:
    """Return averages; of counts times s they are s S / n, as of a layer of ones."""
    scale = run.scales.get(node.input[0])
    if scale is None:
        return np.asarray(windows.sum(axis=axes) / number)
    return np.asarray(scale * np.rint(windows / scale).sum(axis=axes) / number)


def _average_pool(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    counted = np.ones_like(inputs[0])
    number = _windows(counted, attributes, float(attributes.get("count_include_pad", 0))).sum(axis=(4, 5))
    return _mean(run, node, _windows(inputs[0], attributes, 0.0), number, (4, 5))


def _global_average(
    run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]
) -> Values:
    number = int(np.prod(inputs[0].shape[2:]))
    return _mean(run, node, inputs[0], number, (2, 3))[:, :, None, None]


def _reduce_mean(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    axes = tuple(int(a) % inputs[0].ndim for a in axes_of(inputs, attributes))
    mean = _mean(run, node, inputs[0], int(np.prod([inputs[0].shape[a] for a in axes])), axes)
    return np.expand_dims(mean, axes) if attributes.get("keepdims", 1) else mean


def _classes(run: Evaluation, node: onnx.NodeProto, attributes: Attributes, inputs: list[Any]) -> Values:
    """Leave out what writes the output and changes no order of classes, as `docs/reference/truth.md` says."""
    x = inputs[0]
    several = x.ndim == 2 and x.shape[1] > 1
    if node.output[0] == run.output and several and attributes.get("axis", 1) in (1, -1):
        return np.asarray(x)
    if node.op_type == "Sigmoid":
        return np.asarray(1.0 / (1.0 + np.exp(-x)))
    result = softmax(attributes, inputs, run.opset)
    return result if node.op_type == "Softmax" else np.log(result)


def _split(run: Evaluation, node: onnx.NodeProto) -> None:
    attributes: Attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    x, axis = run.values[node.input[0]], attributes.get("axis", 0)
    sizes = run.values[node.input[1]] if len(node.input) > 1 else attributes.get("split")
    if sizes is None:
        each = -(-x.shape[axis] // len(node.output))
        sizes = [each] * (len(node.output) - 1)
    parts = np.split(x, np.cumsum(sizes)[: len(node.output) - 1].astype(int), axis)
    run.values.update(zip(node.output, parts, strict=True))


def _constant(attributes: Attributes, inputs: list[Any]) -> Values:
    ((key, value),) = attributes.items()
    return _wide(numpy_helper.to_array(value) if key == "value" else np.asarray(value))


def _cast(attributes: Attributes, inputs: list[Any]) -> Values:
    return np.asarray(inputs[0]).astype(_TYPES.get(attributes["to"], np.float64))


_OPERATIONS: dict[str, Operation] = {
    "ArgMax": _classes,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "IntQuant": _quant,
    "LogSoftmax": _classes,
    "MatMul": _matmul,
    "Quant": _quant,
    "ReduceMean": _reduce_mean,
    "Sigmoid": _classes,
    "Softmax": _classes,
}
"""Operators that look at the scale of what they read, or give one."""

_WITH_ATTRIBUTES: dict[str, Callable[[Attributes, list[Any]], Values]] = {
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Constant": _constant,
    "MaxPool": _max_pool,
    "QuantizeLinear": _quantize,
}

_PLAIN: dict[str, Callable[[list[Any]], Any]] = {
    "Add": lambda x: np.asarray(x[0] + x[1]),
    "Div": lambda x: np.asarray(x[0] / x[1]),
    "Dropout": lambda x: x[0],
    "Max": lambda x: np.maximum(x[0], x[1]),
    "Min": lambda x: np.minimum(x[0], x[1]),
    "Neg": lambda x: -x[0],
    "Round": lambda x: np.rint(x[0]),
    "Sum": lambda x: np.asarray(sum(x[1:], start=x[0])),
    "Floor": lambda x: np.floor(x[0]),
    "Identity": lambda x: x[0],
    "Mul": lambda x: np.asarray(x[0] * x[1]),
    "Relu": lambda x: np.maximum(x[0], 0.0),
    "Sub": lambda x: np.asarray(x[0] - x[1]),
}
"""Operators of their inputs alone."""
