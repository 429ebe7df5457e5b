# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX operators that weave a map of several: transposed convolutions, channels moved to space.

A transposed convolution with a stride of s writes s x s maps, its *phases*, one between the other. Each is a
convolution of its own, so that one convolution with s x s times the channels gives them all.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_functions import taken
from mapping.model.importers.onnx_graph import Graph, Operator, Step
from mapping.model.importers.onnx_transposed import ends_of
from mapping.model.importers.onnx_windows import of_rows
from mapping.model.node import MAX_ELEMENTS, Attribute, Shape

__all__ = ["conv_transpose", "depth_to_space", "space_to_depth"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """One axis of a transposed convolution.

    ``taps`` are the taps of the kernel in steps of the input, ``pads`` the zeros before and behind the input
    with which the phases are convolved, and ``phase`` and ``place`` of each output where its value is.
    """

    phases: int
    taps: int
    pads: tuple[int, int]
    phase: Integers
    place: Integers


@of_rows
def conv_transpose(operator: Operator, graph: Graph) -> None:
    """Translate a ``ConvTranspose`` into a convolution that gives all phases, and their places."""
    operator.allow(
        *("auto_pad", "dilations", "group", "kernel_shape", "output_padding"),
        *("output_shape", "pads", "strides"),
    )
    shape = graph.view(operator, 0).shape
    if len(operator.inputs) < 2 or operator.inputs[1] not in graph.constants or len(shape) != 3:
        raise operator.unknown("is supported only with constant weights, on maps and rows")
    weight, groups = graph.parameter(operator, 1, ndim=4), operator.integer("group", 1)
    if groups < 1 or len(weight) != shape[0] or len(weight) % groups:
        raise operator.bad(
            f"has weights of shape {weight.shape} in {groups} groups for an input of shape {shape}"
        )
    axes = _axes(operator, shape[1:], weight.shape[2:])
    kernels = _kernels(operator, weight, groups, axes)
    (rows, columns), outputs = axes, groups * weight.shape[1]
    attributes: dict[str, Attribute] = {
        "stride": (1, 1),
        "dilation": (1, 1),
        "pads": (rows.pads[0], columns.pads[0], rows.pads[1], columns.pads[1]),
        "groups": groups,
    }
    steps: list[Step] = [("", "Conv", attributes, {"weight": kernels})]
    if graph.optional(operator, 2) is not None:
        bias = graph.parameter(operator, 2, ndim=1)
        if bias.size != outputs:
            raise operator.bad(f"has a bias of shape {bias.shape} and weights for {outputs} outputs")
        steps.append((".bias", "Add", {}, {"value": np.repeat(bias, len(kernels) // outputs)}))
    woven = f"{operator.outputs[0]}.phases"
    graph.chain(replace(operator, outputs=(woven,)), steps)
    _weave(replace(operator, name=f"{operator.name}.places", inputs=(woven,)), graph, axes)


def _axes(operator: Operator, sizes: Shape, kernel: Shape) -> tuple[_Axis, _Axis]:
    stride, dilation = operator.integers("strides", (1, 1)), operator.integers("dilations", (1, 1))
    more = operator.integers("output_padding", (0, 0))
    if min(*stride, *dilation) < 1 or min(more) < 0:
        raise operator.bad("has a stride or dilation below 1 or a negative output_padding")
    whole = [
        s * (n - 1) + (k - 1) * d + 1 + m
        for s, n, k, d, m in zip(stride, sizes, kernel, dilation, more, strict=True)
    ]
    ends = ends_of(operator.attributes, sizes, stride, whole)
    if len(ends[0]) != 2 or len(ends[1]) != 2:
        raise operator.bad("has pads or an output_shape for another number of axes")
    first, second = (
        _axis(operator, sizes[i], (kernel[i], stride[i], dilation[i]), (ends[0][i], whole[i] - ends[1][i]))
        for i in (0, 1)
    )
    return first, second


def _axis(operator: Operator, size: int, window: tuple[int, int, int], span: tuple[int, int]) -> _Axis:
    """Return an axis whose outputs are the sums from the first place of ``span`` to before its last."""
    (kernel, stride, dilation), (first, end) = window, span
    if not first < end <= first + MAX_ELEMENTS:
        raise operator.unknown(f"has {end - first} places along an axis of its output")
    place, phase = np.divmod(np.arange(first, end), stride)
    reach = (kernel - 1) * dilation // stride
    before = reach - int(place[0])
    skipped = max(0, -before)  # sums that no output is
    behind = max(0, int(place[-1]) - (size - 1))
    return _Axis(
        phases=stride,
        taps=reach + 1,
        pads=(max(0, before), behind),
        phase=phase,
        place=place - int(place[0]) + skipped,
    )


def _kernels(
    operator: Operator, weight: NDArray[np.float64], groups: int, axes: tuple[_Axis, _Axis]
) -> NDArray[np.float64]:
    """Return the weights (outputs x phases, inputs of a group, taps) of all phases."""
    each, outputs = len(weight) // groups, groups * weight.shape[1]
    (rows, columns), dilation = axes, operator.integers("dilations", (1, 1))
    size = (rows.taps, columns.taps)
    if outputs * rows.phases * columns.phases * each * math.prod(size) > MAX_ELEMENTS:
        raise operator.unknown(f"has more than {MAX_ELEMENTS} weights in its phases")
    turned = weight.reshape(groups, each, weight.shape[1], *weight.shape[2:]).swapaxes(1, 2)
    turned = turned.reshape(outputs, each, *weight.shape[2:])
    kernels = np.zeros((outputs, rows.phases, columns.phases, each, *size))
    for y, x in np.ndindex(*weight.shape[2:]):
        down, top = divmod(y * dilation[0], rows.phases)
        across, left = divmod(x * dilation[1], columns.phases)
        kernels[:, top, left, :, size[0] - 1 - down, size[1] - 1 - across] = turned[:, :, y, x]
    return kernels.reshape(-1, each, *size)


def _weave(operator: Operator, graph: Graph, axes: tuple[_Axis, _Axis]) -> None:
    """Put the outputs of all phases where they belong."""
    channels, height, width = graph.view(operator, 0).shape
    rows, columns = axes
    maps = np.arange(channels).reshape(-1, rows.phases, columns.phases)
    chosen = maps[:, rows.phase[:, None], columns.phase]
    order = (chosen * height + rows.place[:, None]) * width + columns.place
    if np.array_equal(order.reshape(-1), np.arange(channels * height * width)):
        graph.alias(operator)
    elif order.size == channels * height * width:
        graph.define_view(operator, graph.view(operator, 0).tensor, order)
    else:
        taken(operator, graph, lambda places: places.reshape(-1)[order])


def _blocks(operator: Operator, graph: Graph, *others: str) -> tuple[Shape, int]:
    operator.allow("blocksize", *others)
    shape, size = graph.view(operator, 0).shape, operator.integer("blocksize", 0)
    if len(shape) != 3 or size < 1:
        raise operator.bad(f"has blocks of {size} x {size} for an input of shape {shape}")
    return shape, size


def depth_to_space(operator: Operator, graph: Graph) -> None:
    """Translate a ``DepthToSpace``: every channel of a block becomes one of its places."""
    (channels, height, width), size = _blocks(operator, graph, "mode")
    mode = operator.text("mode", "DCR")
    if channels % size**2 or mode not in ("DCR", "CRD"):
        raise operator.bad(f"has mode = {mode!r} and blocks of {size} x {size} for {channels} channels")
    view, rest = graph.view(operator, 0), channels // size**2
    split = (size, size, rest) if mode == "DCR" else (rest, size, size)
    places = view.places().reshape(*split, height, width)
    order = (2, 3, 0, 4, 1) if mode == "DCR" else (0, 3, 1, 4, 2)
    places = places.transpose(order).reshape(rest, height * size, width * size)
    graph.define_view(operator, view.tensor, places)


def space_to_depth(operator: Operator, graph: Graph) -> None:
    """Translate a ``SpaceToDepth``: every place of a block becomes a channel."""
    (channels, height, width), size = _blocks(operator, graph)
    if height % size or width % size:
        raise operator.bad(f"has blocks of {size} x {size} on a map of {height} x {width}")
    view = graph.view(operator, 0)
    places = view.places().reshape(channels, height // size, size, width // size, size)
    places = places.transpose(2, 4, 0, 1, 3).reshape(-1, height // size, width // size)
    graph.define_view(operator, view.tensor, places)
