# SPDX-License-Identifier: Apache-2.0
"""The float network as trained: an acyclic graph of operations with constant parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mapping.errors import UnsupportedModelError

__all__ = [
    "ELEMENTWISE",
    "FUNCTIONS",
    "MAX_ELEMENTS",
    "OPERATIONS",
    "ROUNDINGS",
    "Network",
    "Node",
    "build_network",
    "infer_shape",
    "make_node",
]

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...]

FUNCTIONS = frozenset(
    {"Abs", "Ceil", "Celu", "Elu", "Erf", "Exp", "Gelu", "HardSwish", "Mish", "PRelu", "Pow", "Selu"}
    | {"Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"}
)
"""Functions of one number that networks use as activations; all but a rising ``PRelu`` need the host."""

ELEMENTWISE = FUNCTIONS | {
    "Add",
    "BatchNormalization",
    "Clip",
    "Div",
    "Floor",
    "Max",
    "Min",
    "Mul",
    "Quantise",
    "Relu",
    "Round",
}
"""Operations that treat every element alone, with parameters per tensor, per channel or per element."""

OPERATIONS = tuple(
    sorted(
        ELEMENTWISE
        | {
            "Concat",
            "Conv",
            "Dense",
            "Flatten",
            "Foreign",
            "LogSoftmax",
            "MaxPool",
            "Permute",
            "Reduce",
            "Reshape",
        }
        | {"Softmax", "Take"}
    )
)
"""Every operation a `Node` can have."""

ROUNDINGS = ("half_even", "half_up", "half_down", "ceil", "floor", "up", "down")
"""How a ``Quantise`` rounds. Up is away from zero and down is towards it, also for halves."""

MAX_ELEMENTS = 2**27
"""Largest activation of one image, in elements: a bound against hostile files, far above any real layer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One operation.

    ``attributes`` and ``constants`` by operation (float64 constants, C channels or features):

    - ``Conv``: ``stride`` (y, x), ``pads`` (top, left, bottom, right), ``dilation`` (y, x), ``groups``;
      ``weight`` (Cout, Cin / groups, kh, kw). No bias: a bias is an ``Add`` of its own.
    - ``Dense``: ``weight`` (out, in).
    - ``Add``, ``Mul``, ``Div``: ``value`` (), (C,) or the shape of the input. Without ``value`` they join
      their two inputs, as ``Max`` and ``Min`` do; an axis of size 1 is repeated as often as needed.
    - ``BatchNormalization``: ``epsilon``; ``scale``, ``bias``, ``mean``, ``variance``, each (C,).
    - ``Clip``: ``low``, ``high``, which may be infinite.
    - ``Quantise``: the integers ``low``, ``high``, and ``rounding``; ``scale``, ``zero_point``, each () or
      (C,). It gives (round(clip(x / scale + zero_point, low, high)) - zero_point) * scale.
    - ``MaxPool``: ``kernel``, ``stride``, ``pads`` as for ``Conv``.
    - ``Reshape``: ``shape`` without the batch dimension.
    - ``Permute``: ``shape``; ``order``, for each element of the output, the place of its value in the input,
      both flat.
    - ``Take``: the same, where ``order`` may leave out places and repeat them.
    - ``Concat``, ``LogSoftmax``, ``Softmax``: ``axis``, not counting the batch.
    - ``Reduce``: ``kind`` (``mean``, ``sum``, ``max`` or ``min``), and ``axes``, ascending and not counting
      the batch, which keep the size 1.
    - ``Celu``, ``Elu``, ``Swish``, ``ThresholdedRelu``: ``alpha``. ``Selu``: ``alpha``, ``gamma``. ``Pow``:
      ``exponent``. ``Gelu``: ``approximate`` (``none`` or ``tanh``). ``PRelu``: constant ``slope``, as
      ``value`` above, the factor of negative values; a LeakyRelu is one.
    - ``Foreign``: an ``operator`` that only ONNX knows, see `mapping.model.importers.onnx_reference`; its
      ``shape``, and ``work``, its multiply-adds, if they are known.
    - ``Flatten``, ``Floor``, ``Relu``, ``Round`` (halves to even), all other functions: none.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute]
    constants: Mapping[str, NDArray[np.float64]]

    def number(self, key: str) -> float:
        """Return a scalar attribute as a float."""
        return float(cast("int | float", self.attributes[key]))

    def text(self, key: str) -> str:
        """Return an attribute that is a word."""
        return cast("str", self.attributes[key])

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a tuple attribute."""
        return cast("tuple[int, ...]", self.attributes[key])

    def pair(self, key: str) -> tuple[int, int]:
        """Return an attribute of two integers (y, x)."""
        first, second = self.integers(key)
        return first, second

    def pads(self) -> tuple[int, int, int, int]:
        """Return the padding as top, left, bottom, right."""
        top, left, bottom, right = self.integers("pads")
        return top, left, bottom, right


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A trained network with one input and one output.

    ``nodes`` are in topological order and all of them are needed for ``output``. ``shapes`` gives the shape
    of every tensor without the batch dimension.
    """

    name: str
    input: str
    output: str
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]

    def producer(self, tensor: str) -> Node | None:
        """Return the node that writes a tensor, or None for the graph input."""
        return next((node for node in self.nodes if node.output == tensor), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, in topological order."""
        return tuple(node for node in self.nodes if tensor in node.inputs)


def make_node(
    name: str,
    op: str,
    inputs: Sequence[str],
    output: str,
    *,
    attributes: Mapping[str, Attribute] | None = None,
    constants: Mapping[str, NDArray[np.float64]] | None = None,
) -> Node:
    """Build a `Node` whose constants are read-only float64 copies.

    Raises
    ------
    ValueError
        If ``op`` is not one of `OPERATIONS`.
    """
    if op not in OPERATIONS:
        raise ValueError(f"op must be one of {', '.join(OPERATIONS)}, not {op!r}")
    frozen = {}
    for key, value in (constants or {}).items():
        frozen[key] = np.array(value, dtype=np.float64, order="C")
        frozen[key].flags.writeable = False
    return Node(
        name=name,
        op=op,
        inputs=tuple(inputs),
        output=output,
        attributes=MappingProxyType(dict(attributes or {})),
        constants=MappingProxyType(frozen),
    )


def _bad(node: Node, problem: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"Node {node.name!r} ({node.op}) {problem}.")


def _window_shape(
    node: Node, shape: Shape, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    stride, (top, left, bottom, right) = node.pair("stride"), node.pads()
    if min(kernel + stride + dilation) < 1 or min(top, left, bottom, right) < 0:
        raise _bad(node, "has a kernel, stride or dilation below 1 or a negative pad")
    sizes = []
    for size, pad, k, s, d in zip(
        shape[1:], (top + bottom, left + right), kernel, stride, dilation, strict=True
    ):
        span = size + pad - (k - 1) * d - 1
        if span < 0:
            raise _bad(node, f"has a kernel larger than its padded input of shape {shape}")
        sizes.append(span // s + 1)
    return sizes[0], sizes[1]


def _conv_shape(node: Node, shape: Shape) -> Shape:
    weight, groups = node.constants["weight"], int(node.number("groups"))
    if len(shape) != 3:
        raise _bad(node, f"needs an input of shape (channels, height, width), not {shape}")
    if groups < 1 or shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise _bad(
            node, f"has weights of shape {weight.shape} in {groups} groups for an input of shape {shape}"
        )
    kernel = (weight.shape[2], weight.shape[3])
    return (weight.shape[0], *_window_shape(node, shape, kernel, node.pair("dilation")))


def _pool_shape(node: Node, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise _bad(node, f"needs an input of shape (channels, height, width), not {shape}")
    (kh, kw), (top, left, bottom, right) = node.pair("kernel"), node.pads()
    if max(top, bottom) >= kh or max(left, right) >= kw:
        raise _bad(node, "has pads that are not smaller than its kernel")
    return (shape[0], *_window_shape(node, shape, (kh, kw), (1, 1)))


def _dense_shape(node: Node, shape: Shape) -> Shape:
    weight = node.constants["weight"]
    if shape != (weight.shape[1],):
        raise _bad(node, f"has weights for {weight.shape[1]} features and an input of shape {shape}")
    return (weight.shape[0],)


def _reshape_shape(node: Node, shape: Shape) -> Shape:
    target = node.integers("shape")
    if min(target, default=1) < 1 or math.prod(target) != math.prod(shape):
        raise _bad(node, f"cannot reshape {shape} to {target}")
    return target


def _permute_shape(node: Node, shape: Shape) -> Shape:
    target, order = _reshape_shape(node, shape), node.constants["order"]
    if not np.array_equal(np.sort(order), np.arange(math.prod(shape))):
        raise _bad(node, "has an order that is no permutation of its input")
    return target


def _taken_shape(node: Node, shape: Shape) -> Shape:
    target, order = node.integers("shape"), node.constants["order"]
    places = math.prod(shape)
    whole = bool((order == np.rint(order)).all()) and order.shape == (math.prod(target),)
    if min(target, default=0) < 1 or not whole or order.min() < 0 or order.max() >= places:
        raise _bad(node, f"takes places that an input of shape {shape} does not have")
    return target


def _softmax_shape(node: Node, shape: Shape) -> Shape:
    if not 0 <= int(node.number("axis")) < len(shape):
        raise _bad(node, f"has an axis that an input of shape {shape} does not have")
    return shape


def _reduced_shape(node: Node, shape: Shape) -> Shape:
    axes = node.integers("axes")
    if not axes or list(axes) != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= len(shape):
        raise _bad(node, f"has axes {axes} for an input of shape {shape}")
    if node.text("kind") not in ("mean", "sum", "max", "min"):
        raise _bad(node, f"has the kind {node.text('kind')!r}")
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _concat_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = int(node.number("axis"))
    if not all(0 <= axis < len(shape) == len(shapes[0]) for shape in shapes) or any(
        shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for shape in shapes
    ):
        raise _bad(node, f"joins tensors of shapes {', '.join(map(str, shapes))} along axis {axis}")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


_JOINING = frozenset({"Add", "Div", "Max", "Min", "Mul"})
_BY_ELEMENT = frozenset({"slope", "value"})


def _elementwise_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    if len(shapes) > 1:
        return _joined_shape(node, shapes)
    for key, value in node.constants.items():
        full = (shapes[0],) if key in _BY_ELEMENT else ()
        if value.shape not in ((), shapes[0][:1], *full):
            raise _bad(node, f"has {key} of shape {value.shape} for an input of shape {shapes[0]}")
    if node.op == "BatchNormalization" and (node.constants["variance"] + node.number("epsilon") <= 0).any():
        raise _bad(node, "has a variance plus epsilon that is not above zero")
    if node.op == "Div" and (node.constants["value"] == 0).any():
        raise _bad(node, "divides by zero")
    if node.op == "Quantise":
        _check_quantiser(node)
    return shapes[0]


def _joined_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    first, second = shapes
    fits = len(first) == len(second) and node.op in _JOINING
    if not fits or any(m != n and 1 not in (m, n) for m, n in zip(first, second, strict=True)):
        raise _bad(node, f"joins tensors of different shapes {first} and {second}")
    return tuple(np.broadcast_shapes(first, second))


def _check_quantiser(node: Node) -> None:
    scale, low, high = node.constants["scale"], node.number("low"), node.number("high")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise _bad(node, f"has the scale {float(scale.min())}, which is not a number above zero")
    if not np.isfinite(node.constants["zero_point"]).all():
        raise _bad(node, "has a zero point that is NaN or infinite")
    if not (low < high and low.is_integer() and high.is_integer()):
        raise _bad(node, f"has the range {low:g}..{high:g}, which are not two ascending integers")
    if node.text("rounding") not in ROUNDINGS:
        raise _bad(node, f"rounds by {node.text('rounding')!r}, supported are {', '.join(ROUNDINGS)}")


def infer_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Return the output shape of a node, without the batch dimension, from the shapes of its inputs.

    Raises
    ------
    UnsupportedModelError
        If inputs and parameters do not fit, or the output exceeds `MAX_ELEMENTS`.
    """
    if node.op in ELEMENTWISE:
        return _elementwise_shape(node, shapes)
    if node.op == "Flatten":
        return (math.prod(shapes[0]),)
    rules = {
        "Conv": _conv_shape,
        "Dense": _dense_shape,
        "Foreign": lambda node, _: node.integers("shape"),
        "LogSoftmax": _softmax_shape,
        "MaxPool": _pool_shape,
        "Permute": _permute_shape,
        "Reduce": _reduced_shape,
        "Reshape": _reshape_shape,
        "Softmax": _softmax_shape,
        "Take": _taken_shape,
    }
    shape = _concat_shape(node, shapes) if node.op == "Concat" else rules[node.op](node, shapes[0])
    if min(shape, default=1) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise _bad(node, f"has an output of shape {shape}, above the limit of {MAX_ELEMENTS} elements")
    return shape


def _needed(nodes: Sequence[Node], output: str) -> tuple[Node, ...]:
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def build_network(
    nodes: Sequence[Node], *, name: str, input_name: str, input_shape: Shape, output_name: str
) -> Network:
    """Build a `Network` from nodes in topological order; nodes the output does not need are dropped.

    Raises
    ------
    UnsupportedModelError
        If a tensor is read before it is written, written twice, or shapes do not fit.
    """
    if min(input_shape, default=0) < 1 or math.prod(input_shape) > MAX_ELEMENTS:
        raise UnsupportedModelError(f"The graph input {input_name!r} has the unusable shape {input_shape}.")
    shapes: dict[str, Shape] = {input_name: tuple(input_shape)}
    for node in nodes:
        for tensor in node.inputs:
            if tensor not in shapes:
                raise _bad(node, f"reads tensor {tensor!r}, which no earlier node writes")
        if node.output in shapes:
            raise _bad(node, f"writes tensor {node.output!r}, which exists already")
        shapes[node.output] = infer_shape(node, [shapes[tensor] for tensor in node.inputs])
    if output_name not in shapes:
        raise UnsupportedModelError(f"No node writes the graph output {output_name!r}.")
    kept = _needed(nodes, output_name)
    used = {input_name, *(node.output for node in kept)}
    return Network(
        name=name,
        input=input_name,
        output=output_name,
        nodes=kept,
        shapes=MappingProxyType({tensor: shape for tensor, shape in shapes.items() if tensor in used}),
    )
