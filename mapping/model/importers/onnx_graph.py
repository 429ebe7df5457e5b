# SPDX-License-Identifier: Apache-2.0
"""What the ONNX importer knows while it reads: one operator, and the graph so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.errors import UnknownFormError, UnsupportedModelError
from mapping.model.network import infer_shape, make_node
from mapping.model.node import Attribute, Node, Shape

__all__ = ["BATCH", "FLOAT_TYPES", "Condition", "Graph", "Integers", "Operator", "Step", "View"]

BATCH = -(2**40)
"""Stands for the size of the batch where a graph computes with shapes and the size is not known."""

FLOAT_TYPES: Mapping[int, type[np.generic]] = {1: np.float32, 10: np.float16, 11: np.float64}
"""Types of an activation: TensorProto.FLOAT, FLOAT16 and DOUBLE."""

Step = tuple[str, str, dict[str, Attribute], dict[str, NDArray[np.float64]]]
"""A node to append: suffix of its name, operation, attributes, constants."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operator:
    """One ONNX node with its attributes as Python values."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]

    def bad(self, problem: str) -> UnsupportedModelError:
        """Return the error that names this node."""
        return UnsupportedModelError(f"Node {self.name!r} ({self.op}) {problem}.")

    def unknown(self, problem: str) -> UnknownFormError:
        """Return the error that names this node, where the host may still evaluate it as it is."""
        return UnknownFormError(f"Node {self.name!r} ({self.op}) {problem}.")

    def allow(self, *names: str) -> None:
        """Refuse every attribute but these."""
        for name in self.attributes:
            if name not in names:
                raise self.bad(f"has the attribute {name!r}, which is not supported")

    def number(self, name: str, default: float) -> float:
        """Return a finite float or integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self.bad(f"has the attribute {name} = {value!r}, which is not a finite number")
        return float(value)

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.bad(f"has the attribute {name} = {value!r}, which is not an integer")
        return value

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return an attribute that is a list of as many integers as ``default``."""
        value = self.attributes.get(name, default)
        whole = isinstance(value, tuple) and all(isinstance(v, int) for v in value)
        if not isinstance(value, tuple) or not whole or len(value) != len(default):
            raise self.bad(f"has the attribute {name} = {value!r}, not {len(default)} integers")
        return value

    def axis(self, default: int, rank: int) -> int:
        """Return the attribute ``axis`` of a tensor of so many axes, not negative."""
        axis = self.integer("axis", default)
        if not -rank <= axis < rank:
            raise self.bad(f"has axis = {axis} for a tensor of {rank} axes; export it again")
        return axis % rank

    def require(self, name: str, wanted: float) -> None:
        """Refuse an attribute whose value is not the only one supported."""
        if self.number(name, wanted) != wanted:
            raise self.bad(f"has {name} = {self.number(name, wanted):g}, supported is {wanted:g}")

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a word."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.bad(f"has the attribute {name} = {value!r}, which is no text")
        return value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Integers:
    """What the integers of a quantiser stand for.

    ``real`` is the tensor of their real values, or where they are ``counted`` of the integers less their zero
    point.
    """

    real: str
    scale: NDArray[np.float64]
    zero_point: NDArray[np.float64]
    counted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition:
    """A tensor of truths: the tensor that holds them as 0 and 1, and what is compared with which constant."""

    number: str
    tensor: str
    kind: str
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """A tensor whose elements are those of another one, in another order.

    ``order`` has its shape and says for each element where, in ``tensor`` and flat, its value is; None stands
    for the tensor itself. Exporters of models with channels last put a Transpose on either side of every
    layer; as views they cancel out.
    """

    tensor: str
    shape: Shape
    order: NDArray[np.int64] | None = None

    def places(self) -> NDArray[np.int64]:
        """Return ``order``, spelled out."""
        return np.arange(math.prod(self.shape)).reshape(self.shape) if self.order is None else self.order

    def in_order(self) -> bool:
        """Tell whether the elements are in the order of the tensor."""
        return self.order is None or bool((self.order.reshape(-1) == np.arange(self.order.size)).all())


@dataclass(slots=True, kw_only=True, eq=False)
class Graph:
    """What has been read so far.

    These are constants, nodes, shapes, tensors that are other names of a tensor, tensors in another order,
    and tensors of integers. ``kinds`` are the tensors that hold no real numbers, ``whole`` those whose first
    axis is not the batch, so that they are kept in their full shape for a batch of one. ``counted`` tells
    whether its quantisers write integers, as in networks with operators on integers. ``conditions`` are
    truths that are known as numbers.
    """

    input_name: str
    input_shape: Shape
    batch: int | None
    constants: dict[str, NDArray[np.generic]]
    nodes: list[Node] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    integers: dict[str, Integers] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    output: str = ""
    opset: int = 13
    kinds: dict[str, str] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    input_kind: str = "real"
    counted: bool = False
    conditions: dict[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes[self.input_name] = self.input_shape

    def reorder_input(self, order: list[int]) -> None:
        """Let every node read the input with its axes, the batch not counted, in another order."""
        places = np.arange(math.prod(self.input_shape)).reshape(self.input_shape).transpose(order)
        name, flat = f"{self.input_name}.order", places.reshape(-1)
        shape: dict[str, Attribute] = {"shape": places.shape}
        constants = {"order": flat.astype(np.float64)}
        self.add(make_node(name, "Permute", [self.input_name], name, attributes=shape, constants=constants))
        back = np.argsort(flat).reshape(self.input_shape)
        self.views[self.input_name] = View(tensor=name, shape=back.shape, order=back)

    def _known(self) -> tuple[dict[str, Any], ...]:
        return self.constants, self.shapes, self.aliases, self.integers, self.views

    def fresh(self, operator: Operator, tensor: str) -> str:
        """Return the name of a tensor that an operator writes, which must be a new one."""
        if not tensor or any(tensor in known for known in self._known()):
            raise operator.bad(f"writes tensor {tensor!r}, which is empty or exists already")
        return tensor

    def define(self, operator: Operator, value: NDArray[np.generic]) -> None:
        """Record the constant an operator writes."""
        self.constants[self.fresh(operator, operator.outputs[0])] = value

    def define_integers(self, operator: Operator, integers: Integers) -> None:
        """Record the integers an operator writes."""
        self.integers[self.fresh(operator, operator.outputs[0])] = integers

    def alias(self, operator: Operator) -> None:
        """Record that the output of an operator is its input."""
        self.aliases[self.fresh(operator, operator.outputs[0])] = self._named(operator, 0)

    def _named(self, operator: Operator, index: int) -> str:
        tensor = operator.inputs[index] if index < len(operator.inputs) else ""
        tensor = self.aliases.get(tensor, tensor)
        if tensor in self.constants:
            told = f"reads the constant {tensor!r} where an activation is needed"
            raise operator.unknown(f"{told}; let what is computed from the input stand there")
        if tensor not in self.shapes and tensor not in self.views:
            raise operator.bad(f"reads tensor {tensor!r}, which no earlier node writes")
        if tensor in self.whole:
            raise operator.unknown(
                f"reads tensor {tensor!r}, whose first axis is no batch; export the model for a batch of 1"
            )
        if tensor in self.kinds:
            raise operator.unknown(f"reads tensor {tensor!r}, which holds no real numbers")
        return tensor

    def held(self, operator: Operator, index: int) -> str:
        """Return the tensor that an operator reads, whatever it holds."""
        tensor = self.aliases.get(operator.inputs[index], operator.inputs[index])
        if tensor in self.whole or tensor in self.kinds:
            return tensor
        return self.activation(operator, index)

    def real(self, tensor: str) -> bool:
        """Tell whether a tensor is a batch of real numbers."""
        tensor = self.aliases.get(tensor, tensor)
        known = tensor in self.shapes or tensor in self.views
        return known and tensor not in self.whole and tensor not in self.kinds

    def kind(self, tensor: str) -> str:
        """Return what numbers a tensor holds for an operator that only ONNX knows."""
        return self.input_kind if tensor == self.input_name else self.kinds.get(tensor, "real")

    def mark(self) -> tuple[int, ...]:
        """Return how much has been read, for `back`."""
        return len(self.nodes), *map(len, self._known())

    def back(self, mark: tuple[int, ...]) -> None:
        """Forget what has been read since a mark."""
        del self.nodes[mark[0] :]
        for known, size in zip(self._known(), mark[1:], strict=True):
            for key in list(known)[size:]:
                del known[key]

    def activation(self, operator: Operator, index: int) -> str:
        """Return the tensor an operator reads as an activation, its elements in the order it reads."""
        return self.written(self._named(operator, index))

    def written(self, tensor: str) -> str:
        """Return the name of a tensor that a node writes; a view gets a node of its own when it needs one."""
        tensor = self.aliases.get(tensor, tensor)
        if tensor in self.shapes:
            return tensor
        view = self.views.get(tensor)
        if view is None:
            return tensor
        name, shape = f"{tensor}.order", {"shape": view.shape}
        if view.in_order():
            self.add(make_node(name, "Reshape", [view.tensor], tensor, attributes=shape))
        else:
            order = {"order": view.places().reshape(-1).astype(np.float64)}
            self.add(make_node(name, "Permute", [view.tensor], tensor, attributes=shape, constants=order))
        return tensor

    def view(self, operator: Operator, index: int) -> View:
        """Return what an operator reads as an activation as a view of the tensor that holds it."""
        tensor = self._named(operator, index)
        return self.views.get(tensor) or View(tensor=tensor, shape=self.shapes[tensor])

    def define_view(self, operator: Operator, tensor: str, order: NDArray[np.int64]) -> None:
        """Record the view an operator writes, or another name if it is the tensor itself."""
        output, view = (
            self.fresh(operator, operator.outputs[0]),
            View(tensor=tensor, shape=order.shape, order=order),
        )
        if view.shape == self.shapes[view.tensor] and view.in_order():
            self.aliases[output] = view.tensor
        else:
            self.views[output] = view

    def optional(self, operator: Operator, index: int) -> NDArray[np.generic] | None:
        """Return a constant input, or None where it is left out."""
        tensor = operator.inputs[index] if index < len(operator.inputs) else ""
        if not tensor:
            return None
        if tensor not in self.constants:
            told = f"reads tensor {tensor!r} where a constant is needed"
            raise operator.bad(f"{told}; export the model with its weights")
        return self.constants[tensor]

    def parameter(self, operator: Operator, index: int, *, ndim: int) -> NDArray[np.float64]:
        """Return a required finite constant input of a given rank."""
        value = self.optional(operator, index)
        if value is None or value.ndim != ndim or value.dtype.kind not in "biuf" or not value.size:
            shown = "none" if value is None else f"{value.dtype.name} of shape {value.shape}"
            told = f"needs numbers with {ndim} dimensions as input {index}, not {shown}"
            raise operator.bad(f"{told}; export it again")
        return self.finite(operator.inputs[index], value)

    @staticmethod
    def finite(tensor: str, value: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return a constant as float64, which holds every supported type exactly."""
        with np.errstate(invalid="ignore"):  # a signalling NaN warns, and is refused below
            result = value.astype(np.float64)
        if not np.isfinite(result).all():
            raise UnsupportedModelError(
                f"Tensor {tensor!r} has NaN or infinite values; train the model again."
            )
        return result

    def per_channel(self, operator: Operator, tensor: str, view: View) -> NDArray[np.float64]:
        """Return a constant, broadcast to an activation, as () or (channels,) of the tensor that holds it."""
        value = self.constants[tensor]
        if value.dtype.kind not in "biuf":
            raise operator.bad(f"reads the constant {tensor!r}, which is not numeric")
        return self.channels(operator, self.finite(tensor, value), view)

    def per_element(self, operator: Operator, tensor: str, view: View) -> NDArray[np.float64]:
        """Return a constant as `per_channel` does, or in the shape of the tensor that holds the view."""
        value = self.constants[tensor]
        if value.dtype.kind not in "biuf":
            raise operator.bad(f"reads the constant {tensor!r}, which is not numeric")
        placed = self._spread(self.finite(tensor, value), view)
        if placed is None:
            raise operator.unknown(
                f"has a constant of shape {value.shape} on an input of shape {view.shape}, over which it "
                "cannot be spread; give it one value for each channel"
            )
        if value.size == 1:
            return np.array(placed.reshape(-1)[0])
        shape = self.shapes[view.tensor]
        rows = placed.reshape(shape[0], -1)
        return rows[:, 0] if (rows == rows[:, :1]).all() else placed.reshape(shape)

    def _spread(self, value: NDArray[np.float64], view: View) -> NDArray[np.float64] | None:
        """Return values of a view in the order of the tensor that holds it; None if they do not fit it."""
        if value.size == 1:
            return np.full(view.shape, float(value.reshape(-1)[0]))
        if value.ndim > len(view.shape) + 1:
            return None
        full = value.reshape((1,) * (len(view.shape) + 1 - value.ndim) + value.shape)
        if any(n not in (1, m) for n, m in zip(full.shape, (1, *view.shape), strict=True)):
            return None
        return self._placed(full[0], view)

    def channels(self, operator: Operator, value: NDArray[np.float64], view: View) -> NDArray[np.float64]:
        """Return values, broadcast to a view, as () or (channels,) of the tensor it is a view of."""
        if value.size == 1:
            return value.reshape(())
        placed = self._spread(value, view)
        if placed is not None:
            rows = placed.reshape(self.shapes[view.tensor][0], -1)
            if (rows == rows[:, :1]).all():
                return rows[:, 0]
        raise operator.bad(
            f"has a constant of shape {value.shape} on an input of shape {view.shape}; "
            "supported are one value per tensor or per channel"
        )

    @staticmethod
    def _placed(value: NDArray[np.float64], view: View) -> NDArray[np.float64]:
        """Return values of the elements of a view in the order of the tensor that holds it."""
        if view.order is None:
            return np.broadcast_to(value, view.shape)
        placed = np.empty(view.order.size)
        placed[view.order] = np.broadcast_to(value, view.shape)
        return placed

    def add(self, node: Node) -> None:
        """Append a node after checking its shapes."""
        self.shapes[node.output] = infer_shape(node, [self.shapes[tensor] for tensor in node.inputs])
        self.nodes.append(node)

    def chain(self, operator: Operator, steps: list[Step]) -> None:
        """Append steps one after the other between input and output of an operator."""
        self._append(operator, self.activation(operator, 0), operator.outputs[0], steps)

    def elementwise(self, operator: Operator, steps: list[Step]) -> None:
        """Append elementwise steps; they treat a view of a tensor as they treat the tensor.

        Their constants are those of the tensor, see `per_channel`.
        """
        view = self.view(operator, 0)
        if view.order is None:
            self.chain(operator, steps)
            return
        output = self.fresh(operator, f"{operator.outputs[0]}.held")
        self._append(operator, view.tensor, output, steps)
        self.define_view(operator, output, view.order)

    def _append(self, operator: Operator, tensor: str, output: str, steps: list[Step]) -> None:
        self.fresh(operator, output)
        for i, (suffix, op, attributes, constants) in enumerate(steps):
            last = i == len(steps) - 1
            target = output if last else self.fresh(operator, f"{output}.before{steps[i + 1][0]}")
            name = operator.name + suffix
            self.add(make_node(name, op, [tensor], target, attributes=attributes, constants=constants))
            tensor = target
