# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators that the host evaluates: functions of one number, softmax, reductions, parts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Operator, Step
from mapping.model.importers.onnx_layout import axes_of, reshaped
from mapping.model.importers.onnx_nearest import nearest_places
from mapping.model.network import make_node
from mapping.model.node import Attribute

__all__ = ["ANEW", "FUNCTION_RULES", "reduce", "softmax", "taken"]

ANEW = (
    "chooses the scale of its input anew for every sample, and a chip has fixed ones; quantise the float "
    "model with onnxruntime's quantize_static instead of quantize_dynamic, or give the float model"
)
"""What a sentence says of operators that quantise dynamically."""

Rule = Callable[[Operator, Graph], None]
Places = NDArray[np.int64]

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Defaults of alpha and gamma in the operator's specification."""


def _plain(operator: Operator, graph: Graph) -> None:
    operator.allow()
    graph.elementwise(operator, [("", operator.op, {}, {})])


def _with_alpha(default: float) -> Rule:
    def rule(operator: Operator, graph: Graph) -> None:
        operator.allow("alpha")
        alpha = operator.number("alpha", default)
        if operator.op == "Celu" and alpha == 0.0:
            raise operator.bad("has alpha = 0, by which it divides")
        graph.elementwise(operator, [("", operator.op, {"alpha": alpha}, {})])

    return rule


def _selu(operator: Operator, graph: Graph) -> None:
    operator.allow("alpha", "gamma")
    numbers: dict[str, Attribute] = {
        name: operator.number(name, default) for name, default in zip(("alpha", "gamma"), _SELU, strict=True)
    }
    graph.elementwise(operator, [("", "Selu", numbers, {})])


def _gelu(operator: Operator, graph: Graph) -> None:
    operator.allow("approximate")
    kind = operator.text("approximate", "none")
    if kind not in ("none", "tanh"):
        raise operator.bad(f"has approximate = {kind!r}, supported are 'none' and 'tanh'")
    graph.elementwise(operator, [("", "Gelu", {"approximate": kind}, {})])


def _hard_sigmoid(operator: Operator, graph: Graph) -> None:
    operator.allow("alpha", "beta")
    alpha = np.array(operator.number("alpha", float(np.float32(0.2))))
    beta = np.array(operator.number("beta", 0.5))
    steps: list[Step] = [
        (".alpha", "Mul", {}, {"value": alpha}),
        (".beta", "Add", {}, {"value": beta}),
        ("", "Clip", {"low": 0.0, "high": 1.0}, {}),
    ]
    graph.elementwise(operator, steps)


def _leaky_relu(operator: Operator, graph: Graph) -> None:
    operator.allow("alpha")
    slope = np.array(operator.number("alpha", float(np.float32(0.01))))
    graph.elementwise(operator, [("", "PRelu", {}, {"slope": slope})])


def _prelu(operator: Operator, graph: Graph) -> None:
    operator.allow()
    slope = _constant(operator, graph, 1, "slope")
    reading = replace(operator, inputs=operator.inputs[:1])
    value = graph.per_element(operator, slope, graph.view(reading, 0))
    graph.elementwise(reading, [("", "PRelu", {}, {"slope": value})])


def _pow(operator: Operator, graph: Graph) -> None:
    operator.allow()
    exponent = graph.constants[_constant(operator, graph, 1, "exponent")]
    if not exponent.size or (exponent != exponent.reshape(-1)[0]).any():
        raise operator.unknown("is supported only with one exponent")
    number: dict[str, Attribute] = {"exponent": float(exponent.reshape(-1)[0])}
    graph.elementwise(replace(operator, inputs=operator.inputs[:1]), [("", "Pow", number, {})])


def _constant(operator: Operator, graph: Graph, index: int, what: str) -> str:
    """Return the name of a numeric constant that an operator on elements reads."""
    if operator.inputs[index : index + 1] and graph.real(operator.inputs[index]):
        raise operator.unknown(f"needs a numeric constant as its {what}")
    value = graph.optional(operator, index)
    if value is None or value.dtype.kind not in "biuf":
        raise operator.bad(f"needs a numeric constant as its {what}")
    return operator.inputs[index]


def softmax(operator: Operator, graph: Graph, opset: int | None = None) -> None:
    """Translate a ``Softmax`` or ``LogSoftmax`` that is not left out.

    Before operator set 13 the axes from ``axis`` on are one; ``opset`` is the graph's if it is left out.
    """
    operator.allow("axis")
    shape = graph.shapes[graph.activation(operator, 0)]
    old = (graph.opset if opset is None else opset) < 13
    axis = operator.axis(1 if old else -1, len(shape) + 1)
    if axis == 0:
        raise operator.bad(f"has an axis that is not supported over an input of shape {shape}")
    if not old or axis == len(shape):
        graph.chain(operator, [("", operator.op, {"axis": axis - 1}, {})])
        return
    rows = shape[: axis - 1] and (math.prod(shape[: axis - 1]),)
    flat: Step = (".flat", "Reshape", {"shape": (*rows, math.prod(shape[axis - 1 :]))}, {})
    back: Step = (".shape", "Reshape", {"shape": shape}, {})
    graph.chain(operator, [flat, ("", operator.op, {"axis": len(rows)}, {}), back])


def reduce(operator: Operator, graph: Graph) -> None:
    """Translate a reduction over any axes but the batch's."""
    operator.allow("axes", "keepdims", "noop_with_empty_axes")
    operator.require("noop_with_empty_axes", 0)
    tensor = graph.activation(operator, 0)
    shape = graph.shapes[tensor]
    axes = axes_of(operator, graph, len(shape) + 1)
    if not axes or 0 in axes:
        ranged = graph.counted and operator.op in {"ReduceMax", "ReduceMin"}
        raise operator.bad(ANEW if ranged else "reduces the batch; export the model without it")
    attributes: dict[str, Attribute] = {
        "kind": operator.op.removeprefix("Reduce").lower(),
        "axes": tuple(axis - 1 for axis in axes),
    }
    if operator.integer("keepdims", 1):
        graph.chain(operator, [("", "Reduce", attributes, {})])
        return
    kept = f"{operator.outputs[0]}.kept"
    graph.chain(replace(operator, outputs=(kept,)), [("", "Reduce", attributes, {})])
    rest = tuple(size for axis, size in enumerate(shape, start=1) if axis not in axes)
    reshaped(replace(operator, inputs=(kept,)), graph, rest or (1,))


def taken(operator: Operator, graph: Graph, change: Callable[[Places], Places]) -> None:
    """Write a part of a tensor, or some of its elements several times."""
    view = graph.view(operator, 0)
    places = np.ascontiguousarray(change(view.places()))
    if not places.size:
        raise operator.bad("leaves nothing of its input")
    name = operator.outputs[0]
    shape: dict[str, Attribute] = {"shape": places.shape}
    order = {"order": places.reshape(-1).astype(np.float64)}
    graph.fresh(operator, name)
    graph.add(make_node(operator.name, "Take", [view.tensor], name, attributes=shape, constants=order))


def _integers(operator: Operator, graph: Graph, index: int, attribute: str) -> list[int] | None:
    """Return integers that are an input, or in older operator sets an attribute."""
    given = graph.optional(operator, index)
    value: Any = operator.attributes.get(attribute) if given is None else given.reshape(-1).tolist()
    if value is None:
        return None
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(number, int) for number in numbers):
        raise operator.bad(f"has {attribute} that are no integers")
    return numbers


def _slice(operator: Operator, graph: Graph) -> None:
    operator.allow("axes", "ends", "starts")
    rank = len(graph.view(operator, 0).shape) + 1
    starts = _integers(operator, graph, 1, "starts") or []
    ends = _integers(operator, graph, 2, "ends") or []
    axes = _integers(operator, graph, 3, "axes") or list(range(len(starts)))
    steps = _integers(operator, graph, 4, "steps") or [1] * len(starts)
    behind = all(-rank <= axis < rank and axis % rank for axis in axes)
    if not len(starts) == len(ends) == len(axes) == len(steps) or not behind or 0 in steps:
        raise operator.unknown("is supported only with a start, an end and a step for axes behind the batch")
    cut = [slice(None)] * (rank - 1)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = graph.view(operator, 0).shape[axis % rank - 1]
        below = end < -size and step < 0  # the first element is included, which numpy writes as None
        cut[axis % rank - 1] = slice(start, None if below else end, step)
    taken(operator, graph, lambda places: places[tuple(cut)])


def _split(operator: Operator, graph: Graph) -> None:
    operator.allow("axis", "num_outputs", "split")
    shape = graph.view(operator, 0).shape
    axis = operator.axis(0, len(shape) + 1)
    if axis == 0:
        raise operator.bad("splits the batch; supported are axes behind it")
    number, size = len(operator.outputs), shape[axis - 1]
    each = -(-size // number)
    sizes = _integers(operator, graph, 1, "split") or [min(each, size - i * each) for i in range(number)]
    if len(sizes) != number or sum(sizes) != size or min(sizes) < 1:
        raise operator.bad(f"splits {size} elements into parts of {sizes}")
    ends = np.cumsum(sizes).tolist()
    for index, (output, end) in enumerate(zip(operator.outputs, ends, strict=True)):
        part = np.arange(end - sizes[index], end)
        name = f"{operator.name}.{index}"
        taken(
            replace(operator, name=name, outputs=(output,)),
            graph,
            lambda places, part=part: places.take(part, axis - 1),  # type: ignore[misc]
        )


def _strided(operator: Operator, graph: Graph) -> tuple[str, Places] | None:
    """Return what is taken of each sample by places in the whole batch, as PyTorch writes ``as_strided``.

    The batch is made a vector first, which only the host has for this operator to read.
    """
    made = next((node for node in graph.nodes if node.output == operator.inputs[0]), None)
    if made is None or made.attributes.get("operator") != "Reshape" or not graph.real(made.inputs[0]):
        return None
    index, size = graph.optional(operator, 1), math.prod(graph.shapes[made.inputs[0]])
    batch = graph.batch or 1
    if index is None or index.dtype.kind not in "iu" or index.ndim < 2 or len(index) != batch:
        return None
    rows = index.astype(np.int64) - size * np.arange(batch).reshape(-1, *[1] * (index.ndim - 1))
    inside = graph.shapes[made.output] == (size,) and rows.min() >= 0 and rows.max() < size
    return (made.inputs[0], rows[0]) if inside and (rows == rows[:1]).all() else None


def _gather(operator: Operator, graph: Graph) -> None:
    operator.allow("axis")
    if operator.inputs[0] in graph.whole and operator.integer("axis", 0) == 0:
        strided = _strided(operator, graph)
        if strided is not None:
            reading = replace(operator, inputs=(strided[0],))
            taken(reading, graph, lambda places: places.reshape(-1)[strided[1]])
            return
    shape = graph.view(operator, 0).shape
    index = graph.optional(operator, 1)
    axis = operator.axis(0, len(shape) + 1)
    if axis == 0 or index is None or index.dtype.kind not in "iu":
        raise operator.unknown("is supported only with constant indices along an axis behind the batch")
    if index.size and (index.min() < -shape[axis - 1] or index.max() >= shape[axis - 1]):
        raise operator.bad(f"reads an element beyond the {shape[axis - 1]} of its input")
    taken(operator, graph, lambda places: places.take(index.astype(np.int64), axis - 1))


def _resize(operator: Operator, graph: Graph) -> None:
    """Translate a change of size that repeats elements or leaves some out."""
    operator.allow(
        "antialias",
        "axes",
        "coordinate_transformation_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
        "keep_aspect_ratio_policy",
        "mode",
        "nearest_mode",
        "scales",
    )
    shape = (1, *graph.view(operator, 0).shape)
    factors = _factors(operator, graph, shape)
    whole = len(factors) == len(shape) and all(f >= 1 and f == int(f) for f in factors)
    mode = operator.text("coordinate_transformation_mode", "half_pixel")
    nearest = operator.text("nearest_mode", "round_prefer_floor")
    same = (mode, nearest) in {
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
        ("asymmetric", "floor"),
    }
    old = operator.op == "Upsample"
    if operator.text("mode", "nearest") != "nearest":
        raise operator.unknown("is supported only as a repetition of elements")
    if not whole or factors[0] != 1 or not (same or old):
        order = nearest_places(operator, graph)
        taken(operator, graph, lambda places: places.reshape(-1)[order])
        return

    def enlarge(places: Places) -> Places:
        for axis, factor in enumerate(factors[1:]):
            places = places.repeat(int(factor), axis)
        return places

    taken(operator, graph, enlarge)


def _factors(operator: Operator, graph: Graph, shape: Sequence[int]) -> list[float]:
    index = 1 if operator.op == "Upsample" or len(operator.inputs) == 2 else 2
    scales = graph.optional(operator, index)
    if scales is not None and scales.size:
        return [float(f) for f in scales.reshape(-1)]
    given = operator.attributes.get("scales")
    if isinstance(given, tuple):
        return list(given)
    sizes = graph.optional(operator, 3)
    if sizes is None or sizes.size != len(shape):
        return []
    return [1.0, *(float(n) / m for n, m in zip(sizes.reshape(-1)[1:], shape[1:], strict=True))]


FUNCTION_RULES: Mapping[str, Rule] = {
    "Abs": _plain,
    "Ceil": _plain,
    "Celu": _with_alpha(1.0),
    "Elu": _with_alpha(1.0),
    "Erf": _plain,
    "Exp": _plain,
    "Gather": _gather,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain,
    "LeakyRelu": _leaky_relu,
    "Mish": _plain,
    "PRelu": _prelu,
    "Pow": _pow,
    "ReduceSum": reduce,
    "Resize": _resize,
    "Selu": _selu,
    "Sign": _plain,
    "Slice": _slice,
    "Softplus": _plain,
    "Softsign": _plain,
    "Split": _split,
    "Sqrt": _plain,
    "Swish": _with_alpha(1.0),
    "Tanh": _plain,
    "ThresholdedRelu": _with_alpha(1.0),
    "Upsample": _resize,
}
"""Operators by name; those that a layer on the chip may have behind it become other operations here."""
