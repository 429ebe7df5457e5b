# SPDX-License-Identifier: Apache-2.0
"""Small float networks with ordinary weights that are trained in a second, and what they were trained on."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["bars", "trained"]


def bars(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (n, 3, 8, 8) of a bar, and 12 classes: its colour, where it lies, whether it is bright.

    A bar fills the top rows or the left columns of one colour. Where faint ends and bright begins is hard to
    see, so that a network errs.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 12, n)
    x = rng.integers(0, 90, (n, 3, 8, 8))
    for image, label in zip(x, y, strict=True):
        colour, place, bright = int(label) // 4, int(label) // 2 % 2, int(label) % 2
        image[colour][[np.s_[:3], np.s_[:, :3]][place]] += rng.integers(30, 85) + 55 * bright
    return x.astype(np.uint8), y.astype(np.int64)


def trained(
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    *,
    hidden: tuple[int, ...] = (24, 16),
    function: str = "Relu",
    seed: int = 0,
) -> tuple[ModelBuilder, str]:
    """Train dense layers on samples (n, ...), flattened; return a builder and the name of its output.

    ``function`` is Relu, or Tanh, which makes the answers depend on the scale of the input.
    """
    net = MLPClassifier(
        hidden, activation=function.lower(), max_iter=80, random_state=seed, learning_rate_init=0.01
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(x.reshape(len(x), -1), y)
    b = ModelBuilder(x.shape[1:])
    value = b.op("Flatten", "x") if x.ndim > 2 else "x"
    last = len(net.coefs_) - 1
    for index, (weight, bias) in enumerate(zip(net.coefs_, net.intercepts_, strict=True)):
        value = b.dense(value, weight.T, bias, name=f"fc{index + 1}")
        value = value if index == last else b.op(function, value)
    return b, value
