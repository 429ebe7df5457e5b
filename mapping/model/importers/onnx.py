# SPDX-License-Identifier: Apache-2.0
"""Read an ONNX file into a `Network`.

The file is not trusted: its size is bounded, data outside the file is refused, nothing in it is executed,
and every number taken from it is checked.
"""

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

from mapping.errors import UnknownFormError, UnsupportedModelError
from mapping.model.importers.onnx_conditions import condition
from mapping.model.importers.onnx_constants import FOLDED, fold_constant
from mapping.model.importers.onnx_external import attach_external
from mapping.model.importers.onnx_foreign import import_foreign
from mapping.model.importers.onnx_functions import ANEW
from mapping.model.importers.onnx_fused import fused
from mapping.model.importers.onnx_graph import Graph, Operator
from mapping.model.importers.onnx_heads import Names, headed
from mapping.model.importers.onnx_integer_sums import DYNAMIC, SUMS
from mapping.model.importers.onnx_ml import written_out
from mapping.model.importers.onnx_nodes import FOLDING, QONNX, QONNX_DOMAINS, SUPPORTED, emit
from mapping.model.importers.onnx_products import einsum_axis
from mapping.model.importers.onnx_qlinear import MICROSOFT, QLINEAR, offer_integers
from mapping.model.importers.onnx_tidy import tidied
from mapping.model.network import Network, build_network

__all__ = ["MAX_BYTES", "OPSETS", "load_onnx", "network_from_onnx"]

MAX_BYTES = 512 * 2**20
"""Largest file read."""

OPSETS = (1, 28)
"""First and last operator set understood; the supported operators mean the same in all of them."""

_INTEGERS = frozenset({TensorProto.INT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8})

_WIDENED = frozenset({"bfloat16", "float8_e4m3fn", "float8_e5m2"})

_BEFORE_TRANSPOSE = frozenset(
    {
        "Add",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "Floor",
        "Identity",
        "IntQuant",
        "Max",
        "Min",
    }
    | {"Mul", "Neg", "Pad", "Quant", "QuantizeLinear", "Relu", "Round", "Sub", "Sum"}
)


def load_onnx(path: str | Path) -> Network:
    """Read a model file.

    Parameters
    ----------
    path : str or Path
        An ONNX file of at most `MAX_BYTES`, with its data inside or in files of its own folder.

    Raises
    ------
    UnsupportedModelError
        If the file cannot be read, is damaged, or holds something that is not supported.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise UnsupportedModelError(
                f"Model file {file.name} has {size} bytes, above the limit of {MAX_BYTES}."
            )
        data = file.read_bytes()
    except OSError as error:
        raise UnsupportedModelError(f"Model file {file} cannot be read: {error.strerror}.") from None
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.node:
        what = "has no nodes" if model.ir_version and model.graph.input else "is no ONNX model or is damaged"
        raise UnsupportedModelError(f"Model file {file.name} {what}; export it again.")
    attach_external(model, file.parent, MAX_BYTES - size)
    return network_from_onnx(model, name=file.stem)


def network_from_onnx(model: onnx.ModelProto, *, name: str) -> Network:
    """Turn a parsed model into a `Network`.

    Raises
    ------
    UnsupportedModelError
        If the model holds something that is not supported; the sentence names node and operator, or the
        tensor.
    """
    _check_names(model.graph)
    model, classes = headed(model)
    model = tidied(written_out(model))
    integers = fused(model)
    if integers is not model:
        with suppress(UnsupportedModelError):  # then it is read as it is written
            return _read(integers, name, classes)
    return _read(model, name, classes)


def _read(model: onnx.ModelProto, name: str, classes: Names) -> Network:
    """Turn a model into a network, operator by operator."""
    opset = _check_opset(model)
    constants = _initializers(model.graph)
    input_name, batch, shape = _input(model.graph, constants)
    if not model.graph.output:
        raise UnsupportedModelError("The model has no output; export it again.")
    output = model.graph.output[0].name
    graph = Graph(
        input_name=input_name,
        input_shape=shape,
        batch=batch,
        constants=constants,
        output=output,
        opset=opset,
        input_kind=_input_kind(model.graph, input_name),
        counted=_gives_bytes(model.graph)
        or any(node.op_type in {**QLINEAR, **SUMS} for node in model.graph.node),
    )
    _reorder_input(model.graph, graph)
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        operator = _operator(node, index, taken)
        if not fold_constant(operator, graph):
            _take(node, operator, graph)
    offer_integers(graph, output)
    return build_network(
        graph.nodes,
        name=name,
        input_name=input_name,
        input_shape=shape,
        output_name=graph.written(output),
        classes=classes,
        whole=graph.input_kind == "integer",
    )


def _take(node: onnx.NodeProto, operator: Operator, graph: Graph) -> None:
    """Append an operator; one that nothing here knows is left to the host as it is."""
    condition(operator, graph)
    if _of_constants(operator, graph):
        with suppress(UnsupportedModelError):  # then its own rule says why
            import_foreign(node, operator, graph)
            return
    if _only_onnx_knows(operator, graph):
        import_foreign(node, operator, graph)
        return
    mark = graph.mark()
    try:
        emit(operator, graph)
    except UnknownFormError as error:
        graph.back(mark)
        try:
            import_foreign(node, operator, graph)
        except UnsupportedModelError:
            raise error from None


def _only_onnx_knows(operator: Operator, graph: Graph) -> bool:
    """Tell whether no rule here takes an operator."""
    if operator.op == "Einsum":
        return einsum_axis(operator, graph) is None
    return operator.op not in SUPPORTED and operator.op not in QONNX


def _of_constants(operator: Operator, graph: Graph) -> bool:
    """Tell whether an operator reads constants alone, no rule of its own folds them, and ONNX knows it."""
    known = all(name in graph.constants or not name for name in operator.inputs)
    return bool(operator.inputs) and known and operator.op not in {*FOLDING, *QONNX, *MICROSOFT}


def _reorder_input(proto: onnx.GraphProto, graph: Graph) -> None:
    """Put the Transpose that a graph does to its input before everything else that it does to it.

    Then the layers before the Transpose, too, have their channels first, as the chip has.
    """
    same = {graph.input_name}
    for node in proto.node:
        if not node.input or node.input[0] not in same or len(node.output) != 1:
            continue
        if node.op_type == "Transpose":
            order = [attribute.ints for attribute in node.attribute if attribute.name == "perm"]
            rank = len(graph.input_shape) + 1
            if len(order) == 1 and sorted(order[0]) == list(range(rank)) and order[0][0] == 0:
                graph.reorder_input([axis - 1 for axis in order[0][1:]])
            return
        if node.op_type in _BEFORE_TRANSPOSE:
            same.add(node.output[0])


def _check_names(graph: onnx.GraphProto) -> None:
    """Refuse names that are not UTF-8, which the parser hands out as bytes."""
    names: list[object] = [
        value.name for part in (graph.input, graph.output, graph.initializer) for value in part
    ]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    for name in names:
        if not isinstance(name, str):
            raise UnsupportedModelError(
                f"The model has a name that is no UTF-8 text, {name!r}; export it again."
            )


def _check_opset(model: onnx.ModelProto) -> int:
    """Return the operator set, which must be one that is understood."""
    first, last = OPSETS
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not first <= versions[0] <= last:
        shown = ", ".join(map(str, versions)) or "none"
        raise UnsupportedModelError(
            f"The model must use one ONNX operator set from {first} to {last}, not {shown}; "
            "export it with opset 17."
        )
    return int(versions[0])


def _array(tensor: TensorProto, name: str) -> NDArray[np.generic]:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise UnsupportedModelError(
            f"Tensor {name!r} is stored outside the model file; save the model with its data inside."
        )
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > MAX_BYTES:
        told = f"Tensor {name!r} has the unusable shape {tuple(tensor.dims)}"
        raise UnsupportedModelError(f"{told}; export it again.")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError):
        raise UnsupportedModelError(
            f"Tensor {name!r} is damaged: its data does not fit its type and shape; export it again."
        ) from None
    # types of two bytes and less that numpy does not know
    return np.asarray(array, np.float32) if array.dtype.name in _WIDENED else np.asarray(array)


def _initializers(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    if graph.sparse_initializer:
        raise UnsupportedModelError("The model has sparse initializers; export it with dense weights.")
    return {tensor.name: _array(tensor, tensor.name) for tensor in graph.initializer}


def _input(
    graph: onnx.GraphProto, constants: dict[str, NDArray[np.generic]]
) -> tuple[str, int | None, tuple[int, ...]]:
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise UnsupportedModelError(
            f"The model must have one input, or several with one type and batch and with fixed sizes, not "
            f"{len(inputs)} ({names})."
        )
    dims = inputs[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in dims]
    fixed = [size for size in sizes[1:] if size is not None and size > 0]
    if len(sizes) < 2 or len(fixed) != len(sizes) - 1:
        shown = ", ".join("?" if size is None else str(size) for size in sizes)
        raise UnsupportedModelError(
            f"Input {inputs[0].name!r} must have a batch dimension and fixed sizes after it, not ({shown}); "
            "export it with fixed sizes."
        )
    return inputs[0].name, sizes[0], tuple(fixed)


def _input_kind(graph: onnx.GraphProto, name: str) -> str:
    """Return the kind of numbers that the input is declared to hold."""
    declared = next(value for value in graph.input if value.name == name)
    return "integer" if declared.type.tensor_type.elem_type in _INTEGERS else "real"


def _gives_bytes(graph: onnx.GraphProto) -> bool:
    """Tell whether the output holds the integers of a quantiser, which no node turns into reals."""
    return graph.output[0].type.tensor_type.elem_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def _value(attribute: AttributeProto, node: str) -> object:
    if attribute.type == AttributeProto.FLOAT:
        return float(attribute.f)
    if attribute.type == AttributeProto.INT:
        return int(attribute.i)
    if attribute.type == AttributeProto.STRING:
        return attribute.s.decode("ascii", "replace")
    if attribute.type == AttributeProto.FLOATS:
        return tuple(map(float, attribute.floats))
    if attribute.type == AttributeProto.INTS:
        return tuple(map(int, attribute.ints))
    raise UnsupportedModelError(
        f"Node {node!r} has the attribute {attribute.name!r} of a type that is not supported."
    )


def _operator(node: onnx.NodeProto, index: int, names: set[str]) -> Operator:
    name = node.name or f"{node.op_type.lower()}_{index}"
    name = name if name not in names else f"{name}_{index}"
    names.add(name)
    _check_known(node, name)
    attributes: dict[str, object] = {}
    foreign = node.op_type not in {*SUPPORTED, *QONNX, *FOLDED}
    for attribute in node.attribute:
        if foreign and attribute.type not in (AttributeProto.INT, AttributeProto.INTS):
            continue  # the evaluator's concern
        if attribute.type == AttributeProto.TENSOR:
            attributes[attribute.name] = _array(attribute.t, f"{name}.{attribute.name}")
        else:
            attributes[attribute.name] = _value(attribute, name)
    return Operator(
        name=name,
        op=node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
    )


def _check_known(node: onnx.NodeProto, name: str) -> None:
    """Refuse an operator that is neither read nor one of the standard."""
    domains: tuple[str, ...] = QONNX_DOMAINS if node.op_type in QONNX else ("", "ai.onnx")
    if node.op_type in MICROSOFT:
        domains = ("com.microsoft",)
    standard = onnx.defs.has(node.op_type)
    known = node.op_type in {*SUPPORTED, *QONNX, *FOLDED} or standard
    if node.op_type in DYNAMIC:
        raise UnsupportedModelError(f"Node {name!r} ({node.op_type}) {ANEW}.")
    if node.domain not in domains or not known:
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if node.op_type.startswith("QLinear") or node.op_type.endswith("Integer"):
            raise UnsupportedModelError(
                f"Node {name!r} has the operator {kind}, which is not supported; "
                "let the quantiser write the QDQ format instead of operators of its own."
            )
        raise UnsupportedModelError(
            f"Node {name!r} has the operator {kind}, which is not supported; export the model with operators "
            "of the ONNX standard, or give its weights as arrays (docs/guides/bring_a_model.md)."
        )
