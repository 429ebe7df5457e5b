# SPDX-License-Identifier: Apache-2.0
"""A small ONNX model around every operator of ai.onnx.ml that is understood."""

from __future__ import annotations

import numpy as np

from mapping.model.operations.operation import HOST
from sim_tests.generators.estimator_models import ML
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operator_example import SHAPE, Example

__all__ = ["ESTIMATORS"]

_SIZE = int(np.prod(SHAPE))
_SUMS = "As `Gemm`, whose weighted sums they are; what is done to the sums at the output changes no order."
_CLOSING = "Nothing: it changes no order of the classes, among which the host looks for the largest."
_DIVIDED = (
    f"{HOST}it divides every sample by a number of its own, and a synapse multiplies by a stored weight."
)


def _linear(name: str) -> Example:
    def build(b: ModelBuilder) -> str:
        given = {"coefficients": b.rng.normal(size=3 * _SIZE).tolist(), "intercepts": [0.5, 0.25, 0.0]}
        if name == "LinearRegressor":
            return b.op(name, b.op("Flatten", "x"), domain=ML, targets=3, **given)
        label = b.op(name, b.op("Flatten", "x"), domain=ML, outputs=2, classlabels_ints=[0, 1, 2], **given)
        return f"{label}_1"

    return Example(operator=name, build=build, around=("Flatten",), note=_SUMS)


def _normalised(b: ModelBuilder) -> str:
    return b.op("Relu", b.op("Normalizer", b.op("Flatten", "x"), domain=ML, norm="L2"))


def _shares(b: ModelBuilder) -> str:
    shares = b.op("Softmax", b.op("Flatten", "x"), axis=1)
    return b.op("ZipMap", b.op("Normalizer", shares, domain=ML, norm="L1"), domain=ML)


ESTIMATORS: tuple[Example, ...] = (
    Example(
        operator="ArrayFeatureExtractor",
        build=lambda b: b.op("ArrayFeatureExtractor", "x", b.constant([0, 2], np.int64), domain=ML),
    ),
    Example(
        operator="Binarizer",
        build=lambda b: b.op("Binarizer", "x", domain=ML, threshold=0.25),
        note="A list of one threshold.",
    ),
    Example(
        operator="FeatureVectorizer",
        build=lambda b: b.op("FeatureVectorizer", "x", b.op("Abs", "x"), domain=ML),
        around=("Abs",),
    ),
    Example(
        operator="Imputer",
        form="of what is missing",
        build=lambda b: b.op("Imputer", "x", domain=ML, replaced_value_float=float("nan")),
        note="Nothing: the numbers of the data are finite.",
    ),
    _linear("LinearClassifier"),
    _linear("LinearRegressor"),
    Example(
        operator="Normalizer", form="elsewhere", build=_normalised, around=("Flatten", "Relu"), note=_DIVIDED
    ),
    Example(
        operator="Normalizer",
        form="of classes at the output",
        build=_shares,
        around=("Flatten",),
        note=_CLOSING,
    ),
    Example(
        operator="Scaler",
        build=lambda b: b.op("Scaler", "x", domain=ML, offset=[0.5], scale=[2.0]),
        note="Folded: its factors go into the weights behind it, its offsets into their biases.",
    ),
    Example(
        operator="ZipMap",
        form="of classes at the output",
        build=_shares,
        around=("Flatten",),
        note="Nothing: the host names the classes.",
    ),
)
"""In the order of their names; the standard's are those of `sim_tests.generators.operator_examples`."""
