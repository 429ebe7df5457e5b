# SPDX-License-Identifier: Apache-2.0
"""Write operators of the domain ai.onnx.ml, as exporters of scikit-learn use them, with standard operators.

Their meaning is that of https://onnx.ai/onnx/operators (the part ai.onnx.ml), their attributes its.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from mapping.errors import UnsupportedModelError
from mapping.model.importers.onnx_older import OLDER, renewed
from mapping.model.importers.onnx_ort import DOMAIN as ORT
from mapping.model.importers.onnx_ort import FUSED
from mapping.model.importers.onnx_writing import Writer

__all__ = ["DOMAIN", "WRITTEN", "class_names", "said", "written_out"]

DOMAIN = "ai.onnx.ml"
"""Domain of the operators of estimators that are no networks."""

_OPSET = 13
"""Operator set of a model that has none but operators of this domain."""

_CLOSING = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}

_UNLIKE = ("TreeEnsemble", "SVM")
"""How operators begin that no sum of weighted inputs computes."""

_NORMS = {"L1": "ReduceL1", "L2": "ReduceL2", "MAX": "ReduceMax"}


def _scaler(writer: Writer) -> None:
    """(x - offset) * scale, of one number or one a feature."""
    offset, scale = writer.numbers("offset"), writer.numbers("scale")
    x = writer.source()
    offset = offset if offset.size else np.zeros(1, np.float32)
    scale = scale if scale.size else np.ones(1, np.float32)
    shifted = writer.op("Sub", x, writer.constant(offset, "offset"))
    writer.op("Mul", shifted, writer.constant(scale, "scale"), output=writer.result())


def _rows(writer: Writer, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights (outputs, features) and intercepts (outputs,) of a linear estimator."""
    weights, bias = writer.numbers("coefficients"), writer.numbers("intercepts")
    rows = bias.size or count
    if not rows or not weights.size or weights.size % rows:
        raise writer.bad(
            f"has {weights.size} coefficients for {rows} outputs, which give no whole number of features; "
            "export it again"
        )
    return weights.reshape(rows, -1), bias if bias.size else np.zeros(rows, np.float32)


def _linear(writer: Writer, weights: NDArray[np.float32], bias: NDArray[np.float32], index: int) -> None:
    """The weighted sums, and what is done to them, as an output of the node."""
    closing = writer.word("post_transform", "NONE")
    if closing not in _CLOSING:
        raise writer.bad(
            f"has the post_transform {closing!r}, supported are {', '.join(_CLOSING)}; set it to NONE, "
            "which leaves the weighted sums"
        )
    kind, result = _CLOSING[closing], writer.result(index)
    sums = f"{writer.name}.sums" if kind else result
    constants = writer.constant(weights, "coefficients"), writer.constant(bias, "intercepts")
    writer.op("Gemm", writer.source(), *constants, output=sums, transB=1)
    if kind:
        writer.op(kind, sums, output=result, **({"axis": 1} if kind == "Softmax" else {}))


def _classifier(writer: Writer) -> None:
    """Weighted sums of the classes; a single one decides between two, of which it is that of the second."""
    names = class_names(writer.node)
    weights, bias = _rows(writer, len(names))
    if len(weights) == 1 and len(names) == 2:
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    _linear(writer, weights, bias, 1)


def _regressor(writer: Writer) -> None:
    _linear(writer, *_rows(writer, int(writer.given.get("targets", 1))), 0)


def _normalizer(writer: Writer) -> None:
    """Divide by a norm of the features; what has none but zeros stays."""
    norm = writer.word("norm", "MAX")
    if norm not in _NORMS:
        raise writer.bad(f"has the norm {norm!r}, supported are MAX, L1 and L2; export it again")
    writer.divide_by_norm(_NORMS[norm], -1)


def _binarizer(writer: Writer) -> None:
    threshold = np.float32(writer.given.get("threshold", 0.0))
    above = writer.op("Greater", writer.source(), writer.constant(np.array(threshold), "threshold"))
    writer.op("Cast", above, output=writer.result(), to=TensorProto.FLOAT)


def _extractor(writer: Writer) -> None:
    if len(writer.node.input) != 2:
        raise writer.bad(f"must have two inputs, not {len(writer.node.input)}; export it again")
    writer.op("Gather", *writer.node.input, output=writer.result(), axis=-1)


def _imputer(writer: Writer) -> None:
    """Data of the chip are finite numbers, so that nothing of them is missing."""
    missing = float(writer.given.get("replaced_value_float", 0.0))
    if not np.isnan(missing):
        raise writer.bad(
            f"replaces the value {missing:g}, and a chip reads numbers as they are; replace it in the data "
            "and export the estimator behind it alone"
        )
    writer.op("Identity", writer.source(), output=writer.result())


def _joined(writer: Writer) -> None:
    writer.op("Concat", *writer.node.input, output=writer.result(), axis=1)


def _same(writer: Writer) -> None:
    writer.op("Identity", writer.source(), output=writer.result())


WRITTEN: Mapping[str, Callable[[Writer], None]] = {
    "ArrayFeatureExtractor": _extractor,
    "Binarizer": _binarizer,
    "FeatureVectorizer": _joined,
    "Imputer": _imputer,
    "LinearClassifier": _classifier,
    "LinearRegressor": _regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
    "ZipMap": _same,
}
"""What is written in the place of an operator of the domain."""


def class_names(node: NodeProto) -> tuple[int | str, ...]:
    """Return the names that a node gives to classes: numbers or texts, in the order of its scores."""
    for attribute in node.attribute:
        if attribute.name in {"classlabels_ints", "classlabels_int64s"} and attribute.ints:
            return tuple(map(int, attribute.ints))
        if attribute.name == "classlabels_strings" and attribute.strings:
            return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
    return ()


def said(node: NodeProto, name: str) -> str:
    """Return the sentence about an operator of the domain that is not written out."""
    if node.op_type.startswith(_UNLIKE):
        return (
            f"Node {name!r} ({node.op_type}) is no network of weighted sums; train an MLPClassifier, a "
            "LogisticRegression or a LinearSVC on the same data, or an MLPRegressor, and export that."
        )
    return (
        f"Node {name!r} has the operator {DOMAIN}.{node.op_type}, which is not supported; do what it does in "
        "the data, and export the estimator behind it alone."
    )


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equal model with standard operators in the place of those of other domains and of older sets.

    The given one is not changed. Two entries of one operator set become one, and a model without standard
    operators gets an operator set.

    Raises
    ------
    UnsupportedModelError
        If a node of the domain has parameters that mean nothing, or is none of `WRITTEN`.
    """
    found = {(entry.domain, entry.version) for entry in model.opset_import if entry.domain != DOMAIN}
    standard = [version for domain, version in found if domain in {"", "ai.onnx"}]
    opset = max(standard, default=_OPSET)
    if not any(_rule(node) for node in model.graph.node) and len(model.opset_import) == len(found):
        return renewed(model, opset) if standard else model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in model.graph.node:
        rule = _rule(node)
        if rule is None:
            nodes.append(node)
            continue
        writer = Writer(node, copy.graph, opset)
        rule(writer)
        nodes += writer.nodes
    del copy.graph.node[:], copy.opset_import[:]
    copy.graph.node.extend(nodes)
    found |= set() if standard else {("", _OPSET)}
    copy.opset_import.extend(helper.make_opsetid(*entry) for entry in sorted(found))
    return renewed(copy, opset)


def _rule(node: NodeProto) -> Callable[[Writer], None] | None:
    """Return what writes a node, None if it stays."""
    if node.domain == DOMAIN:
        return WRITTEN.get(node.op_type, _refuse)
    if node.domain == ORT:
        return FUSED.get(node.op_type)
    return OLDER.get(node.op_type) if not node.domain else None


def _refuse(writer: Writer) -> None:
    raise UnsupportedModelError(said(writer.node, writer.name))
