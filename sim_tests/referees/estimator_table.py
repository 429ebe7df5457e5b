# SPDX-License-Identifier: Apache-2.0
"""Accuracy of estimators of scikit-learn in the graded code, trained here on data that it ships, as a table.

python -m sim_tests.referees.estimator_table

Every third sample is held back, and calibration sees the others. The models are written as skl2onnx writes
them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn import datasets, linear_model, neural_network, preprocessing, svm
from sklearn.pipeline import make_pipeline

from emu.spec import preset
from mapping.codes.choice import CODES, Request
from mapping.datasets.load import Dataset, scaled
from mapping.model.importers.onnx import network_from_onnx
from mapping.report.activity import Activity, observe
from sim_tests.generators.estimator_models import ML, estimator, named
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.graded_table import HEAD, row

__all__ = ["ESTIMATORS", "measured", "written"]

_LINEAR = {"max_iter": 5000, "random_state": 0}
_NETWORK = {"max_iter": 1000, "random_state": 0}

ESTIMATORS: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "MLPClassifier, digits": ("digits", lambda: neural_network.MLPClassifier((64,), **_NETWORK)),
    "MLPClassifier (tanh), digits": (
        "digits",
        lambda: neural_network.MLPClassifier((48, 24), activation="tanh", **_NETWORK),
    ),
    "LogisticRegression, digits": ("digits", lambda: linear_model.LogisticRegression(**_LINEAR)),
    "LinearSVC, digits": ("digits", lambda: svm.LinearSVC(**_LINEAR)),
    "Perceptron, digits": ("digits", lambda: linear_model.Perceptron(random_state=0)),
    "StandardScaler and MLPClassifier, iris": (
        "iris",
        lambda: make_pipeline(
            preprocessing.StandardScaler(), neural_network.MLPClassifier((16,), **_NETWORK)
        ),
    ),
    "StandardScaler and MLPClassifier, wine": (
        "wine",
        lambda: make_pipeline(
            preprocessing.StandardScaler(), neural_network.MLPClassifier((16,), **_NETWORK)
        ),
    ),
    "LogisticRegression, wine": ("wine", lambda: linear_model.LogisticRegression(**_LINEAR)),
}
"""By the name of its row: the data, and what is trained on them."""

_FUNCTIONS = {"relu": "Relu", "tanh": "Tanh"}


def written(model: Any, features: int) -> onnx.ModelProto:
    """Return a trained estimator, perhaps behind a scaler, as an ONNX model."""
    b, y = ModelBuilder((features,)), "x"
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    for step in steps[:-1]:
        offset, scale = step.mean_.tolist(), (1.0 / step.scale_).tolist()
        y = b.op("Scaler", y, domain=ML, offset=offset, scale=scale)
    last, names = steps[-1], steps[-1].classes_.tolist()
    if not hasattr(last, "coefs_"):
        given = {"coefficients": last.coef_.reshape(-1).tolist(), "intercepts": last.intercept_.tolist()}
        closing = "SOFTMAX" if hasattr(last, "predict_proba") else "NONE"
        label = b.op(
            "LinearClassifier",
            y,
            domain=ML,
            outputs=2,
            classlabels_ints=names,
            post_transform=closing,
            **given,
        )
        return estimator(b, label, f"{label}_1")
    for index, (weight, bias) in enumerate(zip(last.coefs_, last.intercepts_, strict=True)):
        y = b.op(_FUNCTIONS[last.activation], y) if index else y
        y = b.op("Add", b.op("MatMul", y, b.constant(weight)), b.constant(bias))
    shares = b.op("Softmax", y, axis=1)
    return estimator(b, named(b, shares, names), shares)


def measured(name: str) -> tuple[Activity, float, str]:
    """Return what an estimator does on the samples held back, its own accuracy, and its row.

    Raises
    ------
    ValueError
        If a part of it is left to the host.
    """
    source, build = ESTIMATORS[name]
    x, y = getattr(datasets, f"load_{source}")(return_X_y=True)
    held = np.arange(len(x)) % 3 == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        model = build().fit(x[~held], y[~held])
    network = network_from_onnx(written(model, x.shape[1]), name=name)
    request = Request(spec=preset("reference"), samples=_at(x, ~held))
    spiking = CODES["graded"].convert(network, request)
    if spiking.host_share or spiking.host:
        raise ValueError(f"network {name} must lie whole on the chip")
    data, _ = scaled(Dataset(name=source, x=x[held], y=y[held]), "raw", network)
    activity = observe(spiking, data)
    return activity, float(model.score(x[held], y[held])), row(network, activity, 8, 5)


def _at(x: NDArray[np.float64], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    return x[rows][:256]


def main() -> int:
    """Print the table; return the exit code."""
    print(HEAD)
    for name in ESTIMATORS:
        print(measured(name)[2], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
