# SPDX-License-Identifier: Apache-2.0
"""Operators that only ONNX itself knows: evaluated by its reference evaluator, in float64, sample by sample.

Such a node carries its operator as a model of one ONNX node. Nothing in it is executed but operators of the
standard: no graphs inside, no functions, no data outside, no random numbers, and no output without a size.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from mapping.errors import MappingError, UnsupportedModelError
from mapping.model.importers.onnx_own import OWN, SAME_SHAPE
from mapping.model.node import MAX_ELEMENTS, Node, Shape

__all__ = ["KINDS", "apply_foreign", "constant_outputs", "obstacle", "output_shapes", "pack"]

KINDS: Mapping[str, type[np.generic]] = {"real": np.float64, "integer": np.int64, "truth": np.bool_}
"""Types of numbers that such operators read; the network holds them all as real numbers."""

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_SIMPLE = frozenset(
    {AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING}
    | {AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS}
)
_ELEMENTS: Mapping[int, str] = {
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16), "real"),
    **dict.fromkeys((TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8), "integer"),
    TensorProto.BOOL: "truth",
}
_FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError),
    *(RecursionError, RuntimeError, TypeError, ValueError),
)


def obstacle(node: onnx.NodeProto, opset: int) -> str:
    """Return why the reference evaluator must not run an operator, as the end of a sentence, or nothing."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset):
        return "is not an operator of the ONNX standard"
    if node.op_type in _RANDOM:
        return "draws random numbers"
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            if attribute.t.external_data or attribute.t.data_location == TensorProto.EXTERNAL:
                return "has data outside the model file"
        elif attribute.type not in _SIMPLE:
            return "holds a graph of its own"
    return ""


def pack(model: onnx.ModelProto) -> str:
    """Return a model of one node as text."""
    return base64.b64encode(model.SerializeToString(deterministic=True)).decode("ascii")


def output_shapes(
    model: onnx.ModelProto, constants: Mapping[str, NDArray[np.generic]]
) -> list[tuple[Shape, str]]:
    """Return shape, with the batch, and kind of every output of a model of one node.

    Raises
    ------
    ValueError
        If inputs do not fit, or an output has no size that can be told in advance, or one too large.
    """
    found = _inferred(model, constants)
    shapes = []
    for output in found.graph.output:
        kind = _ELEMENTS.get(output.type.tensor_type.elem_type)
        dims = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        if kind is None or not output.type.tensor_type.HasField("shape") or min(dims, default=1) < 1:
            raise ValueError(
                "has an output whose size cannot be told in advance; export the model without it"
            )
        if math.prod(dims) > MAX_ELEMENTS:
            raise ValueError(
                f"has an output of shape {tuple(dims)}, above the limit of {MAX_ELEMENTS} elements; "
                "export the model without it"
            )
        shapes.append((tuple(dims), kind))
    return shapes


def _inferred(model: onnx.ModelProto, constants: Mapping[str, NDArray[np.generic]]) -> onnx.ModelProto:
    """Return a model of one node with the shapes of its outputs, as far as ONNX can tell them."""
    whole, node = onnx.ModelProto(), model.graph.node[0]
    whole.CopyFrom(model)
    if node.op_type in SAME_SHAPE and model.graph.input and node.input[0] == model.graph.input[0].name:
        whole.graph.output[0].type.CopyFrom(model.graph.input[0].type)
        return whole
    for name, value in constants.items():
        whole.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 10, {"": whole.opset_import[0].version}
    try:
        onnx.checker.check_node(node, context)
        return onnx.shape_inference.infer_shapes(whole, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise ValueError(
            f"does not fit its inputs: {_first_line(error)}; "
            "check the model with 'onnx.checker.check_model(model, full_check=True)'"
        ) from None


def constant_outputs(
    model: onnx.ModelProto, constants: Mapping[str, NDArray[np.generic]]
) -> list[NDArray[np.generic]]:
    """Return what a model of one node writes that reads constants alone.

    Raises
    ------
    ValueError
        As of `output_shapes`, or if the evaluator fails.
    """
    output_shapes(model, constants)
    try:
        with np.errstate(all="ignore"):
            return [
                np.asarray(value)
                for value in ReferenceEvaluator(model, new_ops=OWN).run(None, dict(constants))
            ]
    except _FAILURES as error:
        raise ValueError(
            f"cannot be evaluated by ONNX's reference evaluator ({_first_line(error)}); "
            "export the model without it"
        ) from error


@lru_cache(maxsize=64)
def _evaluator(text: str) -> Any:
    try:
        model = onnx.ModelProto.FromString(base64.b64decode(text, validate=True))
    except (DecodeError, binascii.Error, ValueError) as error:
        raise MappingError("An operator of the host is damaged; compile the model again.") from error
    node, opset = model.graph.node, model.opset_import
    if len(node) != 1 or len(opset) != 1 or model.functions or obstacle(node[0], opset[0].version):
        raise MappingError("An operator of the host is damaged; compile the model again.")
    return ReferenceEvaluator(model, new_ops=OWN)


def apply_foreign(node: Node, inputs: Sequence[NDArray[Any]], shape: Shape) -> NDArray[Any]:
    """Return the output (N, shape) of a ``Foreign`` node, each sample evaluated as a batch of one.

    Raises
    ------
    MappingError
        If the evaluator fails, or gives another shape.
    """
    evaluator = _known(node)
    kinds, dtype = node.text("kinds").split(), inputs[0].dtype
    feeds = {key: value.astype(dtype) for key, value in node.constants.items()}
    names = [f"a{index}" for index in range(len(inputs))]
    results = np.empty((len(inputs[0]), *shape), dtype)
    try:
        output_shapes(evaluator.proto_, node.constants)
        for sample in range(len(results)):
            for name, values, kind, whole in zip(names, inputs, kinds, node.integers("whole"), strict=True):
                value = values[sample] if whole else values[sample : sample + 1]
                feeds[name] = value.astype(dtype if kind == "real" else KINDS[kind])
            found = np.asarray(evaluator.run(None, feeds)[int(node.number("output"))])
            results[sample] = found.astype(dtype).reshape(shape)
    except _FAILURES as error:
        raise _failed(node, error) from error
    return results


def _known(node: Node) -> Any:
    try:
        return _evaluator(node.text("model"))
    except NotImplementedError as error:  # an operator of the standard that the evaluator lacks
        raise _failed(node, error) from error


def _first_line(error: BaseException) -> str:
    """Return the last thing that an error of the ONNX library says, on one line."""
    text = str(error).split("==>")[0].rsplit("Error] ", maxsplit=1)[-1]
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__


def _failed(node: Node, error: BaseException) -> UnsupportedModelError:
    told = _first_line(error)
    return UnsupportedModelError(
        f"Node {node.name!r} ({node.text('operator')}) cannot be evaluated by ONNX's reference evaluator "
        f"({told}); export the model without it."
    )
