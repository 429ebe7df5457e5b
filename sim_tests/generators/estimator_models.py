# SPDX-License-Identifier: Apache-2.0
"""Models as exporters of scikit-learn write them: operators of ai.onnx.ml, the class as first output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["CLASSIFIERS", "FEATURES", "ML", "classifier", "estimator", "named", "regressor", "scaler"]

ML = "ai.onnx.ml"
"""Domain of their operators."""

FEATURES = 6
"""Numbers of a sample."""

Names = Sequence[int] | Sequence[str]

_TEXTS = ("setosa", "versicolor", "virginica")


def estimator(b: ModelBuilder, *outputs: str, opset: int | None = None) -> onnx.ModelProto:
    """Return the model of some outputs, of which nothing but the names is told, with the domain declared.

    With ``opset`` -1 no standard operator set is declared, as where a model has no operator of it; with -2
    it is declared twice.
    """
    values = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(b.nodes, "estimator", [b.input], values, b.initializers)
    times = {-1: 0, -2: 2}.get(opset or 0, 1)
    sets = [helper.make_opsetid("", b.opset)] * times + [helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def scaler(b: ModelBuilder, x: str) -> str:
    """Subtract a number of each feature, and multiply by another one."""
    offset, scale = b.rng.normal(size=FEATURES).tolist(), b.rng.uniform(0.5, 2.0, FEATURES).tolist()
    return b.op("Scaler", x, domain=ML, offset=offset, scale=scale)


def classifier(
    b: ModelBuilder, x: str, names: Names, *, post: str = "NONE", rows: int | None = None, features: int = 6
) -> tuple[str, str]:
    """Weighted sums of classes; return the tensors of the class and of the scores."""
    rows = len(names) if rows is None else rows
    given: Any = {"classlabels_strings" if isinstance(names[0], str) else "classlabels_ints": list(names)}
    label = b.op(
        "LinearClassifier",
        x,
        outputs=2,
        domain=ML,
        coefficients=b.rng.normal(size=rows * features).tolist(),
        intercepts=b.rng.normal(size=rows).tolist(),
        post_transform=post,
        multi_class=int(rows > 2),
        **given,
    )
    return label, f"{label}_1"


def named(b: ModelBuilder, scores: str, names: Names, *, keepdims: int = 1) -> str:
    """Return the class with the largest score, by its name, as exporters of networks write it."""
    text = isinstance(names[0], str)
    table = b.constant(np.array(names), np.object_ if text else np.int64)
    best = b.op("ArgMax", scores, axis=1, keepdims=keepdims)
    found = b.op("ArrayFeatureExtractor", table, best, domain=ML)
    found = b.op("Reshape", found, b.constant([-1], np.int64))
    return found if text else b.op("Cast", found, to=TensorProto.INT64)


def regressor(b: ModelBuilder, x: str, targets: int, **attributes: Any) -> str:
    """Weighted sums of the features."""
    weights = b.rng.normal(size=targets * FEATURES).tolist()
    bias = b.rng.normal(size=targets).tolist()
    attributes = {"coefficients": weights, "intercepts": bias, "targets": targets} | attributes
    return b.op("LinearRegressor", x, domain=ML, **attributes)


def _mapped(b: ModelBuilder, scores: str, names: Names) -> str:
    kind = "classlabels_strings" if isinstance(names[0], str) else "classlabels_int64s"
    given: Any = {kind: list(names)}
    return b.op("ZipMap", scores, domain=ML, **given)


def _logistic_regression(names: Names, post: str, *, opset: int = 0) -> Callable[[bool], onnx.ModelProto]:
    def build(maps: bool) -> onnx.ModelProto:
        b = ModelBuilder((FEATURES,))
        label, scores = classifier(b, scaler(b, "x"), names, post=post)
        shares = b.op("Normalizer", scores, domain=ML, norm="L1")
        if not isinstance(names[0], str):
            label = b.op("Cast", label, to=TensorProto.INT64)
        return estimator(b, label, _mapped(b, shares, names) if maps else shares, opset=opset)

    return build


def _of_two(post: str, rows: int) -> Callable[[bool], onnx.ModelProto]:
    def build(maps: bool) -> onnx.ModelProto:
        b = ModelBuilder((FEATURES,))
        label, scores = classifier(b, "x", (-1, 1), post=post, rows=rows)
        return estimator(b, label, _mapped(b, scores, (-1, 1)) if maps else scores, opset=-1)

    return build


def _layers(b: ModelBuilder, outputs: int) -> str:
    x = b.op("Cast", scaler(b, "x"), to=TensorProto.FLOAT)
    y = b.op("MatMul", x, b.constant(b.rng.normal(size=(FEATURES, 8))))
    y = b.op("Relu", b.op("Add", y, b.constant(b.rng.normal(size=8))))
    y = b.op("MatMul", y, b.constant(b.rng.normal(size=(8, outputs))))
    return b.op("Add", y, b.constant(b.rng.normal(size=outputs)))


def _network(names: Names) -> Callable[[bool], onnx.ModelProto]:
    def build(maps: bool) -> onnx.ModelProto:
        b = ModelBuilder((FEATURES,))
        shares = b.op("Identity", b.op("Softmax", _layers(b, len(names)), axis=1))
        label = named(b, shares, names)
        return estimator(b, label, _mapped(b, shares, names) if maps else shares)

    return build


def _network_of_two(maps: bool) -> onnx.ModelProto:
    b = ModelBuilder((FEATURES,))
    share = b.op("Sigmoid", _layers(b, 1))
    both = b.op("Concat", b.op("Sub", b.constant(1.0), share), share, axis=1)
    label = named(b, both, (0, 1), keepdims=0)
    return estimator(b, label, _mapped(b, both, (0, 1)) if maps else both)


def _picked(maps: bool) -> onnx.ModelProto:
    """Features that are chosen, then compared with a number."""
    b = ModelBuilder((FEATURES,))
    chosen = b.op("ArrayFeatureExtractor", "x", b.constant([5, 0, 2], np.int64), domain=ML)
    y = b.op("Binarizer", chosen, domain=ML, threshold=0.25)
    label, scores = classifier(b, y, (1, 2, 3), features=3)
    return estimator(b, label, _mapped(b, scores, (1, 2, 3)) if maps else scores)


def _translated(maps: bool) -> onnx.ModelProto:
    """Classes that get other names behind the classifier."""
    b = ModelBuilder((FEATURES,))
    label, scores = classifier(b, "x", (0, 1, 2))
    texts = b.op("LabelEncoder", label, domain=ML, keys_int64s=[0, 1, 2], values_strings=list(_TEXTS))
    return estimator(b, texts, _mapped(b, scores, _TEXTS) if maps else scores)


def _normalised(maps: bool) -> onnx.ModelProto:
    b = ModelBuilder((FEATURES,))
    label, scores = classifier(b, b.op("Normalizer", "x", domain=ML, norm="L2"), (0, 1, 2))
    return estimator(b, label, _mapped(b, scores, (0, 1, 2)) if maps else scores)


CLASSIFIERS: dict[str, tuple[Callable[[bool], onnx.ModelProto], tuple[int | str, ...]]] = {
    "logistic regression": (_logistic_regression((0, 1, 2), "SOFTMAX"), (0, 1, 2)),
    "one against the rest": (_logistic_regression((2, 7, 12), "LOGISTIC", opset=-2), (2, 7, 12)),
    "classes of text": (_logistic_regression(_TEXTS, "SOFTMAX"), _TEXTS),
    "two classes": (_of_two("LOGISTIC", 2), (-1, 1)),
    "two classes of one sum": (_of_two("NONE", 1), (-1, 1)),
    "network": (_network((5, 3, 9)), (5, 3, 9)),
    "network of text": (_network(_TEXTS), _TEXTS),
    "network of two": (_network_of_two, (0, 1)),
    "picked": (_picked, (1, 2, 3)),
    "translated": (_translated, _TEXTS),
    "normalised": (_normalised, (0, 1, 2)),
}
"""A function that builds a model, with the scores as maps or not, and what the model calls its classes."""
