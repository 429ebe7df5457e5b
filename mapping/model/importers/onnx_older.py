# SPDX-License-Identifier: Apache-2.0
"""Bring models of the operator sets 1 to 6 to set 7, which the importer reads, and two early operators away.

Caffe2, CNTK and the first exporters of PyTorch wrote them. What changed stands in ONNX's
docs/Changelog.md: sizes became inputs, and constants align with the last axes instead of with ``axis``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from mapping.errors import UnsupportedModelError
from mapping.model.importers.onnx_writing import Writer

__all__ = ["OLDER", "renewed"]

_FIRST = 7
"""First operator set that the importer reads as it is."""

_GONE = frozenset({"broadcast", "consumed_inputs", "is_test"})
"""Attributes that say what a model in evaluation mode does anyway."""


def _scaled(writer: Writer, factor: float, offset: Any) -> None:
    """X times a number, plus a number or one a channel."""
    tensor = writer.op("Mul", writer.source(), writer.constant(np.array(factor, np.float32), "factor"))
    writer.op("Add", tensor, writer.constant(np.array(offset, np.float32), "offset"), output=writer.result())


def _image_scaler(writer: Writer) -> None:
    bias = writer.numbers("bias")
    _scaled(writer, float(writer.given.get("scale", 1.0)), bias.reshape(-1, 1, 1) if bias.size else 0.0)


def _affine(writer: Writer) -> None:
    _scaled(writer, float(writer.given.get("alpha", 1.0)), float(writer.given.get("beta", 0.0)))


def _unit(writer: Writer) -> None:
    """Divide by a norm along an axis, which ONNX's evaluator takes of the sum of values instead of sizes."""
    axis, p = int(writer.given.get("axis", -1)), int(writer.given.get("p", 2))
    if p not in {1, 2}:
        raise writer.bad(f"has p = {p}, supported are 1 and 2; export it again")
    writer.divide_by_norm("ReduceL1" if p == 1 else "ReduceL2", axis)


OLDER: Mapping[str, Callable[[Writer], None]] = {
    "Affine": _affine,
    "ImageScaler": _image_scaler,
    "LpNormalization": _unit,
}
"""What is written in the place of operators of early releases, and of one that the evaluator has wrong."""


def renewed(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return an equal model of operator set 7, or the model itself if its set is that or a later one.

    Raises
    ------
    UnsupportedModelError
        If a ``Cast`` has no type that is known.
    """
    if not 1 <= opset < _FIRST:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        if not node.domain:
            _renew(node, copy.graph, f"{node.name or node.op_type.lower()}.{index}")
    for entry in copy.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = _FIRST
    return copy


def _renew(node: NodeProto, graph: onnx.GraphProto, name: str) -> None:
    given = {attribute.name: attribute for attribute in node.attribute if attribute.name not in _GONE}
    if node.op_type == "Reshape" and len(node.input) == 1 and "shape" in given:
        shape = np.array(given.pop("shape").ints, np.int64)
        graph.initializer.append(numpy_helper.from_array(shape, f"{name}.shape"))
        node.input.append(f"{name}.shape")
    if node.op_type == "Cast" and "to" in given and given["to"].type == AttributeProto.STRING:
        given["to"] = helper.make_attribute("to", _type(given["to"].s.decode("ascii", "replace"), name))
    if node.op_type == "Concat":
        given.setdefault("axis", helper.make_attribute("axis", 1))
    if node.op_type == "Pad" and "paddings" in given:
        given["pads"] = helper.make_attribute("pads", list(given.pop("paddings").ints))
    if node.op_type == "Upsample" and "height_scale" in given and "width_scale" in given:
        sizes = [1.0, 1.0, given.pop("height_scale").f, given.pop("width_scale").f]
        given["scales"] = helper.make_attribute("scales", sizes)
    kept = [_copied(attribute) for attribute in given.values()]
    del node.attribute[:]
    node.attribute.extend(kept)


def _copied(attribute: AttributeProto) -> AttributeProto:
    copy = AttributeProto()
    copy.CopyFrom(attribute)
    return copy


def _type(text: str, name: str) -> int:
    try:
        return int(TensorProto.DataType.Value(text))
    except ValueError:
        told = f"Node {name!r} (Cast) casts to {text!r}, which is no type; export it again."
        raise UnsupportedModelError(told) from None
