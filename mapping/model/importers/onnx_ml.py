# SPDX-License-Identifier: Apache-2.0
"""Write operators of the domain ai.onnx.ml, as exporters of scikit-learn use them, with standard operators.

Their meaning is that of https://onnx.ai/onnx/operators (the part ai.onnx.ml), their attributes its.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mapping.errors import UnsupportedModelError

__all__ = ["DOMAIN", "WRITTEN", "class_names", "said", "written_out"]

DOMAIN = "ai.onnx.ml"
"""Domain of the operators of estimators that are no networks."""

_OPSET = 13
"""Operator set of a model that has none but operators of this domain."""

_CLOSING = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}

_UNLIKE = ("TreeEnsemble", "SVM")
"""How operators begin that no sum of weighted inputs computes."""

_NORMS = {"L1": "ReduceL1", "L2": "ReduceL2", "MAX": "ReduceMax"}

_LEAST = 1e-30
"""Norm of a sample that has none but zeros."""

_AXES_GIVEN = 18
"""Operator set from which these read their axes as an input."""


class _Writer:
    """One node of the domain, and what is written in its place."""

    def __init__(self, node: NodeProto, graph: onnx.GraphProto, opset: int) -> None:
        self.node, self.graph, self.opset = node, graph, opset
        self.name = node.name or f"{node.op_type.lower()}.{next(iter(node.output), '')}"
        self.given: dict[str, Any] = {
            attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute
        }
        self.nodes: list[NodeProto] = []

    def bad(self, problem: str) -> UnsupportedModelError:
        """Return the error that names this node."""
        return UnsupportedModelError(f"Node {self.name!r} ({self.node.op_type}) {problem}.")

    def numbers(self, name: str) -> NDArray[np.float32]:
        """Return an attribute of numbers, empty if it is left out."""
        values = self.given.get(name, ())
        try:
            return np.asarray(values, np.float32).reshape(-1)
        except (TypeError, ValueError):
            raise self.bad(f"has no numbers as {name}; export it again") from None

    def word(self, name: str, default: str) -> str:
        """Return an attribute that is a word."""
        value = self.given.get(name, default.encode())
        return value.decode("ascii", "replace") if isinstance(value, bytes) else repr(value)

    def constant(self, values: NDArray[np.generic], what: str) -> str:
        """Add a constant to the graph and return its name."""
        name = f"{self.name}.{what}"
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node of the standard and return the name of what it writes."""
        output = output or f"{self.name}.{kind.lower()}"
        name = f"{self.name}.{kind.lower()}" if self.nodes else self.name
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def source(self) -> str:
        """Return the only input."""
        if len(self.node.input) != 1 or not self.node.input[0]:
            raise self.bad(f"must have one input, not {len(self.node.input)}; export it again")
        return str(self.node.input[0])

    def result(self, index: int = 0) -> str:
        """Return the name of an output, of one that nobody reads too."""
        outputs = self.node.output
        return outputs[index] if len(outputs) > index and outputs[index] else f"{self.name}.result{index}"


def _scaler(writer: _Writer) -> None:
    """(x - offset) * scale, of one number or one a feature."""
    offset, scale = writer.numbers("offset"), writer.numbers("scale")
    x = writer.source()
    offset = offset if offset.size else np.zeros(1, np.float32)
    scale = scale if scale.size else np.ones(1, np.float32)
    shifted = writer.op("Sub", x, writer.constant(offset, "offset"))
    writer.op("Mul", shifted, writer.constant(scale, "scale"), output=writer.result())


def _rows(writer: _Writer, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights (outputs, features) and intercepts (outputs,) of a linear estimator."""
    weights, bias = writer.numbers("coefficients"), writer.numbers("intercepts")
    rows = bias.size or count
    if not rows or not weights.size or weights.size % rows:
        raise writer.bad(
            f"has {weights.size} coefficients for {rows} outputs, which give no whole number of features; "
            "export it again"
        )
    return weights.reshape(rows, -1), bias if bias.size else np.zeros(rows, np.float32)


def _linear(writer: _Writer, weights: NDArray[np.float32], bias: NDArray[np.float32], index: int) -> None:
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


def _classifier(writer: _Writer) -> None:
    """Weighted sums of the classes; a single one decides between two, of which it is that of the second."""
    names = class_names(writer.node)
    weights, bias = _rows(writer, len(names))
    if len(weights) == 1 and len(names) == 2:
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    _linear(writer, weights, bias, 1)


def _regressor(writer: _Writer) -> None:
    _linear(writer, *_rows(writer, int(writer.given.get("targets", 1))), 0)


def _normalizer(writer: _Writer) -> None:
    """Divide by a norm of the features; what has none but zeros stays."""
    norm = writer.word("norm", "MAX")
    if norm not in _NORMS:
        raise writer.bad(f"has the norm {norm!r}, supported are MAX, L1 and L2; export it again")
    if writer.opset < _AXES_GIVEN:
        size = writer.op(_NORMS[norm], writer.source(), axes=[-1], keepdims=1)
    else:
        axes = writer.constant(np.array([-1], np.int64), "axes")
        size = writer.op(_NORMS[norm], writer.source(), axes, keepdims=1)
    if norm != "MAX":
        size = writer.op("Max", size, writer.constant(np.array(_LEAST, np.float32), "least"))
    writer.op("Div", writer.source(), size, output=writer.result())


def _binarizer(writer: _Writer) -> None:
    threshold = np.float32(writer.given.get("threshold", 0.0))
    above = writer.op("Greater", writer.source(), writer.constant(np.array(threshold), "threshold"))
    writer.op("Cast", above, output=writer.result(), to=TensorProto.FLOAT)


def _extractor(writer: _Writer) -> None:
    if len(writer.node.input) != 2:
        raise writer.bad(f"must have two inputs, not {len(writer.node.input)}; export it again")
    writer.op("Gather", *writer.node.input, output=writer.result(), axis=-1)


def _imputer(writer: _Writer) -> None:
    """Data of the chip are finite numbers, so that nothing of them is missing."""
    missing = float(writer.given.get("replaced_value_float", 0.0))
    if not np.isnan(missing):
        raise writer.bad(
            f"replaces the value {missing:g}, and a chip reads numbers as they are; replace it in the data "
            "and export the estimator behind it alone"
        )
    writer.op("Identity", writer.source(), output=writer.result())


def _joined(writer: _Writer) -> None:
    writer.op("Concat", *writer.node.input, output=writer.result(), axis=1)


def _same(writer: _Writer) -> None:
    writer.op("Identity", writer.source(), output=writer.result())


WRITTEN: Mapping[str, Callable[[_Writer], None]] = {
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
    """Return an equal model with standard operators in the place of those of the domain.

    The given one is not changed. Two entries of one operator set become one, and a model without standard
    operators gets an operator set.

    Raises
    ------
    UnsupportedModelError
        If a node of the domain has parameters that mean nothing, or is none of `WRITTEN`.
    """
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    versions = {(entry.domain, entry.version) for entry in model.opset_import if entry.domain != DOMAIN}
    standard = [version for domain, version in versions if domain in {"", "ai.onnx"}]
    if not standard:
        versions.add(("", _OPSET))
    nodes = []
    for node in model.graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        writer = _Writer(node, copy.graph, max(standard, default=_OPSET))
        if node.op_type not in WRITTEN:
            raise UnsupportedModelError(said(node, writer.name))
        WRITTEN[node.op_type](writer)
        nodes += writer.nodes
    del copy.graph.node[:], copy.opset_import[:]
    copy.graph.node.extend(nodes)
    copy.opset_import.extend(helper.make_opsetid(*entry) for entry in sorted(versions))
    return copy
