# SPDX-License-Identifier: Apache-2.0
"""Give tensors a batch that have none: the importer reads graphs whose first axis is the batch.

A *loose* tensor has no axis for its sample, or has it folded into another one: a vector or an image that is
the input itself, what ``x.flatten()`` makes of one sample, the rows of all places of a map in one matrix.
Here every loose tensor gets an axis before its own, and what works along axes works along those behind it.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper

from mapping.model.importers.onnx_elements import ELEMENTWISE
from mapping.model.importers.onnx_shapes import shapes_for
from mapping.model.importers.onnx_spelt import Parts
from mapping.model.node import Shape

__all__ = ["with_batches"]

_FIRST_WITH_INPUT = 13
"""Operator set from which axes are inputs of ``Unsqueeze``, and a softmax works along one axis."""

_OF_A_BATCH = 4
"""Axes of an input that is a batch of images, whatever is done to it."""

_MOVES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that keep all elements in their order."""

_ROWS = frozenset({"Flatten", "Reshape"})
"""Those of them that may hold a free batch among rows."""

_QUANTISERS = frozenset({"DequantizeLinear", "QuantizeLinear"})

_ALONG = {"ArgMax": 0, "Concat": None, "Gather": 0, "LogSoftmax": -1, "Softmax": -1, "Split": 0}
"""Operators that work along one axis, with the axis that they take where none is told."""

_READ = {"DequantizeLinear": 2, "Gather": 2, "Gemm": 2, "MatMul": 2, "QuantizeLinear": 2}
"""How many inputs operators have at least, if not one; a damaged file may give fewer."""

_REDUCING = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})


def with_batches(model: onnx.ModelProto, given: ValueInfoProto) -> None:
    """Write the nodes that read or write loose tensors as nodes of batches, in a sorted graph.

    A graph that has none, or that does more to one than is known here, is left as it is, but that a vector
    as input gets its batch.

    Parameters
    ----------
    model : ModelProto
        With one input; its graph is changed.
    given : ValueInfoProto
        The input.
    """
    dims = given.type.tensor_type.shape.dim
    sizes = [max(0, dim.dim_value) if dim.WhichOneof("value") == "dim_value" else 0 for dim in dims]
    if not sizes or 0 in sizes[1:] or not all(node.output for node in model.graph.node):
        return
    shape = (sizes[0] or 1, *sizes[1:])
    known = _Loose(model, given.name, shape, _MOVES if sizes[0] else _ROWS)
    loose = bool(sizes[0]) and len(sizes) < _OF_A_BATCH and known.is_loose(given.name)
    if not loose and shape[0] != 1:
        return
    if known.rewritten(loose):
        del model.graph.node[:], model.graph.value_info[:]
        model.graph.node.extend(known.nodes)
        model.graph.initializer.extend(known.constants)
    elif len(shape) > 1:
        return
    if loose:
        elem = given.type.tensor_type.elem_type
        given.CopyFrom(helper.make_tensor_value_info(given.name, elem, [1, *sizes]))


class _Loose:
    """The nodes so far, the loose tensors, those that depend on the input, and the shapes for one sample.

    ``leaving`` are the operators that may leave the batch out.
    """

    def __init__(self, model: onnx.ModelProto, name: str, shape: Shape, leaving: frozenset[str]) -> None:
        self.graph = model.graph
        self.parts = Parts(model.graph)
        self.opset = max((entry.version for entry in model.opset_import if not entry.domain), default=1)
        self.input = name
        self.shapes = shapes_for(model, name, shape)
        self.nodes: list[NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.loose: set[str] = set()
        self.active: set[str] = {name}
        self.leaving = leaving

    def is_loose(self, name: str) -> bool:
        """Tell whether a tensor of the input has no batch: the graph makes one of all its elements."""
        shape = self.shapes.get(name, ())
        if len(shape) < 2:
            return len(shape) == 1
        readers = [node for node in self.graph.node if name in node.input and node.op_type != "Shape"]
        return bool(readers) and all(self._joins(node, shape) for node in readers)

    def _joins(self, node: NodeProto, shape: Shape) -> bool:
        """Tell whether a node, or what reads it, adds the batch or makes a vector of everything."""
        if node.op_type in ELEMENTWISE and len(node.output) == 1 and self.shapes.get(node.output[0]) == shape:
            return self.is_loose(node.output[0])
        if node.op_type == "Transpose":
            return self.is_loose(node.output[0])
        if node.op_type == "Unsqueeze":
            return 0 in self._axes(node, len(shape) + 1)
        made = self.shapes.get(node.output[0], ())
        return node.op_type in _MOVES and shape[0] != 1 and (len(made) == 1 or made[:1] == (1,))

    def _axes(self, node: NodeProto, rank: int) -> list[int]:
        """Return the axes of a node, not negative, from its attribute or its second input."""
        axes = [axis for a in node.attribute if a.name == "axes" for axis in a.ints]
        if len(node.input) > 1:
            axes = _whole(self.parts, node.input[1])
        return [axis % rank for axis in axes]

    def rewritten(self, loose: bool) -> bool:
        """Write all nodes; tell whether there is a loose tensor, and all that read one could be written."""
        found = loose
        self.loose |= {self.input} if loose else set()
        for node in self.graph.node:
            if not self._write(node):
                return False
            found = found or any(name in self.loose for name in node.output)
        return found

    def _write(self, node: NodeProto) -> bool:
        """Write one node, its outputs loose if they are; tell whether that was possible."""
        depends = any(name in self.active for name in node.input)
        if depends and node.op_type not in {"Shape", "Size"}:
            self.active.update(filter(None, node.output))
        if not depends or node.domain not in ("", "ai.onnx"):
            self.nodes.append(_copied(node))
            return not any(name in self.loose for name in node.input)
        if not any(name in self.loose for name in node.input):
            if node.op_type in self.leaving and self._has_batch(node.input[0]) and self._left(node):
                return self.move(node)
            self.nodes.append(_copied(node))
            return True
        rule = _RULES.get(node.op_type)
        if rule is None or len(node.input) < _READ.get(node.op_type, 1):
            return False
        return all(name in self.shapes for name in node.input if name) and rule(self, node)

    def _has_batch(self, name: str) -> bool:
        return self.shapes.get(name, ())[:1] == (1,)

    def _left(self, node: NodeProto) -> bool:
        """Tell whether a move of a tensor with a batch writes one without."""
        made = self.shapes.get(node.output[0], ())
        return bool(made) and (len(made) == 1 or made[0] != 1)

    def rank(self, name: str) -> int:
        """Return how many axes a tensor has once it has a batch."""
        return len(self.shapes[name]) + (name in self.loose)

    def move(self, node: NodeProto) -> bool:
        made = self.shapes.get(node.output[0], ())
        if not made:
            return False
        kept = len(made) > 1 and made[0] == 1
        self.reshape(node.input[0], made[1:] if kept else made, node.output[0], node.name)
        self.loose |= set() if kept else {node.output[0]}
        return True

    def reshape(self, name: str, shape: Shape, output: str, called: str) -> None:
        """Write a tensor with its batch and another shape behind it."""
        sizes = self.constant(f"{output}.sizes", [0, *shape])
        self.nodes.append(helper.make_node("Reshape", [name, sizes], [output], name=called))

    def constant(self, name: str, values: Sequence[int] | float) -> str:
        """Store integers, or a number, under a name."""
        kind = np.float32 if isinstance(values, float) else np.int64
        self.constants.append(numpy_helper.from_array(np.array(values, kind), name))
        return name

    def write(self, node: NodeProto, **changed: int | Sequence[int]) -> bool:
        """Append a node with some attributes changed, whose outputs are loose."""
        copy = _copied(node)
        kept = [a for a in node.attribute if a.name not in changed]
        del copy.attribute[:]
        copy.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in changed.items())])
        self.nodes.append(copy)
        self.loose.update(filter(None, node.output))
        return True

    def elements(self, node: NodeProto) -> bool:
        """Write an operator on elements: its shorter inputs are repeated along the first axes."""
        if node.output[0] not in self.shapes:
            return False
        if node.op_type in _QUANTISERS and math.prod(self.shapes[node.input[1]]) > 1:
            return False
        made = self.shapes[node.output[0]]
        ranks = {name: self.rank(name) for name in node.input if name}
        rank = max(ranks.values())
        if rank == len(made):
            self.nodes.append(_copied(node))
            return made[0] == 1
        whole = all(ranks[name] == rank for name in ranks if name in self.active)
        return rank == len(made) + 1 and whole and self.write(node)

    def along(self, node: NodeProto) -> bool:
        """Write an operator along one axis, which is one further behind unless it is counted from the end."""
        axis = next((a.i for a in node.attribute if a.name == "axis"), _ALONG[node.op_type])
        loose = all(name in self.loose for name in node.input if name in self.active)
        if axis is None or not loose or (node.op_type == "Gather" and node.input[0] not in self.loose):
            return False
        flat = node.op_type in {"LogSoftmax", "Softmax"} and self.opset < _FIRST_WITH_INPUT
        if flat and axis not in (-1, len(self.shapes[node.input[0]]) - 1):
            return False
        return self.write(node, axis=axis + (axis >= 0))

    def reduced(self, node: NodeProto) -> bool:
        """Write an operator over some axes, or all."""
        shape = self.shapes[node.input[0]]
        axes = self._axes(node, len(shape)) or list(range(len(shape)))
        kept = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        if len(axes) == len(shape) and not kept:
            return False
        behind = sorted(axis + 1 for axis in axes)
        if len(node.input) < 2 and not any(a.name == "axes" for a in node.attribute) and self.opset >= 18:
            return False
        if len(node.input) > 1:
            node = _reading(node, 1, self.constant(f"{node.output[0]}.axes", behind))
            return self.write(node)
        return self.write(node, axes=behind)

    def transposed(self, node: NodeProto) -> bool:
        """Write a ``Transpose`` of the axes behind the batch."""
        rank = len(self.shapes[node.input[0]])
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])
        return self.write(node, perm=[0, *(axis + 1 for axis in order)])

    def norm(self, node: NodeProto) -> bool:
        """Write a normalisation, whose channels are the axis 2 then, with these first."""
        name, rank = node.output[0], self.rank(node.input[0])
        if rank < 3 or len(node.output) > 1:
            return False
        order = [0, 2, 1, *range(3, rank)]
        turned = [f"{name}.{part}" for part in ("rows", "channels")]
        self.nodes.append(
            helper.make_node("Transpose", [node.input[0]], turned[:1], name=turned[0], perm=order)
        )
        self.nodes.append(_reading(node, 0, turned[0]))
        self.nodes[-1].output[0] = turned[1]
        back = helper.make_node("Transpose", turned[1:], [name], name=turned[1])
        return self.write(back, perm=order)

    def matmul(self, node: NodeProto) -> bool:
        """Write a product, of a vector as of a row."""
        first, second = node.input[:2]
        if second not in self.loose:
            return second not in self.active and len(self.shapes.get(second, ())) == 2 and self.write(node)
        if len(self.shapes[second]) > 1:
            return (first in self.loose or first not in self.active) and self.write(node)
        if first in self.active or len(self.shapes.get(first, ())) != 2:
            return False
        turned = f"{node.output[0]}.turned"
        self.nodes.append(helper.make_node("Transpose", [first], [turned], name=turned, perm=[1, 0]))
        return self.write(_reading(_reading(node, 0, second), 1, turned))

    def gemm(self, node: NodeProto) -> bool:
        """Write a ``Gemm`` of many rows of one sample as its product and its sum."""
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        x, weight, *rest = node.input
        if x not in self.loose or {weight, *rest} & self.active or given.get("transA", 0):
            return False
        name, last = node.output[0], weight
        if given.get("transB", 0):
            last = f"{name}.turned"
            self.nodes.append(helper.make_node("Transpose", [weight], [last], name=last, perm=[1, 0]))
        rest = [value for value in rest if value]
        steps = [("MatMul", last, 1.0), ("Mul", "", given.get("alpha", 1.0))]
        steps += [("Add", value, given.get("beta", 1.0)) for value in rest]
        return self._steps(node, x, [step for step in steps if step[1] or step[2] != 1.0])

    def _steps(self, node: NodeProto, x: str, steps: Sequence[tuple[str, str, float]]) -> bool:
        """Write (operator, what it reads beside the last tensor, its factor) one after the other."""
        for index, (op, other, factor) in enumerate(steps):
            output = node.output[0] if index == len(steps) - 1 else f"{node.output[0]}.{op}"
            name = node.name if not index else f"{node.name}.{op}"
            self.nodes.append(
                helper.make_node(op, [x, self._scaled(other, factor, output)], [output], name=name)
            )
            x = output
        self.loose.add(x)
        return True

    def _scaled(self, name: str, factor: float, output: str) -> str:
        """Return a constant times a factor, or the factor where no constant is named."""
        if factor == 1.0:
            return name
        scale, scaled = self.constant(f"{output}.factor", float(factor)), f"{output}.scaled"
        if not name:
            return scale
        self.nodes.append(helper.make_node("Mul", [name, scale], [scaled], name=scaled))
        return scaled

    def sized(self, node: NodeProto) -> bool:
        """Write the shape of a loose tensor as it was."""
        shape = [*self.shapes[node.input[0]]]
        given = {a.name: a.i for a in node.attribute}
        sizes = shape[given.get("start", 0) : given.get("end", len(shape))]
        value = numpy_helper.from_array(np.array(sizes, np.int64))
        self.nodes.append(helper.make_node("Constant", [], node.output, name=node.name, value=value))
        return True


_RULES: Mapping[str, Callable[[_Loose, NodeProto], bool]] = {
    **dict.fromkeys(_MOVES, _Loose.move),
    **dict.fromkeys(ELEMENTWISE, _Loose.elements),
    **dict.fromkeys(_ALONG, _Loose.along),
    **dict.fromkeys(_REDUCING, _Loose.reduced),
    "BatchNormalization": _Loose.norm,
    "Gemm": _Loose.gemm,
    "MatMul": _Loose.matmul,
    "Shape": _Loose.sized,
    "Transpose": _Loose.transposed,
}
"""Who writes a node that reads a loose tensor; it tells whether that was possible."""


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _reading(node: NodeProto, index: int, name: str) -> NodeProto:
    """Return a node that reads another tensor at a place."""
    copy = _copied(node)
    copy.input[index] = name
    return copy


def _whole(parts: Parts, name: str) -> list[int]:
    value = parts.constant(name)
    return [] if value is None or value.dtype.kind != "i" else [int(n) for n in value.reshape(-1)]
