# SPDX-License-Identifier: Apache-2.0
"""Read layers between DequantizeLinear and QuantizeLinear as operators on integers, as runtimes do.

A layer whose input, weights and bias are dequantised integers, and whose output is quantised, is one operator
on integers: QLinearConv, QGemm, QLinearMatMul, QLinearAdd or QLinearGlobalAveragePool. Its arithmetic is
the integer arithmetic of that operator (`docs/reference/truth.md`, "Integer networks").
"""

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mapping.model.importers.onnx_fusible import (
    Ints,
    ends_of,
    equal,
    near,
    never_cuts,
    rows_of,
    stepped,
    ternary,
    whole_windows,
)
from mapping.model.importers.onnx_stored import stored

__all__ = ["fused"]

_OUTPUT_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}
_MOVES = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_NAMES = {
    "Add": "QLinearAdd",
    "AveragePool": "QLinearAveragePool",
    "Conv": "QLinearConv",
    "Gemm": "QGemm",
    "GlobalAveragePool": "QLinearGlobalAveragePool",
    "MatMul": "QLinearMatMul",
    "Sub": "QLinearAdd",
    "Sum": "QLinearAdd",
}
_PAIRS = ("Add", "Sub", "Sum")
_BYTES = ("int8", "uint8")
_WEIGHTS = (*_BYTES, "int4", "uint4")


def fused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with its quantised layers as operators on integers.

    A model is returned as it is if it has no such layer, or if most of them have ternary weights, which the
    scatter-and-gather code takes as they are.
    """
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return model
    fusion = _Fusion(model.graph)
    nodes = fusion.nodes()
    if not fusion.layers or 2 * sum(fusion.layers) >= len(fusion.layers):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(fusion.added)
    return result


class _Fusion:
    """The graph that is read, and what has been found in it.

    ``layers`` tells of every layer with integer weights whether they are ternary, ``added`` are constants.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = list(graph.node)
        self._producers = {name: node for node in self._nodes for name in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in self._nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._used = Counter(value.name for value in graph.output)
        self._moved: dict[str, Ints] = {}
        self._before: list[onnx.NodeProto] = []
        self.layers: list[bool] = []
        self._sums: list[onnx.NodeProto] = []
        self._real = False
        self.added: list[onnx.TensorProto] = []
        self._noughts: dict[str, str] = {}

    def nodes(self) -> list[onnx.NodeProto]:
        """Return the nodes of the graph, fused where they can be."""
        result: list[onnx.NodeProto] = []
        for node in self._nodes:
            made = self._quantised(node) if node.op_type == "QuantizeLinear" else None
            result += self._before
            self._before = []
            result += made if made is not None else [node]
        for node in self._sums if self._real else ():  # with a real bias all is as it is written
            node.attribute.append(onnx.helper.make_attribute("written", 1))
        return self._without(result)

    def _without(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Return nodes without those of which nothing reads the output any more."""
        kept: list[onnx.NodeProto] = []
        wanted = set(self._used)
        for node in reversed(nodes):
            if any(name in wanted for name in node.output):
                wanted |= set(node.input)
                kept.append(node)
        return kept[::-1]

    def _array(self, name: str) -> NDArray[np.generic] | None:
        return stored(self._constants.get(name))

    def _weights(self, name: str) -> str | None:
        """Return the name of integer weights, evaluated where the model quantises or clips constants."""
        node = self._producers.get(name)
        if name in self._constants or node is None or f"{name}.held" in self._constants:
            return name if name in self._constants else f"{name}.held"
        rules = {"Clip": self._clipped_weights, "QuantizeLinear": self._quantised_weights}
        held = rules[node.op_type](node) if node.op_type in rules else None
        if held is None:
            return None
        self._add(f"{name}.held", held)
        return f"{name}.held"

    def _add(self, name: str, value: NDArray[np.generic]) -> None:
        self.added.append(numpy_helper.from_array(value, name))
        self._constants[name] = self.added[-1]

    def _clipped_weights(self, node: onnx.NodeProto) -> NDArray[np.generic] | None:
        name = self._weights(node.input[0])
        value, ends = self._array(name or ""), [self._array(given) for given in node.input[1:]]
        if value is None or len(ends) != 2 or any(end is None or end.size != 1 for end in ends):
            return None
        low, high = (np.asarray(end).reshape(()) for end in ends)
        return np.asarray(np.clip(value, low, high).astype(value.dtype))

    def _quantised_weights(self, node: onnx.NodeProto) -> NDArray[np.generic] | None:
        """Return what a quantiser makes of constants in float32, as runtimes do when they load a model."""
        value, scale, zero = (self._array(name) for name in (*node.input[:2], self._zero(node)))
        if value is None or scale is None or zero is None or zero.dtype.name not in _BYTES:
            return None
        if {value.dtype, scale.dtype} != {np.dtype(np.float32)} or scale.size not in (1, zero.size):
            return None
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        return stepped(value, scale, zero, axis)

    def _dequantised(self, name: str) -> onnx.NodeProto | None:
        node = self._producers.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def _zero(self, node: onnx.NodeProto) -> str:
        """Return the name of a zero point, which is 0 where it is left out, of the type that is written."""
        if len(node.input) > 2 and node.input[2]:
            return str(node.input[2])
        before = self._producers.get(node.input[0])
        if node.op_type == "DequantizeLinear" and before is not None and before.op_type == "QuantizeLinear":
            return self._zero(before)
        code = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
        return self._nought(np.dtype(_OUTPUT_TYPES.get(code, "uint8")))

    def _nought(self, kind: np.dtype[np.generic]) -> str:
        """Return the name of a zero of some type."""
        if kind.name not in self._noughts:
            name = f"zero_point_of_{kind.name}"
            while name in self._constants or name in self._producers:
                name += "_"
            self._add(name, np.zeros((), kind))
            self._noughts[kind.name] = name
        return self._noughts[kind.name]

    def _integers(self, name: str) -> Ints | None:
        """Return the integers that a real tensor stands for, moved as it is."""
        if name in self._moved:
            return self._moved[name]
        node = self._producers.get(name)
        if node is None or not node.input:
            return None
        if node.op_type == "DequantizeLinear" and len(node.input) > 1:
            if node.input[0] in self._constants or not self._one_byte(node):
                return None
            found = Ints(node.input[0], node.input[1], self._zero(node))
        elif node.op_type in _MOVES and len(node.output) == 1:
            source = self._integers(node.input[0])
            if source is None:
                return None
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[0], copy.output[0] = source.tensor, f"{name}.integers"
            self._before.append(copy)
            found = Ints(copy.output[0], source.scale, source.zero)
        else:
            return None
        self._moved[name] = found
        return found

    def _one_byte(self, node: onnx.NodeProto) -> bool:
        """Tell whether a quantiser has one scale and one zero point of a byte."""
        scale, zero = self._array(node.input[1]), self._array(self._zero(node))
        return (
            scale is not None
            and zero is not None
            and scale.dtype == np.float32
            and scale.size == zero.size == 1
            and zero.dtype.name in _BYTES
        )

    def _quantised(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Return what stands for a quantiser and the layer before it, or None."""
        if len(node.input) < 2 or not self._one_byte(node):
            return None
        to = [node.input[1], self._zero(node)]
        source = self._integers(node.input[0])
        if source is not None:
            if not equal(map(self._array, [source.scale, source.zero]), map(self._array, to)):
                return None
            copy = onnx.helper.make_node("Identity", [source.tensor], list(node.output), name=node.name)
            return [copy]
        cuts, layer = self._cut_off(node)
        if layer is None:
            return None
        inputs = self._inputs(layer, to)
        if inputs is None:
            return None
        return self._written(node, layer, inputs, cuts)

    def _cut_off(self, node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], onnx.NodeProto | None]:
        """Return the activation between a layer and its quantiser, and the layer if nothing else reads it."""
        cuts: list[onnx.NodeProto] = []
        name = node.input[0]
        while True:
            before = self._producers.get(name)
            if before is None or len(self._readers[name]) != 1 or name in self._used:
                return cuts, None
            if before.op_type in _NAMES:
                return cuts, before
            if before.op_type not in ("Clip", "Relu") or cuts:
                return cuts, None
            cuts.append(before)
            name = before.input[0]

    def _inputs(self, layer: onnx.NodeProto, to: list[str]) -> list[str] | None:
        """Return the inputs of the operator on integers, or None if not all are integers."""
        first = self._integers(layer.input[0])
        if layer.op_type in _PAIRS:
            return self._pair(layer, to)
        if first is None:
            return None
        if layer.op_type.endswith("AveragePool"):
            return [*first.names, *to] if whole_windows(layer) else None
        weight = self._dequantised(layer.input[1]) if len(layer.input) > 1 else None
        held = None if weight is None else self._weights(weight.input[0])
        array = self._array(held or "")
        if weight is None or held is None or array is None or array.dtype.name not in _WEIGHTS:
            return None
        zero = self._weight_zero(weight, array)
        bias = self._bias(layer, first, weight.input[1])
        along = self._along(layer, weight, array)
        if along:
            self.layers.append(ternary(array, self._array(zero), rows_of(layer)))
            self._real |= bias is None
        if bias is None or not along:
            return None
        weighed = [*first.names, held, weight.input[1], zero]
        return [*weighed, *bias, *to] if layer.op_type == "Gemm" else [*weighed, *to, *bias]

    def _pair(self, layer: onnx.NodeProto, to: list[str]) -> list[str] | None:
        """Return the inputs of a sum or difference of two tensors of integers, one may be constant."""
        if len(layer.input) != 2:
            return None
        first, second = (self._integers(name) or self._stored(name) for name in layer.input)
        if first is None or second is None or {first.tensor, second.tensor} <= self._constants.keys():
            return None
        return [*first.names, *second.names, *to]

    def _stored(self, name: str) -> Ints | None:
        """Return the integers that a real constant stands for."""
        node = self._dequantised(name)
        held = None if node is None or not self._one_byte(node) else self._weights(node.input[0])
        array = self._array(held or "")
        if node is None or held is None or array is None or array.dtype.name not in _BYTES:
            return None
        return Ints(held, node.input[1], self._zero(node))

    def _along(self, layer: onnx.NodeProto, weight: onnx.NodeProto, array: NDArray[np.generic]) -> bool:
        """Tell whether the scales of weights are one, or one for each output channel."""
        scale = self._array(weight.input[1])
        if scale is None or scale.dtype != np.float32 or scale.ndim > 1:
            return False
        if scale.size == 1:
            return True
        given = next((a.i for a in weight.attribute if a.name == "axis"), 1)
        return given % max(1, array.ndim) == rows_of(layer)

    def _weight_zero(self, weight: onnx.NodeProto, array: NDArray[np.generic]) -> str:
        """Return the name of the zero point of weights, which is 0 of their type where it is left out."""
        if len(weight.input) > 2 and weight.input[2]:
            return str(weight.input[2])
        return self._nought(array.dtype)

    def _bias(self, layer: onnx.NodeProto, first: Ints, scale: str) -> list[str] | None:
        """Return the bias of a layer as integers of the unit of its sums; None if it has another."""
        plain = not any(a.name in ("alpha", "beta") and a.f != 1.0 for a in layer.attribute)
        if layer.op_type == "Gemm" and not plain:
            return None
        if len(layer.input) < 3 or not layer.input[2]:
            return [""] if layer.op_type == "Gemm" else []
        node = self._dequantised(layer.input[2])
        if node is None or len(node.input) < 2:
            return None
        value, unit = self._array(node.input[0]), self._array(node.input[1])
        zero = self._array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        scales = self._array(first.scale), self._array(scale)
        if value is None or unit is None or scales[0] is None or scales[1] is None:
            return None
        product = np.asarray(scales[0]).reshape(()) * np.asarray(scales[1]).reshape(-1)
        fits = value.dtype == np.int32 and (zero is None or not np.any(zero))
        return [node.input[0]] if fits and near(np.asarray(unit).reshape(-1), product) else None

    def _written(
        self,
        node: onnx.NodeProto,
        layer: onnx.NodeProto,
        inputs: list[str],
        cuts: list[onnx.NodeProto],
    ) -> list[onnx.NodeProto] | None:
        """Return the operator on integers, and behind it the activation on its integers."""
        kind, output = _NAMES[layer.op_type], node.output[0]
        while inputs and not inputs[-1]:
            inputs.pop()
        domain = "" if kind in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
        target = f"{output}.sums8" if cuts else output
        attributes = [a for a in layer.attribute if a.name != "beta"]
        made = onnx.helper.make_node(kind, inputs, [target], name=layer.name, domain=domain)
        made.attribute.extend(attributes)
        if layer.op_type in _PAIRS:
            made.attribute.extend(self._order(node, layer, inputs, cuts))
            self._sums += [made] if all(a.name != "written" for a in made.attribute) else []
        if not cuts:
            return [made]
        cut = onnx.NodeProto()
        cut.CopyFrom(cuts[0])
        cut.input[0], cut.output[0] = target, output
        if cut.op_type == "Clip" and not self._clip(cut, node):
            return None
        return [made, cut]

    def _order(
        self, node: onnx.NodeProto, layer: onnx.NodeProto, inputs: list[str], cuts: list[onnx.NodeProto]
    ) -> list[onnx.AttributeProto]:
        """Return how a sum rounds: as one operator if runtimes join it, integers of int8 as uint8."""
        made = [onnx.helper.make_attribute("minus", 1)] if layer.op_type == "Sub" else []
        zeros = [self._array(name) for name in (inputs[2], inputs[5], inputs[7])]
        kinds = {np.asarray(zero).dtype.name for zero in zeros}
        scale = np.asarray(self._array(inputs[6]), np.float32).reshape(-1)[0]
        zero = np.asarray(zeros[2])
        idle = all(never_cuts(cut, ends_of(cut, self._array), scale, zero) for cut in cuts)
        alone = all(map(self._alone, (inputs[0], inputs[3]))) and len(self._readers[node.output[0]]) < 2
        if layer.op_type != "Add" or len(kinds) > 1 or not idle or (kinds == {"int8"} and not alone):
            return [*made, onnx.helper.make_attribute("written", 1)]
        return [*made, onnx.helper.make_attribute("shift", 128 if kinds == {"int8"} else 0)]

    def _alone(self, tensor: str) -> bool:
        """Tell whether a tensor of integers that the model computes has one reader, and its values too."""
        readers = self._readers.get(tensor, [])
        if len(readers) != 1 or tensor not in self._producers:
            return False
        values = readers[0].output[0]
        return len(self._readers.get(values, [])) + self._used[values] == 1

    def _clip(self, cut: onnx.NodeProto, node: onnx.NodeProto) -> bool:
        """Write the ends of a clip as integers; tell whether they are known."""
        scale = np.asarray(self._array(node.input[1]), np.float32).reshape(-1)[0]
        zero = int(np.asarray(self._array(self._zero(node))).reshape(-1)[0])
        ends = ends_of(cut, self._array)
        if ends is None:
            return False
        del cut.input[1:]
        del cut.attribute[:]
        for key, end in zip(("min", "max"), ends, strict=True):
            if np.isinf(end):
                cut.input.append("")
                continue
            name = f"{cut.output[0]}.{key}"
            value = float(np.rint(np.float32(end) / scale)) + zero
            self.added.append(numpy_helper.from_array(np.array(value, np.float64), name))
            cut.input.append(name)
        return True
