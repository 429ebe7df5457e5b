# SPDX-License-Identifier: Apache-2.0
"""Bring a parsed ONNX model into the form that the importer reads.

That has no functions of its own, every node behind those that it reads, one input whose first axis is the
batch, and one output.
"""

import heapq
import math
from collections import Counter

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, ValueInfoProto, helper, inliner, numpy_helper

from mapping.errors import UnsupportedModelError
from mapping.model.importers.onnx_columns import rows_first
from mapping.model.importers.onnx_entries import quantise_input
from mapping.model.importers.onnx_loose import with_batches
from mapping.model.importers.onnx_spelt import named_functions

__all__ = ["MAX_NODES", "tidied"]

MAX_NODES = 1 << 16
"""Most nodes that a graph may have, with its functions inlined."""

_FIRST_WITH_INPUT = 13
"""Operator set from which axes and sizes are inputs."""

_STANDARD = frozenset({"DequantizeLinear", "QuantizeLinear"})
"""Operators that onnxruntime also has in a domain of its own, for types that an operator set has not yet."""

Sizes = tuple[int | None, ...]


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equal model in the form that is read; the given one is not changed.

    Of several outputs the first stays, and inputs that nothing reads are left out. Several other inputs
    become one, in which their channels follow each other, or their elements if other axes differ.

    Raises
    ------
    UnsupportedModelError
        If nodes form a cycle or read what nothing writes, or functions cannot be inlined.
    """
    copy = _inlined(model)
    graph = copy.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output[:1]}
    if len(inputs) > 1 and any(value.name in read for value in inputs):
        kept = [_kept(v) for v in graph.input if v.name in constants or v.name in read]
        del graph.input[:]
        graph.input.extend(kept)
        inputs = [value for value in graph.input if value.name not in constants]
    _check_writers(graph)
    given = {value.name for value in graph.input} | constants
    _check_read(graph, given)
    _sort(graph, given)
    for node in graph.node:
        if node.domain == "com.microsoft" and node.op_type in _STANDARD:
            node.domain = ""
    _join_twins(graph)
    opset = max((entry.version for entry in copy.opset_import if not entry.domain), default=1)
    named_functions(graph, opset)
    quantise_input(graph)
    rows_first(graph)
    if len(inputs) == 1:
        with_batches(copy, inputs[0])
    elif len(inputs) > 1:
        _join_inputs(graph, inputs, opset)
    if len(graph.output) > 1:
        del graph.output[1:]
    return copy


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if not copy.functions:
        return copy
    names = [(function.domain, function.name) for function in copy.functions]
    try:
        copy = inliner.inline_local_functions(copy)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        shown = ", ".join(f"{domain}.{name}" for domain, name in names[:3])
        raise UnsupportedModelError(
            f"The model's own functions ({shown}) cannot be written out; export the model without functions."
        ) from None
    if len(copy.graph.node) > MAX_NODES:
        raise UnsupportedModelError(
            f"The model has {len(copy.graph.node)} nodes once its functions are written out, above the limit "
            f"of {MAX_NODES}."
        )
    return copy


def _check_writers(graph: GraphProto) -> None:
    """Refuse two constants of one name, and a tensor that two nodes write or that is there already."""
    for tensor, times in Counter(tensor.name for tensor in graph.initializer).items():
        if times > 1:
            raise UnsupportedModelError(
                f"The model has {times} constants with the name {tensor!r}; export it again."
            )
    written = {value.name for part in (graph.input, graph.initializer) for value in part}
    for node in graph.node:
        for output in node.output:
            if output in written:
                raise UnsupportedModelError(
                    f"Node {node.name or node.op_type!r} ({node.op_type}) writes tensor {output!r}, which "
                    "is there already; export it again."
                )
            written |= {output} if output else set()


def _check_read(graph: GraphProto, given: set[str]) -> None:
    """Refuse a node that reads what neither a node writes nor the file holds."""
    known = given | {output for node in graph.node for output in node.output} | {""}
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name not in known:
                raise UnsupportedModelError(
                    f"Node {node.name or f'{node.op_type.lower()}_{index}'!r} ({node.op_type}) reads tensor "
                    f"{name!r}, which the file does not hold; export the model again, with its weights."
                )


def _sort(graph: GraphProto, known: set[str]) -> None:
    """Put every node behind those that it reads, the others in the order that they have."""
    writers = {output: index for index, node in enumerate(graph.node) for output in node.output if output}
    needs = [
        {writers[name] for name in node.input if name in writers and name not in known} for node in graph.node
    ]
    readers: dict[int, list[int]] = {}
    for index, before in enumerate(needs):
        for other in before:
            readers.setdefault(other, []).append(index)
    missing = [len(before) for before in needs]
    ready, order = [index for index, number in enumerate(missing) if not number], list[int]()
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers.get(order[-1], []):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        stuck = [graph.node[index] for index, number in enumerate(missing) if number]
        shown = ", ".join(repr(node.name or node.op_type) for node in stuck[:3])
        raise UnsupportedModelError(
            f"The nodes {shown} wait for one another in a cycle; export the model again, and a recurrent one "
            "with LSTM, GRU or RNN."
        )
    if order != sorted(order):
        ordered = [_copied(graph.node[index]) for index in order]
        del graph.node[:]
        graph.node.extend(ordered)


def _join_twins(graph: GraphProto) -> None:
    """Let quantisers that do the same to the same tensor be one, as exporters write one for each reader."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs, renamed = {value.name for value in graph.output}, dict[str, str]()
    known: dict[tuple[object, ...], str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if node.op_type in _STANDARD and len(node.output) == 1 and node.output[0] not in outputs:
            ends = (_content(constants.get(name), name) for name in node.input[1:])
            attributes = sorted(attribute.SerializeToString() for attribute in node.attribute)
            key = (node.op_type, *node.input[:1], *ends, *attributes)
            first = known.setdefault(key, node.output[0])
            if first != node.output[0]:
                renamed[node.output[0]] = first
                continue
        kept.append(_copied(node))
    del graph.node[:]
    graph.node.extend(kept)


def _content(tensor: onnx.TensorProto | None, name: str) -> object:
    """Return what tells the values of a tensor: those of a constant without its name, else its name."""
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return name
    nameless = onnx.TensorProto()
    nameless.CopyFrom(tensor)
    nameless.name = ""
    return nameless.SerializeToString()


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _sizes(value: ValueInfoProto) -> Sizes:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in dims)


def _join_inputs(graph: GraphProto, inputs: list[ValueInfoProto], opset: int) -> None:
    """Read several inputs from one."""
    shapes = [_sizes(value) for value in inputs]
    if any(len(shape) < 2 or None in shape[1:] or 0 in shape[1:] for shape in shapes):
        return
    behind = [[int(size or 0) for size in shape[1:]] for shape in shapes]
    types = {value.type.tensor_type.elem_type for value in inputs}
    batches = {shape[0] for shape in shapes}
    if len(types) != 1 or len(batches) != 1:
        return
    channels = len({tuple(shape[1:]) for shape in behind}) == 1
    parts = [shape[0] if channels else math.prod(shape) for shape in behind]
    joined = "+".join(value.name for value in inputs)
    names = [value.name if channels else f"{value.name}.flat" for value in inputs]
    nodes = [_split(graph, joined, names, parts, opset)]
    if not channels:
        for name, value, shape in zip(names, inputs, behind, strict=True):
            graph.initializer.append(
                numpy_helper.from_array(np.array([0, *shape], np.int64), f"{name}.shape")
            )
            nodes.append(
                helper.make_node("Reshape", [name, f"{name}.shape"], [value.name], name=f"{name}.map")
            )
    (batch,) = batches
    rest = behind[0][1:] if channels else []
    whole = helper.make_tensor_value_info(joined, types.pop(), [batch or "N", sum(parts), *rest])
    kept = [_kept(value) for value in graph.input if value.name not in {v.name for v in inputs}]
    ordered = nodes + [_copied(node) for node in graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(ordered)
    graph.input.extend([whole, *kept])


def _kept(value: ValueInfoProto) -> ValueInfoProto:
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    return copy


def _split(graph: GraphProto, joined: str, names: list[str], parts: list[int], opset: int) -> NodeProto:
    if opset < _FIRST_WITH_INPUT:
        return helper.make_node("Split", [joined], names, name=f"{joined}.split", axis=1, split=parts)
    sizes = f"{joined}.sizes"
    graph.initializer.append(numpy_helper.from_array(np.array(parts, np.int64), sizes))
    return helper.make_node("Split", [joined, sizes], names, name=f"{joined}.split", axis=1)
