# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators that look through windows: convolutions and pools.

An average is a convolution by ones and a division, so that it may run on the chip.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_functions import reduce
from mapping.model.importers.onnx_graph import Graph, Operator, Step
from mapping.model.importers.onnx_layout import axes_of, reshaped, transposed
from mapping.model.node import MAX_ELEMENTS, Attribute, Shape

Integers = NDArray[np.int64]

__all__ = [
    "average_pool",
    "average_sums",
    "conv",
    "global_average",
    "global_max",
    "max_pool",
    "of_rows",
    "ones",
    "pads_of",
    "reduce_map",
]


def pads_of(operator: Operator, shape: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    """Return the pads in ONNX's order, all begins before all ends: top, left, bottom, right of a map."""
    none = (0,) * (2 * len(kernel))
    mode = operator.attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return operator.integers("pads", none)
    if mode == "VALID":
        return none
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
        raise operator.unknown(f"needs an input of shape (channels, height, width), not {shape}")
    return shape


_WIDENED = {
    "dilations": (1,),
    "kernel_shape": (1,),
    "output_padding": (0,),
    "output_shape": (1,),
    "pads": (0,),
    "strides": (1,),
}
"""What the attributes of an operator on a row say of the height, at the beginning of it."""


def of_rows(rule: Callable[[Operator, Graph], None]) -> Callable[[Operator, Graph], None]:
    """Let a rule for maps translate an operator on rows too, as one on maps of height 1."""

    def translate(operator: Operator, graph: Graph) -> None:
        shape = graph.view(operator, 0).shape
        if len(shape) != 2:
            rule(operator, graph)
            return
        output = operator.outputs[0]
        row, mapped = f"{output}.row", f"{output}.map"
        attributes = {key: _widened(key, value) for key, value in operator.attributes.items()}
        inputs = [row, *operator.inputs[1:]]
        weight = graph.optional(operator, 1)
        if weight is not None and weight.ndim == 3:
            inputs[1] = f"{output}.weight"
            graph.constants[inputs[1]] = weight[:, :, None]
        reading = replace(operator, name=f"{operator.name}.row", outputs=(row,))
        reshaped(reading, graph, (shape[0], 1, shape[1]))
        outputs = (mapped, *operator.outputs[1:])
        rule(replace(operator, inputs=tuple(inputs), outputs=outputs, attributes=attributes), graph)
        reading = replace(operator, name=f"{operator.name}.column", inputs=(mapped,), outputs=(output,))
        channels, _, length = graph.view(reading, 0).shape
        reshaped(reading, graph, (channels, length))

    return translate


def _widened(key: str, value: object) -> object:
    if key not in _WIDENED or not isinstance(value, tuple):
        return value
    parts = (value[: len(value) // 2], value[len(value) // 2 :]) if key == "pads" else (value,)
    return tuple(number for part in parts for number in (*_WIDENED[key], *part))


@of_rows
def conv(operator: Operator, graph: Graph) -> None:
    """Translate a ``Conv``."""
    operator.allow("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    shape, weight = _map_shape(operator, graph), graph.parameter(operator, 1, ndim=4)
    kernel = operator.integers("kernel_shape", weight.shape[2:])
    if kernel != weight.shape[2:]:
        raise operator.bad(f"has kernel_shape {kernel} but weights of shape {weight.shape}")
    stride, dilation = operator.integers("strides", (1, 1)), operator.integers("dilations", (1, 1))
    attributes: dict[str, Attribute] = {
        "stride": stride,
        "dilation": dilation,
        "pads": pads_of(operator, shape, kernel, stride, dilation),
        "groups": operator.integer("group", 1),
    }
    steps: list[Step] = [("", "Conv", attributes, {"weight": weight})]
    if graph.optional(operator, 2) is not None:
        bias, outputs = graph.parameter(operator, 2, ndim=1), len(weight)
        if bias.size not in (1, outputs):
            raise operator.bad(
                f"has a bias of shape {bias.shape} and weights for {outputs} outputs; give each output one"
            )
        steps.append((".bias", "Add", {}, {"value": bias}))
    graph.chain(operator, steps)


def _ceiled(operator: Operator, shape: Shape, kernel: Shape, stride: Shape, pads: Shape) -> Shape:
    """Return the pads with which a pool has the windows that ceil_mode adds; none begins in the padding."""
    if not operator.integer("ceil_mode", 0):
        return pads
    more = []
    for size, k, s, begin, end in zip(shape[1:], kernel, stride, pads[:2], pads[2:], strict=True):
        last = -(-(size + begin + end - k) // max(1, s))
        last -= last * s >= size + begin
        more.append(end + max(0, last * s + k - (size + begin + end)))
    return (*pads[:2], *more)


@of_rows
def max_pool(operator: Operator, graph: Graph) -> None:
    """Translate a ``MaxPool``."""
    operator.allow("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides")
    if any(operator.outputs[1:]):
        raise operator.unknown("has an output of indices, which is not supported")
    shape, kernel = _map_shape(operator, graph), operator.integers("kernel_shape", (0, 0))
    stride, dilation = operator.integers("strides", (1, 1)), operator.integers("dilations", (1, 1))
    wide = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    pads = pads_of(operator, shape, kernel, stride, dilation)
    pads = _ceiled(operator, shape, wide, stride, pads)
    if dilation == (1, 1):
        graph.chain(operator, [("", "MaxPool", {"kernel": kernel, "stride": stride, "pads": pads}, {})])
        return
    if min(*kernel, *stride, *dilation) < 1 or min(pads) < 0:
        raise operator.bad("has a kernel, stride or dilation below 1 or a negative pad")
    rows, columns = (
        _taps(operator, shape[i + 1], (kernel[i], stride[i], dilation[i]), (pads[i], pads[i + 2]))
        for i in (0, 1)
    )
    windows = (shape[0], len(rows), len(columns))
    if math.prod(windows) > MAX_ELEMENTS:
        raise operator.unknown(f"has {math.prod(windows)} elements in its windows, above {MAX_ELEMENTS}")
    channels = np.arange(shape[0])[:, None, None] * shape[1] * shape[2]
    order = (channels + rows[:, None] * shape[2] + columns).reshape(-1).astype(np.float64)
    apart: Step = (".windows", "Take", {"shape": windows}, {"order": order})
    pool: dict[str, Attribute] = {"kernel": kernel, "stride": kernel, "pads": (0, 0, 0, 0)}
    graph.chain(operator, [apart, ("", "MaxPool", pool, {})])


def _taps(operator: Operator, size: int, window: tuple[int, int, int], pads: tuple[int, int]) -> Integers:
    """Return the places along one axis that the windows of a dilated pool read, one window after the other.

    The first place inside the map stands for those in the padding: it changes no maximum.
    """
    kernel, stride, dilation = window
    first = np.arange(0, size + sum(pads) - (kernel - 1) * dilation, stride) - pads[0]
    at = first[:, None] + np.arange(kernel) * dilation
    inside = (at >= 0) & (at < size)
    if not len(at) or not inside.any(axis=1).all():
        raise operator.bad(f"has a window outside its input of {size} elements along one axis")
    return np.where(inside, at, at[np.arange(len(at)), inside.argmax(axis=1)][:, None]).reshape(-1)


def ones(channels: int, kernel: Shape, stride: Shape, pads: Shape) -> Step:
    """Return the convolution that sums every window of every channel."""
    attributes: dict[str, Attribute] = {
        "stride": stride,
        "dilation": (1, 1),
        "pads": pads,
        "groups": channels,
    }
    return ("", "Conv", attributes, {"weight": np.ones((channels, 1, *kernel))})


def _mean(operator: Operator, graph: Graph, kernel: Shape, stride: Shape, pads: Shape) -> None:
    """Write sums and a division; the mean of one value is the value."""
    if (*kernel, *stride, *pads) == (1, 1, 1, 1, 0, 0, 0, 0):
        graph.alias(operator)
        return
    channels, number = _map_shape(operator, graph)[0], math.prod(kernel)
    if number < 1:
        raise operator.bad(f"has a kernel of shape {kernel}")
    power = math.frexp(number)[0] == 0.5
    divide: Step = (
        ".mean",
        "Mul" if power else "Div",
        {},
        {"value": np.array(1 / number if power else number)},
    )
    graph.chain(operator, [ones(channels, kernel, stride, pads), divide])


def average_sums(operator: Operator, graph: Graph) -> int | None:
    """Append the sums of windows and return the number of their elements; None if that is not one number."""
    shape = _map_shape(operator, graph)
    if operator.op == "GlobalAveragePool":
        operator.allow()
        graph.chain(operator, [ones(shape[0], shape[1:], (1, 1), (0, 0, 0, 0))])
        return math.prod(shape[1:])
    operator.allow("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
    kernel, stride = operator.integers("kernel_shape", (0, 0)), operator.integers("strides", (1, 1))
    pads = pads_of(operator, shape, kernel, stride, (1, 1))
    included = pads if operator.integer("count_include_pad", 0) else (0, 0, 0, 0)
    if _ceiled(operator, shape, kernel, stride, pads) != included:
        return None
    graph.chain(operator, [ones(shape[0], kernel, stride, pads)])
    return math.prod(kernel)


@of_rows
def average_pool(operator: Operator, graph: Graph) -> None:
    """Translate an ``AveragePool``: sums and a division, by fewer where a window crosses the border."""
    operator.allow(
        "auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"
    )
    if operator.integers("dilations", (1, 1)) != (1, 1):
        raise operator.unknown("has dilations, which are not supported")
    shape, kernel = _map_shape(operator, graph), operator.integers("kernel_shape", (0, 0))
    stride = operator.integers("strides", (1, 1))
    pads = pads_of(operator, shape, kernel, stride, (1, 1))
    ceiled = _ceiled(operator, shape, kernel, stride, pads)
    included = pads if operator.integer("count_include_pad", 0) else (0, 0, 0, 0)
    if min(kernel) < 1 or min(stride) < 1 or min(pads) < 0 or ceiled == included:
        _mean(operator, graph, kernel, stride, ceiled)
        return
    rows, columns = (
        _inside(
            shape[i + 1], kernel[i], stride[i], (ceiled[i], ceiled[i + 2]), (included[i], included[i + 2])
        )
        for i in (0, 1)
    )
    numbers = np.broadcast_to(np.outer(rows, columns), (shape[0], len(rows), len(columns)))
    divide: Step = (".mean", "Div", {}, {"value": numbers.astype(np.float64)})
    graph.chain(operator, [ones(shape[0], kernel, stride, ceiled), divide])


def _inside(size: int, kernel: int, stride: int, pads: Shape, included: Shape) -> Integers:
    """Return of every window along one axis how many elements count: the map's and the included pads'."""
    at = np.arange(0, size + sum(pads) - kernel + 1, stride) - pads[0]
    return np.minimum(at + kernel, size + included[1]) - np.maximum(at, -included[0])


@of_rows
def global_max(operator: Operator, graph: Graph) -> None:
    """Translate a ``GlobalMaxPool``."""
    operator.allow()
    kernel = _map_shape(operator, graph)[1:]
    attributes: dict[str, Attribute] = {"kernel": kernel, "stride": (1, 1), "pads": (0, 0, 0, 0)}
    graph.chain(operator, [("", "MaxPool", attributes, {})])


@of_rows
def global_average(operator: Operator, graph: Graph) -> None:
    """Translate a ``GlobalAveragePool``."""
    operator.allow()
    _mean(operator, graph, _map_shape(operator, graph)[1:], (1, 1), (0, 0, 0, 0))


def reduce_map(operator: Operator, graph: Graph) -> None:
    """Translate a reduction; over height and width, channels first or last, it is a pool."""
    operator.allow("axes", "keepdims", "noop_with_empty_axes")
    view, keep = graph.view(operator, 0), operator.integer("keepdims", 1)
    axes = axes_of(operator, graph, len(view.shape) + 1)
    if len(view.shape) != 3 or axes not in {(2, 3), (1, 2)}:
        reduce(operator, graph)
        return
    first, pooled = f"{operator.outputs[0]}.first", f"{operator.outputs[0]}.{operator.op[6:].lower()}"
    order = (0, 1, 2, 3) if axes == (2, 3) else (0, 3, 1, 2)
    transposed(replace(operator, outputs=(first,)), graph, order)
    reading = replace(operator, inputs=(first,), outputs=(pooled,))
    kernel = _map_shape(reading, graph)[1:]
    if operator.op == "ReduceMean":
        _mean(reading, graph, kernel, (1, 1), (0, 0, 0, 0))
    else:
        _extreme(reading, graph, kernel)
    reading = replace(operator, inputs=(pooled,))
    channels = graph.view(reading, 0).shape[0]
    shape = (channels, 1, 1) if axes == (2, 3) else (1, 1, channels)
    reshaped(reading, graph, shape if keep else (channels,))


def _extreme(operator: Operator, graph: Graph, kernel: Shape) -> None:
    """Write the largest value of every channel, or the smallest: the largest of the opposite ones."""
    attributes: dict[str, Attribute] = {"kernel": kernel, "stride": (1, 1), "pads": (0, 0, 0, 0)}
    steps: list[Step] = [("", "MaxPool", attributes, {})]
    if operator.op == "ReduceMin":
        turned: dict[str, NDArray[np.float64]] = {"value": np.array(-1.0)}
        steps = [(".negative", "Mul", {}, turned), *steps, (".positive", "Mul", {}, turned)]
    graph.chain(operator, steps)
